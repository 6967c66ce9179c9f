//! The ApplySet bookkeeping on an instance: which kinds and namespaces may hold its children.

use super::keys::kro;
use super::names::{GroupKind, InstanceKey};
use super::naming::{is_dns_label, is_dns_subdomain};
use super::shared::Shared;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// `applyset-<base64url(sha256(name.namespace.Kind.group))>-v1`.
pub fn id(key: &InstanceKey) -> String {
    let text = format!("{}.{}.{}.{}", key.name, key.namespace, key.gk.kind, key.gk.group);
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes())))
}

/// Kinds and namespaces that may hold children of one instance: always a superset of what exists.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Inventory {
    pub group_kinds: BTreeSet<GroupKind>,
    /// Never lists the instance's own namespace.
    pub namespaces: BTreeSet<String>,
}

/// Why an inventory on an object cannot be trusted. Deletion stays blocked until it is repaired.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InventoryError {
    #[error("label {} is {found:?}, expected {expected:?}", kro::APPLYSET_ID)]
    Id { found: String, expected: String },
    #[error("annotation {} is {found:?}, expected a value that starts with \"kro/\"", kro::APPLYSET_TOOLING)]
    Tooling { found: String },
    #[error("annotation {0} is missing")]
    Missing(&'static str),
    #[error("annotation {} names {found:?}, which is not a kind with a group", kro::APPLYSET_GROUP_KINDS)]
    GroupKind { found: String },
    #[error("annotation {} names {found:?}, which is not a namespace", kro::APPLYSET_NAMESPACES)]
    Namespace { found: String },
    #[error("annotation {} does not match the lists", kro::INVENTORY_HASH)]
    Hash,
}

impl Inventory {
    /// One that is kept once for all instances that have the same.
    pub fn shared(&self) -> Arc<Self> {
        static ALL: LazyLock<Shared<Inventory>> = LazyLock::new(Shared::new);
        ALL.one(self, |own| Arc::new(own.clone()))
    }
    fn group_kinds_text(&self) -> String {
        let names: BTreeSet<String> = self.group_kinds.iter().map(GroupKind::to_string).collect();
        names.into_iter().collect::<Vec<_>>().join(",")
    }
    fn namespaces_text(&self) -> String {
        self.namespaces.iter().cloned().collect::<Vec<_>>().join(",")
    }

    pub fn hash(&self, id: &str) -> String {
        let text = format!("{id}\0{}\0{}", self.group_kinds_text(), self.namespaces_text());
        format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes())))
    }

    /// The four annotations that record this inventory on the instance.
    pub fn annotations(&self, id: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (kro::APPLYSET_TOOLING.into(), format!("kro/{}", kro::COMPATIBLE_VERSION)),
            (kro::APPLYSET_GROUP_KINDS.into(), self.group_kinds_text()),
            (kro::APPLYSET_NAMESPACES.into(), self.namespaces_text()),
            (kro::INVENTORY_HASH.into(), self.hash(id)),
        ])
    }

    /// Reads the inventory of an instance; `Ok(None)` where none was ever written.
    pub fn read(
        key: &InstanceKey,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, InventoryError> {
        let keys =
            [kro::APPLYSET_TOOLING, kro::APPLYSET_GROUP_KINDS, kro::APPLYSET_NAMESPACES, kro::INVENTORY_HASH];
        let found_id = labels.get(kro::APPLYSET_ID);
        if found_id.is_none() && !keys.iter().any(|k| annotations.contains_key(*k)) {
            return Ok(None);
        }
        let expected = id(key);
        let found = found_id.cloned().unwrap_or_default();
        if found != expected {
            return Err(InventoryError::Id { found, expected });
        }
        let get = |k: &'static str| annotations.get(k).ok_or(InventoryError::Missing(k));
        let tooling = get(kro::APPLYSET_TOOLING)?;
        if !tooling.starts_with("kro/") {
            return Err(InventoryError::Tooling { found: tooling.clone() });
        }
        let mut inventory = Self::default();
        for text in split(get(kro::APPLYSET_GROUP_KINDS)?) {
            let gk = GroupKind::parse(text);
            let kind_ok = !gk.kind.is_empty() && !gk.kind.contains(char::is_whitespace);
            if !kind_ok || !(gk.group.is_empty() || is_dns_subdomain(&gk.group)) {
                return Err(InventoryError::GroupKind { found: text.to_owned() });
            }
            inventory.group_kinds.insert(gk);
        }
        for text in split(get(kro::APPLYSET_NAMESPACES)?) {
            if !is_dns_label(text) {
                return Err(InventoryError::Namespace { found: text.to_owned() });
            }
            inventory.namespaces.insert(text.to_owned());
        }
        match annotations.get(kro::INVENTORY_HASH) {
            Some(hash) if *hash != inventory.hash(&expected) => Err(InventoryError::Hash),
            _ => Ok(Some(inventory)),
        }
    }

    pub fn union(&self, other: &Self) -> Self {
        Self {
            group_kinds: self.group_kinds.union(&other.group_kinds).cloned().collect(),
            namespaces: self.namespaces.union(&other.namespaces).cloned().collect(),
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str) -> InstanceKey {
        InstanceKey::new(GroupKind::new("kro.run", "WebApp"), namespace, "my-app")
    }
    const NAMESPACED: &str = "applyset-9sHw3-6HBl2VO07VeDzfkQhwSs1_MRB3IBzTC1N-yt8-v1";
    const CLUSTER: &str = "applyset-Kp3ikhJaK9rcXpgWP5cGultGKDirfD9JfN-uVyh5_E8-v1";

    #[test]
    fn ids() {
        assert_eq!(id(&key("default")), NAMESPACED);
        assert_eq!(id(&key("")), CLUSTER);
    }

    #[test]
    fn hashes() {
        let empty = Inventory::default();
        assert_eq!(empty.hash(NAMESPACED), "sha256:1x81nrdBKkkUPEzaYT1v309p4r3tgUOrQIEfnPqY2ig");
        assert_eq!(empty.hash(CLUSTER), "sha256:hoEEd0-N_RUcaK08nPqhVx_Lkgi2l4auEl3dib9JJSM");
        let full = Inventory {
            group_kinds: [GroupKind::new("", "ConfigMap"), GroupKind::new("apps", "Deployment")].into(),
            namespaces: ["a".to_owned(), "b".to_owned()].into(),
        };
        assert_eq!(full.hash(NAMESPACED), "sha256:mKsRdHFFCuQSusdT-tzyp7VaMzSQA4uLY5YDUw8I_t4");
    }

    #[test]
    fn what_is_written_reads_back_and_tampering_is_seen() {
        let key = key("default");
        let inventory = Inventory {
            group_kinds: [GroupKind::new("apps", "Deployment"), GroupKind::new("", "Service")].into(),
            namespaces: ["other".to_owned()].into(),
        };
        let labels = BTreeMap::from([(kro::APPLYSET_ID.to_owned(), id(&key))]);
        let mut annotations = inventory.annotations(&id(&key));
        assert_eq!(Inventory::read(&key, &labels, &annotations), Ok(Some(inventory)));
        annotations.insert(kro::APPLYSET_NAMESPACES.into(), "other,kube-system".into());
        assert_eq!(Inventory::read(&key, &labels, &annotations), Err(InventoryError::Hash));
        assert_eq!(Inventory::read(&key, &BTreeMap::new(), &BTreeMap::new()), Ok(None));
    }
}
