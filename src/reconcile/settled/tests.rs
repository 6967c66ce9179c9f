//! An object that needs no write, and the ones that do.

use super::*;
use serde_json::json;

/// OpenAPI of a kind with one field of each sort, as it is after reduction.
fn schema() -> Value {
    let port = json!({"type": "object", "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
        "targetPort": {"x-kubernetes-int-or-string": true}}});
    json!({"type": "object", "properties": {
        "metadata": {"type": "object", "x-kept-as": "struct", "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "spec": {"type": "object", "x-kept-as": "struct", "properties": {
            "version": {"type": "string"},
            "cpu": {"x-kept-as": "quantity"},
            "at": {"type": "string", "x-kept-as": "time"},
            "data": {"type": "string", "x-kept-as": "bytes"},
            "number": {"type": "number"},
            "port": {"x-kubernetes-int-or-string": true},
            "args": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
            "ports": {"type": "array", "items": port, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"]},
            "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ref": {"type": "object", "x-kubernetes-map-type": "atomic", "x-kept-as": "struct", "properties": {
                "apiVersion": {"type": "string", "default": "v1"}, "path": {"type": "string"},
                "group": {"type": "string"}, "optional": {"type": "boolean"},
                "selector": {"type": "object", "properties": {"x": {"type": "string"}}}}},
            "empty": {"type": "object", "properties": {"x": {"type": "string"}}},
        }},
    }})
}

fn check_with(schema: Option<&Value>, desired: &Value, live: &Value, fields: &Value, want: bool) {
    let object = |spec: &Value| json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    let fields = json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": fields});
    let rules = Rules { schema, as_served: false };
    let got = rules.settled(&object(desired), &object(live), &fields);
    assert_eq!(got, want, "{desired} where {live} is, owned as {fields}, schema: {}", schema.is_some());
}

/// One field of a spec: what is wanted, what is there, and whether that is the same with the schema of its kind, and
/// without any.
fn check(desired: Value, live: Value, fields: Value, with: bool, without: bool) {
    check_with(Some(&schema()), &desired, &live, &fields, with);
    check_with(None, &desired, &live, &fields, without);
}

fn leaf_of(field: &str) -> Value {
    json!({format!("f:{field}"): {}})
}

#[test]
fn a_text_is_compared_to_the_letter_and_only_a_quantity_by_value() {
    for (field, a, b, with) in [
        ("version", json!("1.3"), json!("1.30"), false),
        ("version", json!("010"), json!("10"), false),
        ("version", json!("1"), json!(1), false),
        ("version", json!("1Gi"), json!("1024Mi"), false),
        ("version", json!("1e3"), json!("1000"), false),
        ("cpu", json!("1000m"), json!("1"), true),
        ("cpu", json!(1), json!("1"), true),
        ("cpu", json!(0.5), json!("500m"), true),
        ("cpu", json!("1024Mi"), json!("1Gi"), true),
        ("cpu", json!("1.5Gi"), json!("1536Mi"), true),
        ("cpu", json!("1e3"), json!("1k"), true),
        ("cpu", json!("1"), json!("2"), false),
        ("cpu", json!("1G"), json!("1Gi"), false),
        ("at", json!("2026-01-01T01:00:00+01:00"), json!("2026-01-01T00:00:00Z"), true),
        ("at", json!("2026-01-01T00:00:00Z"), json!("2026-01-01T00:00:00.000000Z"), true),
        ("at", json!("2026-01-01T00:00:01Z"), json!("2026-01-01T00:00:00Z"), false),
        ("data", json!("aGVs\nbG8=\n"), json!("aGVsbG8="), true),
        ("data", json!("aGVsbG8="), json!("aGVsbG9="), false),
        ("port", json!("80"), json!(80), false),
        ("port", json!(80), json!(80), true),
    ] {
        let same_text = a == b;
        let object = |value: &Value| json!({field: value});
        check(object(&a), object(&b), leaf_of(field), with, same_text);
        check(object(&b), object(&a), leaf_of(field), with, same_text);
    }
    // JSON has one kind of numbers, and every server writes them alike.
    check(json!({"number": 1.0}), json!({"number": 1}), leaf_of("number"), true, true);
    check(json!({"number": 1.5}), json!({"number": 1}), leaf_of("number"), false, false);
}

