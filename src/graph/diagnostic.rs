//! Problems of a definition: where, what, and how to mend it.

use crate::cel::CompileError;
use crate::cel::template::{Part, Text, split};
use std::cmp::Ordering;
use std::fmt;

/// One problem of a ResourceGraphDefinition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where in the definition, e.g. `spec.resources[2].template.spec.replicas`.
    pub path: String,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The expression that is wrong, and the byte in it.
    pub spot: Option<Spot>,
}

/// A place in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The expression without `${` and `}`.
    pub source: String,
    /// Bytes from its start.
    pub offset: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            // The caret of an expression ends a line, so the help begins a new one.
            Some(help) if self.message.contains('\n') => write!(f, "\n {help}"),
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// A place in a JSON document. Segments, so that a key may hold any character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    /// The path to the keys, one below the other.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|k| Segment::Key((*k).to_owned())).collect())
    }
    /// `spec.resources[position]`.
    pub fn resource(position: usize) -> Self {
        Self::of(&["spec", "resources"]).index(position)
    }
    /// The steps from `other` down to this; `None` if it is elsewhere.
    pub fn below(&self, other: &Path) -> Option<&[Segment]> {
        self.0.strip_prefix(other.0.as_slice())
    }
    /// Whether this is `other` or a place below it.
    pub fn is_within(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
    #[must_use]
    pub fn step(&self, step: &Segment) -> Self {
        let mut path = self.clone();
        path.0.push(step.clone());
        path
    }
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '"']) => {
                    write!(f, "[{key:?}]")?;
                }
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// The prefix of the names of object types; what follows it is the place of the type: `schema.spec`, `myService.spec`.
pub const TYPE_PREFIX: &str = "__type_";

/// A message for authors: types are called by the place where they stand, not by their internal names.
pub fn legible(message: &str) -> String {
    message.replace(TYPE_PREFIX, "")
}

/// Help for a text with a backslash before `${`: people write it to keep the text from being an expression. `source`
/// is the expression that is wrong, if it is known which.
pub fn backslash(text: &str, source: Option<&str>) -> Option<String> {
    let Ok(Text::Mixed(parts)) = split(text) else { return None };
    let escaped = parts.iter().zip(parts.iter().skip(1)).find_map(|pair| match pair {
        (Part::Literal(before), Part::Expr(inner)) if before.ends_with('\\') => {
            source.is_none_or(|s| s == inner).then_some(inner)
        }
        _ => None,
    })?;
    let whole = format!("${{{escaped}}}");
    // The suggestion is offered only if it is one expression when quoted.
    let quoted = format!("${{{whole:?}}}");
    let as_text = match split(&quoted) {
        Ok(Text::Standalone(_)) => format!("; for the characters {whole} themselves write {quoted}"),
        _ => String::new(),
    };
    Some(format!(
        "the backslash before ${{ is a part of the text and escapes nothing: write {whole} without it{as_text}"
    ))
}

/// Collects what is wrong, so that an author sees everything at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<Diagnostic>);

impl Problems {
    pub fn add(&mut self, path: &Path, message: impl Into<String>) {
        self.add_with_help(path, message, None);
    }
    pub fn add_with_help(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        self.0.push(Diagnostic { path: path.to_string(), message: message.into(), help, spot: None });
    }
    /// What the parser or the checker found in an expression.
    pub fn in_expression(&mut self, path: &Path, what: &str, error: &CompileError) {
        let error = error.clone();
        let bare = CompileError { help: None, message: legible(&error.message), ..error.clone() };
        self.0.push(Diagnostic {
            path: path.to_string(),
            message: format!("{what}: {bare}"),
            help: error.help,
            spot: Some(Spot { source: error.source_text, offset: error.offset }),
        });
    }
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }
    /// Where there are problems.
    pub fn paths(&self) -> std::collections::BTreeSet<String> {
        self.0.iter().map(|problem| problem.path.clone()).collect()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Sorted as a reader meets them in the file, without repetitions.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by(|a, b| natural(&a.path, &b.path).then_with(|| a.message.cmp(&b.message)));
        self.0.dedup();
        self.0
    }
}

/// Compares texts with the numbers in them read as numbers, so that `[10]` follows `[9]`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.chars().peekable(), b.chars().peekable());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let order = number(&mut a).cmp(&number(&mut b));
                if order.is_ne() {
                    return order;
                }
            }
            (x, y) if x != y => return x.cmp(&y),
            (None, _) => return Ordering::Equal,
            _ => {
                a.next();
                b.next();
            }
        }
    }
}

/// Reads a run of digits as (digits without leading zeros, text), which compares as the number does.
fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (usize, String) {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if !(digits.is_empty() && digit == '0') {
            digits.push(digit);
        }
    }
    (digits.len(), digits)
}

/// "did you mean …" for a misspelt word, when one of the candidates is near.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1);
    let best = candidates
        .into_iter()
        .filter(|c| *c != word)
        .map(|c| (distance(word, c), c))
        .filter(|(d, _)| *d <= limit)
        .min()?;
    Some(format!("did you mean {:?}?", best.1))
}

/// Edit distance where swapping two neighbours is one edit, and case counts nothing.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(x != y);
            let mut least = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped && x != y {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_an_author_reads_them() {
        let path = Path::resource(2).key("template").key("metadata").key("annotations").key("a.b/c[0]");
        assert_eq!(path.to_string(), r#"spec.resources[2].template.metadata.annotations["a.b/c[0]"]"#);
        assert_eq!(Path::of(&["a"]).key("").index(1).to_string(), r#"a[""][1]"#);
    }

    #[test]
    fn problems_are_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        for position in [10, 9, 1, 9] {
            problems.add(&Path::resource(position), "wrong");
        }
        let paths: Vec<String> = problems.into_sorted().into_iter().map(|d| d.path).collect();
        assert_eq!(paths, ["spec.resources[1]", "spec.resources[9]", "spec.resources[10]"]);
    }

    #[test]
    fn suggestions_are_near() {
        for (word, candidates, want) in [
            ("nmae", vec!["name", "image"], Some("name")),
            ("replicaz", vec!["replicas", "name"], Some("replicas")),
            ("Name", vec!["name"], Some("name")),
            ("x", vec!["y"], Some("y")),
            ("foo", vec!["namespace", "schema"], None),
            ("foo", vec![], None),
        ] {
            let want = want.map(|w| format!("did you mean {w:?}?"));
            assert_eq!(suggestion(word, candidates), want, "{word}");
        }
    }
}
