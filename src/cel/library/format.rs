//! `'…'.format([…])`.

use super::mismatch;
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::time;
use crate::cel::value::Val;
use std::fmt::Write;

/// Largest precision of `%f` and `%e`.
const MAX_PRECISION: usize = 100;

/// A clause such as `%.2f`: what to write in its place, and how.
#[derive(Clone, Copy, Debug)]
pub(in crate::cel) struct Clause {
    verb: char,
    precision: Option<usize>,
}

impl Clause {
    /// Why a value of this type (by its name at run time) can not be written so.
    pub(in crate::cel) fn refusal(&self, type_name: &str) -> Option<String> {
        let (allowed, only): (&[&str], &str) = match self.verb {
            's' => (
                &[
                    "string",
                    "bool",
                    "bytes",
                    "int",
                    "uint",
                    "double",
                    "map",
                    "list",
                    "type",
                    "null_type",
                    "google.protobuf.Duration",
                    "google.protobuf.Timestamp",
                ],
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, \
                 durations, and timestamps",
            ),
            'd' => {
                (&["int", "uint", "double"], "decimal clause can only be used on ints, uints, and doubles")
            }
            'f' => (
                &["int", "uint", "double"],
                "fixed-point clause can only be used on ints, uints, and doubles",
            ),
            'e' => {
                (&["int", "uint", "double"], "scientific clause can only be used on ints, uints, and doubles")
            }
            'b' => (&["int", "uint", "bool"], "only ints, uints, and bools can be formatted as binary"),
            'o' => (&["int", "uint"], "octal clause can only be used on ints and uints"),
            _ => (
                &["int", "uint", "bytes", "string"],
                "only ints, uints, bytes, and strings can be formatted as hex",
            ),
        };
        let fits = allowed.contains(&type_name);
        (!fits).then(|| format!("error during formatting: {only}, was given {type_name}"))
    }
}

enum Piece {
    Text(String),
    Clause(Clause),
}

/// The clauses of a format string, in order.
pub(in crate::cel) fn clauses(pattern: &str) -> Result<Vec<Clause>, String> {
    let clause = |piece| match piece {
        Piece::Clause(clause) => Some(clause),
        Piece::Text(_) => None,
    };
    Ok(pieces(pattern)?.into_iter().filter_map(clause).collect())
}

fn pieces(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push(Piece::Text(rest.get(..at).unwrap_or_default().to_owned()));
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix('%') {
            out.push(Piece::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let (number, after) = after.split_at_checked(digits).unwrap_or((after, ""));
            let wrong = |what: String| {
                format!("could not parse formatting clause: error while parsing precision: {what}")
            };
            if after.is_empty() {
                return Err(wrong("could not find end of precision specifier".to_owned()));
            }
            let parsed = number.parse::<usize>().map_err(|_| {
                wrong(format!(
                    "error while converting precision to integer: strconv.Atoi: parsing {number:?}: invalid syntax"
                ))
            })?;
            if parsed > MAX_PRECISION {
                let most = format!("precision {parsed} exceeds maximum allowed precision {MAX_PRECISION}");
                return Err(wrong(most));
            }
            precision = Some(parsed);
            rest = after;
        }
        let verb = rest.chars().next().ok_or("unexpected end of string")?;
        rest = rest.get(verb.len_utf8()..).unwrap_or_default();
        if !"sdfebxXo".contains(verb) {
            return Err(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            ));
        }
        out.push(Piece::Clause(Clause { verb, precision }));
    }
    out.push(Piece::Text(rest.to_owned()));
    Ok(out)
}

pub(super) fn format(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::String(pattern), Val::List(values)] = args else { return Err(mismatch(args)) };
    budget.text(pattern.len())?;
    let mut out = String::new();
    let mut values = values.iter();
    for piece in pieces(pattern).map_err(Fault::Invalid)? {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Clause(clause) => {
                let value = values.next();
                let value = value.ok_or_else(|| Fault::invalid("too few arguments for the format string"))?;
                write_clause(&mut out, clause, value, budget)?;
            }
        }
        budget.text(out.len())?;
    }
    Ok(Val::string(out))
}

