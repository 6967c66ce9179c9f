//! The CRDs of what places instances and lets changes travel: Placement, ClusterPlacement, RolloutApproval and
//! InstanceReport. Their schemas are those of the types that read them.

use super::{Definition, crd};
use crate::api::condition::unseen_status;
use crate::api::instance_report::ReportBody;
use crate::api::keys::hub;
use crate::api::placement::{PlacementSpec, PlacementStatus};
use crate::api::rollout::Scope;
use crate::api::rollout_approval::RolloutApprovalSpec;
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Value, json};

/// The schema of a type as a CRD may say it: without references and titles.
fn schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let settings = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
    }
    schema
}

fn column(name: &str, type_: &str, path: &str) -> Value {
    json!({"name": name, "type": type_, "jsonPath": path})
}

fn ready(name: &str, field: &str) -> Value {
    column(name, "string", &format!(".status.conditions[?(@.type==\"Ready\")].{field}"))
}

fn age() -> Value {
    column("AGE", "date", ".metadata.creationTimestamp")
}

/// Placement: without what only a ClusterPlacement may say.
pub(super) fn placement() -> Value {
    let mut spec = schema::<PlacementSpec>();
    for (parent, field) in [
        ("/properties/instances/properties", "namespaces"),
        ("/properties/rollout/properties", "scope"),
        ("/properties/rollout/properties/stages/items/properties", "instances"),
    ] {
        if let Some(properties) = spec.pointer_mut(parent).and_then(Value::as_object_mut) {
            properties.remove(field);
        }
    }
    placements("Placement", "Namespaced", spec, None)
}

/// ClusterPlacement: may also say namespaces, and move a whole kind as one.
pub(super) fn cluster_placement() -> Value {
    let mut spec = schema::<PlacementSpec>();
    // So the column says which of the two it is, also where nobody wrote it.
    if let Some(scope) = spec.pointer_mut("/properties/rollout/properties/scope") {
        scope["default"] = json!(Scope::default());
    }
    spec["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.rollout) || !has(self.rollout.scope) || self.rollout.scope == 'Instance' || \
            !(has(self.instances.labelSelector) || has(self.instances.names) || has(self.instances.namespaces))",
        "message": "rollout.scope Kind is for the whole kind: instances takes no names, labelSelector and namespaces",
    }]);
    placements("ClusterPlacement", "Cluster", spec, Some(column("SCOPE", "string", ".spec.rollout.scope")))
}

/// `own`: a column that the other kind has not, after the first.
fn placements(kind: &'static str, scope: &'static str, spec: Value, own: Option<Value>) -> Value {
    let columns = [
        column("INSTANCES", "integer", ".status.instances"),
        column("CLUSTERS", "integer", ".status.clusters"),
        column("ROLLOUT", "string", ".status.rollout.summary"),
        ready("READY", "status"),
        ready("REASON", "reason"),
        age(),
    ];
    let first = column("KIND", "string", ".spec.instances.kind");
    let columns: Vec<Value> = std::iter::once(first).chain(own).chain(columns).collect();
    let mut status = schema::<PlacementStatus>();
    status["default"] = unseen_status();
    let rollout = status.pointer_mut("/properties/rollout/properties").and_then(Value::as_object_mut);
    if let Some(fields) = rollout.filter(|_| scope == "Namespaced") {
        // It moves no kind as one.
        fields.remove("kind");
    }
    let singular = kind.to_lowercase();
    crd(Definition {
        names: json!({"kind": kind, "listKind": format!("{kind}List"), "plural": format!("{singular}s"),
            "singular": singular}),
        group: hub::GROUP,
        scope,
        columns: Value::Array(columns),
        selectable: json!([]),
        required: &["spec"],
        parts: vec![("spec", spec), ("status", status)],
    })
}

pub(super) fn rollout_approval() -> Value {
    crd(Definition {
        names: json!({"kind": "RolloutApproval", "listKind": "RolloutApprovalList", "plural": "rolloutapprovals",
            "singular": "rolloutapproval"}),
        group: hub::GROUP,
        scope: "Namespaced",
        columns: json!([
            column("FOR", "string", ".spec.instance.name"),
            column("VERSION", "integer", ".spec.version"),
            column("STAGE", "string", ".spec.stage"),
            {"name": "CLUSTERPLACEMENT", "type": "string", "jsonPath": ".spec.clusterPlacement", "priority": 1},
            age(),
        ]),
        selectable: json!([]),
        required: &["spec"],
        parts: vec![("spec", schema::<RolloutApprovalSpec>())],
    })
}

pub(super) fn instance_report() -> Value {
    crd(Definition {
        names: json!({"kind": "InstanceReport", "listKind": "InstanceReportList", "plural": "instancereports",
            "singular": "instancereport"}),
        group: hub::GROUP,
        scope: "Namespaced",
        columns: json!([
            column("INSTANCE", "string", ".report.instance.name"),
            column("CLUSTERS", "integer", ".report.clusters"),
            column("READY", "integer", ".report.ready"),
            age(),
        ]),
        selectable: json!([]),
        required: &[],
        parts: vec![("report", schema::<ReportBody>())],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(crd: &Value, path: &str) -> Vec<String> {
        let at = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec{path}/properties");
        crd.pointer(&at).and_then(Value::as_object).unwrap().keys().cloned().collect()
    }

    #[test]
    fn what_reaches_over_namespaces_is_for_a_cluster_placement_alone() {
        let (one, all) = (placement(), cluster_placement());
        let only = |path: &str| -> Vec<String> {
            let there = properties(&one, path);
            properties(&all, path).into_iter().filter(|name| !there.contains(name)).collect()
        };
        assert_eq!(only("/properties/instances"), ["namespaces"]);
        assert_eq!(only("/properties/rollout"), ["scope"]);
        assert_eq!(only("/properties/rollout/properties/stages/items"), ["instances"]);
        assert!(only("").is_empty() && only("/properties/clusters").is_empty());
    }

    #[test]
    fn the_column_of_the_scope_is_never_blank_where_there_is_a_rollout() {
        let crd = cluster_placement();
        let version = &crd["spec"]["versions"][0];
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        let scope = columns.iter().find(|column| column["name"] == "SCOPE").unwrap();
        assert_eq!(scope["jsonPath"], ".spec.rollout.scope");
        let rollout = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rollout"];
        assert_eq!(rollout["properties"]["scope"]["default"], "Instance");
    }
}
