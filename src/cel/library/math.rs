//! Numbers.

use super::{Row, global, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::Val;
use std::cmp::Ordering;

const GREATEST: &str = "The greatest of the arguments, or of a list.";
const LEAST: &str = "The least of the arguments, or of a list.";

/// `math.greatest` and `math.least` take any number of arguments and are lowered to these.
pub(super) const ROWS: &[Row] = &[
    global("math.@max", "double -> double", max, GREATEST),
    global("math.@max", "int -> int", max, GREATEST),
    global("math.@max", "uint -> uint", max, GREATEST),
    global("math.@max", "double, double -> double", max, GREATEST),
    global("math.@max", "int, int -> int", max, GREATEST),
    global("math.@max", "uint, uint -> uint", max, GREATEST),
    global("math.@max", "int, uint -> dyn", max, GREATEST),
    global("math.@max", "int, double -> dyn", max, GREATEST),
    global("math.@max", "double, int -> dyn", max, GREATEST),
    global("math.@max", "double, uint -> dyn", max, GREATEST),
    global("math.@max", "uint, int -> dyn", max, GREATEST),
    global("math.@max", "uint, double -> dyn", max, GREATEST),
    global("math.@max", "list(double) -> double", max, GREATEST),
    global("math.@max", "list(int) -> int", max, GREATEST),
    global("math.@max", "list(uint) -> uint", max, GREATEST),
    global("math.@min", "double -> double", min, LEAST),
    global("math.@min", "int -> int", min, LEAST),
    global("math.@min", "uint -> uint", min, LEAST),
    global("math.@min", "double, double -> double", min, LEAST),
    global("math.@min", "int, int -> int", min, LEAST),
    global("math.@min", "uint, uint -> uint", min, LEAST),
    global("math.@min", "int, uint -> dyn", min, LEAST),
    global("math.@min", "int, double -> dyn", min, LEAST),
    global("math.@min", "double, int -> dyn", min, LEAST),
    global("math.@min", "double, uint -> dyn", min, LEAST),
    global("math.@min", "uint, int -> dyn", min, LEAST),
    global("math.@min", "uint, double -> dyn", min, LEAST),
    global("math.@min", "list(double) -> double", min, LEAST),
    global("math.@min", "list(int) -> int", min, LEAST),
    global("math.@min", "list(uint) -> uint", min, LEAST),
    global("math.ceil", "double -> double", |_, a| double(a, f64::ceil), "Rounded up."),
    global("math.floor", "double -> double", |_, a| double(a, f64::floor), "Rounded down."),
    global("math.round", "double -> double", |_, a| double(a, f64::round), "Rounded, a half away from zero."),
    global(
        "math.trunc",
        "double -> double",
        |_, a| double(a, f64::trunc),
        "Without what is behind the point.",
    ),
    global("math.isInf", "double -> bool", |_, a| test(a, f64::is_infinite), "Whether it is infinite."),
    global("math.isNaN", "double -> bool", |_, a| test(a, f64::is_nan), "Whether it is not a number."),
    global(
        "math.isFinite",
        "double -> bool",
        |_, a| test(a, f64::is_finite),
        "Whether it is a finite number.",
    ),
    global("math.abs", "double -> double", abs, "Without its sign."),
    global("math.abs", "int -> int", abs, "Without its sign."),
    global("math.abs", "uint -> uint", abs, "The number itself."),
    global("math.sign", "double -> double", sign, "-1, 0 or 1."),
    global("math.sign", "int -> int", sign, "-1, 0 or 1."),
    global("math.sign", "uint -> uint", sign, "0 or 1."),
    global("math.sqrt", "double -> double", sqrt, "The square root."),
    global("math.sqrt", "int -> double", sqrt, "The square root."),
    global("math.sqrt", "uint -> double", sqrt, "The square root."),
    global("math.bitAnd", "int, int -> int", |_, a| bits(a, |a, b| a & b), "The bits that both have."),
    global("math.bitAnd", "uint, uint -> uint", |_, a| bits(a, |a, b| a & b), "The bits that both have."),
    global("math.bitOr", "int, int -> int", |_, a| bits(a, |a, b| a | b), "The bits that one of them has."),
    global(
        "math.bitOr",
        "uint, uint -> uint",
        |_, a| bits(a, |a, b| a | b),
        "The bits that one of them has.",
    ),
    global(
        "math.bitXor",
        "int, int -> int",
        |_, a| bits(a, |a, b| a ^ b),
        "The bits that only one of them has.",
    ),
    global("math.bitXor", "uint, uint -> uint", |_, a| bits(a, |a, b| a ^ b), "The bits that only one has."),
    global("math.bitNot", "int -> int", bit_not, "The bits that it has not."),
    global("math.bitNot", "uint -> uint", bit_not, "The bits that it has not."),
    global("math.bitShiftLeft", "int, int -> int", shift_left, "Its bits, so many places higher."),
    global("math.bitShiftLeft", "uint, int -> uint", shift_left, "Its bits, so many places higher."),
    global(
        "math.bitShiftRight",
        "int, int -> int",
        shift_right,
        "Its bits, so many places lower; zeros come in.",
    ),
    global("math.bitShiftRight", "uint, int -> uint", shift_right, "Its bits, so many places lower."),
];

fn max(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    extreme(budget, args, "math.@max", Ordering::Greater)
}

fn min(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    extreme(budget, args, "math.@min", Ordering::Less)
}

/// The first of the best values. NaN among several values is an error.
fn extreme(budget: &Budget, args: &[Val], name: &str, better: Ordering) -> Result<Val, Fault> {
    let items = match args {
        [Val::List(items)] => items,
        _ => args,
    };
    budget.items(items.len())?;
    let Some((mut best, rest)) = items.split_first() else {
        return Err(Fault::invalid(format!("{name}(list) argument must not be empty")));
    };
    let number = |v: &&Val| matches!(v, Val::Int(_) | Val::Uint(_) | Val::Double(_));
    if let Some(other) = items.iter().find(|item| !number(item)) {
        return Err(Fault::overload(name, [other]));
    }
    for item in rest {
        match item.compare_numbers(best) {
            // cel-go refuses to compare with NaN too.
            None => return Err(Fault::invalid(format!("NaN values cannot be ordered: {name}"))),
            Some(order) if order == better => best = item,
            Some(_) => {}
        }
    }
    Ok(best.clone())
}

fn double(args: &[Val], of: fn(f64) -> f64) -> Result<Val, Fault> {
    match args {
        [Val::Double(d)] => Ok(Val::Double(of(*d))),
        _ => Err(mismatch(args)),
    }
}

fn test(args: &[Val], of: fn(f64) -> bool) -> Result<Val, Fault> {
    match args {
        [Val::Double(d)] => Ok(Val::Bool(of(*d))),
        _ => Err(mismatch(args)),
    }
}

fn abs(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Double(d)] => Ok(Val::Double(d.abs())),
        [Val::Int(i)] => i.checked_abs().map(Val::Int).ok_or_else(|| Fault::invalid("integer overflow")),
        [Val::Uint(u)] => Ok(Val::Uint(*u)),
        _ => Err(mismatch(args)),
    }
}

