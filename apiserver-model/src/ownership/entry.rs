//! One entry of `metadata.managedFields`.

use crate::fields::Fields;
use crate::managed::Writer;
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

#[derive(Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) operation: Operation,
    pub(super) manager: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Fields,
}

impl Entry {
    /// What one write of the writer owns.
    pub(super) fn of(operation: Operation, writer: &Writer<'_>, time: Option<&str>, fields: Fields) -> Self {
        Self {
            operation,
            manager: writer.manager.to_owned(),
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: time.map(str::to_owned),
            fields,
        }
    }

    /// Applies of one manager are one entry whatever the version; updates are not.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let operation = match value.get("operation")?.as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            operation,
            manager: word("manager").unwrap_or_default(),
            api_version: word("apiVersion").unwrap_or_default(),
            subresource: word("subresource").unwrap_or_default(),
            time: word("time"),
            fields: Fields::from_json(value.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn write(&self) -> Value {
        let mut entry = Map::new();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.to_owned(), json!(value));
            }
        };
        set("manager", &self.manager);
        set("operation", self.operation.name());
        set("apiVersion", &self.api_version);
        set("time", self.time.as_deref().unwrap_or_default());
        set("fieldsType", "FieldsV1");
        set("subresource", &self.subresource);
        entry.insert("fieldsV1".to_owned(), self.fields.to_json());
        Value::Object(entry)
    }

    /// As a server names the manager in a conflict.
    pub(super) fn print(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

pub(super) fn entries(object: &Value) -> Vec<Entry> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Entry::read).collect()
}

/// The object without `managedFields`.
pub(super) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    object
}

pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.operation, seconds(e));
        let rest = |e: &Entry| (e.manager.clone(), e.api_version.clone(), e.subresource.clone());
        key(a).cmp(&key(b)).then_with(|| rest(a).cmp(&rest(b)))
    });
    let Some(object) = object.as_object_mut() else { return };
    if entries.is_empty() {
        return;
    }
    let meta = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("managedFields".to_owned(), entries.iter().map(Entry::write).collect());
    }
}

/// Times of whole seconds; an entry without one comes first.
pub(super) fn seconds(entry: &Entry) -> i64 {
    let time = entry.time.as_deref().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    time.map_or(0, jiff::Timestamp::as_second)
}
