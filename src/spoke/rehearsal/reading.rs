//! What an actor watches is read once.

use super::{Answer, Failed, Stage};
use crate::api::Object;
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::graph::Graph;
use crate::reconcile::world::{Lookup, Selection, Stored};
use crate::spoke::actor::{Event, ToJudge};
use crate::spoke::client::ApiError;
use crate::spoke::crd;
use crate::spoke::discovery::{Served, discover};
use crate::spoke::lists::{self, Which};
use crate::spoke::references::Subject;
use crate::spoke::watch::Seen;
use kube::core::ApiResource;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Stage<'_> {
    pub(super) async fn list(
        &self,
        gk: GroupKind,
        gvk: Option<Gvk>,
        selector: Option<String>,
        serial: u64,
    ) -> Result<Answer, Failed> {
        let seen = |seen: Vec<Seen>| {
            let events = seen.into_iter().map(|seen| Event::Watch(gk.clone(), serial, seen)).collect();
            Answer { events, ..Answer::default() }
        };
        let Some(served) = self.discover(&gk, gvk.as_ref()).await? else {
            // Its CRD would be there by now.
            return Ok(match self.coming.get(&gk) {
                Some((graph, _)) => seen(listed(&of_graph(graph), Vec::new())),
                None => seen(vec![Seen::NotServed]),
            });
        };
        let (objects, narrowed) = self.listed(&served, selector.as_deref()).await?;
        let live: Vec<(ObjectRef, Option<Arc<Value>>)> = objects
            .iter()
            .map(|object| (Object(object.clone()).object_ref(), Some(Arc::new(object.clone()))))
            .collect();
        Ok(Answer { live, narrowed, ..seen(listed(&served, objects)) })
    }

    /// What may be seen of a kind; its name, where that is not all.
    async fn listed(
        &self,
        served: &Served,
        selector: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), Failed> {
        let (resource, none) = (&served.resource, BTreeSet::new());
        let homes = if served.namespaced { &self.homes } else { &none };
        let read = lists::within_reach(self.verbs, resource, selector, homes).await;
        let (objects, narrowed) = read.map_err(failed(|| format!("list {}", named(resource))))?;
        Ok((objects, narrowed.then(|| named(resource))))
    }

    async fn discover(&self, gk: &GroupKind, gvk: Option<&Gvk>) -> Result<Option<Served>, Failed> {
        discover(self.verbs, gk, gvk).await.map_err(failed(|| format!("look up {gk}")))
    }

    /// What external references read; as on a cluster, in the version that they name alone.
    pub(super) async fn reference(
        &self,
        subject: Subject,
        known: Option<Served>,
        serial: u64,
    ) -> Result<Answer, Failed> {
        let gvk = subject.gvk().clone();
        let tell = |seen: Vec<Seen>| -> Vec<Event> {
            seen.into_iter().map(|seen| Event::Reference(subject.clone(), serial, seen)).collect()
        };
        let served = match known {
            Some(known) => Some(known),
            None => self.discover(&gvk.group_kind(), Some(&gvk)).await?,
        };
        let Some(served) = served.filter(|served| *served.resource.version == *gvk.version) else {
            return Ok(Answer { events: tell(vec![Seen::NotServed]), ..Answer::default() });
        };
        let (objects, narrowed) = match &subject {
            Subject::Kind(_) => self.listed(&served, None).await?,
            Subject::Lookup(lookup) => {
                let read = self.look(lookup, &served).await;
                (read.map_err(failed(|| format!("read {}", named(&served.resource))))?, None)
            }
        };
        let mut events = vec![Event::Served(gvk, served.clone())];
        events.extend(tell(listed(&served, objects)));
        Ok(Answer { events, narrowed, ..Answer::default() })
    }

    pub(super) async fn ask(&self, lookup: Lookup) -> Result<Answer, Failed> {
        let answer = match self.discover(&lookup.gvk.group_kind(), Some(&lookup.gvk)).await? {
            None => Ok(None),
            Some(served) => {
                let read = self.look(&lookup, &served).await;
                let read = read.map_err(failed(|| format!("read {}", named(&served.resource))))?;
                Ok(read.into_iter().next().map(Stored::new))
            }
        };
        Ok(Answer { events: vec![Event::Answered(lookup, answer)], ..Answer::default() })
    }

    async fn look(&self, lookup: &Lookup, served: &Served) -> Result<Vec<Value>, ApiError> {
        let namespace = if served.namespaced { &*lookup.namespace } else { "" };
        match &lookup.selection {
            Selection::Name(name) => {
                let found = self.verbs.at(&served.resource, namespace, name).get().await?;
                Ok(found.into_iter().collect())
            }
            Selection::Labels(labels) => {
                let namespace = Some(namespace).filter(|n| !n.is_empty());
                let which = Which { namespace, selector: Some(labels) };
                lists::all(self.verbs, &served.resource, which).await
            }
        }
    }

    pub(super) async fn judge(&self, wanted: Vec<ToJudge>) -> Result<Answer, Failed> {
        let mut events = Vec::new();
        for ToJudge { key, hub, generated } in wanted {
            let verdict = match self.reader.judge_once_ready(self.verbs, &key, &hub, &generated).await {
                Ok(verdict) => verdict,
                Err(error) if error.is_contact_problem() => {
                    let what = format!("read the schemas of {}", hub.rgd_name);
                    return Err(Failed { what, error });
                }
                Err(error) => Err(Arc::from(error.to_string())),
            };
            events.push(Event::Judged(key, verdict));
        }
        Ok(Answer { events, ..Answer::default() })
    }

    pub(super) async fn ensure_crd(&self, graph: Arc<Graph>, may: &crd::May) -> Result<Answer, Failed> {
        let ensured = crd::rehearse(self.verbs, &graph, &self.hub_id, may).await;
        let (ensured, brought) =
            ensured.map_err(failed(|| format!("patch customresourcedefinitions ({})", graph.crd_name())))?;
        let events = vec![Event::Crds(graph.gvk.group_kind(), ensured)];
        Ok(Answer { events, crd: Some((graph, brought)), ..Answer::default() })
    }
}

/// As a watch tells of a list.
fn listed(served: &Served, objects: Vec<Value>) -> Vec<Seen> {
    let objects: Vec<Arc<Stored>> = objects.into_iter().map(|object| Arc::new(Stored::new(object))).collect();
    let version = objects.iter().map(|stored| stored.object.version()).max().unwrap_or_default();
    let mut seen = vec![Seen::Served(served.resource.clone()), Seen::ListStarted];
    seen.extend(objects.into_iter().map(Seen::Object));
    seen.push(Seen::ListDone { namespaced: served.namespaced, version });
    seen
}

/// Where a generated kind would be served.
pub(super) fn of_graph(graph: &Graph) -> Served {
    let text = |pointer: &str| graph.crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let resource = ApiResource {
        group: graph.gvk.group.to_string(),
        version: graph.gvk.version.to_string(),
        api_version: graph.gvk.api_version(),
        kind: graph.gvk.kind.to_string(),
        plural: text("/spec/names/plural").to_owned(),
    };
    Served { resource, namespaced: text("/spec/scope") != "Cluster" }
}

/// `deployments.apps`
pub(super) fn named(resource: &ApiResource) -> String {
    let dot = if resource.group.is_empty() { "" } else { "." };
    format!("{}{dot}{}", resource.plural, resource.group)
}

pub(super) fn failed(what: impl FnOnce() -> String) -> impl FnOnce(ApiError) -> Failed {
    move |error| Failed { what: what(), error }
}
