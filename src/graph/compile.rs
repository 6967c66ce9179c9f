//! From a definition to a graph, or to everything that is wrong with it.

use super::diagnostic::{Diagnostic, Path, Problems};
use super::expression::Expressions;
use super::order::Dependencies;
use super::read::{Draft, Reader};
use super::validate::place::Known;
use super::validate::shape::{self, Shape};
use super::validate::{annotations, hub_side, identity, rules};
use super::variables::{self, Variables};
use super::{External, Graph, Node, Options, hash, secrets, status};
use crate::api::rgd::{Dependency, ResourceGraphDefinition, ResourceInformation};
use crate::cel::Type;
use crate::schema::kinds::Kinds;
use crate::schema::{crd, simple};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Compiles a definition for a cluster that serves these kinds.
///
/// A kind that `kinds` says is not served is a problem. Of a kind that `kinds` does not know, anything is believed.
///
/// # Errors
/// All problems at once, in the order of the definition.
pub fn compile(
    rgd: &ResourceGraphDefinition,
    options: &Options,
    kinds: &dyn Kinds,
) -> Result<Graph, Vec<Diagnostic>> {
    let definition = Arc::new(rgd.clone());
    let scope = rgd.spec.schema.scope;
    let mut problems = Problems::default();
    identity::check(rgd, &mut problems);
    let libraries = annotations::cel_libraries(rgd, &mut problems);

    let spec = instance_spec(rgd, &mut problems);
    let instance = variables::Instance::new(spec.as_ref(), scope);
    let resources = rgd.spec.resources.iter().enumerate();
    let shapes: Vec<Option<Shape>> =
        resources.map(|(position, r)| shape::check(r, position, scope, kinds, &mut problems)).collect();
    let outer: Vec<(&str, Option<&Shape>, bool)> = rgd
        .spec
        .resources
        .iter()
        .zip(&shapes)
        .map(|(r, shape)| {
            let selected = shape.as_ref().is_some_and(|s| s.external == Some(External::Selected));
            (r.id.as_str(), shape.as_ref(), selected || !r.for_each.is_empty())
        })
        .collect();
    let mut variables = Variables::new(&instance, &outer);
    if spec.is_none() {
        variables.forget(variables::SCHEMA);
    }
    let variables = variables;
    let known = Known { ids: &variables.ids, omit: options.omit };

    let mut reader = Reader {
        scope,
        options,
        known,
        variables: &variables,
        expressions: Expressions::new(libraries),
        problems,
    };
    let mut drafts: Vec<Draft> = Vec::new();
    for (position, (resource, shape)) in rgd.spec.resources.iter().zip(&shapes).enumerate() {
        drafts.push(reader.resource(position, resource, shape.as_ref()));
    }
    let Reader { mut expressions, mut problems, known, .. } = reader;
    let status =
        status::compile(&rgd.spec.schema.status, &mut expressions, &known, &variables, &mut problems);
    let on_hub = hub_side::check(rgd, &drafts, &mut problems);
    let objects: Vec<Type> = rgd.spec.resources.iter().map(|r| variables.object(&r.id)).collect();

    let needs = dependencies(rgd, &drafts);
    let order = needs.topological();
    if let Err(cycles) = &order {
        for cycle in cycles {
            report_cycle(cycle, rgd, &drafts, &mut problems);
        }
    }
    let (Ok(order), Some(spec), true) = (order, spec, problems.is_empty()) else {
        return Err(problems.into_sorted());
    };
    let status_schema = options.status_schema.clone().unwrap_or(status.schema);
    let crd = crd::generate(rgd, spec, status_schema.clone());
    let cluster_reads = variables::cluster_reads(expressions.all(), |name| names_other(rgd, name));
    let variables = expressions.all().flat_map(|e| e.program.variables()).cloned().collect();
    let (nodes, resources) = nodes(Read { drafts, shapes, objects, variables }, &on_hub, &needs, &order);
    Ok(Graph {
        rgd_name: rgd.metadata.name.clone(),
        rgd_uid: rgd.metadata.uid.clone(),
        hash: hash::spec(&rgd.spec),
        generation: rgd.metadata.generation,
        annotations: crate::api::hash::json(&json!(super::meaningful_annotations(rgd))),
        gvk: rgd.spec.schema.gvk(),
        crd_hash: crate::api::hash::json_hex(&crd),
        crd,
        nodes,
        resources,
        status: status.fields,
        over_all: status.over_all,
        status_schema,
        conditions: status.conditions,
        instance: instance.schema,
        cluster_reads,
        slots: expressions.count(),
        options: options.clone(),
        definition,
    })
}

