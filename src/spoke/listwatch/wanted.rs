//! What is listed and watched, and what is told of it.

use serde_json::Value;

/// Seconds after which the server ends a watch that is a sign of life, or has a connection of its own.
pub(super) const SERVER_TIMEOUT_SECONDS: u32 = 55;
/// The same of all others: opening them anew is most of what is asked at rest, where there are many.
const LONG_TIMEOUT_SECONDS: u32 = 290;

/// What is listed and watched.
#[derive(Clone, Debug)]
pub(in crate::spoke) struct Wanted {
    /// Of the collection.
    pub path: String,
    /// For people.
    pub kind: String,
    /// Names and values in the query.
    pub selectors: Vec<(&'static str, String)>,
    /// Metadata is enough.
    pub metadata: bool,
}

impl Wanted {
    /// Seconds of one watch. That of metadata alone, of the CRDs, tells whether there is contact.
    pub(super) fn lasts(&self, shares_connections: bool) -> u32 {
        if shares_connections && !self.metadata { LONG_TIMEOUT_SECONDS } else { SERVER_TIMEOUT_SECONDS }
    }

    pub(super) fn accept(&self, list: bool) -> &'static str {
        match (self.metadata, list) {
            (false, _) => "application/json",
            (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        }
    }

    /// The path that asks for as little as there is, as of this version or later.
    pub(super) fn path_at(&self, version: u64) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        // Who may read one name has to say so; labels would make the server look for one that fits.
        query.extend_pairs(self.selectors.iter().filter(|(name, _)| *name == "fieldSelector"));
        query.append_pair("limit", "1").append_pair("resourceVersion", &version.to_string());
        query.append_pair("resourceVersionMatch", "NotOlderThan");
        format!("{}?{}", self.path, query.finish())
    }

    pub(super) fn path_with(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.selectors).extend_pairs(more);
        format!("{}?{}", self.path, query.finish())
    }
}

/// One step of a watch: a list from `Started` to `Done`, then what changes.
#[derive(Debug)]
pub enum Listed {
    Started,
    Object(Value),
    /// It left the selection, or is deleted.
    Left(Value),
    /// The list is complete, as of this version.
    Done(u64),
}

/// Whether it is an object, by its metadata.
pub(super) fn is_named(object: &Value) -> bool {
    object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}
