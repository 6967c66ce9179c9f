//! A schema with each way in which fields are kept, merged and filled in.

use crate::schema::Schema;
use serde_json::json;

pub(crate) fn schema() -> Schema {
    let text = json!({"type": "string"});
    let on = json!({"on": {"type": "boolean", "default": true}});
    let protocol = json!({"type": "string", "default": "TCP"});
    let with_default = json!({"type": "object", "properties": {"p": protocol}});
    let port = json!({"type": "object", "properties": {"port": {"type": "integer"}, "name": text, "protocol": protocol}});
    let spec = json!({
        "replicas": {"type": "integer"},
        "plain": text,
        // Filled in where they are missing.
        "n": {"type": "integer", "default": 1},
        "maybe": {"type": "string", "nullable": true, "default": "x"},
        "inner": {"type": "object", "properties": on},
        "made": {"type": "object", "default": {}, "properties": on},
        "list": {"type": "array", "items": with_default},
        "map": {"type": "object", "additionalProperties": with_default},
        // Owned as a whole, or by key.
        "labels": {"type": "object", "additionalProperties": text},
        "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text}},
        "args": {"type": "array", "items": text},
        "names": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array", "items": port,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
        },
        // Kept though nothing is known of it.
        "free": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"a": text}}},
        },
        "template": {
            "type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object"}},
        },
    });
    Schema::of_crd(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}))
}
