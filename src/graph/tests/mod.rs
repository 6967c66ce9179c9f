//! The rules of definitions, and of their evaluation, as tables.

mod cases_admission;
mod cases_collections;
mod cases_details;
mod cases_expressions;
mod cases_external;
mod cases_inclusion;
mod cases_simpleschema;
mod cases_status;
mod evaluation;
mod golden;
mod help;
mod judged;
mod kinds;
mod laws;
mod rendering;
mod sketching;
mod table;
mod vectors_cel;
mod vectors_compile;
mod vectors_runtime;
mod vectors_texts;
mod verdicts;

use super::{Graph, Options, compile};
use crate::api::ResourceGraphDefinition;
use kinds::kinds;

pub fn rgd(yaml: &str) -> ResourceGraphDefinition {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// A definition of kind App with fields of every type, and these resources.
pub fn app(resources: &str) -> String {
    format!(
        "
metadata: {{name: app, uid: r1, generation: 3}}
spec:
  schema:
    kind: App
    apiVersion: v1alpha1
    types:
      Port: {{name: string, number: integer}}
      Env: {{name: string, value: string}}
      More: {{name: string, value: string, extra: string}}
    spec:
      s: string
      n: integer
      f: float
      b: boolean
      l: '[]string'
      m: 'map[string]string'
      raw: object
      ports: '[]Port'
      env: '[]Env'
      more: '[]More'
      lists: '[][]string'
      for: string
      in: string
      opt: string
      my-field: string
      nested: {{deep: string}}
  resources:
{}
",
        indent(resources)
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A ConfigMap resource: id, then `data.k`, then whatever else the resource has.
pub fn cm(id: &str, value: &str, more: &str) -> String {
    format!(
        "- id: {id}
  template:
    apiVersion: v1
    kind: ConfigMap
    metadata: {{name: {}}}
    data: {{k: {value}}}
{}",
        id.to_lowercase().replace('_', "-"),
        indent(more)
    )
}

/// A resource of kind Free, where anything may stand: id, then `spec.k`, then whatever else the resource has.
pub fn free(id: &str, value: &str, more: &str) -> String {
    format!(
        "- id: {id}
  template:
    apiVersion: x.io/v1
    kind: Free
    metadata: {{name: {id}}}
    spec: {{k: {value}}}
{}",
        indent(more)
    )
}

pub fn graph(yaml: &str) -> Graph {
    compile(&rgd(yaml), &Options::default(), &kinds()).unwrap_or_else(|problems| {
        panic!("{}\n{yaml}", problems.iter().map(|p| format!("{p}\n")).collect::<String>())
    })
}

/// The problems of a definition, one text each.
pub fn problems(yaml: &str) -> Vec<String> {
    match compile(&rgd(yaml), &Options::default(), &kinds()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Each wanted text must be in the problem of the same position; there are no others.
pub fn check(yaml: &str, want: &[&str]) {
    let got = problems(yaml);
    let fits = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g.contains(w));
    assert!(fits, "definition:\n{yaml}\nwant: {want:#?}\ngot: {got:#?}");
}
