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
pub(crate) mod credentials;
mod dial;
pub(crate) mod discovery;
mod fallback_report;
mod fence;
mod flow;
mod gate;
pub(crate) mod health;
pub mod host;
mod in_flight;
pub(crate) mod kubeconfig;
mod limits;
pub(crate) mod lists;
pub(crate) mod listwatch;
#[cfg(test)]
mod loopback;
mod marks;
pub(crate) mod messages;
mod notes;
#[cfg(test)]
mod overload;
mod pause;
pub(crate) mod perform;
pub(crate) mod pool;
mod redacted;
pub(crate) mod references;
pub(crate) mod rehearsal;
pub(crate) mod schemas;
pub mod share;
pub(crate) mod shared_map;
mod shared_watch;
pub(crate) mod spans;
pub(crate) mod store;
mod transport;
mod trust;
pub(crate) mod watch;
mod weight;
mod who;
