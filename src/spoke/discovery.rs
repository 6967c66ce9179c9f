//! Where a cluster serves a kind.

use super::client::{ApiError, Verbs};
use crate::api::names::{GroupKind, Gvk};
use kube::core::ApiResource;
use serde_json::Value;

/// Where a kind is served.
#[derive(Clone, Debug)]
pub struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
}

/// Looks a kind up: in the version of `gvk` where there is one, else in whatever version has it, the preferred one
/// first. `Ok(None)`: the cluster answered, and serves the kind in no version.
///
/// # Errors
/// The cluster could not be asked; says nothing about the kind.
pub async fn discover(client: &Verbs, gk: &GroupKind, gvk: Option<&Gvk>) -> Result<Option<Served>, ApiError> {
    let wanted = gvk.map(|gvk| gvk.version.to_string()).filter(|v| !v.is_empty());
    if let Some(version) = &wanted
        && let Some(served) = find_in(client, gk, version).await?
    {
        return Ok(Some(served));
    }
    let others = if gk.group.is_empty() {
        vec!["v1".to_owned()]
    } else {
        match client.get_json(&format!("/apis/{}", gk.group)).await? {
            Some(group) => versions(&group),
            None => return Ok(None),
        }
    };
    for version in others.iter().filter(|v| Some(*v) != wanted.as_ref()) {
        if let Some(served) = find_in(client, gk, version).await? {
            return Ok(Some(served));
        }
    }
    Ok(None)
}

/// All versions of an APIGroup, the preferred one first.
fn versions(group: &Value) -> Vec<String> {
    let preferred = group.pointer("/preferredVersion/version").and_then(Value::as_str);
    let all = group.get("versions").and_then(Value::as_array).into_iter().flatten();
    let mut out: Vec<String> = preferred.map(str::to_owned).into_iter().collect();
    for version in all.filter_map(|v| v.get("version").and_then(Value::as_str)) {
        if !out.iter().any(|known| known == version) {
            out.push(version.to_owned());
        }
    }
    out
}

/// Whether the cluster serves a kind in this very version.
///
/// # Errors
/// The cluster could not be asked.
pub async fn is_served(client: &Verbs, gvk: &Gvk) -> Result<bool, ApiError> {
    Ok(find_in(client, &gvk.group_kind(), &gvk.version).await?.is_some())
}

async fn find_in(client: &Verbs, gk: &GroupKind, version: &str) -> Result<Option<Served>, ApiError> {
    let path =
        if gk.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", gk.group) };
    Ok(client.get_json(&path).await?.and_then(|list| served_as(gk, version, &list)))
}

/// The kind in an APIResourceList.
fn served_as(gk: &GroupKind, version: &str, list: &Value) -> Option<Served> {
    let found = list.get("resources")?.as_array()?.iter().find(|r| {
        let text = |k| r.get(k).and_then(Value::as_str).unwrap_or_default();
        text("kind") == &*gk.kind && !text("name").contains('/')
    })?;
    let api_version =
        if gk.group.is_empty() { version.to_owned() } else { format!("{}/{version}", gk.group) };
    let resource = ApiResource {
        group: gk.group.to_string(),
        version: version.to_owned(),
        api_version,
        kind: gk.kind.to_string(),
        plural: found.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    Some(Served { resource, namespaced: found.get("namespaced").and_then(Value::as_bool).unwrap_or(true) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_version_of_a_group_is_looked_at_the_preferred_one_first() {
        let group = json!({"preferredVersion": {"version": "v1"},
            "versions": [{"version": "v2alpha1"}, {"version": "v1"}, {"version": "v1beta1"}]});
        assert_eq!(versions(&group), ["v1", "v2alpha1", "v1beta1"]);
        assert!(versions(&json!({})).is_empty());
    }

    #[test]
    fn a_kind_is_found_in_the_list_of_a_version() {
        let gk = GroupKind::new("policy", "PodDisruptionBudget");
        let list = json!({"resources": [
            {"name": "poddisruptionbudgets/status", "kind": "PodDisruptionBudget", "namespaced": true},
            {"name": "poddisruptionbudgets", "kind": "PodDisruptionBudget", "namespaced": true}]});
        let served = served_as(&gk, "v1", &list).unwrap();
        assert_eq!((&*served.resource.plural, served.namespaced), ("poddisruptionbudgets", true));
        assert_eq!(served.resource.api_version, "policy/v1");
        assert!(served_as(&GroupKind::new("policy", "Eviction"), "v1", &list).is_none());
    }
}
