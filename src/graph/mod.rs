//! stub until merge
use crate::api::*;
use serde_json::Value;
use std::collections::BTreeSet;
#[derive(Debug)]
pub struct Graph {
    pub rgd_name: String,
    pub rgd_uid: String,
    pub hash: String,
    pub generation: i64,
    pub gvk: Gvk,
    pub crd: Value,
    pub nodes: Vec<Node>,
    pub resources: Vec<rgd::ResourceInformation>,
}
#[derive(Debug)]
pub struct Node {
    pub id: String,
    pub gvk: Gvk,
    pub apply_order: u32,
    pub on_existing: Option<OnExisting>,
}
#[derive(Debug, Clone, Copy)]
pub enum OnExisting {
    Adopt,
    AdoptIfEqual,
    Fail,
}
pub struct Rendered {
    pub object: Value,
    pub item: Option<(usize, usize)>,
}
pub enum EvalError {
    Pending { message: String },
    Fatal { message: String },
}
pub enum Readiness {
    Waiting(String),
    Ready,
    Failed(String),
    Skipped,
}
pub struct Pass<'g>(&'g Graph);
impl Graph {
    pub fn group_kinds(&self) -> BTreeSet<GroupKind> {
        BTreeSet::new()
    }
    pub fn literal_namespaces(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
    pub fn crd_hash(&self) -> String {
        String::new()
    }
}
impl<'g> Pass<'g> {
    pub fn new(g: &'g Graph, _: &Value) -> Self {
        Self(g)
    }
    pub fn included(&mut self, _: usize) -> Result<bool, EvalError> {
        Ok(true)
    }
    pub fn render(&mut self, _: usize) -> Result<Vec<Rendered>, EvalError> {
        Ok(vec![])
    }
    pub fn observe(&mut self, _: usize, _: &[&Value], _: usize) {}
    pub fn readiness(&self, _: usize) -> &Readiness {
        &Readiness::Ready
    }
    pub fn status(&self) -> (serde_json::Map<String, Value>, Vec<String>) {
        Default::default()
    }
}
#[derive(Clone, Debug, Default)]
pub struct Limits {}
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
pub fn compile(_: &ResourceGraphDefinition, _: &Limits) -> Result<Graph, Vec<Diagnostic>> {
    Err(vec![])
}
