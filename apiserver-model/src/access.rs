//! Who asks, and what he may not do. A server without tokens knows everybody; a server without denials allows all.

use crate::status::Refusal;
use http::{HeaderMap, header};
use serde_json::json;
use std::collections::BTreeMap;

/// What a user may not do; an empty field means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    pub user: String,
    pub verb: String,
    /// Group and resource: `secrets` is `("", "secrets")`.
    pub resource: Option<(String, String)>,
    pub namespace: String,
    /// Of what is no resource: `/version`.
    pub path: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    tokens: BTreeMap<String, String>,
    pub denials: Vec<Denial>,
    closed: bool,
}

/// What is asked for, as rules name it.
pub(crate) struct Asked<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub plural: &'a str,
    pub sub: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub path: &'a str,
}

impl Access {
    pub fn allow(&mut self, token: &str, user: &str) {
        self.closed = true;
        self.tokens.insert(token.to_owned(), user.to_owned());
    }

    /// From now on nobody knows the token.
    pub fn forget(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    pub fn user(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let token = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = token.and_then(|t| t.strip_prefix("Bearer ")).unwrap_or_default();
        match self.tokens.get(token) {
            Some(user) => Ok(user.clone()),
            None if self.closed => Err(Refusal::plain(401)),
            None => Ok("admin".into()),
        }
    }

    pub fn check(&self, user: &str, asked: &Asked<'_>) -> Result<(), Refusal> {
        let is = |rule: &str, found: &str| rule.is_empty() || rule == found;
        let denied = self.denials.iter().any(|d| {
            let place = match &d.resource {
                Some((group, plural)) => {
                    !asked.plural.is_empty() && group == asked.group && is(plural, asked.plural)
                }
                None => d.path.is_empty() || (asked.plural.is_empty() && d.path == asked.path),
            };
            place && is(&d.user, user) && is(&d.verb, asked.verb) && is(&d.namespace, asked.namespace)
        });
        if !denied {
            return Ok(());
        }
        let Asked { verb, group, plural, sub, namespace, name, path } = asked;
        if plural.is_empty() {
            let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
            return Err(Refusal::new(403, "Forbidden", &message, Some(json!({}))));
        }
        let qualified = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
        let object = if name.is_empty() { qualified } else { format!("{qualified} {name:?}") };
        let full = if sub.is_empty() { (*plural).to_owned() } else { format!("{plural}/{sub}") };
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        let message = format!(
            "{object} is forbidden: User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}"
        );
        let mut details = json!({"kind": plural});
        for (field, value) in [("name", name), ("group", group)] {
            if !value.is_empty() {
                details[field] = json!(value);
            }
        }
        Err(Refusal::new(403, "Forbidden", &message, Some(details)))
    }
}
