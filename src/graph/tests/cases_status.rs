//! Corner cases of kro, by their numbers: the status that an author writes.

use super::evaluation::{Evaluated, evaluate};
use super::table::Table;
use super::{app, cm, graph};
use serde_json::{Value, json};

/// Resources `one` and `two`, and this status.
fn with(status: &str) -> String {
    app(&(cm("one", "v", "") + &cm("two", "v", "")))
        .replace("types:", &format!("status: {status}\n    types:"))
}

fn data(k: &str) -> Value {
    json!({"data": {"k": k}})
}

fn made(found: &Evaluated) -> String {
    let made = &found.conditions.made;
    made.iter().map(|c| format!("{}={}", c.type_, c.status)).collect::<Vec<_>>().join(" ")
}

#[test]
fn cases_143_144_fields_come_and_go_with_their_data() {
    let yaml = with(
        "{a: '${one.data.k}', b: 'x-${two.data.k}', s: '${schema.spec.s}', l: ['${one.data.k}', '${schema.spec.s}']}",
    );
    let mut table = Table::default();
    for (seen, want) in [
        (json!({}), r#"{"s":"v"}"#),
        (json!({"one": data("1")}), r#"{"a":"1","l":["1","v"],"s":"v"}"#),
        (json!({"one": data("1"), "two": data("2")}), r#"{"a":"1","b":"x-2","l":["1","v"],"s":"v"}"#),
        (json!({"two": data("2")}), r#"{"b":"x-2","s":"v"}"#),
    ] {
        table.is(&seen, &evaluate(&yaml, json!({"s": "v"}), seen.clone()).status, want);
    }
}

#[test]
fn case_145_a_list_is_written_whole() {
    // kro writes null in the place of what is not there.
    let yaml = with("{l: ['${one.data.k}', '${two.data.k}']}");
    let mut table = Table::default();
    table.is("one is missing", &evaluate(&yaml, json!({}), json!({"two": data("2")})).status, "{}");
    let both = json!({"one": data("1"), "two": data("2")});
    table.is("both", &evaluate(&yaml, json!({}), both).status, r#"{"l":["1","2"]}"#);
}

#[test]
fn case_146_an_authors_state_is_only_declared() {
    let yaml = with("{state: '${schema.spec.s}', a: '${schema.spec.s}'}");
    assert_eq!(evaluate(&yaml, json!({"s": "v"}), json!({})).status, json!({"a": "v"}));
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/state/type";
    assert_eq!(graph(&yaml).crd.pointer(status), Some(&json!("string")));
}

#[test]
fn case_147_one_bad_field_takes_nothing_with_it() {
    let yaml = with("{a: '${schema.spec.s}', bad: '${10 / schema.spec.n}'}");
    let found = evaluate(&yaml, json!({"s": "v", "n": 0}), json!({}));
    assert_eq!(found.status, json!({"a": "v"}));
    assert!(found.problems[0].starts_with("status.bad: ${10 / schema.spec.n}: "), "{:?}", found.problems);
}

#[test]
fn case_151_an_author_may_say_ready_and_still_read_the_inner_one() {
    let yaml = with(
        "{conditions: [\"${runtime.newCondition({type: 'Ready', status: 'True', reason: runtime.condition(schema, 'Ready').reason})}\"]}",
    );
    let found = evaluate(&yaml, json!({}), json!({}));
    assert_eq!((made(&found).as_str(), found.conditions.made[0].reason.as_str()), ("Ready=True", "Own"));
    assert!(graph(&yaml).has_conditions());
}

#[test]
fn case_152_conditions_that_wait_fail_or_meet() {
    let entry = |type_: &str, status: &str| {
        format!("\"${{runtime.newCondition({{type: {type_}, status: {status}}})}}\"")
    };
    let all = |entries: &[String]| with(&format!("{{conditions: [{}]}}", entries.join(", ")));
    let mut table = Table::default();

    let waits = all(&[entry("'A'", "one.data.k"), entry("'B'", "'True'")]);
    let found = evaluate(&waits, json!({}), json!({}));
    table.is(
        "waits",
        format!("{} {} {:?}", made(&found), found.conditions.incomplete, found.conditions.problems),
        "B=True true []",
    );
    let found = evaluate(&waits, json!({}), json!({"one": data("False")}));
    table.is("came", format!("{} {}", made(&found), found.conditions.incomplete), "A=False B=True false");
    let found = evaluate(&waits, json!({}), json!({"one": data("Perhaps")}));
    table.is("fails", format!("{} {}", made(&found), found.conditions.incomplete), "B=True true");
    table.has("fails", found.conditions.problems.join(" "), "status must be True, False or Unknown");

    let twice = all(&[entry("schema.spec.s", "'True'"), entry("'B'", "'True'"), entry("'A'", "'False'")]);
    let found = evaluate(&twice, json!({"s": "A"}), json!({}));
    table.is("twice", made(&found), "B=True");
    table.is(
        "twice",
        found.conditions.problems.join(" "),
        "status.conditions: type \"A\" is made more than once",
    );
    let found = evaluate(&twice, json!({"s": "C"}), json!({}));
    table.is("three", made(&found), "C=True B=True A=False");
}

#[test]
fn case_153_without_the_block_there_are_no_author_conditions() {
    let graph = graph(&with("{a: '${schema.spec.s}'}"));
    assert!(!graph.has_conditions());
}
