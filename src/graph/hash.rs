//! The fingerprint of a definition's spec: equal for definitions that mean the same.

use crate::api::hash;
use crate::api::rgd::RgdSpec;
use serde_json::{Map, Value, json};

/// The fingerprint, in 16 hex digits. The order of resources and of conditions does not count, nor whether an empty
/// part is written.
pub fn spec(spec: &RgdSpec) -> String {
    let schema = &spec.schema;
    let mut resources: Vec<&crate::api::rgd::Resource> = spec.resources.iter().collect();
    resources.sort_by(|a, b| a.id.cmp(&b.id));
    let resources: Vec<Value> = resources
        .into_iter()
        .map(|r| {
            json!({
                "id": r.id,
                "template": r.template,
                "externalRef": r.external_ref,
                "readyWhen": sorted(&r.ready_when),
                "includeWhen": sorted(&r.include_when),
                "forEach": r.for_each,
            })
        })
        .collect();
    hash::json_hex(&json!({
        "schema": {
            "kind": schema.kind,
            "apiVersion": schema.api_version,
            "group": schema.group(),
            "scope": schema.scope,
            "spec": filled(&schema.spec),
            "types": filled(&schema.types),
            "status": filled(&schema.status),
            "additionalPrinterColumns": schema.additional_printer_columns,
            "shortNames": schema.short_names,
            "categories": schema.categories,
            "metadata": schema.metadata,
        },
        "resources": resources,
    }))
}

fn sorted(texts: &[String]) -> Vec<&String> {
    let mut texts: Vec<&String> = texts.iter().collect();
    texts.sort();
    texts
}

fn filled(value: &Value) -> Value {
    if value.is_null() { Value::Object(Map::new()) } else { value.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        spec(&serde_saphyr::from_str::<RgdSpec>(text).unwrap())
    }

    const BASE: &str = "
schema: {kind: App, apiVersion: v1, spec: {a: string, b: integer}}
resources:
- {id: one, template: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}, readyWhen: ['${a}', '${b}']}
- {id: two, template: {apiVersion: v1, kind: Secret, metadata: {name: x}}}
";

    #[test]
    fn what_means_the_same_has_the_same_hash() {
        let same = "
resources:
- {id: two, template: {kind: Secret, metadata: {name: x}, apiVersion: v1}, includeWhen: [], forEach: []}
- {id: one, template: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}, readyWhen: ['${b}', '${a}']}
schema: {apiVersion: v1, kind: App, group: kro.run, scope: Namespaced, spec: {b: integer, a: string}, status: {}}
";
        assert_eq!(of(BASE), of(same));
        assert_eq!(of(BASE), of(&same.replace("group: kro.run", "group: ''")));
        assert_eq!(of(BASE).len(), 16);
    }

    #[test]
    fn what_differs_has_another_hash() {
        for (from, to) in [
            ("a: string", "a: boolean"),
            ("kind: Secret", "kind: Service"),
            ("kind: App", "kind: Ape"),
            ("id: two", "id: three"),
            ("'${a}', ", ""),
            ("spec: {", "scope: Cluster, spec: {"),
            ("spec: {", "types: {T: string}, spec: {"),
        ] {
            assert_ne!(of(BASE), of(&BASE.replacen(from, to, 1)), "{from} -> {to}");
        }
    }

    #[test]
    fn the_order_of_dimensions_counts() {
        let with = |dims: &str| of(&BASE.replace("readyWhen: ['${a}', '${b}']", dims));
        assert_ne!(with("forEach: [{a: '${x}'}, {b: '${y}'}]"), with("forEach: [{b: '${y}'}, {a: '${x}'}]"));
    }
}
