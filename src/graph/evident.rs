//! The type of an expression where one look tells it: by its outermost operator or function, or because it is nothing
//! but a path into a known schema. Types are written as OpenAPI; `None` means that it is not evident.

use super::tokens::{Token, tokens};
use super::validate::fields::{self, Found};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// OpenAPI of the variables that have a known one.
pub type Schemas = BTreeMap<String, Value>;

/// Deeper nesting than this is not evident to a reader either.
const MAX_DEPTH: usize = 40;

/// The evident type of a source.
pub fn of(source: &str, schemas: &Schemas) -> Option<Value> {
    expression(&tokens(source), schemas, MAX_DEPTH)
}

/// How CEL's messages name a type.
pub fn name(schema: &Value) -> String {
    let inner = |v: Option<&Value>| v.map_or_else(|| "dyn".to_owned(), name);
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    match (schema.get("type").and_then(Value::as_str).unwrap_or_default(), format) {
        ("boolean", _) => "bool".into(),
        ("integer", _) => "int".into(),
        ("number", _) => "double".into(),
        ("string", "byte") => "bytes".into(),
        ("string", "date-time") => "timestamp".into(),
        ("string", "duration") => "duration".into(),
        ("string", _) => "string".into(),
        ("array", _) => format!("list({})", inner(schema.get("items"))),
        ("object", _) => match schema.get("additionalProperties") {
            Some(values) => format!("map(string, {})", name(values)),
            None => "object".into(),
        },
        _ => "dyn".into(),
    }
}

fn is_open(token: &Token<'_>) -> bool {
    matches!(token, Token::Mark("(" | "[" | "{"))
}
fn is_close(token: &Token<'_>) -> bool {
    matches!(token, Token::Mark(")" | "]" | "}"))
}