#[test]
fn the_order_of_a_list_is_content() {
    let args = |a: &str, b: &str| json!({"args": [a, b]});
    check(args("-a", "-b"), args("-a", "-b"), leaf_of("args"), true, true);
    check(args("-b", "-a"), args("-a", "-b"), leaf_of("args"), false, false);
    let names = json!({"f:names": {".": {}, "v:\"a\"": {}, "v:\"b\"": {}}});
    check(json!({"names": ["a", "b"]}), json!({"names": ["a", "x", "b"]}), names.clone(), true, true);
    // The server takes over the order of an apply, so a new order is a change.
    check(json!({"names": ["b", "a"]}), json!({"names": ["a", "b"]}), names.clone(), false, false);
    check(json!({"names": ["a"]}), json!({"names": ["a", "b"]}), names, false, false);
}

#[test]
fn items_of_a_keyed_list_are_told_apart_by_what_we_own() {
    let tcp = json!({".": {}, "f:port": {}, "f:targetPort": {}});
    let fields = json!({"f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: tcp}});
    let live = json!({"ports": [{"port": 81, "protocol": "TCP"}, {"port": 80, "protocol": "TCP", "targetPort": 8080}]});
    let desired = |target: Value| json!({"ports": [{"port": 80, "targetPort": target}]});
    check(desired(json!(8080)), live.clone(), fields.clone(), true, true);
    check(desired(json!("http")), live.clone(), fields.clone(), false, false);
    let two = json!({"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]});
    check(two, live.clone(), fields.clone(), false, false);
    // A protocol that was taken back to the default.
    let udp =
        json!({"f:ports": {r#"k:{"port":80,"protocol":"UDP"}"#: {".": {}, "f:port": {}, "f:protocol": {}}}});
    let live = json!({"ports": [{"port": 80, "protocol": "UDP"}]});
    check(json!({"ports": [{"port": 80, "protocol": "UDP"}]}), live.clone(), udp.clone(), true, true);
    check(json!({"ports": [{"port": 80}]}), live, udp, false, false);
}

#[test]
fn what_a_server_fills_into_a_whole_value_is_known_by_its_schema() {
    let live = json!({"ref": {"apiVersion": "v1", "path": "x"}});
    check(json!({"ref": {"path": "x"}}), live.clone(), leaf_of("ref"), true, false);
    check(json!({"ref": {"path": "y"}}), live, leaf_of("ref"), false, false);
    // What was there before and is taken away is an edit.
    let beta = json!({"ref": {"apiVersion": "v2", "path": "x"}});
    check(json!({"ref": {"path": "x"}}), beta, leaf_of("ref"), false, false);
    let selector = json!({"ref": {"path": "x", "selector": {}}});
    check(json!({"ref": {"path": "x"}}), selector.clone(), leaf_of("ref"), false, false);
    check(selector, json!({"ref": {"path": "x"}}), leaf_of("ref"), false, false);
    // What is empty is left out of a struct.
    let with_empty = json!({"ref": {"path": "x", "group": ""}});
    check(with_empty, json!({"ref": {"path": "x", "apiVersion": "v1"}}), leaf_of("ref"), true, false);
    let optional = json!({"ref": {"path": "x", "optional": false}});
    check(optional, json!({"ref": {"path": "x"}}), leaf_of("ref"), false, false);
}

#[test]
fn what_we_applied_and_a_server_left_out_was_empty() {
    for (field, value) in
        [("version", json!("")), ("args", json!([])), ("empty", json!({})), ("number", json!(0))]
    {
        check(json!({field: value}), json!({}), leaf_of(field), true, true);
    }
    // Nobody applied that yet.
    check(json!({"version": "a", "cpu": ""}), json!({"version": "a"}), leaf_of("version"), false, false);
    check(json!({"version": "x"}), json!({}), leaf_of("version"), false, false);
    check(json!({"version": null}), json!({}), leaf_of("version"), true, true);
    // An empty struct is there, and its fields are others'.
    check(json!({"empty": {}}), json!({"empty": {"x": "foreign"}}), leaf_of("empty"), true, false);
    check(json!({"ports": []}), json!({"ports": [{"port": 1}]}), leaf_of("ports"), true, false);
    check(json!({"args": []}), json!({"args": ["x"]}), leaf_of("args"), false, false);
}

#[test]
fn our_entry_covers_what_we_want_and_nothing_else() {
    let both = json!({"f:version": {}, "f:cpu": {}});
    let live = json!({"version": "1", "cpu": "1"});
    check(live.clone(), live.clone(), both.clone(), true, true);
    check(json!({"version": "1"}), live.clone(), both, false, false);
    // Somebody changed it, and changed it back: it is theirs.
    check(live.clone(), live, leaf_of("version"), false, false);
}

#[test]
fn the_version_of_the_writer_is_no_content() {
    let object = |version: Option<&str>| {
        let mut labels = json!({"a": "b"});
        if let Some(version) = version {
            labels["kro.run/kro-version"] = json!(version);
        }
        json!({"metadata": {"labels": labels}})
    };
    let fields = json!({"f:metadata": {"f:labels": {"f:a": {}, "f:kro.run/kro-version": {}}}});
    for live in ["v0.9.4", "devel"] {
        for desired in [None, Some("v0.9.4")] {
            assert!(Rules::TO_THE_LETTER.settled(&object(desired), &object(Some(live)), &fields));
        }
    }
    let unowned = json!({"f:metadata": {"f:labels": {"f:a": {}}}});
    assert!(Rules::TO_THE_LETTER.settled(&object(Some("v0.9.4")), &object(None), &unowned));
}

#[test]
fn a_default_need_not_be_owned_where_a_server_told_what_is_wanted() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "name": {"type": "string"},
        "tier": {"type": "string", "default": "small"},
        "size": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 1}}}}}}});
    let fields = |owned: Value| json!({"f:spec": owned});
    let name = json!({"f:name": {}});
    let whole = json!({"name": "a", "tier": "small", "size": {"n": 1}});
    for (desired, live, owned, want) in [
        (whole.clone(), whole.clone(), name.clone(), true),
        (whole.clone(), json!({"name": "a"}), name.clone(), false),
        (json!({"name": "a", "tier": "big", "size": {"n": 1}}), whole.clone(), name.clone(), false),
        // Somebody set it on the spoke.
        (whole.clone(), json!({"name": "a", "tier": "big", "size": {"n": 1}}), name.clone(), false),
        // A field that was taken out of the schema is not shown any more, and still in our entry.
        (whole.clone(), whole.clone(), json!({"f:name": {}, "f:old": {}}), true),
        (
            whole.clone(),
            json!({"name": "a", "tier": "small", "size": {"n": 1}, "old": 1}),
            json!({"f:name": {}, "f:old": {}}),
            false,
        ),
    ] {
        let object = |spec: &Value| json!({"spec": spec});
        let rules = Rules { schema: Some(&schema), as_served: true };
        assert_eq!(
            rules.settled(&object(&desired), &object(&live), &fields(owned.clone())),
            want,
            "{desired} {live}"
        );
        let strict = Rules { as_served: false, ..rules };
        assert!(
            !strict.settled(&object(&desired), &object(&live), &fields(owned)),
            "a child's default is owned"
        );
    }
}

