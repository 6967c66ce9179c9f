//! Where an instance goes: its own words, the registered clusters, and the guard against accidental shrinking.

use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::{Object, hash};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What placement needs to know of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub labels: BTreeMap<String, String>,
    pub local: bool,
    /// Empty means all.
    pub allowed_namespaces: Vec<String>,
    /// Being deregistered: chosen no more.
    pub leaving: bool,
}

/// The placement words that stand on an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    clusters: Option<String>,
    selector: Option<String>,
}

impl Words {
    pub fn of(instance: &Object) -> Self {
        Self {
            clusters: instance.annotation(hub::CLUSTERS).map(str::to_owned),
            selector: instance.annotation(hub::CLUSTER_SELECTOR).map(str::to_owned),
        }
    }
    pub fn is_silent(&self) -> bool {
        self.clusters.is_none() && self.selector.is_none()
    }
    /// Changes exactly when somebody edits the words.
    pub fn fingerprint(&self) -> String {
        hash::json_hex(&json!([self.clusters, self.selector]))
    }
}

/// What happens to an instance that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultPlacement {
    /// It runs on the local cluster, as with kro.
    #[default]
    Local,
    /// It waits for words.
    None,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Non-local clusters to run on.
    pub spokes: BTreeSet<ClusterName>,
    /// The local cluster, if it runs there.
    pub local: Option<ClusterName>,
    /// Clusters that the words name and that cannot be used, with the reason and a sentence.
    pub refused: BTreeMap<ClusterName, (&'static str, String)>,
    /// The words cannot be read.
    pub invalid: Option<String>,
    /// Clusters kept against the words until somebody acknowledges, and the token for it.
    pub held: Option<ShrinkHeld>,
    /// What to remember of this decision.
    pub record: Record,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ShrinkHeld {
    pub kept: BTreeSet<ClusterName>,
    pub token: String,
}

/// What stands on the instance from earlier decisions.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Spokes where content may exist.
    pub holds: BTreeSet<ClusterName>,
    /// The record of the last decision.
    pub record: Record,
    /// Spokes that show content of this instance which no hold names: the hub is older than they are.
    pub found: BTreeSet<ClusterName>,
    /// The token that somebody acknowledged.
    pub allow_shrink: Option<String>,
    /// Clusters that somebody let go.
    pub released: BTreeSet<ClusterName>,
}

/// Decides. `clusters` must be the complete, synced set: a partial one would look like a shrink.
pub fn decide(
    words: &Words,
    namespace: &str,
    clusters: &BTreeMap<ClusterName, ClusterView>,
    past: &Past,
    default: DefaultPlacement,
) -> Decision {
    let mut out = Decision::default();
    let mut chosen: BTreeSet<ClusterName> = BTreeSet::new();
    if let Some(list) = &words.clusters {
        for word in list.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            if word == "*" {
                chosen.extend(clusters.iter().filter(|(_, c)| !c.local).map(|(n, _)| n.clone()));
                continue;
            }
            let name = ClusterName::new(word);
            if clusters.contains_key(&name) {
                chosen.insert(name);
            } else {
                let message =
                    format!("no Cluster named {word} is registered; the instance goes there once it is");
                out.refused.insert(name, ("NotRegistered", message));
            }
        }
    }
    if let Some(text) = &words.selector {
        match Selector::parse(text) {
            Ok(selector) => {
                let matching = clusters.iter().filter(|(_, c)| selector.matches(&c.labels));
                chosen.extend(matching.map(|(n, _)| n.clone()));
            }
            Err(why) => out.invalid = Some(format!("annotation {}: {why}", hub::CLUSTER_SELECTOR)),
        }
    }
    if words.is_silent() && default == DefaultPlacement::Local {
        chosen.extend(clusters.iter().filter(|(_, c)| c.local).map(|(n, _)| n.clone()));
    }
    for name in chosen {
        let Some(cluster) = clusters.get(&name) else { continue };
        let allowed = cluster.allowed_namespaces.is_empty()
            || cluster.allowed_namespaces.iter().any(|n| n == namespace);
        if cluster.leaving {
            out.refused.insert(name, ("Leaving", "the Cluster is being deregistered".into()));
        } else if !allowed {
            let message = format!("the Cluster does not allow instances of namespace {namespace:?}");
            out.refused.insert(name, ("NotAllowed", message));
        } else if past.released.contains(&name) && !past.holds.contains(&name) {
            let message = format!(
                "let go by the annotation {}; remove it to place the instance there again",
                hub::RELEASE
            );
            out.refused.insert(name, ("Released", message));
        } else if cluster.local {
            out.local = Some(name);
        } else if !past.released.contains(&name) {
            out.spokes.insert(name);
        }
    }
    guard(words, clusters, past, &mut out);
    out
}

