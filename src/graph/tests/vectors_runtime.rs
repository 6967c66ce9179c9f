//! What one evaluation gives, row by row. Where kro gives something else, the row says so.

use super::evaluation::{Evaluated, evaluate, evaluate_with, gives, instance};
use super::table::Table;
use super::{app, cm, free};
use crate::graph::Options;
use serde_json::{Value, json};

fn none() -> Value {
    json!({})
}

/// A resource `x` of this kind with these fields, evaluated.
fn object(others: &str, kind: &str, fields: &str, spec: Value, seen: Value) -> Evaluated {
    let (api, kind) = kind.rsplit_once('/').unwrap_or(("v1", kind));
    let yaml = format!(
        "{others}- id: x\n  template: {{apiVersion: {api}, kind: {kind}, metadata: {{name: x}}, {fields}}}"
    );
    evaluate(&app(&yaml), spec, seen)
}

#[test]
fn what_the_instance_has_not() {
    let mut table = Table::default();
    let named = app(&free("x", "v", "").replace("name: x", "name: 'a-${schema.spec.opt}'"));
    // kro waits for these two for ever.
    let wanted = "schema.spec.opt is not set on the instance; write schema.spec.?opt.orValue(…) or test has(schema.spec.opt)";
    table.has("name from absent field", evaluate(&named, none(), none()).node("x"), wanted);
    table.has("null is absent", gives("", "${schema.spec.opt}", json!({"opt": null}), none()), wanted);
    for (text, want) in [
        ("${schema.spec.?opt.orValue('d')}", r#""d""#),
        ("${has(schema.spec.opt)}", "false"),
        ("${schema.spec.?opt}", "null"),
    ] {
        table.is(text, gives("", text, none(), none()), want);
    }
    let included = app(&cm("x", "v", "includeWhen: ['${schema.spec.b}']"));
    table.has(
        "includeWhen",
        evaluate(&included, none(), none()).node("x"),
        "F:${schema.spec.b}: schema.spec.b is not set",
    );
    let each = app(&cm("x", "v", "forEach: [{a: '${schema.spec.l}'}]").replace("name: x", "name: '${a}'"));
    table.has(
        "forEach",
        evaluate(&each, none(), none()).node("x"),
        "F:forEach a: ${schema.spec.l}: schema.spec.l is not set",
    );
}

#[test]
fn values_by_their_type() {
    let mut table = Table::default();
    let replicas =
        object("", "apps/v1/Deployment", "spec: {replicas: '${schema.spec.n}'}", json!({"n": 3}), none());
    table.is("S.i = 3 into replicas", &replicas.object("x")["spec"], r#"{"replicas":3}"#);
    let with =
        |status: &str| app(&free("x", "v", "")).replace("types:", &format!("status: {status}\n    types:"));
    let floats =
        evaluate(&with("{a: '${schema.spec.f}', b: '${schema.spec.f * 2.0}'}"), json!({"f": 3}), none());
    table.is("float 3, S.f * 2.0", &floats.status, r#"{"a":3,"b":6}"#);
    table.is(
        "text of an instance",
        gives("", "${schema.spec.s}", json!({"s": "${schema.metadata.name}"}), none()),
        r#""${schema.metadata.name}""#,
    );

    let typed = "- {id: t, template: {apiVersion: x.io/v1, kind: Typed, metadata: {name: t}}}\n";
    let yaml = app(typed).replace("types:", "status: {ttl: '${t.status.ttl}'}\n    types:");
    let ttl = evaluate(&yaml, none(), json!({"t": {"status": {"ttl": "90m"}}}));
    table.is("duration 90m", &ttl.status, r#"{"ttl":"1h30m0s"}"#);

    let keys = object(
        "",
        "ConfigMap",
        "data: {'a.b': '${schema.spec.s}', '': '${schema.spec.s}'}",
        json!({"s": "v"}),
        none(),
    );
    table.is("dotted and empty keys", &keys.object("x")["data"], r#"{"":"v","a.b":"v"}"#);
}

#[test]
fn secrets() {
    let src = "- {id: src, template: {apiVersion: v1, kind: Secret, metadata: {name: src}}}\n";
    let seen = || json!({"src": {"data": {"k": "aGVsbG8="}}});
    let mut table = Table::default();
    table.is("string()", gives(src, "${string(src.data.k)}", none(), seen()), r#""hello""#);
    table.is(
        "dyn(base64.encode())",
        gives(src, "${dyn(base64.encode(src.data.k))}", none(), seen()),
        r#""aGVsbG8=""#,
    );
    table.has(
        "bytes elsewhere",
        gives(src, "${src.data.k}", none(), seen()),
        "F:spec.k: ${src.data.k}: bytes can not be written",
    );
    for (fields, want) in [
        ("data: '${src.data}'", r#"{"k":"aGVsbG8="}"#),
        // From here on kro gives an error.
        ("data: {k: '${src.data.k}'}", r#"{"k":"aGVsbG8="}"#),
        ("data: {k: '${base64.encode(src.data.k)}'}", r#"{"k":"aGVsbG8="}"#),
        ("data: \"${{'a': src.data.k, 'b': bytes('hi')}}\"", r#"{"a":"aGVsbG8=","b":"aGk="}"#),
    ] {
        let found = object(src, "Secret", fields, none(), seen());
        table.is(fields, &found.object("x")["data"], want);
    }
}

#[test]
fn readiness_of_typed_values() {
    let mut table = Table::default();
    // kro: fatal, no such overload.
    let secret = "- id: s
  template: {apiVersion: v1, kind: Secret, metadata: {name: s}}
  readyWhen: ['${string(s.data.k) == \"hello\"}']
";
    for (data, want) in [("aGVsbG8=", "ready"), ("eA==", "waiting: readyWhen of s is not met")] {
        let found = evaluate(&app(secret), none(), json!({"s": {"data": {"k": data}}}));
        table.has(data, found.ready("s"), want);
    }
    let timed =
        cm("c", "v", "readyWhen: ['${c.metadata.creationTimestamp > timestamp(\"2024-01-01T00:00:00Z\")}']");
    for (time, want) in
        [("2025-01-01T00:00:00Z", "ready"), ("2023-01-01T00:00:00Z", "waiting: readyWhen of c is not met")]
    {
        let found = evaluate(&app(&timed), none(), json!({"c": {"metadata": {"creationTimestamp": time}}}));
        table.has(time, found.ready("c"), want);
    }
}

#[test]
fn collections() {
    let mut table = Table::default();
    let dims = "forEach: [{a: '${schema.spec.l}'}, {b: '${[1, 2]}'}]";
    let x = cm("x", "v", dims).replace("name: x", "name: '${a}-${string(b)}'");
    let yaml = app(&(x + &free("names", "'${x.map(i, i.metadata.name)}'", "")));
    let named = |name: &str| json!({"metadata": {"name": name}, "data": {}});
    let spec = || json!({"l": ["x", "z"]});
    let found = evaluate(&yaml, spec(), json!({"x": true}));
    let names: Vec<&Value> = found.objects["x"].iter().map(|o| &o["metadata"]["name"]).collect();
    table.is("[x,z] x [1,2]", json!(names), r#"["x-1","x-2","z-1","z-2"]"#);
    table.is(
        "index and size",
        format!("{:?}", found.items["x"]),
        "[Some((0, 4)), Some((1, 4)), Some((2, 4)), Some((3, 4))]",
    );
    table.is("as others see it", found.node("names"), r#"["x-1","x-2","z-1","z-2"]"#);
    let part = evaluate(&yaml, spec(), json!({"x": [named("x-1"), named("z-2")]}));
    table.is("two of four", part.ready("x"), "waiting: x: observed 2 but desired 4");
    table.has(
        "dependents wait",
        part.node("names"),
        "P:unresolved dependency x: x: observed 2 but desired 4",
    );

    let one = cm("x", "v", "forEach: [{a: '${schema.spec.l}'}]").replace("name: x", "name: 'n-${a}'");
    for (row, list, want) in [
        (
            "duplicate values",
            json!(["x", "x"]),
            "F:x: identity collision: duplicate identity: /v1/ConfigMap//n-x",
        ),
        (
            "1001 values",
            json!((0..1001).map(|i| i.to_string()).collect::<Vec<_>>()),
            "F:x: collection size of 1001 is over the maximum collection size of 1000",
        ),
    ] {
        table.has(row, evaluate(&app(&one), json!({"l": list}), none()).node("x"), want);
    }
}

#[test]
fn the_status() {
    let mut table = Table::default();
    let with = |status: &str| {
        app(&(cm("one", "v", "") + &cm("two", "v", "")))
            .replace("types:", &format!("status: {status}\n    types:"))
    };
    let one = || json!({"one": {"data": {"k": "v1"}}});
    // kro: [null, "v1"] and ["v1"].
    for order in ["['${two.data.k}', '${one.data.k}']", "['${one.data.k}', '${two.data.k}']"] {
        let yaml = with(&format!("{{arr: {order}, whole: '${{one.data.k}}'}}"));
        table.is(order, &evaluate(&yaml, none(), one()).status, r#"{"whole":"v1"}"#);
    }
    let both = json!({"one": {"data": {"k": "v1"}}, "two": {"data": {"k": "v2"}}});
    let yaml = with("{arr: ['${two.data.k}', '${one.data.k}']}");
    table.is("both are there", &evaluate(&yaml, none(), both).status, r#"{"arr":["v2","v1"]}"#);
    // kro writes no status at all.
    let fatal = evaluate(
        &with("{bad: '${10 / schema.spec.n}', s: '${schema.spec.s}'}"),
        json!({"n": 0, "s": "v"}),
        none(),
    );
    table.is("10 / 0", &fatal.status, r#"{"s":"v"}"#);
    table.has("10 / 0", fatal.problems.join(" "), "status.bad: ${10 / schema.spec.n}: division by zero");
}

#[test]
fn inclusion() {
    let mut table = Table::default();
    let resources = cm("aa", "v", "includeWhen: ['${schema.spec.b}']")
        + &cm("bb", "'${aa.data.k}'", "")
        + &cm("cc", "v", "includeWhen: ['${bb.data.k == \"v\"}']")
        + &cm("ff", "'${bb.?data.?x.orValue(\"\")}'", "");
    let found = evaluate(&app(&resources), json!({"b": false}), none());
    for id in ["aa", "bb", "cc", "ff"] {
        table.is(id, found.node(id), "ignored");
        table.is(id, found.ready(id), "skipped");
    }
    let x = |conditions: &str| {
        app(&(cm("one", "v", "") + &cm("x", "v", &format!("includeWhen: [{conditions}]"))))
    };
    let (first, second) = ("'${one.data.inc == \"y\"}'", "'${schema.spec.s == \"zz\"}'");
    for (conditions, want) in [
        (format!("{first}, {second}"), "P:${one.data.inc == \"y\"}: no such key: inc"),
        (format!("{second}, {first}"), "ignored"),
    ] {
        let found = evaluate(&x(&conditions), json!({"s": "abc"}), json!({"one": {"data": {}}}));
        table.is(conditions, found.node("x"), want);
    }
}

#[test]
fn omission() {
    let options = Options { omit: true, ..Options::default() };
    let of = |kind: &str, fields: &str| {
        let (api, kind) = kind.rsplit_once('/').unwrap_or(("v1", kind));
        let yaml = app(&format!("- id: x\n  template: {{apiVersion: {api}, kind: {kind}, {fields}}}"));
        evaluate_with(&options, &yaml, &instance(json!({"b": false})), &none())
    };
    let mut table = Table::default();
    let cond = "schema.spec.b ? dyn('v') : omit()";
    for (row, kind, fields, pointer, want) in [
        (
            "label",
            "ConfigMap",
            format!("metadata: {{name: x, labels: {{a: \"${{{cond}}}\"}}}}"),
            "/metadata/labels",
            "{}",
        ),
        ("whole data", "ConfigMap", format!("metadata: {{name: x}}, data: \"${{{cond}}}\""), "/data", "null"),
        (
            "list element",
            "apps/v1/Deployment",
            format!(
                "metadata: {{name: x}}, spec: {{template: {{spec: {{containers: [{{name: c, args: [a, \"${{{cond}}}\", b]}}]}}}}}}"
            ),
            "/spec/template/spec/containers/0/args",
            r#"["a","b"]"#,
        ),
        (
            "literal map",
            "ConfigMap",
            format!("metadata: {{name: x}}, data: \"${{{{'a': {cond}, 'b': 'x'}}}}\""),
            "/data",
            r#"{"b":"x"}"#,
        ),
        (
            "literal list",
            "x.io/v1/Free",
            format!("metadata: {{name: x}}, spec: {{k: \"${{['a', {cond}]}}\"}}"),
            "/spec/k",
            r#"["a"]"#,
        ),
    ] {
        let found = of(kind, &fields);
        table.is(row, found.object("x").pointer(pointer).unwrap_or(&Value::Null), want);
    }
    table.has(
        "x${omit()}",
        of("ConfigMap", "metadata: {name: x}, data: {k: 'x${omit()}'}").node("x"),
        "F:data.k: x${omit()}: ",
    );
}
