//! The outer form of a resource: a template with kind, version and metadata, in the right scope.

use super::{annotations, scope};
use crate::api::Gvk;
use crate::api::rgd::{Resource, Scope};
use crate::graph::OnExisting;
use crate::graph::diagnostic::{Path, Problems};
use serde_json::{Map, Value};

/// What the form tells, where it is right.
pub struct Shape {
    pub gvk: Gvk,
    pub on_existing: Option<OnExisting>,
    /// `metadata.namespace`, when it is a literal.
    pub namespace: Option<String>,
}

pub fn check(
    resource: &Resource,
    position: usize,
    instance: Scope,
    problems: &mut Problems,
) -> Option<Shape> {
    let path = Path::resource(position);
    let template = match (&resource.template, &resource.external_ref) {
        (Some(template), None) => template,
        (None, Some(_)) => {
            problems.add(&path.key("externalRef"), "external references are not supported yet");
            if !resource.for_each.is_empty() {
                problems.add(&path.key("forEach"), "cannot use externalRef with forEach");
            }
            return None;
        }
        _ => {
            problems.add(&path, "exactly one of template or externalRef must be provided");
            return None;
        }
    };
    let path = path.key("template");
    let Some(template) = template.as_object() else {
        problems.add(&path, "the template is not an object");
        return None;
    };
    let gvk = kind(template, &path, problems);
    let metadata_path = path.key("metadata");
    let metadata = match template.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(Value::Null) | None => {
            problems.add_with_help(
                &path,
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
    text(metadata, "name", true, &metadata_path, problems);
    let namespace = text(metadata, "namespace", false, &metadata_path, problems);
    let gvk = gvk?;
    if annotations::is_definition(&gvk.group, &gvk.kind) {
        problems.add(
            &path,
            "a ResourceGraphDefinition as a resource is not supported yet: it belongs on the hub",
        );
    }
    placed(&gvk, namespace, instance, &metadata_path, problems);
    let literal = namespace.filter(|n| !n.is_empty() && !n.contains("${")).map(str::to_owned);
    Some(Shape { gvk, on_existing, namespace: literal })
}

fn kind(template: &Map<String, Value>, path: &Path, problems: &mut Problems) -> Option<Gvk> {
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

/// A text of the metadata; `None` when it is absent.
fn text<'a>(
    metadata: &'a Map<String, Value>,
    field: &str,
    required: bool,
    path: &Path,
    problems: &mut Problems,
) -> Option<&'a str> {
    match metadata.get(field) {
        Some(Value::String(text)) if !(required && text.is_empty()) => Some(text),
        Some(Value::String(_) | Value::Null) | None => {
            if required {
                problems.add(path, format!("metadata.{field} is missing"));
            }
            None
        }
        Some(_) => {
            problems.add(&path.key(field), format!("metadata.{field} is not a string"));
            None
        }
    }
}

/// Scope against namespace, for the kinds whose scope is known everywhere.
fn placed(gvk: &Gvk, namespace: Option<&str>, instance: Scope, path: &Path, problems: &mut Problems) {
    let Some(namespaced) = scope::is_namespaced(&gvk.group, &gvk.kind) else { return };
    let blank = namespace.is_none_or(|n| n.trim().is_empty());
    if !namespaced && namespace.is_some() {
        let message = format!("{} is cluster-scoped and must not set metadata.namespace", gvk.kind);
        problems.add(&path.key("namespace"), message);
    }
    if namespaced && blank && instance == Scope::Cluster {
        problems.add(
            path,
            format!(
                "{} is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped",
                gvk.kind
            ),
        );
    }
}
