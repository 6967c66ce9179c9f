//! Values during an evaluation, and the way from JSON and back.
//!
//! Every container is shared (`Arc`), so a value is converted once and cloned for the price of a counter. Maps keep
//! their keys sorted: an iteration gives the same order on every run and every cluster.

use super::budget::Budget;
use super::error::Fault;
use super::library::{Cidr, Quantity, Url};
use super::time;
use super::types::Identity;
use chrono::{DateTime, FixedOffset};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A value of the expression language.
#[derive(Clone, Debug)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Arc<List>),
    Map(Arc<Map>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(DateTime<FixedOffset>),
    Optional(Option<Arc<Val>>),
    /// The type of this name.
    Type(Arc<str>),
    Opaque(Arc<Opaque>),
}

/// A list. With an identity, the order of its elements means nothing; the identity then decides about equality and
/// `+`.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) items: Vec<Val>,
    pub(super) identity: Option<Arc<Identity>>,
}

impl Deref for List {
    type Target = Vec<Val>;
    fn deref(&self) -> &Vec<Val> {
        &self.items
    }
}

impl Identity {
    /// Whether two elements count as the same.
    fn same(&self, a: &Val, b: &Val, budget: &Budget) -> Result<bool, Fault> {
        let keys = match self {
            Self::Value => return a.equals(b, budget),
            Self::Keys(keys) => keys,
        };
        let (Val::Map(a), Val::Map(b)) = (a, b) else { return Ok(false) };
        for key in keys {
            match (a.strings.get(key.as_str()), b.strings.get(key.as_str())) {
                (None, None) => {}
                (Some(a), Some(b)) if a.equals(b, budget)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl List {
    /// The position of the element that counts as the same as this one.
    fn position(&self, identity: &Identity, wanted: &Val, budget: &Budget) -> Result<Option<usize>, Fault> {
        for (at, item) in self.items.iter().enumerate() {
            if identity.same(item, wanted, budget)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn equals(&self, other: &List, budget: &Budget) -> Result<bool, Fault> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (at, theirs) in other.iter().enumerate() {
            let ours = match &self.identity {
                Some(identity) => self.position(identity, theirs, budget)?,
                None => Some(at),
            };
            match ours.and_then(|at| self.get(at)) {
                Some(ours) if ours.equals(theirs, budget)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Concatenates. With an identity, elements of the other list replace those of this list that count as the same,
    /// in their places.
    pub(super) fn plus(&self, other: &List, budget: &Budget) -> Result<List, Fault> {
        budget.items(self.len() + other.len())?;
        let mut out = self.clone();
        let Some(identity) = &self.identity else {
            out.items.extend(other.iter().cloned());
            return Ok(out);
        };
        for theirs in other.iter() {
            let place = out.position(identity, theirs, budget)?;
            match place.and_then(|at| out.items.get_mut(at)) {
                Some(ours) => *ours = theirs.clone(),
                None => out.items.push(theirs.clone()),
            }
        }
        Ok(out)
    }
}

/// A value of a Kubernetes library.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Opaque {
    /// What `omit()` returns: the place it is written to disappears.
    Omit,
    /// A protobuf message without fields.
    Empty,
    Quantity(Quantity),
    Semver(semver::Version),
    Url(Url),
    Ip(std::net::IpAddr),
    Cidr(Cidr),
}

impl Opaque {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Omit => "omit",
            Self::Empty => "google.protobuf.Empty",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
        }
    }
}

/// A key that is not a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(Ordered),
    Duration(i64),
    Timestamp(DateTime<FixedOffset>),
    /// The type of this name.
    Type(Arc<str>),
}

/// A double in an order of all doubles; both zeros are one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered(f64);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        let plain = |d: f64| if d == 0.0 { 0.0 } else { d };
        plain(self.0).total_cmp(&plain(other.0))
    }
}
impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ordered {}

impl Scalar {
    /// A value as a key; `None` for strings, which are kept apart, and for values that can be no key.
    fn of(value: &Val) -> Option<Self> {
        Some(match value {
            Val::Null => Self::Null,
            Val::Bool(b) => Self::Bool(*b),
            Val::Int(i) => Self::Int(*i),
            Val::Uint(u) => Self::Uint(*u),
            Val::Double(d) => Self::Double(Ordered(*d)),
            Val::Duration(d) => Self::Duration(*d),
            Val::Timestamp(t) => Self::Timestamp(*t),
            Val::Type(name) => Self::Type(Arc::clone(name)),
            _ => return None,
        })
    }
}

/// A map, in two parts: nearly all keys are strings, and those are found without making a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) strings: BTreeMap<Arc<str>, Val>,
    pub(super) others: BTreeMap<Scalar, Val>,
    /// The JSON that the map was made from, where typing changed something in it. As a result, a whole object has
    /// this JSON.
    pub(super) origin: Option<Arc<Json>>,
    /// An object with a schema, whose fields may be named in escaped form.
    pub(super) escaped: bool,
}

impl Map {
    pub(super) fn len(&self) -> usize {
        self.strings.len() + self.others.len()
    }
    /// The entries in order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Val, &Val)> + '_ {
        let others = self.others.iter().map(|(k, v)| (k.into(), v));
        others.chain(self.strings.iter().map(|(k, v)| (Val::String(Arc::clone(k)), v)))
    }
    /// The value of a key. An integer is found by an equal number of another type; a double is found by itself only.
    pub(super) fn get(&self, key: &Val) -> Option<&Val> {
        if let Val::String(s) = key {
            return self.strings.get(s.as_ref());
        }
        // NaN is not equal to itself, so it finds nothing.
        if self.others.is_empty() || matches!(key, Val::Double(d) if d.is_nan()) {
            return None;
        }
        let found = |key: Scalar| self.others.get(&key);
        found(Scalar::of(key)?).or_else(|| match key {
            Val::Int(i) => found(Scalar::Uint(u64::try_from(*i).ok()?)),
            Val::Uint(u) => found(Scalar::Int(i64::try_from(*u).ok()?)),
            Val::Double(d) => exact_int(*d).and_then(|i| self.get(&Val::Int(i))),
            _ => None,
        })
    }
    /// A field. In an object with a schema, Kubernetes' escaped name (`my__dash__field`) finds the field too.
    pub(super) fn field(&self, name: &str) -> Option<&Val> {
        self.strings.get(name).or_else(|| {
            let real = (self.escaped && name.contains("__")).then(|| unescaped(name))??;
            self.strings.get(real.as_str())
        })
    }
    /// Sets a key, if a value of this type can be one.
    pub(super) fn insert(&mut self, key: Val, value: Val) -> Result<(), Fault> {
        if let Val::String(s) = key {
            self.strings.insert(s, value);
            return Ok(());
        }
        let name = || format!("unsupported key type: {}", key.type_name());
        let key = Scalar::of(&key).ok_or_else(|| Fault::Invalid(name()))?;
        self.others.insert(key, value);
        Ok(())
    }
}

