//! A resource of a definition: its expressions compiled, each judged where it stands.

use super::diagnostic::{Path, Problems};
use super::expression::{Expressions, Use};
use super::template::Template;
use super::validate::place::{self, Known, Place};
use super::validate::shape::Shape;
use super::validate::values::{self, Field};
use super::validate::{external, identity, types};
use super::variables::{Variables, object_meta};
use super::{Dimension, External, Options};
use crate::api::rgd::{Resource, Scope};
use crate::cel::{Decls, Type};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A resource as far as it could be read.
pub struct Draft {
    pub id: String,
    /// The object that is applied; of an external reference its metadata.
    pub template: Template,
    pub for_each: Vec<Dimension>,
    pub include_when: Vec<Use>,
    pub ready_when: Vec<Use>,
    /// The ids that it reads, each with the first expression that does.
    pub reads: BTreeMap<String, Use>,
    /// All expressions that decide what is rendered; those of readyWhen are not among them.
    pub uses: Vec<Use>,
}

/// What is known of a resource whose template is read.
struct Around<'a> {
    shape: Option<&'a Shape>,
    iterators: &'a [String],
    /// The types of all that its expressions may name.
    decls: &'a Decls,
}

impl Draft {
    fn note(&mut self, reads: BTreeSet<String>, usage: &Use) {
        for id in reads {
            self.reads.entry(id).or_insert_with(|| usage.clone());
        }
        self.uses.push(usage.clone());
    }
}

pub struct Reader<'a> {
    pub scope: Scope,
    pub options: &'a Options,
    pub known: Known<'a>,
    pub variables: &'a Variables<'a>,
    pub expressions: Expressions,
    pub problems: Problems,
}

