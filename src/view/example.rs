//! An instance as somebody would begin to write it: what is required, all defaults, and what else there is as comments.

use crate::graph::Graph;
use crate::schema::unmet;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What stands in for a text that nobody knows.
const TEXT: &str = "example";
/// Deeper maps are left to their author.
const MOST_DEPTH: usize = 16;

/// An instance of the kind that a definition generates.
#[derive(Debug)]
pub struct Example {
    pub yaml: String,
    /// Fields whose value is to be written, since none is known that the schema takes.
    pub open: Vec<String>,
}

impl Example {
    pub fn of(graph: &Graph) -> Self {
        let mut writing = Writing::default();
        let gvk = &graph.gvk;
        let (api_version, kind) = (gvk.api_version(), &gvk.kind);
        let _ = write!(writing.out, "apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {TEXT}\n");
        if graph.crd.pointer("/spec/scope").and_then(Value::as_str) != Some("Cluster") {
            writing.out.push_str("  namespace: default\n");
        }
        writing
            .out
            .push_str("  # Where it goes, unless a Placement says so; without either, the local cluster:\n");
        writing.out.push_str("  # annotations: {hub.kro.run/clusters: '*'}\n");
        let spec = graph.schema().and_then(|schema| schema.pointer("/properties/spec"));
        match spec.and_then(Value::as_object) {
            Some(spec) if fields(spec).is_some() => {
                writing.out.push_str("spec:\n");
                writing.map(spec, &Place::default());
            }
            _ => writing.out.push_str("spec: {}\n"),
        }
        Self { yaml: writing.out, open: writing.open }
    }
}

#[derive(Default)]
struct Writing {
    out: String,
    open: Vec<String>,
}

/// Where a map stands.
#[derive(Clone, Default)]
struct Place {
    path: String,
    depth: usize,
    /// Lines are comments from this depth on: nothing above asks for the field.
    comment: Option<usize>,
}

impl Place {
    fn below(&self, name: &str, comment: bool) -> Self {
        let depth = self.depth + 1;
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, depth, comment: self.comment.or(comment.then_some(depth)) }
    }

    /// What a line begins with.
    fn indent(&self) -> String {
        match self.comment {
            Some(from) => format!("{}# {}", "  ".repeat(from), "  ".repeat(self.depth - from)),
            None => "  ".repeat(self.depth),
        }
    }
}

impl Writing {
    fn map(&mut self, schema: &Map<String, Value>, place: &Place) {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, field) in fields(schema).into_iter().flatten() {
            let Some(field) = field.as_object() else { continue };
            self.field(name, field, required.contains(&name.as_str()), place);
        }
    }

    fn field(&mut self, name: &str, schema: &Map<String, Value>, required: bool, within: &Place) {
        let default = schema.get("default");
        let place = within.below(name, !required && default.is_none());
        let key = scalar(&json!(name));
        let about = about(schema, required && default.is_none());
        // The defaults of its fields say more than its own, where that says nothing.
        let says_nothing = default.is_none_or(|value| value.as_object().is_some_and(Map::is_empty));
        if fields(schema).is_some() && says_nothing && place.depth < MOST_DEPTH {
            let before = self.out.len();
            let _ = writeln!(self.out, "{}{key}: # {about}", place.indent());
            let head = self.out.len();
            self.map(schema, &place);
            let is_line = |line: &str| !line.trim_start().starts_with('#');
            let is_empty =
                place.comment.is_none() && !self.out.get(head..).unwrap_or_default().lines().any(is_line);
            if is_empty {
                let rest = self.out.split_off(head);
                self.out.truncate(before);
                let _ = write!(self.out, "{}{key}: {{}} # {about}\n{rest}", place.indent());
            }
            return;
        }
        let value = default.cloned().unwrap_or_else(|| value_of(schema, 0));
        let mut about = about;
        if !unmet::all(schema, &value).is_empty() {
            if place.comment.is_none() {
                self.open.push(format!("spec.{}", place.path));
            }
            about.push_str("; to be written");
        }
        let _ = writeln!(self.out, "{}{key}: {} # {about}", place.indent(), scalar(&value));
    }
}

fn fields(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object).filter(|fields| !fields.is_empty())
}

/// On one line, as YAML reads it.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON is YAML.
        other => other.to_string(),
    }
}

/// Whether a text is no other value, and nothing in it means anything to YAML.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// The simplest value that the schema takes, as far as that can be told.
fn value_of(schema: &Map<String, Value>, depth: usize) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|all| all.first()) {
        return first.clone();
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "boolean" => json!(false),
        "integer" | "number" => amount(schema),
        "string" => {
            let (least, most) = (number("minLength").unwrap_or(0), number("maxLength").unwrap_or(usize::MAX));
            let text: String = TEXT.chars().cycle().take(TEXT.len().max(least).min(most)).collect();
            json!(text)
        }
        "array" => {
            let items = schema.get("items").and_then(Value::as_object);
            let count = number("minItems").unwrap_or(0).min(100);
            items
                .filter(|_| depth < MOST_DEPTH)
                .map_or_else(|| json!([]), |items| vec![value_of(items, depth + 1); count].into())
        }
        "object" => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let known = fields(schema);
            let field = |name: &Value| {
                let name = name.as_str()?;
                let inner = known?.get(name)?.as_object().filter(|_| depth < MOST_DEPTH)?;
                Some((name.to_owned(), value_of(inner, depth + 1)))
            };
            Value::Object(required.filter_map(field).collect())
        }
        _ if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) => json!(0),
        _ => json!({}),
    }
}

