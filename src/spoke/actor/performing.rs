//! What an actor wants done is begun here, beside the actor, and ends with it.

use super::running::Settings;
use super::{Effect, Event, Events, Freshness, ToJudge};
use crate::api::Gvk;
use crate::api::maps::HashMap;
use crate::api::names::{ClusterName, GroupKind, HubId, InstanceKey};
use crate::graph::Graph;
use crate::metrics::Metrics;
use crate::reconcile::spoke::{Action, Task};
use crate::reconcile::world::Lookup;
use crate::spoke::client::{ApiError, SpokeClient};
use crate::spoke::crd::May;
use crate::spoke::discovery::Served;
use crate::spoke::health::backoff;
use crate::spoke::messages::Said;
use crate::spoke::references::Subject;
use crate::spoke::schemas::Reader;
use crate::spoke::watch::{self, Seen};
use crate::spoke::{crd, crd_names, perform, spans};
use kube::core::ApiResource;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What runs beside an actor.
pub(super) struct Beside {
    cluster: ClusterName,
    hub_id: HubId,
    client: SpokeClient,
    reader: Reader,
    metrics: Metrics,
    events: Events,
    /// Ends the watch of a kind.
    watches: HashMap<GroupKind, CancellationToken>,
    /// Ends the watch of an external reference.
    references: HashMap<Subject, CancellationToken>,
    /// Ends judging that a newer one has overtaken.
    judging: CancellationToken,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Beside {
    pub fn new(settings: &Settings, events: Events, cancel: CancellationToken) -> Self {
        Self {
            cluster: settings.cluster.clone(),
            hub_id: settings.hub_id.clone(),
            client: settings.client.clone(),
            reader: settings.reader.clone(),
            metrics: settings.metrics.clone(),
            events,
            watches: HashMap::default(),
            references: HashMap::default(),
            judging: cancel.child_token(),
            tracker: TaskTracker::new(),
            cancel,
        }
    }

    /// Begins it; what is to be said is returned.
    pub fn begin(&mut self, effect: Effect) -> Option<Said> {
        match effect {
            Effect::Say(said) => return Some(said),
            Effect::Perform { key, task, action, resource } => self.perform(key, task, action, resource),
            Effect::EnsureCrd { graph, may } => self.ensure_crd(graph, may),
            Effect::Watch { gk, gvk, selector, serial } => self.watch(gk, gvk, selector, serial),
            Effect::WatchReference { subject, known, serial } => self.watch_reference(subject, known, serial),
            Effect::EndReference(subject) => {
                if let Some(stop) = self.references.remove(&subject) {
                    stop.cancel();
                }
            }
            Effect::Ask { lookup, known } => self.ask(lookup, known),
            Effect::Judge { wanted, freshness } => self.judge(wanted, freshness),
            Effect::After(pause, event) => {
                let events = self.events.clone();
                self.spawn(async move {
                    tokio::time::sleep(pause).await;
                    drop(events.send(Box::new(event)));
                });
            }
        }
        None
    }

    pub fn watch_crds(&self) {
        let (client, events) = (self.client.clone(), self.events.clone());
        self.spawn(async move {
            let told = |seen| events.send(Box::new(Event::Crd(seen))).is_ok();
            crd_names::crds(&client, told).await;
        });
    }

    fn perform(&self, key: InstanceKey, task: Arc<Task>, action: Action, resource: Option<ApiResource>) {
        let (client, events) = (self.client.clone(), self.events.clone());
        let span = spans::instance(&key);
        let work = async move {
            let done = perform::perform(&client, &task, action, resource).await;
            drop(events.send(Box::new(Event::Done(key, done))));
        };
        self.spawn(work.instrument(span));
    }

    fn ensure_crd(&self, graph: Arc<Graph>, may: May) {
        let (client, hub_id, events) = (self.client.clone(), self.hub_id.clone(), self.events.clone());
        self.spawn(async move {
            let ensured = crd::ensure(&client, &graph, &hub_id, &may).await;
            drop(events.send(Box::new(Event::Crds(graph.gvk.group_kind(), ensured))));
        });
    }

    fn watch(&mut self, gk: GroupKind, gvk: Option<Gvk>, selector: Option<String>, serial: u64) {
        let stop = self.cancel.child_token();
        if let Some(before) = self.watches.insert(gk.clone(), stop.clone()) {
            before.cancel();
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        let of = gk.clone();
        let tell = move |seen: Seen| events.send(Box::new(Event::Watch(of.clone(), serial, seen))).is_ok();
        self.spawn_watch(stop, watch::kind(client, gk, gvk, selector, tell));
    }

    fn watch_reference(&mut self, subject: Subject, known: Option<Served>, serial: u64) {
        let stop = self.cancel.child_token();
        if let Some(before) = self.references.insert(subject.clone(), stop.clone()) {
            before.cancel();
        }
        let (events, gvk) = (self.events.clone(), subject.gvk().clone());
        let found =
            move |served: &Served| drop(events.send(Box::new(Event::Served(gvk.clone(), served.clone()))));
        let (events, of) = (self.events.clone(), subject.clone());
        let tell =
            move |seen: Seen| events.send(Box::new(Event::Reference(of.clone(), serial, seen))).is_ok();
        self.spawn_watch(stop, watch::reference(self.client.clone(), subject, known, found, tell));
    }

    fn ask(&self, lookup: Lookup, known: Option<Served>) {
        let shared = self.references.get(&Subject::Kind(lookup.gvk.clone()));
        let stop = shared.cloned().unwrap_or_else(|| self.cancel.clone());
        let (events, of) = (self.events.clone(), lookup.clone());
        let tell = move |answer| events.send(Box::new(Event::Answered(of.clone(), answer))).is_ok();
        self.spawn(until(stop, watch::ask(self.client.clone(), lookup, known, tell)));
    }

    fn judge(&mut self, wanted: Vec<ToJudge>, freshness: Freshness) {
        if freshness.is_of_all() {
            self.judging.cancel();
            self.judging = self.cancel.child_token();
        }
        let judge = Judge {
            cluster: self.cluster.clone(),
            client: self.client.clone(),
            reader: self.reader.clone(),
            events: self.events.clone(),
        };
        let work = async move {
            if freshness == Freshness::AnewOfAll {
                judge.reader.forget().await;
            }
            // Beside each other: a document that cannot be read holds up nobody who does not need it.
            futures::future::join_all(wanted.into_iter().map(|wanted| judge.until_told(wanted))).await;
        };
        self.spawn(until(self.judging.clone(), work));
    }

    /// Runs beside the actor and ends with it.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(until(self.cancel.clone(), work).in_current_span());
    }

    /// A watch that is counted, and ends with `stop`.
    fn spawn_watch(&self, stop: CancellationToken, watch: impl Future<Output = ()> + Send + 'static) {
        self.spawn(counted(&self.metrics, &self.cluster, until(stop, watch)));
    }
}

/// Counted for as long as it is there: one that ends with its actor is dropped in the middle.
fn counted<W>(metrics: &Metrics, cluster: &ClusterName, watch: W) -> impl Future<Output = ()> + Send + use<W>
where
    W: Future<Output = ()> + Send,
{
    let open = metrics.watch_opened(cluster.as_str());
    async move {
        let _open = open;
        watch.await;
    }
}

fn until(stop: CancellationToken, work: impl Future<Output = ()> + Send) -> impl Future<Output = ()> + Send {
    // Boxed: a future that waits for another has room for it twice, and a watch stands as long as its cluster.
    let work = Box::pin(work);
    async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    }
}

