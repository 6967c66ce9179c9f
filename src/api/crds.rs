//! The CRDs that kro-hub installs on the hub: kro's own two, as kro 0.9.4 ships them, and those of its own group.

mod policy;

use super::cluster::Cluster;
use super::condition::unseen_status;
use super::keys::kro;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// `resourcegraphdefinitions.kro.run`.
pub const RGD_CRD: &str = "resourcegraphdefinitions.kro.run";

const STATUS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// Fields of ours that a CRD of kro's lacks. They are added without asking.
pub const OURS: [&str; 3] = ["status.fleet", "status.observedGeneration", "status (default)"];

/// All CRDs, in the order they are installed.
pub fn all() -> Vec<Value> {
    vec![
        rgd(),
        graph_revision(),
        cluster(),
        policy::placement(),
        policy::cluster_placement(),
        policy::rollout_approval(),
        policy::instance_report(),
    ]
}

fn cluster() -> Value {
    let mut crd = serde_json::to_value(Cluster::crd()).unwrap_or_default();
    if let Some(status) = crd.pointer_mut(STATUS) {
        status["default"] = unseen_status();
    }
    if let Some(spec) = crd.pointer_mut(SPEC) {
        let is_local = |spec: &str| format!("(has({spec}.local) && {spec}.local)");
        let (now, before) = (is_local("self"), is_local("oldSelf"));
        spec["x-kubernetes-validations"] = json!([{
            "rule": format!("has(self.credentials) != {now}"),
            "message": "write one of the two: credentials.secretRef names the kubeconfig Secret, local: true is the hub itself",
        }, {
            // What it holds would be looked for in another cluster.
            "rule": format!("{now} == {before}"),
            "message": "local does not change: delete this Cluster, then make another one",
        }]);
        if let Some(namespaces) = spec.pointer_mut("/properties/childNamespaces") {
            child_namespaces(namespaces);
        }
    }
    crd
}

/// What no list may say with `Any`, and what no namespace is called.
fn child_namespaces(schema: &mut Value) {
    schema["x-kubernetes-validations"] = json!([{
        "rule": "self.policy == 'Own' || !has(self.also) || size(self.also) == 0",
        "message": "also goes with policy: Own; with Any every namespace is allowed",
    }]);
    if let Some(also) = schema.pointer_mut("/properties/also") {
        also["maxItems"] = json!(256);
        also["x-kubernetes-list-type"] = json!("set");
        also["items"] =
            json!({"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"});
    }
}

fn rgd() -> Value {
    let mut status = graph_status();
    status["properties"]["state"] = described("string", "Active while instances are served, else Inactive.");
    status["properties"]["lastIssuedRevision"] = json!({"type": "integer", "format": "int64",
        "description": "The highest revision number ever issued; it never decreases."});
    // These fields are ours, not kro's.
    status["properties"]["observedGeneration"] = json!({"type": "integer", "format": "int64",
        "description": "The generation that the status is about."});
    status["default"] = unseen_status();
    status["properties"]["fleet"] = definition_fleet();
    crd(Definition {
        names: json!({"kind": "ResourceGraphDefinition", "listKind": "ResourceGraphDefinitionList",
            "plural": "resourcegraphdefinitions", "singular": "resourcegraphdefinition", "shortNames": ["rgd"]}),
        group: kro::GROUP,
        columns: json!([
            {"name": "APIVERSION", "type": "string", "jsonPath": ".spec.schema.apiVersion"},
            {"name": "KIND", "type": "string", "jsonPath": ".spec.schema.kind"},
            {"name": "STATE", "type": "string", "jsonPath": ".status.state"},
            {"name": "READY", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
            {"name": "TOPOLOGICALORDER", "type": "string", "jsonPath": ".status.topologicalOrder", "priority": 1},
            {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ]),
        selectable: json!([]),
        scope: "Cluster",
        required: &[],
        parts: vec![("spec", graph_spec()), ("status", status)],
    })
}

/// What we add to the status of a definition.
fn definition_fleet() -> Value {
    let list = |properties: Value, text: &str| json!({"type": "array", "description": text, "items": {"type": "object", "properties": properties}});
    let number = |text: &str| json!({"type": "integer", "format": "int64", "description": text});
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "description": "How the definition stands on the registered clusters.",
        "properties": {
            "clusters": number("How many clusters judged it."),
            "compatible": number("How many of them it fits."),
            "problems": list(
                json!({"cluster": {"type": "string"}, "reason": {"type": "string"}, "message": {"type": "string"}}),
                "The first 20 clusters that it does not fit, with why."),
            "revisions": list(
                json!({
                    "revision": number("Number of a GraphRevision."),
                    "pairs": number("How many pairs of an instance and a cluster run by it."),
                }),
                "The revisions that are in use, while a rollout keeps several apart."),
        },
    })
}

