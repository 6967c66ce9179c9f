//! A server that sends its clients elsewhere: nobody goes there, with credentials or without.

use super::*;
use std::io::ErrorKind;
use std::net::TcpListener;

/// Where a redirect leads: it counts who comes.
struct Elsewhere(TcpListener);

impl Elsewhere {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// By a scheme that needs TLS, and by one that does not.
    fn address(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/api/v1/configmaps", self.0.local_addr().unwrap().port())
    }

    fn assert_nobody_came(&self, what: &str) {
        match self.0.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            came => panic!("{what}: somebody came: {came:?}"),
        }
    }
}

fn redirect(status: u16, to: &str) -> BoxFuture<'static, Answer> {
    let body = UnsyncBoxBody::default();
    let answer = Response::builder().status(status).header("location", to).body(body).unwrap();
    Box::pin(async move { answer })
}

/// Every sort of request that a client makes; none of them may have gone well.
async fn everything_fails(client: &SpokeClient, what: &str) {
    let kind = config_maps();
    let at = || client.at(&kind, "n", "x");
    let body = json!({"metadata": {"name": "x"}});
    let answers = [
        at().get().await.err(),
        at().apply("m", &body).await.err(),
        at().merge_patch(&body).await.err(),
        at().replace(&body).await.err(),
        at().delete("u").await.err(),
        client.get_json("/version").await.err(),
        client.page("/api/v1/configmaps?limit=500", "application/json").await.err(),
        client.watch("/api/v1/configmaps?watch=true", "application/json").await.err(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let told = answer.unwrap_or_else(|| panic!("{what}: request {number} was answered")).to_string();
        assert!(told.contains("redirects") || told.contains("does not say which it is"), "{what}: {told}");
    }
    // An OpenAPI document that is no more is answered like this; it is looked up anew, by its own server's index.
    let document = client.get_text("/openapi/v3/api/v1?hash=old").await;
    assert!(!document.as_ref().is_ok_and(Option::is_some), "{what}: {document:?}");
}

#[tokio::test]
async fn no_redirect_is_followed_with_credentials_or_without() {
    let elsewhere = Elsewhere::new();
    for (http2, status) in [(true, 301), (false, 302), (true, 303), (false, 307), (true, 308), (false, 300)] {
        for scheme in ["https", "http"] {
            for from_the_first in [true, false] {
                let what = format!("{status} to {scheme}, from the first: {from_the_first}");
                let to = elsewhere.address(scheme);
                let behaviour: Behaviour = Arc::new(move |line| {
                    if line == SYSTEM && !from_the_first { system("u") } else { redirect(status, &to) }
                });
                let server = Server::start(http2, behaviour).await;
                everything_fails(&server.client, &what).await;
                elsewhere.assert_nobody_came(&what);
            }
        }
    }
}

/// A place on the same server is no better: it may be what somebody else has there.
#[tokio::test]
async fn a_redirect_to_the_same_server_is_not_followed_either() {
    for http2 in [true, false] {
        let behaviour: Behaviour = Arc::new(|line| match line {
            SYSTEM => system("u"),
            line if line.contains("/elsewhere") => said(200, &json!({"metadata": {"name": "x"}})),
            _ => redirect(307, "/elsewhere"),
        });
        let server = Server::start(http2, behaviour).await;
        everything_fails(&server.client, "the same server").await;
        assert!(!server.asked().iter().any(|line| line.contains("elsewhere")), "{:?}", server.asked());
    }
}
