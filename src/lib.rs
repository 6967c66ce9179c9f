//! kro-hub: one ResourceGraphDefinition, one instance, a fleet of clusters.
//!
//! The layers, from the top; imports point only downwards (see docs/architecture.md):
//! `cli` → `hub`, `spoke` → `reconcile` → `graph`, `schema`, `cel` → `api`.

pub mod api;
pub mod cel;
pub mod cli;
pub mod graph;
pub mod hub;
pub mod metrics;
pub mod reconcile;
pub mod schema;
pub mod spoke;
