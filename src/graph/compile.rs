//! From a definition to a graph, or to everything that is wrong with it.

use super::diagnostic::{Diagnostic, Path, Problems};
use super::evident::Schemas;
use super::expression::{Expressions, Use};
use super::template::Template;
use super::validate::place::{self, Known, Place};
use super::validate::shape::{self, Shape};
use super::validate::{annotations, fields, identity};
use super::{Dimension, Graph, Node, Options, hash, order, status};
use crate::api::keys::kro;
use crate::api::rgd::{Dependency, Resource, ResourceGraphDefinition, ResourceInformation};
use crate::schema::kinds::Kinds;
use crate::schema::{crd, simple};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Compiles a definition for a cluster that serves these kinds.
///
/// What `kinds` says it does not serve is a problem; of what it does not know, anything is believed.
///
/// # Errors
/// All problems at once, in the order of the definition.
pub fn compile(
    rgd: &ResourceGraphDefinition,
    options: &Options,
    _kinds: &dyn Kinds,
) -> Result<Graph, Vec<Diagnostic>> {
    let mut rgd = rgd.clone();
    if rgd.spec.schema.group.is_empty() {
        rgd.spec.schema.group = kro::GROUP.to_owned();
    }
    let mut problems = Problems::default();
    identity::check(&rgd, &mut problems);
    annotations::of_definition(&rgd, &mut problems);

    let spec = instance_spec(&rgd, &mut problems);
    let instance = fields::instance(spec.as_ref(), rgd.spec.schema.scope);
    let schemas = Schemas::from([("schema".to_owned(), instance)]);
    let ids: BTreeSet<&str> = rgd.spec.resources.iter().map(|r| r.id.as_str()).collect();
    let secrets: BTreeSet<&str> =
        rgd.spec.resources.iter().filter(|r| is_secret(r)).map(|r| r.id.as_str()).collect();
    let known = Known { ids: &ids, secrets: &secrets, schemas: &schemas };

    let mut reader = Reader { rgd: &rgd, options, expressions: Expressions::default(), problems };
    let drafts: Vec<Draft> = rgd
        .spec
        .resources
        .iter()
        .enumerate()
        .map(|(position, resource)| reader.resource(position, resource, &known))
        .collect();
    let Reader { mut expressions, mut problems, .. } = reader;
    let status = status::compile(&rgd.spec.schema.status, &mut expressions, &known, &mut problems);

    let needs = dependencies(&rgd, &drafts);
    let order = order::topological(&needs);
    if let Err(cycles) = &order {
        for cycle in cycles {
            report_cycle(cycle, &rgd, &drafts, &mut problems);
        }
    }
    let (Ok(order), Some(spec), true) = (order, spec, problems.is_empty()) else {
        return Err(problems.into_sorted());
    };
    let crd = crd::generate(&rgd, spec, status.schema.clone());
    let (nodes, resources) = nodes(drafts, &needs, &order);
    Ok(Graph {
        rgd_name: rgd.metadata.name.clone(),
        rgd_uid: rgd.metadata.uid.clone(),
        hash: hash::spec(&rgd.spec),
        generation: rgd.metadata.generation,
        gvk: rgd.spec.schema.gvk(),
        crd_hash: crate::api::hash::json_hex(&crd),
        crd,
        nodes,
        resources,
        status: status.fields,
        slots: expressions.count(),
        options: options.clone(),
    })
}

fn is_secret(resource: &Resource) -> bool {
    let is = |key: &str, text: &str| {
        let field = resource.template.as_ref().and_then(|t| t.get(key));
        field.and_then(Value::as_str) == Some(text)
    };
    is("apiVersion", "v1") && is("kind", "Secret")
}

/// OpenAPI of the instance's spec; `None` when it has problems.
fn instance_spec(rgd: &ResourceGraphDefinition, problems: &mut Problems) -> Option<Value> {
    let filled = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
    match simple::openapi(&filled(&rgd.spec.schema.spec), &filled(&rgd.spec.schema.types)) {
        Ok(spec) => Some(spec),
        Err(found) => {
            for problem in found {
                problems.push(Diagnostic {
                    path: problem.path,
                    message: problem.message,
                    help: problem.help,
                });
            }
            None
        }
    }
}

