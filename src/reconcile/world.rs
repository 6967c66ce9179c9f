//! What a cluster shows: the read side of the machines.

use super::bounds::Bounds;
use super::managers::Managers;
use super::rivals::Rival;
use super::side::Side;
use super::{Now, ownership};
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::api::naming;
use crate::api::packed::{At, Packed};
use crate::api::{Object, PackedObject, hash};
use crate::graph::Graph;
use crate::graph::{Reference, Target};
use crate::reconcile::Moment;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// An object as the cluster's watch (or the response to our own write) showed it last, prepared for judging.
#[derive(Clone)]
pub struct Stored {
    /// Without `managedFields`.
    pub object: PackedObject,
    managers: Managers,
}

/// Whatever the record of field managers says.
impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

/// Its name alone: values may be secret.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} as of {})", self.object.object_ref(), self.object.resource_version())
    }
}

impl Stored {
    pub fn new(mut object: Value) -> Self {
        let managers = Managers::of(&object);
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        Self { object: Object(object).pack(), managers }
    }

    /// What one of our field managers applied, as FieldsV1.
    pub fn fields(&self, manager: &str) -> Option<At<'_>> {
        self.managers.fields(manager)
    }

    /// What other field managers own, the last writer first.
    pub fn rivals(&self) -> Vec<Rival> {
        self.managers.rivals()
    }

    /// Whether `manager` applied what stands at this path, given in the words of FieldsV1, and nobody changed it since.
    pub fn covers(&self, manager: &str, path: &[&str]) -> bool {
        self.fields(manager).and_then(|fields| fields.at(path)).is_some()
    }

    /// The live values that `manager` owns.
    pub fn projection(&self, manager: &str) -> Option<Packed> {
        Some(ownership::project(self.fields(manager)?, self.object.0.root()))
    }

    /// Fingerprints of what `manager` owns: of the set of fields, and of their live values.
    pub fn fingerprint(&self, manager: &str) -> Option<(u64, u64)> {
        let values = self.projection(manager)?;
        Some((hash::fnv64(self.fields(manager)?.bytes()), hash::fnv64(values.root().bytes())))
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

/// What an instance reads on a cluster and does not own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lookup {
    pub gvk: Gvk,
    /// Empty: all namespaces. A cluster-scoped kind has none, whatever stands here.
    pub namespace: Arc<str>,
    pub selection: Selection,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selection {
    Name(Arc<str>),
    /// A label selector; the empty one selects everything.
    Labels(Arc<str>),
}

impl Lookup {
    /// What a reference means for an instance in the namespace `home`.
    ///
    /// # Errors
    /// The name or the namespace cannot be one.
    pub fn of(gvk: &Gvk, reference: Reference, home: &str) -> Result<Self, String> {
        let namespace = reference.namespace.unwrap_or_default();
        let (namespace, selection) = match reference.target {
            Target::Name(name) if namespace.is_empty() => (home.to_owned(), Selection::Name(name.into())),
            Target::Name(name) => (namespace, Selection::Name(name.into())),
            Target::Selector(selector) => (namespace, Selection::Labels(selector.into())),
        };
        let lookup = Self { gvk: gvk.clone(), namespace: namespace.into(), selection };
        let refused =
            |field: &str, why: &str| format!("external reference to {gvk}: metadata.{field}: {why}");
        if let Selection::Name(name) = &lookup.selection {
            naming::object(&gvk.group_kind(), name).map_err(|why| refused("name", why))?;
        }
        if !lookup.namespace.is_empty() {
            naming::namespace(&lookup.namespace).map_err(|why| refused("namespace", why))?;
        }
        Ok(lookup)
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.gvk)?;
        match (&self.selection, &*self.namespace) {
            (Selection::Name(name), "") => write!(f, " {name}"),
            (Selection::Name(name), namespace) => write!(f, " {namespace}/{name}"),
            (Selection::Labels(labels), "") => write!(f, " ({labels}) in all namespaces"),
            (Selection::Labels(labels), namespace) => write!(f, " ({labels}) in namespace {namespace}"),
        }
    }
}

/// What a cluster shows of a [`Lookup`].
#[derive(Clone, Debug)]
pub enum Looked {
    /// Nobody looks yet, or the first answer is awaited.
    NotYet,
    /// The cluster does not serve the kind in this version.
    NotServed,
    /// It could not be read; says why.
    Failed(String),
    /// All of it, by namespace and name.
    Found(Vec<Arc<Stored>>),
}

