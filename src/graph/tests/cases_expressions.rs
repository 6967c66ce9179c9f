//! Corner cases of kro, by their numbers: expressions in templates.

use super::evaluation::{evaluate, evaluate_with, gives, instance};
use super::table::Table;
use super::{app, cm, free, graph};
use crate::graph::Options;
use serde_json::{Value, json};

fn none() -> Value {
    json!({})
}

/// `kind: Typed`, as resource `t`.
const TYPED: &str = "- {id: t, template: {apiVersion: x.io/v1, kind: Typed, metadata: {name: t}}}\n";
const SECRET: &str = "- {id: secret, template: {apiVersion: v1, kind: Secret, metadata: {name: s}}}\n";

/// What a text gives that reads `t` with this status.
fn of_typed(text: &str, status: Value) -> String {
    gives(TYPED, text, none(), json!({"t": {"status": status}}))
}

/// Kind Free takes any type: what is wrong is wrong with the expression itself.
fn verdict(table: &mut Table, row: &str, text: &str, want: &str) {
    table.verdict(row, &app(&format!("{TYPED}{SECRET}{}", free("x", &json!(text).to_string(), ""))), want);
}

fn data(text: &str) -> String {
    app(&cm("x", &json!(text).to_string(), ""))
}

#[test]
fn case_060_text_of_an_instance_is_data() {
    let text = "${other.data.k}";
    let others = cm("other", "v", "");
    let seen = json!({"other": {"data": {"k": "v"}}});
    assert_eq!(gives(&others, "${schema.spec.s}", json!({"s": text}), seen.clone()), json!(text).to_string());
    let mut parent = instance(none());
    parent["metadata"]["annotations"] = json!({"a": text});
    let yaml = app(&free("x", "'${schema.metadata.annotations.a}'", ""));
    let found = evaluate_with(&Options::default(), &yaml, &parent, &seen);
    assert_eq!(found.node("x"), json!(text).to_string());
}

