//! The types of expressions.

use super::value::Val;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The static type of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Anything, known only at run time.
    Dyn,
    /// `null` alone.
    Null,
    /// `true` and `false`.
    Bool,
    /// Whole numbers of 64 bits.
    Int,
    /// Whole numbers of 64 bits without a sign.
    Uint,
    /// Floating-point numbers of 64 bits.
    Double,
    /// Text in Unicode.
    String,
    /// Bytes.
    Bytes,
    /// A length of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// With the type of its items.
    List(Arc<Type>),
    /// With the types of its keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// With the type of what may be there.
    Optional(Arc<Type>),
    /// A protobuf wrapper around a simple type, or around anything: fits where that type fits, and may be compared
    /// with null.
    Wrapper(Arc<Type>),
    /// The type of types.
    Type(Arc<Type>),
    /// A value of a library, by its name in messages.
    Opaque(&'static str),
    /// An object with known fields.
    Struct(Arc<Struct>),
    /// A type parameter of a signature.
    Param(Arc<str>),
    /// A type that the checker has still to find.
    Var(usize),
    /// The type of an expression that has a mistake. It fits everywhere, so one mistake gives one message.
    Error,
}

/// An object type. Its name says where in which schema it stands. Two object types are equal if their names are.
#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    /// The fields, by the names that expressions use (`my__dash__field`).
    pub fields: BTreeMap<String, Type>,
    /// Fields that are not listed are allowed, of any type.
    pub open: bool,
    /// The fields that are lists whose order means nothing, by the same names.
    pub lists: BTreeMap<String, Arc<Identity>>,
}

/// What makes two elements of such a list the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Their value (`x-kubernetes-list-type: set`).
    Value,
    /// The values of these fields (`x-kubernetes-list-type: map`).
    Keys(Vec<String>),
}

impl PartialEq for Struct {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Struct {}

impl Type {
    /// A list of such items.
    pub fn list(item: Type) -> Self {
        Self::List(Arc::new(item))
    }
    /// A map of such keys and values.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }
    /// A value of this type, or nothing.
    pub fn optional(inner: Type) -> Self {
        Self::Optional(Arc::new(inner))
    }
    /// A type that a signature leaves open, by its name there.
    pub fn param(name: &str) -> Self {
        Self::Param(Arc::from(name))
    }

    /// The type without a protobuf wrapper around it.
    pub fn plain(&self) -> &Self {
        match self {
            Self::Wrapper(inner) => inner,
            other => other,
        }
    }

    /// Whether some value of the type is bytes, which fields hold as base64.
    pub fn holds_bytes(&self) -> bool {
        match self {
            Self::Bytes => true,
            Self::List(inner) | Self::Optional(inner) | Self::Wrapper(inner) | Self::Map(_, inner) => {
                inner.holds_bytes()
            }
            Self::Struct(s) => s.fields.values().any(Self::holds_bytes),
            _ => false,
        }
    }

    /// The name in a message about overloads, which is shorter than [`fmt::Display`]'s for some types.
    pub fn in_message(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Timestamp => "timestamp".to_owned(),
            Self::List(t) => format!("list({})", t.in_message()),
            Self::Map(k, v) => format!("map({}, {})", k.in_message(), v.in_message()),
            Self::Optional(t) => format!("optional_type({})", t.in_message()),
            Self::Wrapper(t) if **t == Self::Dyn => "google.protobuf.Any".to_owned(),
            Self::Wrapper(t) => format!("wrapper({})", t.in_message()),
            Self::Type(t) => format!("type({})", t.in_message()),
            other => other.to_string(),
        }
    }

    /// The type that a type's name stands for.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "bytes" => Self::Bytes,
            "double" => Self::Double,
            "dyn" => Self::Dyn,
            "int" => Self::Int,
            "list" => Self::list(Self::Dyn),
            "map" => Self::map(Self::Dyn, Self::Dyn),
            "null_type" => Self::Null,
            "optional_type" => Self::optional(Self::Dyn),
            "string" => Self::String,
            "type" => Self::Opaque("type"),
            "uint" => Self::Uint,
            "google.protobuf.Duration" => Self::Duration,
            "google.protobuf.Timestamp" => Self::Timestamp,
            other => Self::Opaque(OPAQUE.into_iter().find(|n| *n == other)?),
        })
    }

    /// Whether a value may be passed where this type is declared. Only the outermost kind counts: the elements of a
    /// list are the function's business.
    pub(super) fn admits(&self, value: &Val) -> bool {
        match (self, value) {
            (Self::Dyn | Self::Param(_) | Self::Var(_) | Self::Error, _)
            | (Self::Null, Val::Null)
            | (Self::Bool, Val::Bool(_))
            | (Self::Int, Val::Int(_))
            | (Self::Uint, Val::Uint(_))
            | (Self::Double, Val::Double(_))
            | (Self::String, Val::String(_))
            | (Self::Bytes, Val::Bytes(_))
            | (Self::Duration, Val::Duration(_))
            | (Self::Timestamp, Val::Timestamp(_))
            | (Self::List(_), Val::List(_))
            | (Self::Map(..), Val::Map(_))
            | (Self::Optional(_), Val::Optional(_))
            | (Self::Type(_), Val::Type(_)) => true,
            (Self::Opaque(name), Val::Opaque(o)) => o.type_name() == *name,
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null_type"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("google.protobuf.Duration"),
            Self::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Self::List(t) => write!(f, "list({t})"),
            Self::Map(k, v) => write!(f, "map({k}, {v})"),
            Self::Optional(t) => write!(f, "optional_type({t})"),
            Self::Wrapper(t) if **t == Self::Dyn => f.write_str("google.protobuf.Any"),
            Self::Wrapper(t) => write!(f, "wrapper({t})"),
            Self::Type(t) => write!(f, "type({t})"),
            Self::Opaque(name) => f.write_str(name),
            Self::Struct(s) => f.write_str(&s.name),
            Self::Param(name) => f.write_str(name),
            Self::Var(n) => write!(f, "_var{n}"),
            Self::Error => f.write_str("!error!"),
        }
    }
}

/// Types of libraries.
const OPAQUE: [&str; 7] = [
    "google.protobuf.Empty",
    "kro.run.Condition",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.URL",
    "net.CIDR",
    "net.IP",
];

/// Reads a signature such as `list(T), int -> optional(T)`: argument types and result type.
pub(super) fn signature(text: &str) -> Option<(Vec<Type>, Type)> {
    let (args, result) = text.split_once("->")?;
    let mut rest = args.trim();
    let mut types = Vec::new();
    while !rest.is_empty() {
        let (t, after) = parse(rest)?;
        types.push(t);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    let (result, after) = parse(result.trim())?;
    after.trim().is_empty().then_some((types, result))
}

fn parse(text: &str) -> Option<(Type, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end)?;
    let mut inner = Vec::new();
    if let Some(mut more) = rest.strip_prefix('(') {
        loop {
            let (t, after) = parse(more.trim_start())?;
            inner.push(t);
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(')') {
                rest = after;
                break;
            }
            more = after.strip_prefix(',')?;
        }
    }
    let mut inner = inner.into_iter();
    let t = match name {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "list" => Type::list(inner.next()?),
        "map" => Type::map(inner.next()?, inner.next()?),
        "optional" => Type::optional(inner.next()?),
        "type" => Type::Type(Arc::new(inner.next()?)),
        name if OPAQUE.contains(&name) => Type::named(name)?,
        name if name.len() == 1 && name.chars().all(|c| c.is_ascii_uppercase()) => Type::param(name),
        _ => return None,
    };
    inner.next().is_none().then_some((t, rest))
}