impl From<&Scalar> for Val {
    fn from(key: &Scalar) -> Self {
        match key {
            Scalar::Null => Val::Null,
            Scalar::Bool(b) => Val::Bool(*b),
            Scalar::Int(i) => Val::Int(*i),
            Scalar::Uint(u) => Val::Uint(*u),
            Scalar::Double(Ordered(d)) => Val::Double(*d),
            Scalar::Duration(d) => Val::Duration(*d),
            Scalar::Timestamp(t) => Val::Timestamp(*t),
            Scalar::Type(name) => Val::Type(Arc::clone(name)),
        }
    }
}

/// Words of the language, which Kubernetes escapes as names of properties.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The property that an escaped name stands for: `my__dash__field`, `__namespace__`. A name that is no escape is its own.
pub fn unescape_field(name: &str) -> String {
    unescaped(name).unwrap_or_else(|| name.to_owned())
}

/// The property that an escaped name stands for; `None` where two underscores, a word, and two underscores are no
/// known escape.
fn unescaped(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let inside = rest.strip_prefix("__").and_then(|after| {
            let (word, end) = after.split_at_checked(after.find('_')?)?;
            Some((word, end.strip_prefix("__")?))
        });
        match inside.filter(|(word, _)| !word.is_empty()) {
            Some((word, after)) => {
                out.push_str(match word {
                    "underscores" => "__",
                    "dot" => ".",
                    "dash" => "-",
                    "slash" => "/",
                    // A word is escaped only if it is all of the name.
                    word if RESERVED.contains(&word) && word.len() + 4 == name.len() => word,
                    _ => return None,
                });
                rest = after;
            }
            None => {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }
    Some(out)
}

/// The name by which expressions know a property; `None` for one that they can not name. Reserved words keep their
/// names, which expressions may use as well as the escaped ones.
pub fn escape_field(name: &str) -> Option<String> {
    let first = name.bytes().next()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/');
    if first.is_ascii_digit() || !name.bytes().all(allowed) {
        return None;
    }
    let escaped = name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__");
    Some(escaped.replace('/', "__slash__"))
}

/// The integer that a double is, if it is one.
pub(super) fn exact_int(d: f64) -> Option<i64> {
    let fits = d.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&d);
    fits.then_some(d as i64)
}