/// A definition on one cluster, judged by what the cluster serves.
#[derive(Clone, Debug)]
pub enum Compiled {
    /// Nobody asked yet.
    Unknown,
    Working,
    Fits(Arc<Graph>),
    /// Says which field or kind is missing there.
    Incompatible(String),
}

/// What is wanted of a generated CRD, as far as a refusal depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdWish {
    /// [`hash::json_hex`] of the content.
    pub hash: String,
    pub allow_breaking: bool,
}

/// Where a revision stands among those of its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// 0 where nobody knows it.
    pub number: u64,
    /// The hub has a newer one: its CRD goes where none of a later number is, and is never brought back.
    pub behind: bool,
}

/// The state of a generated CRD on this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrdState {
    Unknown,
    Working,
    /// Established, with this content ([`hash::json_hex`] of what we wanted; empty where it is of a newer revision).
    Ready {
        hash: String,
        /// It serves the revisions up to this number; 0 where nobody counts.
        serves: u64,
    },
    /// It is not ours, or changing it would break what is stored, or it did not become ready.
    Refused {
        reason: &'static str,
        message: String,
        /// What was refused: a wish for something else is tried at once.
        wish: CrdWish,
        /// From when on the same is tried again; `None` while it is being tried.
        retry_at: Option<Moment>,
    },
}

