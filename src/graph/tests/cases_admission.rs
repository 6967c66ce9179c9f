//! Corner cases of kro, by their numbers: what a definition may be called, and what it may lack.

use super::evaluation::evaluate;
use super::table::Table;
use super::{app, cm, graph, problems};
use crate::api::crds;
use regex::Regex;
use serde_json::{Value, json};

/// OpenAPI of a definition's spec, as the API server judges it.
fn spec_schema() -> Value {
    let crd = crds::all().remove(0);
    assert_eq!(crd["metadata"]["name"], crds::RGD_CRD);
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
}

fn matches(schema: &Value, text: &str) -> bool {
    let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    Regex::new(schema["pattern"].as_str().unwrap()).unwrap().is_match(text) && text.len() as u64 <= longest
}

#[test]
fn case_001_kinds_are_upper_camel_case() {
    let long = format!("K{}", "x".repeat(63));
    let schema = spec_schema();
    for (kind, fits) in
        [("Foo", true), ("F1", true), ("foo", false), ("foo-bar", false), ("1Foo", false), (&long, false)]
    {
        assert_eq!(matches(&schema["properties"]["schema"]["properties"]["kind"], kind), fits, "{kind}");
        let yaml = format!("spec: {{schema: {{kind: {kind}, apiVersion: v1}}}}");
        let found = problems(&yaml);
        assert_eq!(found.is_empty(), fits, "{found:?}");
        assert!(found.iter().all(|p| p.starts_with("spec.schema.kind: ")), "{found:?}");
    }
}

#[test]
fn case_002_kind_version_group_and_scope_are_immutable() {
    let schema = spec_schema();
    for field in ["kind", "apiVersion", "group", "scope"] {
        let rule = &schema["properties"]["schema"]["properties"][field]["x-kubernetes-validations"];
        assert_eq!(*rule, json!([{"rule": "self == oldSelf", "message": format!("{field} is immutable")}]));
    }
}

#[test]
fn case_003_a_resource_is_a_template_or_a_reference_by_one_thing() {
    let rules = &spec_schema()["properties"]["resources"]["items"]["x-kubernetes-validations"];
    assert_eq!(rules[0]["rule"], "has(self.template) != has(self.externalRef)");
    let mut table = Table::default();
    let either = "exactly one of template or externalRef must be provided";
    table.verdict("neither", &app("- id: x"), either);
    table.verdict("both", &app("- {id: x, template: {}, externalRef: {}}"), either);
    for metadata in ["{}", "{name: x, selector: {}}"] {
        let yaml =
            app(&format!("- {{id: x, externalRef: {{apiVersion: v1, kind: Secret, metadata: {metadata}}}}}"));
        table.verdict(metadata, &yaml, "exactly one of name or selector must be provided");
    }
}

#[test]
fn case_004_short_names_and_categories() {
    let schema = spec_schema();
    for field in ["shortNames", "categories"] {
        let list = &schema["properties"]["schema"]["properties"][field];
        assert_eq!((&list["maxItems"], &list["x-kubernetes-list-type"]), (&json!(32), &json!("set")));
        let long = "a".repeat(64);
        for (name, fits) in [("app", true), ("a-1", true), ("App", false), ("app-", false), (&long, false)] {
            assert_eq!(matches(&list["items"], name), fits, "{name}");
        }
    }
}

#[test]
fn case_005_a_for_each_entry_has_one_key() {
    let schema = spec_schema();
    let entry = &schema["properties"]["resources"]["items"]["properties"]["forEach"]["items"];
    assert_eq!((&entry["minProperties"], &entry["maxProperties"]), (&json!(1), &json!(1)));
    let mut table = Table::default();
    for (entry, count) in [("{}", 0), ("{a: '${schema.spec.l}', b: '${schema.spec.l}'}", 2)] {
        let name = if count == 0 { "x" } else { "'${a}${b}'" };
        let yaml =
            app(&cm("x", "v", &format!("forEach: [{entry}]")).replace("name: x", &format!("name: {name}")));
        table.verdict(entry, &yaml, &format!("a forEach entry has exactly one iterator, found {count}"));
    }
}

