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
    member("sort", "list(int) -> list(int)", sort, "In ascending order."),
    member("sort", "list(uint) -> list(uint)", sort, "In ascending order."),
    member("sort", "list(double) -> list(double)", sort, "In ascending order."),
    member("sort", "list(bool) -> list(bool)", sort, "In ascending order."),
    member("sort", "list(string) -> list(string)", sort, "In ascending order."),
    member("sort", "list(bytes) -> list(bytes)", sort, "In ascending order."),
    member("sort", "list(duration) -> list(duration)", sort, "In ascending order."),
    member("sort", "list(timestamp) -> list(timestamp)", sort, "In ascending order."),
    member("distinct", "list(T) -> list(T)", distinct, "Each element once, the first is kept."),
    member("reverse", "list(T) -> list(T)", reverse, "In the opposite order."),
    member("first", "list(T) -> optional(T)", first, "The first element, if there is one."),
    member("last", "list(T) -> optional(T)", last, "The last element, if there is one."),
    global("lists.range", "int -> list(int)", range, "The numbers from 0 up to, without, the given one."),
    member("isSorted", "list(int) -> bool", is_sorted, "Whether no element is less than the one before it."),
    member("isSorted", "list(uint) -> bool", is_sorted, "Whether no element is less than the one before it."),
    member(
        "isSorted",
        "list(double) -> bool",
        is_sorted,
        "Whether no element is less than the one before it.",
    ),
    member("isSorted", "list(bool) -> bool", is_sorted, "Whether no element is less than the one before it."),
    member(
        "isSorted",
        "list(string) -> bool",
        is_sorted,
        "Whether no element is less than the one before it.",
    ),
    member(
        "isSorted",
        "list(bytes) -> bool",
        is_sorted,
        "Whether no element is less than the one before it.",
    ),
    member(
        "isSorted",
        "list(duration) -> bool",
        is_sorted,
        "Whether no element is less than the one before it.",
    ),
    member(
        "isSorted",
        "list(timestamp) -> bool",
        is_sorted,
        "Whether no element is less than the one before it.",
    ),
    member("sum", "list(int) -> int", sum, "All elements added up."),
    member("sum", "list(uint) -> uint", sum, "All elements added up."),
    member("sum", "list(double) -> double", sum, "All elements added up."),
    member("sum", "list(duration) -> duration", sum, "All elements added up."),
    member("min", "list(int) -> int", min, "The least element."),
    member("min", "list(uint) -> uint", min, "The least element."),
    member("min", "list(double) -> double", min, "The least element."),
    member("min", "list(bool) -> bool", min, "The least element."),
    member("min", "list(string) -> string", min, "The least element."),
    member("min", "list(bytes) -> bytes", min, "The least element."),
    member("min", "list(duration) -> duration", min, "The least element."),
    member("min", "list(timestamp) -> timestamp", min, "The least element."),
    member("max", "list(int) -> int", max, "The greatest element."),
    member("max", "list(uint) -> uint", max, "The greatest element."),
    member("max", "list(double) -> double", max, "The greatest element."),
    member("max", "list(bool) -> bool", max, "The greatest element."),
    member("max", "list(string) -> string", max, "The greatest element."),
    member("max", "list(bytes) -> bytes", max, "The greatest element."),
    member("max", "list(duration) -> duration", max, "The greatest element."),
    member("max", "list(timestamp) -> timestamp", max, "The greatest element."),
    member("indexOf", "list(T), T -> int", index_of, "Where an element is for the first time, or -1."),
    member(
        "lastIndexOf",
        "list(T), T -> int",
        last_index_of,
        "Where an element is for the last time, or -1.",
    ),
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

/// Whether no element is greater than the next one. Neighbours that cannot be compared count as sorted, as in Go.
fn is_sorted(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    budget.items(items.len())?;
    if let Some(other) = items.iter().find(|item| item.compare(item).is_none()) {
        return Err(Fault::overload("isSorted", [other]));
    }
    let falls = |pair: &[Val]| matches!(pair, [a, b] if a.compare(b).flatten() == Some(Ordering::Greater));
    Ok(Val::Bool(!items.windows(2).any(falls)))
}

fn sum(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    budget.items(items.len())?;
    let mut total: Option<Val> = None;
    for item in items.iter() {
        total = Some(match total {
            None if matches!(item, Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Duration(_)) => {
                item.clone()
            }
            Some(before) => super::operators::plus(&before, item, budget)?,
            None => return Err(Fault::overload("sum", args)),
        });
    }
    Ok(total.unwrap_or(Val::Int(0)))
}

fn min(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    extreme(budget, args, "min", Ordering::Less)
}

fn max(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    extreme(budget, args, "max", Ordering::Greater)
}

fn extreme(budget: &Budget, args: &[Val], name: &str, better: Ordering) -> Result<Val, Fault> {
    let [Val::List(items)] = args else { return Err(mismatch(args)) };
    budget.items(items.len())?;
    let Some((mut best, rest)) = items.split_first() else {
        return Err(Fault::invalid(format!("{name} called on empty list")));
    };
    if let Some(other) = items.iter().find(|item| item.compare(item).is_none()) {
        return Err(Fault::overload(name, [other]));
    }
    for item in rest {
        // Elements that cannot be compared with the best one are passed over.
        if item.compare(best).flatten() == Some(better) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn position(budget: &Budget, args: &[Val], last: bool) -> Result<Val, Fault> {
    let [Val::List(items), wanted] = args else { return Err(mismatch(args)) };
    let mut found = -1;
    for (i, item) in items.iter().enumerate() {
        if item.equals(wanted, budget)? {
            found = i as i64;
            if !last {
                break;
            }
        }
    }
    Ok(Val::Int(found))
}

fn index_of(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    position(budget, args, false)
}

fn last_index_of(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    position(budget, args, true)
}

fn range(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::Int(n)] = args else { return Err(mismatch(args)) };
    if *n < 0 {
        return Err(Fault::invalid("lists.range: size must be non-negative"));
    }
    budget.items(usize::try_from((*n).max(0)).unwrap_or(MAX_SIZE + 1))?;
    Ok(Val::list((0..*n).map(Val::Int).collect()))
}
