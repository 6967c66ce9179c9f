//! Conversions between types, and sizes.

use super::{Row, global, member, mismatch, number};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::Val;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global("bool", "bool -> bool", same, "The value itself."),
    global("bool", "string -> bool", to_bool, "Reads true, True, TRUE, t, T, 1 and their opposites."),
    global("bytes", "bytes -> bytes", same, "The value itself."),
    global("bytes", "string -> bytes", to_bytes, "The text in UTF-8."),
    global("double", "double -> double", same, "The value itself."),
    global("double", "int -> double", to_double, "The nearest double."),
    global("double", "uint -> double", to_double, "The nearest double."),
    global("double", "string -> double", to_double, "Reads a number."),
    global("dyn", "A -> dyn", same, "The value, with its type left to run time."),
    global("int", "int -> int", same, "The value itself."),
    global("int", "uint -> int", to_int, "The same number."),
    global("int", "double -> int", to_int, "Cuts the fraction off."),
    global("int", "string -> int", to_int, "Reads a decimal number."),
    global("int", "timestamp -> int", to_int, "Seconds since 1970."),
    global("int", "duration -> int", to_int, "Nanoseconds."),
    global("uint", "uint -> uint", same, "The value itself."),
    global("uint", "int -> uint", to_uint, "The same number."),
    global("uint", "double -> uint", to_uint, "Cuts the fraction off."),
    global("uint", "string -> uint", to_uint, "Reads a decimal number."),
    global("string", "string -> string", same, "The value itself."),
    global("string", "bool -> string", to_string, "true or false."),
    global("string", "int -> string", to_string, "Decimal digits."),
    global("string", "uint -> string", to_string, "Decimal digits."),
    global("string", "double -> string", to_string, "The shortest digits that give the same number."),
    global("string", "bytes -> string", to_string, "Reads UTF-8."),
    global("string", "timestamp -> string", to_string, "RFC 3339."),
    global("string", "duration -> string", to_string, "Seconds, as in 90s."),
    global("duration", "duration -> duration", same, "The value itself."),
    global("duration", "string -> duration", to_duration, "Reads 1h30m, 90s, 100ms."),
    global("timestamp", "timestamp -> timestamp", same, "The value itself."),
    global("timestamp", "int -> timestamp", to_timestamp, "Seconds since 1970."),
    global("timestamp", "string -> timestamp", to_timestamp, "Reads RFC 3339."),
    global("type", "A -> type(A)", type_of, "The type of a value."),
    // In cel-go's order: an operand of unknown type takes the first type that fits.
    global("size", "bytes -> int", size, "Number of bytes."),
    global("size", "list(A) -> int", size, "Number of elements."),
    global("size", "map(A, B) -> int", size, "Number of entries."),
    global("size", "string -> int", size, "Number of characters."),
    member("size", "bytes -> int", size, "Number of bytes."),
    member("size", "list(A) -> int", size, "Number of elements."),
    member("size", "map(A, B) -> int", size, "Number of entries."),
    member("size", "string -> int", size, "Number of characters."),
];

fn failed(from: &str, to: &str) -> Fault {
    Fault::invalid(format!("type conversion error from '{from}' to '{to}'"))
}

fn overflow() -> Fault {
    Fault::invalid("integer overflow")
}

fn same(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    args.first().cloned().ok_or_else(|| mismatch(args))
}

fn to_bool(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::String(s)] => match s.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(failed("string", "bool")),
        },
        _ => Err(mismatch(args)),
    }
}

fn to_bytes(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            Ok(Val::Bytes(Arc::from(s.as_bytes())))
        }
        _ => Err(mismatch(args)),
    }
}

fn to_double(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Double(match args {
        [Val::Int(i)] => *i as f64,
        [Val::Uint(u)] => *u as f64,
        [Val::String(s)] => number::read(s).ok_or_else(|| failed("string", "double"))?,
        _ => return Err(mismatch(args)),
    }))
}

fn to_int(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(match args {
        [Val::Uint(u)] => i64::try_from(*u).map_err(|_| overflow())?,
        [Val::Double(d)] => {
            // The bounds themselves are not exact doubles, so they are excluded.
            if !(*d > i64::MIN as f64 && *d < i64::MAX as f64) {
                return Err(overflow());
            }
            *d as i64
        }
        [Val::String(s)] => s.parse().map_err(|_| failed("string", "int"))?,
        [Val::Timestamp(t)] => t.timestamp(),
        [Val::Duration(d)] => *d,
        _ => return Err(mismatch(args)),
    }))
}

fn to_uint(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Uint(match args {
        [Val::Int(i)] => u64::try_from(*i).map_err(|_| overflow())?,
        [Val::Double(d)] => {
            if !(*d >= 0.0 && *d < u64::MAX as f64) {
                return Err(overflow());
            }
            *d as u64
        }
        [Val::String(s)] if s.starts_with('+') => return Err(failed("string", "uint")),
        [Val::String(s)] => s.parse().map_err(|_| failed("string", "uint"))?,
        _ => return Err(mismatch(args)),
    }))
}

fn to_string(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(match args {
        [Val::Bool(b)] => Val::string(b.to_string()),
        [Val::Int(i)] => Val::string(i.to_string()),
        [Val::Uint(u)] => Val::string(u.to_string()),
        [Val::Double(d)] => Val::string(go_float(*d)),
        [Val::Bytes(b)] => {
            budget.text(b.len())?;
            Val::string(
                std::str::from_utf8(b)
                    .map_err(|_| Fault::invalid("invalid UTF-8 in bytes, cannot convert to string"))?,
            )
        }
        [Val::Timestamp(t)] => Val::string(time::rfc3339(t)),
        [Val::Duration(d)] => Val::string(time::duration_seconds(*d)),
        _ => return Err(mismatch(args)),
    })
}

fn to_duration(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::String(s)] => time::parse_duration(s)
            .map(Val::Duration)
            .ok_or_else(|| failed("string", "google.protobuf.Duration")),
        _ => Err(mismatch(args)),
    }
}

fn to_timestamp(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Int(i)] => time::from_unix(*i).map(Val::Timestamp),
        [Val::String(s)] => time::parse_timestamp(s)
            .map(Val::Timestamp)
            .ok_or_else(|| failed("string", "google.protobuf.Timestamp")),
        _ => Err(mismatch(args)),
    }
}

fn type_of(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [value] => Ok(Val::Type(Arc::from(value.type_name()))),
        _ => Err(mismatch(args)),
    }
}

fn size(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let len = match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            s.chars().count()
        }
        [Val::Bytes(b)] => b.len(),
        [Val::List(items)] => items.len(),
        [Val::Map(map)] => map.len(),
        _ => return Err(mismatch(args)),
    };
    Ok(Val::Int(len as i64))
}

/// Go's shortest `%g`: with an exponent below -4 and from 6 on, as in `1e+06`.
pub(in crate::cel) fn go_float(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Rust writes the same shortest digits: `-1.234567e6`.
    let text = format!("{d:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{d}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_as_go_writes_them() {
        for (d, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-10, "-2.5e-10"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(go_float(d), want);
        }
    }
}
