//! What a picture of a definition shows, and its forms in text.

use crate::cli::validate::{Node, expressions_within};
use crate::graph::{External, Graph};
use crate::view::Mark;
use crate::view::nodes::NodeLine;
use petgraph::algo::tred::{dag_to_toposorted_adjacency_list, dag_transitive_reduction_closure};
use petgraph::dot::{Config, Dot};
use petgraph::graph::{DiGraph, EdgeIndex, EdgeReference, NodeIndex};
use petgraph::visit::EdgeRef;
use serde_json::json;
use std::collections::BTreeMap;

/// What a part that stands like this is called in styles.
pub fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Ready => "ready",
        Mark::Moving => "moving",
        Mark::Failed => "failed",
        Mark::Silent => "silent",
        Mark::Absent => "absent",
        Mark::Unplaced => "unplaced",
    }
}

fn colour(mark: Mark) -> &'static str {
    match mark {
        Mark::Ready => "#1a7f37",
        Mark::Moving => "#9a6700",
        Mark::Failed => "#cf222e",
        Mark::Silent | Mark::Absent | Mark::Unplaced => "#6b7280",
    }
}

pub struct Picture {
    /// `Kind (definition)`.
    pub title: String,
    /// Parts in the order they are applied, each after all that it reads; an edge leads from what is read to its reader.
    pub graph: DiGraph<Part, Reading>,
}

#[derive(Debug)]
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
    /// How it stands, where the picture is of an instance.
    pub mark: Option<Mark>,
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

/// One part reads another.
#[derive(Debug)]
pub struct Reading {
    /// The fields whose expressions read it, as paths below the resource.
    pub fields: Vec<String>,
}

