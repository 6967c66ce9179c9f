//! Changes as people read them.

use super::planned;
use super::{
    Action, Change, Changes, ClusterChange, DefinitionChange, Diff, Field, Group, InstanceChanges, Summary,
};
use crate::view::look::wide;
use crate::view::{Look, Mark};
use serde_json::Value;
use std::fmt::Write;

/// Longer paths are not waited for by the others.
const MOST_PADDED: usize = 60;
/// So many lines of a text that changed are shown.
const MOST_LINES: usize = 20;
/// So many clusters are named in full.
const MOST_NAMED: usize = 3;
/// So many fields of a new object that only a cluster could tell.
const MOST_LIVE: usize = 3;

impl Diff {
    pub fn text(&self, look: &Look) -> String {
        if self.changes.is_empty() {
            return format!("no change from {} to {}\n", self.spec.from, self.spec.to);
        }
        format!("{}Diff: {}\n", self.changes.text(look), self.changes.summary.text())
    }
}

impl Summary {
    /// `12 to create, 1 to delete on 12 of 14 clusters`
    pub fn text(&self) -> String {
        let Self { clusters, changed, .. } = *self;
        let what = self.objects();
        match clusters {
            0 => what,
            1 => format!("{what} on {changed} of 1 cluster"),
            _ => format!("{what} on {changed} of {clusters} clusters"),
        }
    }

    /// `12 to create, 1 refused`
    pub(super) fn objects(&self) -> String {
        let Self { create, update, delete, refused, .. } = *self;
        let parts =
            [(create, "to create"), (update, "to update"), (delete, "to delete"), (refused, "refused")];
        let shown: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if shown.is_empty() { "no object changes".to_owned() } else { shown.join(", ") }
    }
}

impl Changes {
    /// All but the summary.
    pub fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        for cluster in &self.clusters {
            out.push_str(&cluster.line(look));
        }
        for definition in &self.definitions {
            out.push_str(&definition.line(look));
        }
        for group in &self.groups {
            let _ = writeln!(out, "{}", look.bold(&group.title()));
            group.instances.iter().for_each(|instance| out.push_str(&instance.text(look)));
        }
        out
    }
}

impl Action {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::Delete => "-",
            Self::Refused => "!",
        }
    }

    fn painted(self, look: &Look) -> String {
        let mark = match self {
            Self::Create => Mark::Ready,
            Self::Update => Mark::Moving,
            Self::Delete | Self::Refused => Mark::Failed,
        };
        look.painted(mark, self.sign())
    }
}

impl ClusterChange {
    pub(super) fn line(&self, look: &Look) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!("   {}", self.reason) };
        format!("{} cluster {}{reason}\n", self.action.painted(look), self.name)
    }
}

impl DefinitionChange {
    pub(super) fn line(&self, look: &Look) -> String {
        let mut line = format!("{} definition {}", self.action.painted(look), self.name);
        match (self.from, self.to) {
            (Some(from), Some(to)) => line.push_str(&format!("   revision {from} -> {to}")),
            (None, Some(to)) => line.push_str(&format!("   revision {to}")),
            _ => {}
        }
        if self.action == Action::Update {
            let schema = match self.schema.as_slice() {
                [] => "schema as before".to_owned(),
                all => format!("schema: {}", all.join("; ")),
            };
            let breaking = match self.breaking.as_slice() {
                [] => "nothing breaks".to_owned(),
                all => format!("breaks: {}", all.join("; ")),
            };
            let _ = write!(line, "   {schema}, {breaking}");
        }
        line.push('\n');
        line
    }
}

impl Group {
    /// `eu-1, eu-2 … eu-12   12 clusters, 12 instances, equal`
    pub(super) fn title(&self) -> String {
        let of = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let count = self.clusters.len();
        let names = match self.clusters.as_slice() {
            [] => "on the hub".to_owned(),
            [first, second, .., last] if count > MOST_NAMED => format!("{first}, {second} … {last}"),
            all => all.join(", "),
        };
        let instances = of(self.instances.len() * count.max(1), "instance");
        match count {
            0 | 1 => format!("{names}   {instances}"),
            _ => format!("{names}   {}, {instances}, equal", of(count, "cluster")),
        }
    }
}