#[test]
fn case_061_a_string_that_looks_like_an_expression() {
    assert_eq!(gives("", r#"${"${VAR}"}"#, none(), none()), r#""${VAR}""#);
}

#[test]
fn case_062_what_is_not_closed_is_text() {
    assert_eq!(gives("", "echo ${HOME", none(), none()), r#""echo ${HOME""#);
}

#[test]
fn cases_063_168_single_quotes_shield_too() {
    let mut table = Table::default();
    for (text, want) in [("${'}'}", r#""}""#), ("${'{'}", r#""{""#), ("${'${x}'}", r#""${x}""#)] {
        table.is(text, gives("", text, none(), none()), want);
    }
}

#[test]
fn case_064_a_line_end_makes_a_text() {
    assert_eq!(gives("", "${schema.spec.s}\n", json!({"s": "v"}), none()), r#""v\n""#);
    Table::default().verdict("int", &data("${schema.spec.n}\n"), "found no matching overload for '_+_'");
}

#[test]
fn cases_065_066_169_parts_of_a_text_are_strings() {
    let mut table = Table::default();
    let overload = "found no matching overload for '_+_' applied to '(string, int)'";
    for text in ["a-${schema.spec.n}", "${schema.spec.n}${schema.spec.n}", "${1}${2}"] {
        // Of several wrong parts each is a problem of its own.
        let found = super::problems(&data(text)).join("\n");
        table.has(text, found, overload);
        let field = format!("status: {{a: '${{schema.spec.s}}{text}'}}\n    types:");
        let status = app(&cm("x", "v", "")).replace("types:", &field);
        table.has(text, super::problems(&status).join("\n"), overload);
    }
    table.verdict("string()", &data("a-${string(schema.spec.n)}"), "ok");
}

#[test]
fn case_067_an_integer_is_no_double() {
    let mut table = Table::default();
    let typed = |field: &str| {
        app(&format!(
            "- id: x\n  template: {{apiVersion: x.io/v1, kind: Typed, metadata: {{name: x}}, spec: {{{field}}}}}"
        ))
    };
    table.verdict("int <- int", &typed("whole: '${schema.spec.n}'"), "ok");
    table.verdict(
        "number <- int",
        &typed("number: '${schema.spec.n}'"),
        "type kind mismatch: got int, expected double",
    );
    table.verdict("number <- double(int)", &typed("number: '${double(schema.spec.n)}'"), "ok");
}

#[test]
fn case_068_whole_doubles_are_integers_where_the_schema_says_so() {
    assert_eq!(of_typed("${t.status.observed + 1}", json!({"observed": 3.0})), "4");
}

#[test]
fn case_069_words_of_cel_as_fields() {
    let mut table = Table::default();
    let status = json!({"namespace": "a", "for": "b"});
    table.is("namespace", of_typed("${t.status.namespace + t.status.for}", status), r#""ab""#);
    for word in ["in", "true", "null"] {
        verdict(&mut table, word, &format!("${{t.status.{word}}}"), "failed to compile");
    }
}

#[test]
fn case_070_fields_with_a_dash() {
    let mut table = Table::default();
    table.is(
        "my__dash__field",
        gives("", "${schema.spec.my__dash__field}", json!({"my-field": "v"}), none()),
        r#""v""#,
    );
    table.verdict("index", &data("${schema.spec['my-field']}"), "found no matching overload for '_[_]'");
}

#[test]
fn case_071_a_field_that_is_not_there() {
    let mut table = Table::default();
    table.verdict(
        "resource",
        &app(&format!("{TYPED}{}", cm("x", "'${t.status.deep.er.ets}'", ""))),
        "spec.resources[1].template.data.k: ${t.status.deep.er.ets}: ERROR: <input>:1:17: undefined field 'ets'\n \
         | t.status.deep.er.ets\n | ................^\n did you mean 'est'?",
    );
}

#[test]
fn case_072_below_preserve_unknown_anything_goes() {
    let mut table = Table::default();
    table.verdict(
        "dyn into string",
        &app(&format!("{TYPED}{}", cm("x", "'${t.status.free.a.b}'", ""))),
        "ok",
    );
    table.is("value", of_typed("${t.status.free.a.b}", json!({"free": {"a": {"b": [1]}}})), "[1]");
}

#[test]
fn case_073_one_of_string_and_number() {
    let mut table = Table::default();
    for (value, want) in [(json!("500m"), r#""500m""#), (json!(2), "2")] {
        table.is(&value, of_typed("${t.status.limits.cpu}", json!({"limits": {"cpu": value}})), want);
    }
}

#[test]
fn cases_074_075_literals() {
    let deployment = |replicas: &str| {
        app(&format!(
            "- id: x\n  template: {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: x}}, spec: {{replicas: {replicas}}}}}"
        ))
    };
    let mut table = Table::default();
    table.verdict("\"3\"", &deployment("'3'"), "template.spec.replicas: expected integer type, got string");
    let found = evaluate(&deployment("null"), none(), none());
    table.is("null", &found.object("x")["spec"], r#"{"replicas":null}"#);
}

#[test]
fn case_076_definitions_in_templates() {
    let crd = |schema: &str, name: &str| {
        app(&format!(
            "- id: x\n  template: {{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, \
             metadata: {{name: {name}}}, spec: {schema}}}"
        ))
    };
    let deep =
        "{versions: [{schema: {openAPIV3Schema: {properties: {a: {properties: {a: {items: {not: {}}}}}}}}}]}";
    let mut table = Table::default();
    table.verdict(
        "expression",
        &crd("{group: '${schema.spec.s}'}", "x"),
        "CEL expressions in CRDs are only supported for metadata fields",
    );
    let found = evaluate(&crd(deep, "'${schema.spec.s}'"), json!({"s": "v"}), none());
    let body: Value = serde_saphyr::from_str(deep).unwrap();
    table.is("verbatim", &found.object("x")["spec"], body);
    table.is("name", &found.object("x")["metadata"]["name"], r#""v""#);
}

#[test]
fn case_077_versions_of_any_form() {
    let mut table = Table::default();
    for (api, kind) in [("azure.com/v1api20200601", "A"), ("x.io/v1p1beta1", "Odd")] {
        let made =
            format!("- {{id: x, template: {{apiVersion: {api}, kind: {kind}, metadata: {{name: x}}}}}}");
        let read =
            format!("- {{id: x, externalRef: {{apiVersion: {api}, kind: {kind}, metadata: {{name: x}}}}}}");
        table.verdict(api, &app(&made), "ok");
        table.verdict(api, &app(&read), "ok");
    }
}

#[test]
fn case_078_secret_data_reads_as_bytes() {
    let mut table = Table::default();
    let seen = json!({"secret": {"data": {"k": "aGVsbG8="}}});
    for (text, want) in [
        ("${string(secret.data.k)}", r#""hello""#),
        ("${size(secret.data.k)}", "5"),
        ("${secret.data.k == b'hello'}", "true"),
    ] {
        table.is(text, gives(SECRET, text, none(), seen.clone()), want);
    }
}

#[test]
fn case_079_secret_data_takes_bytes_and_base64_text() {
    let mut table = Table::default();
    let seen = json!({"secret": {"data": {"k": "aGVsbG8="}}});
    let x = |data: &str| {
        let yaml = format!(
            "{SECRET}- id: x\n  template: {{apiVersion: v1, kind: Secret, metadata: {{name: x}}, data: {data}}}"
        );
        evaluate(&app(&yaml), json!({"s": "aGk="}), seen.clone()).object("x")["data"].to_string()
    };
    for (data, want) in [
        ("{a: '${secret.data.k}'}", r#"{"a":"aGVsbG8="}"#),
        ("{a: '${bytes(schema.spec.s)}'}", r#"{"a":"YUdrPQ=="}"#),
        ("{a: '${schema.spec.s}'}", r#"{"a":"aGk="}"#),
        ("{a: '${base64.encode(secret.data.k)}'}", r#"{"a":"aGVsbG8="}"#),
        ("{a: '${hash.md5(\"abc\")}'}", r#"{"a":"kAFQmDzST7DWlj99KOF/cg=="}"#),
        ("'${secret.data}'", r#"{"k":"aGVsbG8="}"#),
        ("\"${{'a': b'hi', 'b': schema.spec.s}}\"", r#"{"a":"aGk=","b":"aGk="}"#),
        ("\"${secret.data.merge({'b': b'hi'})}\"", r#"{"b":"aGk=","k":"aGVsbG8="}"#),
    ] {
        table.is(data, x(data), want);
    }
}

#[test]
fn case_080_conditions_see_typed_values() {
    let mut table = Table::default();
    let status = json!({"at": "2024-05-01T00:00:00Z", "ttl": "90s", "blob": "aGVsbG8=", "observed": 3.0});
    for (condition, want) in [
        ("t.status.at > timestamp('2024-01-01T00:00:00Z')", "ready"),
        ("t.status.at.getFullYear() == 2024", "ready"),
        ("t.status.ttl < duration('1h')", "ready"),
        ("string(t.status.blob) == 'hello'", "ready"),
        ("t.status.observed == 3", "ready"),
        (
            "t.status.ttl > duration('1h')",
            "waiting: readyWhen of t is not met: ${t.status.ttl > duration('1h')}",
        ),
    ] {
        let yaml = app(&format!(
            "- id: t\n  template: {{apiVersion: x.io/v1, kind: Typed, metadata: {{name: t}}}}\n  readyWhen: [\"${{{condition}}}\"]"
        ));
        table.is(condition, evaluate(&yaml, none(), json!({"t": {"status": status}})).ready("t"), want);
    }
}

#[test]
fn case_081_results_that_json_has_not() {
    let mut table = Table::default();
    table.is("uint", gives("", "${7u}", none(), none()), "7");
    table.has(
        "large uint",
        gives("", "${18446744073709551615u}", none(), none()),
        "F:spec.k: ${18446744073709551615u}: uint value does not fit",
    );
    table.has(
        "bytes",
        gives("", "${b'abc'}", none(), none()),
        "F:spec.k: ${b'abc'}: bytes can not be written to an object",
    );
}

#[test]
fn case_082_an_empty_list_is_no_null() {
    assert_eq!(gives("", "${schema.spec.l.filter(i, false)}", json!({"l": ["a"]}), none()), "[]");
}

#[test]
fn case_083_times_in_the_status() {
    let yaml = app(TYPED)
        .replace("types:", "status: {creationTimestamp: '${t.metadata.creationTimestamp}'}\n    types:");
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/creationTimestamp";
    assert_eq!(graph(&yaml).crd.pointer(path), Some(&json!({"type": "string", "format": "date-time"})));
    let seen = json!({"t": {"metadata": {"creationTimestamp": "2024-05-01T00:00:00Z"}}});
    assert_eq!(evaluate(&yaml, none(), seen).status, json!({"creationTimestamp": "2024-05-01T00:00:00Z"}));
}

#[test]
fn cases_084_171_names_of_functions() {
    let mut table = Table::default();
    for (id, text, want) in [
        ("random", "${random.seededString(10, 'seed')}", r#""qakd42wvqa""#),
        ("hash", "${base64.encode(hash.md5('abc'))}", r#""kAFQmDzST7DWlj99KOF/cg==""#),
        ("json", "${json.marshal([1])}", r#""[1]""#),
        ("lists", "${lists.range(2)}", "[0,1]"),
        ("url", "${url('https://a.b/').getHost()}", r#""a.b""#),
        ("string", "${string(1)}", r#""1""#),
        ("size", "${size([1])}", "1"),
    ] {
        let resources = cm(id, "v", "") + &free("x", &json!(text).to_string(), "");
        let yaml = app(&resources);
        let x = graph(&yaml).nodes.iter().find(|n| n.id == "x").unwrap().dependencies.clone();
        table.is(id, x.len(), 0);
        table.is(id, evaluate(&yaml, none(), none()).node("x"), want);
        let reads = app(&(cm(id, "v", "") + &cm("x", &format!("'${{{id}.data.k}}'"), "")));
        table.is(id, evaluate(&reads, none(), json!({id: true})).node("x"), r#""v""#);
    }
}

#[test]
fn case_085_seeded_strings_repeat() {
    assert_eq!(gives("", "${random.seededString(20, 'hello')}", none(), none()), r#""imeyoam0imeyoam0imey""#);
}

#[test]
fn case_086_comprehensions_in_templates() {
    let mut table = Table::default();
    let spec = json!({"m": {"b": "2", "a": "1"}, "l": ["x", "y"]});
    for (text, want) in [
        ("${schema.spec.m.transformMap(k, v, v + k)}", r#"{"a":"1a","b":"2b"}"#),
        ("${schema.spec.m.transformMapEntry(k, v, {v: k})}", r#"{"1":"a","2":"b"}"#),
        ("${schema.spec.m.transformList(k, v, k + v)}", r#"["a1","b2"]"#),
        ("${schema.spec.l.sortBy(e, e == 'x' ? 1 : 0)}", r#"["y","x"]"#),
        ("${'%s-%d'.format(['a', 1])}", r#""a-1""#),
        ("${schema.spec.l.join(',')}", r#""x,y""#),
    ] {
        table.is(text, gives("", text, spec.clone(), none()), want);
    }
}

#[test]
fn cases_087_181_variables_of_an_expression_are_its_own() {
    let mut table = Table::default();
    let others = cm("other", "v", "");
    for text in [
        "${schema.spec.l.map(other, other + '!')}",
        "${cel.bind(other, schema.spec.l, other)}",
        "${[1].all(i, i > 0)}",
    ] {
        let yaml = app(&format!("{others}{}", free("x", &json!(text).to_string(), "")));
        let graph = graph(&yaml);
        table.is(text, graph.nodes.iter().all(|n| n.dependencies.is_empty()), true);
    }
    let text = "${schema.spec.l.map(other, other + '!')}";
    table.is("value", gives(&others, text, json!({"l": ["a"]}), none()), r#"["a!"]"#);
}

#[test]
fn case_088_what_an_instance_lacks_is_said() {
    // kro waits for ever, with "no such key".
    let got = gives("", "${schema.spec.opt}", none(), none());
    let want = "F:spec.k: ${schema.spec.opt}: schema.spec.opt is not set on the instance; \
                write schema.spec.?opt.orValue(…) or test has(schema.spec.opt), or give it a default in the schema";
    assert_eq!(got, want);
}

#[test]
fn case_089_a_condition_on_what_an_instance_lacks() {
    let yaml = app(&cm("x", "v", "includeWhen: ['${schema.spec.b}']"));
    let want = "F:${schema.spec.b}: schema.spec.b is not set on the instance";
    Table::default().has("absent", evaluate(&yaml, none(), none()).node("x"), want);
}

#[test]
fn case_090_omission_is_behind_its_gate() {
    let mut table = Table::default();
    let gate = "omit() requires the CELOmitFunction feature gate to be enabled";
    table.verdict("gate off", &data("${schema.spec.b ? schema.spec.s : omit()}"), gate);
    let options = Options { omit: true, ..Options::default() };
    let x = "- id: x\n  template: {apiVersion: x.io/v1, kind: Free, metadata: {name: x}, spec: {k: {o: '${omit()}'}, \
             l: [a, '${omit()}'], m: \"${{'a': omit(), 'b': [omit(), 1]}}\"}}";
    let found = evaluate_with(&options, &app(x), &instance(none()), &none());
    table.is("gate on", &found.object("x")["spec"], r#"{"k":{},"l":["a"],"m":{"b":[1]}}"#);
    let misplaced = |yaml: &str| {
        let found = crate::graph::compile(&super::rgd(yaml), &options, &super::kinds::kinds()).unwrap_err();
        found.iter().map(|p| format!("{p}\n")).collect::<String>()
    };
    let only = "omit() can only be used in resource template expressions";
    for fields in ["readyWhen: ['${omit()}']", "includeWhen: ['${omit()}']"] {
        table.has(fields, misplaced(&app(&cm("x", "v", fields))), only);
    }
    let named = cm("x", "v", "").replace("name: x", "name: '${omit()}'");
    table.has("name", misplaced(&app(&named)), "omit() cannot be used for metadata.name");
    let placed = cm("x", "v", "").replace("name: x", "name: x, namespace: '${omit()}'");
    let cluster = app(&placed).replace("kind: App\n", "kind: App\n    scope: Cluster\n");
    table.has("namespace", misplaced(&cluster), "omit() cannot be used for metadata.namespace");
    let status =
        app(&cm("x", "v", "")).replace("types:", "status: {a: '${[schema.spec.s, omit()]}'}\n    types:");
    table.has("status", misplaced(&status), only);
}

#[test]
fn case_091_equal_texts_are_one_expression() {
    let yaml = app(&(cm("a", "'${schema.spec.s}'", "") + &cm("b", "'${schema.spec.s}'", "")));
    assert_eq!(graph(&yaml).slots, 1);
}
