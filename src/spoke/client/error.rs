//! What an API server said, sorted by what it means. Every error of a request is classified here and nowhere else.

use crate::api::text::cut;
use crate::spoke::connections::deepest;
use crate::spoke::fence::is_closed;
use crate::spoke::groups::aggregated;
use crate::spoke::transport::Trouble;

/// Of a refusal in plain text, so many bytes are shown.
const PLAIN: usize = 400;

/// What an API server said, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no object of this name.
    #[error("not found")]
    NotFound,
    /// The server has no such path: the kind is not served, or not in this version.
    #[error("the cluster does not serve this kind")]
    KindUnknown,
    /// The namespace that the object would be in is not there.
    #[error("namespace {namespace:?} does not exist")]
    NamespaceMissing {
        /// Its name.
        namespace: String,
    },
    /// Another version or uid than was asked for, or fields of another manager (409).
    #[error("conflict: {message}")]
    Conflict {
        /// The server's words.
        message: String,
    },
    /// An object of this name is there (409).
    #[error("already exists")]
    AlreadyExists,
    /// The server refuses the object (400, 422).
    #[error("{message}")]
    Invalid {
        /// The server's words.
        message: String,
    },
    /// The credentials lack a right (403).
    #[error("forbidden: {message}")]
    Forbidden {
        /// The server's words.
        message: String,
    },
    /// The credentials are not accepted (401).
    #[error("the credentials are not accepted (401)")]
    Unauthorized,
    /// The object has a field that the kind's schema lacks: a matter of this kind, not of the cluster (500).
    #[error("{message}")]
    FieldNotDeclared {
        /// The server's words.
        message: String,
    },
    /// Too many requests (429).
    #[error("the cluster asks to slow down (429)")]
    Throttled,
    /// The server cannot answer now (503), or what stands in front of it does not reach it.
    #[error("the cluster is unavailable: {message}")]
    Unavailable {
        /// The server's words.
        message: String,
    },
    /// No connection, or it broke.
    #[error("no contact: {message}")]
    Connect {
        /// What the transport says.
        message: String,
    },
    /// What serves this group is dead, or is no API server: the rest of the cluster is not concerned.
    #[error("the API group {group} does not work on the cluster: {message}")]
    GroupUnavailable {
        /// The API group.
        group: String,
        /// What came instead of an answer.
        message: String,
    },
    /// The answer is not one of an API server: a login page, a proxy, something cut short.
    #[error("what answers is not a Kubernetes API server: {message}")]
    NotAnApi {
        /// What came instead.
        message: String,
    },
    /// The answer is larger than what is read of one.
    #[error("{message}")]
    TooLarge {
        /// What is too large, and the limit.
        message: String,
    },
    /// Another cluster than before answers.
    #[error("another cluster answers at this address: {found}")]
    Stranger {
        /// The identity that was found.
        found: String,
    },
    /// The server has not come to the version that was asked for (504): it went back in time, or is behind another one.
    #[error("{message}")]
    YetToCome {
        /// The server's words.
        message: String,
    },
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Nothing was sent.
    #[error("this process does not hold the lease")]
    NotLeading,
    /// Any other refusal.
    #[error("{message}")]
    Other {
        /// The HTTP status; 0 where the server said none.
        code: u16,
        /// The server's words.
        message: String,
    },
}

impl ApiError {
    /// Whether the error says nothing about the object that was asked for.
    pub fn is_contact_problem(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::Throttled
                | Self::Unavailable { .. }
                | Self::Connect { .. }
                | Self::Timeout
                | Self::NotAnApi { .. }
                | Self::Stranger { .. }
                | Self::NotLeading
        )
    }
}

/// Sorts an error by what it means; by its body too, since the code alone does not tell a sick cluster from an object
/// that does not fit.
pub(in crate::spoke) fn classify(error: &kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else { return unsent(error) };
    let message = status.message.clone();
    let details_kind = status.details.as_ref().map(|d| d.kind.as_str()).unwrap_or_default();
    if message.contains("field not declared in schema") {
        return ApiError::FieldNotDeclared { message };
    }
    match (status.code, status.reason.as_str()) {
        (404, _) if details_kind == "namespaces" => {
            let namespace = status.details.as_ref().map(|d| d.name.clone()).unwrap_or_default();
            ApiError::NamespaceMissing { namespace }
        }
        (404, _)
            if message.contains("could not find the requested resource")
                || message.contains("page not found") =>
        {
            ApiError::KindUnknown
        }
        (404, _) => ApiError::NotFound,
        (409, "AlreadyExists") => ApiError::AlreadyExists,
        (409, _) => ApiError::Conflict { message },
        (400 | 422, _) => ApiError::Invalid { message },
        (403, _) => ApiError::Forbidden { message },
        (401, _) => ApiError::Unauthorized,
        (429, _) => ApiError::Throttled,
        (503, _) => ApiError::Unavailable { message },
        (504, _) if message.contains("Too large resource version") => ApiError::YetToCome { message },
        (504, _) => ApiError::Timeout,
        (code, _) => ApiError::Other { code, message },
    }
}

