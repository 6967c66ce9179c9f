//! Corner cases of kro, by their numbers: what the fields of an instance become.

use super::evaluation::gives;
use super::table::Table;
use super::{graph, problems};
use serde_json::{Value, json};

/// A definition with these fields and types.
fn with(spec: &Value, types: &Value) -> String {
    json!({"spec": {"schema": {"kind": "App", "apiVersion": "v1", "spec": spec, "types": types}}}).to_string()
}

/// OpenAPI of the generated kind's spec.
fn schema_of(spec: Value, types: Value) -> Value {
    let crd = graph(&with(&spec, &types)).crd;
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
}

fn schema(spec: Value) -> Value {
    schema_of(spec, json!({}))
}

/// Of the field `a`.
fn field(text: &str) -> Value {
    schema(json!({"a": text}))["properties"]["a"].clone()
}

#[test]
fn case_016_required_and_default() {
    let found = schema(json!({"a": "string | required=true default=x"}));
    assert_eq!(
        found,
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "default": "x"}}})
    );
}

#[test]
fn cases_017_018_an_object_is_made_only_where_none_of_its_fields_is_required() {
    let required = schema(json!({"a": {"b": "string | required=true default=x"}}));
    assert_eq!(required["properties"]["a"].get("default"), None);
    let optional = schema(json!({"a": {"b": "string | default=x"}}));
    assert_eq!(optional["properties"]["a"]["default"], json!({}));
}

#[test]
fn case_019_escapes_in_patterns_stay() {
    assert_eq!(field(r#"string | pattern="^a\.b\d$""#)["pattern"], r"^a\.b\d$");
}

#[test]
fn case_020_all_validations_are_kept() {
    let rules = field(r#"integer | validation="self > 0" validation="self < 9" immutable=true"#);
    let rules: Vec<&str> = rules["x-kubernetes-validations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["self > 0", "self < 9", "self == oldSelf"]);
}

#[test]
fn case_021_blanks_after_markers_and_bare_bars() {
    // kro refuses the blank.
    assert_eq!(field("string | required=false  "), json!({"type": "string"}));
    let mut table = Table::default();
    table.verdict("bare bar", &with(&json!({"a": "string |"}), &json!({})), "no marker after `|`");
    let two = json!({"a": "string | required=true | default=x"});
    table.verdict("second bar", &with(&two, &json!({})), "unknown marker: |default");
}

#[test]
fn case_022_defaults_are_json() {
    assert_eq!(field(r#"string | default="say \"hi\"""#)["default"], r#"say "hi""#);
    assert_eq!(field("boolean | default=True")["default"], true);
}

#[test]
fn case_023_a_lone_quote_is_a_problem() {
    let mut table = Table::default();
    for text in ["string | default=\"", "string | default=\"x", "string | \""] {
        let found = problems(&with(&json!({"a": text}), &json!({})));
        table.is(text, found.len(), 1);
    }
}

#[test]
fn case_024_float_is_number() {
    assert_eq!(field("float"), json!({"type": "number"}));
    assert_eq!(gives("", "${schema.spec.f + 0.5}", json!({"f": 1}), json!({})), "1.5");
}

#[test]
fn case_025_objects_keep_what_is_in_them() {
    assert_eq!(field("object"), json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    assert_eq!(
        gives("", "${schema.spec.raw.any.thing}", json!({"raw": {"any": {"thing": 1}}}), json!({})),
        "1"
    );
}

#[test]
fn case_026_types_nest() {
    let found = schema_of(
        json!({"a": "[]Item", "b": "map[string]Item", "c": "map[string][]map[string]integer"}),
        json!({"Item": {"n": "integer"}}),
    );
    let item = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let map = |values: Value| json!({"type": "object", "additionalProperties": values});
    assert_eq!(
        found["properties"],
        json!({
            "a": {"type": "array", "items": item}, "b": map(item),
            "c": map(json!({"type": "array", "items": map(json!({"type": "integer"}))})),
        })
    );
}

#[test]
fn case_027_types_do_not_go_round() {
    let mut table = Table::default();
    for types in [
        json!({"A": {"a": "A"}}),
        json!({"A": {"a": "[]A"}}),
        json!({"A": {"a": "map[string]A"}}),
        json!({"A": {"b": "B"}, "B": {"a": "A"}}),
    ] {
        let found = problems(&with(&json!({"x": "A"}), &types));
        table.is(
            &types,
            found.iter().all(|p| p.starts_with("spec.schema.types.A")) && !found.is_empty(),
            true,
        );
    }
}

#[test]
fn case_028_a_required_alias_in_a_list_requires_nothing() {
    let types = json!({"Name": "string | required=true"});
    assert_eq!(schema_of(json!({"a": "[]Name"}), types.clone()).get("required"), None);
    assert_eq!(schema_of(json!({"a": "Name"}), types)["required"], json!(["a"]));
}

#[test]
fn case_029_required_fields_are_sorted() {
    let found = schema(
        json!({"z": "string | required=true", "a": "string | required=true", "m": "string | required=true"}),
    );
    assert_eq!(found["required"], json!(["a", "m", "z"]));
}

#[test]
fn case_030_unique_items_make_a_set() {
    assert_eq!(field("[]string | uniqueItems=true")["x-kubernetes-list-type"], "set");
}

#[test]
fn case_045_numbers_are_written_as_the_api_server_stores_them() {
    assert_eq!(field("float | default=0.50")["default"].to_string(), "0.5");
}
