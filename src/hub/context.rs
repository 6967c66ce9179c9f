//! What every part of the hub side needs to do its work: the client, the clock, the right to write, a way to be heard.

use super::lease::{Term, Times};
use super::neighbours::Neighbours;
use super::{Event, Watched};
use crate::api::Object;
use crate::api::cluster::ChildNamespaces;
use crate::api::names::HubId;
use crate::graph::Options;
use crate::metrics::Metrics;
use crate::reconcile::fleet::placement::DefaultPlacement;
use crate::spoke::client::HubClient;
use crate::spoke::crd_names;
use crate::spoke::host::{AnyHost, Clock};
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{Book, Reader};
use crate::spoke::share::Clusters;
use crate::spoke::spans;
use crate::spoke::watch::{self, Listed, Scope};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::ApiResource;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// So many refusals in a row may be those of an API server that starts.
const LASTING: u32 = 2;

/// What the command line decides.
#[derive(Clone, Debug)]
pub struct Settings {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// Namespace of the controller: its Lease and its ConfigMaps.
    pub namespace: String,
    /// Namespaces that kubeconfig Secrets are read from.
    pub cluster_namespaces: Vec<String>,
    pub default_placement: DefaultPlacement,
    /// Into which namespaces of the hub itself instances may write their resources.
    pub local_child_namespaces: ChildNamespaces,
    pub hub_id: Option<String>,
    pub upgrade_crds: bool,
    pub allow_crd_deletion: bool,
    /// GraphRevisions kept per definition; 0 keeps all.
    pub max_graph_revisions: usize,
    /// What definitions may do.
    pub compile: Options,
    pub lease: Times,
    /// `None`: not served.
    pub metrics_address: Option<SocketAddr>,
    /// By TLS, to those whom the API server lets read them.
    pub metrics_secure: bool,
    pub health_address: Option<SocketAddr>,
    /// Threads that run reconcile steps.
    pub step_threads: usize,
}

/// Threads that evaluate what instances say over all clusters. They are apart from those of the clusters' steps, and the
/// slow apart from the quick, so that an author's expressions hold up nobody but their like.
#[derive(Clone)]
pub(super) struct Evaluators {
    pub quick: Pool,
    pub slow: Pool,
}

impl Evaluators {
    /// # Errors
    /// The operating system refuses to start a thread.
    pub fn start(host: &AnyHost) -> std::io::Result<Self> {
        Ok(Self { quick: Pool::start(1, host)?, slow: Pool::start_in_background(1, host)? })
    }
}

#[derive(Clone)]
pub(super) struct Context {
    pub client: HubClient,
    pub hub_id: HubId,
    /// No controller ever wrote anything for this hub before.
    pub is_first: bool,
    pub settings: Arc<Settings>,
    pub metrics: Metrics,
    pub clock: Clock,
    /// The right to write, of this term alone.
    pub lease: Term,
    pub pool: Pool,
    /// Clusters that are talked to.
    pub talking: Clusters,
    pub evaluators: Evaluators,
    pub book: Book,
    /// The hub's own schemas.
    pub reader: Reader,
    pub neighbours: Neighbours,
    pub recorder: Recorder,
    pub events: UnboundedSender<Event>,
    pub cancel: CancellationToken,
}

impl Context {
    /// Whether a write may start now.
    pub fn may_write(&self) -> bool {
        self.lease.is_held() && !self.cancel.is_cancelled()
    }

    pub fn tell(&self, event: Event) {
        // The receiver ends only when everything ends.
        drop(self.events.send(event));
    }

    /// Runs beside the hub's task and ends with it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let work = async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = work => {}
            }
        };
        tokio::spawn(work.in_current_span());
    }

    /// Sends an event after a while.
    pub fn later(&self, after: Duration, event: Event) {
        let this = self.clone();
        self.spawn(async move {
            tokio::time::sleep(after).await;
            this.tell(event);
        });
    }

    /// Watches a kind on the hub until `until` ends. Says [`Event::Unseen`] where that fails again and again.
    pub fn watch(&self, what: Watched, resource: ApiResource, scope: Scope, until: CancellationToken) {
        let this = self.clone();
        let _in = spans::of_the_hub().entered();
        self.spawn(async move {
            let failed = AtomicU32::new(0);
            let listed = |listed| {
                if matches!(listed, Listed::Done(_)) {
                    failed.store(0, Ordering::Relaxed);
                }
                this.events.send(Event::Seen(what.clone(), listed)).is_ok()
            };
            let trouble = |code: Option<u16>, text: &str| {
                if code != Some(404) {
                    tracing::warn!(?what, error = text, "watching on the hub was interrupted");
                }
                let lasts = code.is_some() && failed.fetch_add(1, Ordering::Relaxed) >= LASTING;
                !lasts || this.events.send(Event::Unseen(what.clone(), text.to_owned())).is_ok()
            };
            tokio::select! {
                biased;
                () = until.cancelled() => {}
                () = watch::objects(&this.client, &resource, &scope, listed, trouble) => {}
            }
        });
    }

    /// Watches what the hub serves by CRDs that are not generated: those are watched as a whole.
    pub fn watch_groups(&self) {
        let this = self.clone();
        let _in = spans::of_the_hub().entered();
        self.spawn(async move {
            let told = |seen: crd_names::CrdSeen| {
                let news = Event::CrdOfGroup { group: seen.group, first: seen.first };
                seen.generated || this.events.send(news).is_ok()
            };
            crd_names::crds(&this.client, told).await;
        });
    }

    /// Publishes a Kubernetes Event about an object.
    pub fn publish(&self, about: &Object, warning: bool, reason: &str, message: String) {
        let reference = ObjectReference {
            api_version: Some(about.str_at("/apiVersion").to_owned()),
            kind: Some(about.str_at("/kind").to_owned()),
            name: Some(about.name().to_owned()),
            namespace: Some(about.namespace().to_owned()).filter(|n| !n.is_empty()),
            uid: Some(about.uid().to_owned()),
            ..ObjectReference::default()
        };
        let event = KubeEvent {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            // The API server takes no longer one.
            note: Some(crate::api::text::cut(&message, 1_000)),
            action: "Reconcile".into(),
            secondary: None,
        };
        let this = self.clone();
        self.spawn(async move {
            if !this.may_write() {
                return;
            }
            let published = this.recorder.publish(&event, &reference);
            match tokio::time::timeout(Duration::from_secs(15), published).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "publishing an event failed"),
                Err(_) => tracing::warn!("publishing an event took too long"),
            }
        });
    }
}
