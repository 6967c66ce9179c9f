//! What holds for every definition.

use super::evaluation::evaluate;
use super::kinds::kinds;
use super::{app, free, graph, rgd};
use crate::api::ResourceGraphDefinition;
use crate::api::rgd::Resource;
use crate::graph::{Graph, Options, Pass, compile};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const HEAD: &str = "
metadata: {name: app}
spec:
  schema: {kind: App, apiVersion: v1, spec: {s: string, l: '[]string'}, status: {a: '${schema.spec.s}'}}
  resources: []
";

fn config_map(id: &str, reads: &[String]) -> Resource {
    let data: Map<String, Value> =
        reads.iter().map(|r| (r.clone(), json!(format!("${{{r}.metadata.name}}")))).collect();
    Resource {
        id: id.to_owned(),
        template: Some(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": id}, "data": data}),
        ),
        ..Resource::default()
    }
}

/// Number `i`, of one of several kinds and roles, which reads these others.
fn resource(i: usize, reads: &BTreeSet<usize>) -> Resource {
    let is_list = |i: usize| i % 5 == 3;
    let read = |other: &usize| match is_list(*other) {
        true => (format!("n{other}"), json!(format!("${{string(size(n{other}))}}"))),
        false => (format!("n{other}"), json!(format!("x-${{n{other}.metadata.name}}"))),
    };
    let notes: Map<String, Value> = reads.iter().map(read).collect();
    let mut resource = Resource { id: format!("n{i}"), ..Resource::default() };
    let (api, kind) =
        [("v1", "ConfigMap"), ("v1", "Secret"), ("x.io/v1", "Free"), ("apps/v1", "Deployment")][i % 4];
    match i % 5 {
        4 => {
            let name = notes.values().next().cloned().unwrap_or_else(|| json!("e"));
            resource.external_ref =
                Some(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}));
        }
        3 => {
            resource.for_each = vec![[("each1".to_owned(), "${schema.spec.l}".to_owned())].into()];
            resource.template = Some(
                json!({"apiVersion": api, "kind": kind, "metadata": {"name": "${each1}", "annotations": notes}}),
            );
        }
        _ => {
            resource.template = Some(
                json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "annotations": notes}}),
            );
        }
    }
    resource
}

/// Resources `n0`, `n1`, …, of which each reads only later ones of a hidden order.
fn acyclic() -> impl Strategy<Value = Vec<Resource>> {
    let edges = prop::collection::vec((0usize..9, 0usize..9), 0..20);
    edges.prop_map(|edges| {
        (0..9)
            .map(|i| {
                // An external reference has one place to read in.
                let most = if i % 5 == 4 { 1 } else { 9 };
                let reads = edges.iter().filter(|(a, b)| *a == i && b > a).map(|(_, b)| *b).take(most);
                resource(i, &reads.collect())
            })
            .collect()
    })
}

/// A spec in which nothing is missing.
fn full_spec() -> Value {
    json!({
        "s": "a", "n": 1, "f": 1, "b": true, "l": ["a"], "m": {"a": "b"}, "ports": [{"name": "a", "number": 1}],
        "env": [{"name": "a", "value": "b"}], "nested": {"deep": "a"},
    })
}

/// A status of kind Typed in which nothing is missing.
fn full_status() -> Value {
    json!({
        "at": "2024-01-02T03:04:05Z", "ttl": "1h", "blob": "YQ==", "observed": 3.0, "ratio": 2,
        "deep": {"er": {"est": "a"}},
    })
}

