//! kro-hub: one ResourceGraphDefinition, one instance, a fleet of clusters.
//!
//! The layers, from the top; imports point only downwards (see docs/architecture.md):
//! `cli` → `edge`, `webhook`, `view` → `hub`, `spoke` → `reconcile` → `graph`, `schema`, `cel` → `api`; `access` stands on `graph`.

#![warn(missing_docs)]

mod access;
mod api;
pub mod cel;
pub mod cli;
mod edge;
#[doc(hidden)] // For fuzz/ and tests/.
pub mod fuzzing;
mod graph;
mod hub;
pub mod metrics;
mod reconcile;
pub mod schema;
pub mod spoke;
mod view;
mod webhook;

#[doc(hidden)] // For benches/.
pub use reconcile::fleet::measured;
