//! What templates grant to others. Who grants a right must hold it, or may `bind` the role that has it: API servers refuse
//! anything else, so that nobody gives himself rights by a detour.

use super::Rule;
use super::book::{Book, Of};
use crate::api::rgd::Resource;
use serde_json::Value;

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
const HOLDS: &str = "who grants must hold it";

/// A rule that templates grant, given by hand because it is no literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted(pub Rule);

impl Granted {
    /// The rules of a Role or ClusterRole. `from`: where it stands, for the reason.
    ///
    /// # Errors
    /// It is neither, or a rule of it is not one.
    pub fn read(object: &Value, from: &str) -> Result<Vec<Self>, String> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !["Role", "ClusterRole"].contains(&kind) {
            return Err(format!("{from}: {kind:?} is neither a Role nor a ClusterRole"));
        }
        let rules = object.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let read =
            rules.iter().enumerate().map(|(at, value)| match literal(value, &format!("{from}: {HOLDS}")) {
                Some(rule) => Ok(Self(rule)),
                None => Err(format!("{from}: rules[{at}] is no rule of literal texts")),
            });
        read.collect()
    }
}

impl Rule {
    /// A rule as a manifest has it; none if it is not literal.
    pub fn read(value: &Value, why: &str) -> Option<Self> {
        literal(value, why)
    }
}

/// Rights to hold because a template of this definition grants them; says in `notes` what cannot be told.
pub(super) fn of_template(
    resource: &Resource,
    all: &[Resource],
    definition: &str,
    book: &mut Book,
    notes: &mut Vec<String>,
) {
    let Some(template) = &resource.template else { return };
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if !text("/apiVersion").starts_with(RBAC) {
        return;
    }
    let node = format!("{definition}, node {}", resource.id);
    match text("/kind") {
        "Role" | "ClusterRole" => role(template, &node, book, notes),
        "RoleBinding" | "ClusterRoleBinding" => {
            let (kind, name) = (text("/roleRef/kind"), text("/roleRef/name"));
            let resource = match kind {
                "Role" => "roles",
                "ClusterRole" => "clusterroles",
                _ => {
                    notes.push(format!("{node}: which role it binds is no literal; add `bind` on that role"));
                    return;
                }
            };
            if makes(all, kind, name) {
                // Its rules are held already.
                return;
            }
            if !is_literal(name) {
                notes.push(format!(
                    "{node}: which {kind} it binds is no literal; add `bind` on those {resource}, or hold their rules (--grants FILE)"
                ));
                return;
            }
            let of = Of { chapter: 7, group: RBAC, resource, names: &[name] };
            book.say(&of, &["bind"], &format!("{node}: binds it"));
        }
        _ => {}
    }
}

fn role(template: &Value, node: &str, book: &mut Book, notes: &mut Vec<String>) {
    if template.get("aggregationRule").is_some() {
        notes.push(format!(
            "{node}: only who may do everything may write an aggregationRule; RBAC has no smaller right. Write out the rules instead"
        ));
    }
    let rules = template.get("rules");
    let Some(rules) = rules.and_then(Value::as_array) else {
        if rules.is_some_and(|r| !r.is_null()) {
            notes.push(not_literal(node, "its rules"));
        }
        return;
    };
    for (at, value) in rules.iter().enumerate() {
        match literal(value, &format!("{node}: {HOLDS}")) {
            Some(rule) => book.take(rule),
            None => notes.push(not_literal(node, &format!("rules[{at}]"))),
        }
    }
}

fn not_literal(node: &str, what: &str) -> String {
    format!(
        "{node}: {what} is no literal; who grants must hold it: give the widest that it becomes with --grants FILE"
    )
}

/// Whether a template of the definition makes this role.
fn makes(all: &[Resource], kind: &str, name: &str) -> bool {
    let made = all.iter().filter_map(|r| Some((r.id.as_str(), r.template.as_ref()?)));
    let mut roles = made.filter(|(_, t)| t.get("kind").and_then(Value::as_str) == Some(kind));
    roles.any(|(id, t)| {
        let written = t.pointer("/metadata/name").and_then(Value::as_str);
        written == Some(name) || name == format!("${{{id}.metadata.name}}")
    })
}

fn is_literal(text: &str) -> bool {
    !text.is_empty() && !text.contains("${")
}

/// A rule whose every text is literal.
fn literal(value: &Value, why: &str) -> Option<Rule> {
    let rule = value.as_object()?;
    let texts = |key: &str| -> Option<Vec<String>> {
        let Some(list) = rule.get(key).filter(|v| !v.is_null()) else { return Some(Vec::new()) };
        // An empty text is the core group.
        list.as_array()?
            .iter()
            .map(|item| item.as_str().filter(|t| !t.contains("${")).map(str::to_owned))
            .collect()
    };
    let verbs = texts("verbs")?;
    (!verbs.is_empty()).then_some(())?;
    Some(Rule {
        groups: texts("apiGroups")?,
        resources: texts("resources")?,
        names: texts("resourceNames")?,
        urls: texts("nonResourceURLs")?,
        verbs,
        why: why.to_owned(),
    })
}
