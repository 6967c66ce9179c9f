//! Corner cases of kro, by their numbers: what is included, what is ready, what waits.

use super::evaluation::evaluate;
use super::table::Table;
use super::{app, cm, free};
use serde_json::json;

/// `one`, and `x` that is included when this holds.
fn included(condition: &str) -> String {
    app(&(free("one", "v", "readyWhen: ['${one.status.ready == true}']")
        + &cm("x", "v", &format!("includeWhen: [\"${{{condition}}}\"]"))))
}

#[test]
fn cases_106_107_what_depends_on_the_excluded_is_excluded() {
    let resources = cm("a", "v", "includeWhen: ['${schema.spec.b}']")
        + &cm("b", "'${a.data.k}'", "")
        + &cm("c", "'${b.data.k}'", "");
    let mut table = Table::default();
    for (flag, want) in [(false, "ignored"), (true, r#""v""#)] {
        let found = evaluate(&app(&resources), json!({"b": flag}), json!({"a": true, "b": true}));
        for id in ["a", "b", "c"] {
            table.is(format!("{id} {flag}"), found.node(id), want);
        }
    }
}

#[test]
fn case_108_conditions_on_others_wait_until_they_are_ready() {
    let yaml = included("one.status.phase == 'on'");
    let mut table = Table::default();
    for (seen, want) in [
        (json!({}), "P:unresolved dependency one: one does not exist yet"),
        (
            json!({"one": {"status": {"phase": "on"}}}),
            "P:unresolved dependency one: readyWhen of one is not met",
        ),
        (json!({"one": {"status": {"ready": true}}}), "P:${one.status.phase == 'on'}: no such key: phase"),
        (json!({"one": {"status": {"ready": true, "phase": "on"}}}), r#""v""#),
        (json!({"one": {"status": {"ready": true, "phase": "off"}}}), "ignored"),
    ] {
        table.has(&seen, evaluate(&yaml, json!({}), seen.clone()).node("x"), want);
    }
}

#[test]
fn case_109_a_careful_reader_of_the_excluded_is_excluded_too() {
    let resources =
        cm("a", "v", "includeWhen: ['${schema.spec.b}']") + &cm("b", "\"${a.?data.?k.orValue('')}\"", "");
    assert_eq!(evaluate(&app(&resources), json!({"b": false}), json!({})).node("b"), "ignored");
}

#[test]
fn cases_110_113_all_dependencies_must_be_ready() {
    let gate = |id: &str| free(id, "v", &format!("readyWhen: ['${{{id}.status.ok == true}}']"));
    let yaml = app(&(gate("a")
        + &gate("b")
        + &cm("x", "\"${a.?spec.?k.orValue('')}${b.?spec.?k.orValue('')}\"", "")));
    let (ok, not) = (json!({"status": {"ok": true}}), json!({"status": {"ok": false}}));
    let mut table = Table::default();
    for (a, b, want) in [
        (&ok, &not, "P:unresolved dependency b: readyWhen of b is not met: ${b.status.ok == true}"),
        (&not, &ok, "P:unresolved dependency a: readyWhen of a is not met: ${a.status.ok == true}"),
        (&ok, &ok, r#""""#),
    ] {
        table.is(format!("{a} {b}"), evaluate(&yaml, json!({}), json!({"a": a, "b": b})).node("x"), want);
    }
}

#[test]
fn case_111_what_is_not_ready_names_node_and_condition() {
    let yaml = app(&cm("x", "v", "readyWhen: ['${x.data.k == \"w\"}']"));
    let found = evaluate(&yaml, json!({}), json!({"x": true}));
    assert_eq!(found.ready("x"), "waiting: readyWhen of x is not met: ${x.data.k == \"w\"}");
}

#[test]
fn case_112_one_waits_and_the_others_go_on() {
    let yaml = app(&(free("a", "v", "")
        + &cm("b", "'${a.status.late}'", "")
        + &cm("c", "'${b.data.k}'", "")
        + &cm("free", "v", "")));
    let found = evaluate(&yaml, json!({}), json!({"a": {"status": {}}}));
    let mut table = Table::default();
    table.is("b", found.node("b"), "P:data.k: ${a.status.late}: no such key: late");
    table.has("c", found.node("c"), "P:unresolved dependency b: ");
    table.is("free", found.node("free"), r#""v""#);
}
