//! The CustomResourceDefinition of a generated kind: as kro makes it, and how it differs on the hub and on a spoke.

use super::plural;
use crate::api::condition::unseen_status;
use crate::api::keys::{self, hub, kro};
use crate::api::rgd::Scope;
use crate::api::{HubId, ResourceGraphDefinition, hash};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Full name of the RGD, when the label of that name had to be shortened.
const RGD_NAME_ANNOTATION: &str = "hub.kro.run/resource-graph-definition-name";
const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";
const COLUMNS: &str = "additionalPrinterColumns";

/// The CRD as kro generates it. `spec` and `status` are OpenAPI. `status` is the author's part; `state` and
/// `conditions` are added here.
pub fn generate(rgd: &ResourceGraphDefinition, spec: Value, status: Value) -> Value {
    let schema = &rgd.spec.schema;
    let lower = schema.kind.to_lowercase();
    let plural = plural::of(&lower);
    let mut names = json!({
        "kind": schema.kind,
        "listKind": format!("{}List", schema.kind),
        "plural": plural,
        "singular": lower,
    });
    for (key, list) in [("shortNames", &schema.short_names), ("categories", &schema.categories)] {
        if !list.is_empty() {
            names[key] = json!(list);
        }
    }
    let columns = match schema.additional_printer_columns.is_empty() {
        true => default_columns(),
        false => schema.additional_printer_columns.clone(),
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata(rgd, &format!("{plural}.{}", schema.group())),
        "spec": {
            "group": schema.group(),
            "names": names,
            "scope": match schema.scope { Scope::Namespaced => "Namespaced", Scope::Cluster => "Cluster" },
            "versions": [{
                "name": schema.api_version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": object_schema(spec),
                        "status": status_schema(status),
                    },
                }},
                "subresources": {"status": {}},
                COLUMNS: columns,
            }],
        },
    })
}

/// The CRD for the hub. `clusters_column` adds the printer column `Clusters`.
pub fn for_hub(crd: &Value, clusters_column: bool) -> Value {
    let mut crd = crd.clone();
    if !clusters_column {
        return crd;
    }
    let versions = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        let Some(columns) = version.get_mut(COLUMNS).and_then(Value::as_array_mut) else { continue };
        let is = |c: &Value, key: &str, text: &str| c.get(key).and_then(Value::as_str) == Some(text);
        if columns.iter().any(|c| is(c, "name", "Clusters")) {
            continue;
        }
        // Age reads best as the last column.
        let last_is_age = columns.last().is_some_and(|c| is(c, "jsonPath", ".metadata.creationTimestamp"));
        let at = columns.len() - usize::from(last_is_age);
        columns.insert(
            at,
            json!({
                "name": "Clusters",
                "type": "string",
                "jsonPath": ".status.fleet.summary",
                "description": "Clusters on which the instance is ready, of those where it is placed",
            }),
        );
    }
    crd
}

/// The CRD for a spoke. It carries the hub's id and none of kro's labels, so that a kro which runs there does not
/// take the CRD for its own.
pub fn for_spoke(crd: &Value, hub_id: &HubId) -> Value {
    let mut crd = crd.clone();
    let Some(metadata) = crd.get_mut("metadata").and_then(Value::as_object_mut) else { return crd };
    for map in ["labels", "annotations"] {
        if let Some(Value::Object(entries)) = metadata.get_mut(map) {
            entries.retain(|key, _| keys::is_mirrored(key));
        }
    }
    let mut labels = match metadata.remove("labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    labels.insert(hub::HUB_ID.into(), json!(hub_id.as_str()));
    labels.insert(kro::MANAGED_BY.into(), json!(hub::MANAGER));
    metadata.insert("labels".into(), Value::Object(labels));
    crd
}

fn metadata(rgd: &ResourceGraphDefinition, name: &str) -> Value {
    let author = &rgd.spec.schema.metadata;
    let rgd_name = &rgd.metadata.name;
    let rgd_label = hash::label_value(rgd_name);
    let mut labels = author.labels.clone();
    let mut annotations = author.annotations.clone();
    if rgd_label != *rgd_name {
        annotations.insert(RGD_NAME_ANNOTATION.into(), rgd_name.clone());
    }
    labels.extend(BTreeMap::from([
        (kro::OWNED.to_owned(), "true".to_owned()),
        (kro::KRO_VERSION.to_owned(), kro::COMPATIBLE_VERSION.to_owned()),
        (kro::RGD_ID.to_owned(), rgd.metadata.uid.clone()),
        (kro::RGD_NAME.to_owned(), rgd_label),
    ]));
    let mut metadata = json!({"name": name, "labels": labels});
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    metadata
}

fn default_columns() -> Vec<Value> {
    let column = |name: &str, type_: &str, path: &str, description: &str| json!({"name": name, "type": type_, "jsonPath": path, "description": description});
    vec![
        column("State", "string", ".status.state", "The state of a ResourceGraphDefinition instance"),
        column(
            "Ready",
            "string",
            ".status.conditions[?(@.type==\"Ready\")].status",
            "Whether a ResourceGraphDefinition instance is ready",
        ),
        column("Age", "date", ".metadata.creationTimestamp", "Age of the resource"),
    ]
}

/// An author who says nothing gets an object without fields.
fn object_schema(schema: Value) -> Value {
    let mut schema = if schema.is_object() { schema } else { json!({}) };
    if schema.get("type").is_none() {
        schema["type"] = json!("object");
    }
    schema
}

fn status_schema(status: Value) -> Value {
    let mut status = object_schema(status);
    // `status.fleet` is kept without being declared: a declared property would make the way back to kro a breaking
    // change.
    status[PRESERVE_UNKNOWN] = json!(true);
    let mut properties = match status.get_mut("properties").map(Value::take) {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    properties.entry("state").or_insert_with(|| json!({"type": "string"}));
    properties.entry("conditions").or_insert_with(|| {
        json!({
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "lastTransitionTime": {"type": "string"},
                    "observedGeneration": {"type": "integer"},
                },
            },
        })
    });
    let mut unseen = unseen_status();
    if properties.contains_key("observedGeneration") {
        // The author declared this field, so it keeps the author's schema.
        unseen.as_object_mut().map(|unseen| unseen.remove("observedGeneration"));
    }
    status["properties"] = Value::Object(properties);
    if takes(&status) {
        status["default"] = unseen;
    }
    status
}

