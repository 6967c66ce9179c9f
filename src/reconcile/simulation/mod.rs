//! A simulation of hub, clusters and controller in one thread, from a seed.
//!
//! The two machines run exactly as in the controller: one step at a time, actions performed, answers fed back. What
//! surrounds them is a model: API servers in memory, watches, requests, a clock. Chance decides what happens next, so that
//! events and answers come in every order; scenarios add users, foreign writers, failures and crashes. Laws are checked on
//! the way and at rest.

mod api_server;
mod cases;
mod cluster;
mod economy;
mod failures_tables;
mod fields;
mod fights_tables;
mod fleet_tables;
mod graphs;
mod hub;
mod hub_part_tables;
mod laws;
mod nested_tables;
pub(crate) mod random;
mod reads_tables;
mod requests;
mod scenario;
mod shell;
mod spoke_tables;
mod store;
mod watch;
