//! Corner cases of kro, by their numbers: external references.

use super::evaluation::evaluate;
use super::table::Table;
use super::{app, cm, free, graph, problems};
use serde_json::{Value, json};

/// An external reference `ext` with this metadata.
fn external(metadata: &str) -> String {
    format!("- id: ext\n  externalRef: {{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}\n")
}

fn object(name: &str, k: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": k}})
}

#[test]
fn cases_114_115_119_what_is_read_is_waited_for_and_never_made() {
    let yaml = app(&(external("{name: \"${schema.spec.s}-conf\"}") + &cm("x", "'${ext.data.k}'", "")));
    let mut table = Table::default();
    for (seen, ready, x) in [
        (
            json!({}),
            "waiting: waiting for external reference ext: not found",
            "P:unresolved dependency ext: ",
        ),
        (json!({"ext": object("e", "1")}), "ready", r#""1""#),
        (json!({"ext": object("e", "2")}), "ready", r#""2""#),
    ] {
        let found = evaluate(&yaml, json!({"s": "a"}), seen.clone());
        table.is(&seen, found.ready("ext"), ready);
        table.has(&seen, found.node("x"), x);
        table.is(&seen, &found.references["ext"], "a-conf");
    }
    let external_only = graph(&app(&external("{name: e}")));
    assert!(external_only.group_kinds().is_empty(), "nothing that is only read is in the inventory");
}

#[test]
fn cases_116_117_selectors() {
    let mut table = Table::default();
    for (metadata, want) in [
        ("{selector: {matchLabels: {a: '${schema.spec.s}', b: c}}}", "[a=v,b=c]"),
        (
            "{namespace: '${schema.spec.s}', selector: {matchExpressions: [{key: a, operator: In, values: [x, '${schema.spec.s}']}, \
             {key: b, operator: Exists}, {key: c, operator: DoesNotExist}, {key: d, operator: NotIn, values: [z]}]}}",
            "v/[!c,a in (x,v),b,d notin (z)]",
        ),
        ("{selector: {}}", "[]"),
        ("{namespace: '', selector: {}}", "[]"),
        ("{namespace: other, selector: {}}", "other/[]"),
        ("{namespace: other, name: e}", "other/e"),
        (
            "{name: '${schema.spec.opt}'}",
            "F:name: ${schema.spec.opt}: schema.spec.opt is not set on the instance",
        ),
        (
            "{selector: {matchLabels: '${schema.spec.m}'}}",
            "F:ext: metadata.selector: a value is no value of a label",
        ),
        (
            "{selector: {matchLabels: '${schema.spec.raw.x}'}}",
            "F:ext: metadata.selector: matchLabels must give a map",
        ),
        (
            "{selector: {matchExpressions: [{key: a, operator: In, values: '${schema.spec.l}'}]}}",
            "F:ext: metadata.selector: operator In of a has no values",
        ),
        (
            "{selector: {matchLabels: {a: '${schema.spec.m.x}'}}}",
            "F:ext: metadata.selector: a value is no value of a label",
        ),
    ] {
        let spec = json!({"s": "v", "m": {"x": "not a label"}, "l": [], "raw": {"x": "text"}});
        let found = evaluate(&app(&external(metadata)), spec, json!({}));
        table.has(metadata, &found.references["ext"], want);
    }
}

#[test]
fn a_selector_may_be_one_expression_and_is_never_wider_than_what_it_gives() {
    let mut table = Table::default();
    for (given, want) in [
        (json!({"matchLabels": {"a": "x"}}), "[a=x]"),
        (json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]}), "[a in (x)]"),
        (json!({}), "[]"),
        (json!({"matchLabel": {"a": "x"}}), "F:ext: metadata.selector: matchLabel is unknown"),
        (json!({"matchLabels": "x"}), "F:ext: metadata.selector: matchLabels must give a map"),
        (json!({"matchExpressions": {}}), "F:ext: metadata.selector: matchExpressions must give a list"),
        (json!({"matchExpressions": [{"operator": "Exists"}]}), "F:ext: metadata.selector: key is missing"),
        (json!("x"), "F:ext: metadata.selector: must give a map"),
        (json!(null), "F:ext: metadata.selector: must give a map"),
    ] {
        let yaml = app(&external("{selector: '${schema.spec.raw.x}'}"));
        let found = evaluate(&yaml, json!({"raw": {"x": given}}), json!({}));
        table.has(&given, &found.references["ext"], want);
    }
    for (metadata, want) in [
        ("{selector: '${schema.spec.raw}'}", "ok"),
        ("{selector: '${schema.spec.raw.x}'}", "ok"),
        ("{selector: '${schema.spec.n}'}", "type kind mismatch: got int"),
        ("{selector: '${schema.spec.s}'}", "type kind mismatch: got string"),
        ("{selector: 'a=b'}", "metadata.selector is not a label selector"),
        ("{selector: ['${schema.spec.s}']}", "metadata.selector is not a label selector"),
        ("{selector: '${{\"matchLabels\": schema.spec.m}}'}", "ok"),
    ] {
        table.verdict(metadata, &app(&external(metadata)), want);
    }
}