/// Who judges definitions by the schemas of a cluster.
struct Judge {
    cluster: ClusterName,
    client: SpokeClient,
    reader: Reader,
    events: Events,
}

impl Judge {
    /// Tries for as long as it takes.
    async fn until_told(&self, ToJudge { key, hub, generated }: ToJudge) {
        let mut attempt = 0;
        let verdict = loop {
            match self.reader.judge(&self.client, &key, &hub, &generated).await {
                Ok(verdict) => break verdict,
                Err(error) => {
                    tracing::debug!(rgd = hub.rgd_name, %error, "reading schemas failed");
                    if says_enough(&error) {
                        // Said where it is used, and tried on.
                        let verdict = Err(Arc::from(error.to_string()));
                        drop(self.events.send(Box::new(Event::Judged(key.clone(), verdict))));
                    }
                }
            }
            tokio::time::sleep(backoff(attempt, self.cluster.as_str())).await;
            attempt += 1;
        };
        drop(self.events.send(Box::new(Event::Judged(key, verdict))));
    }
}

/// Whether it is the trouble of what was asked for, which may last, and not of the whole cluster.
fn says_enough(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::GroupUnavailable { .. } | ApiError::TooLarge { .. } | ApiError::Forbidden { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_is_counted_until_it_ends_by_itself_or_with_its_actor() {
        let (metrics, cluster) = (Metrics::default(), ClusterName::new("eu"));
        let open =
            |count: u32| metrics.text().contains(&format!("kro_hub_watches{{cluster=\"eu\"}} {count}\n"));
        let (tracker, actor) = (TaskTracker::new(), CancellationToken::new());
        let one = counted(&metrics, &cluster, std::future::ready(()));
        tracker.spawn(until(actor.clone(), counted(&metrics, &cluster, std::future::pending())));
        assert!(open(2), "{}", metrics.text());
        one.await;
        tokio::task::yield_now().await;
        assert!(open(1), "{}", metrics.text());
        actor.cancel();
        tracker.close();
        tracker.wait().await;
        assert!(open(0), "{}", metrics.text());
    }
}
