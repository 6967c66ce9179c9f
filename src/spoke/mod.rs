//! One actor per cluster: client, watches, queue, applier. Nothing in here knows of another cluster.

pub(crate) mod actor;
pub(crate) mod agenda;
pub(crate) mod backlog;
mod build_error;
pub mod client;
mod connections;
pub(crate) mod crd;
pub(crate) mod crd_book;
pub(crate) mod crd_names;
mod dial;
pub(crate) mod discovery;
mod fallback_report;
mod fence;
mod flow;
pub(crate) mod health;
pub mod host;
pub(crate) mod kubeconfig;
mod limits;
mod listwatch;
#[cfg(test)]
mod loopback;
pub(crate) mod messages;
mod notes;
pub(crate) mod perform;
pub(crate) mod pool;
mod redacted;
pub(crate) mod references;
pub(crate) mod schemas;
pub(crate) mod shared_map;
mod shared_watch;
pub(crate) mod spans;
pub(crate) mod store;
mod throttle;
mod transport;
mod trust;
pub(crate) mod watch;
mod weight;
