//! The ways in for bytes from outside, as `fuzz/` and `tests/` take them: what the Secret of a cluster holds, what
//! `kro-hub validate` reads, what a cluster says and what users write of placement. Nothing else uses this.

mod cluster;
mod placement;

pub use cluster::{managed_fields, watch_event};
pub use placement::placement;

use crate::api::Object;
use crate::api::cluster::{ClusterSpec, Credentials, SecretRef};
use crate::cli::validate::source;
use crate::hub::clusters::source::{Blocked, Reason, Source, of, unusable};
use crate::spoke::client;
use base64::Engine;
use serde_json::{Value, json};

/// Where a kubeconfig that is taken leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address.
    pub server: String,
    /// The token, where there is one.
    pub token: Option<String>,
}

/// Reads the kubeconfig of Secret `kro-hub/eu` as the controller does, up to a client that has connected to nothing yet.
///
/// # Errors
/// What the Cluster would say.
pub fn kubeconfig(bytes: &[u8]) -> Result<Taken, String> {
    let secret_ref = SecretRef { name: "eu".into(), namespace: "kro-hub".into(), key: None };
    let credentials = Credentials { secret_ref: secret_ref.clone() };
    let spec = ClusterSpec { credentials: Some(credentials), ..ClusterSpec::default() };
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    let metadata = json!({"name": "eu", "namespace": "kro-hub"});
    let secret = Object(json!({"metadata": metadata, "data": {"kubeconfig": data}}));
    let found = of(&spec, |_| Some(secret.clone()), &["kro-hub".to_owned()]);
    let endpoint = match found.map_err(refusal)? {
        Source::Remote(endpoint) => endpoint,
        Source::Local => return Err("it leads to the hub itself".into()),
    };
    client::check(&endpoint).map_err(|why| refusal(unusable(Some(&secret_ref), &why)))?;
    Ok(Taken { server: endpoint.server().to_owned(), token: endpoint.token().map(str::to_owned) })
}

fn refusal(blocked: Blocked) -> String {
    match blocked.reason {
        Reason::KubeconfigRefused => blocked.message,
        other => format!("{}: {}", other.text(), blocked.message),
    }
}

/// The objects of a file, as `kro-hub validate` reads it, and why documents of it cannot be read: where, and what.
pub fn yaml(text: &str) -> (Vec<Value>, Vec<(std::ops::Range<usize>, String)>) {
    let found = source::objects(0, text);
    let objects = found.objects.iter().map(|object| object.node.value()).collect();
    let refusals = found.refusals.into_iter().map(|r| (r.refusal.span, r.refusal.message)).collect();
    (objects, refusals)
}
