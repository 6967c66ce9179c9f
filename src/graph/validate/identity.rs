//! Names that an author chooses: kind, version, resource ids, iterators.

use crate::api::rgd::{ResourceGraphDefinition, Schema};
use crate::graph::diagnostic::{Path, Problems};
use std::collections::BTreeSet;

/// Words with a meaning of their own, in kro or in CEL.
const RESERVED: [&str; 53] = [
    // kro
    "apiVersion",
    "context",
    "dependency",
    "dependencies",
    "each",
    "externalRef",
    "externalReference",
    "externalRefs",
    "externalReferences",
    "graph",
    "instance",
    "item",
    "items",
    "kind",
    "kro",
    "metadata",
    "namespace",
    "object",
    "resource",
    "resourcegraphdefinition",
    "resourceGraphDefinition",
    "resources",
    "root",
    "runtime",
    "schema",
    "self",
    "serviceAccountName",
    "spec",
    "status",
    "this",
    "variables",
    "vars",
    "version",
    // CEL
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "return",
    "var",
    "void",
    "while",
];

pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

fn is_lower_camel_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_upper_camel_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `my-config_map` as `myConfigMap`.
fn lower_camel_case(word: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in word.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = !out.is_empty();
        } else if out.is_empty() {
            out.extend((!c.is_ascii_digit()).then(|| c.to_ascii_lowercase()));
        } else {
            out.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    out
}

pub fn check(rgd: &ResourceGraphDefinition, problems: &mut Problems) {
    schema(&rgd.spec.schema, problems);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (position, resource) in rgd.spec.resources.iter().enumerate() {
        let path = Path::resource(position).key("id");
        let id = resource.id.as_str();
        if !is_lower_camel_case(id) {
            let fixed = lower_camel_case(id);
            problems.add_with_help(
                &path,
                format!(
                    "naming convention violation: id {id} is not a valid KRO resource id: must be lower camelCase"
                ),
                (!fixed.is_empty()).then(|| format!("write {fixed}")),
            );
        } else if is_reserved(id) {
            problems.add(&path, format!("id {id} is a reserved keyword in KRO"));
        }
        if !seen.insert(id) {
            problems.add(&path, format!("found duplicate resource IDs {id}"));
        }
    }
}

fn schema(schema: &Schema, problems: &mut Problems) {
    let path = Path::of(&["spec", "schema"]);
    let kind = schema.kind.as_str();
    if !is_upper_camel_case(kind) {
        problems.add(
            &path.key("kind"),
            format!("naming convention violation: kind {kind:?} is not a valid KRO kind name: must be UpperCamelCase"),
        );
    } else if kind.len() > 63 {
        problems
            .add(&path.key("kind"), format!("kind {kind} has {} characters, the maximum is 63", kind.len()));
    }
    if !is_version(&schema.api_version) {
        problems.add_with_help(
            &path.key("apiVersion"),
            format!("{:?} is not a valid version", schema.api_version),
            Some(
                "write a bare version such as v1, v1alpha1 or v2beta3; the group has a field of its own"
                    .into(),
            ),
        );
    }
}

/// `^v[0-9]+(alpha[0-9]+|beta[0-9]+)?$`
fn is_version(text: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let Some(rest) = text.strip_prefix('v') else { return false };
    match rest.split_once("alpha").or_else(|| rest.split_once("beta")) {
        Some((major, minor)) => digits(major) && digits(minor),
        None => digits(rest),
    }
}

/// An iterator's name, by itself.
pub fn iterator(name: &str, path: &Path, problems: &mut Problems) {
    if !is_lower_camel_case(name) {
        problems.add(path, format!("forEach iterator name {name:?} must be lower camelCase"));
    } else if is_reserved(name) {
        problems.add(path, format!("forEach iterator name {name:?} is a reserved keyword in KRO"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, want) in [
            ("v1", true),
            ("v12alpha3", true),
            ("v1beta1", true),
            ("1", false),
            ("v", false),
            ("v1alpha", false),
            ("v1gamma1", false),
            ("kro.run/v1", false),
            ("V1", false),
        ] {
            assert_eq!(is_version(text), want, "{text}");
        }
    }

    #[test]
    fn a_better_name_is_offered() {
        for (from, to) in [("my-config_map", "myConfigMap"), ("MyRes", "myRes"), ("1st", "st"), ("--", "")] {
            assert_eq!(lower_camel_case(from), to);
        }
    }
}