#[test]
fn an_object_is_covered_without_the_labels_that_adoption_adds() {
    let desired = json!({"metadata": {"name": "a", "labels": {"kro.run/owned": "true"},
        "annotations": {"internal.kro.run/apply-order": "1"}}, "data": {"k": "v"}});
    let covered = |live| Rules::TO_THE_LETTER.covered(&desired, &live);
    assert!(covered(json!({"metadata": {"name": "a", "uid": "u"}, "data": {"k": "v", "more": "x"}})));
    assert!(covered(json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}})));
    assert!(!covered(json!({"metadata": {"name": "a"}, "data": {"k": "w"}})));
    assert!(!covered(json!({"metadata": {"name": "a"}})));
}

#[test]
fn an_object_is_covered_by_what_the_server_would_keep() {
    let schema = schema();
    let rules = Rules { schema: Some(&schema), as_served: false };
    let live = json!({"version": "1.30", "cpu": "1", "args": ["a", "b"], "ref": {"apiVersion": "v1", "path": "x"},
        "ports": [{"port": 81, "protocol": "TCP"}, {"port": 80, "protocol": "TCP", "targetPort": 1}]});
    for (desired, want) in [
        (json!({"cpu": "1000m"}), true),
        (json!({"version": "1.3"}), false),
        (json!({"args": ["a", "b"]}), true),
        (json!({"args": ["b", "a"]}), false),
        (json!({"args": ["a"]}), false),
        (json!({"ports": [{"port": 80, "targetPort": 1}]}), true),
        (json!({"ports": [{"port": 80, "targetPort": 2}]}), false),
        (json!({"ports": [{"port": 82}]}), false),
        (json!({"ref": {"path": "x"}}), true),
        (json!({"ref": {"path": "x", "optional": true}}), false),
        (json!({"empty": {}}), false),
    ] {
        assert_eq!(rules.covered(&json!({"spec": desired}), &json!({"spec": live})), want, "{desired}");
    }
}

