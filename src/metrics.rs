//! What kro-hub measures of itself, in OpenMetrics text.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    cluster: String,
    verb: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

/// Cheap to clone; every clone counts into the same series. `cluster` is `hub` for requests of the hub side.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    queue: Family<ClusterLabels, Gauge>,
    watches: Family<ClusterLabels, Gauge>,
    healthy: Family<ClusterLabels, Gauge>,
    contact: Family<ClusterLabels, Gauge>,
    reconcile: Family<ClusterLabels, Histogram, fn() -> Histogram>,
    schema_documents: Family<ClusterLabels, Counter>,
    schema_bytes: Family<ClusterLabels, Counter>,
    events: Family<ClusterLabels, Gauge>,
    lag: Family<ClusterLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<ClusterLabels, Gauge>,
    tasks: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kro_hub");
        let requests = Family::default();
        let (queue, watches, healthy, contact) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        let reconcile = Family::new_with_constructor(step_histogram as fn() -> Histogram);
        registry.register("requests", "Requests to API servers by cluster, verb and code", requests.clone());
        registry.register("queue_length", "Instances that wait for a step, by cluster", queue.clone());
        registry.register("watches", "Open watches of kinds, by cluster", watches.clone());
        registry.register("cluster_healthy", "1 while the cluster can be talked to", healthy.clone());
        registry.register(
            "last_contact_seconds",
            "Unix time of the last answer, by cluster",
            contact.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of one reconcile step, by cluster",
            reconcile.clone(),
        );
        let (schema_documents, schema_bytes) = (Family::default(), Family::default());
        registry.register(
            "schema_documents",
            "Documents of OpenAPI that were read, the index among them, by cluster",
            schema_documents.clone(),
        );
        registry.register("schema_bytes", "Their size when unpacked, by cluster", schema_bytes.clone());
        let (events, in_flight) = (Family::default(), Family::default());
        let lag = Family::new_with_constructor(step_histogram as fn() -> Histogram);
        registry.register("events_waiting", "Events that wait to be taken, by cluster", events.clone());
        registry.register("event_lag_seconds", "How long events waited, sampled, by cluster", lag.clone());
        registry.register(
            "requests_in_flight_limit",
            "Requests that may be in flight, watches aside, by cluster",
            in_flight.clone(),
        );
        let tasks = Gauge::default();
        registry.register("tasks", "Tasks of the controller that are alive", tasks.clone());
        Self {
            registry: Arc::new(registry),
            requests,
            queue,
            watches,
            healthy,
            contact,
            reconcile,
            schema_documents,
            schema_bytes,
            events,
            lag,
            in_flight,
            tasks,
        }
    }
}

impl Metrics {
    /// A request of this verb ended: `code` is the HTTP status, `timeout` or `error`.
    pub fn request(&self, cluster: &str, verb: &'static str, code: &str) {
        let labels = RequestLabels { cluster: cluster.into(), verb, code: code.into() };
        self.requests.get_or_create(&labels).inc();
        if code != "timeout" && code != "error" {
            let now = jiff::Timestamp::now().as_second();
            self.contact.get_or_create(&of(cluster)).set(now);
        }
    }
    /// So many instances wait for a step.
    pub fn queue_length(&self, cluster: &str, length: usize) {
        self.queue.get_or_create(&of(cluster)).set(i64::try_from(length).unwrap_or(i64::MAX));
    }
    /// Whether there is contact with the cluster.
    pub fn healthy(&self, cluster: &str, healthy: bool) {
        self.healthy.get_or_create(&of(cluster)).set(i64::from(healthy));
    }
    /// One more watch is open, until what is returned is dropped.
    pub fn watch_opened(&self, cluster: &str) -> OpenWatch {
        let watches = self.watches.get_or_create(&of(cluster)).clone();
        watches.inc();
        OpenWatch(watches)
    }
    /// A step of one instance took so long.
    pub fn reconcile_seconds(&self, cluster: &str, took: Duration) {
        self.reconcile.get_or_create(&of(cluster)).observe(took.as_secs_f64());
    }
    /// An OpenAPI document of so many bytes was read.
    pub fn schema_read(&self, cluster: &str, bytes: usize) {
        self.schema_documents.get_or_create(&of(cluster)).inc();
        self.schema_bytes.get_or_create(&of(cluster)).inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
    /// So many events of the cluster wait to be heard.
    pub fn events_waiting(&self, cluster: &str, count: usize) {
        self.events.get_or_create(&of(cluster)).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    /// An event of the cluster waited so long.
    pub fn event_lag(&self, cluster: &str, lag: Duration) {
        self.lag.get_or_create(&of(cluster)).observe(lag.as_secs_f64());
    }
    /// So many requests may be in flight to the cluster by now.
    pub fn in_flight_limit(&self, cluster: &str, limit: usize) {
        self.in_flight.get_or_create(&of(cluster)).set(i64::try_from(limit).unwrap_or(i64::MAX));
    }
    /// So many tasks of the controller are alive.
    pub fn tasks(&self, count: usize) {
        self.tasks.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    /// Forgets the series of a cluster that is gone, but for what is counted up.
    pub fn forget(&self, cluster: &str) {
        let labels = of(cluster);
        for family in
            [&self.queue, &self.watches, &self.healthy, &self.contact, &self.events, &self.in_flight]
        {
            family.remove(&labels);
        }
        self.reconcile.remove(&labels);
        self.lag.remove(&labels);
    }
    /// The text that a scrape gets.
    pub fn text(&self) -> String {
        let mut out = String::new();
        match prometheus_client::encoding::text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => String::new(),
        }
    }
}

/// A watch that is counted.
#[derive(Debug)]
#[must_use]
pub struct OpenWatch(Gauge);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn of(cluster: &str) -> ClusterLabels {
    ClusterLabels { cluster: cluster.to_owned() }
}

/// 0.1 ms to about 6.5 s.
fn step_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 4.0, 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_cluster_verb_and_code() {
        let metrics = Metrics::default();
        metrics.request("eu", "apply", "200");
        metrics.request("eu", "apply", "200");
        let text = metrics.text();
        assert!(text.contains(r#"kro_hub_requests_total{cluster="eu",verb="apply",code="200"} 2"#), "{text}");
    }
}
