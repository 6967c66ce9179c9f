//! What tables give a machine: a cluster that is shown as a whole, and requests that are made at once.

use super::api_server::Server;
use super::http_server::resource_of;
use super::wire::{Fault, Request};
use crate::api::names::{GroupKind, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::spoke::{Action, Outcome, Side, Task};
use crate::reconcile::world::{Compiled, CrdState, Definition, KindState, Looked, Lookup, Stored, World};
use crate::spoke::perform;
use crate::spoke::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cluster as a table gives it: its objects as the store keeps them, the rest as it is said.
pub struct Given {
    pub store: Store,
    pub crd: CrdState,
    pub crd_wanted: Option<String>,
    pub lookups: BTreeMap<Lookup, Looked>,
}

impl Given {
    /// Everything that a server has now, as if all of it had been listed.
    pub fn complete(server: &Server, kinds: &[GroupKind], crd: CrdState) -> Self {
        let mut store = Store::default();
        for gk in kinds {
            store.kind_mut(gk).state = match server.kind(gk) {
                Some(kind) => KindState::Synced { namespaced: kind.namespaced },
                None => KindState::Missing,
            };
            for value in server.list(gk, None) {
                let stored = Arc::new(Stored::new((**value).clone()));
                store.objects.upsert(&stored.object.object_ref(), stored);
            }
        }
        Self { store, crd, crd_wanted: None, lookups: BTreeMap::new() }
    }
}

impl World for Given {
    fn bounds(&self) -> &Bounds {
        self.store.bounds()
    }
    fn kind(&self, gk: &GroupKind) -> KindState {
        self.store.kind(gk)
    }
    /// Every cluster serves the same.
    fn graph(&self, hub: &Arc<Graph>, _: Side) -> Compiled {
        Compiled::Fits(hub.clone())
    }
    fn crd(&self, _: &GroupKind) -> CrdState {
        self.crd.clone()
    }
    fn crd_wanted(&self, _: &GroupKind) -> Option<String> {
        self.crd_wanted.clone()
    }
    /// No definition makes instances of another.
    fn definition(&self, _: &GroupKind) -> Option<Definition> {
        None
    }
    fn get(&self, object: &ObjectRef) -> Option<Arc<Stored>> {
        self.store.get(object)
    }
    fn members(&self, applyset: &str) -> Vec<(ObjectRef, Arc<Stored>)> {
        self.store.members(applyset)
    }
    fn blind(&self, gk: &GroupKind) -> Option<String> {
        self.store.blind(gk)
    }
    fn look(&self, lookup: &Lookup) -> Looked {
        self.lookups.get(lookup).cloned().unwrap_or(Looked::NotYet)
    }
}

/// Makes the request of an action at once; each of its calls fails like this.
pub fn perform(server: &mut Server, task: &Arc<Task>, action: &Action, fault: Option<Fault>) -> Vec<Outcome> {
    let (task, action) = (task.clone(), action.clone());
    let kind = perform::target(&action).filter(|gk| server.kind(gk).is_some());
    let resource = kind.map(resource_of);
    let request =
        Request::new(|client| async move { perform::perform(&client, &task, action, resource).await });
    request.run(server, fault).outcomes
}
