//! What a new CRD changes in the one that lives in a cluster, and whether instances survive it.
//!
//! The rules for breaking changes are kro's. What kro does not look at (an enum that comes or goes, validations, values of
//! maps, labels) counts as a compatible change, so that it reaches the cluster. Both sides are compared by meaning:
//! numbers by value, and nothing that the API server adds on its own is a change.

mod stored;

use crate::api::keys::kro;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

pub use stored::{Break, Conclusion, Look, Matters};
use stored::{Place, Step};

/// Sentences about what changes; each names the field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub breaking: Vec<Break>,
    pub compatible: Vec<String>,
}

impl Changes {
    /// Nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.breaking.is_empty() && self.compatible.is_empty()
    }
}

/// Compares whole CRDs: `old` is the live one, `new` the wanted one. Fields outside of the schema that only the live
/// one has (conversion, foreign labels, a scale subresource) belong to somebody else and are no change.
pub fn compare(old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    metadata(old, new, &mut changes);
    names(old, new, &mut changes);
    let count = |crd: &Value| crd.pointer("/spec/versions").and_then(Value::as_array).map_or(0, Vec::len);
    match (count(old), count(new)) {
        (1, 1) => version(first_version(old), first_version(new), &mut changes),
        (old, new) => changes.breaking.push(Break::new(
            format!("The CRD must have exactly one version, there are {old} in the cluster and {new} wanted"),
            Matters::Api,
        )),
    }
    changes
}

/// Why a CRD is not updated where instances carry what breaks; `None` when nothing breaks.
#[cfg(test)]
pub fn refusal(name: &str, changes: &Changes) -> Option<String> {
    let texts: Vec<String> = changes.breaking.iter().map(|b| b.text.clone()).collect();
    (!texts.is_empty()).then(|| refused(name, &texts))
}

fn refused(name: &str, breaking: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<String> = breaking.iter().take(SHOWN).cloned().collect();
    let more = breaking.len() - shown.len();
    if more > 0 {
        shown.push(format!("and {more} more changes"));
    }
    format!(
        "cannot update CRD {name}: breaking changes detected: {}. To update it all the same, set the annotation {}: \
         \"true\" on the ResourceGraphDefinition; existing instances are not migrated",
        shown.join("; "),
        kro::ALLOW_BREAKING,
    )
}

fn metadata(old: &Value, new: &Value, changes: &mut Changes) {
    for (map, what) in [("labels", "Label"), ("annotations", "Annotation")] {
        let entries =
            |crd: &'_ Value| crd.get("metadata").and_then(|m| m.get(map)).cloned().unwrap_or_default();
        let live = entries(old);
        for (key, value) in entries(new).as_object().into_iter().flatten() {
            // The label that names the version which wrote the CRD last is bookkeeping.
            if key != kro::KRO_VERSION && live.get(key) != Some(value) {
                changes.compatible.push(format!("{what} {key} was set to {}", show(value)));
            }
        }
    }
}

fn names(old: &Value, new: &Value, changes: &mut Changes) {
    let get = |crd: &Value, pointer: &str| crd.pointer(pointer).filter(|v| !is_blank(v)).cloned();
    for (pointer, what) in [("/spec/names/kind", "Kind"), ("/spec/scope", "Scope")] {
        let (before, after) = (get(old, pointer), get(new, pointer));
        if after.is_some() && before != after {
            let text = changed(what, before.as_ref(), after.as_ref());
            changes.breaking.push(Break::new(text, Matters::Api));
        }
    }
    let singular = get(new, "/spec/names/singular");
    if singular.is_some() && singular != get(old, "/spec/names/singular") {
        changes.compatible.push("Singular name was changed".to_owned());
    }
    for (pointer, what) in
        [("/spec/names/shortNames", "Short names"), ("/spec/names/categories", "Categories")]
    {
        if get(old, pointer) != get(new, pointer) {
            changes.compatible.push(format!("{what} were changed"));
        }
    }
}

