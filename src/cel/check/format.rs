//! Format strings that are written out are checked before they run.

use super::Problem;
use crate::cel::library::{Clause, clauses};
use crate::cel::syntax::{Kind, Node};
use crate::cel::types::Type;
use crate::cel::value::Val;

/// What is wrong with `'…'.format([…])`, whose elements have these types; nothing when the text is not a literal.
pub(super) fn problems(
    source: &str,
    at: usize,
    pattern: &Node,
    values: &[(Node, bool)],
    types: &[Type],
) -> Vec<Problem> {
    let Kind::Literal(Val::String(pattern)) = &pattern.kind else { return Vec::new() };
    let clauses = match clauses(pattern) {
        Ok(clauses) => clauses,
        Err(message) => return vec![Problem::new(source, at, message)],
    };
    // Elements that may be left out have no fixed position.
    if values.iter().any(|(_, optional)| *optional) {
        return Vec::new();
    }
    if values.len() < clauses.len() {
        return vec![Problem::new(source, at, format!("index {} out of range", values.len()))];
    }
    if values.len() > clauses.len() {
        let (want, got) = (clauses.len(), values.len());
        let message = format!("too many arguments supplied to string.format (expected {want}, got {got})");
        return vec![Problem::new(source, at, message)];
    }
    let refused = |((clause, (value, _)), t): ((&Clause, &(Node, bool)), &Type)| {
        let message = clause.refusal(runtime_name(t)?)?;
        Some(Problem::new(source, value.at, message))
    };
    clauses.iter().zip(values).zip(types).filter_map(refused).collect()
}

/// The name that a value of this type has at run time.
fn runtime_name(t: &Type) -> Option<&'static str> {
    Some(match t.plain() {
        Type::Null => "null_type",
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Uint => "uint",
        Type::Double => "double",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Duration => "google.protobuf.Duration",
        Type::Timestamp => "google.protobuf.Timestamp",
        Type::List(_) => "list",
        Type::Map(..) => "map",
        Type::Optional(_) => "optional_type",
        Type::Type(_) => "type",
        Type::Opaque(name) => name,
        Type::Dyn | Type::Struct(_) | Type::Wrapper(_) | Type::Param(_) | Type::Var(_) | Type::Error => {
            return None;
        }
    })
}