/// Holds a shrink that nobody asked for: the words are the same as at the last decision (or cannot be read), and the
/// placement would become empty or lose more than half. What it is measured against grows by itself but shrinks only by
/// an edit or an acknowledgement, so many small losses count as one.
fn guard(words: &Words, clusters: &BTreeMap<ClusterName, ClusterView>, past: &Past, out: &mut Decision) {
    let unreadable = out.invalid.is_some();
    let edited = !unreadable
        && match past.record.words.as_deref() {
            Some(before) => before != words.fingerprint(),
            // Nothing was ever recorded: until now it said nothing.
            None => !words.is_silent(),
        };
    let leaves = |n: &ClusterName| past.released.contains(n) || clusters.get(n).is_some_and(|c| c.leaving);
    let current: BTreeSet<ClusterName> = past.record.placed.iter().filter(|n| !leaves(n)).cloned().collect();
    let stands_for_hub = clusters.iter().find(|(n, c)| c.local && !leaves(n)).map(|(n, _)| n.clone());
    // What ran on the hub was let go with the Cluster that stood for it, and stays on record as such.
    let left_on_hub = past.record.local && stands_for_hub.is_none();
    let local = stands_for_hub.filter(|_| past.record.local);
    let mut restored = &past.record.restored | &past.found;
    restored.retain(|n| !leaves(n) && !out.spokes.contains(n));
    let lost: BTreeSet<ClusterName> = current.difference(&out.spokes).cloned().collect();
    let local_lost = local.clone().filter(|_| out.local.is_none());

    let count = lost.len() + usize::from(local_lost.is_some());
    let all = current.len() + usize::from(local.is_some());
    let becomes_empty = out.spokes.is_empty() && out.local.is_none();
    let guarded = count > 0 && (unreadable || (!edited && (becomes_empty || count * 2 > all)));
    let mut kept: BTreeSet<ClusterName> = BTreeSet::new();
    if guarded {
        kept.extend(lost.intersection(&past.holds).cloned());
        kept.extend(local_lost.clone());
    }
    if !edited {
        kept.extend(restored.iter().cloned());
    }
    let names: Vec<&str> = kept.iter().map(ClusterName::as_str).collect();
    let token = hash::json_hex(&json!([names, words.fingerprint()]))[..8].to_owned();
    let acknowledged = !unreadable && !kept.is_empty() && past.allow_shrink.as_deref() == Some(&token);
    if edited || acknowledged {
        out.record = Record {
            words: Some(words.fingerprint()),
            placed: out.spokes.clone(),
            local: out.local.is_some() || left_on_hub,
            restored: BTreeSet::new(),
        };
        return;
    }
    for name in &kept {
        out.refused.remove(name);
        if Some(name) == local_lost.as_ref() {
            out.local = Some(name.clone());
        } else {
            out.spokes.insert(name.clone());
        }
    }
    let mut placed = &current | &out.spokes;
    placed.retain(|n| !restored.contains(n));
    out.record = Record {
        words: past.record.words.clone().filter(|_| unreadable).or_else(|| Some(words.fingerprint())),
        placed,
        local: out.local.is_some() || local.is_some() || left_on_hub,
        restored,
    };
    if !kept.is_empty() {
        out.held = Some(ShrinkHeld { kept, token });
    }
}

/// What an instance remembers of its last decision, in one annotation: `<fingerprint of the words>/<placed>/<restored>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Fingerprint of the words; `None` before the first decision.
    pub words: Option<String>,
    /// The spokes that a loss is measured against.
    pub placed: BTreeSet<ClusterName>,
    /// Whether it was placed on the local cluster, and what it made there was not taken away.
    pub local: bool,
    /// Spokes that are kept only because content was found there.
    pub restored: BTreeSet<ClusterName>,
}