fn graph_revision() -> Value {
    let spec = json!({
        "type": "object",
        "description": "An immutable snapshot of a ResourceGraphDefinition.",
        "required": ["revision", "snapshot"],
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "spec is immutable"}],
        "properties": {
            "revision": {"type": "integer", "format": "int64", "minimum": 1},
            "snapshot": {
                "type": "object",
                "required": ["name", "generation", "spec"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "generation": {"type": "integer", "format": "int64"},
                    "spec": graph_spec(),
                },
            },
        },
    });
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let mut columns = vec![
        column("RGD", ".spec.snapshot.name"),
        json!({"name": "REVISION", "type": "integer", "jsonPath": ".spec.revision"}),
        column("HASH", ".metadata.labels.kro\\.run/graph-revision-hash"),
        column("READY", ".status.conditions[?(@.type==\"Ready\")].status"),
        json!({"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
    ];
    for index in [0, 2] {
        if let Some(column) = columns.get_mut(index) {
            column["priority"] = json!(1);
        }
    }
    crd(Definition {
        names: json!({"kind": "GraphRevision", "listKind": "GraphRevisionList", "plural": "graphrevisions",
            "singular": "graphrevision", "shortNames": ["gr"]}),
        group: "internal.kro.run",
        columns: Value::Array(columns),
        selectable: json!([{"jsonPath": ".spec.snapshot.name"}]),
        scope: "Cluster",
        required: &[],
        parts: vec![("spec", spec), ("status", graph_status())],
    })
}

/// What one CRD says that others do not.
struct Definition {
    names: Value,
    group: &'static str,
    scope: &'static str,
    columns: Value,
    /// Fields that a selector may name.
    selectable: Value,
    /// Top-level fields that an object must have.
    required: &'static [&'static str],
    /// Schemas of the top-level fields. One named `status` is a subresource.
    parts: Vec<(&'static str, Value)>,
}

fn crd(definition: Definition) -> Value {
    let Definition { names, group, scope, columns, selectable, required, parts } = definition;
    let plural = names.get("plural").and_then(Value::as_str).unwrap_or_default();
    let mut schema = json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let mut version = json!({
        "name": kro::VERSION,
        "served": true,
        "storage": true,
        "additionalPrinterColumns": columns,
    });
    for (name, part) in parts {
        if name == "status" {
            version["subresources"] = json!({"status": {}});
        }
        schema["properties"][name] = part;
    }
    version["schema"] = json!({"openAPIV3Schema": schema});
    if selectable.as_array().is_some_and(|s| !s.is_empty()) {
        version["selectableFields"] = selectable;
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [version]},
    })
}

fn described(type_: &str, text: &str) -> Value {
    json!({"type": type_, "description": text})
}

/// The status that definitions and revisions share.
fn graph_status() -> Value {
    json!({
        "type": "object",
        "properties": {
            "conditions": {"type": "array", "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                },
            }},
            "topologicalOrder": {"type": "array", "items": {"type": "string"},
                "description": "Ids of the resources in the order they are applied."},
            "resources": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "dependencies": {"type": "array", "items": {
                        "type": "object", "properties": {"id": {"type": "string"}}}},
                },
            }},
        },
    })
}

fn unchecked(text: &str) -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": text})
}

