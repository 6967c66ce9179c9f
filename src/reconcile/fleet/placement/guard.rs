//! The guard against accidental shrinking.
//!
//! Who loses a cluster without an edit of the words did not ask for it: somebody changed the cluster, not the instance.
//! Losses are counted since the words changed or a loss was acknowledged, so many small ones count as one. Few are let go,
//! after a pause in which nothing more was lost. Half of all, or more, are held: each until it is chosen again or somebody
//! acknowledges. So whoever takes back what was lost, in whatever order, deletes nothing that was held.

use super::Words;
use super::ground::{Ground, Names};
use super::losses::Losses;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::reconcile::policy::PolicyName;
use serde_json::json;

/// Clusters that are kept until somebody acknowledges that they go.
#[derive(Clone, Debug, PartialEq)]
pub struct ShrinkHeld {
    pub kept: Names,
    pub token: String,
    /// Placements that chose some of them, and are there no more.
    pub gone: Vec<PolicyName>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The words were edited: what they choose is what counts.
    Edited,
    /// What nobody can read decides nothing.
    Unreadable(Losses),
    /// Somebody let the held ones go; what was lost since then is kept for the pause.
    Acknowledged { token: String, fresh: Names },
    Judged {
        losses: Losses,
        /// Lost, few, and past the pause: they go once that is on record.
        goes: Names,
        held: Option<ShrinkHeld>,
    },
}

impl Verdict {
    /// Clusters that are kept though the words do not choose them, as the record names them.
    pub fn kept(&self) -> Names {
        match self {
            Self::Edited => Names::new(),
            Self::Acknowledged { fresh, .. } => fresh.clone(),
            Self::Unreadable(losses) | Self::Judged { losses, .. } => {
                &(&losses.fresh | &losses.held) | &losses.restored
            }
        }
    }

    /// Clusters lost a moment ago, kept until it is clear that no more are.
    pub fn waiting(&self) -> Names {
        match self {
            Self::Edited | Self::Unreadable(_) => Names::new(),
            Self::Acknowledged { fresh, .. } => fresh.clone(),
            Self::Judged { losses, .. } => losses.fresh.clone(),
        }
    }

    pub fn held(&self) -> Option<&ShrinkHeld> {
        match self {
            Self::Judged { held, .. } => held.as_ref(),
            Self::Edited | Self::Unreadable(_) | Self::Acknowledged { .. } => None,
        }
    }
}

/// `chosen` are the clusters as the record names them.
pub(super) fn judge(ground: &Ground, readable: bool, chosen: &Names) -> Verdict {
    let past = ground.past;
    if readable && is_edited(ground) {
        return Verdict::Edited;
    }
    let mut losses = Losses::of(ground, chosen);
    if !readable {
        return Verdict::Unreadable(losses);
    }
    if losses.are_many(chosen) {
        losses.held.append(&mut losses.fresh);
    }
    let kept: Names = losses.held.union(&losses.restored).map(|n| ground.meant(n)).collect();
    let held = (!kept.is_empty()).then(|| {
        let token = token(ground.words, &kept, past.record.acknowledged.as_deref());
        let gone = ground.gone_policies().into_iter();
        let gone = gone.map(|text| PolicyName::of_record(text, ground.namespace)).collect();
        ShrinkHeld { kept, token, gone }
    });
    match held {
        Some(held) if past.allow_shrink.as_ref() == Some(&held.token) => {
            Verdict::Acknowledged { token: held.token, fresh: losses.fresh }
        }
        held => {
            let over = losses.fresh.is_subset(&past.waited);
            let goes = if over { losses.fresh.clone() } else { Names::new() };
            Verdict::Judged { losses, goes, held }
        }
    }
}

