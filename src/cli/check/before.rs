//! What single objects of the hub say.

use crate::access::check::Finding;
use crate::api::Object;
use crate::api::keys::hub as keys;

/// Whether a controller leads, by its Lease.
pub fn leads(lease: Option<&Object>, namespace: &str, now: i64) -> Finding {
    let mend = format!("kubectl -n {namespace} get pods; kubectl -n {namespace} logs deployment/kro-hub");
    let Some(lease) = lease else {
        return Finding::failed(
            format!("no controller ever led: Lease {namespace}/{} is missing", keys::LEASE),
            mend,
        );
    };
    let holder = lease.str_at("/spec/holderIdentity");
    let renewed: Option<jiff::Timestamp> = lease.str_at("/spec/renewTime").parse().ok();
    let seconds =
        lease.0.pointer("/spec/leaseDurationSeconds").and_then(serde_json::Value::as_i64).unwrap_or(15);
    match renewed.map(|at| now - at.as_second()) {
        Some(age) if age <= seconds && !holder.is_empty() => Finding::ok(format!("{holder} leads")),
        Some(age) => Finding::failed(format!("nobody leads: the Lease was last renewed {age} s ago"), mend),
        None => Finding::failed("nobody leads: the Lease is free", mend),
    }
}

/// A definition that is not Active.
pub fn refused(definition: &Object) -> Option<Finding> {
    let state = definition.str_at("/status/state");
    if state == "Active" {
        return None;
    }
    let conditions = definition.0.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let said =
        conditions.into_iter().flatten().find(|c| c.get("status").and_then(|s| s.as_str()) == Some("False"));
    let message =
        said.and_then(|c| c.get("message")?.as_str()).unwrap_or("the controller says nothing of it yet");
    Some(Finding::failed(
        format!("{}: {}", definition.name(), crate::api::text::cut(message, 300)),
        format!("kubectl get rgd {} -o yaml > f.yaml && kro-hub validate f.yaml", definition.name()),
    ))
}

/// A labelled Secret whose name belongs to another one's Cluster, or has none.
pub fn registers_nothing(secret: &Object, clusters: &[Object]) -> Option<Finding> {
    let place = format!("Secret {}/{}", secret.namespace(), secret.name());
    let Some(cluster) = clusters.iter().find(|c| c.name() == secret.name()) else {
        return Some(Finding::failed(
            format!("{place} is labelled, and there is no Cluster of its name"),
            format!(
                "kubectl -n {} get events --field-selector regarding.name={}",
                secret.namespace(),
                secret.name()
            ),
        ));
    };
    let at = |field: &str| cluster.str_at(&format!("/spec/credentials/secretRef/{field}"));
    let own = (at("namespace"), at("name")) == (secret.namespace(), secret.name());
    (!own).then(|| {
        Finding::failed(
            format!(
                "{place} is refused: Cluster {} takes its credentials from {}/{}",
                cluster.name(),
                at("namespace"),
                at("name")
            ),
            "name the Secret otherwise, or take its label away",
        )
    })
}

/// A kro that runs.
pub fn runs(deployment: &Object) -> Option<Finding> {
    let wanted = deployment.0.pointer("/spec/replicas").and_then(serde_json::Value::as_i64).unwrap_or(1);
    let (namespace, name) = (deployment.namespace(), deployment.name());
    (wanted > 0).then(|| {
        Finding::failed(
            format!("kro runs here as well, as Deployment {namespace}/{name}: both write the same objects"),
            format!("kubectl -n {namespace} scale deployment {name} --replicas=0"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::check::Outcome;
    use serde_json::json;

    #[test]
    fn a_lease_says_whether_anybody_leads() {
        let lease = |holder: &str, renewed: &str| {
            Object(
                json!({"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}}),
            )
        };
        let now = "2026-01-01T00:00:20Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let result = |lease: Option<&Object>| leads(lease, "kro-hub", now).result;
        assert_eq!(result(None), Outcome::Failed);
        assert_eq!(result(Some(&lease("a", "2026-01-01T00:00:10.123456Z"))), Outcome::Ok);
        assert_eq!(result(Some(&lease("a", "2026-01-01T00:00:00.000000Z"))), Outcome::Failed);
        assert_eq!(result(Some(&lease("", "2026-01-01T00:00:19.000000Z"))), Outcome::Failed);
        assert_eq!(result(Some(&Object(json!({"spec": {}})))), Outcome::Failed);
    }

    #[test]
    fn a_secret_that_registers_nothing_is_told() {
        let cluster = |name: &str, secret: &str| {
            Object(
                json!({"metadata": {"name": name}, "spec": {"credentials": {"secretRef": {"name": secret, "namespace": "n"}}}}),
            )
        };
        let secret = Object(json!({"metadata": {"name": "eu", "namespace": "n"}}));
        assert_eq!(registers_nothing(&secret, &[cluster("eu", "eu")]), None);
        let taken = registers_nothing(&secret, &[cluster("eu", "first")]).unwrap();
        assert!(taken.text.contains("n/first"), "{}", taken.text);
        assert!(registers_nothing(&secret, &[]).unwrap().text.contains("no Cluster"));
    }

    #[test]
    fn a_kro_at_rest_is_no_neighbour() {
        let kro = |replicas: serde_json::Value| {
            Object(json!({"metadata": {"name": "kro", "namespace": "kro-system"}, "spec": replicas}))
        };
        assert!(runs(&kro(json!({}))).is_some() && runs(&kro(json!({"replicas": 2}))).is_some());
        assert_eq!(runs(&kro(json!({"replicas": 0}))), None);
    }

    #[test]
    fn a_definition_that_is_not_active_says_why() {
        let active = Object(json!({"metadata": {"name": "a"}, "status": {"state": "Active"}}));
        assert_eq!(refused(&active), None);
        let bad = Object(json!({"metadata": {"name": "b"}, "status": {"state": "Inactive", "conditions": [
            {"type": "X", "status": "True", "message": "fine"}, {"type": "GraphAccepted", "status": "False", "message": "a cycle"}]}}));
        assert_eq!(refused(&bad).unwrap().text, "b: a cycle");
    }
}