/// A resource as far as it could be read.
struct Draft {
    id: String,
    shape: Option<Shape>,
    template: Template,
    for_each: Vec<Dimension>,
    include_when: Vec<Use>,
    ready_when: Vec<Use>,
    /// By id, the first expression that reads it.
    reads: BTreeMap<String, Use>,
}

struct Reader<'a> {
    rgd: &'a ResourceGraphDefinition,
    options: &'a Options,
    expressions: Expressions,
    problems: Problems,
}

impl Reader<'_> {
    fn resource(&mut self, position: usize, resource: &Resource, known: &Known<'_>) -> Draft {
        let path = Path::resource(position);
        let shape = shape::check(resource, position, self.rgd.spec.schema.scope, &mut self.problems);
        let mut draft = Draft {
            id: resource.id.clone(),
            shape,
            template: Template::Literal(Value::Null),
            for_each: Vec::new(),
            include_when: Vec::new(),
            ready_when: Vec::new(),
            reads: BTreeMap::new(),
        };
        let mut schemas = known.schemas.clone();
        let iterators = self.iterators(position, resource, known);
        self.dimensions(resource, &path.key("forEach"), &iterators, known, &mut schemas, &mut draft);
        if let Some(template) = &resource.template {
            let within = Known { schemas: &schemas, ..*known };
            self.template(template, &path.key("template"), &iterators, &within, &mut draft);
        }
        self.conditions(resource, &path, known, &mut draft);
        draft
    }

    /// The iterators of a resource, each name checked.
    fn iterators(&mut self, position: usize, resource: &Resource, known: &Known<'_>) -> Vec<String> {
        let path = Path::resource(position).key("forEach");
        let most = self.options.collection_dimensions;
        if resource.for_each.len() > most {
            let message =
                format!("forEach has {} dimensions, the maximum is {most}", resource.for_each.len());
            self.problems.add(&path, message);
        }
        let mut names: Vec<String> = Vec::new();
        for (i, dimension) in resource.for_each.iter().enumerate() {
            let path = path.index(i);
            if dimension.len() != 1 {
                let message = format!("a forEach entry has exactly one iterator, found {}", dimension.len());
                self.problems.add(&path, message);
            }
            for name in dimension.keys() {
                let path = path.key(name);
                identity::iterator(name, &path, &mut self.problems);
                if known.ids.contains(name.as_str()) {
                    let message = format!("forEach iterator name {name:?} is the id of a resource");
                    self.problems.add(&path, message);
                }
                if names.contains(name) {
                    self.problems.add(&path, format!("forEach iterator name {name:?} is used twice"));
                } else {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    fn dimensions(
        &mut self,
        resource: &Resource,
        path: &Path,
        iterators: &[String],
        known: &Known<'_>,
        schemas: &mut Schemas,
        draft: &mut Draft,
    ) {
        for (i, dimension) in resource.for_each.iter().enumerate() {
            for (name, text) in dimension {
                let path = path.index(i).key(name);
                let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) else {
                    continue;
                };
                let place = Place::ForEach { own: &draft.id, iterators };
                let reads = place::check(&usage, place, known, &mut self.problems);
                let fixed = reads.is_empty();
                draft.note(reads, &usage);
                if let Some(items) = place::items(&usage, known.schemas, &mut self.problems) {
                    schemas.insert(name.clone(), items);
                }
                draft.for_each.push(Dimension {
                    iterator: name.clone(),
                    expression: usage.expression,
                    of_instance: fixed,
                });
            }
        }
    }

    fn template(
        &mut self,
        template: &Value,
        path: &Path,
        iterators: &[String],
        known: &Known<'_>,
        draft: &mut Draft,
    ) {
        let (read, uses) = self.expressions.read(template, path, &mut self.problems);
        draft.template = read;
        let metadata = path.key("metadata");
        let identity = [metadata.key("name"), metadata.key("namespace")];
        let verbatim = draft.shape.as_ref().is_some_and(|s| {
            &*s.gvk.group == "apiextensions.k8s.io" && &*s.gvk.kind == "CustomResourceDefinition"
        });
        let mut missing: BTreeSet<&String> = iterators.iter().collect();
        for usage in &uses {
            let place = Place::Template { own: &draft.id, iterators };
            let reads = place::check(usage, place, known, &mut self.problems);
            draft.note(reads, usage);
            if identity.contains(&usage.path) {
                missing.retain(|i| !usage.expression.reads(i));
            }
            if verbatim && !usage.path.is_within(&metadata) {
                let message = format!(
                    "{}: CEL expressions in CRDs are only supported for metadata fields",
                    usage.expression.text
                );
                self.problems.add(&usage.path, message);
            }
        }
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().map(String::as_str).collect();
            let message = format!(
                "all forEach dimensions must be used to produce a unique resource identity, missing: [{}]",
                names.join(" ")
            );
            let help = "use each iterator in metadata.name or metadata.namespace".to_owned();
            self.problems.add_with_help(&metadata.key("name"), message, Some(help));
        }
    }

    fn conditions(&mut self, resource: &Resource, path: &Path, known: &Known<'_>, draft: &mut Draft) {
        let include_path = path.key("includeWhen");
        for (i, text) in resource.include_when.iter().enumerate() {
            let path = include_path.index(i);
            let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) else { continue };
            let place = Place::IncludeWhen { own: &draft.id };
            let reads = place::check(&usage, place, known, &mut self.problems);
            place::is_condition(&usage, "includeWhen", known.schemas, &mut self.problems);
            draft.note(reads, &usage);
            draft.include_when.push(usage);
        }
        let collection = !resource.for_each.is_empty();
        let ready_path = path.key("readyWhen");
        for (i, text) in resource.ready_when.iter().enumerate() {
            let path = ready_path.index(i);
            let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) else { continue };
            let variable = if collection { "each" } else { draft.id.as_str() };
            // Nothing is known of the observed object's fields, and no name but its own means anything here.
            let nothing = Known { schemas: &Schemas::new(), ..*known };
            place::check(&usage, Place::ReadyWhen { variable }, &nothing, &mut self.problems);
            place::is_condition(&usage, "readyWhen", nothing.schemas, &mut self.problems);
            draft.ready_when.push(usage);
        }
    }
}

