//! What the controller needs on the hub before it can work: its namespace and the CRDs of its own kinds.
//!
//! CRDs of kro that are there already are never replaced: only our part of the status is added to the definition's.

use super::resources::namespaces;
use crate::api::crds;
use crate::spoke::client::{ApiError, HubClient};
use crate::spoke::crd::{crd_resource, is_established};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("{what}: {source}")]
    Api { what: String, source: ApiError },
    #[error(
        "CustomResourceDefinition {name} is older than kro 0.9.4: it lacks {}; upgrade it with `kro-hub crds | kubectl apply \
         --server-side -f -`, or start the controller with --upgrade-crds",
        .missing.join(", ")
    )]
    Old { name: String, missing: Vec<String> },
    #[error("CustomResourceDefinition {name} did not become Established within 60 s")]
    NotEstablished { name: String },
}

fn api(what: String) -> impl FnOnce(ApiError) -> InstallError {
    move |source| InstallError::Api { what, source }
}

/// Creates the controller's namespace where it is missing.
///
/// # Errors
/// The hub refuses.
pub async fn namespace(client: &HubClient, namespace: &str) -> Result<(), InstallError> {
    let found = client.at(&namespaces(), "", namespace).get().await;
    if found.map_err(api(format!("reading namespace {namespace}")))?.is_none() {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        match client.create(&namespaces(), "", &body).await {
            Ok(_) | Err(ApiError::AlreadyExists) => {}
            Err(error) => return Err(api(format!("creating namespace {namespace}"))(error)),
        }
    }
    Ok(())
}

/// Installs the CRDs that are missing.
///
/// # Errors
/// The hub refuses, or has CRDs that are too old.
pub async fn crds(client: &HubClient, upgrade: bool) -> Result<(), InstallError> {
    for wanted in crds::all() {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let what = format!("CustomResourceDefinition {name}");
        match client.at(&crd_resource(), "", &name).get().await.map_err(api(what.clone()))? {
            None => match client.create(&crd_resource(), "", &wanted).await {
                Ok(_) | Err(ApiError::AlreadyExists) => {}
                Err(error) => return Err(api(what)(error)),
            },
            Some(live) => {
                let Some(body) = improved(&name, &live, &wanted, upgrade)? else { continue };
                client.at(&crd_resource(), "", &name).replace(&body).await.map_err(api(what))?;
            }
        }
    }
    for wanted in crds::all() {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        established(client, &name).await?;
    }
    Ok(())
}

/// What to replace a CRD by; `None` when it is good as it is.
fn improved(name: &str, live: &Value, wanted: &Value, upgrade: bool) -> Result<Option<Value>, InstallError> {
    let missing = crds::missing_properties(live, wanted);
    let ours = name.ends_with(".hub.kro.run");
    let foreign = crds::lacks(live, wanted);
    if !foreign.is_empty() && !upgrade && !ours {
        return Err(InstallError::Old { name: name.to_owned(), missing: foreign });
    }
    Ok((!missing.is_empty()).then(|| crds::with_missing_properties(live, wanted)))
}

async fn established(client: &HubClient, name: &str) -> Result<(), InstallError> {
    for _ in 0..600 {
        let found = client.at(&crd_resource(), "", name).get().await;
        if found.ok().flatten().is_some_and(|crd| is_established(&crd)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(InstallError::NotEstablished { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_crd_stops_the_start_and_a_plain_one_gets_the_fleet_status() {
        let wanted = crds::all().remove(0);
        let name = crds::RGD_CRD;
        assert!(improved(name, &wanted, &wanted, false).unwrap().is_none());
        let properties = "/spec/versions/0/schema/openAPIV3Schema/properties";
        let mut plain = wanted.clone();
        let status = plain.pointer_mut(&format!("{properties}/status/properties")).unwrap();
        status.as_object_mut().unwrap().remove("fleet");
        assert!(improved(name, &plain, &wanted, false).unwrap().is_some());
        let schema = plain.pointer_mut(&format!("{properties}/spec/properties/schema/properties")).unwrap();
        schema.as_object_mut().unwrap().remove("shortNames");
        let refused = improved(name, &plain, &wanted, false).unwrap_err().to_string();
        assert!(
            refused.contains("spec.schema.shortNames") && refused.contains("--upgrade-crds"),
            "{refused}"
        );
        assert!(improved(name, &plain, &wanted, true).unwrap().is_some());
    }
}