fn first_version(crd: &Value) -> &Value {
    crd.pointer("/spec/versions/0").unwrap_or(&Value::Null)
}

fn version(old: &Value, new: &Value, changes: &mut Changes) {
    if old.get("name") != new.get("name") {
        // Another version is another API; its fields cannot be compared.
        let text = changed("Version", old.get("name"), new.get("name"));
        changes.breaking.push(Break::new(text, Matters::Api));
        return;
    }
    let schema = |v: &'_ Value| v.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
    let mut comparison = Comparison { changes, lenient: false, place: Place::default() };
    comparison.schema("", &schema(old), &schema(new));
    let flag = |v: &Value, key: &str| v.get(key).and_then(Value::as_bool).unwrap_or(false);
    match (flag(old, "served"), flag(new, "served")) {
        (true, false) => {
            changes.breaking.push(Break::new("Version is no longer served".to_owned(), Matters::Always))
        }
        (false, true) => changes.compatible.push("Version is served".to_owned()),
        _ => {}
    }
    if flag(new, "storage") && !flag(old, "storage") {
        changes.compatible.push("Version is stored".to_owned());
    }
    let status = |v: &Value| v.pointer("/subresources/status").is_some_and(|s| !s.is_null());
    match (status(old), status(new)) {
        (true, false) => {
            changes.breaking.push(Break::new("Status subresource was removed".to_owned(), Matters::Always))
        }
        (false, true) => changes.compatible.push("Status subresource was added".to_owned()),
        _ => {}
    }
    let columns = |v: &Value| tidy(v.get("additionalPrinterColumns"));
    if !same(&columns(old), &columns(new)) {
        changes.compatible.push("Printer columns were changed".to_owned());
    }
}

/// Bounds that are tighter when they are higher, and those that are tighter when they are lower.
const LOWER: [&str; 3] = ["minimum", "minLength", "minItems"];
const UPPER: [&str; 3] = ["maximum", "maxLength", "maxItems"];
/// Keywords with rules of their own; of any other it matters only whether it changed.
const JUDGED: [&str; 9] = [
    "description",
    "default",
    "type",
    "pattern",
    "properties",
    "required",
    "enum",
    "items",
    "additionalProperties",
];

struct Comparison<'a> {
    changes: &'a mut Changes,
    /// Whether this is a part that kro does not look at. Nothing breaks there.
    lenient: bool,
    /// Where the compared schemas stand.
    place: Place,
}