impl Reader<'_> {
    pub fn resource(&mut self, position: usize, resource: &Resource, shape: Option<&Shape>) -> Draft {
        let path = Path::resource(position);
        let mut draft = Draft {
            id: resource.id.clone(),
            template: Template::Literal(Value::Null),
            for_each: Vec::new(),
            include_when: Vec::new(),
            ready_when: Vec::new(),
            reads: BTreeMap::new(),
            uses: Vec::new(),
        };
        let iterators = self.iterators(position, resource);
        let items = self.dimensions(resource, &path.key("forEach"), &iterators, &mut draft);
        let decls = self.variables.with(&items);
        match (&resource.template, &resource.external_ref) {
            (Some(template), _) => {
                let around = Around { shape, iterators: &iterators, decls: &decls };
                self.template(template, &path.key("template"), around, &mut draft);
            }
            (None, Some(reference)) => {
                self.reference(reference, &path.key("externalRef"), &decls, &mut draft);
            }
            (None, None) => {}
        }
        self.conditions(resource, &path, shape, &mut draft);
        draft
    }

    /// The iterators of a resource, each name checked.
    fn iterators(&mut self, position: usize, resource: &Resource) -> Vec<String> {
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
                if self.known.ids.contains(name.as_str()) {
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

    /// Reads the dimensions; the iterators and their types.
    fn dimensions(
        &mut self,
        resource: &Resource,
        path: &Path,
        iterators: &[String],
        draft: &mut Draft,
    ) -> Vec<(String, Type)> {
        let mut items = Vec::new();
        for (i, dimension) in resource.for_each.iter().enumerate() {
            for (name, text) in dimension {
                let path = path.index(i).key(name);
                let mut item = Type::Dyn;
                if let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) {
                    let place = Place::ForEach { own: &draft.id, iterators };
                    let reads = place::check(&usage, place, &self.known, &mut self.problems);
                    let typed = self.variables.are_typed(usage.expression.program.variables(), &draft.id);
                    if !reads.wrong {
                        let found = types::items(&usage, self.variables.all(), typed, &mut self.problems);
                        // A problem of the list is reported once, and not again wherever its items are used.
                        item = found.unwrap_or(Type::Dyn);
                    }
                    draft.for_each.push(Dimension {
                        iterator: name.clone(),
                        expression: usage.expression.clone(),
                        of_instance: reads.ids.is_empty(),
                        item: item.clone(),
                    });
                    draft.note(reads.ids, &usage);
                }
                items.push((name.clone(), item));
            }
        }
        items
    }

    fn template(
        &mut self,
        template: &Value,
        path: &Path,
        Around { shape, iterators, decls }: Around,
        draft: &mut Draft,
    ) {
        let (read, uses) = self.expressions.read(template, path, &mut self.problems);
        draft.template = read;
        let verbatim = shape.is_some_and(Shape::is_crd);
        let known = shape.filter(|_| !verbatim).and_then(|s| s.served.kind());
        // The schema of metadata is known even where that of the kind is not.
        let bare = json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"metadata": object_meta()},
        });
        let root = Field::Schema(known.map_or(&bare, |kind| &kind.schema));
        if template.is_object() {
            values::check(template, root, path, &mut self.problems);
        }
        let metadata = path.key("metadata");
        let identity = [metadata.key("name"), metadata.key("namespace")];
        let mut missing: BTreeSet<&String> = iterators.iter().collect();
        for usage in &uses {
            let text = &usage.expression.text;
            let place = Place::Template { own: &draft.id, iterators };
            let reads = place::check(usage, place, &self.known, &mut self.problems);
            if !reads.wrong {
                let target = types::Target { id: &draft.id, path, root };
                types::field(usage, target, decls, &mut self.problems);
            }
            draft.note(reads.ids, usage);
            if identity.contains(&usage.path) {
                missing.retain(|i| !usage.expression.reads(i));
                self.may_not_omit(usage, shape, &metadata);
            }
            if verbatim && !usage.path.is_within(&metadata) {
                let message =
                    format!("{text}: CEL expressions in CRDs are only supported for metadata fields");
                self.problems.add(&usage.path, message);
            }
        }
        draft.template.encode(path, &|place| {
            let Field::Schema(schema) = root.at(place.below(path)?) else { return None };
            Type::from_openapi(schema, "field").filter(Type::holds_bytes).map(Arc::new)
        });
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

    /// An object needs a name. It needs a namespace too where nothing else says which.
    fn may_not_omit(&mut self, usage: &Use, shape: Option<&Shape>, metadata: &Path) {
        let is_name = usage.path == metadata.key("name");
        let must_be_placed =
            self.scope == Scope::Cluster && shape.and_then(Shape::is_namespaced) != Some(false);
        if usage.expression.program.functions().contains("omit") && (is_name || must_be_placed) {
            let field = if is_name { "metadata.name" } else { "metadata.namespace" };
            let message = format!("{}: omit() cannot be used for {field}", usage.expression.text);
            self.problems.add(&usage.path, message);
        }
    }

    fn reference(&mut self, reference: &Value, path: &Path, decls: &Decls, draft: &mut Draft) {
        let metadata = reference.get("metadata").unwrap_or(&Value::Null);
        let (read, uses) = self.expressions.read(metadata, &path.key("metadata"), &mut self.problems);
        draft.template = read;
        let schema = external::schema(metadata);
        for usage in &uses {
            let place = Place::Template { own: &draft.id, iterators: &[] };
            let reads = place::check(usage, place, &self.known, &mut self.problems);
            if !reads.wrong {
                let target = types::Target { id: &draft.id, path, root: Field::Schema(&schema) };
                types::field(usage, target, decls, &mut self.problems);
            }
            draft.note(reads.ids, usage);
        }
    }

    fn conditions(&mut self, resource: &Resource, path: &Path, shape: Option<&Shape>, draft: &mut Draft) {
        let include_path = path.key("includeWhen");
        for (i, text) in resource.include_when.iter().enumerate() {
            let path = include_path.index(i);
            let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) else { continue };
            let place = Place::IncludeWhen { own: &draft.id };
            let reads = place::check(&usage, place, &self.known, &mut self.problems);
            if !reads.wrong {
                let typed = self.variables.are_typed(usage.expression.program.variables(), &draft.id);
                types::condition(&usage, "includeWhen", self.variables.all(), typed, &mut self.problems);
            }
            draft.note(reads.ids, &usage);
            draft.include_when.push(usage);
        }
        let selected = shape.is_some_and(|s| s.external == Some(External::Selected));
        let collection = !resource.for_each.is_empty();
        let own = self.variables.own(&draft.id, collection || selected);
        let ready_path = path.key("readyWhen");
        for (i, text) in resource.ready_when.iter().enumerate() {
            let path = ready_path.index(i);
            let Some(usage) = self.expressions.standalone(text, &path, &mut self.problems) else { continue };
            let place = Place::ReadyWhen { own: &draft.id, each: collection || selected, id: !collection };
            if !place::check(&usage, place, &self.known, &mut self.problems).wrong {
                let typed = self.variables.are_typed(usage.expression.program.variables(), &draft.id);
                types::condition(&usage, "readyWhen", &own, typed, &mut self.problems);
            }
            draft.ready_when.push(usage);
        }
    }
}
