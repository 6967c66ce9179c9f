//! Only the process that holds the Lease `kro-hub` writes.
//!
//! Whether the lease is held is a question of time, asked before each write: it ends by itself when it could not be
//! renewed, so a process that was paused for long wakes up without the right to write.

use crate::api::keys::hub;
use crate::spoke::client::{ApiError, HubClient};
use jiff::Timestamp;
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times of the lease; the names and defaults are those of every Kubernetes controller.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After this long without renewal somebody else may take it.
    pub duration: Duration,
    /// After this long without renewal the holder stops writing; shorter than `duration`.
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

/// A right that runs out.
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Milliseconds after `started` until which writes are allowed; 0 when not held.
    valid_until: AtomicU64,
    namespace: String,
    holder: String,
    times: Times,
}

impl Lease {
    pub fn new(namespace: &str, holder: &str, times: Times) -> Self {
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                valid_until: AtomicU64::new(0),
                namespace: namespace.to_owned(),
                holder: holder.to_owned(),
                times,
            }),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a write may start now.
    pub fn is_held(&self) -> bool {
        self.elapsed() < self.shared.valid_until.load(Ordering::Acquire)
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self, client: &HubClient) {
        let mut seen = Observed::default();
        let mut told = false;
        loop {
            match self.try_once(client, &mut seen).await {
                Ok(Tried::Held) => return,
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
    pub async fn keep(&self, client: &HubClient) {
        let mut seen = Observed::default();
        loop {
            let renewing = async {
                tokio::time::sleep(self.shared.times.retry_period).await;
                self.try_once(client, &mut seen).await
            };
            let tried = tokio::select! {
                biased;
                tried = renewing => Some(tried),
                () = self.runs_out() => None,
            };
            match tried {
                Some(Ok(Tried::Held)) => {}
                Some(Ok(Tried::Others)) => {
                    tracing::error!(holder = seen.holder, "the lease was taken over");
                    break;
                }
                // Somebody changed it, perhaps only an annotation: the next read tells who holds it.
                Some(Ok(Tried::Overtaken)) => tracing::warn!("the lease was changed while it was renewed"),
                Some(Err(error)) => tracing::warn!(%error, "renewing the lease failed"),
                None => {}
            }
            if !self.is_held() {
                tracing::error!("the lease could not be renewed in time");
                break;
            }
        }
        self.shared.valid_until.store(0, Ordering::Release);
    }

    /// Ends when the lease is no longer held.
    async fn runs_out(&self) {
        loop {
            let left = self.shared.valid_until.load(Ordering::Acquire).saturating_sub(self.elapsed());
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }

    /// Gives the lease back, so that the next process need not wait.
    pub async fn release(&self, client: &HubClient) {
        if !self.is_held() {
            return;
        }
        self.shared.valid_until.store(0, Ordering::Release);
        let (namespace, name) = (&self.shared.namespace, hub::LEASE);
        let Ok(Some(mut live)) = client.get(&resource(), namespace, name).await else { return };
        if live.pointer("/spec/holderIdentity").and_then(Value::as_str) != Some(&self.shared.holder) {
            return;
        }
        live["spec"]["holderIdentity"] = json!("");
        live["spec"]["leaseDurationSeconds"] = json!(1);
        if let Err(error) = client.replace(&resource(), namespace, name, &live).await {
            tracing::warn!(%error, "giving the lease back failed");
        }
    }

    /// One try to take or renew.
    async fn try_once(&self, client: &HubClient, seen: &mut Observed) -> Result<Tried, ApiError> {
        let (namespace, name) = (&self.shared.namespace, hub::LEASE);
        let asked = self.elapsed();
        let spec = |transitions: i64, acquired: &str| {
            let now = now();
            let acquired = if acquired.is_empty() { now.clone() } else { acquired.to_owned() };
            json!({
                "holderIdentity": self.shared.holder,
                "leaseDurationSeconds": self.shared.times.duration.as_secs().max(1),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            })
        };
        let written = match client.get(&resource(), namespace, name).await? {
            None => {
                let body = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": name, "namespace": namespace}, "spec": spec(0, "")});
                client.create(&resource(), namespace, &body).await
            }
            Some(mut live) => {
                let text = |p: &str| live.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (holder, renewed) = (text("/spec/holderIdentity"), text("/spec/renewTime"));
                let acquired = text("/spec/acquireTime");
                let ours = holder == self.shared.holder;
                if !ours && !holder.is_empty() && !seen.is_expired(&holder, &renewed, &live) {
                    return Ok(Tried::Others);
                }
                let transitions =
                    live.pointer("/spec/leaseTransitions").and_then(Value::as_i64).unwrap_or_default();
                live["spec"] = spec(transitions + i64::from(!ours), if ours { &acquired } else { "" });
                client.replace(&resource(), namespace, name, &live).await
            }
        };
        match written {
            Ok(_) => {
                // From the moment before the request: the answer may have taken long.
                let span = u64::try_from(self.shared.times.renew_deadline.as_millis()).unwrap_or(u64::MAX);
                self.shared.valid_until.store(asked.saturating_add(span), Ordering::Release);
                Ok(Tried::Held)
            }
            Err(ApiError::Conflict { .. } | ApiError::AlreadyExists) => Ok(Tried::Overtaken),
            Err(error) => Err(error),
        }
    }
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Held,
    /// Somebody else holds it.
    Others,
    /// Somebody wrote it between our read and our write; who holds it is to be read again.
    Overtaken,
}

/// Another holder's last renewal, and when *we* saw it: clocks of two machines need not agree.
#[derive(Default)]
struct Observed {
    holder: String,
    renewed: String,
    at: Option<Instant>,
}

impl Observed {
    fn is_expired(&mut self, holder: &str, renewed: &str, lease: &Value) -> bool {
        if self.holder != holder || self.renewed != renewed || self.at.is_none() {
            *self = Self { holder: holder.into(), renewed: renewed.into(), at: Some(Instant::now()) };
            return false;
        }
        let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(15);
        self.at.is_some_and(|at| at.elapsed() > Duration::from_secs(seconds))
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
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

    #[test]
    fn a_lease_expires_by_our_own_clock() {
        let lease = json!({"spec": {"leaseDurationSeconds": 0}});
        let mut seen = Observed::default();
        assert!(!seen.is_expired("a", "t1", &lease), "just seen");
        std::thread::sleep(Duration::from_millis(2));
        assert!(seen.is_expired("a", "t1", &lease));
        assert!(!seen.is_expired("a", "t2", &lease), "renewed");
    }

    #[test]
    fn nothing_may_be_written_before_the_lease_is_held() {
        let times = Times {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        assert!(!Lease::new("n", "me", times).is_held());
    }

    #[tokio::test]
    async fn the_end_of_the_right_is_noticed_whatever_else_waits() {
        let times = Times {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        let lease = Lease::new("n", "me", times);
        lease.shared.valid_until.store(lease.elapsed() + 40, Ordering::Release);
        let hanging = std::future::pending::<()>();
        let ended = tokio::select! {
            () = hanging => false,
            () = lease.runs_out() => true,
        };
        assert!(ended && !lease.is_held());
    }
}