impl Comparison<'_> {
    fn breaking(&mut self, text: String, matters: Matters) {
        if self.lenient {
            self.changes.compatible.push(text);
        } else {
            self.changes.breaking.push(Break::new(text, matters));
        }
    }
    /// Notes a change that breaks instances which have a value there.
    fn breaking_here(&mut self, text: String) {
        self.breaking(text, Matters::Has(self.place.clone()));
    }
    /// The comparison one level further down.
    fn below(&mut self, step: Step, path: &str, old: &Value, new: &Value) {
        self.place.0.push(step);
        self.schema(path, old, new);
        self.place.0.pop();
    }
    fn compatible(&mut self, text: String) {
        self.changes.compatible.push(text);
    }

    fn schema(&mut self, path: &str, old: &Value, new: &Value) {
        let (before, after) = (word(old, "description"), word(new, "description"));
        if before != after {
            self.compatible(format!("Description of {} was changed", field(path)));
        }
        let default = |schema: &'_ Value| schema.get("default").cloned().unwrap_or_default();
        let (before, after) = (default(old), default(new));
        if !same(&before, &after) {
            self.compatible(changed(&format!("Default of {}", field(path)), some(&before), some(&after)));
        }
        if word(old, "type") != word(new, "type") {
            // With another type, what is below cannot be compared.
            self.breaking_here(changed(
                &format!("Type of {}", field(path)),
                old.get("type"),
                new.get("type"),
            ));
            return;
        }
        self.pattern(path, word(old, "pattern"), word(new, "pattern"));
        for name in LOWER {
            self.bound(path, name, [old, new], |old, new| new > old);
        }
        for name in UPPER {
            self.bound(path, name, [old, new], |old, new| new < old);
        }
        self.properties(path, old, new);
        self.enumeration(path, old, new);
        self.elements(path, old, new);
        self.others(path, old, new);
    }

    fn pattern(&mut self, path: &str, old: &str, new: &str) {
        let field = field(path);
        match (old, new) {
            (old, new) if old == new => {}
            ("", new) => self.breaking_here(format!("Pattern {} of {field} was added", clip(new))),
            (old, "") => self.compatible(format!("Pattern {} of {field} was removed", clip(old))),
            (old, new) => {
                self.breaking_here(format!(
                    "Pattern of {field} was changed from {} to {}",
                    clip(old),
                    clip(new)
                ));
            }
        }
    }

    fn bound(&mut self, path: &str, name: &str, [old, new]: [&Value; 2], tighter: impl Fn(f64, f64) -> bool) {
        let (old, new) = (number(old, name), number(new, name));
        let field = field(path);
        let beyond = |limit| Matters::Beyond(self.place.clone(), name.to_owned(), limit);
        match (old, new) {
            (None, Some(new)) => self.breaking(format!("{name} {new} of {field} was added"), beyond(new)),
            (Some(old), None) => self.compatible(format!("{name} {old} of {field} was removed")),
            (Some(old), Some(new)) if old != new => {
                let text = format!("{name} of {field} was changed from {old} to {new}");
                if tighter(old, new) { self.breaking(text, beyond(new)) } else { self.compatible(text) }
            }
            _ => {}
        }
    }

    fn properties(&mut self, path: &str, old: &Value, new: &Value) {
        let (before, after) = (object(old, "properties"), object(new, "properties"));
        let (was, is) = (required(old), required(new));
        for (name, old) in before {
            let path = join(path, name);
            let here = || self.place.to(Step::Field(name.clone()));
            let Some(new) = after.get(name) else {
                let matters = Matters::Says(here(), old.clone());
                self.breaking(format!("Property {path} was removed"), matters);
                continue;
            };
            match (was.contains(name.as_str()), is.contains(name.as_str())) {
                (false, true) => {
                    let matters = self.lacks(name, new);
                    self.breaking(format!("Property {path} is newly required"), matters);
                }
                (true, true) if has_default(old) && !has_default(new) => {
                    // Every instance may show this value without having it stored, by the default.
                    let shown = old.get("default").cloned().unwrap_or_default();
                    let matters = Matters::Equals(here(), shown);
                    self.breaking(format!("Default of required property {path} was removed"), matters);
                }
                _ => {}
            }
            self.below(Step::Field(name.clone()), &path, old, new);
        }
        for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let path = join(path, name);
            if !is.contains(name.as_str()) {
                self.compatible(format!("Optional property {path} was added"));
            } else if has_default(new) {
                self.compatible(format!("Required property {path} was added, with a default"));
            } else {
                let matters = self.lacks(name, new);
                self.breaking(format!("Required property {path} was added without a default"), matters);
            }
        }
        for name in was.difference(&is) {
            self.compatible(format!("Property {} is no longer required", join(path, name)));
        }
    }

    /// Notes a newly required field. It breaks instances that lack the field, unless it has a default.
    fn lacks(&self, name: &str, new: &Value) -> Matters {
        match has_default(new) {
            true => Matters::Never,
            false => Matters::Lacks(self.place.clone(), name.to_owned()),
        }
    }

    fn enumeration(&mut self, path: &str, old: &Value, new: &Value) {
        let field = field(path);
        let (before, after) = (list(old, "enum"), list(new, "enum"));
        match (before.is_empty(), after.is_empty()) {
            (true, true) => {}
            (true, false) => self.compatible(format!("Enum of {field} was added")),
            (false, true) => self.compatible(format!("Enum of {field} was removed")),
            (false, false) => {
                let missing = |value: &Value, from: &[Value]| !from.iter().any(|known| same(known, value));
                for value in before.iter().filter(|value| missing(value, after)) {
                    let matters = Matters::Equals(self.place.clone(), value.clone());
                    self.breaking(format!("Enum value {} of {field} was removed", show(value)), matters);
                }
                for value in after.iter().filter(|value| missing(value, before)) {
                    self.compatible(format!("Enum value {} of {field} was added", show(value)));
                }
            }
        }
    }

    /// Items of a list, and values of a map.
    fn elements(&mut self, path: &str, old: &Value, new: &Value) {
        match (old.get("items"), new.get("items")) {
            (Some(old), Some(new)) => self.below(Step::Items, &format!("{path}[]"), old, new),
            (Some(_), None) => {
                self.breaking_here(format!("Schema of the items of {} was removed", field(path)))
            }
            (None, Some(_)) => self.compatible(format!("Schema of the items of {} was added", field(path))),
            (None, None) => {}
        }
        match (old.get("additionalProperties"), new.get("additionalProperties")) {
            (Some(old @ Value::Object(_)), Some(new @ Value::Object(_))) => {
                let before = std::mem::replace(&mut self.lenient, true);
                self.schema(&join(path, "*"), old, new);
                self.lenient = before;
            }
            (old, new) if old != new => {
                self.compatible(format!("Schema of the values of {} was changed", field(path)));
            }
            _ => {}
        }
    }

    fn others(&mut self, path: &str, old: &Value, new: &Value) {
        let keys = |schema: &Value| schema.as_object().map(|s| s.keys().cloned().collect::<BTreeSet<_>>());
        let keys: BTreeSet<_> = [keys(old), keys(new)].into_iter().flatten().flatten().collect();
        for key in keys {
            let key = key.as_str();
            if JUDGED.contains(&key) || LOWER.contains(&key) || UPPER.contains(&key) {
                continue;
            }
            if !same(&tidy(old.get(key)), &tidy(new.get(key))) {
                self.compatible(format!("{key} of {} was changed", field(path)));
            }
        }
    }
}

