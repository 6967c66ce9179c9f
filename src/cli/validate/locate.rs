//! From a path in an object, and a byte in an expression, to the bytes of the file.

use super::yaml::{Content, Key, Node, Style};
use crate::graph::Spot;
use std::ops::Range;

/// Where a path leads.
pub struct Found<'n> {
    pub node: &'n Node,
    /// The key, if the value stands in a map.
    pub key: Option<&'n Key>,
}

impl Found<'_> {
    /// What to underline: a scalar as a whole, and of a map or list its key.
    pub fn mark(&self, source: &str) -> Range<usize> {
        match (&self.node.content, self.key) {
            (Content::Scalar(value, _), _) if !value.is_null() || self.key.is_none() => {
                self.node.mark(source)
            }
            (_, Some(key)) => key.span.clone(),
            _ => self.node.mark(source),
        }
    }
}

/// The place that a path like `spec.resources[0].template.metadata.labels["a.b/c"]` names, or as near to it as the file
/// goes.
pub fn find<'n>(root: &'n Node, path: &str) -> Found<'n> {
    let mut found = Found { node: root, key: None };
    let mut rest = path;
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inner) = rest.strip_prefix('[') {
            if let Some(after) = inner.strip_prefix(']') {
                rest = after;
                continue;
            }
            if inner.starts_with('"') {
                let mut keys = serde_json::Deserializer::from_str(inner).into_iter::<String>();
                let Some(Ok(name)) = keys.next() else { return found };
                let used = keys.byte_offset();
                let Some((key, node)) = found.node.entries().iter().find(|(k, _)| k.text == name) else {
                    return found;
                };
                found = Found { node, key: Some(key) };
                rest = inner.get(used..).and_then(|r| r.strip_prefix(']')).unwrap_or_default();
                continue;
            }
            let Some((index, after)) = inner.split_once(']') else { return found };
            let Some(node) = index.parse::<usize>().ok().and_then(|i| found.node.items().get(i)) else {
                return found;
            };
            found = Found { node, key: None };
            rest = after;
            continue;
        }
        // The longest key that fits: a key may hold dots.
        let fits = |(key, _): &&(Key, Node)| {
            rest.strip_prefix(key.text.as_str())
                .is_some_and(|r| !key.text.is_empty() && (r.is_empty() || r.starts_with(['.', '['])))
        };
        let Some((key, node)) = found.node.entries().iter().filter(fits).max_by_key(|(k, _)| k.text.len())
        else {
            return found;
        };
        rest = rest.get(key.text.len()..).unwrap_or_default();
        found = Found { node, key: Some(key) };
    }
}

/// What to underline for a spot in an expression that stands in this scalar.
pub fn spot(source: &str, node: &Node, spot: &Spot) -> Option<Range<usize>> {
    let text = node.text()?;
    let opening = format!("${{{}", spot.source);
    let at = text.find(&opening).map(|p| p + 2).or_else(|| text.find(&spot.source))?;
    let offset = spot.offset.min(spot.source.len());
    let there = spot.source.get(offset..).unwrap_or_default();
    // A field is found at its dot; a reader looks for its name.
    let name = there.trim_start_matches(['.', '?']);
    let is_name = there.starts_with('.') && name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let there = if is_name { name } else { there };
    let from = at + spot.source.len() - there.len();
    let length = word(there);
    let places = places(source, node)?;
    let place = |byte: usize| places.iter().find(|(decoded, _)| *decoded >= byte).map(|(_, raw)| *raw);
    let start = place(from).or_else(|| places.last().map(|(_, raw)| *raw))?;
    let end = match length {
        0 => start,
        _ => places.iter().rfind(|(decoded, _)| *decoded < from + length).map_or(start, |(_, raw)| {
            *raw + source.get(*raw..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8)
        }),
    };
    Some(start..end.max(start))
}

/// The bytes of the name or sign that a text begins with.
fn word(text: &str) -> usize {
    let mut chars = text.chars();
    match chars.next() {
        Some(c) if c.is_alphanumeric() || c == '_' => {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum()
        }
        Some(c) if !c.is_whitespace() => c.len_utf8(),
        _ => 0,
    }
}

/// Pairs the letters of a scalar, spaces left out: the byte of each in the value, and in the file. However the scalar
/// is quoted and folded, both have the same letters in the same order.
fn places(source: &str, node: &Node) -> Option<Vec<(usize, usize)>> {
    let Content::Scalar(value, style) = &node.content else { return None };
    let text = value.as_str()?;
    let mut raw = source.get(node.span.clone())?;
    let mut at = node.span.start;
    if *style == Style::Block && raw.starts_with(['|', '>']) {
        let header = raw.find('\n')? + 1;
        raw = raw.get(header..)?;
        at += header;
    }
    let mut letters = raw.char_indices().peekable();
    let mut out = Vec::new();
    for (decoded, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        loop {
            let (offset, mut found) = letters.next()?;
            if *style == Style::Double && found == '\\' {
                let (_, escaped) = letters.next()?;
                found = match escaped {
                    'x' => coded(&mut letters, 2)?,
                    'u' => coded(&mut letters, 4)?,
                    'U' => coded(&mut letters, 8)?,
                    'n' | 't' | 'r' | '\t' | '\n' | ' ' => ' ',
                    other => other,
                };
            }
            if found == c {
                if *style == Style::Single && found == '\'' {
                    letters.next();
                }
                out.push((decoded, at + offset));
                break;
            }
        }
    }
    Some(out)
}

fn coded(letters: &mut impl Iterator<Item = (usize, char)>, digits: usize) -> Option<char> {
    let mut code = 0_u32;
    for _ in 0..digits {
        code = code.checked_mul(16)?.checked_add(letters.next()?.1.to_digit(16)?)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::read;
    use super::*;

    fn at(text: &str, path: &str) -> String {
        let node = read(text, 0..text.len()).unwrap().unwrap();
        text.get(find(&node, path).mark(text)).unwrap().to_owned()
    }

    #[test]
    fn paths_lead_to_places() {
        let text = "a:\n  b.c/d: 1\n  list:\n  - x: two\n    'y z': {q: '3'}\n";
        for (path, want) in [
            ("a.b.c/d", "1"),
            ("a[\"b.c/d\"]", "1"),
            ("a.list[0].x", "two"),
            ("a.list", "list"),
            ("a.list[0]", "x"),
            ("a.list[0].y z.q", "'3'"),
            ("a.list[].x", "list"),
            ("a.nothing.there", "a"),
            ("", "a"),
        ] {
            assert_eq!(at(text, path), want, "{path}");
        }
    }

    #[test]
    fn spots_lead_into_expressions() {
        for text in [
            "a: ${x.fooo + 'é'}\n",
            "a: '${x.fooo + ''é''}'\n",
            "a: \"${x.fooo +\\n 'é'}\"\n",
            "a: \"\\u0024{x.fooo + 'é'}\"\n",
            "a: |\n   ${x.fooo\n      + 'é'}\n",
            "a: >-\n   ${x.fooo\n   + 'é'}\n",
        ] {
            let node = read(text, 0..text.len()).unwrap().unwrap();
            let value = node.get("a").unwrap().text().unwrap().trim().to_owned();
            let source = value.strip_prefix("${").and_then(|v| v.strip_suffix('}')).unwrap().to_owned();
            for word in ["fooo", "+", "é"] {
                let offset = source.find(word).unwrap();
                let range =
                    spot(text, node.get("a").unwrap(), &Spot { source: source.clone(), offset }).unwrap();
                assert_eq!(text.get(range), Some(word), "{text}");
            }
        }
    }
}
