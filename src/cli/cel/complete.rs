//! What may come next in an expression that is being typed.

use super::world::World;
use crate::cel::docs::{self, Form};
use crate::cel::{Budget, Program, Type};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The budget of completion where names come from data.
const STEPS: u64 = 100_000;

/// Where the word begins, and the candidates for it: each with its text, and as it is listed.
pub(super) fn candidates(before: &str, world: &World) -> (usize, Vec<(String, String)>) {
    let start = chain_start(before);
    let chain = before.get(start..).unwrap_or_default();
    let Some(dot) = chain.rfind('.') else {
        return (start, ordered(chain, globals(world)));
    };
    // `json.mar`: a function whose name has a dot.
    let functions = ordered(chain, globals(world));
    if !functions.is_empty() {
        return (start, functions);
    }
    let (receiver, word) = (chain.get(..dot).unwrap_or_default(), chain.get(dot + 1..).unwrap_or_default());
    let optional = word.starts_with('?');
    let word = word.strip_prefix('?').unwrap_or(word);
    let at = before.len() - word.len();
    (at, ordered(word, members(receiver, optional, world)))
}

/// The candidates that begin with the word, one for each name.
fn ordered(word: &str, all: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut seen = BTreeMap::new();
    for (text, shown) in all.into_iter().filter(|(text, _)| text.starts_with(word)) {
        seen.entry(text).or_insert(shown);
    }
    seen.into_iter().collect()
}

fn globals(world: &World) -> Vec<(String, String)> {
    let mut out: Vec<_> =
        world.variables.iter().map(|(name, t)| (name.clone(), format!("{name}  {t}"))).collect();
    let functions = forms().filter(|f| f.receiver.is_none());
    let functions = functions.filter(|f| f.name.starts_with(|c: char| c.is_ascii_alphabetic()));
    out.extend(functions.map(|f| entry(&f)));
    out
}

fn forms() -> impl Iterator<Item = Form> {
    docs::macros().into_iter().chain(docs::sections().into_iter().flat_map(|s| s.functions))
}

fn entry(form: &Form) -> (String, String) {
    let arrow = if form.result.is_empty() { "" } else { " -> " };
    (format!("{}(", form.name), format!("{}{arrow}{}  {}", form.form, form.result, form.doc))
}

/// Fields and methods of what an expression gives.
fn members(receiver: &str, optional: bool, world: &World) -> Vec<(String, String)> {
    let Ok((program, t)) = Program::compile_typed(receiver, &world.decls) else { return Vec::new() };
    let inner = match &t {
        Type::Optional(inner) => inner,
        other => other,
    };
    let mut out = Vec::new();
    match inner {
        Type::Struct(s) => {
            out.extend(s.fields.iter().map(|(name, t)| (name.clone(), format!("{name}  {t}"))))
        }
        Type::Map(..) | Type::Dyn => {
            if let Ok(Json::Object(fields)) = program.show(&world.scope, &Budget::new(STEPS, STEPS)) {
                out.extend(fields.keys().map(|name| (plain(name), name.clone())));
            }
        }
        _ => {}
    }
    if !optional {
        out.extend(forms().filter(|f| f.takes(&t)).map(|f| entry(&f)));
    }
    out
}

/// The name as it may stand after a dot.
fn plain(name: &str) -> String {
    let simple = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if simple { name.to_owned() } else { format!("`{name}`") }
}

/// Where the chain of names, calls and indices begins that the text ends with.
fn chain_start(text: &str) -> usize {
    let mut start = text.len();
    let mut closing: Vec<char> = Vec::new();
    let mut quoted = None;
    for (i, c) in text.char_indices().rev() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quoted = Some(c),
            (None, ')' | ']' | '}') => closing.push(c),
            (None, '(' | '[' | '{') if closing.pop().is_none() => return start,
            (None, '(' | '[' | '{') => {}
            (None, c) if closing.is_empty() => {
                if !c.is_alphanumeric() && !matches!(c, '_' | '.' | '?') {
                    return start;
                }
                // This question mark begins a condition, not an optional field.
                if c == '?' && !text.get(..i).unwrap_or_default().ends_with(['.', '[']) {
                    return start;
                }
            }
            _ => {}
        }
        start = i;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(before: &str) -> (usize, Vec<String>) {
        let schema = json!({"schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "name": {"type": "string"}, "nodes": {"type": "array", "items": {"type": "object", "properties": {
                "my-field": {"type": "string"}, "id": {"type": "integer"}}}}}}}}});
        let data = json!({"free": {"some": {"a.b": 1, "aa": 2}}});
        let map = |v: Json| v.as_object().unwrap().clone();
        let world = World::new(map(data), map(schema));
        let (at, found) = candidates(before, &world);
        (at, found.into_iter().map(|(text, _)| text).collect())
    }

    #[test]
    fn names_of_variables_fields_and_functions() {
        let rows: [(&str, usize, &[&str]); 13] = [
            ("sche", 0, &["schema"]),
            ("1 + sche", 4, &["schema"]),
            ("[fre", 1, &["free"]),
            ("schema.sp", 7, &["spec"]),
            ("schema.spec.n", 12, &["name", "nodes"]),
            ("schema.spec.?n", 13, &["name", "nodes"]),
            ("schema.spec.nodes[0].", 21, &["id", "my__dash__field"]),
            ("size(schema.spec.nodes.filter(x, x.id > 1)[0].i", 46, &["id"]),
            ("free.some.a", 10, &["aa"]),
            ("free.some.`", 10, &[]),
            ("json.mar", 0, &["json.marshal("]),
            ("schema.spec.name.charA", 17, &["charAt("]),
            ("'a'.charA", 4, &["charAt("]),
        ];
        for (before, at, want) in rows {
            let (got_at, got) = texts(before);
            let got: Vec<&str> = got
                .iter()
                .map(String::as_str)
                .filter(|t| want.is_empty() || !t.ends_with('(') || want.contains(t))
                .collect();
            if want.is_empty() {
                assert!(got.is_empty() || got.iter().all(|t| t.starts_with('`')), "{before}: {got:?}");
                continue;
            }
            assert_eq!((got_at, got.as_slice()), (at, want), "{before}");
        }
        assert!(texts("schema.spec.name.").1.contains(&"charAt(".to_owned()));
        assert!(!texts("schema.spec.nodes.").1.contains(&"charAt(".to_owned()));
        assert!(texts("schema.spec.nodes.").1.contains(&"map(".to_owned()));
        assert!(texts("free.some.").1.contains(&"`a.b`".to_owned()));
        assert!(texts("ha").1.contains(&"has(".to_owned()));
    }

    #[test]
    fn nothing_breaks_it() {
        for text in ["", ".", "ü.", "((((", "]]]]", "'", "a.?", "?", "\"ü", "a[?", "`"] {
            texts(text);
        }
    }
}