fn sign(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Double(d)] if d.is_nan() => Ok(Val::Double(*d)),
        [Val::Double(d)] if *d == 0.0 => Ok(Val::Double(0.0)),
        [Val::Double(d)] => Ok(Val::Double(d.signum())),
        [Val::Int(i)] => Ok(Val::Int(i.signum())),
        [Val::Uint(u)] => Ok(Val::Uint(u64::from(*u > 0))),
        _ => Err(mismatch(args)),
    }
}

fn sqrt(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let number = match args {
        [Val::Double(d)] => *d,
        [Val::Int(i)] => *i as f64,
        [Val::Uint(u)] => *u as f64,
        _ => return Err(mismatch(args)),
    };
    Ok(Val::Double(number.sqrt()))
}

fn bits(args: &[Val], of: fn(u64, u64) -> u64) -> Result<Val, Fault> {
    match args {
        [Val::Int(a), Val::Int(b)] => Ok(Val::Int(of(*a as u64, *b as u64) as i64)),
        [Val::Uint(a), Val::Uint(b)] => Ok(Val::Uint(of(*a, *b))),
        _ => Err(mismatch(args)),
    }
}

fn bit_not(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(a)] => Ok(Val::Int(!a)),
        [Val::Uint(a)] => Ok(Val::Uint(!a)),
        _ => Err(mismatch(args)),
    }
}

fn shift_left(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    shift(args, "math.bitShiftLeft", u64::checked_shl)
}

fn shift_right(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    shift(args, "math.bitShiftRight", u64::checked_shr)
}

/// A shift by more places than there are gives 0.
fn shift(args: &[Val], name: &str, of: fn(u64, u32) -> Option<u64>) -> Result<Val, Fault> {
    let [number, Val::Int(places)] = args else { return Err(mismatch(args)) };
    if *places < 0 {
        return Err(Fault::invalid(format!("{name}() negative offset")));
    }
    let shifted = |bits: u64| of(bits, u32::try_from(*places).unwrap_or(u32::MAX)).unwrap_or(0);
    match number {
        Val::Int(i) => Ok(Val::Int(shifted(*i as u64) as i64)),
        Val::Uint(u) => Ok(Val::Uint(shifted(*u))),
        _ => Err(mismatch(args)),
    }
}
