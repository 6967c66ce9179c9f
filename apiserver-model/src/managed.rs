//! Who owns which field: server-side apply, and what other writes change in `metadata.managedFields`.

use crate::fields::Fields;
use crate::ownership;
use crate::schema::Schema;
use serde_json::Value;

/// Who writes, through which endpoint of which kind.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub schema: &'a Schema,
    pub manager: &'a str,
    /// Empty for the main endpoint.
    pub subresource: &'a str,
    pub api_version: &'a str,
    /// RFC 3339, whole seconds.
    pub time: &'a str,
    /// What this endpoint does not write, so nobody owns it by a write through it: see [`resets`].
    pub reset: &'a Fields,
    /// What the kind looks like with nothing set: see [`zero`].
    pub zero: &'a Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As a server names it: `"kubectl-edit" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// 409, with a cause for each conflict: see [`message`] and [`causes`].
    Conflicts(Vec<Conflict>),
    /// 500: the object does not fit the types of its kind.
    Typed(String),
    /// 400.
    Refused(String),
}

/// The message of an answer to conflicts.
#[must_use]
pub fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.path);
    }
    let mut lines = Vec::new();
    let mut managers: Vec<&str> = conflicts.iter().map(|c| c.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(conflicts.iter().filter(|c| c.manager == manager).map(|c| format!("- {}", c.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// `details.causes` of an answer to conflicts.
#[must_use]
pub fn causes(conflicts: &[Conflict]) -> Value {
    let cause = |c: &Conflict| {
        let message = format!("conflict with {}", c.manager);
        serde_json::json!({"reason": "FieldManagerConflict", "message": message, "field": c.path})
    };
    conflicts.iter().map(cause).collect()
}

/// What an endpoint of a kind with a status subresource does not write.
#[must_use]
pub fn resets(custom: bool, subresource: &str) -> Fields {
    match subresource {
        "" => Fields::named(&[&["status"]]),
        "status" if custom => Fields::named(&[&["spec"], &["metadata"]]),
        "status" => Fields::named(&[&["spec"], &["metadata", "labels"]]),
        _ => Fields::default(),
    }
}

/// An object of a kind of Kubernetes with nothing set, as a server encodes it; one of a custom kind has no field at all.
#[must_use]
pub fn zero(api_version: &str, kind: &str) -> Value {
    use serde_json::json;
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    let mut object = match (api_version, kind) {
        ("apps/v1", "Deployment") => {
            json!({"spec": {"selector": null, "template": template(), "strategy": {}}, "status": {}})
        }
        ("apps/v1", "StatefulSet") => json!({
            "spec": {"selector": null, "template": template(), "serviceName": "", "updateStrategy": {}},
            "status": {"replicas": 0, "availableReplicas": 0},
        }),
        ("apps/v1", "DaemonSet") => json!({
            "spec": {"selector": null, "template": template(), "updateStrategy": {}},
            "status": {
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            },
        }),
        ("apps/v1", "ReplicaSet") => {
            json!({"spec": {"selector": null, "template": template()}, "status": {"replicas": 0}})
        }
        ("batch/v1", "Job") => json!({"spec": {"template": template()}, "status": {}}),
        ("batch/v1", "CronJob") => json!({
            "spec": {"schedule": "", "jobTemplate": {"metadata": {}, "spec": {"template": template()}}},
            "status": {},
        }),
        ("v1", "Pod") => json!({"spec": {"containers": null}, "status": {}}),
        ("v1", "Service") => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        ("v1", "Namespace" | "Node" | "PersistentVolume") => json!({"spec": {}, "status": {}}),
        ("v1", "PersistentVolumeClaim") => json!({"spec": {"resources": {}}, "status": {}}),
        ("networking.k8s.io/v1", "Ingress") => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        ("networking.k8s.io/v1", "NetworkPolicy") => json!({"spec": {"podSelector": {}}}),
        ("policy/v1", "PodDisruptionBudget") => json!({
            "spec": {},
            "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
        }),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => json!({
            "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 0},
            "status": {"desiredReplicas": 0, "currentMetrics": null},
        }),
        ("rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding") => {
            json!({"roleRef": {"apiGroup": "", "kind": "", "name": ""}})
        }
        ("rbac.authorization.k8s.io/v1", "Role" | "ClusterRole") => json!({"rules": null}),
        ("coordination.k8s.io/v1", "Lease") => json!({"spec": {}}),
        ("events.k8s.io/v1", "Event") => {
            json!({"deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null})
        }
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => json!({
            "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": null},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null},
        }),
        (
            "v1",
            "ConfigMap" | "Secret" | "ServiceAccount" | "Event" | "Endpoints" | "ResourceQuota"
            | "LimitRange",
        ) => {
            json!({})
        }
        _ => return json!({"apiVersion": api_version, "kind": kind}),
    };
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object["metadata"] = json!({});
    object
}

/// Server-side apply: the object to store, its `managedFields` set. An apply that changes nothing gives back the live object.
///
/// # Errors
/// Another manager owns a field with another value and `force` is not set, or the object does not fit its types.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    ownership::apply(live, applied, writer, force)
}

/// The object of a create, PUT, merge patch or JSON patch, with its `managedFields` set. `before` is none for a create.
#[must_use]
pub fn update(before: Option<&Value>, after: &Value, writer: &Writer<'_>) -> Value {
    ownership::update(before, after, writer)
}
