//! The expressions in a part of a definition, and what they read.

use super::yaml::{Content, Node};
use crate::cel::template::{Part, Text, split};
use crate::cel::{FieldPath, Program};
use serde_json::Value;
use std::collections::BTreeSet;

pub struct Found {
    pub path: String,
    pub variables: BTreeSet<String>,
    pub paths: Vec<FieldPath>,
}

/// All expressions that compile. Problems of the others are reported elsewhere.
pub fn within(node: &Node, path: &str) -> Vec<Found> {
    let mut out = Vec::new();
    walk(node, path, &mut out);
    out
}

/// The texts of a definition in which a backslash stands before an expression, with their paths.
pub fn backslashes(definition: &Node) -> Vec<(String, String)> {
    let mut out = Vec::new();
    texts(definition, "", &mut |path, text| {
        if crate::graph::backslash(text, None).is_some() {
            out.push((path.to_owned(), text.to_owned()));
        }
    });
    out
}

fn texts(node: &Node, path: &str, found: &mut dyn FnMut(&str, &str)) {
    match &node.content {
        Content::Map(entries) => {
            entries.iter().for_each(|(k, v)| texts(v, &super::structural::below(path, &k.text), found));
        }
        Content::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| texts(item, &format!("{path}[{i}]"), found));
        }
        Content::Scalar(Value::String(text), _) => found(path, text),
        Content::Scalar(..) => {}
    }
}

fn walk(node: &Node, path: &str, out: &mut Vec<Found>) {
    match &node.content {
        Content::Map(entries) => {
            for (key, value) in entries {
                walk(value, &super::structural::below(path, &key.text), out);
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), out);
            }
        }
        Content::Scalar(Value::String(text), _) => {
            let sources = match split(text) {
                Ok(Text::Standalone(source)) => vec![source],
                Ok(Text::Mixed(parts)) => parts
                    .into_iter()
                    .filter_map(|p| match p {
                        Part::Expr(source) => Some(source),
                        Part::Literal(_) => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let programs: Vec<Program> = sources.iter().filter_map(|s| Program::compile(s).ok()).collect();
            let variables: BTreeSet<String> = programs.iter().flat_map(|p| p.variables().clone()).collect();
            let paths = programs.iter().flat_map(|p| p.paths().to_vec()).collect();
            if !variables.is_empty() {
                out.push(Found { path: path.to_owned(), variables, paths });
            }
        }
        Content::Scalar(..) => {}
    }
}
