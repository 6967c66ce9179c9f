//! What a cluster says of the kinds it serves.

use crate::api::Gvk;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A kind that a cluster serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    pub namespaced: bool,
    /// OpenAPI of the whole object: references resolved, recursion cut, `metadata` in full.
    pub schema: Value,
}

/// Whether a cluster serves a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Served {
    Yes(Arc<Kind>),
    No,
    /// Unknown: nobody who could tell was asked, so anything is believed.
    Unknown,
}

impl Served {
    pub fn kind(&self) -> Option<&Arc<Kind>> {
        match self {
            Self::Yes(kind) => Some(kind),
            Self::No | Self::Unknown => None,
        }
    }
}

/// The kinds of one cluster, or of none in particular.
pub trait Kinds {
    fn find(&self, gvk: &Gvk) -> Served;
}

/// Kinds of no cluster: every kind is unknown.
#[cfg(test)]
pub struct Anywhere;

#[cfg(test)]
impl Kinds for Anywhere {
    fn find(&self, _: &Gvk) -> Served {
        Served::Unknown
    }
}

/// Kinds of a cluster that serves exactly these.
impl Kinds for BTreeMap<Gvk, Arc<Kind>> {
    fn find(&self, gvk: &Gvk) -> Served {
        self.get(gvk).map_or(Served::No, |kind| Served::Yes(kind.clone()))
    }
}