/// What a CRD's state means for one instance.
#[derive(Debug, PartialEq, Eq)]
pub enum CrdAnswer {
    /// The cluster serves what is wanted.
    Ready,
    /// The hub wants another revision there by now.
    Outdated,
    Working,
    /// It has to be brought there.
    Ensure,
    /// The same was refused before; `again` says when it is tried again.
    Refused {
        reason: &'static str,
        message: String,
        again: Again,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Again {
    Now,
    At(Moment),
    UnderWay,
}

impl CrdState {
    /// `wanted`: the content that the hub asked for last, for whichever instance of the kind.
    pub fn answer(self, wish: &CrdWish, rank: Rank, wanted: Option<&str>, now: &Now) -> CrdAnswer {
        // Who is behind does not go by what the hub wants by now.
        let wanted = wanted.filter(|_| !rank.behind);
        match self {
            Self::Ready { hash, .. } if hash == wish.hash => CrdAnswer::Ready,
            Self::Ready { serves, .. } if rank.behind && serves >= rank.number => CrdAnswer::Ready,
            // Not by generation: a definition may be made again, or come from a backup.
            Self::Ready { .. } if wanted.is_some_and(|last| last != wish.hash) => CrdAnswer::Outdated,
            Self::Refused { reason, message, wish: refused, retry_at } if refused == *wish => {
                let again = match retry_at {
                    Some(at) if at <= now.at => Again::Now,
                    Some(at) => Again::At(at),
                    None => Again::UnderWay,
                };
                CrdAnswer::Refused { reason, message, again }
            }
            Self::Working => CrdAnswer::Working,
            Self::Unknown | Self::Ready { .. } | Self::Refused { .. } => CrdAnswer::Ensure,
        }
    }
}

/// A definition of the hub whose instances another definition may make on this cluster.
#[derive(Clone, Debug)]
pub struct Definition {
    /// As the hub compiled it.
    pub graph: Arc<Graph>,
    /// Compatibility of the generated CRD is overridden by the author.
    pub allow_breaking: bool,
}

/// A view of one cluster at one moment.
pub trait World {
    /// Where resources may be written.
    fn bounds(&self) -> &Bounds;
    fn kind(&self, gk: &GroupKind) -> KindState;
    /// A part of a definition, compiled for this cluster.
    fn graph(&self, hub: &Arc<Graph>, side: Side) -> Compiled;
    fn crd(&self, gk: &GroupKind) -> CrdState;
    /// [`CrdWish::hash`] of what the hub asked for last, for whichever instance of the kind.
    fn crd_wanted(&self, gk: &GroupKind) -> Option<String>;
    /// The definition that generates a kind, if one of this hub does.
    fn definition(&self, gk: &GroupKind) -> Option<Definition>;
    fn get(&self, object: &ObjectRef) -> Option<Arc<Stored>>;
    /// Every known object that carries this ApplySet id in its `part-of` label.
    fn members(&self, applyset: &str) -> Vec<(ObjectRef, Arc<Stored>)>;
    /// What is read and not ours. It is looked for as long as a step names it among its reads.
    fn look(&self, lookup: &Lookup) -> Looked;
    /// Why what changes of a kind is not seen, though all of it was once; only where that lasts.
    fn blind(&self, _: &GroupKind) -> Option<String> {
        None
    }
    /// The same of what is read and not ours.
    fn blind_to(&self, _: &Lookup) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_lookup_says_what_it_looks_for_and_refuses_what_no_object_can_be() {
        let name = |n: &str| Target::Name(n.into());
        let labels = |s: &str| Target::Selector(s.into());
        let cases = [
            (None, name("a"), Ok("v1 ConfigMap home/a")),
            (Some(""), name("a"), Ok("v1 ConfigMap home/a")),
            (Some("n"), name("a"), Ok("v1 ConfigMap n/a")),
            (None, labels("x=y"), Ok("v1 ConfigMap (x=y) in all namespaces")),
            (Some("n"), labels(""), Ok("v1 ConfigMap () in namespace n")),
            (None, name(""), Err("external reference to v1 ConfigMap: metadata.name: it is empty")),
            (
                Some("../x"),
                name("a"),
                Err("external reference to v1 ConfigMap: metadata.namespace: it contains /"),
            ),
        ];
        for (namespace, target, want) in cases {
            let reference = Reference { namespace: namespace.map(str::to_owned), target };
            let got = Lookup::of(&Gvk::new("", "v1", "ConfigMap"), reference, "home");
            assert_eq!(got.map(|l| l.to_string()), want.map(str::to_owned).map_err(str::to_owned));
        }
    }

    fn wish(hash: &str, allow_breaking: bool) -> CrdWish {
        CrdWish { hash: hash.into(), allow_breaking }
    }

    /// What an instance hears that wants content `new`, at time 100.
    fn answer(state: CrdState, wanted: Option<&str>) -> CrdAnswer {
        ranked(state, Rank::default(), wanted)
    }

    fn ranked(state: CrdState, rank: Rank, wanted: Option<&str>) -> CrdAnswer {
        state.answer(&wish("new", false), rank, wanted, &Now { at: at(100), rfc3339: String::new() })
    }

    fn ready(hash: &str) -> CrdState {
        CrdState::Ready { hash: hash.into(), serves: 4 }
    }

    #[test]
    fn who_is_behind_is_served_by_what_is_newer_and_brings_what_is_older_up() {
        for (number, answer) in
            [(3, CrdAnswer::Ready), (4, CrdAnswer::Ready), (5, CrdAnswer::Ensure), (0, CrdAnswer::Ready)]
        {
            let behind = Rank { number, behind: true };
            assert_eq!(ranked(ready("other"), behind, Some("newest")), answer, "{number}");
        }
        let behind = Rank { number: 5, behind: true };
        assert_eq!(ranked(ready("new"), behind, Some("newest")), CrdAnswer::Ready);
        assert_eq!(ranked(CrdState::Unknown, behind, Some("newest")), CrdAnswer::Ensure);
    }

    #[test]
    fn only_what_the_hub_wanted_later_is_waited_for() {
        assert_eq!(answer(ready("new"), None), CrdAnswer::Ready);
        assert_eq!(answer(ready("new"), Some("other")), CrdAnswer::Ready);
        assert_eq!(answer(ready("old"), Some("new")), CrdAnswer::Ensure);
        assert_eq!(answer(ready("old"), None), CrdAnswer::Ensure);
        assert_eq!(answer(ready("newer"), Some("newer")), CrdAnswer::Outdated);
        assert_eq!(answer(ready("old"), Some("newer")), CrdAnswer::Outdated);
    }

    #[test]
    fn a_refusal_holds_for_the_same_wish_until_its_time() {
        let refused = |wish: CrdWish, retry_at| CrdState::Refused {
            reason: "Incompatible",
            message: "no".into(),
            wish,
            retry_at,
        };
        let again = |retry_at| match answer(refused(wish("new", false), retry_at), None) {
            CrdAnswer::Refused { again, .. } => Some(again),
            _ => None,
        };
        assert_eq!(again(Some(at(101))), Some(Again::At(at(101))));
        assert_eq!(again(Some(at(100))), Some(Again::Now));
        assert_eq!(again(None), Some(Again::UnderWay));
        assert_eq!(answer(refused(wish("mended", false), Some(at(101))), None), CrdAnswer::Ensure);
        assert_eq!(answer(refused(wish("new", true), Some(at(101))), None), CrdAnswer::Ensure);
    }
}
