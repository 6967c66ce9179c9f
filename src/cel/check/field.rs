//! Whether an expression's type may go into a field of an object.
//!
//! These are kro's rules for templates, which differ from those inside expressions. Object types are compared by
//! their fields, map literals may fill objects, and an optional counts as what it holds. A value whose type is known
//! only at run time is let through.

use crate::cel::types::{Struct, Type};
use crate::cel::value::unescape_field;

impl Type {
    /// What is wrong with a value of this type in a field of type `field`; `None` when it may go there.
    pub fn mismatch(&self, field: &Type) -> Option<String> {
        match (self, field) {
            (Self::Dyn | Self::Error | Self::Param(_) | Self::Var(_), _)
            | (_, Self::Dyn | Self::Error | Self::Param(_) | Self::Var(_)) => None,
            (Self::Optional(inner) | Self::Wrapper(inner), field) => inner.mismatch(field),
            (output, Self::Optional(inner)) => output.mismatch(inner),
            (Self::List(a), Self::List(b)) => a.mismatch(b).map(|m| format!("list element: {m}")),
            (Self::Map(k, v), Self::Map(l, w)) => k
                .mismatch(l)
                .map(|m| format!("map key: {m}"))
                .or_else(|| v.mismatch(w).map(|m| format!("map value: {m}"))),
            (Self::Struct(a), Self::Struct(b)) => fields(a, b),
            (Self::Map(_, value), Self::Struct(b)) => b.fields.iter().find_map(|(name, t)| {
                Some(format!("field {:?}: {}", unescape_field(name), value.mismatch(t)?))
            }),
            (Self::Struct(a), Self::Map(_, value)) => a.fields.iter().find_map(|(name, t)| {
                Some(format!("field {:?}: {}", unescape_field(name), t.mismatch(value)?))
            }),
            // Base64 text; the API server checks it.
            (Self::String, Self::Bytes) => None,
            (a, b) if a == b => None,
            (a, b) => {
                Some(format!("type kind mismatch: got {}, expected {}", a.in_message(), b.in_message()))
            }
        }
    }
}

fn fields(output: &Struct, field: &Struct) -> Option<String> {
    output.fields.iter().find_map(|(name, t)| match field.fields.get(name) {
        Some(expected) => Some(format!("field {:?}: {}", unescape_field(name), t.mismatch(expected)?)),
        None if field.open => None,
        None => Some(format!("field {:?} does not exist there", unescape_field(name))),
    })
}
