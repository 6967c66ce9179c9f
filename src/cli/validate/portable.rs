//! What kro itself would not take, or would take differently: all of it in one place.

use super::expressions;
use super::finding::Rule;
use super::report_to::{Findings, Words};
use super::source::Object;
use crate::api::keys::hub;

/// On a definition: each changes what it means here, and kro does not know it.
const ON_DEFINITION: [&str; 4] = [hub::HUB_REFS, hub::CEL_LIBRARIES, hub::DISTRIBUTE, hub::ABANDON];
/// On a template.
const ON_TEMPLATE: [&str; 3] = [hub::TARGET, hub::ON_DELETE, hub::ON_EXISTING];
/// Variables of ours, unless a resource or an iterator has that name.
const VARIABLES: [&str; 2] = ["kro", "cluster"];

pub fn check(object: &Object, findings: &mut Findings<'_>) {
    let node = &object.node;
    let note =
        |message: String| (message, Some("leave it out where kro is to take the definition too".to_owned()));
    for key in ON_DEFINITION {
        if node.at(&["metadata", "annotations", key]).is_some() {
            let (message, help) = note(format!("kro does not know the annotation {key}"));
            findings.at_path(
                object,
                Rule::Portable,
                &format!("metadata.annotations[{key:?}]"),
                Words { message, help },
            );
        }
    }
    let resources = node.at(&["spec", "resources"]).map(|r| r.items()).unwrap_or_default();
    let mut named: Vec<&str> = Vec::new();
    for (position, resource) in resources.iter().enumerate() {
        named.extend(resource.get("id").and_then(|id| id.text()));
        let dimensions = resource.get("forEach").map(|f| f.items()).unwrap_or_default();
        named.extend(dimensions.iter().flat_map(|d| d.entries()).map(|(key, _)| key.text.as_str()));
        for key in ON_TEMPLATE {
            if resource.at(&["template", "metadata", "annotations", key]).is_some() {
                let (message, help) = note(format!("kro does not know the annotation {key}"));
                let path = format!("spec.resources[{position}].template.metadata.annotations[{key:?}]");
                findings.at_path(object, Rule::Portable, &path, Words { message, help });
            }
        }
    }
    let parts = [
        ("spec.resources", node.at(&["spec", "resources"])),
        ("spec.schema.status", node.at(&["spec", "schema", "status"])),
    ];
    for (path, part) in parts {
        let Some(part) = part else { continue };
        for found in expressions::within(part, path) {
            for name in VARIABLES {
                if found.variables.contains(name) && !named.contains(&name) {
                    let (message, help) = note(format!("kro has no variable {name}"));
                    findings.at_path(object, Rule::Portable, &found.path, Words { message, help });
                }
            }
        }
    }
}
