//! One actor per cluster: client, watches, queue, applier. Nothing in here knows of another cluster.

pub mod actor;
pub mod agenda;
pub mod backlog;
mod build_error;
pub mod client;
mod connections;
pub mod crd;
pub mod crd_book;
pub mod crd_names;
mod dial;
pub mod discovery;
mod fallback_report;
mod fence;
mod flow;
pub mod health;
pub mod host;
pub mod kubeconfig;
mod limits;
mod listwatch;
#[cfg(test)]
mod loopback;
pub mod messages;
mod notes;
pub(crate) mod perform;
pub mod pool;
mod redacted;
pub(crate) mod references;
pub mod schemas;
pub mod shared_map;
mod shared_watch;
pub mod spans;
pub mod store;
mod throttle;
mod transport;
mod trust;
pub mod watch;
mod weight;
