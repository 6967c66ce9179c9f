//! JSON text, as Go's encoder writes it.

use super::{Row, global, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::{Map, Val};
use base64::Engine;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::fmt::Write;

pub(super) const ROWS: &[Row] =
    &[global("json.encode", "dyn -> string", encode, "JSON text; integers beyond 2^53 as strings.")];

/// The two encoders. They differ in values that JSON has no form for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Dialect {
    /// kro's `json.marshal`.
    Kro,
    /// cel-go's `json.encode`, which follows protobuf.
    Proto,
}

fn encode(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [value] => write(value, Dialect::Proto, budget),
        _ => Err(mismatch(args)),
    }
}

pub(super) fn write(value: &Val, dialect: Dialect, budget: &Budget) -> Result<Val, Fault> {
    let mut out = String::new();
    put(&mut out, value, dialect, budget)?;
    Ok(Val::string(out))
}

fn put(out: &mut String, value: &Val, dialect: Dialect, budget: &Budget) -> Result<(), Fault> {
    const EXACT: u64 = 1 << 53;
    budget.step()?;
    let before = out.len();
    let proto = dialect == Dialect::Proto;
    // Writing to a String does not fail.
    let _ = match value {
        Val::Null => out.write_str("null"),
        Val::Bool(b) => write!(out, "{b}"),
        Val::Int(i) if proto && i.unsigned_abs() >= EXACT => write!(out, "\"{i}\""),
        Val::Int(i) => write!(out, "{i}"),
        Val::Uint(u) if proto && *u >= EXACT => write!(out, "\"{u}\""),
        Val::Uint(u) => write!(out, "{u}"),
        Val::Double(d) if d.is_finite() => out.write_str(&number(*d)),
        Val::Double(_) => {
            return Err(Fault::invalid("a double that is infinite or not a number has no JSON form"));
        }
        Val::String(s) => {
            quote(out, s);
            Ok(())
        }
        Val::Bytes(b) => {
            budget.text(b.len() * 2)?;
            write!(out, "\"{}\"", base64::engine::general_purpose::STANDARD.encode(b))
        }
        Val::Duration(d) if proto => write!(out, "\"{}\"", time::duration_seconds(*d)),
        Val::Duration(d) => write!(out, "\"{}\"", time::go_duration(*d)),
        Val::Timestamp(t) if proto => write!(out, "\"{}\"", time::rfc3339(t)),
        Val::Timestamp(t) => write!(out, "\"{}\"", time::rfc3339_seconds(t)),
        Val::Optional(Some(inner)) => return put(out, inner, dialect, budget),
        Val::Optional(None) if proto => return Err(Fault::invalid("optional.none() dereference")),
        Val::Optional(None) => out.write_str("null"),
        Val::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                put(out, item, dialect, budget)?;
            }
            out.write_char(']')
        }
        Val::Map(map) => return object(out, map, dialect, budget),
        Val::Type(_) | Val::Opaque(_) => {
            return Err(Fault::invalid(format!("unsupported type: {}", value.type_name())));
        }
    };
    budget.text(out.len() - before)?;
    if out.len() > crate::cel::MAX_SIZE { Err(Fault::Exhausted("memory")) } else { Ok(()) }
}

fn object(out: &mut String, map: &Map, dialect: Dialect, budget: &Budget) -> Result<(), Fault> {
    if let Some(key) = map.others.keys().next() {
        let name = Val::from(key).type_name();
        return Err(Fault::invalid(format!("map keys must be strings, found {name}")));
    }
    out.push('{');
    for (i, (key, value)) in map.strings.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        quote(out, key);
        out.push(':');
        put(out, value, dialect, budget)?;
    }
    out.push('}');
    Ok(())
}

/// A double: whole, with a fraction, or with an exponent from 1e21 on and below 1e-6.
fn number(d: f64) -> String {
    let size = d.abs();
    if d == 0.0 || (1e-6..1e21).contains(&size) {
        return d.to_string();
    }
    let text = format!("{d:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// A string, with what HTML would misread escaped.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A value as protobuf's JSON has it: numbers are doubles, those too large for one are texts, and so is all else.
pub(in crate::cel) fn through_json(value: &Val, budget: &Budget) -> Result<Val, Fault> {
    match write(value, Dialect::Proto, budget)? {
        Val::String(text) => read(&text, budget),
        other => Ok(other),
    }
}

/// Every number becomes a double.
pub(super) fn read(text: &str, budget: &Budget) -> Result<Val, Fault> {
    // A node takes at least two bytes of text, and many times as much in memory. So the text is charged by the nodes
    // that it may hold.
    budget.charge(text.len() as u64 / 2)?;
    let json: Json = serde_json::from_str(&without_halves(text))
        .map_err(|_| Fault::invalid("json.unmarshal failed to parse JSON"))?;
    Ok(doubles(&json))
}

/// Replaces half of a surrogate pair, which is no character, by the replacement character, as Go does.
fn without_halves(text: &str) -> Cow<'_, str> {
    let half = |text: &str| -> Option<u32> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok().filter(|code| (0xd800..0xe000).contains(code))
    };
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        let escape = text.get(at..).unwrap_or_default();
        at += match half(escape) {
            // Another escape, such as that of a backslash.
            None => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
            Some(first) => {
                let second = escape.get(6..).and_then(half);
                if first < 0xdc00 && second.is_some_and(|second| second >= 0xdc00) {
                    12
                } else {
                    out.push_str(text.get(copied..at).unwrap_or_default());
                    out.push('\u{fffd}');
                    copied = at + 6;
                    6
                }
            }
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

fn doubles(json: &Json) -> Val {
    match json {
        Json::Number(n) => Val::Double(n.as_f64().unwrap_or(f64::NAN)),
        Json::Array(items) => Val::list(items.iter().map(doubles).collect()),
        Json::Object(fields) => {
            let strings = fields.iter().map(|(k, v)| (k.as_str().into(), doubles(v))).collect();
            Val::map(Map { strings, ..Map::default() })
        }
        other => Val::from_json(other),
    }
}
