//! Corner cases of kro, by their numbers: collections.

use super::evaluation::{Evaluated, evaluate};
use super::table::Table;
use super::{app, cm, free, graph};
use serde_json::{Value, json};

const EACH: &str = "{a: '${schema.spec.l}'}";

/// ConfigMaps `x` over these dimensions.
fn collection(dimensions: &str, name: &str, more: &str) -> String {
    cm("x", "v", &format!("forEach: [{dimensions}]\n{more}")).replace("name: x", &format!("name: {name}"))
}

fn names(found: &Evaluated, id: &str) -> String {
    let names = found.objects.get(id).into_iter().flatten().map(|o| o["metadata"]["name"].as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

fn list(items: &[&str]) -> Value {
    json!({"l": items})
}

fn named(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

#[test]
fn case_092_two_dimensions() {
    let dimensions = "{a: '${[\"x\", \"y\"]}'}, {b: '${[1, 2, 3]}'}";
    let found = evaluate(&app(&collection(dimensions, "'${a}${string(b)}'", "")), json!({}), json!({}));
    assert_eq!(names(&found, "x"), "x1 x2 x3 y1 y2 y3");
    let items: Vec<Option<(usize, usize)>> = (0..6).map(|i| Some((i, 6))).collect();
    assert_eq!(found.items["x"], items);
}

#[test]
fn cases_093_105_an_empty_collection_is_ready() {
    let resources = collection(EACH, "'${a}'", "readyWhen: ['${each.data.k == \"v\"}']")
        + &free("size", "'${size(x)}'", "includeWhen: ['${size(x) == 0}']")
        + &cm("over", "v", "forEach: [{i: '${x}'}]").replace("name: over", "name: '${i.metadata.name}'");
    let found = evaluate(&app(&resources), list(&[]), json!({}));
    let mut table = Table::default();
    table.is("x", found.node("x"), "");
    table.is("x", found.ready("x"), "ready");
    table.is("size", found.node("size"), "0");
    table.is("over", found.ready("over"), "ready");
}

#[test]
fn case_094_a_collection_is_included_as_a_whole() {
    let x = collection(EACH, "'${a}'", "includeWhen: ['${schema.spec.b}']");
    for (flag, want) in [(true, "p q"), (false, "")] {
        let found = evaluate(&app(&x), json!({"l": ["p", "q"], "b": flag}), json!({}));
        assert_eq!((names(&found, "x").as_str(), found.node("x") == "ignored"), (want, !flag));
    }
}

#[test]
fn case_095_collections_over_collections() {
    let chained = |id: &str, of: &str| {
        cm(id, "v", &format!("forEach: [{{i: '${{{of}}}'}}]"))
            .replace(&format!("name: {id}"), &format!("name: '${{i.metadata.name}}-{id}'"))
    };
    let yaml = app(&(collection(EACH, "'${a}'", "") + &chained("second", "x") + &chained("third", "second")));
    for (items, want) in [(vec!["p", "q"], "p-second-third q-second-third"), (vec!["p"], "p-second-third")] {
        let found = evaluate(&yaml, list(&items), json!({"x": true, "second": true}));
        assert_eq!(names(&found, "third"), want);
    }
    let order: Vec<(String, u32)> =
        graph(&yaml).nodes.iter().map(|n| (n.id.clone(), n.apply_order)).collect();
    assert_eq!(order, [("x".into(), 1), ("second".into(), 2), ("third".into(), 3)]);
}

#[test]
fn case_096_an_item_removed_in_the_middle() {
    let yaml = app(&collection(EACH, "'${a}'", ""));
    let found = evaluate(&yaml, list(&["p", "r"]), json!({}));
    assert_eq!((names(&found, "x").as_str(), &found.items["x"]), ("p r", &vec![Some((0, 2)), Some((1, 2))]));
}

#[test]
fn case_097_identities_are_unique() {
    let mut table = Table::default();
    let want = "F:x: identity collision: duplicate identity: /v1/ConfigMap//p (items 0 and 2)";
    table.is(
        "name",
        evaluate(&app(&collection(EACH, "'${a}'", "")), list(&["p", "q", "p"]), json!({})).node("x"),
        want,
    );
    // An absent namespace and the instance's own are one place.
    let placed = collection(EACH, "p, namespace: '${a}'", "");
    let found = evaluate(&app(&placed), list(&["", "ns1"]), json!({}));
    table.has(
        "namespace",
        found.node("x"),
        "F:x: identity collision: duplicate identity: /v1/ConfigMap/ns1/p",
    );
    let found = evaluate(&app(&placed), list(&["ns2", "ns1"]), json!({}));
    table.is("other namespaces", names(&found, "x"), "p p");
}

#[test]
fn case_098_a_collection_has_a_limit() {
    let many: Vec<String> = (0..1001).map(|i| format!("n{i}")).collect();
    let yaml = app(&collection(EACH, "'${a}'", ""));
    let most: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut table = Table::default();
    table.is(
        "1001",
        evaluate(&yaml, list(&most), json!({})).node("x"),
        "F:x: collection size of 1001 is over the maximum collection size of 1000",
    );
    table.is("1000", evaluate(&yaml, list(&most[1..]), json!({})).objects["x"].len(), 1000);
}

#[test]
fn case_099_iterators_make_the_identity() {
    let mut table = Table::default();
    let missing = "all forEach dimensions must be used to produce a unique resource identity, missing: [a]";
    table.verdict("nowhere", &app(&collection(EACH, "x", "")), missing);
    table.verdict("namespace", &app(&collection(EACH, "x, namespace: '${a}'", "")), "ok");
}

#[test]
fn case_100_all_items_must_be_ready() {
    let resources = collection(EACH, "'${a}'", "readyWhen: ['${each.data.done == \"yes\"}']")
        + &free("after", "'${size(x)}'", "");
    let (yes, no) = (named("p", json!({"done": "yes"})), named("q", json!({"done": "no"})));
    let mut table = Table::default();
    for (seen, ready, after) in [
        (
            json!([yes, no]),
            "waiting: readyWhen of x item 1 is not met: ${each.data.done == \"yes\"}",
            "P:unresolved dependency x: ",
        ),
        (json!([yes]), "waiting: x: observed 1 but desired 2", "P:unresolved dependency x: "),
        (json!([yes, yes]), "ready", "2"),
    ] {
        let found = evaluate(&app(&resources), list(&["p", "q"]), json!({"x": seen}));
        table.is(&seen, found.ready("x"), ready);
        table.has(&seen, found.node("after"), after);
    }
}

#[test]
fn case_104_only_lists_are_iterated() {
    let mut table = Table::default();
    for (expression, want) in [
        ("schema.spec.raw.l", "must return a list, got dyn"),
        (
            "schema.spec.m",
            "must return a list, got map(string, string); for its keys write ${schema.spec.m.map(k, k)}",
        ),
        ("schema.spec.m.map(k, k)", "ok"),
    ] {
        table.verdict(
            expression,
            &app(&collection(&format!("{{a: '${{{expression}}}'}}"), "'${string(a)}'", "")),
            want,
        );
    }
    let keys = collection("{a: '${schema.spec.m.map(k, k)}'}", "'${a}'", "");
    table.is(
        "keys",
        names(&evaluate(&app(&keys), json!({"m": {"b": "1", "a": "2"}}), json!({})), "x"),
        "a b",
    );
}
