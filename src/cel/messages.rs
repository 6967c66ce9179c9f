//! Literals of protobuf's well-known messages: `google.protobuf.Duration{seconds: 1}`.
//!
//! No value stays a message: each becomes a value of the language, such as a number, a text or a map.

mod wire;

use super::budget::Budget;
use super::error::Fault;
use super::library::through_json;
use super::time;
use super::types::Type;
use super::value::{Map, Opaque, Val};
use chrono::TimeDelta;
use std::sync::Arc;

/// A message, by its fields in the order of their numbers, and what becomes of it.
#[derive(Debug)]
pub(super) struct Message {
    name: &'static str,
    pub(super) fields: &'static [(&'static str, Form)],
    becomes: Becomes,
}

/// The values that a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Double,
    Float,
    Bool,
    String,
    Bytes,
    /// The only value of an enumeration, a number.
    Null,
    /// A list of JSON values.
    List,
    /// An object of JSON values.
    Object,
}

#[derive(Debug)]
enum Becomes {
    /// The value of its only field, which may be compared with null.
    Wrapped,
    Duration,
    Timestamp,
    /// The value of its only field, of JSON values.
    Json,
    /// Any JSON value.
    Value,
    Empty,
    /// The message that it holds, encoded.
    Any,
}

const fn wrapper(name: &'static str, fields: &'static [(&'static str, Form); 1]) -> Message {
    Message { name, fields, becomes: Becomes::Wrapped }
}

const MESSAGES: [Message; 16] = [
    wrapper("google.protobuf.BoolValue", &[("value", Form::Bool)]),
    wrapper("google.protobuf.BytesValue", &[("value", Form::Bytes)]),
    wrapper("google.protobuf.DoubleValue", &[("value", Form::Double)]),
    wrapper("google.protobuf.FloatValue", &[("value", Form::Float)]),
    wrapper("google.protobuf.Int32Value", &[("value", Form::Int32)]),
    wrapper("google.protobuf.Int64Value", &[("value", Form::Int64)]),
    wrapper("google.protobuf.StringValue", &[("value", Form::String)]),
    wrapper("google.protobuf.UInt32Value", &[("value", Form::Uint32)]),
    wrapper("google.protobuf.UInt64Value", &[("value", Form::Uint64)]),
    Message {
        name: "google.protobuf.Duration",
        fields: &[("seconds", Form::Int64), ("nanos", Form::Int32)],
        becomes: Becomes::Duration,
    },
    Message {
        name: "google.protobuf.Timestamp",
        fields: &[("seconds", Form::Int64), ("nanos", Form::Int32)],
        becomes: Becomes::Timestamp,
    },
    Message { name: "google.protobuf.ListValue", fields: &[("values", Form::List)], becomes: Becomes::Json },
    Message { name: "google.protobuf.Struct", fields: &[("fields", Form::Object)], becomes: Becomes::Json },
    Message {
        name: "google.protobuf.Value",
        fields: &[
            ("null_value", Form::Null),
            ("number_value", Form::Double),
            ("string_value", Form::String),
            ("bool_value", Form::Bool),
            ("struct_value", Form::Object),
            ("list_value", Form::List),
        ],
        becomes: Becomes::Value,
    },
    Message { name: "google.protobuf.Empty", fields: &[], becomes: Becomes::Empty },
    Message {
        name: "google.protobuf.Any",
        fields: &[("type_url", Form::String), ("value", Form::Bytes)],
        becomes: Becomes::Any,
    },
];

/// The message of this name.
pub(super) fn find(name: &str) -> Option<&'static Message> {
    static ALL: [Message; 16] = MESSAGES;
    ALL.iter().find(|message| message.name == name)
}

impl Message {
    /// The name of a field as the table has it.
    pub(super) fn field_name(&self, name: &str) -> Option<&'static str> {
        self.fields.iter().map(|(field, _)| *field).find(|field| *field == name)
    }

    /// The type that a field takes.
    pub(super) fn field_type(&self, name: &str) -> Type {
        self.form(name).map_or(Type::Dyn, Form::takes)
    }

    fn form(&self, name: &str) -> Option<Form> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, form)| *form)
    }

    /// The type of a literal.
    pub(super) fn gives(&self) -> Type {
        let only = || self.fields.first().map_or(Type::Dyn, |(_, form)| form.takes());
        match self.becomes {
            Becomes::Wrapped => Type::Wrapper(Arc::new(only())),
            Becomes::Duration => Type::Duration,
            Becomes::Timestamp => Type::Timestamp,
            Becomes::Json => only(),
            Becomes::Value => Type::Dyn,
            Becomes::Empty => Type::Opaque("google.protobuf.Empty"),
            Becomes::Any => Type::Wrapper(Arc::new(Type::Dyn)),
        }
    }

    /// The value of a literal with these fields. A field that is not given has the zero of its form.
    pub(super) fn build(&self, fields: Vec<(&'static str, Val)>, budget: &Budget) -> Result<Val, Fault> {
        let mut given = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let wrong = || Fault::invalid(format!("field type conversion error for {}.{name}", self.name));
            let Some(form) = self.form(name) else { continue };
            given.push((name, form.read(value, budget)?.ok_or_else(wrong)?));
        }
        let number = |name: &str| match given.iter().find(|(field, _)| *field == name) {
            Some((_, Val::Int(i))) => *i,
            _ => 0,
        };
        match self.becomes {
            Becomes::Duration => {
                let nanos = number("seconds").saturating_mul(1_000_000_000);
                Ok(Val::Duration(nanos.saturating_add(number("nanos"))))
            }
            Becomes::Timestamp => {
                let moved = time::from_unix(number("seconds"))?;
                let moved = moved.checked_add_signed(TimeDelta::nanoseconds(number("nanos")));
                time::in_range(moved.ok_or_else(|| Fault::invalid("timestamp overflow"))?).map(Val::Timestamp)
            }
            Becomes::Empty => Ok(Val::Opaque(Arc::new(Opaque::Empty))),
            Becomes::Any => match given.as_slice() {
                [(_, Val::String(url))] => wire::unpack(url, &[], budget),
                [(_, Val::String(url)), (_, Val::Bytes(bytes))]
                | [(_, Val::Bytes(bytes)), (_, Val::String(url))] => wire::unpack(url, bytes, budget),
                _ => Err(Fault::invalid("google.protobuf.Any: type_url is missing")),
            },
            Becomes::Value => Ok(given.pop().map_or(Val::Null, |(_, value)| value)),
            Becomes::Wrapped | Becomes::Json => Ok(match (given.pop(), self.fields.first()) {
                (Some((_, value)), _) => value,
                (None, Some((_, form))) => form.zero(),
                (None, None) => Val::Null,
            }),
        }
    }
}

