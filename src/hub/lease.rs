//! Only the process that holds the Lease `kro-hub` writes.
//!
//! Whether the lease is held is a question of time, asked where a request is sent: it ends by itself when it could not be
//! renewed, so a process that was paused for long wakes up without the right to write. It is looked after by a thread of its
//! own, over a connection of its own: no work of the hub holds a renewal up.

use crate::api::keys::hub;
use crate::spoke::client::{ApiError, HubClient};
use crate::spoke::host::AnyHost;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Times of the lease; the names and defaults are those of every Kubernetes controller.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After this long without renewal somebody else may take it.
    pub duration: Duration,
    /// After this long without renewal the holder stops writing; shorter than `duration`.
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

impl Times {
    /// Two tries that get no answer fit into the time that is left after a renewal.
    fn try_limit(&self) -> Duration {
        (self.renew_deadline.saturating_sub(self.retry_period) / 2).max(Duration::from_millis(100))
    }
    /// Between tries while renewing fails.
    fn soon(&self) -> Duration {
        self.retry_period.min(Duration::from_millis(500))
    }
}

/// A right that runs out.
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Until when writes are allowed, in milliseconds of [`crate::spoke::host::Host::uptime`]; 0 when not held.
    valid_until: AtomicU64,
    /// How often it became ours.
    terms: AtomicU64,
    namespace: String,
    holder: String,
    times: Times,
    host: AnyHost,
}

/// The right of one term. It does not come back when the lease does: what was begun before is not to go on.
#[derive(Clone, Debug)]
pub struct Term {
    lease: Lease,
    number: u64,
}

impl Term {
    /// Whether a write may be sent now.
    pub fn is_held(&self) -> bool {
        // In this order: a time that belongs to a later term is seen only together with the number of that term.
        self.lease.is_held() && self.lease.shared.terms.load(Ordering::Acquire) == self.number
    }
}