/// Positions of the tokens outside all brackets.
fn outer(all: &[Token<'_>]) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut positions = Vec::new();
    for (position, token) in all.iter().enumerate() {
        if is_close(token) {
            depth = depth.saturating_sub(1);
        } else if is_open(token) {
            depth += 1;
        } else if depth == 0 {
            positions.push(position);
        }
    }
    positions
}

fn expression(all: &[Token<'_>], schemas: &Schemas, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let outer = outer(all);
    let token = |position: usize| all.get(position).copied();
    // `.?` and `[?` are no ternaries.
    let is_question = |p: &usize| token(*p) == Some(Token::Mark("?")) && !follows_dot(all, *p);
    if let Some(question) = outer.iter().copied().find(|p| is_question(p)) {
        let (_, branches) = all.split_at_checked(question + 1)?;
        return ternary(branches, schemas, depth);
    }
    let has = |marks: &[&str]| {
        outer.iter().any(|p| matches!(token(*p), Some(Token::Mark(m)) if marks.contains(&m)))
    };
    let has_in = outer.iter().any(|p| token(*p) == Some(Token::Name("in")) && !follows_dot(all, *p));
    if has(&["||", "&&", "==", "!=", "<", ">", "<=", ">="]) || has_in {
        return Some(json!({"type": "boolean"}));
    }
    for level in [["+", "-", "+"], ["*", "/", "%"]] {
        let binary = |p: &usize| {
            matches!(token(*p), Some(Token::Mark(m)) if level.contains(&m))
                && *p > 0
                && is_operand_end(all, *p)
        };
        if let Some(operator) = outer.iter().copied().rev().find(|p| binary(p)) {
            let left = expression(all.get(..operator)?, schemas, depth).and_then(|t| summand(&t));
            return left
                .or_else(|| expression(all.get(operator + 1..)?, schemas, depth).and_then(|t| summand(&t)));
        }
    }
    match all {
        [Token::Mark("!"), ..] => Some(json!({"type": "boolean"})),
        [Token::Mark("-"), rest @ ..] => expression(rest, schemas, depth).filter(is_number),
        [Token::Mark("("), inner @ .., Token::Mark(")")] if encloses(all) => {
            expression(inner, schemas, depth)
        }
        _ => operand(all, schemas),
    }
}

fn follows_dot(all: &[Token<'_>], position: usize) -> bool {
    let before = position.checked_sub(1).and_then(|p| all.get(p));
    matches!(before, Some(Token::Mark(".")))
}

/// Whether what stands before the sign is an operand, so that the sign is a binary operator.
fn is_operand_end(all: &[Token<'_>], position: usize) -> bool {
    let before = position.checked_sub(1).and_then(|p| all.get(p));
    before.is_some_and(|t| is_close(t) || !matches!(t, Token::Mark(_)))
}

fn ternary(branches: &[Token<'_>], schemas: &Schemas, depth: usize) -> Option<Value> {
    let mut nested = 0_usize;
    for position in outer(branches) {
        match branches.get(position) {
            Some(Token::Mark("?")) if !follows_dot(branches, position) => nested += 1,
            Some(Token::Mark(":")) if nested == 0 => {
                let yes = expression(branches.get(..position)?, schemas, depth)?;
                let no = expression(branches.get(position + 1..)?, schemas, depth)?;
                return (name(&yes) == name(&no) && shape(&yes) == shape(&no)).then_some(yes);
            }
            Some(Token::Mark(":")) => nested -= 1,
            _ => {}
        }
    }
    None
}

/// Adding, subtracting and the like give the type of an operand, for these types.
fn summand(schema: &Value) -> Option<Value> {
    let plain_string = schema.get("type") == Some(&json!("string")) && schema.get("format").is_none();
    (is_number(schema) || plain_string).then(|| shape(schema))
}

fn is_number(schema: &Value) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number"))
}

/// Whether the first bracket closes with the last token.
fn encloses(all: &[Token<'_>]) -> bool {
    let mut depth = 0_usize;
    for (position, token) in all.iter().enumerate() {
        if is_open(token) {
            depth += 1;
        } else if is_close(token) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return position + 1 == all.len();
            }
        }
    }
    false
}

fn operand(all: &[Token<'_>], schemas: &Schemas) -> Option<Value> {
    let simple = match all {
        [Token::Int | Token::Uint] => Some(json!({"type": "integer"})),
        [Token::Double] => Some(json!({"type": "number"})),
        [Token::Text] => Some(json!({"type": "string"})),
        [Token::Bytes] => Some(json!({"type": "string", "format": "byte"})),
        [Token::Name("true" | "false")] => Some(json!({"type": "boolean"})),
        [Token::Mark("["), ..] if encloses(all) => {
            Some(json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}}))
        }
        [Token::Mark("{"), ..] if encloses(all) => Some(json!({
            "type": "object",
            "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true}
        })),
        _ => None,
    };
    simple.or_else(|| call(all)).or_else(|| path(all, schemas))
}

/// The type of what the last call of a chain gives.
fn call(all: &[Token<'_>]) -> Option<Value> {
    if all.last() != Some(&Token::Mark(")")) {
        return None;
    }
    let mut depth = 0_usize;
    let open = all.iter().enumerate().rev().find_map(|(position, token)| {
        if is_close(token) {
            depth += 1;
        } else if is_open(token) {
            depth -= 1;
        }
        (depth == 0).then_some(position)
    })?;
    let head = all.get(..open)?;
    match head {
        [Token::Name(function)] => of_function(function),
        [Token::Name(space), Token::Mark("."), Token::Name(function)] => {
            of_namespaced(space, function).or_else(|| of_method(function))
        }
        [.., Token::Mark("."), Token::Name(function)] => of_method(function),
        _ => None,
    }
}

fn of_function(name: &str) -> Option<Value> {
    Some(match name {
        "has" | "bool" | "isURL" | "isQuantity" | "isIP" | "isCIDR" | "isSemver" => {
            json!({"type": "boolean"})
        }
        "size" | "int" | "uint" => json!({"type": "integer"}),
        "double" => json!({"type": "number"}),
        "string" => json!({"type": "string"}),
        "bytes" => json!({"type": "string", "format": "byte"}),
        "timestamp" => json!({"type": "string", "format": "date-time"}),
        _ => return None,
    })
}

fn of_namespaced(space: &str, name: &str) -> Option<Value> {
    Some(match (space, name) {
        ("base64" | "json", "encode") | ("json", "marshal") | ("strings", "quote") => {
            json!({"type": "string"})
        }
        ("random", "seededString") => json!({"type": "string"}),
        ("random", "seededInt") => json!({"type": "integer"}),
        ("hash", _) | ("base64", "decode") => json!({"type": "string", "format": "byte"}),
        ("lists", "range") => json!({"type": "array", "items": {"type": "integer"}}),
        _ => return None,
    })
}

/// Methods whose result is of one type whatever they are called on.
fn of_method(name: &str) -> Option<Value> {
    Some(match name {
        "startsWith" | "endsWith" | "matches" | "contains" | "all" | "exists" | "exists_one"
        | "existsOne" | "hasValue" | "isSorted" | "isInteger" => json!({"type": "boolean"}),
        "size" | "indexOf" | "lastIndexOf" | "asInteger" | "compareTo" => json!({"type": "integer"}),
        "asApproximateFloat" => json!({"type": "number"}),
        "charAt" | "lowerAscii" | "upperAscii" | "replace" | "substring" | "trim" | "join" | "format" => {
            json!({"type": "string"})
        }
        "split" | "findAll" => json!({"type": "array", "items": {"type": "string"}}),
        "map" | "filter" | "transformList" => {
            json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}})
        }
        _ => return None,
    })
}

