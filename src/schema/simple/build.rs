//! Puts fields, objects and custom types together.

use super::types::{Core, Type, quote};
use super::{Fault, Problem, constraint, markers, sound, suggest};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Levels of a finished schema. The JSON of the CRD nests twice as deep, and parsers stop at 128.
const MAX_DEPTH: usize = 48;
/// Estimated bytes of a finished schema. The API server stores no object above 1.5 MiB.
const MAX_WEIGHT: usize = 2 << 20;
/// The most estimated bytes of all custom types together.
const MAX_TYPES_WEIGHT: usize = 16 * MAX_WEIGHT;
/// What a field weighs apart from its own text.
const FIELD_WEIGHT: usize = 24;

const SPEC: &str = "spec.schema.spec";
const TYPES: &str = "spec.schema.types";

pub fn openapi(spec: &Value, types: &Value) -> Result<Value, Vec<Problem>> {
    let mut problems = Vec::new();
    let types = part(types, TYPES, &mut problems);
    let spec = part(spec, SPEC, &mut problems);
    let mut builder = Builder { types, ready: BTreeMap::new(), types_weight: 0, problems };
    builder.custom_types();
    let built = builder.object(SPEC, spec, 1);
    match built {
        Some(mut built) if builder.problems.is_empty() => {
            drop_null_defaults(&mut built.schema);
            Ok(built.schema)
        }
        _ => Err(builder.problems),
    }
}

fn part<'a>(value: &'a Value, path: &str, problems: &mut Vec<Problem>) -> &'a Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    match value {
        Value::Object(map) => map,
        Value::Null => &EMPTY,
        other => {
            problems.push(unexpected(other).at(path));
            &EMPTY
        }
    }
}

/// A schema with what its user has to know of it.
#[derive(Clone)]
struct Built {
    schema: Value,
    required: bool,
    depth: usize,
    weight: usize,
}

