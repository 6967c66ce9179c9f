//! kro-hub: one ResourceGraphDefinition, one instance, a fleet of clusters.
//!
//! The layers, from the top; imports point only downwards (see docs/architecture.md):
//! `cli` → `hub`, `spoke` → `reconcile` → `graph`, `schema`, `cel` → `api`.

#![warn(missing_docs)]

mod api;
pub mod cel;
pub mod cli;
mod graph;
mod hub;
pub mod metrics;
mod reconcile;
pub mod schema;
pub mod spoke;