fn word<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(schema: &Value, key: &str) -> Option<f64> {
    schema.get(key)?.as_f64()
}

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object<'a>(schema: &'a Value, key: &str) -> &'a Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    schema.get(key).and_then(Value::as_object).unwrap_or(&EMPTY)
}

fn required(schema: &Value) -> BTreeSet<&str> {
    list(schema, "required").iter().filter_map(Value::as_str).collect()
}

fn has_default(schema: &Value) -> bool {
    schema.get("default").is_some_and(|d| !d.is_null())
}

/// Values that the API server does not keep.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// A keyword's value without its blank members, which the API server drops or fills in; null if nothing is left.
fn tidy(value: Option<&Value>) -> Value {
    let Some(value) = value.filter(|v| !is_blank(v)) else { return Value::Null };
    let item = |item: &Value| match item {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, v)| !is_blank(v)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        other => other.clone(),
    };
    match value {
        Value::Array(list) => Value::Array(list.iter().map(item).collect()),
        other => other.clone(),
    }
}

/// Equality in which 1, 1.0 and 1e0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (!(a.is_i64() && b.is_i64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn some(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn changed(what: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    let shown = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), show);
    format!("{what} was changed from {} to {}", shown(old), shown(new))
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => clip(text),
        other => clip(&other.to_string()),
    }
}

/// A message must stay readable, whatever stands in a schema.
fn clip(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn field(path: &str) -> &str {
    if path.is_empty() { "the object" } else { path }
}

#[cfg(test)]
mod tests;