struct Builder<'a> {
    types: &'a Map<String, Value>,
    /// Types that can be used. `None` stands for a type that is there and wrong: that was reported, and fields that
    /// use it are not blamed.
    ready: BTreeMap<&'a str, Option<Built>>,
    types_weight: usize,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    /// Builds every type after the types it uses. Types that cannot be ordered are in a cycle, or use one that is.
    fn custom_types(&mut self) {
        let types = self.types;
        let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, definition) in types {
            let mut used = BTreeSet::new();
            uses(definition, types, MAX_DEPTH, &mut used);
            if used.remove(name.as_str()) {
                let fault = Fault::new(format!("self references are not allowed: type {name} uses itself"));
                self.problems.push(fault.help("use `object` where it repeats").at(&join(TYPES, name)));
                self.ready.insert(name, None);
            }
            for other in &used {
                users.entry(other).or_default().push(name);
            }
            open.insert(name, used);
        }
        let mut next: BTreeSet<&str> =
            open.iter().filter(|(_, uses)| uses.is_empty()).map(|(name, _)| *name).collect();
        while let Some(name) = next.pop_first() {
            open.remove(name);
            if let Some((name, definition)) = types.get_key_value(name) {
                let built = self.custom_type(name, definition);
                self.ready.entry(name).or_insert(built);
            }
            for user in users.get(name).into_iter().flatten() {
                if let Some(waiting) = open.get_mut(user) {
                    waiting.remove(name);
                    if waiting.is_empty() {
                        next.insert(user);
                    }
                }
            }
        }
        self.cycles(&open);
        // They are built all the same, to report what else is wrong in them.
        for name in open.keys() {
            if let Some((name, definition)) = types.get_key_value(*name) {
                self.custom_type(name, definition);
            }
        }
    }

    /// Every remaining type uses a remaining type, so following them ends in a cycle.
    fn cycles(&mut self, open: &BTreeMap<&'a str, BTreeSet<&'a str>>) {
        let mut known = BTreeSet::new();
        let mut visited = BTreeSet::new();
        for start in open.keys().copied() {
            self.ready.insert(start, None);
            let mut walk: Vec<&str> = Vec::new();
            let mut at = start;
            while visited.insert(at) {
                walk.push(at);
                match open.get(at).and_then(|uses| uses.iter().find(|u| open.contains_key(*u))) {
                    Some(used) => at = used,
                    None => break,
                }
            }
            let Some(from) = walk.iter().position(|name| *name == at) else { continue };
            let mut cycle: Vec<&str> = walk.split_off(from);
            let least = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(i, _)| i);
            cycle.rotate_left(least);
            if known.insert(cycle.clone()) {
                let first = cycle.first().copied().unwrap_or_default();
                let shown = cycle.iter().chain([&first]).copied().collect::<Vec<_>>().join(" -> ");
                let fault = Fault::new(format!("cyclic dependency in type {first}: {shown}"));
                self.problems.push(fault.help("use `object` for one of them").at(&join(TYPES, first)));
            }
        }
    }

    fn custom_type(&mut self, name: &str, definition: &Value) -> Option<Built> {
        let path = join(TYPES, name);
        let built = self.definition(&path, definition, 1)?;
        self.types_weight = self.types_weight.saturating_add(built.weight);
        if self.types_weight > MAX_TYPES_WEIGHT {
            self.problems.push(too_large().at(&path));
            return None;
        }
        Some(built)
    }

    fn definition(&mut self, path: &str, definition: &Value, level: usize) -> Option<Built> {
        match definition {
            Value::String(text) => self.field(path, text),
            Value::Object(fields) => self.object(path, fields, level),
            other => {
                self.problems.push(unexpected(other).at(path));
                None
            }
        }
    }

    /// `level` counts the maps around this one in the author's own text.
    fn object(&mut self, path: &str, fields: &Map<String, Value>, level: usize) -> Option<Built> {
        if level > MAX_DEPTH {
            self.problems.push(too_deep().at(path));
            return None;
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut has_default = false;
        let mut depth = 0;
        let mut weight = FIELD_WEIGHT;
        let mut sound = true;
        let before = self.problems.len();
        for (name, definition) in fields {
            let path = join(path, name);
            let Some(built) = self.definition(&path, definition, level + 1) else {
                sound = false;
                continue;
            };
            if built.required {
                required.push(name.as_str());
            }
            has_default |= built.schema.get("default").is_some();
            depth = depth.max(built.depth);
            weight = weight.saturating_add(built.weight).saturating_add(name.len());
            properties.insert(name.clone(), built.schema);
            if weight > MAX_WEIGHT {
                self.problems.push(too_large().at(&path));
                return None;
            }
        }
        if !sound {
            if let Some(fault) = as_openapi(fields) {
                self.problems.truncate(before);
                self.problems.push(fault.at(path));
            }
            return None;
        }
        let mut schema = json!({"type": "object"});
        if required.is_empty() && has_default {
            // Without this default, the defaults of its fields would not reach an object that the user left out.
            schema["default"] = json!({});
        }
        if !required.is_empty() {
            required.sort_unstable();
            schema["required"] = json!(required);
        }
        if !properties.is_empty() {
            schema["properties"] = Value::Object(properties);
        }
        self.within_limits(path, Built { schema, required: false, depth: depth + 1, weight })
    }

    fn field(&mut self, path: &str, text: &str) -> Option<Built> {
        let (type_text, marker_text) = match text.split_once('|') {
            Some((type_text, marker_text)) => (type_text, Some(marker_text)),
            None => (text, None),
        };
        let (markers, faults) = marker_text.map(markers::split).unwrap_or_default();
        let built = self.typed(path, type_text);
        self.problems.extend(faults.into_iter().map(|fault| fault.at(path)));
        let mut built = built?;
        let Value::Object(schema) = &mut built.schema else { return None };
        let (required, mut faults) = constraint::apply(schema, &markers);
        // A field that has other faults may lack a rule, so its default is not judged.
        if faults.is_empty() {
            faults.extend(sound::default(schema));
        }
        let sound = faults.is_empty();
        self.problems.extend(faults.into_iter().map(|fault| fault.at(path)));
        built.required |= required;
        built.weight = built.weight.saturating_add(text.len());
        if sound { self.within_limits(path, built) } else { None }
    }

    fn typed(&mut self, path: &str, text: &str) -> Option<Built> {
        let type_ = match Type::parse(text) {
            Ok(type_) => type_,
            Err(fault) => {
                self.problems.push(fault.at(path));
                return None;
            }
        };
        let plain = |schema| Built { schema, required: false, depth: 1, weight: FIELD_WEIGHT };
        let core = match &type_.core {
            Core::Plain(name) => plain(json!({"type": name})),
            Core::Object => plain(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
            Core::Custom(name) => match self.ready.get(name.as_str()) {
                Some(built) => built.clone()?,
                None => {
                    let near = suggest::type_name(name, self.types.keys().map(String::as_str));
                    let fault = Fault::new(format!("unknown type: {}", quote(name))).help(match near {
                        Some(near) => format!("did you mean {near}?"),
                        None => {
                            format!("define it in {TYPES}, or use string, integer, boolean, float or object")
                        }
                    });
                    self.problems.push(fault.at(&format!("{path}{}", type_.path_of_core())));
                    return None;
                }
            },
        };
        let wraps = type_.wrappers.len();
        Some(Built {
            schema: type_.wrap(core.schema),
            // `required` is about the field, not about each element of a list.
            required: core.required && wraps == 0,
            depth: core.depth + wraps,
            weight: core.weight.saturating_add(wraps * FIELD_WEIGHT),
        })
    }

    fn within_limits(&mut self, path: &str, built: Built) -> Option<Built> {
        let fault = if built.depth > MAX_DEPTH {
            too_deep()
        } else if built.weight > MAX_WEIGHT {
            too_large()
        } else {
            return Some(built);
        };
        self.problems.push(fault.at(path));
        None
    }
}

/// A default of null counts for the object around it, as with kro; the API server does not keep it.
fn drop_null_defaults(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    for (key, below) in schema.iter_mut() {
        match (key.as_str(), below) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(drop_null_defaults),
            ("items" | "additionalProperties", below) => drop_null_defaults(below),
            _ => {}
        }
    }
}

