//! Tokens of the hub's account on a spoke.

use super::{MANAGER, POLL, apply};
use crate::access::{Account, register};
use crate::api::Object;
use crate::edge::{Connection, Failure};
use crate::hub::resources;
use crate::spoke::lists::Which;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How the token comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A Secret that the cluster fills; it lasts until it is deleted.
    Secret,
    /// One that ends by itself, after a year or sooner as the cluster likes.
    Bound,
}

/// A token, and the Secret that holds it.
pub(super) struct Token {
    pub text: String,
    pub secret: Option<String>,
}

const YEAR: u64 = 365 * 24 * 3600;
const FILLED: Duration = Duration::from_secs(15);

/// The tokens of the account that Secrets hold, by name.
pub(super) async fn held(spoke: &Connection, account: &Account) -> Result<Vec<Object>, Failure> {
    let which = Which { namespace: Some(&account.namespace), ..Which::default() };
    let mut all = spoke.list(&resources::secrets(), which).await?;
    all.retain(|secret| {
        secret.str_at("/type") == "kubernetes.io/service-account-token"
            && secret.annotation("kubernetes.io/service-account.name") == Some(&account.name)
    });
    Ok(all)
}

/// The token that is there, or a new one; `fresh`: a new one in any case.
pub(super) async fn get(
    spoke: &Connection,
    account: &Account,
    kind: TokenKind,
    fresh: bool,
) -> Result<Token, Failure> {
    if kind == TokenKind::Bound {
        return bound(spoke, account).await;
    }
    let there = held(spoke, account).await?;
    let name = match there.iter().map(Object::name).max_by_key(|name| number(name)) {
        Some(name) if !fresh => name.to_owned(),
        Some(name) => format!("kro-hub-token-{}", number(name) + 1),
        None => "kro-hub-token".to_owned(),
    };
    if !there.iter().any(|secret| secret.name() == name) {
        apply(spoke, &register::token_secret(account, &name)).await?;
    }
    let start = Instant::now();
    loop {
        let found = spoke.get(&resources::secrets(), &account.namespace, &name).await?;
        let token = found.as_ref().map(|s| s.str_at("/data/token")).and_then(|t| STANDARD.decode(t).ok());
        if let Some(text) = token.and_then(|t| String::from_utf8(t).ok()).filter(|t| !t.is_empty()) {
            return Ok(Token { text, secret: Some(name) });
        }
        if start.elapsed() > FILLED {
            return Err(Failure::usage(format!(
                "{} did not fill Secret {}/{name} with a token within {} s; use --token bound",
                spoke.name,
                account.namespace,
                FILLED.as_secs()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// `kro-hub-token-3` is the third that came after the first.
fn number(name: &str) -> u64 {
    name.rsplit_once('-').and_then(|(_, end)| end.parse().ok()).unwrap_or_default()
}

async fn bound(spoke: &Connection, account: &Account) -> Result<Token, Failure> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": YEAR}});
    // A subresource of the account.
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "TokenRequest".into(),
        plural: format!("serviceaccounts/{}/token", account.name),
    };
    let what = format!("create a token of ServiceAccount {}/{}", account.namespace, account.name);
    let answer = spoke.within(&what, spoke.verbs().create(&resource, &account.namespace, &request)).await?;
    match answer.pointer("/status/token").and_then(Value::as_str) {
        Some(text) => Ok(Token { text: text.to_owned(), secret: None }),
        None => Err(Failure::usage(format!("{} gave no token when {MANAGER} asked for one", spoke.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_token_has_the_next_number() {
        let names = ["kro-hub-token", "kro-hub-token-2", "kro-hub-token-10"];
        assert_eq!(names.map(number), [0, 2, 10]);
    }
}
