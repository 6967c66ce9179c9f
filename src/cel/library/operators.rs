//! Operators that evaluate all their operands.

use super::{Row, dynamic, global, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::Val;
use chrono::TimeDelta;
use std::cmp::Ordering;
use std::sync::Arc;

/// In cel-go's order: an operand of unknown type takes the first type that fits.
pub(super) const ROWS: &[Row] = &[
    global("!_", "bool -> bool", not, "Not."),
    global("-_", "double -> double", negate, "The negative."),
    global("-_", "int -> int", negate, "The negative."),
    global("_==_", "T, T -> bool", equal, "Equality; numbers of different types compare by value."),
    global("_!=_", "T, T -> bool", unequal, "Inequality."),
    global("_<_", "bool, bool -> bool", less, "Less."),
    global("_<_", "int, int -> bool", less, "Less."),
    global("_<_", "uint, uint -> bool", less, "Less."),
    global("_<_", "double, double -> bool", less, "Less."),
    global("_<_", "string, string -> bool", less, "Less, by code points."),
    global("_<_", "bytes, bytes -> bool", less, "Less."),
    global("_<_", "timestamp, timestamp -> bool", less, "Earlier."),
    global("_<_", "duration, duration -> bool", less, "Shorter."),
    global("_<=_", "bool, bool -> bool", at_most, "Less or equal."),
    global("_<=_", "int, int -> bool", at_most, "Less or equal."),
    global("_<=_", "uint, uint -> bool", at_most, "Less or equal."),
    global("_<=_", "double, double -> bool", at_most, "Less or equal."),
    global("_<=_", "string, string -> bool", at_most, "Less or equal."),
    global("_<=_", "bytes, bytes -> bool", at_most, "Less or equal."),
    global("_<=_", "timestamp, timestamp -> bool", at_most, "Not later."),
    global("_<=_", "duration, duration -> bool", at_most, "Not longer."),
    global("_>_", "bool, bool -> bool", greater, "Greater."),
    global("_>_", "int, int -> bool", greater, "Greater."),
    global("_>_", "uint, uint -> bool", greater, "Greater."),
    global("_>_", "double, double -> bool", greater, "Greater."),
    global("_>_", "string, string -> bool", greater, "Greater."),
    global("_>_", "bytes, bytes -> bool", greater, "Greater."),
    global("_>_", "timestamp, timestamp -> bool", greater, "Later."),
    global("_>_", "duration, duration -> bool", greater, "Longer."),
    global("_>=_", "bool, bool -> bool", at_least, "Greater or equal."),
    global("_>=_", "int, int -> bool", at_least, "Greater or equal."),
    global("_>=_", "uint, uint -> bool", at_least, "Greater or equal."),
    global("_>=_", "double, double -> bool", at_least, "Greater or equal."),
    global("_>=_", "string, string -> bool", at_least, "Greater or equal."),
    global("_>=_", "bytes, bytes -> bool", at_least, "Greater or equal."),
    global("_>=_", "timestamp, timestamp -> bool", at_least, "Not earlier."),
    global("_>=_", "duration, duration -> bool", at_least, "Not shorter."),
    global("_+_", "bytes, bytes -> bytes", add, "One after the other."),
    global("_+_", "double, double -> double", add, "Sum."),
    global("_+_", "duration, duration -> duration", add, "Sum."),
    global("_+_", "duration, timestamp -> timestamp", add, "Later by a duration."),
    global("_+_", "timestamp, duration -> timestamp", add, "Later by a duration."),
    global("_+_", "int, int -> int", add, "Sum."),
    global("_+_", "list(A), list(A) -> list(A)", add, "One list after the other."),
    global("_+_", "string, string -> string", add, "One text after the other."),
    global("_+_", "uint, uint -> uint", add, "Sum."),
    global("_-_", "double, double -> double", subtract, "Difference."),
    global("_-_", "duration, duration -> duration", subtract, "Difference."),
    global("_-_", "int, int -> int", subtract, "Difference."),
    global("_-_", "timestamp, duration -> timestamp", subtract, "Earlier by a duration."),
    global("_-_", "timestamp, timestamp -> duration", subtract, "Time between."),
    global("_-_", "uint, uint -> uint", subtract, "Difference."),
    global("_*_", "double, double -> double", multiply, "Product."),
    global("_*_", "int, int -> int", multiply, "Product."),
    global("_*_", "uint, uint -> uint", multiply, "Product."),
    global("_/_", "double, double -> double", divide, "Quotient."),
    global("_/_", "int, int -> int", divide, "Quotient, rounded to zero."),
    global("_/_", "uint, uint -> uint", divide, "Quotient, rounded down."),
    global("_%_", "int, int -> int", modulo, "Remainder."),
    global("_%_", "uint, uint -> uint", modulo, "Remainder."),
    global("@in", "A, list(A) -> bool", is_in, "Whether a list has an element."),
    global("@in", "A, map(A, B) -> bool", is_in, "Whether a map has a key."),
    // Operands whose types are known only at run time may be numbers of two types.
    dynamic("_<_", "dyn, dyn -> bool", less, "Less; numbers of different types compare by value."),
    dynamic(
        "_<=_",
        "dyn, dyn -> bool",
        at_most,
        "Less or equal; numbers of different types compare by value.",
    ),
    dynamic("_>_", "dyn, dyn -> bool", greater, "Greater; numbers of different types compare by value."),
    dynamic(
        "_>=_",
        "dyn, dyn -> bool",
        at_least,
        "Greater or equal; numbers of different types compare by value.",
    ),
];

fn not(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Bool(b)] => Ok(Val::Bool(!b)),
        _ => Err(mismatch(args)),
    }
}

