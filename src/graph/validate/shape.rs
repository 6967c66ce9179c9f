//! The outer form of a resource: a template with kind, version and metadata, in the right scope.

use super::{annotations, external};
use crate::api::rgd::{Resource, Scope};
use crate::api::{Gvk, naming};
use crate::cel::template::{Text, split};
use crate::graph::diagnostic::{Path, Problems};
use crate::graph::{External, OnExisting};
use crate::schema::kinds::{Kinds, Served};
use serde_json::{Map, Value};

/// What the outer form tells, where it is right.
pub struct Shape {
    pub gvk: Gvk,
    pub served: Served,
    pub external: Option<External>,
    pub on_existing: Option<OnExisting>,
    /// `metadata.namespace`, when it is a literal.
    pub namespace: Option<String>,
}

impl Shape {
    /// The template is a CustomResourceDefinition. It is taken as it is, since its schema is recursive.
    pub fn is_crd(&self) -> bool {
        &*self.gvk.group == "apiextensions.k8s.io" && &*self.gvk.kind == "CustomResourceDefinition"
    }
    pub fn is_namespaced(&self) -> Option<bool> {
        self.served.kind().map(|k| k.namespaced)
    }
}

pub fn check(
    resource: &Resource,
    position: usize,
    instance: Scope,
    kinds: &dyn Kinds,
    problems: &mut Problems,
) -> Option<Shape> {
    let path = Path::resource(position);
    match (&resource.template, &resource.external_ref) {
        (Some(template), None) => of_template(template, &path.key("template"), instance, kinds, problems),
        (None, Some(reference)) => {
            if !resource.for_each.is_empty() {
                problems.add(&path.key("forEach"), "cannot use externalRef with forEach");
            }
            external::check(reference, &path.key("externalRef"), instance, kinds, problems)
        }
        _ => {
            problems.add(&path, "exactly one of template or externalRef must be provided");
            None
        }
    }
}

fn of_template(
    template: &Value,
    path: &Path,
    instance: Scope,
    kinds: &dyn Kinds,
    problems: &mut Problems,
) -> Option<Shape> {
    let Some(template) = template.as_object() else {
        problems.add(path, "the template is not an object");
        return None;
    };
    let gvk = kind(template, path, problems);
    let metadata_path = path.key("metadata");
    let metadata = match template.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(Value::Null) | None => {
            problems.add_with_help(
                path,
                "metadata field is missing",
                Some("give the template metadata with a name".into()),
            );
            return None;
        }
        Some(_) => {
            problems.add(&metadata_path, "metadata field is not a map");
            return None;
        }
    };
    let on_existing = annotations::of_template(metadata, &metadata_path, problems);
    if matches!(metadata.get("name"), None | Some(Value::Null)) || metadata.get("name") == Some(&"".into()) {
        problems.add(&metadata_path, "metadata.name is missing");
    }
    let namespace = metadata.get("namespace").filter(|n| !n.is_null());
    let gvk = gvk?;
    literal_names(&gvk, metadata, &metadata_path, problems);
    let served = served(&gvk, kinds, path, problems);
    let shape = Shape {
        gvk,
        served,
        external: None,
        on_existing,
        namespace: namespace
            .and_then(Value::as_str)
            .filter(|n| !n.is_empty() && !n.contains("${"))
            .map(str::to_owned),
    };
    placed(&shape, namespace, instance, &metadata_path, problems);
    Some(shape)
}

/// A name or a namespace that is written out and that no object can have.
pub(super) fn literal_names(gvk: &Gvk, metadata: &Map<String, Value>, path: &Path, problems: &mut Problems) {
    let literal = |field: &str| {
        let text = metadata.get(field).and_then(Value::as_str).filter(|t| !t.trim().is_empty())?;
        matches!(split(text), Ok(Text::Literal(_))).then_some(text)
    };
    let mut judge = |field: &str, verdict: &dyn Fn(&str) -> Result<(), &'static str>| {
        if let Some(text) = literal(field)
            && let Err(why) = verdict(text)
        {
            problems.add(&path.key(field), format!("metadata.{field} {text:?}: {why}"));
        }
    };
    judge("name", &|text| naming::object(&gvk.group_kind(), text));
    judge("namespace", &naming::namespace);
}

/// Whether there is such a kind.
pub(super) fn served(gvk: &Gvk, kinds: &dyn Kinds, path: &Path, problems: &mut Problems) -> Served {
    let served = kinds.find(gvk);
    if served == Served::No {
        problems.add_with_help(
            &path.key("kind"),
            format!("failed to get schema for {gvk}: no such kind is served"),
            Some("correct apiVersion and kind, or install its CustomResourceDefinition".into()),
        );
    }
    served
}

pub(super) fn kind(template: &Map<String, Value>, path: &Path, problems: &mut Problems) -> Option<Gvk> {
    let mut literal = |field: &str| match template.get(field) {
        Some(Value::String(text)) if text.contains("${") => {
            problems.add(&path.key(field), format!("{field} must be literal text, not an expression"));
            None
        }
        Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
        Some(Value::String(_) | Value::Null) | None => {
            problems.add(path, format!("{field} field is missing"));
            None
        }
        Some(_) => {
            problems.add(&path.key(field), format!("{field} field is not a string"));
            None
        }
    };
    let (api_version, kind) = (literal("apiVersion"), literal("kind"));
    let (api_version, kind) = (api_version?, kind?);
    let parts: Vec<&str> = api_version.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|p| p.trim().is_empty()) {
        let message = format!("{api_version:?} is not a group and version");
        problems.add_with_help(&path.key("apiVersion"), message, Some("write v1 or apps/v1".into()));
        return None;
    }
    if !is_dns_1035_label(&kind.to_lowercase()) {
        problems.add(&path.key("kind"), format!("{kind:?} is not a valid kind"));
        return None;
    }
    Some(Gvk::from_api(api_version, kind))
}

fn is_dns_1035_label(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || c == '-')
}

/// Scope against namespace.
fn placed(shape: &Shape, namespace: Option<&Value>, instance: Scope, path: &Path, problems: &mut Problems) {
    let Some(namespaced) = shape.is_namespaced() else { return };
    let kind = &shape.gvk.kind;
    let blank = namespace.is_none_or(|n| n.as_str().is_some_and(|n| n.trim().is_empty()));
    if !namespaced && namespace.is_some() {
        let message = format!("{kind} is cluster-scoped and must not set metadata.namespace");
        problems.add(&path.key("namespace"), message);
    }
    if namespaced && blank && instance == Scope::Cluster {
        let message = format!(
            "{kind} is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped"
        );
        problems.add(path, message);
    }
}
