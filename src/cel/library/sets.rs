//! Lists as sets.

use super::{Row, global, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    global(
        "sets.contains",
        "list(T), list(T) -> bool",
        contains,
        "Whether all elements of the second are in the first.",
    ),
    global(
        "sets.equivalent",
        "list(T), list(T) -> bool",
        equivalent,
        "Whether each has all elements of the other.",
    ),
    global("sets.intersects", "list(T), list(T) -> bool", intersects, "Whether they share an element."),
];

fn has(items: &[Val], wanted: &Val, budget: &Budget) -> Result<bool, Fault> {
    for item in items {
        if item.equals(wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_all(items: &[Val], wanted: &[Val], budget: &Budget) -> Result<bool, Fault> {
    for item in wanted {
        if !has(items, item, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(mismatch(args)) };
    has_all(a, b, budget).map(Val::Bool)
}

fn equivalent(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(mismatch(args)) };
    Ok(Val::Bool(has_all(a, b, budget)? && has_all(b, a, budget)?))
}

fn intersects(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(mismatch(args)) };
    for item in a.iter() {
        if has(b, item, budget)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
