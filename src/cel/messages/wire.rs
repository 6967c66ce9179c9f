//! Messages in protobuf's own encoding, which `google.protobuf.Any` holds.

use super::{Form, Message, find};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Map, Val};
use std::sync::Arc;

/// Values in values.
const MAX_DEPTH: usize = 32;

/// What a field holds, before the message says what it means.
enum Raw<'b> {
    Number(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(&'b [u8]),
}

/// The value of a packed message, whose name is what stands behind the last slash of its URL.
pub(super) fn unpack(url: &str, bytes: &[u8], budget: &Budget) -> Result<Val, Fault> {
    let name = url.rsplit('/').next().unwrap_or_default();
    let message =
        find(name).ok_or_else(|| Fault::invalid("google.protobuf.Any: not a well-known message"))?;
    read(message, bytes, budget, 0)
}

fn broken() -> Fault {
    Fault::invalid("google.protobuf.Any: its value is not the message that its type_url names")
}

fn read(message: &Message, bytes: &[u8], budget: &Budget, depth: usize) -> Result<Val, Fault> {
    if depth > MAX_DEPTH {
        return Err(broken());
    }
    let mut fields: Vec<(&'static str, Val)> = Vec::new();
    let (mut items, mut entries) = (Vec::new(), Map::default());
    let mut rest = bytes;
    while !rest.is_empty() {
        budget.step()?;
        let (number, raw, after) = field(rest).ok_or_else(broken)?;
        rest = after;
        // The tables have the fields in the order of their numbers, from one.
        let known = usize::try_from(number).ok().and_then(|n| message.fields.get(n.checked_sub(1)?));
        let Some((name, form)) = known else { continue };
        let embedded = |name: &str, bytes: &[u8]| {
            let message = find(name).ok_or_else(broken)?;
            read(message, bytes, budget, depth + 1)
        };
        let value = match (form, raw) {
            (Form::Int32 | Form::Int64 | Form::Null, Raw::Number(n)) => Val::Int(n as i64),
            (Form::Uint32 | Form::Uint64, Raw::Number(n)) => Val::Uint(n),
            (Form::Bool, Raw::Number(n)) => Val::Bool(n != 0),
            (Form::Double, Raw::Eight(b)) => Val::Double(f64::from_le_bytes(b)),
            (Form::Float, Raw::Four(b)) => Val::Double(f64::from(f32::from_le_bytes(b))),
            (Form::String, Raw::Bytes(b)) => Val::string(std::str::from_utf8(b).map_err(|_| broken())?),
            (Form::Bytes, Raw::Bytes(b)) => Val::Bytes(Arc::from(b)),
            (Form::List, Raw::Bytes(b)) if *name == "list_value" => embedded("google.protobuf.ListValue", b)?,
            (Form::Object, Raw::Bytes(b)) if *name == "struct_value" => {
                embedded("google.protobuf.Struct", b)?
            }
            (Form::List, Raw::Bytes(b)) => {
                items.push(embedded("google.protobuf.Value", b)?);
                Val::list(items.clone())
            }
            (Form::Object, Raw::Bytes(b)) => {
                let (key, value) = entry(b).ok_or_else(broken)?;
                entries.insert(Val::string(key), embedded("google.protobuf.Value", value)?)?;
                Val::map(entries.clone())
            }
            _ => return Err(broken()),
        };
        budget.items(items.len() + entries.len())?;
        // A field that is given twice has its last value. The same holds for fields that exclude each other.
        fields.retain(|(other, _)| other != name);
        fields.push((name, value));
    }
    message.build(fields, budget)
}

/// An entry of a map: its key, and its value as bytes.
fn entry(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value): (&str, &[u8]) = ("", &[]);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, raw, after) = field(rest)?;
        rest = after;
        match (number, raw) {
            (1, Raw::Bytes(b)) => key = std::str::from_utf8(b).ok()?,
            (2, Raw::Bytes(b)) => value = b,
            _ => {}
        }
    }
    Some((key, value))
}

/// A field's number, what it holds, and what is behind it.
fn field(bytes: &[u8]) -> Option<(u64, Raw<'_>, &[u8])> {
    let (key, rest) = number(bytes)?;
    let (raw, rest) = match key & 7 {
        0 => {
            let (n, rest) = number(rest)?;
            (Raw::Number(n), rest)
        }
        1 => {
            let (eight, rest) = rest.split_first_chunk::<8>()?;
            (Raw::Eight(*eight), rest)
        }
        2 => {
            let (len, rest) = number(rest)?;
            let (part, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            (Raw::Bytes(part), rest)
        }
        5 => {
            let (four, rest) = rest.split_first_chunk::<4>()?;
            (Raw::Four(*four), rest)
        }
        _ => return None,
    };
    Some((key >> 3, raw, rest))
}

/// A number, seven bits a byte, the least first.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut out = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        out |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((out, bytes.get(at + 1..)?));
        }
    }
    None
}
