//! Which part of a definition one cluster makes: some resources live on the hub, once for all clusters.

use crate::api::hash;
use crate::graph::{Graph, Node};
use crate::reconcile::side::Side;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub enum Part {
    /// Everything: nothing is kept apart on the hub, or this is the hub and the instance is placed there too.
    #[default]
    Whole,
    /// Only what lives on the hub.
    Hub,
    /// All the rest; and what the hub shows of its part.
    Rest(Arc<HubValues>),
}

impl Part {
    /// It without what it carries.
    pub fn side(&self) -> Side {
        match self {
            Self::Whole => Side::Whole,
            Self::Hub => Side::Hub,
            Self::Rest(_) => Side::Rest,
        }
    }

    /// Whether a node is made, or read, here.
    pub fn has(&self, node: &Node) -> bool {
        self.side().has(node)
    }

    pub(in crate::reconcile) fn mark(&self) -> Value {
        match self {
            Self::Whole => Value::Null,
            Self::Hub => "hub".into(),
            Self::Rest(values) => values.mark().into(),
        }
    }
}

/// Whether some resource of the definition lives on the hub, or is read there.
pub fn has_hub_part(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| node.on_hub)
}

/// What the hub shows of its part of a definition, by node: only what is ready there.
#[derive(Clone, Default, PartialEq)]
pub struct HubValues(BTreeMap<String, Vec<Value>>);

/// Names only: values may be secret.
impl fmt::Debug for HubValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl HubValues {
    pub fn insert(&mut self, node: &str, objects: Vec<Value>) {
        self.0.insert(node.to_owned(), objects);
    }
    pub fn get(&self, node: &str) -> Option<&[Value]> {
        self.0.get(node).map(Vec::as_slice)
    }

    /// Changes when a cluster has to hear of it: a new version of an object alone is no news.
    pub fn mark(&self) -> u64 {
        let mut values = self.0.clone();
        for metadata in values.values_mut().flatten().filter_map(|o| o.get_mut("metadata")) {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("resourceVersion");
            }
        }
        hash::json(&serde_json::to_value(values).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_version_alone_is_no_news_and_values_are_not_printed() {
        let of = |version: &str, data: &str| {
            let mut values = HubValues::default();
            values.insert("db", vec![json!({"metadata": {"resourceVersion": version}, "data": data})]);
            values
        };
        assert_eq!(of("1", "x").mark(), of("2", "x").mark());
        assert_ne!(of("1", "x").mark(), of("1", "y").mark());
        assert_eq!(format!("{:?}", of("1", "geheim")), r#"{"db"}"#);
    }
}