impl Form {
    fn takes(self) -> Type {
        match self {
            Self::Int32 | Self::Int64 | Self::Null => Type::Int,
            Self::Uint32 | Self::Uint64 => Type::Uint,
            Self::Double | Self::Float => Type::Double,
            Self::Bool => Type::Bool,
            Self::String => Type::String,
            Self::Bytes => Type::Bytes,
            Self::List => Type::list(Type::Dyn),
            Self::Object => Type::map(Type::String, Type::Dyn),
        }
    }

    fn zero(self) -> Val {
        match self {
            Self::Int32 | Self::Int64 => Val::Int(0),
            Self::Uint32 | Self::Uint64 => Val::Uint(0),
            Self::Double | Self::Float => Val::Double(0.0),
            Self::Bool => Val::Bool(false),
            Self::String => Val::string(""),
            Self::Bytes => Val::Bytes(Arc::from([])),
            Self::Null => Val::Null,
            Self::List => Val::list(Vec::new()),
            Self::Object => Val::map(Map::default()),
        }
    }

    /// The value in the field; `None` if the field can not hold it.
    fn read(self, value: Val, budget: &Budget) -> Result<Option<Val>, Fault> {
        Ok(match (self, value) {
            (Self::Int32, Val::Int(i)) => i32::try_from(i).ok().map(|_| Val::Int(i)),
            (Self::Uint32, Val::Uint(u)) => u32::try_from(u).ok().map(|_| Val::Uint(u)),
            (Self::Float, Val::Double(d)) => Some(Val::Double(f64::from(d as f32))),
            (Self::Null, Val::Int(_)) => Some(Val::Null),
            (Self::List, list @ Val::List(_)) => Some(through_json(&list, budget)?),
            (Self::Object, map @ Val::Map(_)) => Some(through_json(&map, budget)?),
            (Self::Int64, value @ Val::Int(_))
            | (Self::Uint64, value @ Val::Uint(_))
            | (Self::Double, value @ Val::Double(_))
            | (Self::Bool, value @ Val::Bool(_))
            | (Self::String, value @ Val::String(_))
            | (Self::Bytes, value @ Val::Bytes(_)) => Some(value),
            _ => None,
        })
    }
}