/// Why there is no answer.
pub(super) fn unsent(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let found = std::iter::successors(Some(error), |e| e.source()).find_map(|e| e.downcast_ref::<Trouble>());
    match found {
        Some(Trouble::Late) => ApiError::Timeout,
        Some(Trouble::TooLarge(message)) => ApiError::TooLarge { message: message.clone() },
        Some(Trouble::NotAnApi(message)) => ApiError::NotAnApi { message: message.clone() },
        Some(Trouble::Stranger { found, .. }) => ApiError::Stranger { found: found.clone() },
        Some(Trouble::Fenced) => ApiError::NotLeading,
        Some(trouble @ (Trouble::CutOff(_) | Trouble::OfGroup(_) | Trouble::Paused)) => {
            ApiError::Unavailable { message: trouble.to_string() }
        }
        Some(Trouble::Connect(message)) => ApiError::Connect { message: message.clone() },
        Some(trouble @ Trouble::Nameless(_)) => ApiError::Connect { message: trouble.to_string() },
        None if is_closed(error) => ApiError::NotLeading,
        None => ApiError::Connect { message: deepest(error) },
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text).map_err(|_| not_json())
}

/// The text is not shown: it may be a Secret's.
pub(super) fn not_json() -> ApiError {
    ApiError::NotAnApi { message: "its answer is not the JSON that was asked for".into() }
}

/// What a refusal of a path says.
pub(super) fn refused(path: &str, code: u16, body: &[u8]) -> ApiError {
    let status = serde_json::from_slice::<kube::core::Status>(body).ok().filter(|s| s.code == code);
    let error = classify(&kube::Error::Api(Box::new(status.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let text = cut(text.trim(), PLAIN);
        kube::core::Status { code, ..kube::core::Status::failure(&text, "") }
    }))));
    let error = match error {
        ApiError::Unavailable { message } if aggregated(path).is_some() => {
            ApiError::Unavailable { message: format!("{code}, {message}") }
        }
        error => error,
    };
    in_its_group(path, error)
}

/// What a dead server of one group answers, or what stands in its place, is that group's trouble.
pub(super) fn in_its_group(path: &str, error: ApiError) -> ApiError {
    let Some(group) = aggregated(path).map(str::to_owned) else { return error };
    match error {
        ApiError::Unavailable { message } | ApiError::NotAnApi { message } => {
            ApiError::GroupUnavailable { group, message }
        }
        error => error,
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn api(code: u16, reason: &str, message: &str, details: Value) -> kube::Error {
        let status = json!({"code": code, "reason": reason, "message": message, "details": details});
        kube::Error::Api(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn errors_are_sorted_by_body_too() {
        let none = json!(null);
        let cases = [
            (
                api(404, "NotFound", "configmaps \"x\" not found", json!({"kind": "configmaps"})),
                ApiError::NotFound,
            ),
            (
                api(404, "NotFound", "the server could not find the requested resource", none.clone()),
                ApiError::KindUnknown,
            ),
            (
                api(
                    404,
                    "NotFound",
                    "namespaces \"a\" not found",
                    json!({"kind": "namespaces", "name": "a"}),
                ),
                ApiError::NamespaceMissing { namespace: "a".into() },
            ),
            (
                api(
                    500,
                    "",
                    "failed to create typed patch object: .spec.x: field not declared in schema",
                    none.clone(),
                ),
                ApiError::FieldNotDeclared {
                    message: "failed to create typed patch object: .spec.x: field not declared in schema"
                        .into(),
                },
            ),
            (api(409, "AlreadyExists", "x", none.clone()), ApiError::AlreadyExists),
            (api(409, "Conflict", "x", none.clone()), ApiError::Conflict { message: "x".into() }),
            (
                api(504, "Timeout", "Timeout: Too large resource version: 9, current: 4", none.clone()),
                ApiError::YetToCome { message: "Timeout: Too large resource version: 9, current: 4".into() },
            ),
            (api(504, "Timeout", "x", none.clone()), ApiError::Timeout),
            (api(401, "Unauthorized", "x", none.clone()), ApiError::Unauthorized),
            (api(429, "TooManyRequests", "x", none.clone()), ApiError::Throttled),
            (api(500, "InternalError", "boom", none), ApiError::Other { code: 500, message: "boom".into() }),
        ];
        for (error, want) in cases {
            assert_eq!(classify(&error), want);
        }
    }
}
