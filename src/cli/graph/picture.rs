//! What a picture of a definition shows, and its forms in text.

use crate::cli::validate::{Node, expressions_within};
use crate::graph::{External, Graph};
use serde_json::json;
use std::collections::BTreeMap;

pub struct Picture {
    /// `Kind (definition)`.
    pub title: String,
    /// In the order they are applied.
    pub parts: Vec<Part>,
    pub edges: Vec<Edge>,
}

pub struct Part {
    pub id: String,
    pub api_version: String,
    pub kind: String,
    /// `forEach`, or all objects with certain labels.
    pub collection: bool,
    /// `includeWhen`.
    pub conditional: bool,
    /// The node is read and never written.
    pub external: bool,
    pub on_hub: bool,
}

impl Part {
    /// What is special about it.
    pub fn marks(&self) -> Vec<&'static str> {
        let marks = [
            (self.collection, "many"),
            (self.conditional, "conditional"),
            (self.external, "external"),
            (self.on_hub, "on the hub"),
        ];
        marks.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect()
    }

    pub fn subtitle(&self) -> String {
        match self.marks().as_slice() {
            [] => self.kind.clone(),
            marks => format!("{} · {}", self.kind, marks.join(", ")),
        }
    }
}

/// `to` reads `from`.
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// The fields whose expressions read it, as paths below the resource.
    pub fields: Vec<String>,
}

impl Edge {
    /// The first field by its last two names, and how many more there are.
    pub fn label(&self) -> String {
        let first = self.fields.first().map_or("", String::as_str);
        let names: Vec<&str> = first.split('.').collect();
        let short = names.get(names.len().saturating_sub(2)..).unwrap_or_default().join(".");
        match self.fields.len() {
            0 | 1 => short,
            n => format!("{short} +{}", n - 1),
        }
    }
}

impl Picture {
    pub fn new(definition: &Node, graph: &Graph) -> Self {
        let resources = definition.at(&["spec", "resources"]).map(Node::items).unwrap_or_default();
        let id_of = |resource: &Node| resource.get("id").and_then(Node::text).unwrap_or_default().to_owned();
        let by_id: BTreeMap<String, &Node> = resources.iter().map(|r| (id_of(r), r)).collect();
        let index: BTreeMap<&str, usize> =
            graph.nodes.iter().enumerate().map(|(i, n)| (n.id.as_str(), i)).collect();
        let mut parts = Vec::new();
        let mut edges: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for (to, node) in graph.nodes.iter().enumerate() {
            let resource = by_id.get(&node.id);
            let conditions = resource.and_then(|r| r.get("includeWhen")).map(Node::items).unwrap_or_default();
            parts.push(Part {
                id: node.id.clone(),
                api_version: node.gvk.api_version(),
                kind: node.gvk.kind.to_string(),
                collection: node.is_collection(),
                conditional: !conditions.is_empty(),
                external: matches!(node.external, Some(External::Named | External::Selected)),
                on_hub: node.on_hub,
            });
            for key in ["forEach", "includeWhen", "template", "externalRef"] {
                let Some(part) = resource.and_then(|r| r.get(key)) else { continue };
                for found in expressions_within(part, key) {
                    let path = found.path.strip_prefix("template.").unwrap_or(&found.path);
                    for from in found.variables.iter().filter_map(|v| index.get(v.as_str())) {
                        if *from != to {
                            edges.entry((*from, to)).or_default().push(path.to_owned());
                        }
                    }
                }
            }
        }
        Self {
            title: format!("{} ({})", graph.gvk.kind, graph.rgd_name),
            parts,
            edges: edges.into_iter().map(|((from, to), fields)| Edge { from, to, fields }).collect(),
        }
    }

    pub fn mermaid(&self) -> String {
        let safe = |t: &str| t.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let mut out = format!("---\ntitle: {}\n---\nflowchart TD\n", self.title);
        for (i, part) in self.parts.iter().enumerate() {
            let (open, close) = match (part.external, part.collection) {
                (true, _) => ("([", "])"),
                (_, true) => ("[[", "]]"),
                _ => ("[", "]"),
            };
            out.push_str(&format!(
                "  n{i}{open}\"{}<br/>{}\"{close}\n",
                safe(&part.id),
                safe(&part.subtitle())
            ));
        }
        for edge in &self.edges {
            out.push_str(&format!("  n{} -->|\"{}\"| n{}\n", edge.from, safe(&edge.label()), edge.to));
        }
        let dashed: Vec<String> = self
            .parts
            .iter()
            .enumerate()
            .filter(|(_, p)| p.conditional)
            .map(|(i, _)| format!("n{i}"))
            .collect();
        if !dashed.is_empty() {
            out.push_str(&format!(
                "  classDef conditional stroke-dasharray: 5 4\n  class {} conditional\n",
                dashed.join(",")
            ));
        }
        out
    }

    pub fn dot(&self) -> String {
        let text = |t: &str| format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\""));
        let mut out = format!(
            "digraph {} {{\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
            text(&self.title)
        );
        out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
        for part in &self.parts {
            let style = if part.conditional { "rounded,dashed" } else { "rounded" };
            let many = if part.collection { ", peripheries=2" } else { "" };
            let shape = if part.external { ", shape=ellipse" } else { "" };
            // The line break is DOT's own escape, so it is put between texts that are escaped already.
            let label = text(&part.id).trim_end_matches('"').to_owned()
                + "\\n"
                + text(&part.subtitle()).trim_start_matches('"');
            out.push_str(&format!("  {} [label={label}, style=\"{style}\"{many}{shape}];\n", text(&part.id)));
        }
        let id = |i: usize| self.parts.get(i).map_or(String::new(), |p| text(&p.id));
        for edge in &self.edges {
            out.push_str(&format!(
                "  {} -> {} [label={}];\n",
                id(edge.from),
                id(edge.to),
                text(&edge.label())
            ));
        }
        out.push_str("}\n");
        out
    }

    pub fn json(&self) -> String {
        let id = |i: usize| self.parts.get(i).map_or("", |p| p.id.as_str());
        let nodes: Vec<_> = self
            .parts
            .iter()
            .map(|p| {
                json!({"id": p.id, "apiVersion": p.api_version, "kind": p.kind, "collection": p.collection,
                    "conditional": p.conditional, "external": p.external, "onHub": p.on_hub})
            })
            .collect();
        let edges: Vec<_> = self
            .edges
            .iter()
            .map(|e| json!({"from": id(e.from), "to": id(e.to), "fields": e.fields}))
            .collect();
        let all = json!({"title": self.title, "nodes": nodes, "edges": edges});
        serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
    }
}