fn in_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    pub fn new(namespace: &str, holder: &str, times: Times, host: AnyHost) -> Self {
        Self {
            shared: Arc::new(Shared {
                valid_until: AtomicU64::new(0),
                terms: AtomicU64::new(0),
                namespace: namespace.to_owned(),
                holder: holder.to_owned(),
                times,
                host,
            }),
        }
    }

    fn millis(&self) -> u64 {
        self.shared.host.uptime()
    }

    fn now(&self) -> String {
        self.shared.host.wall().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
    }

    fn is_held(&self) -> bool {
        self.millis() < self.shared.valid_until.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.shared.valid_until.store(0, Ordering::Release);
    }

    /// Waits until the lease is ours.
    async fn acquire(&self, line: &mut LeaseLine) -> Term {
        let mut seen = Observed::default();
        let mut told = false;
        loop {
            match self.try_once(line, &mut seen, None).await {
                Ok(Tried::Held(until, _)) => {
                    let number = self.shared.terms.fetch_add(1, Ordering::AcqRel) + 1;
                    self.shared.valid_until.store(until, Ordering::Release);
                    return Term { lease: self.clone(), number };
                }
                Ok(Tried::Overtaken) => {}
                Ok(Tried::Others) => {
                    if !told {
                        tracing::info!(holder = seen.holder, "another process holds the lease; standing by");
                        told = true;
                    }
                }
                Err(error) => tracing::warn!(%error, "asking for the lease failed"),
            }
            tokio::time::sleep(self.shared.times.retry_period).await;
        }
    }

    /// Renews until it is lost; returns then, at the latest when the right has run out, whatever a request waits for.
    async fn keep(&self, line: &mut LeaseLine) {
        let (mut seen, mut transitions) = (Observed::default(), None);
        let mut pause = self.shared.times.retry_period;
        loop {
            let renewing = async {
                tokio::time::sleep(pause).await;
                self.try_once(line, &mut seen, Some(transitions)).await
            };
            let tried = tokio::select! {
                biased;
                tried = renewing => Some(tried),
                () = self.runs_out() => None,
            };
            pause = self.shared.times.retry_period;
            if !self.is_held() {
                // Also if it was renewed just now: it had run out before.
                tracing::error!("the lease could not be renewed in time");
                break;
            }
            match tried {
                Some(Ok(Tried::Held(until, now))) => {
                    transitions = Some(now);
                    self.shared.valid_until.store(until, Ordering::Release);
                }
                Some(Ok(Tried::Others)) => {
                    tracing::error!(holder = seen.holder, "the lease was taken over");
                    break;
                }
                // Somebody changed it, perhaps only an annotation: the next read tells who holds it.
                Some(Ok(Tried::Overtaken)) => {
                    tracing::warn!("the lease was changed while it was renewed");
                    pause = self.shared.times.soon();
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "renewing the lease failed");
                    pause = self.shared.times.soon();
                }
                None => {}
            }
        }
        self.end();
    }

    /// Ends when the lease is no longer held.
    async fn runs_out(&self) {
        loop {
            let left = self.shared.valid_until.load(Ordering::Acquire).saturating_sub(self.millis());
            if left == 0 {
                return;
            }
            // In pieces: a timer stands still while the machine sleeps.
            tokio::time::sleep(Duration::from_millis(left.min(1_000))).await;
        }
    }

    /// Gives the lease back, so that the next process need not wait.
    async fn release(&self, client: &HubClient) {
        if !self.is_held() {
            return;
        }
        self.end();
        let (namespace, name) = (&self.shared.namespace, hub::LEASE);
        let Ok(Some(mut live)) = client.at(&resource(), namespace, name).get().await else { return };
        if live.pointer("/spec/holderIdentity").and_then(Value::as_str) != Some(&self.shared.holder) {
            return;
        }
        live["spec"]["holderIdentity"] = json!("");
        live["spec"]["leaseDurationSeconds"] = json!(1);
        if let Err(error) = client.at(&resource(), namespace, name).replace(&live).await {
            tracing::warn!(%error, "giving the lease back failed");
        }
    }

    /// One try to take it, or to renew it; `renewing` says so, with the number of its transitions where that is known. A try
    /// that gets no answer leaves its connection: what is wrong may be wrong with that alone.
    async fn try_once(
        &self,
        line: &mut LeaseLine,
        seen: &mut Observed,
        renewing: Option<Option<i64>>,
    ) -> Result<Tried, ApiError> {
        let tried = self.ask(&line.client, seen, renewing);
        let tried = tokio::time::timeout(self.shared.times.try_limit(), tried).await;
        let tried = tried.unwrap_or(Err(ApiError::Timeout));
        if tried.as_ref().is_err_and(ApiError::is_contact_problem) {
            line.renew();
        }
        tried
    }

    async fn ask(
        &self,
        client: &HubClient,
        seen: &mut Observed,
        renewing: Option<Option<i64>>,
    ) -> Result<Tried, ApiError> {
        let (namespace, name) = (&self.shared.namespace, hub::LEASE);
        // The right counts from the moment before the request: the answer may have taken long.
        let until = self.millis().saturating_add(in_millis(self.shared.times.renew_deadline));
        let spec = |transitions: i64, acquired: &str| {
            let now = self.now();
            let acquired = if acquired.is_empty() { now.clone() } else { acquired.to_owned() };
            json!({
                "holderIdentity": self.shared.holder,
                "leaseDurationSeconds": self.shared.times.duration.as_secs().max(1),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            })
        };
        // Nobody wrote it since we did, or the write is refused and it is read the next time.
        let known = seen.written.take().filter(|_| renewing.is_some());
        let found = match known {
            Some(known) => Some(known),
            None => client.at(&resource(), namespace, name).get().await?,
        };
        let (written, transitions) = match found {
            None => {
                let body = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": name, "namespace": namespace}, "spec": spec(0, "")});
                (client.create(&resource(), namespace, &body).await, 0)
            }
            Some(mut live) => {
                let text = |p: &str| live.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (holder, renewed) = (text("/spec/holderIdentity"), text("/spec/renewTime"));
                let acquired = text("/spec/acquireTime");
                let ours = holder == self.shared.holder;
                let known =
                    live.pointer("/spec/leaseTransitions").and_then(Value::as_i64).unwrap_or_default();
                let gone =
                    renewing.is_some_and(|before| !ours || before.is_some_and(|before| before != known));
                let expired = ours || holder.is_empty() || seen.is_expired(&holder, &renewed, &live);
                if gone || !expired {
                    seen.holder = holder;
                    return Ok(Tried::Others);
                }
                let transitions = known + i64::from(!ours);
                live["spec"] = spec(transitions, if ours { &acquired } else { "" });
                (client.at(&resource(), namespace, name).replace(&live).await, transitions)
            }
        };
        match written {
            Ok(live) => {
                seen.written = Some(live);
                Ok(Tried::Held(until, transitions))
            }
            Err(ApiError::Conflict { .. } | ApiError::AlreadyExists) => Ok(Tried::Overtaken),
            Err(error) => Err(error),
        }
    }
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// Until this time of the lease's clock, with so many transitions.
    Held(u64, i64),
    /// Somebody else holds it.
    Others,
    /// Somebody wrote it between our read and our write; who holds it is to be read again.
    Overtaken,
}

/// A connection for the lease alone.
struct LeaseLine {
    base: HubClient,
    client: HubClient,
}

