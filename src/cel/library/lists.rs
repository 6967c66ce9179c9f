//! Lists.

use super::{Row, global, member, mismatch};
use crate::cel::budget::{Budget, MAX_SIZE};
use crate::cel::error::Fault;
use crate::cel::value::Val;
use std::cmp::Ordering;

pub(super) const ROWS: &[Row] = &[
    member(
        "slice",
        "list(T), int, int -> list(T)",
        slice,
        "The elements from an index up to, without, another.",
    ),
    member("flatten", "list(list(T)) -> list(T)", flatten, "Lists in the list, put in its place."),
    member("flatten", "list(dyn), int -> list(dyn)", flatten, "The same, so many levels deep."),
    member("sort", "list(T) -> list(T)", sort, "In ascending order."),
    member("distinct", "list(T) -> list(T)", distinct, "Each element once, the first is kept."),
    member("reverse", "list(T) -> list(T)", reverse, "In the opposite order."),
    member("first", "list(T) -> optional(T)", first, "The first element, if there is one."),
    member("last", "list(T) -> optional(T)", last, "The last element, if there is one."),
    global("lists.range", "int -> list(int)", range, "The numbers from 0 up to, without, the given one."),
];

fn slice(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items), Val::Int(from), Val::Int(to)] = args else { return Err(mismatch(args)) };
    if *from < 0 || *to < 0 {
        return Err(Fault::invalid("cannot slice a list with a negative index"));
    }
    if from > to {
        return Err(Fault::invalid("cannot slice a list: the start is after the end"));
    }
    let (from, to) = (*from as u64 as usize, *to as u64 as usize);
    let Some(part) = items.get(from..to) else {
        return Err(Fault::invalid(format!("cannot slice a list of length {} that far", items.len())));
    };
    budget.items(part.len())?;
    Ok(Val::list(part.to_vec()))
}

fn flatten(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (items, depth) = match args {
        [Val::List(items)] => (items, 1),
        [Val::List(_), Val::Int(depth)] if *depth < 0 => {
            return Err(Fault::invalid("level must be non-negative"));
        }
        [Val::List(items), Val::Int(depth)] => (items, *depth),
        _ => return Err(mismatch(args)),
    };
    let mut out = Vec::new();
    flatten_into(&mut out, items, depth, budget)?;
    Ok(Val::list(out))
}

fn flatten_into(out: &mut Vec<Val>, items: &[Val], depth: i64, budget: &Budget) -> Result<(), Fault> {
    for item in items {
        budget.step()?;
        match item {
            Val::List(inner) if depth > 0 => flatten_into(out, inner, depth - 1, budget)?,
            other => out.push(other.clone()),
        }
    }
    Ok(())
}

fn sort(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    let keyed = items.iter().map(|v| (v.clone(), v.clone())).collect();
    sort_by_key(keyed, budget)
}

/// The values in the order of their keys, equal keys in the order they came.
pub(in crate::cel) fn sort_by_key(mut keyed: Vec<(Val, Val)>, budget: &Budget) -> Result<Val, Fault> {
    let n = keyed.len() as u64;
    budget.items(keyed.len())?;
    budget.charge(n * u64::from(n.checked_ilog2().unwrap_or(0)))?;
    if let Some((first, _)) = keyed.first() {
        for (key, _) in &keyed {
            if std::mem::discriminant(first) != std::mem::discriminant(key) {
                return Err(Fault::invalid("list elements must have the same type"));
            }
            if key.compare(key).is_none() {
                let name = key.type_name();
                return Err(Fault::invalid(format!("list elements must be comparable, found {name}")));
            }
            if let Val::String(s) = key {
                budget.text(s.len())?;
            }
        }
    }
    keyed.sort_by(|(a, _), (b, _)| a.compare(b).flatten().unwrap_or(Ordering::Equal));
    Ok(Val::list(keyed.into_iter().map(|(_, v)| v).collect()))
}

fn distinct(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    let mut out: Vec<Val> = Vec::new();
    'items: for item in items.iter() {
        for seen in &out {
            if seen.equals(item, budget)? {
                continue 'items;
            }
        }
        out.push(item.clone());
    }
    Ok(Val::list(out))
}

fn reverse(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    budget.items(items.len())?;
    Ok(Val::list(items.iter().rev().cloned().collect()))
}

fn first(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    Ok(items.first().cloned().map_or(Val::NONE, Val::some))
}

fn last(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    Ok(items.last().cloned().map_or(Val::NONE, Val::some))
}

fn range(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::Int(n)] = args else { return Err(mismatch(args)) };
    budget.items(usize::try_from((*n).max(0)).unwrap_or(MAX_SIZE + 1))?;
    Ok(Val::list((0..*n).map(Val::Int).collect()))
}
