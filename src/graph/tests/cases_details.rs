//! Corner cases of kro, by their numbers: more of expressions and templates.

use super::evaluation::{evaluate, gives};
use super::table::Table;
use super::{app, cm, free, graph};
use serde_json::{Value, json};

fn none() -> Value {
    json!({})
}

const TYPED: &str = "- {id: t, template: {apiVersion: x.io/v1, kind: Typed, metadata: {name: t}}}\n";

/// What a text gives that reads `t`.
fn of_typed(text: &str, t: Value) -> String {
    gives(TYPED, text, none(), json!({"t": t}))
}

fn verdict(table: &mut Table, text: &str, want: &str) {
    table.verdict(text, &app(&format!("{TYPED}{}", free("x", &json!(text).to_string(), ""))), want);
}

/// A template of this kind whose rest is `fields`.
fn template(kind: &str, fields: &str) -> String {
    let (api, kind) = kind.rsplit_once('/').unwrap_or(("v1", kind));
    app(&format!("{TYPED}- id: x\n  template: {{apiVersion: {api}, kind: {kind}, {fields}}}"))
}

#[test]
fn case_139_reserved_labels_that_are_computed_come_through() {
    let mut table = Table::default();
    let x = |labels: &str| template("ConfigMap", &format!("metadata: {{name: x, labels: {labels}}}"));
    table.verdict(
        "literal",
        &x("{kro.run/a: b}"),
        "labels with prefix kro.run/ are reserved for internal use",
    );
    let found = evaluate(&x("'${schema.spec.m}'"), json!({"m": {"kro.run/a": "b"}}), none());
    // Whoever applies it writes kro's own keys over these.
    table.is("computed", &found.object("x")["metadata"]["labels"], r#"{"kro.run/a":"b"}"#);
}

#[test]
fn case_170_keys_are_no_paths() {
    let fields =
        "metadata: {name: x, annotations: {'a[0]': '${schema.spec.s}', 'b.c/d': '${schema.spec.s}'}}";
    let found = evaluate(&template("ConfigMap", fields), json!({"s": "v"}), none());
    assert_eq!(found.object("x")["metadata"]["annotations"], json!({"a[0]": "v", "b.c/d": "v"}));
}

#[test]
fn case_172_integers_and_doubles_do_not_mix() {
    let mut table = Table::default();
    for text in ["${schema.spec.n < 2.5}", "${schema.spec.n + schema.spec.f > 1.0}"] {
        verdict(&mut table, text, "found no matching overload for '_");
    }
    table.is("dyn", of_typed("${t.status.free.n < 2.5}", json!({"status": {"free": {"n": 2}}})), "true");
    let added = of_typed("${t.status.free.n + 1.0}", json!({"status": {"free": {"n": 2}}}));
    table.has("dyn adds not", added, "F:spec.k: ${t.status.free.n + 1.0}: ");
}

#[test]
fn case_173_two_notations_of_a_duration() {
    let seen = || json!({"status": {"ttl": "90s"}});
    let mut table = Table::default();
    table.is("string()", of_typed("${string(t.status.ttl)}", seen()), r#""90s""#);
    table.is("bare", of_typed("${t.status.ttl}", seen()), r#""1m30s""#);
}

#[test]
fn case_174_whole_objects_stay_as_they_are() {
    let object = json!({
        "metadata": {"name": "t", "creationTimestamp": "2024-05-01T00:00:00Z"},
        "status": {"ttl": "90s", "blob": "aGVsbG8=", "observed": 3, "free": {"a": null}},
    });
    let mut table = Table::default();
    table.is("object", of_typed("${t}", object.clone()), &object);
    table.is("part", of_typed("${t.status}", object.clone()), &object["status"]);
}

#[test]
fn cases_175_176_what_is_missing_half_way() {
    let mut table = Table::default();
    let t = || json!({"status": {}});
    table.is(
        "has(x.y.z)",
        of_typed("${has(t.status.deep.er)}", t()),
        "P:spec.k: ${has(t.status.deep.er)}: no such key: deep",
    );
    table.is("has(x.y)", of_typed("${has(t.status.deep)}", t()), "false");
    table.is("x.?y.z", of_typed("${t.status.?deep.er.est}", t()), "null");
    table.is("x.?y.z.orValue()", of_typed("${t.status.?deep.er.est.orValue('d')}", t()), r#""d""#);
}

#[test]
fn case_177_both_branches_have_one_type() {
    let mut table = Table::default();
    verdict(&mut table, "${schema.spec.b ? null : schema.spec.s}", "no matching overload for '_?_:_'");
    verdict(&mut table, "${schema.spec.b ? dyn(null) : dyn(schema.spec.s)}", "ok");
}

#[test]
fn case_178_map_literals_into_objects() {
    let mut table = Table::default();
    let containers = |map: &str| {
        template(
            "apps/v1/Deployment",
            &format!("metadata: {{name: x}}, spec: {{template: {{spec: {{containers: \"${{[{map}]}}\"}}}}}}"),
        )
    };
    table.verdict("mixed", &containers("{'name': 'c', 'args': ['a']}"), "ok");
    table.verdict(
        "texts",
        &containers("{'name': 'c', 'image': 'i'}"),
        "field \"args\": type kind mismatch: got string",
    );
}

#[test]
fn case_179_an_optional_counts_as_what_it_holds() {
    let replicas =
        template("apps/v1/Deployment", "metadata: {name: x}, spec: {replicas: '${schema.spec.?n}'}");
    let mut table = Table::default();
    for (spec, want) in [(json!({"n": 2}), r#"{"replicas":2}"#), (none(), r#"{"replicas":null}"#)] {
        table.is(&spec, &evaluate(&replicas, spec.clone(), none()).object("x")["spec"], want);
    }
    let text = template("ConfigMap", "metadata: {name: x}, data: {k: '${schema.spec.?n}'}");
    table.verdict("int into string", &text, "type kind mismatch: got int, expected string");
}

#[test]
fn case_180_an_iterator_in_a_branch_is_used() {
    let x = cm("x", "v", "forEach: [{a: '${schema.spec.l}'}]")
        .replace("name: x", "name: \"${schema.spec.b ? a : 'b-' + a}\"");
    Table::default().verdict("ternary", &app(&x), "ok");
}

#[test]
fn cases_182_183_184_names_are_given() {
    let mut table = Table::default();
    table.verdict(
        "expression",
        &template("ConfigMap", "metadata: '${schema.metadata}'"),
        "metadata field is not a map",
    );
    // kro accepts this, and every apply fails.
    table.verdict(
        "empty",
        &template("ConfigMap", "metadata: {}"),
        "template.metadata: metadata.name is missing",
    );
}

#[test]
fn case_185_a_kind_that_is_not_there() {
    Table::default().verdict(
        "no CRD",
        &template("nope.io/v1/Nope", "metadata: {name: x}"),
        "spec.resources[1].template.kind: failed to get schema for nope.io/v1 Nope: no such kind is served; \
         correct apiVersion and kind, or install its CustomResourceDefinition",
    );
}

#[test]
fn cases_163_164_definitions_build_definitions() {
    let inner = "- id: inner
  template:
    apiVersion: kro.run/v1alpha1
    kind: ResourceGraphDefinition
    metadata: {name: '${schema.spec.s}'}
    spec:
      schema: {kind: Inner, apiVersion: v1, spec: {count: '${schema.spec.n > 1 ? \"integer\" : \"string\"}'}}
      resources: [{id: a, template: {metadata: {name: '${\"${schema.metadata.name}\"}'}}}]
";
    let found = evaluate(&app(inner), json!({"s": "made", "n": 2}), none());
    let object = found.object("inner");
    assert_eq!(object["spec"]["schema"]["spec"], json!({"count": "integer"}));
    assert_eq!(object["spec"]["resources"][0]["template"]["metadata"]["name"], "${schema.metadata.name}");
    // An instance of another definition is a resource like any other.
    let nested = "- id: n
  template: {apiVersion: kro.run/v1, kind: Other, metadata: {name: x}, spec: {k: '${schema.spec.n}'}}
";
    assert_eq!(evaluate(&app(nested), json!({"n": 2}), none()).node("n"), "2");
    assert!(graph(&app(nested)).nodes[0].dependencies.is_empty());
}
