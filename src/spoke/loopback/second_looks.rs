//! What a group says that another server may stand behind, and what the API server itself says then.

use super::*;
use http::HeaderValue;

const OF_GROUP: &str = "/apis/custom.example/v1";

/// A server that answers this to what its group is asked, and that to the question who it is, once it is known.
fn answers(of_group: u16, of_itself: Arc<AtomicUsize>) -> Behaviour {
    let refused = |code: u16| {
        let answer = said(code, &json!({"kind": "Status", "code": code, "message": "no"}));
        let answer: BoxFuture<'static, Answer> = Box::pin(async move {
            let mut answer = answer.await;
            if code == 429 {
                answer.headers_mut().insert("retry-after", HeaderValue::from_static("30"));
            }
            answer
        });
        answer
    };
    Arc::new(move |line| match (line, of_itself.load(Ordering::SeqCst)) {
        (SYSTEM, 200) => system("u"),
        (SYSTEM, code) => refused(u16::try_from(code).unwrap()),
        (line, _) if line.contains(OF_GROUP) => refused(of_group),
        _ => said(200, &json!({})),
    })
}

#[tokio::test]
async fn credentials_that_one_group_does_not_accept_are_its_own_trouble() {
    for http2 in [true, false] {
        let of_itself = Arc::new(AtomicUsize::new(200));
        let mut server = Server::start(http2, answers(401, of_itself.clone())).await;
        let client = server.client.clone();
        assert!(client.at(&config_maps(), "n", "x").get().await.is_ok());
        server.asked();
        let found = client.get_json(OF_GROUP).await;
        let Err(ApiError::GroupUnavailable { message, .. }) = &found else { panic!("{found:?}") };
        assert!(message.contains("(401)"), "{message}");
        let asked = server.asked();
        assert!(asked.iter().filter(|line| *line == SYSTEM).count() <= 2, "{asked:?}");
        assert!(client.at(&config_maps(), "n", "x").get().await.is_ok());
        assert_eq!(server.contacts(), [Contact::Ok, Contact::Ok]);

        // They are not accepted by anybody.
        of_itself.store(401, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(client.get_json(OF_GROUP).await, Err(ApiError::Unauthorized));
        assert_eq!(server.contacts(), [Contact::Unauthorized]);
    }
}

#[tokio::test]
async fn a_group_that_asks_for_patience_slows_nothing_else_down() {
    let of_itself = Arc::new(AtomicUsize::new(200));
    let mut server = Server::start(true, answers(429, of_itself.clone())).await;
    let client = server.client.clone();
    let found = client.get_json(OF_GROUP).await;
    let Err(ApiError::GroupUnavailable { message, .. }) = &found else { panic!("{found:?}") };
    assert!(message.contains("(429)"), "{message}");
    let others = (0..20).map(|_| client.get_json("/apis/other.example/v1"));
    let others = tokio::time::timeout(Duration::from_millis(500), futures::future::join_all(others)).await;
    assert!(others.unwrap().into_iter().all(|answer| answer.is_ok()));
    assert!(!server.contacts().contains(&Contact::Throttled));
    let waits = tokio::time::timeout(Duration::from_secs(2), client.get_json(OF_GROUP)).await;
    assert!(waits.is_err(), "it is asked again after the pause that it named: {waits:?}");
}

#[tokio::test]
async fn an_api_server_that_asks_for_patience_is_given_it_whatever_was_asked_for() {
    let of_itself = Arc::new(AtomicUsize::new(200));
    let mut server = Server::start(true, answers(429, of_itself.clone())).await;
    let client = server.client.clone();
    assert!(client.at(&config_maps(), "n", "x").get().await.is_ok());
    of_itself.store(429, Ordering::SeqCst);
    assert_eq!(client.get_json(OF_GROUP).await, Err(ApiError::Throttled));
    assert!(server.contacts().contains(&Contact::Throttled));
    let (maps, client) = (config_maps(), client);
    let waits = tokio::time::timeout(Duration::from_millis(500), client.at(&maps, "n", "x").get()).await;
    assert!(waits.is_err(), "all of it waits: {waits:?}");
}
