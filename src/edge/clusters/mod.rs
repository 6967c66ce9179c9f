//! What people do with the clusters of a hub: register, rotate, remove; by their own rights on both sides.

mod add;
mod hub;
mod remove;
mod rotate;
mod token;

pub use add::{Order, Surveyed, enrol, survey, warns};
pub use hub::{Hub, status_of};
pub use remove::{Leaving, clean, remove, unwarn};
pub use rotate::{address, by_secret, rotate};
pub use token::TokenKind;

use super::{Connection, Failure};
use kube::core::ApiResource;
use serde_json::Value;
use std::time::Duration;

/// Field manager of what is written in a person's name.
const MANAGER: &str = "kro-hub-cli";
/// How long the controller, or a cluster, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);

/// Where an object of one of the kinds that are written here is.
fn resource_of(object: &Value) -> ApiResource {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: kind.into(),
        plural: plural_of(kind),
    }
}

/// Most have an s: namespaces, secrets, clusterrolebindings, clusters.
fn plural_of(kind: &str) -> String {
    match kind.to_lowercase() {
        kind if kind.ends_with("policy") => format!("{}ies", kind.trim_end_matches('y')),
        kind => format!("{kind}s"),
    }
}

fn place(object: &Value) -> (&str, &str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// Server-side apply of one object.
async fn apply(to: &Connection, object: &Value) -> Result<Value, Failure> {
    let (namespace, name) = place(object);
    let resource = resource_of(object);
    let what = format!("write {} {name} on {}", resource.kind, to.name);
    to.within(&what, to.verbs().at(&resource, namespace, name).apply(MANAGER, object)).await
}

/// Deletes an object that was read, if it is still the same; says whether there was one.
async fn delete(from: &Connection, found: &Value) -> Result<(), Failure> {
    let (namespace, name) = place(found);
    let resource = resource_of(found);
    let uid = found.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let what = format!("delete {} {name} on {}", resource.kind, from.name);
    from.within(&what, from.verbs().at(&resource, namespace, name).delete(uid)).await.map(drop)
}