const LOCAL: &str = "@local";

impl Record {
    pub fn read(text: Option<&str>) -> Self {
        let mut parts = text.unwrap_or_default().splitn(3, '/');
        let words = parts.next().filter(|w| !w.is_empty()).map(str::to_owned);
        let mut placed = names(parts.next());
        let local = placed.remove(&ClusterName::new(LOCAL));
        Self { words, placed, local, restored: names(parts.next()) }
    }

    pub fn text(&self) -> String {
        let mut placed = self.placed.clone();
        if self.local {
            placed.insert(ClusterName::new(LOCAL));
        }
        let mut out = format!("{}/{}", self.words.as_deref().unwrap_or_default(), names_text(&placed));
        if !self.restored.is_empty() {
            out.push('/');
            out.push_str(&names_text(&self.restored));
        }
        out
    }
}

/// A Kubernetes label selector in its text form. Empty selects nothing.
#[derive(Debug, PartialEq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// # Errors
    /// A sentence that names the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for part in split_outside_parens(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            list.push(Requirement::parse(part).ok_or_else(|| {
                format!(
                    "cannot read {part:?}; write `key=value`, `key!=value`, `key`, `!key`, `key in (a,b)` or `key notin (a,b)`"
                )
            })?);
        }
        Ok(Self(list))
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.0.is_empty() && self.0.iter().all(|r| r.matches(labels))
    }
}

fn split_outside_parens(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Requirement {
    fn parse(part: &str) -> Option<Self> {
        let key_ok =
            |k: &str| !k.is_empty() && k.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        let value_ok = |v: &str| v.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let pair = |op: &str| {
            let (k, v) = part.split_once(op)?;
            let (k, v) = (k.trim(), v.trim());
            (key_ok(k) && value_ok(v)).then(|| (k.to_owned(), vec![v.to_owned()]))
        };
        if let Some((key, rest)) = part.split_once(char::is_whitespace)
            && let Some((op, list)) = rest.trim().split_once('(')
        {
            let values: Vec<String> =
                list.strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
            if !key_ok(key) || !values.iter().all(|v| value_ok(v)) {
                return None;
            }
            return match op.trim() {
                "in" => Some(Self::In(key.into(), values)),
                "notin" => Some(Self::NotIn(key.into(), values)),
                _ => None,
            };
        }
        if part.contains("!=") {
            return pair("!=").map(|(k, v)| Self::NotIn(k, v));
        }
        if part.contains("==") {
            return pair("==").map(|(k, v)| Self::In(k, v));
        }
        if part.contains('=') {
            return pair("=").map(|(k, v)| Self::In(k, v));
        }
        match part.strip_prefix('!') {
            Some(key) => key_ok(key.trim()).then(|| Self::Absent(key.trim().to_owned())),
            None => key_ok(part).then(|| Self::Exists(part.to_owned())),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(k, values) => labels.get(k).is_some_and(|v| values.contains(v)),
            Self::NotIn(k, values) => labels.get(k).is_none_or(|v| !values.contains(v)),
            Self::Exists(k) => labels.contains_key(k),
            Self::Absent(k) => !labels.contains_key(k),
        }
    }
}

/// Reads a comma-separated list of cluster names.
pub fn names(text: Option<&str>) -> BTreeSet<ClusterName> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .map(ClusterName::new)
        .collect()
}