/// Whether the author of the instance, or of a Placement that chose for it, edited the words. A Placement that is gone is
/// no edit: a prune, a failed sync and a restore look the same. One that is new takes nothing away.
fn is_edited(ground: &Ground) -> bool {
    if !ground.gone_policies().is_empty() {
        return false;
    }
    let placements = ground.said.map(|said| said.placements).unwrap_or_default();
    let is_new =
        |text: &String, hash: &str| placements.iter().any(|p| p.name.recorded() == *text && p.hash != hash);
    let policies = &ground.past.record.policies;
    policies.iter().any(|(text, recorded)| is_new(text, &recorded.hash)) || ground.words_are_edited()
}

/// Stands for these clusters and words, once: the next loss asks with another one.
fn token(words: &Words, kept: &Names, spent: Option<&str>) -> String {
    let names: Vec<&str> = kept.iter().map(ClusterName::as_str).collect();
    let (words, mut of) = (words.fingerprint(), json!([names]));
    if let Some(list) = of.as_array_mut() {
        list.push(json!(words));
        list.extend(spent.map(|s| json!(s)));
    }
    hash::json_hex(&of)[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::names::{names, names_text};
    use super::super::{ClusterView, DefaultPlacement, Past, Record};
    use super::*;

    #[test]
    fn few_wait_and_go_many_are_held_and_an_edit_or_nonsense_holds_nothing() {
        let words = Words { clusters: None, selector: Some("env=prod".into()) };
        let clusters = ["a", "b", "c", "d"].map(|n| (ClusterName::new(n), ClusterView::default())).into();
        let judged = |record: Record, chosen: &str, readable, waited: &str, allow: Option<&str>| {
            let past = Past {
                record,
                holds: names(Some("a,b,c,d")),
                waited: names(Some(waited)),
                allow_shrink: allow.map(str::to_owned),
                ..Past::default()
            };
            let ground = Ground::of(&words, "n", &clusters, &past, DefaultPlacement::Local);
            judge(&ground, readable, &names(Some(chosen)))
        };
        let all = |words: &str| Record {
            words: Some(words.to_owned()),
            placed: names(Some("a,b,c,d")),
            ..Record::default()
        };
        let same = || all(&words.fingerprint());
        // Kept, waiting and held.
        for (record, chosen, readable, waited, want) in [
            (same(), "a,b,c,d", true, "", "//"),
            (same(), "a,b,c", true, "", "d/d/"),
            (same(), "a,b,c", true, "d", "d/d/"),
            (same(), "a,b", true, "", "c,d//c,d"),
            (same(), "a,b", true, "c,d", "c,d//c,d"),
            (same(), "", true, "", "a,b,c,d//a,b,c,d"),
            (same(), "a,b", false, "", "c,d//"),
            (all("other"), "a", true, "", "//"),
            (all("other"), "a", false, "", "b,c,d//"),
            (Record::default(), "a", true, "", "//"),
        ] {
            let shown = format!("{record:?} {chosen} {readable} {waited}");
            let verdict = judged(record, chosen, readable, waited, None);
            let held = verdict.held().map(|h| names_text(&h.kept)).unwrap_or_default();
            let got = [names_text(&verdict.kept()), names_text(&verdict.waiting()), held].join("/");
            assert_eq!(got, want, "{shown}");
            let goes = match &verdict {
                Verdict::Judged { goes, .. } => names_text(goes),
                _ => String::new(),
            };
            assert_eq!(goes, if chosen == "a,b,c" { waited } else { "" }, "{shown}");
        }
        let token = judged(same(), "a,b", true, "", None).held().map(|h| h.token.clone()).unwrap();
        let agreed = judged(same(), "a,b", true, "", Some(&token));
        assert_eq!(agreed, Verdict::Acknowledged { token: token.clone(), fresh: Names::new() });
        let spent = Record { acknowledged: Some(token.clone()), ..same() };
        assert!(judged(spent, "a,b", true, "", Some(&token)).held().is_some());
        assert!(judged(same(), "a", true, "", Some(&token)).held().is_some(), "others are lost");
    }
}
