//! The real controller, in one thread with models of API servers, on a clock that runs as fast as the work allows.
//!
//! Nothing between [`super::run`] and the bytes on a connection is a copy: actors, watches, clients, limits, the lease and its
//! fence are those that ship. What is put in place of the real thing stands on the other side of [`crate::spoke::host::Host`]:
//! clocks, chance, and connections that lead to the models through a network that can be made to fail.
//!
//! A storm is a list of [`acts`](act::Act) from a seed: users, foreign writers, failures, crashes. The [`laws`] hold at every
//! request; at the end everything is calm, and then everything is as the users said. A seed gives the same run to the byte
//! of its [`trace`].

mod act;
mod by_hand;
mod ground;
mod history;
mod host;
mod laws;
mod network;
mod process;
mod rest;
mod steering;
mod storm;
mod tests;
mod trace;
mod weather;
mod wishes;
mod world;
