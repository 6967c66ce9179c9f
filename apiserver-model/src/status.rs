//! Answers that are no objects: refusals as `Status`, in the words of Kubernetes.

use crate::admit::FieldError;
use crate::kinds::Kind;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Status(Value),
    /// What a server answers for a path that nobody serves.
    Plain(&'static str),
}

impl Refusal {
    #[must_use]
    pub fn new(code: u16, reason: &str, message: &str, details: Option<Value>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if let Some(details) = details {
            status["details"] = details;
        }
        Self { code, body: Body::Status(status) }
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message, None)
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(500, "", message, None)
    }

    /// No such path.
    pub(crate) fn page() -> Self {
        Self { code: 404, body: Body::Plain("404 page not found\n") }
    }

    /// No such kind in a group that is served.
    pub(crate) fn resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource", Some(json!({})))
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.qualified());
        Self::new(404, "NotFound", &message, Some(named(&kind.group, &kind.plural, name)))
    }

    pub(crate) fn no_namespace(name: &str) -> Self {
        let message = format!("namespaces {name:?} not found");
        Self::new(404, "NotFound", &message, Some(named("", "namespaces", name)))
    }

    pub(crate) fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified());
        Self::new(409, "AlreadyExists", &message, Some(named(&kind.group, &kind.plural, name)))
    }

    pub(crate) fn conflict(group: &str, kind: &str, name: &str, why: &str) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        Self::new(409, "Conflict", &message, Some(named(group, kind, name)))
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(&kind.group, &kind.plural, name, why)
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
        Self::new(403, "Forbidden", &message, Some(named(&kind.group, &kind.plural, name)))
    }

    /// 422; `group` and `kind` name what is invalid.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let what = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.reason, "message": e.message, "field": e.path}))
            .collect();
        let mut details = named(group, kind, name);
        details["causes"] = causes.into();
        Self::new(422, "Invalid", &format!("{qualified} {name:?} is invalid: {what}"), Some(details))
    }

    pub(crate) fn method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, Some(json!({})))
    }

    pub(crate) fn media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", &message, None)
    }

    /// What the model does not do.
    pub(crate) fn lacking(what: &str) -> Self {
        Self::new(
            501,
            "NotImplemented",
            &format!("the model of an API server does not do this: {what}"),
            None,
        )
    }

    /// An answer of a test's own: 429, 500, 503...
    #[must_use]
    pub fn plain(code: u16) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
            _ => ("InternalError", "Internal error occurred: the server met a fault"),
        };
        let details = (code == 429).then(|| json!({"retryAfterSeconds": 1}));
        Self::new(code, reason, message, details)
    }

    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let (content, bytes) = match &self.body {
            Body::Status(status) => ("application/json", status.to_string()),
            Body::Plain(text) => ("text/plain; charset=utf-8", (*text).to_owned()),
        };
        let mut response = answer(self.code, content, bytes.into());
        if self.code == 429 {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    pub(crate) fn status(&self) -> Value {
        match &self.body {
            Body::Status(status) => status.clone(),
            Body::Plain(text) => json!(text),
        }
    }
}

fn named(group: &str, kind: &str, name: &str) -> Value {
    let mut details = Map::new();
    for (field, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(field.into(), value.into());
        }
    }
    Value::Object(details)
}

pub(crate) fn answer(code: u16, content: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    response
}