impl LeaseLine {
    fn new(base: HubClient) -> Self {
        let mut line = Self { client: base.clone(), base };
        line.renew();
        line
    }

    /// Another connection.
    fn renew(&mut self) {
        match self.base.apart() {
            Ok(client) => self.client = client,
            Err(error) => tracing::warn!(%error, "a new connection for the lease cannot be made"),
        }
    }
}

/// Looks after the lease in a thread of its own.
pub struct Keeper {
    lease: Lease,
    base: HubClient,
    /// `None`: that of whoever asks.
    runtime: Option<Runtime>,
}

impl Keeper {
    /// # Errors
    /// The operating system refuses to start a thread.
    pub fn start(lease: Lease, base: HubClient) -> std::io::Result<Self> {
        let runtime = if base.host().has_threads() {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            Some(builder.worker_threads(1).thread_name("lease").enable_all().build()?)
        } else {
            None
        };
        Ok(Self { lease, base, runtime })
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) -> Term {
        let (lease, base) = (self.lease.clone(), self.base.clone());
        let held = self.run(async move { lease.acquire(&mut LeaseLine::new(base)).await });
        match held.await {
            Some(term) => term,
            // Only while everything ends.
            None => std::future::pending().await,
        }
    }

    /// Renews until the term is over.
    pub async fn keep(&self, term: &Term) {
        let (lease, base) = (term.lease.clone(), self.base.clone());
        self.run(async move { lease.keep(&mut LeaseLine::new(base)).await }).await;
        self.lease.end();
    }

    pub async fn release(&self) {
        let (lease, base) = (self.lease.clone(), self.base.clone());
        self.run(async move { lease.release(&LeaseLine::new(base).client).await }).await;
    }

    /// Runs there; ends when nobody waits for it any more.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let work = match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        };
        AbortOnDropHandle::new(work).await.ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Another holder's last renewal, and when *we* saw it: clocks of two machines need not agree.
#[derive(Default)]
struct Observed {
    holder: String,
    renewed: String,
    at: Option<Instant>,
    /// The lease as we wrote it last: a renewal needs no read.
    written: Option<Value>,
}

impl Observed {
    fn is_expired(&mut self, holder: &str, renewed: &str, lease: &Value) -> bool {
        if self.holder != holder || self.renewed != renewed || self.at.is_none() {
            *self = Self {
                holder: holder.into(),
                renewed: renewed.into(),
                at: Some(Instant::now()),
                written: None,
            };
            return false;
        }
        let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(15);
        self.at.is_some_and(|at| at.elapsed() > Duration::from_secs(seconds))
    }
}

fn resource() -> ApiResource {
    ApiResource {
        group: "coordination.k8s.io".into(),
        version: "v1".into(),
        api_version: "coordination.k8s.io/v1".into(),
        kind: "Lease".into(),
        plural: "leases".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use std::sync::Mutex;

    const TIMES: Times = Times {
        duration: Duration::from_secs(3),
        renew_deadline: Duration::from_millis(2_500),
        retry_period: Duration::from_millis(100),
    };

    fn host() -> AnyHost {
        Arc::new(crate::spoke::host::ThisHost)
    }

    #[test]
    fn a_lease_expires_by_our_own_clock() {
        let lease = json!({"spec": {"leaseDurationSeconds": 0}});
        let mut seen = Observed::default();
        assert!(!seen.is_expired("a", "t1", &lease), "just seen");
        std::thread::sleep(Duration::from_millis(2));
        assert!(seen.is_expired("a", "t1", &lease));
        assert!(!seen.is_expired("a", "t2", &lease), "renewed");
    }

    fn held(lease: &Lease, millis_left: u64) -> Term {
        let number = lease.shared.terms.fetch_add(1, Ordering::AcqRel) + 1;
        lease.shared.valid_until.store(lease.millis() + millis_left, Ordering::Release);
        Term { lease: lease.clone(), number }
    }

    #[test]
    fn a_term_ends_by_itself_and_does_not_come_back_with_the_lease() {
        let lease = Lease::new("n", "me", TIMES, host());
        assert!(!lease.is_held());
        let first = held(&lease, 20);
        assert!(first.is_held());
        // Nobody runs meanwhile.
        std::thread::sleep(Duration::from_millis(30));
        assert!(!first.is_held());
        let second = held(&lease, 60_000);
        assert!(second.is_held() && !first.is_held());
    }

    #[tokio::test]
    async fn the_end_of_the_right_is_noticed_whatever_else_waits() {
        let lease = Lease::new("n", "me", TIMES, host());
        held(&lease, 40);
        let hanging = std::future::pending::<()>();
        let ended = tokio::select! {
            biased;
            () = hanging => false,
            () = lease.runs_out() => true,
        };
        assert!(ended && !lease.is_held());
    }

    /// An API server that knows one Lease.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<(Option<Value>, u64)>>);

    impl Server {
        fn write(&self, lease: &str, new: bool) -> (StatusCode, String) {
            let mut lease: Value = serde_json::from_str(lease).unwrap();
            let mut state = self.0.lock().unwrap();
            let known = state.0.as_ref().map(|l| l["metadata"]["resourceVersion"].clone());
            if known != Some(lease["metadata"]["resourceVersion"].clone()).filter(|_| !new) {
                let conflict = json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "x"});
                return (StatusCode::CONFLICT, conflict.to_string());
            }
            state.1 += 1;
            lease["metadata"]["resourceVersion"] = json!(state.1.to_string());
            state.0 = Some(lease.clone());
            (StatusCode::OK, lease.to_string())
        }
        fn holder(&self) -> Value {
            self.0.lock().unwrap().0.clone().unwrap_or_default()["spec"]["holderIdentity"].clone()
        }
        fn writes(&self) -> u64 {
            self.0.lock().unwrap().1
        }
    }

