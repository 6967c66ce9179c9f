//! The placement words that stand on an instance.

use super::names::{ALL, items};
use crate::api::keys::hub;
use crate::api::{Object, hash};
use serde_json::json;

/// What an instance says of where it goes: one annotation names clusters, the other selects them by their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    pub(super) clusters: Option<String>,
    pub(super) selector: Option<String>,
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
    /// Whether they may choose clusters that they do not name.
    pub fn may_choose_any(&self) -> bool {
        self.selector.is_some() || items(self.clusters.as_deref()).any(|word| word == ALL)
    }
    /// Changes exactly when somebody edits the words.
    pub fn fingerprint(&self) -> String {
        hash::json_hex(&json!([self.clusters, self.selector]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_that_differ_have_different_fingerprints_and_empty_ones_are_words() {
        let texts = [None, Some(""), Some("a"), Some("a,b")];
        let mut prints = BTreeSet::new();
        for clusters in texts {
            for selector in texts {
                let mut annotations = json!({});
                for (key, text) in [(hub::CLUSTERS, clusters), (hub::CLUSTER_SELECTOR, selector)] {
                    if let Some(text) = text {
                        annotations[key] = json!(text);
                    }
                }
                let words = Words::of(&Object(json!({"metadata": {"annotations": annotations}})));
                assert_eq!(words.is_silent(), clusters.is_none() && selector.is_none());
                assert!(prints.insert(words.fingerprint()), "{words:?}");
            }
        }
    }
}