impl Reading {
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
        let mut picture = DiGraph::new();
        let mut edges: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for (to, node) in graph.nodes.iter().enumerate() {
            let resource = by_id.get(&node.id);
            let conditions = resource.and_then(|r| r.get("includeWhen")).map(Node::items).unwrap_or_default();
            picture.add_node(Part {
                id: node.id.clone(),
                api_version: node.gvk.api_version(),
                kind: node.gvk.kind.to_string(),
                collection: node.is_collection(),
                conditional: !conditions.is_empty(),
                external: matches!(node.external, Some(External::Named | External::Selected)),
                on_hub: node.on_hub,
                mark: None,
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
        for ((from, to), fields) in edges {
            picture.add_edge(NodeIndex::new(from), NodeIndex::new(to), Reading { fields });
        }
        Self { title: format!("{} ({})", graph.gvk.kind, graph.rgd_name), graph: picture }
    }

    /// The resources of an instance, as they stand.
    pub fn of_instance(title: String, nodes: &[NodeLine]) -> Self {
        let mut picture = Self { title, graph: DiGraph::new() };
        let index: BTreeMap<&str, usize> =
            nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
        for node in nodes {
            picture.graph.add_node(Part {
                id: node.id.clone(),
                api_version: node.api_version.clone(),
                kind: format!("{} · {}", node.object, node.state),
                collection: node.there > 1,
                conditional: node.excluded,
                external: node.external,
                on_hub: false,
                mark: Some(node.mark),
            });
        }
        for (to, node) in nodes.iter().enumerate() {
            for from in node.reads.iter().filter_map(|id| index.get(id.as_str())) {
                picture.graph.add_edge(
                    NodeIndex::new(*from),
                    NodeIndex::new(to),
                    Reading { fields: Vec::new() },
                );
            }
        }
        picture
    }

    /// Without the edges between parts that a longer way joins too.
    pub fn reduced(self) -> Self {
        let order: Vec<NodeIndex> = self.graph.node_indices().collect();
        let (sorted, _) = dag_to_toposorted_adjacency_list::<_, NodeIndex>(&self.graph, &order);
        let (reduced, _) = dag_transitive_reduction_closure(&sorted);
        let ends: Vec<_> = self.graph.edge_references().map(|e| (e.source(), e.target())).collect();
        let stays = |edge: EdgeIndex| {
            ends.get(edge.index()).is_some_and(|(from, to)| reduced.contains_edge(*from, *to))
        };
        let graph =
            self.graph.filter_map_owned(|_, part| Some(part), |edge, reading| stays(edge).then_some(reading));
        Self { graph, ..self }
    }

    pub fn part(&self, index: usize) -> Option<&Part> {
        self.graph.node_weight(NodeIndex::new(index))
    }

    pub fn mermaid(&self) -> String {
        let safe = |t: &str| t.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let mut out = format!("---\ntitle: {}\n---\nflowchart TD\n", self.title);
        for (i, part) in self.graph.node_weights().enumerate() {
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
        for edge in self.graph.edge_references() {
            let (from, to) = (edge.source().index(), edge.target().index());
            match edge.weight().label() {
                label if label.is_empty() => out.push_str(&format!("  n{from} --> n{to}\n")),
                label => out.push_str(&format!("  n{from} -->|\"{}\"| n{to}\n", safe(&label))),
            }
        }
        let dashed: Vec<String> = self
            .graph
            .node_weights()
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
        for mark in [Mark::Ready, Mark::Moving, Mark::Failed, Mark::Silent, Mark::Absent] {
            let parts = self.graph.node_weights().enumerate().filter(|(_, p)| p.mark == Some(mark));
            let parts: Vec<String> = parts.map(|(i, _)| format!("n{i}")).collect();
            if !parts.is_empty() {
                let (name, colour) = (class(mark), colour(mark));
                out.push_str(&format!(
                    "  classDef {name} stroke:{colour}\n  class {} {name}\n",
                    parts.join(",")
                ));
            }
        }
        out
    }

    pub fn dot(&self) -> String {
        let text = |t: &str| format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\""));
        let part = |part: &Part| {
            let style = if part.conditional { "rounded,dashed" } else { "rounded" };
            let many = if part.collection { ", peripheries=2" } else { "" };
            let shape = if part.external { ", shape=ellipse" } else { "" };
            // The line break is DOT's own escape, so it is put between texts that are escaped already.
            let label = text(&part.id).trim_end_matches('"').to_owned()
                + "\\n"
                + text(&part.subtitle()).trim_start_matches('"');
            let colour = part.mark.map(|mark| format!(", color=\"{}\"", colour(mark))).unwrap_or_default();
            format!("label={label}, style=\"{style}\"{many}{shape}{colour}")
        };
        let reading = |reading: &Reading| format!("label={}", text(&reading.label()));
        let config = [Config::GraphContentOnly, Config::NodeNoLabel, Config::EdgeNoLabel];
        let (of_node, of_edge) =
            (|_, (_, p): (_, &Part)| part(p), |_, e: EdgeReference<Reading>| reading(e.weight()));
        let content = Dot::with_attr_getters(&self.graph, &config, &of_edge, &of_node);
        format!(
            "digraph {} {{\n    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n    \
             edge [fontname=\"sans-serif\", fontsize=10];\n{content:?}}}\n",
            text(&self.title)
        )
    }

    pub fn json(&self) -> String {
        let id = |i: NodeIndex| self.graph.node_weight(i).map_or("", |p| p.id.as_str());
        let nodes: Vec<_> = self
            .graph
            .node_weights()
            .map(|p| {
                json!({"id": p.id, "apiVersion": p.api_version, "kind": p.kind, "collection": p.collection,
                    "conditional": p.conditional, "external": p.external, "onHub": p.on_hub})
            })
            .collect();
        let edges: Vec<_> = self
            .graph
            .edge_references()
            .map(|e| json!({"from": id(e.source()), "to": id(e.target()), "fields": e.weight().fields}))
            .collect();
        let all = json!({"title": self.title, "nodes": nodes, "edges": edges});
        serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
    }
}
