//! A person's connections: the contexts of their kubeconfig, with their own rights. Nothing in here decides what is shown.

pub mod clusters;
mod connection;
mod failure;
mod follow;
mod hub;
mod person;
pub mod planning;
mod reviews;
mod spokes;
mod tracing;

pub use connection::Connection;
pub use failure::{Failure, Sort};
pub use follow::{Watch, follow};
pub use hub::{Hub, Scope, event_resource, events, numbers};
pub use person::{Flags, Person};
pub use spokes::{Way, Ways, reach};
pub use tracing::{Depth, Target, Tracer};
