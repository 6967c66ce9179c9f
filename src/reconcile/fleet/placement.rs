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
    /// Fingerprint of the words at the last decision, and the spokes it chose.
    pub decided: Option<String>,
    pub placed: BTreeSet<ClusterName>,
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
/// placement would become empty or lose more than half.
fn guard(words: &Words, clusters: &BTreeMap<ClusterName, ClusterView>, past: &Past, out: &mut Decision) {
    let current: BTreeSet<ClusterName> = past
        .placed
        .iter()
        .filter(|n| past.holds.contains(*n) && !past.released.contains(*n))
        .filter(|n| !clusters.get(*n).is_some_and(|c| c.leaving))
        .cloned()
        .collect();
    let lost: BTreeSet<ClusterName> = current.difference(&out.spokes).cloned().collect();
    if lost.is_empty() {
        return;
    }
    let edited = past.decided.as_deref().is_some_and(|d| d != words.fingerprint());
    let becomes_empty = out.spokes.is_empty();
    let too_many = lost.len() * 2 > current.len();
    let unreadable = out.invalid.is_some();
    if !unreadable && (edited || !(becomes_empty || too_many)) {
        return;
    }
    let names: Vec<&str> = lost.iter().map(ClusterName::as_str).collect();
    let token = hash::json_hex(&json!([names, words.fingerprint()]))[..8].to_owned();
    if !unreadable && past.allow_shrink.as_deref() == Some(&token) {
        return;
    }
    out.spokes.extend(lost.iter().cloned());
    for name in &lost {
        out.refused.remove(name);
    }
    out.held = Some(ShrinkHeld { kept: lost, token });
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

/// Reads the record of the last decision: `<fingerprint of the words>/<names>`.
pub fn read_decided(text: Option<&str>) -> (Option<String>, BTreeSet<ClusterName>) {
    match text.and_then(|t| t.split_once('/')) {
        Some((fingerprint, list)) => (Some(fingerprint.to_owned()), names(Some(list))),
        None => (None, BTreeSet::new()),
    }
}

/// Writes the record that [`read_decided`] reads.
pub fn decided_text(words: &Words, spokes: &BTreeSet<ClusterName>) -> String {
    format!("{}/{}", words.fingerprint(), names_text(spokes))
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
        let past = Past {
            holds: names(Some("eu-1,eu-2")),
            placed: names(Some("eu-1,eu-2")),
            decided: Some(w.fingerprint()),
            ..Past::default()
        };
        let held = place(&w, &past).held.expect("held");
        assert_eq!(names_text(&held.kept), "eu-1,eu-2");
        let acknowledged = Past { allow_shrink: Some(held.token), ..past };
        assert_eq!(place(&w, &acknowledged).spokes.len(), 0);
    }

    #[test]
    fn a_shrink_by_an_edit_or_of_half_is_not_held() {
        let w = words(Some("eu-1"), None);
        let edited = Past {
            holds: names(Some("eu-1,eu-2,us-1")),
            placed: names(Some("eu-1,eu-2,us-1")),
            decided: Some(words(Some("*"), None).fingerprint()),
            ..Past::default()
        };
        assert_eq!(place(&w, &edited).held, None);
        let w = words(None, Some("region=us"));
        let half = Past {
            holds: names(Some("eu-1,us-1")),
            placed: names(Some("eu-1,us-1")),
            decided: Some(w.fingerprint()),
            ..Past::default()
        };
        assert_eq!((place(&w, &half).held, names_text(&place(&w, &half).spokes)), (None, "us-1".into()));
    }

    #[test]
    fn clusters_newly_chosen_are_added_while_a_shrink_is_held() {
        let w = words(None, Some("region=us"));
        let past = Past {
            holds: names(Some("eu-1,eu-2")),
            placed: names(Some("eu-1,eu-2")),
            decided: Some(w.fingerprint()),
            ..Past::default()
        };
        let got = place(&w, &past);
        assert!(got.held.is_some());
        assert_eq!(names_text(&got.spokes), "eu-1,eu-2,us-1");
    }

    #[test]
    fn a_selector_that_cannot_be_read_shrinks_nothing_even_when_edited() {
        let w = words(None, Some("region=(("));
        let past = Past {
            holds: names(Some("eu-1")),
            placed: names(Some("eu-1")),
            decided: Some("other".into()),
            ..Past::default()
        };
        let got = place(&w, &past);
        assert!(got.invalid.is_some());
        assert_eq!(names_text(&got.spokes), "eu-1");
    }

    #[test]
    fn a_cluster_that_leaves_or_is_released_is_not_held() {
        let mut all = clusters();
        all.get_mut(&ClusterName::new("eu-1")).unwrap().leaving = true;
        let w = words(Some("eu-1"), None);
        let past = Past {
            holds: names(Some("eu-1")),
            placed: names(Some("eu-1")),
            decided: Some(w.fingerprint()),
            ..Past::default()
        };
        let got = decide(&w, "default", &all, &past, DefaultPlacement::Local);
        assert_eq!((got.held, got.spokes.len()), (None, 0));
        let released = Past {
            released: names(Some("us-1")),
            holds: names(Some("us-1")),
            placed: names(Some("us-1")),
            ..Past::default()
        };
        assert_eq!(place(&words(Some("us-1"), None), &released).held, None);
    }

    #[test]
    fn a_cluster_that_is_already_on_its_way_out_is_no_shrink() {
        let w = words(Some("eu-1"), None);
        let past = Past {
            holds: names(Some("eu-1,eu-2,us-1")),
            placed: names(Some("eu-1")),
            decided: Some(w.fingerprint()),
            ..Past::default()
        };
        assert_eq!(place(&w, &past).held, None);
        let (fingerprint, placed) = read_decided(Some(&decided_text(&w, &past.placed)));
        assert_eq!((fingerprint, placed), (past.decided, past.placed));
    }
}
