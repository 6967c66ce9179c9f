//! One actor per cluster: client, watches, queue, applier. Nothing in here knows of another cluster.

pub mod actor;
pub mod agenda;
pub mod client;
pub mod crd;
pub mod crd_book;
mod crowd;
mod discreet;
mod fence;
pub mod health;
pub mod kubeconfig;
pub mod messages;
mod perform;
pub mod pool;
mod references;
pub mod schemas;
mod speechless;
pub mod store;
mod transport;
mod trust;
pub mod watch;
