//! What a graph gives for an instance, step by step.

use super::{app, cm, free, graph, rgd};
use crate::graph::{EvalError, Graph, Options, Pass, Readiness, compile};
use crate::schema::kinds::Anywhere;
use serde_json::{Value, json};

/// An instance `inst` in namespace `ns1` with this spec.
fn instance(spec: Value) -> Value {
    json!({
        "apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": "inst", "namespace": "ns1", "uid": "u1", "labels": {"team": "a"}},
        "spec": spec,
    })
}

fn index(graph: &Graph, id: &str) -> usize {
    graph.nodes.iter().position(|n| n.id == id).unwrap_or_else(|| panic!("no node {id}"))
}

/// `P:` or `F:` and the message of an error, else the objects as JSON.
fn show(result: Result<Vec<crate::graph::Rendered>, EvalError>) -> String {
    match result {
        Ok(objects) => {
            let values = objects.iter().map(|o| {
                o.object.pointer("/spec/k").or_else(|| o.object.pointer("/data/k")).unwrap_or(&Value::Null)
            });
            values.map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Err(EvalError::Pending { message }) => format!("P:{message}"),
        Err(EvalError::Fatal { message }) => format!("F:{message}"),
    }
}

fn included(result: Result<bool, EvalError>) -> String {
    match result {
        Ok(included) => included.to_string(),
        Err(EvalError::Pending { message }) => format!("P:{message}"),
        Err(EvalError::Fatal { message }) => format!("F:{message}"),
    }
}

/// Renders node `x`, where `other` is observed as given.
fn render(resource: &str, spec: Value, other: Option<Value>) -> String {
    let graph = graph(&app(&(free("other", "v", "") + resource)));
    let parent = instance(spec);
    let mut pass = Pass::new(&graph, &parent, &Value::Null);
    let (other_index, x) = (index(&graph, "other"), index(&graph, "x"));
    if let Some(other) = &other {
        pass.included(other_index).unwrap();
        pass.observe(other_index, &[other], 1);
    }
    match pass.included(x) {
        Ok(true) => show(pass.render(x)),
        other => included(other),
    }
}

fn value(expression: &str, spec: Value, other: Option<Value>) -> String {
    render(&free("x", &format!("{expression:?}"), ""), spec, other)
}

#[test]
fn values_keep_their_type() {
    let spec =
        json!({"s": "abc", "n": 3, "f": 3.0, "b": true, "l": ["a"], "m": {"a": "b"}, "my-field": "mine"});
    for (expression, want) in [
        ("${schema.spec.s}", r#""abc""#),
        ("${schema.spec.n}", "3"),
        ("${schema.spec.f * 2.0}", "6"),
        ("${schema.spec.b}", "true"),
        ("${schema.spec.l + ['x']}", r#"["a","x"]"#),
        ("${schema.spec.m}", r#"{"a":"b"}"#),
        ("${schema.spec.n > 2 ? 'big' : 'small'}", r#""big""#),
        ("x-${schema.spec.s}-${string(schema.spec.n)}", r#""x-abc-3""#),
        ("${schema.spec.my__dash__field}", r#""mine""#),
        ("${schema.metadata.name}.${schema.metadata.namespace}", r#""inst.ns1""#),
        ("${schema.metadata.uid}", r#""u1""#),
        ("${schema.kind}", r#""App""#),
        ("${schema.spec.?opt.orValue('d')}", r#""d""#),
        ("${has(schema.spec.opt)}", "false"),
        ("${schema.spec.?opt}", "null"),
        ("${'${VAR}'}", r#""${VAR}""#),
    ] {
        assert_eq!(value(expression, spec.clone(), None), want, "{expression}");
    }
}

#[test]
fn expressions_in_an_instance_are_data() {
    assert_eq!(value("${schema.spec.s}", json!({"s": "${x.data.k}"}), None), r#""${x.data.k}""#);
}

#[test]
fn what_the_instance_lacks_is_an_error_and_what_others_lack_is_waited_for() {
    let other = Some(json!({"status": {"a": "1"}}));
    let absent = "F:spec.k: ${schema.spec.opt}: schema.spec.opt is not set on the instance; \
                  write schema.spec.?opt.orValue(…) or test has(schema.spec.opt), or give it a default in the schema";
    assert_eq!(value("${schema.spec.opt}", json!({}), None), absent);
    assert_eq!(value("${schema.spec.opt}", json!({"opt": null}), None), absent);
    for (expression, spec, want) in [
        (
            "${schema.metadata.labels.nope}",
            json!({}),
            "F:spec.k: ${schema.metadata.labels.nope}: schema.metadata.labels.nope is not set",
        ),
        ("${schema.spec.l[0]}", json!({"l": []}), "F:spec.k: ${schema.spec.l[0]}: index out of bounds"),
        ("${other.status.a}", json!({}), "\"1\""),
        ("${other.status.b}", json!({}), "P:spec.k: ${other.status.b}: no such key: b"),
        (
            "${other.status.a + schema.spec.opt}",
            json!({}),
            "F:spec.k: ${other.status.a + schema.spec.opt}: schema.spec.opt is not set",
        ),
        ("${other.status.b + schema.spec.opt}", json!({}), "P:"),
        ("${has(schema.spec.opt) ? schema.spec.opt : other.status.b}", json!({}), "P:"),
        ("${has(schema.spec.opt) ? schema.spec.opt : other.status.opt}", json!({}), "P:"),
        ("${schema.spec.b ? other.status.opt : schema.spec.opt}", json!({"b": true}), "P:"),
        ("${10 / schema.spec.n}", json!({"n": 0}), "F:spec.k: ${10 / schema.spec.n}: "),
    ] {
        let got = value(expression, spec, other.clone());
        assert!(got.starts_with(want), "{expression}: {got}");
    }
}

#[test]
fn expressions_see_an_instance_as_its_author_wrote_it() {
    let graph = graph(&app(&free("x", "v", "")));
    let seen = |labels: Value, annotations: Value, finalizers: Value| {
        let mut parent = instance(json!({}));
        parent["metadata"] =
            json!({"name": "a", "labels": labels, "annotations": annotations, "finalizers": finalizers});
        let pass = Pass::new(&graph, &parent, &Value::Null);
        pass.instance["metadata"].clone()
    };
    let got = seen(
        json!({"team": "a", "kro.run/owned": "true", "hub.kro.run/hub-id": "h", "hub.kro.run/instance-uid": "u",
            "applyset.kubernetes.io/id": "x", "app.kubernetes.io/managed-by": "kro", "mykro.run/x": "y"}),
        json!({"note": "n", "hub.kro.run/clusters": "*", "internal.kro.run/applyset-inventory-hash": "h",
            "applyset.kubernetes.io/tooling": "kro/x", "app.kubernetes.io/managed-by": "Helm"}),
        json!(["kro.run/finalizer", "x/y", "hub.kro.run/finalizer"]),
    );
    assert_eq!(got["labels"], json!({"team": "a", "mykro.run/x": "y"}));
    assert_eq!(got["annotations"], json!({"note": "n", "app.kubernetes.io/managed-by": "Helm"}));
    assert_eq!(got["finalizers"], json!(["x/y"]));
    // Nothing of the author's: the maps are there all the same.
    let got = seen(
        json!({"kro.run/owned": "true"}),
        json!({"hub.kro.run/holds": "a"}),
        json!(["kro.run/finalizer"]),
    );
    assert_eq!(
        (&got["labels"], &got["annotations"], &got["finalizers"]),
        (&json!({}), &json!({}), &json!([]))
    );
}

#[test]
fn dependents_wait_until_dependencies_are_ready() {
    let resources = free("a", "v", "readyWhen: ['${a.status.done == \"yes\"}']")
        + &free("b", "'${a.?status.?k.orValue(\"\")}'", "");
    let graph = graph(&app(&resources));
    let mut pass = Pass::new(&graph, &instance(json!({})), &Value::Null);
    assert_eq!(show(pass.render(0)), "\"v\"");
    assert_eq!(show(pass.render(1)), "P:unresolved dependency a: a is waiting for what it depends on");
    pass.observe(0, &[], 1);
    assert_eq!(show(pass.render(1)), "P:unresolved dependency a: a does not exist yet");
    for (data, want) in [
        (
            json!({"k": "1"}),
            "P:unresolved dependency a: readyWhen of a is not met: ${a.status.done == \"yes\"}: no such key: done",
        ),
        (
            json!({"k": "1", "done": "no"}),
            "P:unresolved dependency a: readyWhen of a is not met: ${a.status.done == \"yes\"}",
        ),
        (json!({"k": "1", "done": "yes"}), "\"1\""),
    ] {
        let mut pass = Pass::new(&graph, &instance(json!({})), &Value::Null);
        pass.observe(0, &[&json!({"status": data})], 1);
        assert_eq!(show(pass.render(1)), want);
    }
}

#[test]
fn readiness_that_can_not_be_judged_is_a_failure() {
    let graph = graph(&app(&free("a", "v", "readyWhen: ['${a.status.n + 1 > 2}']")));
    let mut pass = Pass::new(&graph, &instance(json!({})), &Value::Null);
    pass.observe(0, &[&json!({"status": {"n": "text"}})], 1);
    let Readiness::Failed(message) = pass.readiness(0) else { panic!("{:?}", pass.readiness(0)) };
    assert!(message.starts_with("readyWhen of a can not be evaluated: ${a.status.n + 1 > 2}: "), "{message}");
    assert!(!message.contains("text"), "values stay out of messages: {message}");
}

#[test]
fn what_depends_on_an_excluded_node_is_excluded() {
    let resources = free("aa", "v", "includeWhen: ['${schema.spec.b}']")
        + &free("bb", "'${aa.spec.k}'", "")
        + &free("cc", "v", "includeWhen: ['${bb.spec.k == \"v\"}']")
        + &free("ff", "'${bb.?status.?x.orValue(\"\")}'", "")
        + &free("free", "v", "");
    let graph = graph(
        &app(&resources).replace("types:", "status: {a: '${aa.spec.k}', f: '${free.status.k}'}\n    types:"),
    );
    let mut pass = Pass::new(&graph, &instance(json!({"b": false})), &Value::Null);
    for (id, want) in [("aa", "false"), ("bb", "false"), ("cc", "false"), ("ff", "false"), ("free", "true")] {
        let i = index(&graph, id);
        assert_eq!(included(pass.included(i)), want, "{id}");
        assert_eq!(pass.readiness(i) == &Readiness::Skipped, want == "false", "{id}");
    }
    let free = index(&graph, "free");
    pass.observe(free, &[&json!({"status": {"k": "v"}})], 1);
    assert_eq!(pass.status(), (json!({"f": "v"}).as_object().cloned().unwrap(), vec![]));
}

#[test]
fn conditions_on_others_wait_for_them() {
    let x = |conditions: &str| free("x", "v", &format!("includeWhen: [{conditions}]"));
    let yes = Some(json!({"status": {"inc": "y"}}));
    let empty = Some(json!({"status": {}}));
    for (conditions, other, want) in [
        (
            "'${other.status.inc == \"y\"}'",
            None,
            "P:unresolved dependency other: other is waiting for what it depends on",
        ),
        ("'${other.status.inc == \"y\"}'", yes.clone(), "\"v\""),
        ("'${other.status.inc == \"z\"}'", yes.clone(), "false"),
        ("'${other.status.inc == \"y\"}'", empty.clone(), "P:${other.status.inc == \"y\"}: no such key: inc"),
        (
            "'${other.status.inc == \"y\"}', '${schema.spec.s == \"zz\"}'",
            empty.clone(),
            "P:${other.status.inc == \"y\"}: no such key: inc",
        ),
        ("'${schema.spec.s == \"zz\"}', '${other.status.inc == \"y\"}'", empty.clone(), "false"),
        (
            "'${schema.spec.s == \"zz\"}', '${other.status.inc == \"y\"}'",
            None,
            "P:unresolved dependency other",
        ),
        ("'${schema.spec.b}'", None, "F:${schema.spec.b}: schema.spec.b is not set on the instance"),
        ("'${schema.spec.?b}'", None, "false"),
    ] {
        let got = render(&x(conditions), json!({"s": "abc"}), other);
        assert!(got.starts_with(want), "{conditions}: {got}");
    }
}

fn collection(name: &str, value: &str, for_each: &str) -> String {
    cm("x", value, &format!("forEach: [{for_each}]")).replace("name: x", &format!("name: {name}"))
}

#[test]
fn collections_are_the_product_of_their_dimensions() {
    let two = "{a: '${schema.spec.l}'}, {b: '${[1, 2]}'}";
    let graph = graph(&app(&collection("'${a}-${string(b)}'", "'${a}'", two)));
    let mut pass = Pass::new(&graph, &instance(json!({"l": ["x", "z"]})), &Value::Null);
    let rendered = pass.render(0).unwrap();
    let names: Vec<&str> = rendered.iter().map(|r| r.object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x-1", "x-2", "z-1", "z-2"]);
    assert_eq!(
        rendered.iter().map(|r| r.item).collect::<Vec<_>>(),
        [Some((0, 4)), Some((1, 4)), Some((2, 4)), Some((3, 4)),]
    );
}

#[test]
fn collections_that_can_not_be() {
    let many: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    let one = "{a: '${schema.spec.l}'}";
    for (resource, spec, want) in [
        (collection("'${a}'", "'${a}'", one), json!({"l": []}), ""),
        (
            collection("'${a}'", "'${a}'", "{a: '${schema.spec.l}'}, {b: '${schema.spec.ports}'}")
                .replace("'${a}'", "'${a}${b.name}'"),
            json!({"l": ["x"], "ports": []}),
            "",
        ),
        (
            collection("'n-${a}'", "v", one),
            json!({"l": ["x", "y", "x"]}),
            "F:x: identity collision: duplicate identity: /v1/ConfigMap//n-x (items 0 and 2)",
        ),
        (
            collection("'${a}'", "v", one),
            json!({"l": many}),
            "F:x: collection size of 1001 is over the maximum collection size of 1000",
        ),
        (
            collection("'${a}'", "v", one),
            json!({}),
            "F:forEach a: ${schema.spec.l}: schema.spec.l is not set on the instance",
        ),
        (
            collection("'${p.name}'", "'${p.name}'", "{p: '${schema.spec.ports}'}"),
            json!({"ports": [{"name": "a"}, {"number": 1}]}),
            "F:data.k: ${p.name}: p.name is not set on the instance",
        ),
        (
            collection("'${a}'", "v", "{a: '${other.metadata.finalizers}'}"),
            json!({}),
            "P:forEach a: ${other.metadata.finalizers}: no such key: finalizers",
        ),
        (
            collection("'${p.name}'", "'${p.name}'", "{p: '${other.metadata.ownerReferences}'}"),
            json!({}),
            "P:data.k: ${p.name}: no such key: name",
        ),
    ] {
        let got = render(&resource, spec, Some(json!({"metadata": {"ownerReferences": [{}]}})));
        assert!(got.starts_with(want) && (want.is_empty() == got.is_empty()), "{resource}: {got}");
    }
}

#[test]
fn a_collection_is_ready_when_every_item_is() {
    let fields = "forEach: [{a: '${schema.spec.l}'}]\nreadyWhen: ['${each.status.done == true}']";
    let x = free("x", "v", fields).replace("name: x", "name: '${a}'");
    let graph = graph(&app(&(x + &cm("z", "'${string(size(x))}'", ""))));
    let object = |done: bool| json!({"status": {"done": done}});
    let (yes, no) = (object(true), object(false));
    for (objects, desired, want) in [
        (vec![&yes, &yes], 2, "\"2\""),
        (vec![&yes], 2, "P:unresolved dependency x: x: observed 1 but desired 2"),
        (
            vec![&yes, &no],
            2,
            "P:unresolved dependency x: readyWhen of x item 1 is not met: ${each.status.done == true}",
        ),
        (vec![], 0, "\"0\""),
    ] {
        let mut pass = Pass::new(&graph, &instance(json!({"l": []})), &Value::Null);
        pass.observe(0, &objects, desired);
        assert_eq!(show(pass.render(1)), want);
    }
}

#[test]
fn keys_are_not_paths() {
    let resource = "- id: x
  template:
    apiVersion: x.io/v1
    kind: Free
    metadata: {name: x}
    spec: {'a[0].b': '${schema.spec.s}', '': '${schema.spec.s}', 'p.q': ['${schema.spec.s}']}";
    let graph = graph(&app(resource));
    let rendered = Pass::new(&graph, &instance(json!({"s": "v"})), &Value::Null).render(0).unwrap();
    assert_eq!(rendered[0].object["spec"], json!({"a[0].b": "v", "": "v", "p.q": ["v"]}));
}

#[test]
fn status_fields_stand_alone() {
    let status = "
      phase: '${one.data.phase}'
      both: ['${two.data.k}', '${one.data.phase}']
      nested: {deep: {late: '${two.data.k}'}, here: '${schema.spec.s}'}
      items: [{a: '${one.data.phase}', b: '${one.data.late}'}]
      bad: '${10 / schema.spec.n}'
      none: '${one.data.?late}'
      missing: '${schema.spec.opt}'
      state: '${one.data.phase}'
      text: 'is ${one.data.phase}'";
    let yaml = app(&(cm("one", "v", "") + &cm("two", "v", "")))
        .replace("types:", &format!("status: {status}\n    types:"));
    let graph = graph(&yaml);
    let mut pass = Pass::new(&graph, &instance(json!({"s": "abc", "n": 0})), &Value::Null);
    let (fields, problems) = pass.status();
    assert_eq!(Value::Object(fields), json!({"nested": {"here": "abc"}}));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("status.bad: ${10 / schema.spec.n}: "), "{problems:?}");
    pass.observe(0, &[&json!({"data": {"phase": "on"}})], 1);
    let (fields, _) = pass.status();
    assert_eq!(Value::Object(fields), json!({"phase": "on", "nested": {"here": "abc"}, "text": "is on"}));
    pass.observe(1, &[&json!({"data": {"k": "2"}})], 1);
    let (fields, _) = pass.status();
    assert_eq!(
        Value::Object(fields),
        json!({
            "phase": "on", "text": "is on", "both": ["2", "on"],
            "nested": {"here": "abc", "deep": {"late": "2"}},
        })
    );
}

#[test]
fn shared_text_is_one_expression() {
    let resources = cm("a", "'${schema.spec.s}'", "")
        + &cm("b", "'${schema.spec.s}'", "includeWhen: ['${schema.spec.s}']")
            .replace("includeWhen: ['${schema.spec.s}']", "");
    let graph = graph(&app(&resources));
    assert_eq!(graph.slots, 1);
}

#[test]
fn what_only_the_run_can_judge() {
    let yaml = app("- id: odd
  template: {apiVersion: no.io/v1, kind: Odd, metadata: {name: o}}
- id: x
  includeWhen: ['${odd.yes}']
  forEach: [{i: '${odd.list}'}]
  template: {apiVersion: no.io/v1, kind: Odd, metadata: {name: '${i}'}, spec: {k: '${i}'}}");
    let graph = compile(&rgd(&yaml), &Options::default(), &Anywhere).unwrap();
    for (odd, want) in [
        (json!({"yes": "text"}), "F:${odd.yes}: must give a bool"),
        (json!({"yes": false}), "false"),
        (json!({"yes": true}), "P:forEach i: ${odd.list}: no such key: list"),
        (json!({"yes": true, "list": {}}), "F:forEach i: ${odd.list}: must return a list, got map"),
        (json!({"yes": true, "list": null}), "F:forEach i: ${odd.list}: must return a list, got null"),
        (json!({"yes": true, "list": ["a", "b"]}), r#""a" "b""#),
    ] {
        let mut pass = Pass::new(&graph, &instance(json!({})), &Value::Null);
        pass.observe(0, &[&odd], 1);
        let got = match pass.included(1) {
            Ok(true) => show(pass.render(1)),
            other => included(other),
        };
        assert_eq!(got, want, "{odd}");
    }
}

#[test]
fn what_is_said_of_all_clusters_is_computed_from_what_each_says() {
    let status = "status: {address: '${other.metadata.name}', total: '${kro.clusters.map(c, c.status.?n.orValue(0)).sum()}', \
                  where: '${kro.clusters.filter(c, c.state == \"ACTIVE\").map(c, c.name).join(\",\")}'}";
    let yaml = app(&cm("other", "v", "")).replace("types:", &format!("{status}\n    types:"));
    let graph = graph(&yaml);
    let clusters = json!([
        {"name": "eu", "labels": {}, "state": "ACTIVE", "status": {"n": 2}},
        {"name": "us", "labels": {}, "state": "ERROR", "status": {}},
    ]);
    let (fields, problems) = graph.over_clusters(&instance(json!({})), &clusters);
    assert_eq!((Value::Object(fields), problems), (json!({"total": 2, "where": "eu"}), vec![]));
    // A cluster alone says nothing of them.
    let (fields, _) = Pass::new(&graph, &instance(json!({})), &Value::Null).status();
    assert!(fields.is_empty());
}
