//! A model of a Kubernetes API server, in memory.
//!
//! It is made for tests: [`schema`] and [`managed`] are what a server knows of the fields of an object. What it does is held to
//! a real kube-apiserver by one suite of requests that both answer. What it does not do, it answers with 501.

pub mod admit;
pub mod fields;
pub mod managed;
mod ownership;
pub mod patch;
pub mod schema;
mod typed;
