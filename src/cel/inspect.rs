//! What an expression refers to.

use super::syntax::{Kind, Node, walk};
use super::value::{Val, unescape_field};
use std::collections::BTreeSet;

/// A chain of field names that starts at a variable of the scope, as far as it is written out: `a.b["c"][0].d` is
/// `[a, b, c]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    /// The variable, then the fields, by their real names (`my-field` for `my__dash__field`).
    pub steps: Vec<String>,
    /// A step is optional (`.?field`, `[?"key"]`): the path may be absent.
    pub optional: bool,
    /// The path is the argument of `has()`.
    pub tested: bool,
}

/// Names of types: alone they are values, not variables.
pub(super) const TYPE_NAMES: [&str; 11] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint"];

/// What a program refers to.
#[derive(Debug)]
pub(super) struct References {
    pub(super) variables: BTreeSet<String>,
    pub(super) paths: Vec<FieldPath>,
    pub(super) functions: BTreeSet<&'static str>,
    pub(super) conditions: Vec<Condition>,
}

/// A use of a condition whose type is written out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// `runtime.newCondition({type: 'T', …})`; the status if it is written out too.
    New {
        /// The type of the condition.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: Option<String>,
    },
    /// `runtime.condition(variable, 'T')`
    Read {
        /// Whose conditions are read.
        variable: String,
        /// The type of the condition.
        kind: String,
    },
}

/// The free variables, the paths and the functions of trees.
pub(super) fn references(roots: &[&Node]) -> References {
    let mut variables = BTreeSet::new();
    let mut functions = BTreeSet::new();
    let mut conditions = Vec::new();
    let mut paths = BTreeSet::new();
    for root in roots {
        // The visit meets a chain at its outermost step. Its inner steps are not chains of their own.
        let mut inner: Vec<*const Node> = Vec::new();
        walk(root, &mut |node| {
            if let Kind::Call { function, args, .. } = &node.kind {
                conditions.extend(condition(function.name, args));
            }
            if let Kind::Call { function, .. } = &node.kind
                && function.name.starts_with(|c: char| c.is_ascii_alphabetic())
            {
                functions.insert(function.name);
            }
            if let Kind::Sum { function, .. } = &node.kind {
                functions.insert(function.name);
            }
            let part = inner.contains(&std::ptr::from_ref(node));
            if let Some(operand) = operand_of_static_step(node) {
                inner.push(std::ptr::from_ref(operand));
            }
            if part {
                return;
            }
            let mut path = FieldPath { steps: Vec::new(), optional: false, tested: false };
            if !trace(node, &mut path) {
                return;
            }
            let is_type = matches!(path.steps.as_slice(), [name] if TYPE_NAMES.contains(&name.as_str()));
            if let Some(root) = path.steps.first().filter(|_| !is_type) {
                variables.insert(root.clone());
                paths.insert(path);
            }
        });
    }
    References { variables, paths: paths.into_iter().collect(), functions, conditions }
}

fn condition(function: &str, args: &[Node]) -> Option<Condition> {
    match (function, args) {
        ("runtime.newCondition", [Node { kind: Kind::Map(entries), .. }]) => {
            let value = |name: &str| {
                let entry = entries.iter().find(|e| literal(&e.key) == Some(name))?;
                literal(&entry.value).map(str::to_owned)
            };
            Some(Condition::New { kind: value("type")?, status: value("status") })
        }
        ("runtime.condition", [Node { kind: Kind::Free(variable), .. }, kind]) => {
            Some(Condition::Read { variable: variable.to_string(), kind: literal(kind)?.to_owned() })
        }
        _ => None,
    }
}

fn operand_of_static_step(node: &Node) -> Option<&Node> {
    match &node.kind {
        Kind::Select { operand, .. } | Kind::Test { operand, .. } => Some(operand),
        Kind::Index { operand, key, .. } if literal(key).is_some() => Some(operand),
        _ => None,
    }
}

fn literal(key: &Node) -> Option<&str> {
    match &key.kind {
        Kind::Literal(Val::String(s)) => Some(s),
        _ => None,
    }
}

/// Fills the path of a chain from its root; false if it does not start at a free variable.
fn trace(node: &Node, path: &mut FieldPath) -> bool {
    let (operand, step, optional) = match &node.kind {
        Kind::Free(name) => {
            path.steps.push(name.to_string());
            return true;
        }
        Kind::Select { operand, field, optional } => (operand, unescape_field(field), *optional),
        Kind::Test { operand, field } => {
            path.tested = true;
            (operand, unescape_field(field), false)
        }
        Kind::Index { operand, key, optional } => match literal(key) {
            Some(key) => (operand, key.to_owned(), *optional),
            None => return false,
        },
        _ => return false,
    };
    let known = trace(operand, path);
    if known {
        path.steps.push(step);
        path.optional |= optional;
    }
    known
}
