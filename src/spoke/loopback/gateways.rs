//! What stands in front of an API server answers by itself: nothing that it says is the cluster's word.

use super::*;

type Answers = fn() -> BoxFuture<'static, Answer>;

const OWN: &str = "/api/v1/namespaces/n/configmaps/x";
const CUSTOM: &str = "/apis/custom.example/v1";

/// A page with the mark of an API server's answers.
pub(super) fn not_served() -> BoxFuture<'static, Answer> {
    Box::pin(async {
        let mut answer = text(404, "text/plain", "404 page not found\n").await;
        answer.headers_mut().insert("audit-id", "3f2b".parse().unwrap());
        answer
    })
}

async fn behind(http2: bool, answer: Answers) -> Server {
    let behaviour: Behaviour = Arc::new(move |line| if line == SYSTEM { system("u") } else { answer() });
    Server::start(http2, behaviour).await
}

#[tokio::test]
async fn a_load_balancer_without_its_server_is_no_contact() {
    let cases: [(u16, Answers); 3] = [
        (502, || text(502, "text/html", "<html><h1>502 Bad Gateway</h1></html>")),
        (504, || text(504, "text/html", "<html><h1>504 Gateway Time-out</h1></html>")),
        (504, || text(504, "", "")),
    ];
    for (code, answer) in cases {
        for http2 in [true, false] {
            let mut server = behind(http2, answer).await;
            let Err(ApiError::Unavailable { message }) = server.client.get_json(OWN).await else {
                panic!("{code}: that is an answer");
            };
            assert!(message.contains("in front") && message.contains(&code.to_string()), "{message}");
            assert_eq!(server.contacts(), [Contact::Unavailable(code)]);
            let custom = server.client.get_json(CUSTOM).await;
            assert!(matches!(custom, Err(ApiError::GroupUnavailable { .. })), "{custom:?}");
            assert_eq!(server.contacts(), [], "what serves one group may be dead alone");
        }
    }
}

#[tokio::test]
async fn a_server_that_says_by_itself_that_it_was_too_slow_is_there() {
    let answer =
        || said(504, &json!({"kind": "Status", "code": 504, "reason": "Timeout", "message": "etcd is slow"}));
    let mut server = behind(true, answer).await;
    assert_eq!(server.client.get_json(OWN).await, Err(ApiError::Timeout));
    assert_eq!(server.contacts(), [], "neither contact nor the loss of it");
}

/// Whatever is asked for: a new connection asks the cluster itself first.
#[tokio::test]
async fn a_load_balancer_that_reaches_nobody_from_the_first_is_no_contact() {
    let behaviour: Behaviour = Arc::new(|_| text(502, "text/html", "<html>"));
    let mut server = Server::start(true, behaviour).await;
    assert!(server.client.get_json(CUSTOM).await.is_err());
    assert_eq!(server.contacts(), [Contact::Unavailable(502)]);
}

/// It would be taken for gone, with its finalizer and all.
#[tokio::test]
async fn nothing_is_gone_because_a_gateway_knows_no_way_to_it() {
    let cases: [Answers; 5] = [
        || text(404, "text/html", "<html>404 Not Found</html>"),
        || said(404, &json!({"error": "not found"})),
        || said(404, &json!({"code": 404, "message": "not found"})),
        // In the words of Kubernetes, as it happens.
        || text(404, "text/plain", "404 page not found\n"),
        || text(404, "", ""),
    ];
    for answer in cases {
        let mut server = behind(true, answer).await;
        let (client, kind, body) = (server.client.clone(), config_maps(), json!({}));
        let at = || client.at(&kind, "n", "x");
        let answers = [
            at().get().await.err(),
            at().get_metadata().await.err(),
            at().merge_patch(&body).await.err(),
            at().delete("u").await.err(),
            client.get_json("/api/v1").await.err(),
            client.get_text("/openapi/v3/api/v1").await.err(),
            client.page("/api/v1/configmaps", "application/json").await.err(),
            client.watch("/api/v1/configmaps?watch=true", "application/json").await.err(),
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            assert!(matches!(answer, Some(ApiError::NotAnApi { .. })), "{number}: {answer:?}");
        }
        let heard = server.contacts();
        assert!(heard.len() == 8 && heard.iter().all(|c| matches!(c, Contact::NotAnApi(_))), "{heard:?}");
        let custom = client.get_json(CUSTOM).await;
        assert!(matches!(custom, Err(ApiError::GroupUnavailable { .. })), "{custom:?}");
        assert_eq!(server.contacts(), []);
    }
}

#[tokio::test]
async fn a_gateway_that_knows_no_way_from_the_first_is_no_cluster_that_hides_who_it_is() {
    let behaviour: Behaviour = Arc::new(|_| text(404, "text/plain", "404 page not found\n"));
    let mut server = Server::start(true, behaviour).await;
    let asked = server.client.get_json(OWN).await;
    assert!(matches!(asked, Err(ApiError::NotAnApi { .. })), "{asked:?}");
    assert_eq!(server.asked(), [SYSTEM]);
    assert!(matches!(server.contacts()[..], [Contact::NotAnApi(_)]));
}

#[tokio::test]
async fn what_kubernetes_says_is_not_there_is_not_there() {
    let cases: [Answers; 2] = [not_served, || {
        said(404, &json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}))
    }];
    for answer in cases {
        let mut server = behind(true, answer).await;
        for path in ["/apis/batch/v1beta1", OWN, CUSTOM] {
            assert_eq!(server.client.get_json(path).await, Ok(None), "{path}");
        }
        assert_eq!(server.contacts(), [Contact::Ok, Contact::Ok, Contact::Ok]);
    }
}
