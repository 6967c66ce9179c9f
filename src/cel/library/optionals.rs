//! Values that may be absent.

use super::{Row, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    global("optional.of", "A -> optional(A)", of, "An optional with a value."),
    global(
        "optional.ofNonZeroValue",
        "A -> optional(A)",
        of_non_zero,
        "An optional, absent for an empty value.",
    ),
    global("optional.none", "-> optional(A)", none, "The absent value."),
    global("optional.unwrap", "list(optional(A)) -> list(A)", unwrap, "The values that are present."),
    member("unwrapOpt", "list(optional(A)) -> list(A)", unwrap, "The values that are present."),
    member("hasValue", "optional(A) -> bool", has_value, "Whether the value is present."),
    member("value", "optional(A) -> A", value, "The value; an error when it is absent."),
    member("or", "optional(A), optional(A) -> optional(A)", or, "The first that is present."),
    member("orValue", "optional(A), A -> A", or_value, "The value, or another when it is absent."),
];

fn of(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [value] => Ok(Val::some(value.clone())),
        _ => Err(mismatch(args)),
    }
}

fn of_non_zero(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [value] = args else { return Err(mismatch(args)) };
    Ok(if is_zero(value) { Val::NONE } else { Val::some(value.clone()) })
}

fn is_zero(value: &Val) -> bool {
    match value {
        Val::Null => true,
        Val::Bool(b) => !b,
        Val::Int(i) => *i == 0,
        Val::Uint(u) => *u == 0,
        Val::Double(d) => *d == 0.0,
        Val::String(s) => s.is_empty(),
        Val::Bytes(b) => b.is_empty(),
        Val::List(items) => items.is_empty(),
        Val::Map(map) => map.len() == 0,
        Val::Duration(d) => *d == 0,
        Val::Timestamp(t) => time::is_zero(t),
        Val::Optional(_) | Val::Type(_) | Val::Opaque(_) => false,
    }
}

fn none(_: &Budget, _: &[Val]) -> Result<Val, Fault> {
    Ok(Val::NONE)
}

fn unwrap(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    budget.items(items.len())?;
    let mut out = Vec::new();
    for item in items.iter() {
        match item {
            Val::Optional(Some(inner)) => out.push((**inner).clone()),
            Val::Optional(None) => {}
            other => return Err(Fault::overload("unwrapOpt", [other])),
        }
    }
    Ok(Val::list(out))
}

fn has_value(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Optional(inner)] => Ok(Val::Bool(inner.is_some())),
        _ => Err(mismatch(args)),
    }
}

fn value(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Optional(Some(inner))] => Ok((**inner).clone()),
        [Val::Optional(None)] => Err(Fault::invalid("optional.none() dereference")),
        _ => Err(mismatch(args)),
    }
}

fn or(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Optional(None), other] => Ok(other.clone()),
        [some, _] => Ok(some.clone()),
        _ => Err(mismatch(args)),
    }
}

fn or_value(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Optional(Some(inner)), _] => Ok((**inner).clone()),
        [_, other] => Ok(other.clone()),
        _ => Err(mismatch(args)),
    }
}
