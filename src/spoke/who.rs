//! Which cluster answers, as it says by itself.

use http::{HeaderMap, StatusCode};
use hyper::body::Bytes;
use serde_json::Value;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The uid of namespace kube-system.
    System(String),
    /// The ClusterProperty, where that namespace may not be read.
    Property(String),
}

impl Who {
    pub fn id(&self) -> &str {
        match self {
            Self::System(id) | Self::Property(id) => id,
        }
    }
}

/// A short answer, read to its end.
#[derive(Debug)]
pub(super) struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Told {
    /// Namespace kube-system may not be read.
    pub fn hides(&self) -> bool {
        matches!(self.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    }
    /// What a refusal says.
    pub fn words(&self) -> String {
        let said: Option<Value> = serde_json::from_slice(&self.body).ok();
        let said = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or_default();
        if said.is_empty() { self.status.to_string() } else { crate::api::text::cut(said, 400) }
    }
    /// The text at a JSON pointer of an answer that is no refusal.
    pub fn text_at(&self, pointer: &str) -> Option<String> {
        let value: Value = serde_json::from_slice(&self.body).ok().filter(|_| self.status.is_success())?;
        value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}
