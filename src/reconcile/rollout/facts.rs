//! What of a cluster was read when an instance was let there: labels and properties, as they were then. They stand on the
//! copy of the instance, written in the same apply as the content. What a cluster is, its name, id and version, is no part
//! of them: that counts at once.

use super::marks::{time, time_text};
use crate::api::packed::Packed;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const LABELS: &str = "labels";
const PROPERTIES: &str = "properties";
const SINCE: &str = "since";
const UNJUDGED: &str = "unjudged";

/// Which of the two are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    pub labels: bool,
    pub properties: bool,
}

impl Reads {
    /// What paths below `cluster` read.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p Vec<String>>) -> Self {
        paths.into_iter().fold(Self::default(), |reads, path| {
            let is = |name: &str| path.first().is_none_or(|first| first == name);
            reads.and(Self { labels: is(LABELS), properties: is(PROPERTIES) })
        })
    }

    pub fn and(self, other: Self) -> Self {
        Self { labels: self.labels || other.labels, properties: self.properties || other.properties }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [(LABELS, self.labels), (PROPERTIES, self.properties)]
            .into_iter()
            .filter(|(_, is)| *is)
            .map(|(n, _)| n)
    }
}

/// Labels and properties of a cluster as they were read. What is not among them counts as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    known: Packed,
    /// When they were let there, in seconds, where that was after the version of the content.
    pub since: Option<u64>,
    /// The cluster was not well then: nobody can say what they did to it.
    pub unjudged: bool,
    /// The cluster is otherwise by now and these still count: they are to be on record, for themselves alone too.
    pub held: bool,
}

impl Facts {
    /// What is read of a cluster that is so now; `None` where nothing is.
    pub fn of(now: &Value, reads: Reads) -> Option<Self> {
        let read = |name| (name, now.get(name).cloned().unwrap_or_else(|| json!({})));
        let known: BTreeMap<&str, Value> = reads.names().map(read).collect();
        (!known.is_empty()).then(|| Self {
            known: Packed::of(&json!(known)),
            since: None,
            unjudged: false,
            held: false,
        })
    }

    /// The same, let there after the version of the content.
    #[must_use]
    pub fn at(self, since: u64, unjudged: bool) -> Self {
        Self { since: Some(since), unjudged, ..self }
    }

    /// The same, that still count while the cluster is otherwise.
    #[must_use]
    pub fn held(self) -> Self {
        Self { held: true, ..self }
    }

    /// `{"labels":{"region":"eu"}}`, and where they came after the version, since when.
    pub fn text(&self) -> String {
        let mut all = self.known.unpack();
        if let Some(since) = self.since {
            all[SINCE] = json!(time_text(since));
        }
        if self.unjudged {
            all[UNJUDGED] = json!(true);
        }
        all.to_string()
    }

    /// `None` where they are none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let mut all: Map<String, Value> = serde_json::from_str(text).ok()?;
        let since = match all.remove(SINCE) {
            None => None,
            Some(since) => Some(time(since.as_str()?)?),
        };
        let unjudged = match all.remove(UNJUDGED) {
            None => false,
            Some(unjudged) => unjudged.as_bool()?,
        };
        let is_ours = |(name, words): (&String, &Value)| {
            let words = words.as_object();
            [LABELS, PROPERTIES].contains(&name.as_str())
                && words.is_some_and(|words| words.values().all(Value::is_string))
        };
        let known = !all.is_empty() && all.iter().all(is_ours);
        known.then(|| Self { known: Packed::of(&Value::Object(all)), since, unjudged, held: false })
    }

    /// What `cluster` is in expressions there.
    pub fn over(&self, now: &Arc<Value>) -> Arc<Value> {
        let known = self.known.root();
        if known.entries().all(|(name, words)| now.get(name).is_some_and(|n| *n == words.unpack())) {
            return now.clone();
        }
        let mut then = (**now).clone();
        for (name, words) in known.entries() {
            then[name] = words.unpack();
        }
        Arc::new(then)
    }

    /// The labels, where they were read.
    pub fn labels(&self) -> Option<BTreeMap<String, String>> {
        let words = self.known.root().get(LABELS)?;
        Some(words.entries().filter_map(|(k, v)| Some((k.to_owned(), v.as_str()?.to_owned()))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> Vec<Vec<String>> {
        of.iter().map(|path| path.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect()).collect()
    }

    fn cluster(region: &str) -> Arc<Value> {
        Arc::new(
            json!({"name": "a", "id": "i", "labels": {"region": region}, "properties": {"registry": "r"},
            "version": {"major": 1, "minor": 30}}),
        )
    }

    #[test]
    fn what_a_cluster_is_is_no_part_of_what_was_read() {
        let cases: [(&[&str], bool, bool); 6] = [
            (&[], false, false),
            (&["name", "id", "version.minor"], false, false),
            (&["name", "labels.region"], true, false),
            (&["properties"], false, true),
            (&["labels.a", "properties.b"], true, true),
            // The whole of it.
            (&[""], true, true),
        ];
        for (read, labels, properties) in cases {
            assert_eq!(Reads::of(&paths(read)), Reads { labels, properties }, "{read:?}");
        }
    }

    #[test]
    fn they_are_read_as_they_were_written() {
        let all = Reads { labels: true, properties: true };
        let facts = Facts::of(&cluster("eu"), all).unwrap();
        assert_eq!(facts.text(), r#"{"labels":{"region":"eu"},"properties":{"registry":"r"}}"#);
        let labels = Facts::of(&cluster("eu"), Reads { labels: true, properties: false }).unwrap();
        assert_eq!(labels.text(), r#"{"labels":{"region":"eu"}}"#);
        assert_eq!(Facts::of(&cluster("eu"), Reads::default()), None);
        for facts in [facts.clone(), labels.clone(), facts.at(1_795_860_000, false), labels.at(0, true)] {
            let text = facts.text();
            let read = Facts::read(&text).unwrap();
            assert_eq!((&read, read.text()), (&facts, text));
        }
    }

    #[test]
    fn what_is_none_of_ours_is_none() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"labels":[]}"#,
            r#"{"labels":{"a":1}}"#,
            r#"{"labels":{},"name":"b"}"#,
            r#"{"labels":{},"since":"yesterday"}"#,
            r#"{"labels":{},"unjudged":"yes"}"#,
            r#"{"since":"2026-11-28T10:00:00Z"}"#,
        ] {
            assert_eq!(Facts::read(text), None, "{text}");
        }
    }

    #[test]
    fn expressions_see_what_was_read_and_all_else_as_it_is() {
        let facts = Facts::of(&cluster("eu"), Reads { labels: true, properties: false }).unwrap();
        let eu = cluster("eu");
        assert!(Arc::ptr_eq(&facts.over(&eu), &eu));
        let mut now = (*cluster("us")).clone();
        (now["properties"], now["version"]["minor"]) = (json!({"registry": "other"}), json!(31));
        let seen = facts.over(&Arc::new(now));
        assert_eq!(seen["labels"], json!({"region": "eu"}));
        assert_eq!(
            (&seen["properties"]["registry"], &seen["version"]["minor"]),
            (&json!("other"), &json!(31))
        );
        assert_eq!(facts.labels(), Some([("region".to_owned(), "eu".to_owned())].into()));
    }
}
