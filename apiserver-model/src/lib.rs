//! A model of a Kubernetes API server, in memory.
//!
//! It is made for tests. [`server::Server`] answers requests, knows neither a clock nor chance, and says when something
//! happens by itself; [`serve`] puts it behind a connection. [`schema`] and [`managed`] are what a server knows of the fields
//! of an object. What it does is held to a real kube-apiserver by one suite of requests that both answer. What it does not
//! do, it answers with 501: see [`LACKS`].

pub mod access;
pub mod admit;
mod becomes;
#[cfg(test)]
mod controllers_tests;
mod crds;
mod decode;
mod delete;
mod discovery;
pub mod fields;
#[cfg(test)]
mod fixture;
pub mod kinds;
mod list;
pub mod managed;
mod metadata;
mod own;
mod ownership;
pub mod patch;
mod request;
pub mod schema;
mod selectors;
pub mod serve;
pub mod server;
pub mod status;
mod store;
pub mod suite;
mod tasks;
mod typed;
pub mod watch;
mod write;

/// What the model does not do, and why.
pub const LACKS: &[(&str, &str)] = &[
    (
        "kinds of Kubernetes other than ConfigMap, Namespace, Secret, ServiceAccount, Lease, Event of events.k8s.io/v1 (not also as v1), CustomResourceDefinition and those of RBAC",
        "few kinds done right: most others have defaults in code",
    ),
    ("strategic merge patch", "kro-hub sends none"),
    ("YAML and protobuf", "clients of kro-hub send JSON, also as apply-patch+yaml"),
    ("lists as tables", "kubectl accepts JSON as well"),
    ("aggregated discovery and OpenAPI v2", "clients of kro-hub ask for the plain forms"),
    ("subresources scale, token and finalize", "nobody asks for them"),
    ("conversion webhooks, admission webhooks, validating policies", "a test would have to serve them"),
    (
        "429 of a kind that was just served, and the seconds until OpenAPI describes it",
        "clients wait for both anyway",
    ),
    ("unknown fields within the schemas of a CRD", "they are kept as they come"),
    ("selectable fields of custom resources", "nobody asks for them"),
    ("authorisation by RBAC", "tests say what is denied"),
];

/// Namespaces that cannot be deleted.
fn own_namespaces(name: &str) -> bool {
    matches!(name, "default" | "kube-system" | "kube-public")
}
