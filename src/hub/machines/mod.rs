//! Storms of the machines: hub, clusters and controller in one thread, from a seed.
//!
//! What decides is what ships: the two machines, the actors that step the one kind and the instances that step the other,
//! the store, and the code that makes requests and reads answers. What surrounds them is a model: API servers in memory,
//! what watches show, a clock. Chance decides what happens next, so that events, answers and messages come in every order;
//! scenarios add users, foreign writers, failures and crashes. Laws are checked on the way and at rest.

mod additions_tables;
mod api_server;
mod bench;
mod bounds_tables;
mod cases;
mod economy;
mod failures_tables;
mod fields;
mod fights_tables;
mod fleet_tables;
mod gone_tables;
mod graphs;
mod http_server;
mod hub_part_tables;
mod hub_record_tables;
mod hub_side;
mod laws;
mod nested_tables;
mod overrides_tables;
mod prune_tables;
pub(in crate::hub) mod random;
mod reads_tables;
mod reports_tables;
mod scenario;
mod shared_tables;
mod site;
mod spoke_tables;
mod turns_tables;
mod watch;
mod wire;
mod world;
