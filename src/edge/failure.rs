//! What a command says when it cannot do what it was asked: one sentence, which ends with what to do about it.

use crate::spoke::client::ApiError;
use std::fmt;

/// Which of them it is, for what goes on without the cluster or the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// What was asked for makes no sense, or is not there.
    Usage,
    /// No answer, or none of an API server.
    Silent,
    /// 401 and 403.
    Forbidden,
    /// The server knows no such kind.
    NotServed,
    /// Something of the name is there already.
    Exists,
    Other,
}

/// A failure as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub sort: Sort,
    pub text: String,
    /// What lies behind it, word by word; shown by `-v`.
    pub cause: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl std::error::Error for Failure {}

impl Failure {
    /// Of what was asked for.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { sort: Sort::Usage, text: text.into(), cause: None }
    }

    pub fn new(sort: Sort, text: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { sort, text: text.into(), cause: Some(cause.to_string()) }
    }

    /// Of a request to this server that was to do something: `list webapps.kro.run in namespace shop`.
    pub fn of_request(error: &ApiError, server: &str, seconds: u64, what: &str) -> Self {
        let (sort, text) = match error {
            ApiError::Timeout => (Sort::Silent, silent(server, seconds, "reading")),
            ApiError::Connect { message } => {
                (Sort::Silent, format!("{server} cannot be reached (connect): {message}"))
            }
            ApiError::Unavailable { .. } | ApiError::Throttled | ApiError::NotAnApi { .. } => {
                (Sort::Silent, format!("{server}: {error}"))
            }
            ApiError::Unauthorized => {
                let text = format!("{server} does not accept your credentials (401); log in again");
                (Sort::Forbidden, text)
            }
            ApiError::Forbidden { .. } => (Sort::Forbidden, format!("you may not {what}; {}", ask_for(what))),
            ApiError::KindUnknown => {
                (Sort::NotServed, format!("{server} cannot {what}: it serves no such kind"))
            }
            ApiError::AlreadyExists => (Sort::Exists, format!("cannot {what}: it is there already")),
            other => (Sort::Other, format!("cannot {what}: {other}")),
        };
        Self::new(sort, text, error)
    }
}

/// The role that has the right to do it.
fn ask_for(what: &str) -> &'static str {
    let reads = ["get ", "list ", "watch "].iter().any(|verb| what.starts_with(verb));
    if reads { "ask for ClusterRole kro-hub-view" } else { "ask for the right to do so" }
}

/// No answer in time.
pub fn silent(server: &str, seconds: u64, at: &str) -> String {
    format!("{server} did not answer within {seconds} s ({at})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_and_what_to_do() {
        let what = "list webapps.kro.run in namespace shop";
        let message = || "words of a server".to_owned();
        for (error, sort, text) in [
            (
                ApiError::Forbidden { message: message() },
                Sort::Forbidden,
                "you may not list webapps.kro.run in namespace shop; ask for ClusterRole kro-hub-view",
            ),
            (
                ApiError::Unauthorized,
                Sort::Forbidden,
                "https://h:6443 does not accept your credentials (401); log in again",
            ),
            (ApiError::Timeout, Sort::Silent, "https://h:6443 did not answer within 10 s (reading)"),
            (
                ApiError::Connect { message: "Connection refused".into() },
                Sort::Silent,
                "https://h:6443 cannot be reached (connect): Connection refused",
            ),
            (
                ApiError::KindUnknown,
                Sort::NotServed,
                "https://h:6443 cannot list webapps.kro.run in namespace shop: it serves no such kind",
            ),
            (
                ApiError::Invalid { message: "bad selector".into() },
                Sort::Other,
                "cannot list webapps.kro.run in namespace shop: bad selector",
            ),
        ] {
            let failure = Failure::of_request(&error, "https://h:6443", 10, what);
            assert_eq!((failure.sort, failure.text.as_str()), (sort, text));
            assert_eq!(failure.cause, Some(error.to_string()));
        }
    }

    #[test]
    fn what_is_no_read_is_not_mended_by_a_role_that_reads() {
        let error = ApiError::Forbidden { message: String::new() };
        let failure = Failure::of_request(&error, "s", 10, "create rolloutapprovals.hub.kro.run");
        assert!(!failure.text.contains("kro-hub-view"), "{failure}");
    }
}