/// The number within the limits that is nearest to nothing.
fn amount(schema: &Map<String, Value>) -> Value {
    let limit = |key: &str| schema.get(key).filter(|v| v.is_number());
    let exclusive = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let of = |value: &Value| value.as_f64().unwrap_or_default();
    let (step, less) = (i64::from(exclusive("exclusiveMinimum")), i64::from(exclusive("exclusiveMaximum")));
    match (limit("minimum"), limit("maximum")) {
        (Some(least), _) if of(least) > 0.0 || (step == 1 && of(least) == 0.0) => {
            least.as_i64().map_or_else(|| least.clone(), |least| json!(least + step))
        }
        (_, Some(most)) if of(most) < 0.0 || (less == 1 && of(most) == 0.0) => {
            most.as_i64().map_or_else(|| most.clone(), |most| json!(most - less))
        }
        _ => json!(0),
    }
}

/// What a comment says of a field: its type, whether it must be there, its limits, its author's words.
fn about(schema: &Map<String, Value>, required: bool) -> String {
    let mut text = type_of(schema);
    if required {
        text.push_str(", required");
    }
    if let Some(all) = schema.get("enum").and_then(Value::as_array) {
        let all: Vec<String> = all.iter().map(scalar).collect();
        let _ = write!(text, ", one of {}", all.join(" "));
    }
    const LIMITS: [(&str, &str); 9] = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
        ("multipleOf", "a multiple of"),
        ("pattern", "matches"),
        ("format", "format"),
    ];
    for (key, words) in LIMITS {
        if let Some(limit) = schema.get(key) {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            let _ = write!(text, ", {words} {limit}");
        }
    }
    if schema.get("x-kubernetes-validations").is_some() {
        text.push_str(", with rules of its own");
    }
    let words = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    if !words.is_empty() {
        let _ = write!(text, ": {words}");
    }
    // A comment is one line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn type_of(schema: &Map<String, Value>) -> String {
    let inner = |key: &str| schema.get(key).and_then(Value::as_object).map(type_of);
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => format!("list of {}", inner("items").unwrap_or_else(|| "anything".into())),
        Some("object") if fields(schema).is_none() => {
            inner("additionalProperties").map_or_else(|| "object".into(), |of| format!("map of {of}"))
        }
        Some(name) => name.to_owned(),
        None if schema.get("x-kubernetes-int-or-string").is_some() => "integer or string".to_owned(),
        None => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn values_fit_their_schema() {
        for (schema, want) in [
            (json!({"type": "string"}), json!("example")),
            (json!({"type": "string", "minLength": 10}), json!("exampleexa")),
            (json!({"type": "string", "maxLength": 2}), json!("ex")),
            (json!({"type": "string", "enum": ["a", "b"]}), json!("a")),
            (json!({"type": "integer", "minimum": 3, "maximum": 5}), json!(3)),
            (json!({"type": "integer", "minimum": -3}), json!(0)),
            (json!({"type": "integer", "maximum": -2}), json!(-2)),
            (json!({"type": "integer", "minimum": 0, "exclusiveMinimum": true}), json!(1)),
            (json!({"type": "number", "minimum": 0.5}), json!(0.5)),
            (json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2}), json!([false, false])),
            (
                json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
                json!({"a": "example"}),
            ),
            (json!({"x-kubernetes-int-or-string": true}), json!(0)),
            (json!({"x-kubernetes-preserve-unknown-fields": true}), json!({})),
        ] {
            let schema = map(schema);
            let value = value_of(&schema, 0);
            assert_eq!(value, want);
            assert_eq!(unmet::all(&schema, &value), [], "{schema:?}");
        }
    }

    #[test]
    fn texts_that_mean_something_else_are_quoted() {
        for (text, want) in
            [("a-b/c", "a-b/c"), ("yes", "\"yes\""), ("1", "\"1\""), ("a: b", "\"a: b\""), ("", "\"\"")]
        {
            assert_eq!(scalar(&json!(text)), want);
        }
    }

    #[test]
    fn required_fields_stand_and_optional_ones_are_comments() {
        let schema = map(json!({"type": "object", "required": ["image", "inner"], "properties": {
            "image": {"type": "string", "description": "Image\nof the app"},
            "code": {"type": "string", "pattern": "^[0-9]+$"},
            "inner": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}},
            "empty": {"type": "object", "default": {}, "properties": {"host": {"type": "string"}}},
            "more": {"type": "object", "required": ["x"], "properties": {"x": {"type": "boolean"}, "y": {"type": "array", "items": {"type": "string"}}}},
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        }}));
        let mut writing = Writing::default();
        writing.map(&schema, &Place::default());
        assert_eq!(
            writing.out,
            "  # code: example # string, matches ^[0-9]+$; to be written
  empty: {} # object
    # host: example # string
  image: example # string, required: Image of the app
  inner: # object, required
    size: 3 # integer
  # more: # object
  #   x: false # boolean, required
  #   \"y\": [] # list of string
  # tags: {} # map of string
"
        );
        assert_eq!(writing.open, Vec::<String>::new());
        let schema = map(
            json!({"required": ["code"], "properties": {"code": {"type": "string", "pattern": "^[0-9]+$"}}}),
        );
        writing.map(&schema, &Place::default());
        assert_eq!(writing.open, ["spec.code"]);
    }
}
