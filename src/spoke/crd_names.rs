//! The CRDs of a cluster, by name: the one watch that every cluster always keeps.

use super::client::{Verbs, path};
use super::crd::Mark;
use super::crd_book::Shown;
use super::listwatch::{self, Listed, Wanted};
use crate::api::hash;
use crate::api::keys::{hub, kro};
use crate::api::maps::{HashMap, HashSet};
use crate::api::names::{GroupKind, HubId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde_json::Value;

/// A CustomResourceDefinition appeared, changed or went.
#[derive(Debug, Clone)]
pub struct CrdSeen {
    pub name: String,
    pub group: std::sync::Arc<str>,
    /// The kind, where a hub wrote it there.
    pub gk: Option<GroupKind>,
    pub mark: Mark,
    pub gone: bool,
    /// Generated from a definition, by the labels that kro and the hub give it where definitions live.
    pub generated: bool,
    /// It was there when the watch began.
    pub first: bool,
    /// A list shows it, and not an event.
    pub listed: bool,
}

impl CrdSeen {
    /// How it was seen.
    pub(super) fn shown(&self) -> Shown {
        match (self.gone, self.listed) {
            (true, _) => Shown::Gone,
            (false, true) => Shown::Listed,
            (false, false) => Shown::Changed,
        }
    }
    pub fn ours(&self, hub_id: &HubId) -> bool {
        self.mark.hub_id.as_deref() == Some(hub_id.as_str())
    }
}

/// Whether a CRD of this name is for the kind.
pub fn is_crd_of(name: &str, resource: &ApiResource) -> bool {
    name.strip_prefix(&resource.plural) == Some(&format!(".{}", resource.group))
}

/// Watches the names of all CRDs until `told` says to stop: the one watch that every cluster always keeps, and so its
/// sign of life.
pub async fn crds(client: &Verbs, told: impl Fn(CrdSeen) -> bool) {
    let resource = super::crd::crd_resource();
    let wanted =
        Wanted { path: path(&resource, "", ""), kind: resource.kind, selectors: Vec::new(), metadata: true };
    let mut names = CrdNames::default();
    let listed = |seen: Listed| names.take(seen).into_iter().all(&told);
    listwatch::follow(client, &wanted, listed, |_, _| true).await;
}

/// The CRDs as they were seen last: what changed since, also between two lists.
#[derive(Default)]
pub(crate) struct CrdNames {
    known: HashMap<String, Known>,
    /// Names in the list that is being received.
    listing: Option<HashSet<String>>,
    /// A list was received to its end.
    synced: bool,
}

/// Kept small: every cluster has one of these for each of its CRDs.
#[derive(PartialEq, Eq)]
struct Known {
    uid: Box<str>,
    generation: i64,
    hub_id: u32,
}

impl Known {
    fn of(mark: &Mark) -> Self {
        let hub_id = hash::fnv32(mark.hub_id.as_deref().unwrap_or_default());
        Self { uid: mark.uid.as_str().into(), generation: mark.generation, hub_id }
    }
}

impl CrdNames {
    pub fn take(&mut self, event: Listed) -> Vec<CrdSeen> {
        match event {
            Listed::Started => {
                self.listing = Some(HashSet::default());
                Vec::new()
            }
            Listed::Object(crd) => {
                let mut seen = seen(metadata(&crd), false);
                if let Some(seen) = &mut seen {
                    seen.first = !self.synced;
                    seen.listed = self.listing.is_some();
                }
                if let (Some(listing), Some(seen)) = (&mut self.listing, &seen) {
                    listing.insert(seen.name.clone());
                }
                // Status changes come without a new generation; only `Established` matters among them, and whoever waits
                // for that asks.
                let is_new = |seen: &CrdSeen, known: &mut HashMap<String, Known>| {
                    let now = Known::of(&seen.mark);
                    let same = known.get(&seen.name) == Some(&now);
                    known.insert(seen.name.clone(), now);
                    !same
                };
                seen.filter(|s| is_new(s, &mut self.known)).into_iter().collect()
            }
            Listed::Left(crd) => {
                let seen = seen(metadata(&crd), true);
                if let Some(seen) = &seen {
                    self.known.remove(&seen.name);
                }
                seen.into_iter().collect()
            }
            Listed::Done(_) => {
                self.synced = true;
                let Some(listing) = self.listing.take() else { return Vec::new() };
                let lost = self.known.extract_if(|name, _| !listing.contains(name));
                lost.filter_map(|(name, known)| {
                    let mark = Mark { uid: known.uid.into(), generation: known.generation, hub_id: None };
                    let group = name.split_once('.')?.1.into();
                    Some(CrdSeen {
                        name,
                        group,
                        gk: None,
                        mark,
                        gone: true,
                        generated: false,
                        first: false,
                        listed: true,
                    })
                })
                .collect()
            }
        }
    }
}

fn metadata(object: &Value) -> ObjectMeta {
    let metadata = object.get("metadata").map(serde::Deserialize::deserialize);
    metadata.and_then(Result::ok).unwrap_or_default()
}

fn seen(meta: ObjectMeta, gone: bool) -> Option<CrdSeen> {
    let name = meta.name.unwrap_or_default();
    let group = name.split_once('.')?.1.to_owned();
    let kind = meta.annotations.as_ref().and_then(|m| m.get(super::crd::KIND_ANNOTATION));
    Some(CrdSeen {
        gk: kind.map(|kind| GroupKind::new(&group, kind)),
        group: group.into(),
        mark: Mark {
            uid: meta.uid.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            hub_id: meta.labels.as_ref().and_then(|m| m.get(hub::HUB_ID)).cloned(),
        },
        generated: meta.labels.as_ref().is_some_and(|m| m.get(kro::OWNED).is_some_and(|v| v == "true")),
        first: false,
        listed: false,
        gone,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crd(uid: &str, generation: i64) -> Value {
        let meta = json!({"name": "apps.kro.run", "uid": uid, "generation": generation,
            "annotations": {super::super::crd::KIND_ANNOTATION: "App"}});
        json!({"metadata": meta})
    }

    #[test]
    fn what_happened_to_a_crd_between_two_lists_is_seen() {
        use Listed::{
            Done as InitDone, Left as Delete, Object as Apply, Object as InitApply, Started as Init,
        };
        let mut names = CrdNames::default();
        let mut take = |event| -> Vec<(String, bool)> {
            names.take(event).into_iter().map(|s| (s.mark.uid, s.gone)).collect()
        };
        let one = |uid: &str, gone: bool| vec![(uid.to_owned(), gone)];
        take(Init);
        assert_eq!(take(InitApply(crd("a", 1))), one("a", false));
        assert!(take(InitDone(9)).is_empty());
        // Its status changed.
        assert!(take(Apply(crd("a", 1))).is_empty());
        assert_eq!(take(Apply(crd("a", 2))), one("a", false));
        // The watch broke; meanwhile another one of the same generation took its place.
        take(Init);
        assert_eq!(take(InitApply(crd("b", 2))), one("b", false));
        assert!(take(InitDone(9)).is_empty());
        // Its etcd was restored: a list shows an earlier generation.
        take(Init);
        assert_eq!(take(InitApply(crd("b", 1))), one("b", false));
        assert!(take(InitDone(9)).is_empty());
        // It broke again, and meanwhile the CRD went.
        take(Init);
        assert_eq!(take(InitDone(9)), one("b", true));
        assert_eq!(take(Apply(crd("c", 1))), one("c", false));
        assert_eq!(take(Delete(crd("c", 1))), one("c", true));
    }
}
