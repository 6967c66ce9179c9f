//! How findings are shown: to people, to programs, to code scanners, to GitHub.

use super::check::Counts;
use super::finding::{Finding, Rule, Severity};
use super::source::File;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use clap::ValueEnum;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Sarif,
    Github,
}

/// All that is to be shown.
pub struct Report<'r> {
    pub files: &'r [File],
    pub findings: &'r [Finding],
    pub counts: Counts,
}

/// A place as people count: from one, columns in letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
}

fn position(text: &str, byte: usize) -> Position {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    Position { line: before.matches('\n').count() + 1, column }
}

impl Report<'_> {
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    pub fn text(&self, format: Format, colours: bool) -> String {
        match format {
            Format::Text => self.for_people(colours),
            Format::Json => pretty(&self.json()),
            Format::Sarif => pretty(&self.sarif()),
            Format::Github => self.github(),
        }
    }

    fn file(&self, finding: &Finding) -> (&str, &str) {
        self.files.get(finding.file).map_or(("", ""), |f| (f.name.as_str(), f.text.as_str()))
    }

    fn places(&self, finding: &Finding) -> (&str, Position, Position) {
        let (name, text) = self.file(finding);
        (name, position(text, finding.span.start), position(text, finding.span.end))
    }

    fn summary(&self) -> String {
        let number = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let Counts { definitions, instances, clusters, placements, crds, ignored } = self.counts;
        let mut parts = vec![
            number(self.files.len(), "file"),
            number(definitions, "definition"),
            number(instances, "instance"),
            number(clusters, "cluster"),
        ];
        parts.extend((placements > 0).then(|| number(placements, "placement")));
        parts.extend([number(crds, "CRD"), format!("{ignored} ignored")]);
        let errors = number(self.count(Severity::Error), "error");
        let warnings = number(self.count(Severity::Warning), "warning");
        format!("{}: {errors}, {warnings}\n", parts.join(", "))
    }

    fn for_people(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for finding in self.findings {
            out.push_str(&renderer.render(&[self.picture(finding)]));
            out.push_str("\n\n");
        }
        out.push_str(&self.summary());
        out
    }

    fn picture<'p>(&'p self, finding: &'p Finding) -> annotate_snippets::Group<'p> {
        let (name, text) = self.file(finding);
        let mut lines = finding.message.lines();
        let title = lines.next().unwrap_or_default();
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut snippet =
            Snippet::source(text).path(name).annotation(AnnotationKind::Primary.span(finding.span.clone()));
        if let Some((span, label)) = &finding.related {
            snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(label.as_str()));
        }
        let mut group = level.primary_title(title).id(finding.rule.id()).element(snippet);
        if !finding.object.is_empty() {
            let at = if finding.path.is_empty() { String::new() } else { format!(", {}", finding.path) };
            group = group.element(Level::NOTE.message(format!("in {}{at}", finding.object)));
        }
        for line in lines {
            group = group.element(Level::NOTE.message(line));
        }
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|f| {
                let (file, start, end) = self.places(f);
                json!({
                    "severity": f.severity.word(), "rule": f.rule.id(), "file": file,
                    "line": start.line, "column": start.column, "endLine": end.line, "endColumn": end.column,
                    "object": f.object, "path": f.path, "message": f.message, "help": f.help,
                })
            })
            .collect();
        let counts = self.counts;
        json!({
            "findings": findings,
            "summary": {
                "files": self.files.len(), "definitions": counts.definitions, "instances": counts.instances,
                "clusters": counts.clusters, "placements": counts.placements, "crds": counts.crds, "ignored": counts.ignored,
                "errors": self.count(Severity::Error), "warnings": self.count(Severity::Warning),
            },
        })
    }

    fn sarif(&self) -> Value {
        let rules: Vec<Value> = Rule::ALL
            .iter()
            .map(|r| json!({"id": r.id(), "shortDescription": {"text": r.about()}}))
            .collect();
        let results: Vec<Value> = self
            .findings
            .iter()
            .map(|f| {
                let (file, start, end) = self.places(f);
                json!({
                    "ruleId": f.rule.id(),
                    "level": f.severity.word(),
                    "message": {"text": with_help(f)},
                    "locations": [{"physicalLocation": {
                        "artifactLocation": {"uri": uri(file)},
                        "region": {"startLine": start.line, "startColumn": start.column,
                            "endLine": end.line, "endColumn": end.column},
                    }}],
                })
            })
            .collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "columnKind": "unicodeCodePoints",
                "tool": {"driver": {"name": "kro-hub", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
                "results": results,
            }],
        })
    }

    fn github(&self) -> String {
        let mut out = String::new();
        for f in self.findings {
            let (file, start, end) = self.places(f);
            let data = |t: &str| t.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let property = |t: &str| data(t).replace(':', "%3A").replace(',', "%2C");
            // Columns count only where begin and end are on one line.
            let columns = match start.line == end.line {
                true => format!(",col={},endColumn={}", start.column, end.column),
                false => format!(",endLine={}", end.line),
            };
            out.push_str(&format!(
                "::{} file={},line={}{columns},title={}::{}\n",
                f.severity.word(),
                property(file),
                start.line,
                property(f.rule.id()),
                data(&with_help(f))
            ));
        }
        out.push_str(&self.summary());
        out
    }
}

fn with_help(finding: &Finding) -> String {
    match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    }
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A path as a relative reference.
fn uri(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