/// Whether a resource or an iterator has this name.
fn names_other(rgd: &ResourceGraphDefinition, name: &str) -> bool {
    let of = |r: &crate::api::rgd::Resource| r.id == name || r.for_each.iter().any(|d| d.contains_key(name));
    rgd.spec.resources.iter().any(of)
}

/// OpenAPI of the instance's spec; `None` when it has problems.
fn instance_spec(rgd: &ResourceGraphDefinition, problems: &mut Problems) -> Option<Value> {
    let filled = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
    match simple::openapi(&filled(&rgd.spec.schema.spec), &filled(&rgd.spec.schema.types)) {
        Ok(spec) => {
            rules::check(&spec, "spec.schema.spec", problems);
            Some(spec)
        }
        Err(found) => {
            for problem in found {
                problems.push(Diagnostic {
                    path: problem.path,
                    message: problem.message,
                    help: problem.help,
                    spot: None,
                });
            }
            None
        }
    }
}

/// Which resource reads which.
fn dependencies(rgd: &ResourceGraphDefinition, drafts: &[Draft]) -> Dependencies {
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, resource) in rgd.spec.resources.iter().enumerate() {
        positions.entry(resource.id.as_str()).or_insert(position);
    }
    let of = |d: &Draft| d.reads.keys().filter_map(|id| positions.get(id.as_str()).copied()).collect();
    Dependencies::new(&drafts.iter().map(of).collect::<Vec<_>>())
}

fn report_cycle(cycle: &[usize], rgd: &ResourceGraphDefinition, drafts: &[Draft], problems: &mut Problems) {
    let id = |position: &usize| rgd.spec.resources.get(*position).map_or("", |r| r.id.as_str());
    let around = cycle.iter().chain(cycle.first());
    let ids: Vec<&str> = around.clone().map(id).collect();
    let mut edges = Vec::new();
    let mut first_place = None;
    for (from, to) in cycle.iter().zip(around.skip(1)) {
        if let Some(usage) = drafts.get(*from).and_then(|d| d.reads.get(id(to))) {
            first_place.get_or_insert_with(|| usage.path.clone());
            edges.push(format!(
                "{} reads {} in {} at {}",
                id(from),
                id(to),
                usage.expression.text,
                usage.path
            ));
        }
    }
    let path = first_place.unwrap_or_else(|| Path::of(&["spec", "resources"]));
    let message = format!("graph contains a cycle: {} ({})", ids.join(" -> "), edges.join("; "));
    problems.add_with_help(&path, message, Some("remove one of these references".into()));
}

/// What was read of the resources, each by its position.
struct Read {
    drafts: Vec<Draft>,
    shapes: Vec<Option<Shape>>,
    objects: Vec<Type>,
    /// All that expressions read, by their names.
    variables: BTreeSet<String>,
}

/// The nodes in topological order, and what the definition's status says of them.
fn nodes(
    Read { drafts, shapes, objects, variables }: Read,
    on_hub: &BTreeSet<usize>,
    needs: &Dependencies,
    order: &[usize],
) -> (Vec<Node>, Vec<ResourceInformation>) {
    let apply_order = needs.apply_order(order);
    let index_of: BTreeMap<usize, usize> = order.iter().enumerate().map(|(index, p)| (*p, index)).collect();
    let read = drafts.into_iter().zip(shapes).zip(objects).enumerate();
    let mut read: BTreeMap<usize, ((Draft, Option<Shape>), Type)> = read.collect();
    let mut nodes: Vec<Node> = Vec::new();
    let mut resources = Vec::new();
    for position in order {
        let Some(((draft, Some(shape)), object)) = read.remove(position) else { continue };
        let dependencies: BTreeSet<usize> =
            needs.of(*position).filter_map(|p| index_of.get(&p).copied()).collect();
        if !dependencies.is_empty() {
            let ids = dependencies.iter().filter_map(|i| nodes.get(*i));
            resources.push(ResourceInformation {
                id: draft.id.clone(),
                dependencies: ids.map(|n| Dependency { id: n.id.clone() }).collect(),
            });
        }
        nodes.push(Node {
            carries_secret: secrets::carries(&draft.template, &draft.for_each, &nodes),
            is_read: variables.contains(&draft.id) || !draft.ready_when.is_empty(),
            id: draft.id,
            gvk: shape.gvk,
            apply_order: apply_order.get(position).copied().unwrap_or(1),
            on_existing: shape.on_existing,
            external: shape.external,
            on_hub: on_hub.contains(position),
            kind: shape.served.kind().cloned(),
            object,
            namespace: shape.namespace,
            dependencies: dependencies.into_iter().collect(),
            template: draft.template,
            for_each: draft.for_each,
            include_when: draft.include_when.into_iter().map(|u| u.expression).collect(),
            ready_when: draft.ready_when.into_iter().map(|u| u.expression).collect(),
        });
    }
    (nodes, resources)
}