impl Draft {
    fn note(&mut self, reads: BTreeSet<String>, usage: &Use) {
        for id in reads {
            self.reads.entry(id).or_insert_with(|| usage.clone());
        }
    }
}

/// By position, the positions that each resource depends on.
fn dependencies(rgd: &ResourceGraphDefinition, drafts: &[Draft]) -> Vec<BTreeSet<usize>> {
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, resource) in rgd.spec.resources.iter().enumerate() {
        positions.entry(resource.id.as_str()).or_insert(position);
    }
    drafts
        .iter()
        .map(|d| d.reads.keys().filter_map(|id| positions.get(id.as_str()).copied()).collect())
        .collect()
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

/// The nodes in topological order, and what the definition's status says of them.
fn nodes(
    drafts: Vec<Draft>,
    needs: &[BTreeSet<usize>],
    order: &[usize],
) -> (Vec<Node>, Vec<ResourceInformation>) {
    let apply_order = order::apply_order(needs, order);
    let index_of: BTreeMap<usize, usize> = order.iter().enumerate().map(|(index, p)| (*p, index)).collect();
    let mut drafts: BTreeMap<usize, Draft> = drafts.into_iter().enumerate().collect();
    let mut nodes: Vec<Node> = Vec::new();
    let mut resources = Vec::new();
    for position in order {
        let Some(draft) = drafts.remove(position) else { continue };
        let Some(shape) = draft.shape else { continue };
        let dependencies: BTreeSet<usize> =
            needs.get(*position).into_iter().flatten().filter_map(|p| index_of.get(p).copied()).collect();
        if !dependencies.is_empty() {
            let ids = dependencies.iter().filter_map(|i| nodes.get(*i));
            resources.push(ResourceInformation {
                id: draft.id.clone(),
                dependencies: ids.map(|n| Dependency { id: n.id.clone() }).collect(),
            });
        }
        nodes.push(Node {
            id: draft.id,
            gvk: shape.gvk,
            apply_order: apply_order.get(position).copied().unwrap_or(1),
            on_existing: shape.on_existing,
            external: None,
            on_hub: false,
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
