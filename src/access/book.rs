//! Rules as they come together: one for a resource, its verbs and reasons collected.

use super::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// Verbs in the order in which people read them; any other comes behind.
const ORDER: [&str; 12] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "use",
    "*",
];

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    /// Rules of one chapter stand together.
    chapter: u8,
    group: String,
    resource: String,
    names: Vec<String>,
}

#[derive(Default)]
struct Entry {
    verbs: BTreeSet<String>,
    /// By definition: the nodes of it, or what it is.
    why: BTreeMap<String, BTreeSet<String>>,
    /// In a sentence.
    said: Vec<String>,
}

/// The rules of one role.
#[derive(Default)]
pub(super) struct Book {
    entries: BTreeMap<Subject, Entry>,
    /// Rules that are taken as they are.
    whole: Vec<Rule>,
}

/// What a resource is, for one rule.
pub(super) struct Of<'a> {
    pub chapter: u8,
    pub group: &'a str,
    pub resource: &'a str,
    pub names: &'a [&'a str],
}

impl Book {
    /// A rule that needs no definition.
    pub fn say(&mut self, of: &Of<'_>, verbs: &[&str], why: &str) {
        let entry = self.entry(of, verbs);
        if !entry.said.iter().any(|said| said == why) {
            entry.said.push(why.to_owned());
        }
    }

    /// A rule that a definition needs, for this part of it.
    pub fn need(&mut self, of: &Of<'_>, verbs: &[&str], definition: &str, part: &str) {
        let entry = self.entry(of, verbs);
        entry.why.entry(definition.to_owned()).or_default().insert(part.to_owned());
    }

    /// A rule as somebody wrote it.
    pub fn take(&mut self, rule: Rule) {
        let same = |r: &&mut Rule| {
            Rule { why: String::new(), ..(**r).clone() } == Rule { why: String::new(), ..rule.clone() }
        };
        match self.whole.iter_mut().find(same) {
            Some(there) if there.why.contains(&rule.why) => {}
            Some(there) => there.why = format!("{}; {}", there.why, rule.why),
            None => self.whole.push(rule),
        }
    }

    fn entry(&mut self, of: &Of<'_>, verbs: &[&str]) -> &mut Entry {
        let subject = Subject {
            chapter: of.chapter,
            group: of.group.to_owned(),
            resource: of.resource.to_owned(),
            names: of.names.iter().map(|n| (*n).to_owned()).collect(),
        };
        let entry = self.entries.entry(subject).or_default();
        entry.verbs.extend(verbs.iter().map(|v| (*v).to_owned()));
        entry
    }

    /// The rules, those as they are written at the end.
    pub fn into_rules(self) -> Vec<Rule> {
        let own = self.entries.into_iter().map(|(subject, entry)| {
            let parts = entry.why.iter().map(|(definition, parts)| {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                format!("{definition}: {}", parts.join(", "))
            });
            let why: Vec<String> = entry.said.into_iter().chain(parts).collect();
            Rule {
                groups: vec![subject.group],
                resources: vec![subject.resource],
                names: subject.names,
                urls: Vec::new(),
                verbs: ordered(entry.verbs),
                why: why.join("; "),
            }
        });
        own.chain(self.whole).collect()
    }
}

/// Verbs in the usual order.
fn ordered(verbs: BTreeSet<String>) -> Vec<String> {
    let place = |verb: &String| ORDER.iter().position(|known| known == verb).unwrap_or(ORDER.len());
    let mut verbs: Vec<String> = verbs.into_iter().collect();
    verbs.sort_by_key(place);
    verbs
}