    /// In a thread of its own, as a server is.
    fn serve() -> (Server, HubClient) {
        let (server, (told, address)) = (Server::default(), std::sync::mpsc::channel());
        let app = {
            let read = |State(server): State<Server>| async move {
                match server.0.lock().unwrap().0.clone() {
                    Some(lease) => (StatusCode::OK, lease.to_string()),
                    None => {
                        let missing = json!({"kind": "Status", "code": 404, "reason": "NotFound",
                            "message": "not found", "details": {"kind": "leases"}});
                        (StatusCode::NOT_FOUND, missing.to_string())
                    }
                }
            };
            let replace = |State(s): State<Server>, l: String| async move { s.write(&l, false) };
            let create = |State(s): State<Server>, l: String| async move { s.write(&l, true) };
            let leases = "/apis/coordination.k8s.io/v1/namespaces/n/leases";
            let one = format!("{leases}/{}", hub::LEASE);
            Router::new()
                .route(&one, get(read).put(replace))
                .route(leases, post(create))
                .layer(axum::middleware::map_response(|mut answer: axum::response::Response| async move {
                    let json = axum::http::HeaderValue::from_static("application/json");
                    answer.headers_mut().insert(axum::http::header::CONTENT_TYPE, json);
                    answer
                }))
                .with_state(server.clone())
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv().unwrap());
        let config = kube::Config::new(url.parse().unwrap());
        (server, HubClient::of(Arc::new(config), crate::metrics::Metrics::default(), host()).unwrap())
    }

    /// The hub's task computes and never waits, and all its turns are taken.
    #[test]
    fn the_lease_survives_a_hub_that_is_saturated() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, client) = serve();
            let keeper = Keeper::start(Lease::new("n", "me", TIMES, host()), client.clone()).unwrap();
            let term = keeper.acquire().await;
            let lost = tokio::select! {
                biased;
                () = keeper.keep(&term) => true,
                () = async {
                    let leases = resource();
                    let turns: Vec<_> = (0..1_000).map(|_| client.at(&leases, "n", "slow").get()).collect();
                    let _waiting = tokio::time::timeout(Duration::ZERO, futures::future::join_all(turns)).await;
                    // Longer than the lease lasts without a renewal.
                    std::thread::sleep(TIMES.duration + Duration::from_secs(1));
                } => false,
            };
            assert!(!lost && term.is_held());
            assert!(server.writes() > 5, "{}", server.writes());
            keeper.release().await;
            assert!(!term.is_held() && server.holder() == "");
        });
    }

    #[tokio::test]
    async fn who_lost_the_lease_does_not_take_it_back_by_renewing() {
        let (server, client) = serve();
        let (mine, other) = (Lease::new("n", "me", TIMES, host()), Lease::new("n", "you", TIMES, host()));
        let keeper = Keeper::start(mine, client.clone()).unwrap();
        let term = keeper.acquire().await;
        // Somebody else had it meanwhile, and gave it back.
        {
            let mut state = server.0.lock().unwrap();
            let lease = state.0.as_mut().unwrap();
            lease["spec"]["holderIdentity"] = json!("");
            lease["spec"]["leaseTransitions"] = json!(7);
        }
        keeper.keep(&term).await;
        assert!(!term.is_held());
        let standby = Keeper::start(other, client).unwrap();
        let theirs = standby.acquire().await;
        assert!(theirs.is_held() && !term.is_held() && server.holder() == "you");
        let again = tokio::time::timeout(Duration::from_millis(400), keeper.acquire()).await;
        assert!(again.is_err(), "it is taken");
    }
}