/// What is said of an answer to an apply that has another value than was applied.
#[test]
fn what_the_server_itself_changes_is_named_and_what_it_fills_in_is_not() {
    let port = r#"k:{"port":80,"protocol":"TCP"}"#;
    let item = |target: Value| json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": target}]});
    let cases = [
        (json!({"version": "a"}), json!({"version": "b"}), leaf_of("version"), Some("spec.version")),
        (json!({"version": "a"}), json!({"version": "a", "number": 1}), leaf_of("version"), None),
        (json!({"version": "a"}), json!({}), leaf_of("version"), None),
        (json!({"version": ""}), json!({"version": "filled in"}), leaf_of("version"), None),
        (json!({"version": "a"}), json!({"version": "b"}), leaf_of("number"), None),
        (json!({"cpu": "1000m"}), json!({"cpu": "1"}), leaf_of("cpu"), None),
        (json!({"cpu": "1000m"}), json!({"cpu": "2"}), leaf_of("cpu"), Some("spec.cpu")),
        (json!({"args": ["a", "b"]}), json!({"args": ["a", "c"]}), leaf_of("args"), Some("spec.args[1]")),
        (json!({"args": ["a"]}), json!({"args": ["new", "a"]}), leaf_of("args"), None),
        (
            json!({"ref": {"optional": false, "path": "x"}}),
            json!({"ref": {"apiVersion": "v1", "optional": true, "path": "x"}}),
            leaf_of("ref"),
            Some("spec.ref.optional"),
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 1}]}),
            item(json!(2)),
            json!({"f:ports": {port: {".": {}, "f:port": {}, "f:targetPort": {}}}}),
            Some("spec.ports[port=80].targetPort"),
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 1}]}),
            item(json!(1)),
            json!({"f:ports": {port: {".": {}, "f:port": {}, "f:targetPort": {}}}}),
            None,
        ),
    ];
    let known = schema();
    for (desired, live, fields, want) in cases {
        let object = |spec: &Value| json!({"spec": spec});
        let said = |schema| {
            let rules = Rules { schema, as_served: false };
            rules.rewritten(&object(&desired), &object(&live), &json!({"f:spec": fields}))
        };
        assert_eq!(said(Some(&known)).as_deref(), want, "{desired} became {live}");
        assert_eq!(said(None), None, "without a schema nothing is certain");
    }
}