#[test]
fn case_006_ids_are_lower_camel_case() {
    let mut table = Table::default();
    for (id, better) in [("my-res", "myRes"), ("MyRes", "myRes"), ("my_res", "myRes")] {
        let want = format!(
            "naming convention violation: id {id} is not a valid KRO resource id: must be lower camelCase; write {better}"
        );
        table.verdict(id, &app(&cm(id, "v", "")), &want);
    }
}

#[test]
fn case_007_some_ids_are_reserved() {
    let mut table = Table::default();
    for id in ["status", "schema", "item", "for", "namespace"] {
        table.verdict(id, &app(&cm(id, "v", "")), &format!("id {id} is a reserved keyword in KRO"));
    }
}

#[test]
fn case_008_no_resources_at_all() {
    let yaml =
        "spec: {schema: {kind: App, apiVersion: v1, spec: {s: string}, status: {a: '${schema.spec.s}'}}}";
    assert!(graph(yaml).nodes.is_empty());
    assert_eq!(evaluate(yaml, json!({"s": "v"}), json!({})).status, json!({"a": "v"}));
}

#[test]
fn case_009_no_schema_for_the_spec() {
    let graph = graph("spec: {schema: {kind: App, apiVersion: v1}}");
    let spec = graph.crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    assert_eq!(spec, Some(&json!({"type": "object"})));
}

#[test]
fn cases_010_011_every_kind_has_a_plural_that_is_a_name() {
    let mut table = Table::default();
    for (kind, want) in [
        // kro makes names of these that the API server refuses.
        ("DNS", "dnses"),
        ("HTTPS", "httpses"),
        ("IDS", "idses"),
        ("Data", "data"),
        ("News", "news"),
        ("Redis", "redis"),
        ("Kubernetes", "kubernetes"),
    ] {
        let graph = graph(&format!("spec: {{schema: {{kind: {kind}, apiVersion: v1}}}}"));
        table.is(kind, graph.crd["metadata"]["name"].as_str().unwrap(), format!("{want}.kro.run"));
    }
}

#[test]
fn case_012_a_long_name_still_makes_a_label() {
    let name = "a".repeat(100);
    let graph =
        graph(&format!("metadata: {{name: {name}}}\nspec: {{schema: {{kind: App, apiVersion: v1}}}}"));
    let labels = graph.crd["metadata"]["labels"].as_object().unwrap();
    assert!(labels.values().all(|v| v.as_str().unwrap().len() <= 63), "{labels:?}");
    let notes = graph.crd["metadata"]["annotations"].as_object().unwrap();
    assert!(notes.values().any(|v| *v == json!(name)), "{notes:?}");
}

#[test]
fn case_015_a_word_that_yaml_takes_for_a_boolean() {
    let want = "spec.resources[0].template.data.k: expected string type, got boolean; quote it: \"true\"";
    for word in ["on", "y", "yes", "true"] {
        Table::default().verdict(word, &app(&cm("x", word, "")), want);
    }
}

#[test]
fn cases_048_049_the_same_meaning_has_the_same_hash() {
    let both = |first: &str, second: &str| app(&(first.to_owned() + second));
    let (a, b) =
        (cm("a", "v", "includeWhen: ['${schema.spec.b}', '${schema.spec.n > 1}']"), cm("b", "v", ""));
    let swapped = cm("a", "v", "includeWhen: ['${schema.spec.n > 1}', '${schema.spec.b}']");
    let hash = |yaml: &str| graph(yaml).hash;
    assert_eq!(hash(&both(&a, &b)), hash(&both(&b, &a)));
    assert_eq!(hash(&both(&a, &b)), hash(&both(&swapped, &b)));
    assert_ne!(hash(&both(&a, &b)), hash(&both(&a, &cm("b", "w", ""))));
}