/// Expressions, right and wrong, over fields of all types. Without `null`: the checker takes it for an optional, too.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "schema.spec.s",
        "schema.spec.n",
        "schema.spec.f",
        "schema.spec.b",
        "schema.spec.l",
        "schema.spec.m",
        "schema.spec.ports",
        "schema.spec.env",
        "schema.spec.nested",
        "schema.metadata.labels",
        "t.status.at",
        "t.status.ttl",
        "t.status.blob",
        "t.status.observed",
        "t.status.ratio",
        "t.status.deep",
        "1",
        "2.5",
        "'a'",
        "true",
        "[]",
        "b'x'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        let (a, b, c) = (inner.clone(), inner.clone(), inner.clone());
        let operators = vec!["+", "-", "*", "/", "==", "!=", "<", ">=", "&&", "||", "in"];
        let calls = vec![
            "size(_)",
            "string(_)",
            "int(_)",
            "double(_)",
            "bool(_)",
            "type(_)",
            "[_]",
            "{'k': _}",
            "_.map(i, i)",
            "_.filter(i, true)",
            "_.exists(i, i == i)",
            "!(_)",
            "-(_)",
            "_[0]",
            "_['a']",
            "_.a",
            "_.?a",
            "_.name",
            "_.upperAscii()",
            "_.join(',')",
            "_.sort()",
            "optional.of(_)",
            "_.orValue('a')",
            "base64.encode(_)",
            "json.marshal(_)",
            "_.getFullYear()",
            "_.er.est",
            "_.first()",
        ];
        prop_oneof![
            (a.clone(), prop::sample::select(operators), b).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (prop::sample::select(calls), a.clone()).prop_map(|(call, a)| call.replace('_', &a)),
            (a, inner, c).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

fn with(resources: Vec<Resource>) -> ResourceGraphDefinition {
    let mut definition = rgd(HEAD);
    definition.spec.resources = resources;
    definition
}

/// Apply order, and ids that are read.
type Links = (u32, BTreeSet<String>);

/// What must not depend on the order of the resources.
fn essence(graph: &Graph) -> (String, Value, BTreeMap<String, Links>) {
    let id = |i: &usize| graph.nodes[*i].id.clone();
    let nodes = graph.nodes.iter().map(|n| {
        (n.id.clone(), (n.apply_order, n.dependencies.iter().map(id).collect::<BTreeSet<String>>()))
    });
    (graph.hash.clone(), graph.crd.clone(), nodes.collect())
}

/// JSON with what compilers trip over: expressions, half expressions, wrong types.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z${}.'\"\\[\\]]{0,12}",
        Just("${schema.spec.s}".to_owned()),
        Just("${n0.metadata.name}".to_owned()),
        Just("${schema.spec.s}-${n0}".to_owned()),
        Just("v1".to_owned()),
        Just("ConfigMap".to_owned()),
        "\\$\\{[a-z0-9.()+?:\\[\\]' ]{0,16}\\}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("apiVersion".to_owned()),
        Just("kind".to_owned()),
        Just("metadata".to_owned()),
        Just("name".to_owned()),
        Just("labels".to_owned()),
        Just("conditions".to_owned()),
        "[a-z.\\[\\]/]{0,6}",
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|f| Value::Object(f.into_iter().collect())),
        ]
    })
}

