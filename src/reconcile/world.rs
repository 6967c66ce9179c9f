//! What a cluster shows: the read side of the machines.

use super::ownership;
use crate::api::names::{GroupKind, ObjectRef};
use crate::api::{Object, hash, keys::kro};
use serde_json::Value;
use std::sync::Arc;

/// An object as the cluster's watch (or the response to our own write) showed it last, prepared for judging.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Without `managedFields`.
    pub object: Object,
    /// FieldsV1 of each of our field managers that applied something.
    owned: Vec<(&'static str, Value)>,
    /// The manager, other than ours, that wrote last.
    pub foreign_writer: Option<String>,
}

const OUR_MANAGERS: [&str; 3] = [kro::MANAGER_APPLYSET, kro::MANAGER_PARENT, kro::MANAGER_LABELLER];

impl Stored {
    pub fn new(mut object: Value) -> Self {
        let owned = OUR_MANAGERS
            .iter()
            .filter_map(|m| Some((*m, ownership::applied_fields(&object, m)?.clone())))
            .collect();
        let foreign_writer = ownership::last_foreign_manager(&object, &OUR_MANAGERS);
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        Self { object: Object(object), owned, foreign_writer }
    }

    /// What `manager` applied, as FieldsV1.
    pub fn fields(&self, manager: &str) -> Option<&Value> {
        self.owned.iter().find(|(m, _)| *m == manager).map(|(_, f)| f)
    }

    /// The live values that `manager` owns.
    pub fn projection(&self, manager: &str) -> Option<Value> {
        Some(ownership::project(self.fields(manager)?, &self.object.0))
    }

    /// Fingerprints of what `manager` owns: of the set of fields, and of their live values.
    pub fn fingerprint(&self, manager: &str) -> Option<(u64, u64)> {
        let fields = self.fields(manager)?;
        Some((hash::json(fields), hash::json(&self.projection(manager)?)))
    }
}

/// Whether this cluster serves a kind, and whether we see all of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindState {
    /// Nobody asked yet.
    Unknown,
    /// Being looked up, or its first list is under way.
    Syncing,
    /// The cluster does not serve it.
    Missing,
    /// Every object of the kind that matters is known.
    Synced { namespaced: bool },
    /// It cannot be watched; says why.
    Failed(String),
}

/// The state of a generated CRD on this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrdState {
    Unknown,
    Working,
    /// Established, with this content ([`hash::json_hex`] of what we wanted).
    Ready {
        hash: String,
        /// Generation of the RGD that the content came from.
        generation: i64,
    },
    /// It is not ours, or changing it would break what is stored.
    Refused {
        reason: &'static str,
        message: String,
    },
}

/// A view of one cluster at one moment.
pub trait World {
    fn kind(&self, gk: &GroupKind) -> KindState;
    fn crd(&self, gk: &GroupKind) -> CrdState;
    fn get(&self, object: &ObjectRef) -> Option<Arc<Stored>>;
    /// Every known object that carries this ApplySet id in its `part-of` label.
    fn members(&self, applyset: &str) -> Vec<(ObjectRef, Arc<Stored>)>;
}