/// `a.b.c`, where the schema of `a` is known and says what stands there.
fn path(all: &[Token<'_>], schemas: &Schemas) -> Option<Value> {
    let mut names = Vec::new();
    for (position, token) in all.iter().enumerate() {
        match token {
            Token::Name(name) if position % 2 == 0 => names.push((*name).to_owned()),
            Token::Mark(".") if position % 2 == 1 => {}
            _ => return None,
        }
    }
    let (variable, steps) = names.split_first()?;
    match fields::find(schemas.get(variable)?, steps) {
        Ok(Found::Schema(schema)) if schema.get("type").is_some() => Some(schema.clone()),
        _ => None,
    }
}

/// A schema without what only the instance's own writer has to keep: defaults, limits, required fields.
pub fn shape(schema: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    let Some(from) = schema.as_object() else { return json!({"x-kubernetes-preserve-unknown-fields": true}) };
    for key in ["type", "format", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"] {
        if let Some(value) = from.get(key) {
            kept.insert(key.into(), value.clone());
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = from.get(key) {
            kept.insert(key.into(), if value.is_object() { shape(value) } else { value.clone() });
        }
    }
    if let Some(properties) = from.get("properties").and_then(Value::as_object) {
        let properties = properties.iter().map(|(k, v)| (k.clone(), shape(v))).collect();
        kept.insert("properties".into(), Value::Object(properties));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_tells_the_type() {
        let spec = json!({"type": "object", "properties": {
            "name": {"type": "string", "default": "x"}, "n": {"type": "integer"}, "f": {"type": "number"},
            "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
            "l": {"type": "array", "items": {"type": "string"}},
        }});
        let schemas =
            Schemas::from([("schema".to_owned(), json!({"type": "object", "properties": {"spec": spec}}))]);
        for (source, want) in [
            ("schema.spec.name", "string"),
            (" schema.spec.n ", "int"),
            ("(schema.spec.f)", "double"),
            ("schema.spec.raw", "object"),
            ("schema.spec.raw.x", "-"),
            ("schema.spec.m", "map(string, string)"),
            ("schema.spec.m.a", "string"),
            ("schema.spec.l", "list(string)"),
            ("schema.spec.l[0]", "-"),
            ("schema.spec.name == 'x'", "bool"),
            ("a.b != c ? 1 : 2", "int"),
            ("a ? 'x' : string(b)", "string"),
            ("a ? 'x' : 1", "-"),
            ("a ? b ? 1 : 2 : 3", "int"),
            ("a.?b.orValue(1)", "-"),
            ("a.?b == b ? 'x' : 'y'", "string"),
            ("a || b", "bool"),
            ("!a", "bool"),
            ("'x' in a", "bool"),
            ("a.in", "-"),
            ("has(a.b)", "bool"),
            ("size(a)", "int"),
            ("a.size()", "int"),
            ("a.size() > 2", "bool"),
            ("a.filter(x, x > 2)", "list(dyn)"),
            ("a.map(x, x > 2)[0]", "-"),
            ("string(a) + 'x'", "string"),
            ("a + 'x'", "string"),
            ("a + b", "-"),
            ("schema.spec.n + 1", "int"),
            ("2.0 * schema.spec.f", "double"),
            ("-schema.spec.n", "int"),
            ("a - -1", "int"),
            ("-a", "-"),
            ("a.b.startsWith('x')", "bool"),
            ("json.marshal(a)", "string"),
            ("hash.sha256(a)", "bytes"),
            ("cm.metadata", "-"),
            ("[1, 2]", "list(dyn)"),
            ("{'a': 1}", "map(string, dyn)"),
            ("[1, 2] + a", "-"),
            ("{'a': 1 == 2}.a", "-"),
            ("true", "bool"),
            ("1.5", "double"),
            ("b'x'", "bytes"),
            ("(a) + (b)", "-"),
            ("(a ? b : c).trim()", "string"),
            ("", "-"),
            (")(", "-"),
            ("?:", "-"),
        ] {
            let got = of(source, &schemas).map_or("-".to_owned(), |t| name(&t));
            assert_eq!(got, want, "{source}");
        }
    }

    #[test]
    fn a_shape_has_no_rules() {
        let schema = json!({"type": "object", "required": ["a"], "default": {}, "properties": {
            "a": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["x"], "pattern": "x"}},
        }});
        assert_eq!(
            shape(&schema),
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}})
        );
    }
}