fn overflow() -> Fault {
    Fault::invalid("integer overflow")
}

fn unsigned() -> Fault {
    Fault::invalid("unsigned integer overflow")
}

fn negate(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(i)] => i.checked_neg().map(Val::Int).ok_or_else(overflow),
        [Val::Double(d)] => Ok(Val::Double(-d)),
        _ => Err(mismatch(args)),
    }
}

fn equal(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [a, b] => a.equals(b, budget).map(Val::Bool),
        _ => Err(mismatch(args)),
    }
}

fn unequal(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [a, b] => a.equals(b, budget).map(|same| Val::Bool(!same)),
        _ => Err(mismatch(args)),
    }
}

fn ordered(budget: &Budget, name: &str, args: &[Val], want: fn(Ordering) -> bool) -> Result<Val, Fault> {
    let [a, b] = args else { return Err(mismatch(args)) };
    if let (Val::String(a), Val::String(b)) = (a, b) {
        budget.text(a.len().min(b.len()))?;
    }
    match a.compare(b) {
        Some(order) => Ok(Val::Bool(order.is_some_and(want))),
        None => Err(Fault::overload(name, args)),
    }
}

fn less(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    ordered(budget, "_<_", args, Ordering::is_lt)
}
fn at_most(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    ordered(budget, "_<=_", args, Ordering::is_le)
}
fn greater(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    ordered(budget, "_>_", args, Ordering::is_gt)
}
fn at_least(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    ordered(budget, "_>=_", args, Ordering::is_ge)
}

fn add(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [a, b] => plus(a, b, budget),
        _ => Err(mismatch(args)),
    }
}

pub(super) fn plus(a: &Val, b: &Val, budget: &Budget) -> Result<Val, Fault> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => a.checked_add(*b).map(Val::Int).ok_or_else(overflow),
        (Val::Uint(a), Val::Uint(b)) => a.checked_add(*b).map(Val::Uint).ok_or_else(unsigned),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::String(a), Val::String(b)) => {
            budget.text(a.len() + b.len())?;
            Ok(Val::string([a.as_ref(), b.as_ref()].concat()))
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            budget.text(a.len() + b.len())?;
            Ok(Val::Bytes(Arc::from([a.as_ref(), b.as_ref()].concat())))
        }
        (Val::List(a), Val::List(b)) => a.plus(b, budget).map(|list| Val::List(Arc::new(list))),
        (Val::Duration(a), Val::Duration(b)) => a.checked_add(*b).map(Val::Duration).ok_or_else(overflow),
        (Val::Timestamp(t), Val::Duration(d)) | (Val::Duration(d), Val::Timestamp(t)) => shift(t, *d),
        _ => Err(Fault::overload("_+_", [a, b])),
    }
}

fn shift(t: &chrono::DateTime<chrono::FixedOffset>, nanos: i64) -> Result<Val, Fault> {
    let moved = t.checked_add_signed(TimeDelta::nanoseconds(nanos));
    let moved = moved.ok_or_else(|| Fault::invalid("timestamp overflow"))?;
    time::in_range(moved).map(Val::Timestamp)
}

fn subtract(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [a, b] = args else { return Err(mismatch(args)) };
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => a.checked_sub(*b).map(Val::Int).ok_or_else(overflow),
        (Val::Uint(a), Val::Uint(b)) => a.checked_sub(*b).map(Val::Uint).ok_or_else(unsigned),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (Val::Duration(a), Val::Duration(b)) => a.checked_sub(*b).map(Val::Duration).ok_or_else(overflow),
        (Val::Timestamp(t), Val::Duration(d)) => shift(t, d.checked_neg().ok_or_else(overflow)?),
        (Val::Timestamp(a), Val::Timestamp(b)) => {
            let nanos = a.signed_duration_since(b).num_nanoseconds();
            nanos.map(Val::Duration).ok_or_else(overflow)
        }
        _ => Err(mismatch(args)),
    }
}

fn multiply(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(a), Val::Int(b)] => a.checked_mul(*b).map(Val::Int).ok_or_else(overflow),
        [Val::Uint(a), Val::Uint(b)] => a.checked_mul(*b).map(Val::Uint).ok_or_else(unsigned),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a * b)),
        _ => Err(mismatch(args)),
    }
}

fn divide(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => Err(Fault::invalid("division by zero")),
        [Val::Int(a), Val::Int(b)] => a.checked_div(*b).map(Val::Int).ok_or_else(overflow),
        [Val::Uint(a), Val::Uint(b)] => a.checked_div(*b).map(Val::Uint).ok_or_else(overflow),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a / b)),
        _ => Err(mismatch(args)),
    }
}

fn modulo(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => Err(Fault::invalid("modulus by zero")),
        [Val::Int(a), Val::Int(b)] => a.checked_rem(*b).map(Val::Int).ok_or_else(overflow),
        [Val::Uint(a), Val::Uint(b)] => a.checked_rem(*b).map(Val::Uint).ok_or_else(overflow),
        _ => Err(mismatch(args)),
    }
}

fn is_in(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [item, Val::List(items)] => {
            for other in items.iter() {
                if item.equals(other, budget)? {
                    return Ok(Val::Bool(true));
                }
            }
            Ok(Val::Bool(false))
        }
        [key, Val::Map(map)] => Ok(Val::Bool(map.get(key).is_some())),
        _ => Err(mismatch(args)),
    }
}