impl InstanceChanges {
    pub(super) fn title(&self) -> String {
        let name = match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        };
        let placement =
            if self.placement.is_empty() { String::new() } else { format!("   {}", self.placement) };
        format!("{} {name}{placement}", self.kind)
    }

    pub(super) fn text(&self, look: &Look) -> String {
        let mut out = format!("  {}\n", self.title());
        let wide_of = |of: fn(&Change) -> usize| self.changes.iter().map(of).max().unwrap_or_default();
        let (node, object) = (wide_of(|c| wide(&c.node)), wide_of(|c| wide(&c.object())));
        for change in &self.changes {
            let sign = change.action.painted(look);
            let line = format!("{:node$}  {:object$}  {}", change.node, change.object(), change.aside());
            let _ = writeln!(out, "  {sign} {}", line.trim_end());
            if change.action == Action::Update {
                change.fields(look, &mut out);
            }
        }
        out
    }
}

impl Change {
    fn object(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{} {}", self.kind, self.name),
            namespace => format!("{} {namespace}/{}", self.kind, self.name),
        }
    }

    /// What stands on the line of the object.
    fn aside(&self) -> String {
        let mut parts = Vec::new();
        if self.action == Action::Create {
            let of = if self.fields.len() == 1 { "" } else { "s" };
            parts.push(format!("{} field{of}", self.fields.len()));
            let live: Vec<&Field> = self.fields.iter().filter(|f| f.live && !f.sensitive).collect();
            parts.extend(live.iter().take(MOST_LIVE).map(|field| {
                format!("{}: {}", field.path, field.after.as_ref().map(plain).unwrap_or_default())
            }));
            if live.len() > MOST_LIVE {
                parts.push(format!("{} more that a cluster tells", live.len() - MOST_LIVE));
            }
        }
        parts.extend((!self.reason.is_empty()).then(|| self.reason.clone()));
        parts.join("; ")
    }

    fn fields(&self, look: &Look, out: &mut String) {
        let widths = self.fields.iter().map(|field| wide(&field.path)).filter(|w| *w <= MOST_PADDED);
        let width = widths.max().unwrap_or_default();
        for field in &self.fields {
            if let Some(lines) = field.lines() {
                let _ = writeln!(out, "      {}", field.path);
                for (sign, line) in lines {
                    let mark = if sign == '+' { Mark::Ready } else { Mark::Failed };
                    let sign =
                        if sign == ' ' { " ".to_owned() } else { look.painted(mark, &sign.to_string()) };
                    let _ = writeln!(out, "        {sign} {line}");
                }
                continue;
            }
            let mut line = format!("      {:width$}  {}", field.path, field.values());
            if !field.taken_from.is_empty() {
                let _ = write!(line, "   taken from {}", field.taken_from);
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

impl Field {
    /// `3 -> 5`
    fn values(&self) -> String {
        match (&self.before, &self.after) {
            _ if self.sensitive => "(sensitive, changed)".to_owned(),
            (Some(before), Some(after)) => format!("{} -> {}", shown(before), shown(after)),
            (None, Some(after)) => format!("+ {}", shown(after)),
            (Some(before), None) => format!("- {}", shown(before)),
            (None, None) => String::new(),
        }
    }

    /// The lines that differ of a text of several.
    fn lines(&self) -> Option<Vec<(char, String)>> {
        let text = |value: &Option<Value>| match value {
            None => Some(String::new()),
            Some(value) => value.as_str().map(str::to_owned),
        };
        let (before, after) = (text(&self.before)?, text(&self.after)?);
        if self.sensitive || !(before.contains('\n') || after.contains('\n')) {
            return None;
        }
        let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
        let head = old.iter().zip(&new).take_while(same).count();
        let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        let kept = |lines: &[&str]| lines.len().saturating_sub(tail);
        let gone = old.iter().take(kept(old)).map(|line| ('-', (*line).to_owned()));
        let come = new.iter().take(kept(new)).map(|line| ('+', (*line).to_owned()));
        let mut all: Vec<(char, String)> = gone.chain(come).collect();
        if all.is_empty() {
            // Only the end of the last line differs.
            return None;
        }
        if all.len() > MOST_LINES {
            let more = all.len() - MOST_LINES;
            all.truncate(MOST_LINES);
            all.push((' ', format!("… {more} more lines")));
        }
        Some(all)
    }
}

/// A value; one that only a cluster could tell is an expression, and stands without quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with("${") && text.ends_with('}') => text.clone(),
        Value::String(text) if text.starts_with(planned::AFTER) => text.clone(),
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
