//! Collects findings, each at its place in the file.

use super::finding::{Finding, Rule, Severity};
use super::locate;
use super::source::{File, Object};
use super::structural::Problem;
use crate::graph::Diagnostic;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a finding says.
pub struct Words {
    pub message: String,
    pub help: Option<String>,
}

/// Where in an object it stands.
struct Place<'a> {
    path: &'a str,
    span: Range<usize>,
}

pub struct Findings<'f> {
    files: &'f [File],
    pub all: Vec<Finding>,
}

impl<'f> Findings<'f> {
    pub fn new(files: &'f [File]) -> Self {
        Self { files, all: Vec::new() }
    }

    pub fn source(&self, object: &Object) -> &'f str {
        self.files.get(object.file).map_or("", |f| f.text.as_str())
    }

    pub fn at_path(&mut self, object: &Object, rule: Rule, path: &str, words: Words) {
        let span = locate::find(&object.node, path).mark(self.source(object));
        self.push(object, Place { path, span }, (rule, Severity::Error), words);
    }

    pub fn warn_at_path(&mut self, object: &Object, rule: Rule, path: &str, words: Words) {
        let span = locate::find(&object.node, path).mark(self.source(object));
        self.push(object, Place { path, span }, (rule, Severity::Warning), words);
    }

    /// What the schema of a CRD does not allow.
    pub fn problem(&mut self, object: &Object, rule: Rule, severity: Severity, problem: Problem) {
        let place = Place { path: &problem.path, span: problem.span };
        let words = Words { message: problem.message, help: problem.help };
        self.push(object, place, (rule, severity), words);
    }

    /// What does not compile; in an expression the caret goes to the spot.
    pub fn diagnostic(&mut self, object: &Object, rule: Rule, diagnostic: Diagnostic) {
        let source = self.source(object);
        let found = locate::find(&object.node, &diagnostic.path);
        let spot = diagnostic.spot.as_ref().and_then(|s| locate::spot(source, found.node, s));
        let in_key = |d: &Diagnostic| {
            let key = found.key.filter(|k| {
                d.message.contains("unknown field") || d.path.ends_with(&k.text) && is_about_field(&d.message)
            });
            key.map(|k| k.span.clone())
        };
        let span = spot.or_else(|| in_key(&diagnostic)).unwrap_or_else(|| found.mark(source));
        let message = brief(&diagnostic);
        let place = Place { path: &diagnostic.path, span };
        let words = Words { message, help: diagnostic.help };
        self.push(object, place, (rule, Severity::Error), words);
    }

    fn push(&mut self, object: &Object, place: Place, (rule, severity): (Rule, Severity), words: Words) {
        let (Place { path, span }, Words { message, help }) = (place, words);
        self.all.push(Finding {
            severity,
            rule,
            file: object.file,
            span,
            object: object.shown(),
            path: path.to_owned(),
            message,
            help,
            related: None,
        });
    }

    /// Takes out warnings at places that have an error: they are about the same mistake.
    pub fn without_warnings_beside_errors(&mut self) {
        let place = |f: &Finding| (f.file, f.object.clone(), f.path.clone());
        let wrong: BTreeSet<_> =
            self.all.iter().filter(|f| f.severity == Severity::Error).map(place).collect();
        self.all.retain(|f| f.severity == Severity::Error || f.path.is_empty() || !wrong.contains(&place(f)));
    }

    /// The findings in the order of the files.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.all.sort_by(|a, b| {
            (a.file, a.span.start, a.severity, a.rule, &a.message).cmp(&(
                b.file,
                b.span.start,
                b.severity,
                b.rule,
                &b.message,
            ))
        });
        self.all
    }
}

/// Whether the field itself is wrong, and not its value.
fn is_about_field(message: &str) -> bool {
    message.starts_with("no such field") || message.contains("schema not found for field")
}

/// The message without the picture of the expression, since the file itself is shown.
fn brief(diagnostic: &Diagnostic) -> String {
    let message = diagnostic.message.as_str();
    if diagnostic.spot.is_none() {
        return message.to_owned();
    }
    let first = message.rsplit_once("ERROR: <input>:").map_or(message, |(_, after)| after);
    let first = first.lines().next().unwrap_or_default();
    // Line and column are left out: of `1:5: words` the words stay.
    let is_number = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit());
    match first.splitn(3, ':').collect::<Vec<_>>().as_slice() {
        [line, column, words] if is_number(line) && is_number(column) => words.trim().to_owned(),
        _ => first.to_owned(),
    }
}