fn write_clause(out: &mut String, clause: Clause, value: &Val, budget: &Budget) -> Result<(), Fault> {
    if let Some(message) = clause.refusal(value.type_name()) {
        return Err(Fault::Invalid(message));
    }
    let Clause { verb, precision } = clause;
    let wrong = || Fault::overload("format", [value]);
    // Writing to a String does not fail.
    let _ = match verb {
        's' => return text(out, value, budget),
        'd' => match value {
            Val::Int(i) => write!(out, "{i}"),
            Val::Uint(u) => write!(out, "{u}"),
            Val::Double(d) => write!(out, "{}", plain(*d)),
            _ => return Err(wrong()),
        },
        'f' | 'e' => {
            let number = match value {
                Val::Double(d) => *d,
                Val::Int(i) => *i as f64,
                Val::Uint(u) => *u as f64,
                _ => return Err(wrong()),
            };
            let precision = precision.unwrap_or(6);
            if !number.is_finite() {
                write!(out, "{}", plain(number))
            } else if verb == 'f' {
                write!(out, "{number:.precision$}")
            } else {
                let text = format!("{number:.precision$e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(out, "{digits}e{sign}{:02}", exponent.abs())
            }
        }
        'b' => match value {
            Val::Bool(b) => write!(out, "{}", u8::from(*b)),
            Val::Int(i) => write!(out, "{}{:b}", minus(*i), i.unsigned_abs()),
            Val::Uint(u) => write!(out, "{u:b}"),
            _ => return Err(wrong()),
        },
        'o' => match value {
            Val::Int(i) => write!(out, "{}{:o}", minus(*i), i.unsigned_abs()),
            Val::Uint(u) => write!(out, "{u:o}"),
            _ => return Err(wrong()),
        },
        _ => {
            let hex = match value {
                Val::Int(i) => format!("{}{:x}", minus(*i), i.unsigned_abs()),
                Val::Uint(u) => format!("{u:x}"),
                Val::String(s) => hex_bytes(s.as_bytes(), budget)?,
                Val::Bytes(b) => hex_bytes(b, budget)?,
                _ => return Err(wrong()),
            };
            out.push_str(&if verb == 'X' { hex.to_ascii_uppercase() } else { hex });
            return Ok(());
        }
    };
    Ok(())
}

fn minus(i: i64) -> &'static str {
    if i < 0 { "-" } else { "" }
}

fn hex_bytes(bytes: &[u8], budget: &Budget) -> Result<String, Fault> {
    budget.text(bytes.len() * 2)?;
    Ok(bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    }))
}

fn plain(d: f64) -> String {
    if d.is_nan() {
        "NaN".to_owned()
    } else if d.is_infinite() {
        if d > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        d.to_string()
    }
}

/// What `%s` makes of a value, containers included.
fn text(out: &mut String, value: &Val, budget: &Budget) -> Result<(), Fault> {
    budget.step()?;
    budget.text(out.len())?;
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(b) => out.push_str(&b.to_string()),
        Val::Int(i) => out.push_str(&i.to_string()),
        Val::Uint(u) => out.push_str(&u.to_string()),
        Val::Double(d) => out.push_str(&plain(*d)),
        Val::String(s) => out.push_str(s),
        Val::Bytes(b) => out.push_str(&String::from_utf8_lossy(b)),
        Val::Duration(d) => out.push_str(&time::duration_seconds(*d)),
        Val::Timestamp(t) => out.push_str(&time::rfc3339(t)),
        Val::Type(name) => out.push_str(name),
        Val::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                text(out, item, budget)?;
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            let mut entries = Vec::new();
            for (key, value) in map.iter() {
                let mut name = String::new();
                text(&mut name, &key, budget)?;
                entries.push((name, value));
            }
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(key);
                out.push_str(": ");
                text(out, value, budget)?;
            }
            out.push('}');
        }
        Val::Optional(_) | Val::Opaque(_) => {
            let name = value.type_name();
            return Err(Fault::invalid(format!("error during formatting: %s does not take {name}")));
        }
    }
    Ok(())
}