fn too_deep() -> Fault {
    Fault::new(format!("nested too deeply: more than {MAX_DEPTH} levels"))
        .help("use `object` for the inner part")
}

fn too_large() -> Fault {
    Fault::new("the schema is too large to be stored by the API server")
        .help("use `object` for a part of it; custom types count at every use")
}

fn unexpected(value: &Value) -> Fault {
    let (found, help) = match value {
        Value::Null => ("null", "write the type, for instance string"),
        Value::Bool(_) => ("boolean", "write the type with a default, as in `boolean | default=true`"),
        Value::Number(_) => ("number", "write the type with a default, as in `integer | default=3`"),
        Value::Array(_) => ("list", "write `[]Type`, and name the type of an element in spec.schema.types"),
        Value::String(_) => ("string", "write a map of names to fields"),
        Value::Object(_) => ("map", "write a field"),
    };
    Fault::new(format!("unexpected type: {found}")).help(help)
}

/// Whether a map that makes no sense as fields is meant as an OpenAPI schema; says how to write it in SimpleSchema.
fn as_openapi(fields: &Map<String, Value>) -> Option<Fault> {
    const OTHERS: [&str; 16] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
    ];
    let type_ = fields.get("type")?.as_str()?;
    if fields.len() < 2 || !fields.keys().all(|k| k == "type" || OTHERS.contains(&k.as_str())) {
        return None;
    }
    let inner =
        |key: &str| fields.get(key).and_then(|i| i.get("type")).and_then(Value::as_str).and_then(plain);
    let written = match type_ {
        "array" => format!("[]{}", inner("items").unwrap_or("Type")),
        "object" if fields.contains_key("additionalProperties") => {
            format!("map[string]{}", inner("additionalProperties").unwrap_or("Type"))
        }
        "object" => {
            let help = "write a map of names to fields, without type and properties";
            return Some(Fault::new(OPENAPI).help(help));
        }
        other => plain(other)?.to_owned(),
    };
    Some(Fault::new(OPENAPI).help(format!("write the type, then its markers: {written} | key=value")))
}

const OPENAPI: &str = "this is a schema of OpenAPI; here a field is one line";

/// SimpleSchema's word for a type of OpenAPI.
fn plain(type_: &str) -> Option<&'static str> {
    match type_ {
        "string" => Some("string"),
        "integer" => Some("integer"),
        "number" => Some("float"),
        "boolean" => Some("boolean"),
        "object" => Some("object"),
        _ => None,
    }
}

/// The custom types that a definition names.
fn uses<'a>(definition: &Value, types: &'a Map<String, Value>, levels: usize, found: &mut BTreeSet<&'a str>) {
    match definition {
        Value::String(text) => {
            let text = text.split('|').next().unwrap_or_default();
            if let Ok(Type { core: Core::Custom(name), .. }) = Type::parse(text)
                && let Some((name, _)) = types.get_key_value(&name)
            {
                found.insert(name);
            }
        }
        Value::Object(fields) if levels > 0 => {
            for field in fields.values() {
                uses(field, types, levels - 1, found);
            }
        }
        _ => {}
    }
}

/// `path.name`, or `path["name"]` when the name could be misread.
fn join(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}
