//! Resources that let whoever makes an instance say in which namespace the hub writes or reads, with rights that they may not
//! have.

use super::expressions;
use super::finding::Rule;
use super::report_to::{Findings, Words};
use super::source::Object;
use super::yaml::Node;
use crate::cel::FieldPath;
use std::collections::BTreeSet;

const HELP_TO_WRITE: &str = "leave metadata.namespace out: the instance's own is taken; or let Clusters refuse other \
                             namespaces: spec.childNamespaces: {policy: Own}";

/// An instance without a namespace of its own has to say one, and is made by people with rights in all of them.
pub fn check(object: &Object, findings: &mut Findings<'_>) {
    let resources = object.node.at(&["spec", "resources"]).map(Node::items).unwrap_or_default();
    let scope = object.node.at(&["spec", "schema", "scope"]).and_then(Node::text);
    if scope == Some("Cluster") {
        return;
    }
    for (position, resource) in resources.iter().enumerate() {
        for (field, does, help) in [
            ("template", "write into", HELP_TO_WRITE),
            ("externalRef", "read in", "leave metadata.namespace out: the instance's own is taken"),
        ] {
            let Some(namespace) = resource.at(&[field, "metadata", "namespace"]) else { continue };
            let path = format!("spec.resources[{position}].{field}.metadata.namespace");
            let chosen = chosen_lists(resource);
            let mut reads = expressions::within(namespace, &path).into_iter().flat_map(|found| found.paths);
            if let Some(read) = reads.find(|read| is_chosen(read, &chosen)) {
                let message = format!(
                    "{} is the word of whoever makes an instance: the hub would {does} any namespace for them, kube-system \
                     included",
                    read.steps.join(".")
                );
                let words = Words { message, help: Some(help.to_owned()) };
                findings.warn_at_path(object, Rule::Namespace, &path, words);
            }
        }
    }
}

/// Iterators over what the instance says.
fn chosen_lists(resource: &Node) -> BTreeSet<String> {
    let dimensions = resource.get("forEach").map(Node::items).unwrap_or_default();
    let all = dimensions.iter().flat_map(Node::entries);
    let said = all.filter(|(_, list)| {
        let reads = expressions::within(list, "").into_iter().flat_map(|found| found.paths);
        reads.into_iter().any(|read| is_chosen(&read, &BTreeSet::new()))
    });
    said.map(|(key, _)| key.text.clone()).collect()
}

/// Everything of the instance but where it is.
fn is_chosen(read: &FieldPath, lists: &BTreeSet<String>) -> bool {
    let steps: Vec<&str> = read.steps.iter().map(String::as_str).collect();
    match steps.as_slice() {
        ["schema", "metadata", "namespace", ..] => false,
        ["schema", ..] => true,
        [name, ..] => lists.contains(*name),
        [] => false,
    }
}
