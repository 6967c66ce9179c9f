pub mod api;
pub mod cel;
pub mod cli;
pub mod graph;
pub mod hub;
pub mod reconcile;
pub mod schema;
pub mod spoke;