/// Kinds with and without types, in every role.
const TYPED: &str = "
spec:
  schema:
    kind: App
    apiVersion: v1
    spec: {s: string, n: integer, l: '[]string', raw: object}
    status:
      a: ['${string(size(b))}', '${schema.spec.s}']
      available: ${deployment.status.availableReplicas}
      born: ${a.metadata.creationTimestamp}
      any: ${free.status.any}
      secret: ${string(secret.data.k)}
      conditions: ['${runtime.newCondition({type: \"X\", status: free.status.x == true ? \"True\" : \"False\"})}']
  resources:
  - id: a
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.spec.s}'}}
    readyWhen: ['${a.data.ready == \"yes\"}', '${a.metadata.creationTimestamp > timestamp(\"2020-01-01T00:00:00Z\")}']
  - id: b
    forEach: [{i: '${schema.spec.l}'}]
    includeWhen: ['${a.metadata.name == \"x\"}']
    readyWhen: ['${each.data.x != \"\"}']
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: 'x-${i}'}, data: '${a.data}'}
  - id: secret
    readyWhen: ['${string(secret.data.k) == \"x\"}']
    template: {apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: '${schema.spec.s}', r: '${named.data.k}'}}
  - id: deployment
    readyWhen: ['${deployment.status.availableReplicas == deployment.spec.replicas}']
    template: {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: '${schema.spec.n}'}}
  - id: free
    template: {apiVersion: x.io/v1, kind: Free, metadata: {name: f}, spec: {all: '${schema.spec.raw}', b: '${b}'}}
  - id: named
    externalRef: {apiVersion: v1, kind: Secret, metadata: {name: '${schema.spec.s}'}}
  - id: selected
    readyWhen: ['${each.data.x != \"\"}']
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {selector: {matchLabels: {a: '${schema.spec.s}'}}}}
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_resources_decides_only_ties(resources in acyclic(), shuffled in Just(()).prop_perturb(|(), mut rng| {
        let mut order: Vec<usize> = (0..9).collect();
        for i in (1..9).rev() {
            order.swap(i, (rng.next_u32() as usize) % (i + 1));
        }
        order
    })) {
        let first = compile(&with(resources.clone()), &Options::default(), &kinds()).unwrap();
        let other = shuffled.iter().map(|i| resources[*i].clone()).collect();
        let second = compile(&with(other), &Options::default(), &kinds()).unwrap();
        prop_assert_eq!(essence(&first), essence(&second));
        for graph in [&first, &second] {
            for (index, node) in graph.nodes.iter().enumerate() {
                prop_assert!(node.dependencies.iter().all(|d| *d < index));
            }
        }
    }

    #[test]
    fn compiling_is_deterministic_and_never_panics(
        template in any_json(), status in any_json(), spec in any_json(), condition in "\\$?\\{?[a-z.=' ]{0,12}\\}?",
        expressions in prop::collection::vec(expression(), 5),
    ) {
        let mut definition = with(vec![config_map("n0", &[]), config_map("n1", &[])]);
        definition.spec.resources[1].template = Some(template);
        definition.spec.resources[1].include_when = vec![condition.clone()];
        definition.spec.resources[0].ready_when = vec![condition];
        definition.spec.schema.status = status;
        definition.spec.schema.spec = spec;
        let text = |i: usize| format!("${{{}}}", expressions[i]);
        let mut typed = config_map("t", &[]);
        typed.template = Some(json!({
            "apiVersion": "x.io/v1", "kind": "Typed", "metadata": {"name": text(0)}, "spec": {"whole": text(1), "texts": text(2)},
        }));
        typed.include_when = vec![text(3)];
        typed.for_each = vec![[("i".to_owned(), text(4))].into()];
        definition.spec.resources.push(typed);
        let first = compile(&definition, &Options::default(), &kinds());
        let second = compile(&definition, &Options::default(), &kinds());
        match (first, second) {
            (Ok(a), Ok(b)) => prop_assert_eq!(essence(&a), essence(&b)),
            (Err(a), Err(b)) => {
                prop_assert!(!a.is_empty());
                prop_assert_eq!(a, b);
            }
            _ => prop_assert!(false, "one compiled, the other did not"),
        }
    }

    /// What the checker lets through has, at run time, the types that it has judged by.
    #[test]
    fn a_checked_expression_finds_its_functions(expression in expression()) {
        let typed = "- {id: t, template: {apiVersion: x.io/v1, kind: Typed, metadata: {name: t}}}\n";
        let text = json!(format!("${{{expression}}}")).to_string();
        let yaml = app(&format!("{typed}{}", free("x", &text, "")));
        if compile(&rgd(&yaml), &Options::default(), &kinds()).is_ok() {
            let found = evaluate(&yaml, full_spec(), json!({"t": {"status": full_status()}}));
            prop_assert!(!found.node("x").contains("overload"), "{}: {}", expression, found.node("x"));
        }
    }

    /// What may go into a field, by its types, is there what the field holds.
    #[test]
    fn what_fits_a_field_is_what_it_holds(
        expression in expression(), field in prop::sample::select(vec!["text", "whole", "number", "flag", "texts", "blob"]),
    ) {
        let typed = "- {id: t, template: {apiVersion: x.io/v1, kind: Typed, metadata: {name: t}}}\n";
        let text = json!(format!("${{{expression}}}"));
        let yaml = app(&format!(
            "{typed}- id: x\n  template: {{apiVersion: x.io/v1, kind: Typed, metadata: {{name: x}}, spec: {{{field}: {text}}}}}"
        ));
        if compile(&rgd(&yaml), &Options::default(), &kinds()).is_ok() {
            let found = evaluate(&yaml, full_spec(), json!({"t": {"status": full_status()}}));
            let value = &found.object("x")["spec"][field];
            let fits = match field {
                "text" | "blob" => value.is_string(),
                "whole" => value.is_i64(),
                "number" => value.is_number(),
                "flag" => value.is_boolean(),
                _ => value.as_array().is_some_and(|l| l.iter().all(Value::is_string)),
            };
            prop_assert!(fits || value.is_null(), "{}: {} {}", field, expression, value);
        }
    }

    #[test]
    fn no_instance_and_no_observation_panics(parent in any_json(), seen in any_json(), spec in any_json()) {
        let graph = graph(TYPED);
        let mut parent = parent;
        if let Some(parent) = parent.as_object_mut() {
            parent.insert("spec".into(), spec);
        }
        let mut pass = Pass::new(&graph, &parent, &Value::Null);
        for index in 0..graph.nodes.len() {
            let _ = pass.included(index);
            let count = pass.render(index).map_or(0, |r| r.len());
            let _ = pass.reference(index);
            pass.observe(index, &[&seen], count);
            let _ = pass.readiness(index);
        }
        let _ = pass.status();
        let _ = pass.conditions(&seen);
    }
}