/// Writes a list of cluster names, sorted.
pub fn names_text(names: &BTreeSet<ClusterName>) -> String {
    names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters() -> BTreeMap<ClusterName, ClusterView> {
        let view = |region: &str| ClusterView {
            labels: BTreeMap::from([("region".to_owned(), region.to_owned())]),
            ..ClusterView::default()
        };
        let mut map: BTreeMap<ClusterName, ClusterView> = [("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us")]
            .map(|(n, r)| (ClusterName::new(n), view(r)))
            .into();
        map.insert(ClusterName::new("local"), ClusterView { local: true, ..view("hub") });
        map
    }
    fn words(clusters: Option<&str>, selector: Option<&str>) -> Words {
        Words { clusters: clusters.map(str::to_owned), selector: selector.map(str::to_owned) }
    }
    fn place(w: &Words, past: &Past) -> Decision {
        decide(w, "default", &clusters(), past, DefaultPlacement::Local)
    }

    #[test]
    fn words_choose_clusters() {
        let cases: [(Option<&str>, Option<&str>, &str, bool); 9] = [
            (None, None, "", true),
            (Some("*"), None, "eu-1,eu-2,us-1", false),
            (Some("eu-1, us-1"), None, "eu-1,us-1", false),
            (Some("local,us-1"), None, "us-1", true),
            (None, Some("region=eu"), "eu-1,eu-2", false),
            (None, Some(""), "", false),
            (None, Some("region in (eu,us),region!=us"), "eu-1,eu-2", false),
            (Some("us-1"), Some("region=eu"), "eu-1,eu-2,us-1", false),
            (None, Some("region notin (eu)"), "us-1", true),
        ];
        for (c, s, want, local) in cases {
            let got = place(&words(c, s), &Past::default());
            assert_eq!((names_text(&got.spokes).as_str(), got.local.is_some()), (want, local), "{c:?} {s:?}");
        }
    }

    #[test]
    fn an_unregistered_name_is_an_entry() {
        let got = place(&words(Some("eu-1,mars"), None), &Past::default());
        assert_eq!(got.refused.get(&ClusterName::new("mars")).unwrap().0, "NotRegistered");
    }

    #[test]
    fn without_a_local_cluster_nothing_is_chosen() {
        let mut all = clusters();
        all.remove(&ClusterName::new("local"));
        let got = decide(&Words::default(), "default", &all, &Past::default(), DefaultPlacement::Local);
        assert_eq!((got.spokes.len(), got.local), (0, None));
    }

    #[test]
    fn a_shrink_by_others_is_held_until_acknowledged() {
        let w = words(None, Some("region=gone"));
        let past = past("eu-1,eu-2", "eu-1,eu-2", &w);
        let held = place(&w, &past).held.expect("held");
        assert_eq!(names_text(&held.kept), "eu-1,eu-2");
        let acknowledged = Past { allow_shrink: Some(held.token), ..past };
        assert_eq!(place(&w, &acknowledged).spokes.len(), 0);
    }

    #[test]
    fn a_shrink_by_an_edit_or_of_half_is_not_held() {
        let w = words(Some("eu-1"), None);
        let edited = past("eu-1,eu-2,us-1", "eu-1,eu-2,us-1", &words(Some("*"), None));
        assert_eq!(place(&w, &edited).held, None);
        let w = words(None, Some("region=us"));
        let half = past("eu-1,us-1", "eu-1,us-1", &w);
        assert_eq!((place(&w, &half).held, names_text(&place(&w, &half).spokes)), (None, "us-1".into()));
    }

    #[test]
    fn clusters_newly_chosen_are_added_while_a_shrink_is_held() {
        let w = words(None, Some("region=us"));
        let got = place(&w, &past("eu-1,eu-2", "eu-1,eu-2", &w));
        assert!(got.held.is_some());
        assert_eq!(names_text(&got.spokes), "eu-1,eu-2,us-1");
    }

    #[test]
    fn a_selector_that_cannot_be_read_shrinks_nothing_even_when_edited() {
        let w = words(None, Some("region=(("));
        let got = place(&w, &past("eu-1", "eu-1", &words(Some("eu-1"), None)));
        assert!(got.invalid.is_some());
        assert_eq!(names_text(&got.spokes), "eu-1");
    }

    #[test]
    fn a_cluster_that_leaves_or_is_released_is_not_held() {
        let mut all = clusters();
        all.get_mut(&ClusterName::new("eu-1")).unwrap().leaving = true;
        let w = words(Some("eu-1"), None);
        let past = past("eu-1", "eu-1", &w);
        let got = decide(&w, "default", &all, &past, DefaultPlacement::Local);
        assert_eq!((got.held, got.spokes.len()), (None, 0));
        let w = words(Some("us-1"), None);
        let released = Past { released: names(Some("us-1")), ..self::past("us-1", "us-1", &w) };
        assert_eq!(place(&w, &released).held, None);
    }

    #[test]
    fn a_cluster_that_is_already_on_its_way_out_is_no_shrink() {
        let w = words(Some("eu-1"), None);
        assert_eq!(place(&w, &past("eu-1,eu-2,us-1", "eu-1", &w)).held, None);
    }

    #[test]
    fn losses_one_by_one_count_as_one() {
        let w = words(None, Some("env=prod"));
        let all: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
        let mut clusters: BTreeMap<ClusterName, ClusterView> = all
            .iter()
            .map(|n| {
                let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
                (ClusterName::new(n), ClusterView { labels, ..ClusterView::default() })
            })
            .collect();
        let mut past = Past::default();
        let mut left = 0;
        for name in &all {
            let got = decide(&w, "default", &clusters, &past, DefaultPlacement::Local);
            left = got.spokes.len();
            past = Past {
                holds: got.spokes.clone(),
                record: Record::read(Some(&got.record.text())),
                ..Past::default()
            };
            clusters.get_mut(&ClusterName::new(name)).unwrap().labels.clear();
        }
        assert_eq!(left, 5, "half may go, then it is held");
    }

    #[test]
    fn the_local_cluster_is_guarded_as_every_other() {
        let silent = Words::default();
        let before = decide(&silent, "default", &clusters(), &Past::default(), DefaultPlacement::Local);
        assert_eq!(before.record.text(), format!("{}/@local", silent.fingerprint()));
        let past = Past { record: before.record, ..Past::default() };
        let restarted = decide(&silent, "default", &clusters(), &past, DefaultPlacement::None);
        assert!(restarted.held.is_some() && restarted.local.is_some());
        let edited =
            decide(&words(Some("eu-1"), None), "default", &clusters(), &past, DefaultPlacement::None);
        assert!(edited.held.is_none() && edited.local.is_none());
    }

    #[test]
    fn what_was_left_on_the_hub_stays_on_record_until_a_cluster_stands_for_it() {
        let mut without = clusters();
        without.remove(&ClusterName::new("local"));
        let w = words(Some("local,eu-1"), None);
        let mut past = past("eu-1", "eu-1", &w);
        past.record.local = true;
        for words in [w, words(Some("us-1"), None)] {
            let left = decide(&words, "default", &without, &past, DefaultPlacement::Local);
            assert!(left.record.local && left.local.is_none() && left.held.is_none(), "{words:?}");
            let mut leaving = clusters();
            leaving.get_mut(&ClusterName::new("local")).unwrap().leaving = true;
            assert!(decide(&words, "default", &leaving, &past, DefaultPlacement::Local).record.local);
        }
        let edited = place(&words(Some("us-1"), None), &past);
        assert!(!edited.record.local, "with a Cluster that stands for the hub, an edit takes it away");
    }

    #[test]
    fn content_that_an_older_hub_does_not_know_of_is_kept_until_somebody_decides() {
        let w = words(Some("eu-1"), None);
        let restored = Past { found: names(Some("us-1")), ..past("eu-1", "eu-1", &w) };
        let got = place(&w, &restored);
        assert_eq!(names_text(&got.spokes), "eu-1,us-1");
        // It stays held when it is on record, and goes with an acknowledgement or an edit.
        let record = Record::read(Some(&got.record.text()));
        let later = Past { holds: names(Some("eu-1,us-1")), record, ..Past::default() };
        let held = place(&w, &later).held.expect("still held");
        let acknowledged = Past { allow_shrink: Some(held.token), ..later.clone() };
        assert_eq!(names_text(&place(&w, &acknowledged).spokes), "eu-1");
        assert_eq!(names_text(&place(&words(Some("eu-2"), None), &later).spokes), "eu-2");
    }

    #[test]
    fn the_record_reads_back() {
        let record = Record {
            words: Some("f".into()),
            placed: names(Some("a,b")),
            local: true,
            restored: names(Some("c")),
        };
        assert_eq!(Record::read(Some(&record.text())), record);
        assert_eq!(Record::read(None), Record::default());
    }

    fn past(holds: &str, placed: &str, w: &Words) -> Past {
        Past {
            holds: names(Some(holds)),
            record: Record { words: Some(w.fingerprint()), placed: names(Some(placed)), ..Record::default() },
            ..Past::default()
        }
    }
}
