//! One evaluation of a definition, as its rows tell it.

use super::kinds::kinds;
use super::{app, free, rgd};
use crate::graph::{
    AuthorConditions, EvalError, Graph, Options, Pass, Readiness, Reference, Rendered, Target, compile,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one evaluation gave.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// By node: `ignored`, `P:` or `F:` and why, else its values.
    pub nodes: BTreeMap<String, String>,
    pub objects: BTreeMap<String, Vec<Value>>,
    /// What external references read.
    pub references: BTreeMap<String, String>,
    pub items: BTreeMap<String, Vec<Option<(usize, usize)>>>,
    pub readiness: BTreeMap<String, Readiness>,
    pub status: Value,
    pub problems: Vec<String>,
    pub conditions: AuthorConditions,
}

impl Evaluated {
    pub fn node(&self, id: &str) -> &str {
        self.nodes.get(id).map_or("no such node", String::as_str)
    }
    /// The only object of a node.
    pub fn object(&self, id: &str) -> &Value {
        self.objects.get(id).and_then(|o| o.first()).unwrap_or(&Value::Null)
    }
    /// `ready`, `skipped`, or why not.
    pub fn ready(&self, id: &str) -> String {
        match self.readiness.get(id) {
            Some(Readiness::Ready) => "ready".into(),
            Some(Readiness::Skipped) => "skipped".into(),
            Some(Readiness::Waiting(why)) => format!("waiting: {why}"),
            Some(Readiness::Failed(why)) => format!("failed: {why}"),
            None => "no such node".into(),
        }
    }
}

/// An instance `inst` in namespace `ns1`.
pub fn instance(spec: Value) -> Value {
    json!({
        "apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": "inst", "namespace": "ns1", "uid": "u1", "labels": {"team": "a"}},
        "spec": spec,
    })
}

/// Evaluates for an instance with this spec. `seen` is what the cluster shows of each node: an object, a list, or
/// `true` for what was rendered; of others it shows nothing.
pub fn evaluate(yaml: &str, spec: Value, seen: Value) -> Evaluated {
    evaluate_with(&Options::default(), yaml, &instance(spec), &seen)
}

pub fn evaluate_with(options: &Options, yaml: &str, instance: &Value, seen: &Value) -> Evaluated {
    let graph = compile(&rgd(yaml), options, &kinds())
        .unwrap_or_else(|p| panic!("{}\n{yaml}", p.iter().map(|p| format!("{p}\n")).collect::<String>()));
    run(&graph, instance, seen)
}

fn run(graph: &Graph, instance: &Value, seen: &Value) -> Evaluated {
    let mut pass = Pass::new(graph, instance, &json!({"name": "spoke1"}));
    let mut found = Evaluated::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let rendered = match pass.included(index) {
            Ok(false) => {
                found.nodes.insert(node.id.clone(), "ignored".into());
                continue;
            }
            Ok(true) => pass.render(index),
            Err(error) => Err(error),
        };
        found.nodes.insert(node.id.clone(), show(&rendered));
        if node.external.is_some() {
            found.references.insert(node.id.clone(), reference(pass.reference(index)));
        }
        let Ok(rendered) = rendered else { continue };
        let objects: Vec<Value> = rendered.iter().map(|r| r.object.clone()).collect();
        let shown: Vec<Value> = match seen.get(&node.id) {
            Some(Value::Bool(true)) => objects.clone(),
            Some(Value::Array(list)) => list.clone(),
            Some(object) => vec![object.clone()],
            None => Vec::new(),
        };
        pass.observe(index, &shown.iter().collect::<Vec<_>>(), objects.len());
        found.items.insert(node.id.clone(), rendered.iter().map(|r| r.item).collect());
        found.objects.insert(node.id.clone(), objects);
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        found.readiness.insert(node.id.clone(), pass.readiness(index).clone());
    }
    let (status, problems) = pass.status();
    found.status = Value::Object(status);
    found.problems = problems;
    found.conditions =
        pass.conditions(&json!([{"type": "Ready", "status": "False", "reason": "Own", "message": "m"}]));
    found
}

/// `name` or `[selector]`, with the namespace in front if there is one.
fn reference(result: Result<Reference, EvalError>) -> String {
    match result {
        Ok(Reference { namespace, target }) => {
            let target = match target {
                Target::Name(name) => name,
                Target::Selector(selector) => format!("[{selector}]"),
            };
            namespace.map_or(target.clone(), |n| format!("{n}/{target}"))
        }
        Err(EvalError::Pending { message }) => format!("P:{message}"),
        Err(EvalError::Fatal { message }) => format!("F:{message}"),
    }
}

fn show(rendered: &Result<Vec<Rendered>, EvalError>) -> String {
    let value = |r: &Rendered| {
        let values = ["/spec/k", "/data/k", "/data"];
        values.iter().find_map(|p| r.object.pointer(p)).unwrap_or(&Value::Null).to_string()
    };
    match rendered {
        Ok(objects) => objects.iter().map(value).collect::<Vec<_>>().join(" "),
        Err(EvalError::Pending { message }) => format!("P:{message}"),
        Err(EvalError::Fatal { message }) => format!("F:{message}"),
    }
}

/// What a text gives as a value of kind Free, which takes anything; `others` are further resources.
pub fn gives(others: &str, text: &str, spec: Value, seen: Value) -> String {
    let x = free("x", &json!(text).to_string(), "");
    evaluate(&app(&format!("{others}{x}")), spec, seen).node("x").to_owned()
}