fn strings(text: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}, "description": text})
}

fn immutable(mut schema: Value, field: &str) -> Value {
    schema["x-kubernetes-validations"] =
        json!([{"rule": "self == oldSelf", "message": format!("{field} is immutable")}]);
    schema
}

fn names_list(text: &str) -> Value {
    json!({"type": "array", "maxItems": 32, "x-kubernetes-list-type": "set", "description": text,
        "items": {"type": "string", "maxLength": 63, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}})
}

/// The spec of a ResourceGraphDefinition.
fn graph_spec() -> Value {
    json!({
        "type": "object",
        "required": ["schema"],
        "properties": {
            "schema": {
                "type": "object",
                "description": "The kind that this definition publishes.",
                "required": ["kind", "apiVersion", "scope"],
                "properties": {
                    "kind": immutable(json!({"type": "string", "pattern": "^[A-Z][a-zA-Z0-9]{0,62}$"}), "kind"),
                    "apiVersion": immutable(
                        json!({"type": "string", "pattern": "^v[0-9]+(alpha[0-9]+|beta[0-9]+)?$"}), "apiVersion"),
                    "group": immutable(json!({"type": "string", "default": kro::GROUP}), "group"),
                    "scope": immutable(
                        json!({"type": "string", "enum": ["Namespaced", "Cluster"], "default": "Namespaced"}), "scope"),
                    "spec": unchecked("SimpleSchema of the instance's spec."),
                    "types": unchecked("Custom types for the SimpleSchema."),
                    "status": unchecked("Expressions that give the instance's status."),
                    "additionalPrinterColumns": {"type": "array", "items": {
                        "type": "object",
                        "required": ["name", "type", "jsonPath"],
                        "properties": {
                            "name": {"type": "string"},
                            "type": {"type": "string"},
                            "jsonPath": {"type": "string"},
                            "description": {"type": "string"},
                            "format": {"type": "string"},
                            "priority": {"type": "integer", "format": "int32"},
                        },
                    }},
                    "shortNames": names_list("Short names of the generated kind."),
                    "categories": names_list("Categories of the generated kind."),
                    "metadata": {"type": "object", "properties": {
                        "labels": strings("Labels of the generated CRD."),
                        "annotations": strings("Annotations of the generated CRD."),
                    }},
                },
            },
            "resources": {"type": "array", "items": resource()},
        },
    })
}

fn resource() -> Value {
    let expressions = |text: &str| json!({"type": "array", "items": {"type": "string"}, "description": text});
    json!({
        "type": "object",
        "required": ["id"],
        "x-kubernetes-validations": [{
            "rule": "has(self.template) != has(self.externalRef)",
            "message": "exactly one of template or externalRef must be provided",
        }],
        "properties": {
            "id": {"type": "string"},
            "template": unchecked("The object, with expressions."),
            "externalRef": {
                "type": "object",
                "required": ["apiVersion", "kind", "metadata"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object", "properties": {
                        "name": {"type": "string", "minLength": 1},
                        "namespace": {"type": "string"},
                        // One whole expression is allowed here, so the selector has no schema.
                        "selector": {"x-kubernetes-preserve-unknown-fields": true},
                    }},
                },
            },
            "readyWhen": expressions("All must be true before dependents are created."),
            "includeWhen": expressions("All must be true for the resource to exist."),
            "forEach": {"type": "array", "items": {
                "type": "object", "minProperties": 1, "maxProperties": 1,
                "additionalProperties": {"type": "string"}}},
        },
    })
}

/// Whether the CRD lacks the default of a status, so that new objects would have none.
fn lacks_default(live: &Value, wanted: &Value) -> bool {
    let has = |crd: &Value| crd.pointer(STATUS).is_some_and(|status| status.get("default").is_some());
    has(wanted) && !has(live)
}

/// The same without what is ours in a CRD of kro's.
pub fn lacks(live: &Value, wanted: &Value) -> Vec<String> {
    let missing = missing_properties(live, wanted);
    missing.into_iter().filter(|m| !OURS.contains(&m.as_str())).collect()
}