impl Val {
    pub(super) fn string(text: impl AsRef<str>) -> Self {
        Self::String(Arc::from(text.as_ref()))
    }
    pub(super) fn list(items: Vec<Val>) -> Self {
        Self::List(Arc::new(List { items, identity: None }))
    }
    pub(super) fn map(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }
    pub(super) fn some(value: Val) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }
    pub(super) const NONE: Self = Self::Optional(None);

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(o) => o.type_name(),
        }
    }

    /// From JSON: integers become `int` (above 2^63 `uint`), every other number stays `double`.
    pub(super) fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Self::Int(i),
                (None, Some(u)) => Self::Uint(u),
                (None, None) => Self::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Self::string(s),
            Json::Array(items) => Self::list(items.iter().map(Self::from_json).collect()),
            Json::Object(fields) => {
                let strings =
                    fields.iter().map(|(k, v)| (Arc::from(k.as_str()), Self::from_json(v))).collect();
                Self::map(Map { strings, ..Map::default() })
            }
        }
    }

    /// kro's rules for a result that goes into an object; `None` for `omit()`.
    pub(super) fn into_field(self, budget: &Budget) -> Result<Option<Json>, Fault> {
        budget.step()?;
        Ok(Some(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(b) => Json::Bool(b),
            Self::Int(i) => Json::from(i),
            Self::Uint(u) => match i64::try_from(u) {
                Ok(i) => Json::from(i),
                Err(_) => return Err(Fault::invalid("uint value does not fit into a 64-bit integer")),
            },
            // A whole double is written without a fraction, as kro does: it may go into an integer field.
            Self::Double(d) => match (exact_int(d), serde_json::Number::from_f64(d)) {
                (Some(i), _) => Json::from(i),
                (None, Some(n)) => Json::Number(n),
                (None, None) => {
                    return Err(Fault::invalid("a double that is infinite or not a number has no JSON form"));
                }
            },
            Self::String(s) => {
                budget.text(s.len())?;
                Json::String(s.as_ref().to_owned())
            }
            // Kubernetes writes no time where Go has its zero time.
            Self::Timestamp(t) if time::is_zero(&t) => Json::Null,
            Self::Timestamp(t) => Json::String(time::rfc3339_seconds(&t)),
            Self::Duration(d) => Json::String(time::go_duration(d)),
            Self::Optional(Some(inner)) => return (*inner).clone().into_field(budget),
            Self::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items.iter() {
                    out.extend(item.clone().into_field(budget)?);
                }
                Json::Array(out)
            }
            Self::Map(map) => {
                if let Some(origin) = &map.origin {
                    budget.charge(nodes(origin))?;
                    return Ok(Some(origin.as_ref().clone()));
                }
                if let Some(key) = map.others.keys().next() {
                    let name = Val::from(key).type_name();
                    return Err(Fault::invalid(format!("map keys must be strings, found {name}")));
                }
                let mut out = serde_json::Map::new();
                for (key, value) in &map.strings {
                    if let Some(value) = value.clone().into_field(budget)? {
                        out.insert(key.as_ref().to_owned(), value);
                    }
                }
                Json::Object(out)
            }
            Self::Bytes(_) => {
                return Err(Fault::invalid(
                    "bytes can not be written to an object, convert them with string() or base64.encode()",
                ));
            }
            Self::Opaque(o) if *o == Opaque::Omit => return Ok(None),
            other @ (Self::Type(_) | Self::Opaque(_)) => {
                return Err(Fault::invalid(format!("unsupported type: {}", other.type_name())));
            }
        }))
    }

    /// Equality; values of different types are different, except equal numbers.
    pub(super) fn equals(&self, other: &Val, budget: &Budget) -> Result<bool, Fault> {
        budget.step()?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => {
                budget.text(a.len().min(b.len()))?;
                a == b
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                budget.text(a.len().min(b.len()))?;
                a == b
            }
            (Self::List(a), Self::List(b)) => a.equals(b, budget)?,
            (Self::Map(a), Self::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, x) in a.iter() {
                    match b.get(&key) {
                        Some(y) if x.equals(y, budget)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b, budget)?,
            (Self::Optional(a), Self::Optional(b)) => a.is_none() && b.is_none(),
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Opaque(a), Self::Opaque(b)) => match (a.as_ref(), b.as_ref()) {
                (Opaque::Semver(a), Opaque::Semver(b)) => a.cmp_precedence(b).is_eq(),
                (a, b) => a == b,
            },
            (a, b) => a.compare_numbers(b) == Some(Ordering::Equal),
        })
    }

    /// The order of two numbers of any types; `None` for other values and for NaN.
    pub(super) fn compare_numbers(&self, other: &Val) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Int(a), Self::Double(b)) => compare_int_double(i128::from(*a), *b),
            (Self::Uint(a), Self::Double(b)) => compare_int_double(i128::from(*a), *b),
            (Self::Double(a), Self::Int(b)) => compare_int_double(i128::from(*b), *a).map(Ordering::reverse),
            (Self::Double(a), Self::Uint(b)) => compare_int_double(i128::from(*b), *a).map(Ordering::reverse),
            _ => None,
        }
    }

    /// The order of two values; `None` when there is none for these types. `Some(None)` is NaN's: no order, no error.
    pub(super) fn compare(&self, other: &Val) -> Option<Option<Ordering>> {
        Some(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => self.compare_numbers(other),
            _ => return None,
        })
    }
}

/// The steps that a copy costs.
fn nodes(json: &Json) -> u64 {
    match json {
        Json::Array(items) => 1 + items.iter().map(nodes).sum::<u64>(),
        Json::Object(fields) => 1 + fields.values().map(nodes).sum::<u64>(),
        Json::String(s) => 1 + s.len() as u64 / 16,
        _ => 1,
    }
}

/// Compares as kro does: the integer is taken as the nearest double.
fn compare_int_double(a: i128, b: f64) -> Option<Ordering> {
    (a as f64).partial_cmp(&b)
}