/// Whether our default of a status fits the author's schema, which may give conditions another shape or require more.
fn takes(status: &Value) -> bool {
    let text = |field: &str| {
        let pointer = format!("/properties/conditions/items/properties/{field}");
        status.pointer(&pointer) == Some(&json!({"type": "string"}))
    };
    ["type", "status", "reason", "message", "lastTransitionTime"].into_iter().all(text)
        && status.get("required").is_none()
        && status.pointer("/properties/conditions/items/required").is_none()
}

#[cfg(test)]
#[allow(clippy::too_many_lines)] // Tables.
mod tests {
    use super::*;

    fn rgd(name: &str, schema: Value) -> ResourceGraphDefinition {
        let mut all = json!({"kind": "WebApp", "apiVersion": "v1alpha1"});
        all.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": name, "uid": "u1"}, "spec": {"schema": all}}))
            .unwrap()
    }
    fn plain(schema: Value) -> Value {
        generate(&rgd("my-webapp", schema), json!({"type": "object"}), Value::Null)
    }
    fn version(crd: &Value) -> &Value {
        &crd["spec"]["versions"][0]
    }

    #[test]
    fn as_kro_makes_it() {
        let spec = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let status = json!({"type": "object", "properties": {"ip": {"type": "string"}}});
        insta::assert_yaml_snapshot!(generate(&rgd("my-webapp", json!({})), spec, status), @r#"
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata:
          labels:
            kro.run/kro-version: v0.9.4
            kro.run/owned: "true"
            kro.run/resource-graph-definition-id: u1
            kro.run/resource-graph-definition-name: my-webapp
          name: webapps.kro.run
        spec:
          group: kro.run
          names:
            kind: WebApp
            listKind: WebAppList
            plural: webapps
            singular: webapp
          scope: Namespaced
          versions:
            - additionalPrinterColumns:
                - description: The state of a ResourceGraphDefinition instance
                  jsonPath: ".status.state"
                  name: State
                  type: string
                - description: Whether a ResourceGraphDefinition instance is ready
                  jsonPath: ".status.conditions[?(@.type==\"Ready\")].status"
                  name: Ready
                  type: string
                - description: Age of the resource
                  jsonPath: ".metadata.creationTimestamp"
                  name: Age
                  type: date
              name: v1alpha1
              schema:
                openAPIV3Schema:
                  properties:
                    apiVersion:
                      type: string
                    kind:
                      type: string
                    metadata:
                      type: object
                    spec:
                      properties:
                        name:
                          type: string
                      type: object
                    status:
                      default:
                        conditions:
                          - lastTransitionTime: "1970-01-01T00:00:00Z"
                            message: waiting for the controller
                            reason: AwaitingReconciliation
                            status: Unknown
                            type: Ready
                        observedGeneration: -1
                      properties:
                        conditions:
                          items:
                            properties:
                              lastTransitionTime:
                                type: string
                              message:
                                type: string
                              observedGeneration:
                                type: integer
                              reason:
                                type: string
                              status:
                                type: string
                              type:
                                type: string
                            type: object
                          type: array
                        ip:
                          type: string
                        state:
                          type: string
                      type: object
                      x-kubernetes-preserve-unknown-fields: true
                  type: object
              served: true
              storage: true
              subresources:
                status: {}
        "#);
    }

    #[test]
    fn what_the_author_says_is_taken_over() {
        let crd = plain(json!({
            "kind": "NetworkPolicy", "group": "acme.io", "apiVersion": "v1", "scope": "Cluster",
            "shortNames": ["np"], "categories": ["platform"],
            "additionalPrinterColumns": [{"name": "IP", "type": "string", "jsonPath": ".status.ip"}],
            "metadata": {"labels": {"team": "a", "kro.run/owned": "false"}, "annotations": {"note": "b"}},
        }));
        assert_eq!(crd["metadata"]["name"], "networkpolicies.acme.io");
        assert_eq!(
            crd["spec"]["names"],
            json!({"kind": "NetworkPolicy", "listKind": "NetworkPolicyList", "plural": "networkpolicies",
                "singular": "networkpolicy", "shortNames": ["np"], "categories": ["platform"]})
        );
        assert_eq!((&crd["spec"]["group"], &crd["spec"]["scope"]), (&json!("acme.io"), &json!("Cluster")));
        assert_eq!(version(&crd)["name"], "v1");
        assert_eq!(
            version(&crd)["additionalPrinterColumns"],
            json!([{"name": "IP", "type": "string", "jsonPath": ".status.ip"}])
        );
        assert_eq!(
            crd["metadata"]["labels"],
            json!({"team": "a", "kro.run/owned": "true", "kro.run/kro-version": "v0.9.4",
                "kro.run/resource-graph-definition-id": "u1", "kro.run/resource-graph-definition-name": "my-webapp"})
        );
        assert_eq!(crd["metadata"]["annotations"], json!({"note": "b"}));
    }

    #[test]
    fn declared_state_and_conditions_keep_their_schema() {
        let own = json!({"type": "object", "properties": {
            "state": {"type": "integer"}, "conditions": {"type": "array", "items": {"type": "string"}}}});
        let crd = generate(&rgd("a", json!({})), Value::Null, own.clone());
        let schema = &version(&crd)["schema"]["openAPIV3Schema"]["properties"];
        assert_eq!(schema["status"]["properties"], own["properties"]);
        assert_eq!(schema["spec"], json!({"type": "object"}));
    }

    #[test]
    fn a_long_name_of_the_rgd_is_shortened_in_the_label_and_kept_in_an_annotation() {
        let name = "a".repeat(80);
        let crd = generate(&rgd(&name, json!({})), json!({}), json!({}));
        let label = crd["metadata"]["labels"][kro::RGD_NAME].as_str().unwrap();
        assert_eq!((label.len(), label), (63, hash::label_value(&name).as_str()));
        assert_eq!(crd["metadata"]["annotations"], json!({RGD_NAME_ANNOTATION: name}));
    }

    #[test]
    fn the_hub_shows_clusters_once_there_are_any() {
        let names = |crd: &Value| -> Vec<String> {
            let columns = version(crd)[COLUMNS].as_array().unwrap();
            columns.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
        };
        let crd = plain(json!({}));
        assert_eq!(for_hub(&crd, false), crd);
        assert_eq!(names(&for_hub(&crd, true)), ["State", "Ready", "Clusters", "Age"]);
        assert_eq!(for_hub(&for_hub(&crd, true), true), for_hub(&crd, true));
        let own = plain(
            json!({"additionalPrinterColumns": [{"name": "IP", "type": "string", "jsonPath": ".status.ip"}]}),
        );
        assert_eq!(names(&for_hub(&own, true)), ["IP", "Clusters"]);
        assert_eq!(for_hub(&json!({"kind": "x"}), true), json!({"kind": "x"}));
    }

    #[test]
    fn conditions_of_the_authors_own_shape_get_no_default() {
        for conditions in [
            json!({"type": "array", "items": {"type": "string"}}),
            json!({"type": "string"}),
            json!({"type": "array", "items": {"type": "object", "properties": {"type": {"type": "integer"}}}}),
        ] {
            let own = json!({"type": "object", "properties": {"conditions": conditions}});
            let crd = generate(&rgd("a", json!({})), Value::Null, own);
            assert!(
                version(&crd)["schema"]["openAPIV3Schema"]["properties"]["status"].get("default").is_none()
            );
        }
    }

    #[test]
    fn the_default_of_a_status_comes_and_goes_without_a_breaking_change() {
        let ours = plain(json!({}));
        let mut kros = ours.clone();
        let status = &mut kros["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert!(status.as_object_mut().unwrap().remove("default").is_some());
        for (live, wanted) in [(&kros, &ours), (&ours, &kros)] {
            let changes = crate::schema::compat::compare(live, wanted);
            assert!(!changes.is_empty() && changes.breaking.is_empty(), "{changes:?}");
        }
    }

    #[test]
    fn a_spoke_gets_it_without_the_marks_of_kro() {
        let crd = plain(json!({"metadata": {
            "labels": {"team": "a", "app.kubernetes.io/managed-by": "kro", "app.kubernetes.io/instance": "argo"},
            "annotations": {"note": "b", "argocd.argoproj.io/sync-wave": "1"}}}));
        let spoke = for_spoke(&crd, &HubId::new("h1"));
        assert_eq!(
            spoke["metadata"],
            json!({"name": "webapps.kro.run", "annotations": {"note": "b"}, "labels": {
                "team": "a", "app.kubernetes.io/managed-by": "kro-hub", "hub.kro.run/hub-id": "h1"}})
        );
        assert_eq!(spoke["spec"], crd["spec"]);
        let bare = for_spoke(&json!({"metadata": {"labels": "?"}}), &HubId::new("h1"));
        assert_eq!(bare["metadata"]["labels"][hub::HUB_ID], "h1");
    }
}