/// Paths of properties that `wanted` has and `live` lacks.
pub fn missing_properties(live: &Value, wanted: &Value) -> Vec<String> {
    fn walk(live: &Value, wanted: &Value, path: &str, out: &mut Vec<String>) {
        let free = live.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        if let Some(properties) = wanted.get("properties").and_then(Value::as_object).filter(|_| !free) {
            for (name, inner) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match live.get("properties").and_then(|p| p.get(name)) {
                    Some(found) => walk(found, inner, &path, out),
                    None => out.push(path),
                }
            }
        }
        if let (Some(a), Some(b)) = (live.get("items"), wanted.get("items")) {
            walk(a, b, &format!("{path}[]"), out);
        }
    }
    let mut out = Vec::new();
    if lacks_default(live, wanted) {
        out.push("status (default)".to_owned());
    }
    let schema = |crd: &Value| crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned();
    if let (Some(live), Some(wanted)) = (schema(live), schema(wanted)) {
        walk(&live, &wanted, "", &mut out);
    }
    out
}

/// `live` with every property of `wanted` that it lacks. Properties that only `live` has stay.
pub fn with_missing_properties(live: &Value, wanted: &Value) -> Value {
    fn merge(live: &mut Value, wanted: &Value) {
        if let Some(properties) = wanted.get("properties").and_then(Value::as_object) {
            if !live.get("properties").is_some_and(Value::is_object) {
                live["properties"] = json!({});
            }
            for (name, inner) in properties {
                match live["properties"].get_mut(name) {
                    Some(found) => merge(found, inner),
                    None => live["properties"][name] = inner.clone(),
                }
            }
        }
        if let Some(items) = wanted.get("items") {
            match live.get_mut("items") {
                Some(found) => merge(found, items),
                None => live["items"] = items.clone(),
            }
        }
    }
    let mut out = live.clone();
    if lacks_default(live, wanted)
        && let (Some(found), Some(want)) = (out.pointer_mut(STATUS), wanted.pointer(STATUS))
    {
        found["default"] = want["default"].clone();
    }
    let path = "/spec/versions/0/schema/openAPIV3Schema";
    if let (Some(found), Some(want)) = (out.pointer_mut(path), wanted.pointer(path)) {
        merge(found, want);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kstatus;

    #[test]
    fn a_crd_of_plain_kro_lacks_our_part_of_the_status_alone() {
        let mut plain = rgd();
        let status = plain.pointer_mut(STATUS).and_then(Value::as_object_mut).unwrap();
        status.remove("default");
        let status = status["properties"].as_object_mut().unwrap();
        status.remove("fleet");
        status.remove("observedGeneration");
        status.insert("extra".into(), json!({"type": "string"}));
        let mut missing = missing_properties(&plain, &rgd());
        missing.sort();
        let mut ours = OURS;
        ours.sort_unstable();
        assert_eq!(missing, ours);
        let merged = with_missing_properties(&plain, &rgd());
        assert!(missing_properties(&merged, &rgd()).is_empty());
        let extra = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/extra";
        assert!(merged.pointer(extra).is_some(), "what somebody added stays");
    }

    #[test]
    fn nobody_takes_an_object_for_ready_that_nobody_looked_at() {
        for crd in [rgd(), cluster(), policy::placement(), policy::cluster_placement()] {
            let status = crd.pointer(&format!("{STATUS}/default")).unwrap();
            let object = json!({"metadata": {"generation": 1}, "status": status});
            assert_eq!(kstatus::of(&object), kstatus::Kstatus::InProgress);
        }
    }

    #[test]
    fn names() {
        let names: Vec<String> =
            all().iter().map(|c| c["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(
            names,
            [
                RGD_CRD,
                "graphrevisions.internal.kro.run",
                "clusters.hub.kro.run",
                "placements.hub.kro.run",
                "clusterplacements.hub.kro.run",
                "rolloutapprovals.hub.kro.run",
                "instancereports.hub.kro.run",
            ]
        );
    }
}
