//! One step of a path to a field.

use crate::schema::At;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// One step of a path.
#[derive(Clone, Debug)]
pub enum Element {
    Field(String),
    /// An item of a list by its key fields, sorted by name.
    Key(Vec<(String, Value)>),
    /// An item of a set.
    Value(Value),
    Index(i64),
}

/// The step to an item of a set or of a list with keys.
///
/// # Errors
/// The item has no key, worded as a server does.
pub(crate) fn step(at: At<'_>, item: &Value) -> Result<Element, String> {
    let keys = at.keys();
    if keys.is_empty() {
        return match item {
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supporting lists of lists".to_owned()),
            item => Ok(Element::Value(item.clone())),
        };
    }
    let Value::Object(fields) = item else {
        let what = if item.is_null() {
            "associative list with keys may not have null entries"
        } else {
            "associative list with keys may not have non-map elements"
        };
        return Err(what.to_owned());
    };
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(value) = fields.get(key).or_else(|| at.item().default_of(key)) {
            found.push((key.clone(), value.clone()));
        }
    }
    if found.is_empty() {
        let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
             for any key fields)",
            keys.join(" ")
        ));
    }
    Ok(Element::Key(found))
}

impl Element {
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    pub(super) fn from_key(key: &str) -> Option<Self> {
        let (what, rest) = key.split_once(':')?;
        match what {
            "f" => Some(Self::Field(rest.to_owned())),
            "i" => rest.parse().ok().map(Self::Index),
            "v" => serde_json::from_str(rest).ok().map(Self::Value),
            "k" => {
                let fields: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(fields.into_iter().collect()))
            }
            _ => None,
        }
    }

    pub(super) fn to_key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Key(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
                format!("k:{{{}}}", fields.join(","))
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
        }
    }
}

/// A path as a server prints it: `.spec.containers[name="a"].image`.
#[must_use]
pub fn print(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (Self::Value(a), Self::Value(b)) => order(a, b),
            (Self::Key(a), Self::Key(b)) => {
                for ((name_a, a), (name_b, b)) in a.iter().zip(b) {
                    let by = name_a.cmp(name_b).then_with(|| order(a, b));
                    if by != Ordering::Equal {
                        return by;
                    }
                }
                a.len().cmp(&b.len())
            }
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// The order of values: numbers, texts, booleans, the rest by how they are written.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |v: &Value| match v {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => x.as_f64().unwrap_or_default().total_cmp(&y.as_f64().unwrap_or_default()),
        },
        (a, b) => rank(a).cmp(&rank(b)).then_with(|| a.to_string().cmp(&b.to_string())),
    }
}
