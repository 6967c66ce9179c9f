//! The durable record of content that was let go without being deleted: ConfigMap `left-<clusterID>` on the hub, one
//! entry an instance, keyed by the instance's uid.

use crate::api::names::ClusterName;
use crate::hub::resources::config_maps;
use crate::reconcile::fleet::Left;
use crate::spoke::client::{ApiError, HubClient};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of the ConfigMap for a cluster. Ids are uids or names that an operator chose; what no object name may contain
/// becomes a dash, with a hash that keeps two such ids apart.
fn config_map(cluster_id: &str) -> String {
    let lower = cluster_id.to_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if lower == cluster_id && lower.chars().all(plain) && lower.len() <= 200 {
        return format!("left-{lower}");
    }
    let clean: String = lower.chars().take(200).map(|c| if plain(c) { c } else { '-' }).collect();
    format!("left-{clean}-{:08x}", crate::api::hash::fnv32(cluster_id))
}

/// All entries for a cluster. An entry that cannot be read is an error: what is left must not be forgotten.
///
/// # Errors
/// The hub could not be asked.
pub async fn read(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
) -> Result<BTreeMap<String, Left>, ApiError> {
    let name = config_map(cluster_id);
    match client.get(&config_maps(), namespace, &name).await? {
        Some(found) => parse(namespace, &found),
        None => Ok(BTreeMap::new()),
    }
}

fn parse(namespace: &str, found: &Value) -> Result<BTreeMap<String, Left>, ApiError> {
    let name = found.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let data = found.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut out = BTreeMap::new();
    for (uid, text) in data {
        match serde_json::from_str::<Left>(text.as_str().unwrap_or_default()) {
            Ok(left) => {
                out.insert(uid, left);
            }
            Err(error) => {
                let message = format!("ConfigMap {namespace}/{name}, key {uid}: {error}");
                return Err(ApiError::Invalid { message });
            }
        }
    }
    Ok(out)
}

/// Adds an entry, and answers all that there are then.
///
/// # Errors
/// The hub could not be asked.
pub async fn record(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
    left: &Left,
) -> Result<BTreeMap<String, Left>, ApiError> {
    let text = serde_json::to_string(left).unwrap_or_default();
    let name = config_map(cluster_id);
    let patch = json!({"data": {left.hub_uid.as_str(): text}});
    let written = match client.merge_patch(&config_maps(), namespace, &name, &patch).await {
        Err(ApiError::NotFound) => {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace}, "data": {}});
            match client.create(&config_maps(), namespace, &body).await {
                Ok(_) | Err(ApiError::AlreadyExists) => {}
                Err(error) => return Err(error),
            }
            client.merge_patch(&config_maps(), namespace, &name, &patch).await?
        }
        other => other?,
    };
    parse(namespace, &written)
}

/// Takes an entry out.
///
/// # Errors
/// The hub could not be asked.
pub async fn forget(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
    hub_uid: &str,
) -> Result<(), ApiError> {
    let patch = json!({"data": {hub_uid: null}});
    match client.merge_patch(&config_maps(), namespace, &config_map(cluster_id), &patch).await {
        Ok(_) | Err(ApiError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What stands for the id of a cluster that is not registered, so that its id is not known.
pub fn unknown_id(cluster: &ClusterName) -> String {
    format!("name:{cluster}")
}

#[cfg(test)]
mod tests {
    use super::config_map;

    #[test]
    fn names() {
        assert_eq!(config_map("0f1e-22"), "left-0f1e-22");
        assert_ne!(config_map("Prod/EU"), config_map("prod/eu"));
        assert!(config_map("Prod/EU").starts_with("left-prod-eu-"));
    }
}
