//! Names as types, so that a cluster cannot be passed where an instance is meant.

use super::shared;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Name of a `Cluster` object. `local` is an ordinary name; what makes a cluster local is its spec.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterName(Arc<str>);

/// What the hub is called where no Cluster stands for it. No object can have this name.
pub const ITSELF: &str = "@hub";

impl ClusterName {
    pub fn new(name: &str) -> Self {
        Self(shared::text(name))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether an object can have this name: labels of small letters, digits and dashes, with dots between them.
    pub fn may_be(text: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let label =
            |l: &str| !l.is_empty() && l.chars().all(inner) && !l.starts_with('-') && !l.ends_with('-');
        text.len() <= 253 && text.split('.').all(label)
    }
}
impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of this hub, as spokes see it in labels. Random, made once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HubId(Arc<str>);

impl HubId {
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Group and kind; the version does not matter for identity. Prints as kro's inventory does: `Deployment.apps`,
/// core kinds without a dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupKind {
    pub group: Arc<str>,
    pub kind: Arc<str>,
}
impl GroupKind {
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: shared::text(group), kind: shared::text(kind) }
    }
    /// Reads `Kind.group` or `Kind`.
    pub fn parse(text: &str) -> Self {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        Self::new(group, kind)
    }
}
impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Gvk {
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<str>,
}
impl Gvk {
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: shared::text(group), version: shared::text(version), kind: shared::text(kind) }
    }
    /// From `apiVersion` (`v1`, `apps/v1`) and `kind`.
    pub fn from_api(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }
}
impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

/// Kind, namespace and name. `namespace` is empty for what is cluster-scoped.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    pub gk: GroupKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Place {
    fn new(gk: GroupKind, namespace: &str, name: &str) -> Arc<Self> {
        Arc::new(Self { gk, namespace: shared::text(namespace), name: shared::text(name) })
    }
}

/// One object in one cluster. Its copies are one: maps of many objects hold it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef(Arc<Place>);

impl ObjectRef {
    pub fn new(gk: GroupKind, namespace: &str, name: &str) -> Self {
        Self(Place::new(gk, namespace, name))
    }
}
impl Deref for ObjectRef {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.0
    }
}
impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.gk, self.name)
        } else {
            write!(f, "{} {}/{}", self.gk, self.namespace, self.name)
        }
    }
}

/// An instance on the hub, and each of its mirrors: all have one key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey(Arc<Place>);

impl InstanceKey {
    pub fn new(gk: GroupKind, namespace: &str, name: &str) -> Self {
        Self(Place::new(gk, namespace, name))
    }
    /// The key of the instance that this object is.
    pub fn of(object: &ObjectRef) -> Self {
        Self(object.0.clone())
    }
    /// The object of this instance in a cluster: the instance itself on the hub, its mirror on a spoke.
    pub fn object(&self) -> ObjectRef {
        ObjectRef(self.0.clone())
    }
    /// `namespace/name`, or the name alone.
    pub fn short(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}
impl Deref for InstanceKey {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.0
    }
}
impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gk, self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_clusters_name() {
        let long = "a".repeat(253);
        for name in ["a", "prod-eu", "7", "eu.prod-1", &long] {
            assert!(ClusterName::may_be(name), "{name}");
        }
        for name in
            ["", "A", "a_b", "a/b", "-a", "a-", "a..b", ".a", "*", "@hub", "ä", "a b", &format!("{long}a")]
        {
            assert!(!ClusterName::may_be(name), "{name}");
        }
    }
}
