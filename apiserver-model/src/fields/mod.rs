//! Sets of fields: what a field manager owns, as `fieldsV1` of `metadata.managedFields` writes it.

use crate::schema::{At, Schema, Shape};
use serde_json::{Map, Value, json};
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

pub type Path = Vec<Element>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    below: BTreeMap<Element, Branch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Branch {
    /// Is the path itself in the set?
    member: bool,
    fields: Fields,
}

impl Fields {
    /// The leaves of an object, as a server takes those of what is applied.
    #[must_use]
    pub fn of(object: &Value, schema: &Schema) -> Self {
        Self::at(object, schema.top())
    }

    pub(crate) fn at(object: &Value, at: At<'_>) -> Self {
        let mut set = Self::default();
        set.leaves(object, at);
        set
    }

    /// A set of fields by name alone: `["status"]`, `["metadata", "labels"]`.
    #[must_use]
    pub fn named(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.iter().map(|name| Element::Field((*name).to_owned())));
        }
        set
    }

    /// What no manager ever owns.
    #[must_use]
    pub fn never_owned() -> Self {
        Self::named(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.below.is_empty()
    }

    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut at = self;
        let mut path = path.into_iter().peekable();
        while let Some(step) = path.next() {
            let branch = at.below.entry(step).or_default();
            branch.member |= path.peek().is_none();
            at = &mut branch.fields;
        }
    }

    #[must_use]
    pub fn contains(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has(last),
            [first, rest @ ..] => self.under(first).is_some_and(|f| f.contains(rest)),
        }
    }

    pub(crate) fn has(&self, step: &Element) -> bool {
        self.below.get(step).is_some_and(|b| b.member)
    }

    pub(crate) fn under(&self, step: &Element) -> Option<&Self> {
        self.below.get(step).map(|b| &b.fields).filter(|f| !f.is_empty())
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.join(other);
        all
    }

    fn join(&mut self, other: &Self) {
        for (step, branch) in &other.below {
            match self.below.get_mut(step) {
                Some(mine) => {
                    mine.member |= branch.member;
                    mine.fields.join(&branch.fields);
                }
                None => {
                    self.below.insert(step.clone(), branch.clone());
                }
            }
        }
    }

    /// What of this set is not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| {
                let Some(theirs) = theirs else { return mine.clone() };
                Branch {
                    member: mine.member && !theirs.member,
                    fields: mine.fields.difference(&theirs.fields),
                }
            },
            other,
        )
    }

    /// As [`Self::difference`], and without all that is below a member of the other.
    #[must_use]
    pub fn difference_below(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| match theirs {
                None => mine.clone(),
                Some(theirs) if theirs.member => Branch::default(),
                Some(theirs) => {
                    Branch { member: mine.member, fields: mine.fields.difference_below(&theirs.fields) }
                }
            },
            other,
        )
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| {
                let Some(theirs) = theirs else { return Branch::default() };
                Branch {
                    member: mine.member && theirs.member,
                    fields: mine.fields.intersection(&theirs.fields),
                }
            },
            other,
        )
    }

    fn keep(&self, keep: impl Fn(&Branch, Option<&Branch>) -> Branch, other: &Self) -> Self {
        let kept = self.below.iter().map(|(step, mine)| (step, keep(mine, other.below.get(step))));
        let kept = kept.filter(|(_, b)| b.member || !b.fields.is_empty());
        Self { below: kept.map(|(step, b)| (step.clone(), b)).collect() }
    }

    /// All paths of the set; those at a place come before those below it.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.walk(&mut Vec::new(), &mut found);
        found
    }

    fn walk(&self, path: &mut Path, found: &mut Vec<Path>) {
        for (step, _) in self.below.iter().filter(|(_, b)| b.member) {
            found.push(path.iter().chain([step]).cloned().collect());
        }
        for (step, branch) in &self.below {
            path.push(step.clone());
            branch.fields.walk(path, found);
            path.pop();
        }
    }

    /// Adds the fields that the schema names and that the set holds something below of.
    pub(crate) fn with_named(&self, at: At<'_>) -> Self {
        let mut set = Self::default();
        for (step, branch) in &self.below {
            let inner = match step {
                Element::Field(name) => at.field(name),
                _ => Some(at.item()),
            };
            let named = matches!(step, Element::Field(name) if at.names(name)) && !branch.fields.is_empty();
            let fields = inner.map_or_else(|| branch.fields.clone(), |inner| branch.fields.with_named(inner));
            set.below.insert(step.clone(), Branch { member: branch.member || named, fields });
        }
        set
    }

    /// As `fieldsV1`. What is no set of fields is left out.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let mut set = Self::default();
        for (key, inner) in value.as_object().into_iter().flatten() {
            let Some(step) = Element::from_key(key) else { continue };
            let fields = Self::from_json(inner);
            let member = inner.get(".").is_some() || fields.is_empty();
            set.below.insert(step, Branch { member, fields });
        }
        set
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (step, branch) in &self.below {
            let mut inner = branch.fields.to_json();
            if let Some(inner) = inner.as_object_mut().filter(|i| branch.member && !i.is_empty()) {
                inner.insert(".".to_owned(), json!({}));
            }
            object.insert(step.to_key(), inner);
        }
        Value::Object(object)
    }

    fn leaves(&mut self, value: &Value, at: At<'_>) {
        match (at.shape(value), value) {
            (Shape::Map, Value::Object(fields)) => {
                for (name, inner) in fields {
                    let Some(place) = at.field(name) else { continue };
                    let mut branch = Branch::default();
                    branch.fields.leaves(inner, place);
                    let empty = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                    branch.member = empty || !at.names(name) || leaf(place, inner);
                    self.put(Element::Field(name.clone()), branch);
                }
            }
            (Shape::Set | Shape::Keyed, Value::Array(items)) => {
                for item in items {
                    let Ok(step) = step(at, item) else { continue };
                    let mut branch = Branch { member: true, ..Branch::default() };
                    branch.fields.leaves(item, at.item());
                    self.put(step, branch);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, step: Element, branch: Branch) {
        if branch.member || !branch.fields.is_empty() {
            self.below.insert(step, branch);
        }
    }
}

fn leaf(at: At<'_>, value: &Value) -> bool {
    at.shape(value) == Shape::Leaf
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

    fn from_key(key: &str) -> Option<Self> {
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

    fn to_key(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::of_crd(&json!({
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "replicas": {"type": "integer"},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "selector": {
                            "type": "object", "x-kubernetes-map-type": "atomic",
                            "properties": {"a": {"type": "string"}},
                        },
                        "args": {"type": "array", "items": {"type": "string"}},
                        "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                        "ports": {
                            "type": "array", "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["port", "protocol"],
                            "items": {
                                "type": "object",
                                "properties": {
                                    "port": {"type": "integer"}, "name": {"type": "string"},
                                    "protocol": {"type": "string", "default": "TCP"},
                                },
                            },
                        },
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                },
            },
        }))
    }

    #[test]
    fn the_leaves_of_an_object() {
        for (spec, fields) in [
            (json!({"replicas": 1}), json!({"f:replicas": {}})),
            (json!({"labels": {"a": "b"}}), json!({"f:labels": {"f:a": {}}})),
            // An empty map is a leaf; an empty list with keys is nobody's.
            (json!({"labels": {}, "ports": []}), json!({"f:labels": {}})),
            (json!({"labels": null}), json!({"f:labels": {}})),
            (json!({"selector": {"a": "b"}, "args": ["x"]}), json!({"f:selector": {}, "f:args": {}})),
            (json!({"args": []}), json!({"f:args": {}})),
            (json!({"names": ["x", "y"]}), json!({"f:names": {r#"v:"x""#: {}, r#"v:"y""#: {}}})),
            (
                json!({"ports": [{"port": 80, "name": "web"}]}),
                json!({"f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}, "f:name": {}}}}),
            ),
            // What the schema does not name is a member itself.
            (
                json!({"free": {"a": {"b": [1], "c": {}}}}),
                json!({"f:free": {"f:a": {".": {}, "f:b": {}, "f:c": {}}}}),
            ),
        ] {
            let set = Fields::of(&json!({"spec": spec}), &schema()).to_json();
            assert_eq!(set, json!({"f:spec": fields}), "{spec}");
        }
    }

    #[test]
    fn a_set_is_read_as_it_is_written() {
        let written = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}},
            "f:spec": {
                "f:args": {},
                "f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}}},
                "f:names": {"v:1": {}, r#"v:"x""#: {}},
                "f:list": {"i:0": {}},
            },
        });
        let set = Fields::from_json(&written);
        assert_eq!(set.to_json(), written);
        let paths: Vec<_> = set.paths().iter().map(|p| print(p)).collect();
        assert_eq!(
            paths,
            [
                ".metadata.labels",
                ".metadata.labels.a.b/c",
                ".spec.args",
                ".spec.list[0]",
                ".spec.names[=1]",
                ".spec.names[=\"x\"]",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].port",
            ]
        );
        assert!(set.paths().iter().all(|path| set.contains(path)));
    }

    #[test]
    fn sets_are_joined_and_parted() {
        let set = |value: Value| Fields::from_json(&value);
        let a = set(json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}}));
        let b = set(json!({"f:a": {"f:x": {}}, "f:c": {}}));
        assert_eq!(
            a.union(&b).to_json(),
            json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}, "f:c": {}})
        );
        assert_eq!(a.difference(&b).to_json(), json!({"f:a": {".": {}, "f:y": {}}, "f:b": {}}));
        assert_eq!(a.intersection(&b).to_json(), json!({"f:a": {"f:x": {}}}));
        assert_eq!(a.difference_below(&set(json!({"f:a": {}}))).to_json(), json!({"f:b": {}}));
        assert_eq!(b.difference(&a).to_json(), json!({"f:c": {}}));
        assert!(a.difference(&a).is_empty());
    }
}
