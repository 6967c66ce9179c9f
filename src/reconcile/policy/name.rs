//! What a Placement or ClusterPlacement is called.

use std::fmt;
use std::sync::Arc;

/// The order is that in which overrides apply: ClusterPlacements by name, then Placements by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// Empty for a ClusterPlacement.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl PolicyName {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn is_of_cluster(&self) -> bool {
        self.namespace.is_empty()
    }

    /// As the record of an instance names it. A Placement is always one of the instance's namespace.
    pub fn recorded(&self) -> String {
        if self.is_of_cluster() { format!("@{}", self.name) } else { self.name.to_string() }
    }

    /// What the record of an instance of this namespace means.
    pub fn of_record(text: &str, namespace: &str) -> Self {
        match text.strip_prefix('@') {
            Some(name) => Self::new("", name),
            None => Self::new(namespace, text),
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_cluster() {
            write!(f, "ClusterPlacement {}", self.name)
        } else {
            write!(f, "Placement {}/{}", self.namespace, self.name)
        }
    }
}
