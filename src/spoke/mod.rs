//! One actor per cluster: client, watches, queue, applier. Nothing in here knows of another cluster.

pub mod actor;
pub mod agenda;
pub mod client;
mod connections;
pub mod crd;
pub mod crd_book;
mod crowd;
mod dial;
mod discreet;
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
mod perform;
pub mod pool;
mod references;
pub mod schemas;
pub mod spans;
mod speechless;
pub mod store;
mod throttle;
mod transport;
mod trust;
pub mod watch;
mod weight;
