//! Who may read the metrics, where that is asked: the API server says whose a token is, and whether they may get `/metrics`,
//! as with controllers that are made with controller-runtime.

use super::resources;
use super::tls::{Pair, Shown, certified};
use crate::spoke::client::{ApiError, Verbs};
use axum::http::{HeaderMap, StatusCode, header};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Questions to the API server at one time: whoever has no token that is good costs it no more.
const AT_ONCE: usize = 2;
/// Whose turn does not come by then is asked to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// No token is longer.
const MAX_TOKEN: usize = 32 << 10;

/// Asks the API server about who reads the metrics.
#[derive(Clone)]
pub struct Scrapers {
    verbs: Verbs,
    turns: Arc<Semaphore>,
}

/// What somebody is answered who may not read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NoToken,
    Unknown,
    Forbidden,
    /// The API server did not say.
    NotAsked,
}

impl Refused {
    pub fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, "send a token: Authorization: Bearer …"),
            Self::Unknown => (StatusCode::UNAUTHORIZED, "the API server does not know the token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "you may not get the nonResourceURL /metrics"),
            Self::NotAsked => {
                (StatusCode::SERVICE_UNAVAILABLE, "the API server cannot be asked whether you may; try again")
            }
        }
    }
}

impl Scrapers {
    pub fn new(verbs: Verbs) -> Self {
        Self { verbs, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// # Errors
    /// Whoever sends these headers may not read the metrics.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let token = token(headers).ok_or(Refused::NoToken)?;
        let asked = async {
            let _turn = self.turns.acquire().await.map_err(|_| Refused::NotAsked)?;
            let whose = self.ask(&resources::token_reviews(), &token_review(token)).await?;
            let user = user(&whose).ok_or(Refused::Unknown)?;
            let answer = self.ask(&resources::subject_access_reviews(), &access_review(user)).await?;
            if is_allowed(&answer) { Ok(()) } else { Err(Refused::Forbidden) }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Refused::NotAsked))
    }

    async fn ask(&self, resource: &kube::core::ApiResource, body: &Value) -> Result<Value, Refused> {
        self.verbs.create(resource, "", body).await.map_err(|error: ApiError| {
            tracing::warn!(kind = resource.kind, %error, "whether somebody may read the metrics cannot be asked");
            Refused::NotAsked
        })
    }
}

/// The token of a request.
fn token(headers: &HeaderMap) -> Option<&str> {
    let said = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = said.split_once(' ')?;
    let token = token.trim();
    let is_one = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN;
    is_one.then_some(token)
}

fn token_review(token: &str) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}})
}

/// Whose the token is.
fn user(review: &Value) -> Option<&Value> {
    let status = review.get("status")?;
    let known = status.get("authenticated") == Some(&Value::Bool(true));
    let user = status.get("user").filter(|_| known)?;
    user.get("username").and_then(Value::as_str).filter(|name| !name.is_empty()).map(|_| user)
}

fn access_review(user: &Value) -> Value {
    let mut spec =
        json!({"user": user["username"], "nonResourceAttributes": {"path": "/metrics", "verb": "get"}});
    for field in ["uid", "groups", "extra"] {
        if let Some(value) = user.get(field) {
            spec[field] = value.clone();
        }
    }
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
}

fn is_allowed(review: &Value) -> bool {
    let says = |field: &str| review.pointer(field) == Some(&Value::Bool(true));
    says("/status/allowed") && !says("/status/denied")
}

/// A certificate that nobody else signed, for as long as the process lives: tokens travel encrypted, and who answers is told
/// by the address alone.
pub(super) fn certificate() -> Result<Shown, String> {
    let made = || {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "kro-hub-metrics");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok::<_, rcgen::Error>(Pair { certificate, key: key.serialize_pem() })
    };
    let pair = made().map_err(|error| error.to_string())?;
    let shown = Shown::default();
    shown.set(certified(&pair)?);
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::client::in_memory;
    use http_body_util::{BodyExt, Full};

    fn saying(said: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, said.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_read_from_its_header_alone() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic YTpi", None),
            ("abc", None),
        ];
        for (said, want) in cases {
            assert_eq!(token(&saying(said)), want, "{said:?}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
        assert_eq!(token(&saying(&format!("Bearer {}", "a".repeat(MAX_TOKEN + 1)))), None);
    }

    /// An API server that knows the token `good`, and lets this be done.
    async fn admitted(said: &str, allowed: Value) -> (Result<(), Refused>, Vec<Value>) {
        let asked: Arc<std::sync::Mutex<Vec<Value>>> = Arc::default();
        let seen = asked.clone();
        let verbs = in_memory(move |request| {
            let (seen, allowed) = (seen.clone(), allowed.clone());
            async move {
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                let mut body: Value = serde_json::from_slice(&bytes).unwrap();
                seen.lock().unwrap().push(body.clone());
                let good = body["spec"]["token"] == "good";
                body["status"] = match body["kind"].as_str() {
                    Some("TokenReview") if good => {
                        json!({"authenticated": true, "user": {"username": "p", "groups": ["g"]}})
                    }
                    Some("TokenReview") => json!({"error": "no"}),
                    _ => allowed,
                };
                http::Response::new(Full::new(body.to_string().into()).boxed_unsync())
            }
        });
        let admitted = Scrapers::new(verbs).admit(&saying(said)).await;
        let asked = asked.lock().unwrap().clone();
        (admitted, asked)
    }

    #[tokio::test]
    async fn who_may_get_the_path_is_let_in_and_nobody_else() {
        let yes = || json!({"allowed": true});
        let (admission, asked) = admitted("Bearer good", yes()).await;
        assert_eq!(admission, Ok(()));
        assert_eq!(
            asked[1]["spec"],
            json!({"user": "p", "groups": ["g"], "nonResourceAttributes": {"path": "/metrics", "verb": "get"}})
        );
        let cases = [
            ("Bearer bad", yes(), Refused::Unknown, 1),
            ("Basic good", yes(), Refused::NoToken, 0),
            ("Bearer good", json!({"allowed": false}), Refused::Forbidden, 2),
            ("Bearer good", json!({"allowed": true, "denied": true}), Refused::Forbidden, 2),
            ("Bearer good", json!({}), Refused::Forbidden, 2),
        ];
        for (said, allowed, want, questions) in cases {
            let (admission, asked) = admitted(said, allowed).await;
            assert_eq!((admission, asked.len()), (Err(want), questions), "{said} {want:?}");
        }
    }

    #[tokio::test]
    async fn nobody_is_let_in_while_the_api_server_cannot_be_asked() {
        let verbs = in_memory(|_| async {
            let mut answer = http::Response::new(Full::new("{}".into()).boxed_unsync());
            *answer.status_mut() = StatusCode::FORBIDDEN;
            answer
        });
        let admission = Scrapers::new(verbs).admit(&saying("Bearer good")).await;
        assert_eq!(admission, Err(Refused::NotAsked));
    }

    #[test]
    fn a_certificate_is_made() {
        assert!(!certificate().unwrap().is_empty());
    }
}
