//! What the status of a Cluster says of its credentials: whose, since when, until when. Never a byte of them.

use super::source::Source;
use crate::api::Object;
use crate::api::cluster::CredentialsStatus;
use crate::spoke::credentials;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

/// For the source that the Secret gave; nothing where the hub itself is meant.
pub(super) fn status(source: &Source, secret: Option<&Object>) -> Option<CredentialsStatus> {
    let Source::Remote(endpoint) = source else { return None };
    let said = credentials::of(endpoint)?;
    Some(CredentialsStatus {
        type_: said.sort.text().to_owned(),
        subject: said.subject,
        issued_at: said.issued.or_else(|| last_write(secret?)).map(Time),
        expires_at: said.expires.map(Time),
    })
}

/// When anybody last wrote to an object: the newest of its managers.
fn last_write(object: &Object) -> Option<Timestamp> {
    let managers =
        object.0.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let times = managers.filter_map(|m| m.get("time")).chain(object.0.pointer("/metadata/creationTimestamp"));
    times.filter_map(|t| t.as_str()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::kubeconfig::{self, Policy};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    fn of_token(token: &str, secret: Option<&Object>) -> Value {
        let text = format!(
            "clusters: [{{name: k, cluster: {{server: 'https://h', certificate-authority-data: Y2E=}}}}]\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n"
        );
        let endpoint = kubeconfig::parse(text.as_bytes(), &Policy::default()).unwrap();
        json!(status(&Source::Remote(Box::new(endpoint)), secret))
    }

    #[test]
    fn what_a_token_does_not_say_its_secret_tells() {
        let secret = Object(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"time": "2026-02-01T00:00:00Z"}, {"time": "2026-01-15T00:00:00Z"}, {"manager": "x"}]}}));
        let jwt = |claims: Value| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let bound = jwt(json!({"sub": "a", "iat": 1_700_000_000, "exp": 1_700_003_600}));
        for (token, secret, want) in [
            (
                "sesame".to_owned(),
                Some(&secret),
                json!({"type": "OpaqueToken", "issuedAt": "2026-02-01T00:00:00Z"}),
            ),
            (
                jwt(json!({"sub": "a"})),
                Some(&secret),
                json!({"type": "Token", "subject": "a", "issuedAt": "2026-02-01T00:00:00Z"}),
            ),
            (
                bound,
                Some(&secret),
                json!({"type": "Token", "subject": "a", "issuedAt": "2023-11-14T22:13:20Z", "expiresAt": "2023-11-14T23:13:20Z"}),
            ),
            ("sesame".to_owned(), None, json!({"type": "OpaqueToken"})),
        ] {
            assert_eq!(of_token(&token, secret), want);
        }
        assert_eq!(status(&Source::Local, Some(&secret)), None);
        let new = Object(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(of_token("sesame", Some(&new))["issuedAt"], "2026-01-01T00:00:00Z");
    }
}
