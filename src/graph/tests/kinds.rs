//! The kinds that the tables use, as an API server describes them, shortened.

use crate::api::Gvk;
use crate::graph::variables::object_meta;
use crate::schema::kinds::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn map(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

pub fn kinds() -> BTreeMap<Gvk, Arc<Kind>> {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer", "format": "int32"});
    let bytes = json!({"type": "string", "format": "byte"});
    let port = json!({"x-kubernetes-int-or-string": true});
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let selector = object(json!({"matchLabels": map(text.clone())}));
    let env = list(object(json!({"name": text, "value": text})));
    let env_from = list(object(json!({"configMapRef": object(json!({"name": text}))})));
    let container = object(json!({
        "name": text, "image": text, "args": list(text.clone()), "env": env, "envFrom": env_from,
        "ports": list(object(json!({"name": text, "containerPort": number}))),
    }));
    let pod =
        object(json!({"metadata": object_meta(), "spec": object(json!({"containers": list(container)}))}));
    let mut kinds = BTreeMap::new();
    let mut add = |api: &str, kind: &str, namespaced: bool, fields: Value| {
        let mut properties = json!({
            "apiVersion": text, "kind": text, "metadata": object_meta(),
        });
        for (name, schema) in fields.as_object().unwrap() {
            properties[name] = schema.clone();
        }
        let kind_ = Kind { namespaced, schema: object(properties) };
        kinds.insert(Gvk::from_api(api, kind), Arc::new(kind_));
    };
    add("v1", "ConfigMap", true, json!({"data": map(text.clone()), "binaryData": map(bytes.clone())}));
    add(
        "v1",
        "Secret",
        true,
        json!({"data": map(bytes.clone()), "stringData": map(text.clone()), "type": text}),
    );
    add("v1", "Namespace", false, json!({"spec": object(json!({"finalizers": list(text.clone())}))}));
    add(
        "v1",
        "Service",
        true,
        json!({
            "spec": object(json!({
                "clusterIP": text, "selector": map(text.clone()), "type": text,
                "ports": list(object(json!({"name": text, "port": number, "targetPort": port}))),
            })),
        }),
    );
    add(
        "apps/v1",
        "Deployment",
        true,
        json!({
            "spec": object(json!({
                "replicas": {"type": "integer", "format": "int32", "description": "Number of desired pods. Defaults to 1."},
                "selector": selector, "template": pod,
            })),
            "status": object(json!({
                "availableReplicas": number, "readyReplicas": number,
                "conditions": list(object(json!({"type": text, "status": text}))),
            })),
        }),
    );
    add(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        false,
        json!({"spec": object(json!({"group": text}))}),
    );
    add("kro.run/v1alpha1", "ResourceGraphDefinition", false, json!({"spec": anything}));
    add("kro.run/v1", "Other", true, json!({"spec": anything}));
    let quantity = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    add(
        "x.io/v1",
        "Typed",
        true,
        json!({
            "spec": object(json!({
                "text": text, "whole": number, "number": {"type": "number"}, "flag": {"type": "boolean"},
                "port": port, "texts": list(text.clone()), "limits": map(quantity.clone()), "blob": bytes,
                "recipe": {"type": "object"},
            })),
            "status": object(json!({
                "ttl": {"type": "string", "format": "duration"}, "at": {"type": "string", "format": "date-time"},
                "blob": bytes, "observed": number, "ratio": {"type": "number"}, "limits": map(quantity.clone()),
                "both": quantity, "free": anything, "namespace": text, "for": text, "in": text, "my-field": text,
                "deep": object(json!({"er": object(json!({"est": text}))})),
            })),
        }),
    );
    add("x.io/v1p1beta1", "Odd", true, json!({"spec": anything}));
    add("x.io/v1", "Wide", false, json!({"spec": anything}));
    add("x.io/v1", "Free", true, json!({"spec": anything, "status": anything}));
    add("azure.com/v1api20200601", "A", true, json!({"spec": anything}));
    kinds
}