#[test]
fn the_form_of_a_selector() {
    let object = "expected object type for path metadata.selector.matchLabels, got string";
    let mut table = Table::default();
    for (selector, want) in [
        ("{matchLabels: {a: b}}", "ok"),
        ("{matchLabels: 'a=b'}", object),
        ("{matchLabels: '${schema.spec.m'}", object),
        (
            "{matchLabels: {a: 1}}",
            "expected string type for path metadata.selector.matchLabels.a, got number",
        ),
        (
            "{matchExpressions: {}}",
            "expected array type for path metadata.selector.matchExpressions, got object",
        ),
        ("{matchLabel: {}}", "schema not found for field matchLabel"),
        (
            "{matchExpressions: [{key: a, operator: Near}]}",
            "invalid label selector: operator is missing or unknown",
        ),
        ("{matchExpressions: [{operator: Exists}]}", "invalid label selector: key is missing"),
        ("{matchExpressions: [{key: a, operator: In}]}", "invalid label selector: operator In needs values"),
        ("{matchExpressions: [{key: a, operator: '${schema.spec.s}', values: [x]}]}", "ok"),
    ] {
        table.verdict(selector, &app(&external(&format!("{{selector: {selector}}}"))), want);
    }
    // The expression in it has the wrong type besides.
    let escaped = problems(&app(&external("{selector: {matchLabels: '\\${schema.spec.m}'}}")));
    table.has("escaped", escaped.join("\n"), object);
}

#[test]
fn case_121_what_is_selected_is_a_list() {
    let yaml = app(&(external("{selector: {}}")
        + &free("x", "'${ext.sortBy(e, e.metadata.name).map(e, e.data.k)}'", "")));
    let mut table = Table::default();
    for (seen, want) in [(json!([object("b", "2"), object("a", "1")]), r#"["1","2"]"#), (json!([]), "[]")] {
        let found = evaluate(&yaml, json!({}), json!({"ext": seen}));
        table.is(&seen, found.node("x"), want);
        table.is(&seen, found.ready("ext"), "ready");
    }
}

#[test]
fn case_122_selected_objects_are_ready_one_by_one_or_as_a_list() {
    let with = |condition: &str| {
        app(&format!("{}  readyWhen: [\"${{{condition}}}\"]\n", external("{selector: {}}")))
    };
    let mut table = Table::default();
    // kro refuses the first and never finds the second true.
    for (condition, ks, want) in [
        ("each.data.k == 'ok'", vec!["ok", "ok"], "ready"),
        ("each.data.k == 'ok'", vec!["ok", "no"], "waiting: readyWhen of ext item 1 is not met"),
        ("each.data.k == 'ok'", vec![], "ready"),
        ("size(ext) > 1", vec!["a", "b"], "ready"),
        ("size(ext) > 1", vec!["a"], "waiting: readyWhen of ext is not met: ${size(ext) > 1}"),
    ] {
        let seen: Vec<Value> = ks.iter().map(|k| object("e", k)).collect();
        let found = evaluate(&with(condition), json!({}), json!({"ext": seen}));
        table.has(format!("{condition} {ks:?}"), found.ready("ext"), want);
    }
}

#[test]
fn expressions_of_a_reference_have_its_types() {
    let mut table = Table::default();
    for (metadata, want) in [
        (
            "{name: '${schema.spec.n}'}",
            "spec.resources[0].externalRef.metadata.name: type mismatch in resource \"ext\" at path \"metadata.name\": \
             expression \"schema.spec.n\" returns type \"int\" but expected \"string\"",
        ),
        ("{name: e, namespace: '${schema.spec.b}'}", "type kind mismatch: got bool, expected string"),
        (
            "{selector: {matchLabels: {a: '${schema.spec.n}'}}}",
            "type kind mismatch: got int, expected string",
        ),
        ("{selector: {matchLabels: '${schema.spec.m}'}}", "ok"),
        ("{selector: {matchLabels: {a: '${schema.spec.raw.x}'}}}", "ok"),
        (
            "{selector: {matchExpressions: [{key: a, operator: In, values: ['${schema.spec.l}']}]}}",
            "type kind mismatch: got list(string), expected string",
        ),
        ("{selector: {matchExpressions: [{key: a, operator: In, values: '${schema.spec.l}'}]}}", "ok"),
    ] {
        table.verdict(metadata, &app(&external(metadata)), want);
    }
}
