//! Answers that are more than one object: pages of lists, and watches.

use super::error::{ApiError, read, unsent};
use super::way::Incoming;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// One page of a list.
#[derive(Debug)]
pub(in crate::spoke) struct Page {
    pub version: String,
    /// Where the next page begins; empty where this is the last one.
    pub next: String,
    pub items: Vec<Value>,
    /// In bytes, as received.
    pub size: usize,
}

#[derive(serde::Deserialize)]
pub(super) struct List<T> {
    pub metadata: ListMeta,
    // Some servers say null for none; a list that does not speak of items is none.
    pub items: Option<Vec<T>>,
}

impl List<Slim> {
    pub fn whole(self) -> List<Value> {
        let items = self.items.map(|items| items.into_iter().map(|Slim(item)| item).collect());
        List { metadata: self.metadata, items }
    }
}

/// Items of a page, whole and as they are read where nobody asks who applied what. For `fuzz/`.
pub(in crate::spoke) fn pages(text: &[u8]) -> Vec<(Value, Value)> {
    let whole = read::<List<Value>>(text).ok().and_then(|list| list.items).unwrap_or_default();
    let slim = read::<List<Slim>>(text).ok().and_then(|list| list.whole().items).unwrap_or_default();
    whole.into_iter().zip(slim).collect()
}

/// An object of which nobody asks who applied what: by far the most of its metadata, and never kept while it is read.
pub(super) struct Slim(pub Value);

impl<'de> Deserialize<'de> for Slim {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        object.deserialize_map(Fields { metadata: false }).map(|fields| Self(Value::Object(fields)))
    }
}

/// The fields of an object, or of its metadata.
struct Fields {
    metadata: bool,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if self.metadata && name == "managedFields" {
                fields.next_value::<IgnoredAny>()?;
            } else if !self.metadata && name == "metadata" {
                found.insert(name, Value::Object(fields.next_value_seed(Self { metadata: true })?));
            } else {
                found.insert(name, fields.next_value()?);
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<Self::Value, D::Error> {
        object.deserialize_map(self)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    #[serde(default)]
    pub resource_version: String,
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// The events of a watch.
pub(in crate::spoke) struct Lines {
    body: Incoming,
    received: Vec<u8>,
    /// So much of it holds no line end.
    scanned: usize,
    /// Of the last event, in bytes.
    pub size: usize,
}

impl Lines {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, received: Vec::new(), scanned: 0, size: 0 }
    }

    /// The next event; `Ok(None)` when the server ended the watch. May be dropped and asked again.
    pub async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        loop {
            let rest = self.received.get(self.scanned..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let end = self.scanned + end;
                self.scanned = 0;
                // A watch is silent for most of the time: it keeps no room for events.
                let line = if end + 1 == self.received.len() {
                    std::mem::take(&mut self.received)
                } else {
                    self.received.drain(..=end).collect()
                };
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                self.size = line.len();
                return read(&line).map(Some);
            }
            self.scanned = self.received.len();
            let frame = std::future::poll_fn(|cx| {
                let body = std::pin::Pin::new(&mut self.body);
                hyper::body::Body::poll_frame(body, cx)
            });
            match frame.await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(unsent(&*error)),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_applied_what_is_left_out_and_nothing_else() {
        let item = |managed: bool| {
            let mut item = json!({
                "kind": "PartialObjectMetadata", "spec": {"metadata": {"managedFields": [1]}},
                "metadata": {"name": "a", "labels": {"managedFields": "x"}, "annotations": null, "generation": 3},
            });
            if managed {
                item["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {}}}]);
            }
            item
        };
        let list =
            |items: Value| json!({"metadata": {"resourceVersion": "7", "continue": "c"}, "items": items});
        let read = |list: Value| read::<List<Slim>>(list.to_string().as_bytes()).map(List::whole);
        let found = read(list(json!([item(true), item(false), {}]))).unwrap();
        assert_eq!(found.items, Some(vec![item(false), item(false), json!({})]));
        assert_eq!(
            (found.metadata.resource_version.as_str(), found.metadata.next.as_deref()),
            ("7", Some("c"))
        );
        assert_eq!(read(list(Value::Null)).unwrap().items, None);
        for wrong in [json!([3]), json!([{"metadata": 3}]), json!("x")] {
            assert!(read(list(wrong.clone())).is_err(), "{wrong}");
        }
    }
}
