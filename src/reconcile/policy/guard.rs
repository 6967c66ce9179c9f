//! The guard of a Placement: whoever loses more than half of its clusters at once, or all, is asked first. One edit of a
//! selector, or one label of the clusters, would take the content of all its instances away.

use crate::api::hash;
use crate::api::names::ClusterName;
use crate::api::placement::Decided;
use crate::reconcile::fleet::placement::{names, names_text};
use serde_json::json;
use std::collections::BTreeSet;

type Names = BTreeSet<ClusterName>;

/// What is there to be judged.
pub(super) struct Case<'a> {
    /// The decision before; `None` where there was none.
    pub before: Option<&'a Decided>,
    /// A print of the words as they are.
    pub words: &'a str,
    /// Nothing but names chooses.
    pub names_only: bool,
    pub allow_shrink: &'a str,
    /// Clusters that it means now.
    pub now: &'a Names,
    /// Clusters whose loss waited long enough, without another one.
    pub waited: &'a Names,
    /// Whether a cluster counts: one that is registered, and stays so.
    pub counts: &'a dyn Fn(&ClusterName) -> bool,
}

/// Clusters that are kept until somebody acknowledges that they go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub kept: Names,
    pub token: String,
    /// Of how many.
    pub all: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What to remember.
    pub decided: Decided,
    pub held: Option<Held>,
    /// Lost a moment ago, kept until it is clear that no more are: labels of many clusters change one after the other.
    pub waiting: Names,
}

pub(super) fn judge(case: &Case) -> Verdict {
    let none = Names::new();
    let decided = |held: &Names, waiting: &Names| Decided {
        words: case.words.to_owned(),
        clusters: names_text(&(case.now | waiting)),
        held: names_text(held),
    };
    let all_go = || Verdict { decided: decided(&none, &none), ..Verdict::default() };
    let Some(before) = case.before else { return all_go() };
    let is_edited = before.words != case.words;
    if case.names_only && is_edited {
        return all_go();
    }
    let here = |text: &str| -> Names { names(Some(text)).into_iter().filter(|n| (case.counts)(n)).collect() };
    let (placed, held) = (here(&before.clusters), here(&before.held));
    let mut kept: Names = &held - case.now;
    let fresh = &placed - case.now;
    let lost = &fresh | &kept;
    let all = (&placed | &held).len();
    let nothing_left = !case.now.iter().any(|n| (case.counts)(n));
    if lost.len() > kept.len() && (nothing_left || lost.len() * 2 > all) {
        kept = lost;
    }
    let is_over = is_edited || fresh.is_subset(case.waited);
    let waiting = if is_over { Names::new() } else { &fresh - &kept };
    if kept.is_empty() {
        return Verdict { decided: decided(&kept, &waiting), held: None, waiting };
    }
    let token = token(&kept, case.words);
    if token == case.allow_shrink {
        return Verdict { decided: decided(&none, &waiting), held: None, waiting };
    }
    // The same number at every look, whatever was chosen meanwhile.
    let meant = case.now.iter().filter(|n| (case.counts)(n) && !kept.contains(*n)).count();
    let decided = decided(&kept, &waiting);
    Verdict { decided, held: Some(Held { all: meant + kept.len(), kept, token }), waiting }
}

/// Who loses the same by the same words shares it.
fn token(kept: &Names, words: &str) -> String {
    hash::json_hex(&json!([names_text(kept), words]))[..8].to_owned()
}

impl Held {
    /// `places`: there is a `spec.clusters` where the token may stand.
    pub fn message(&self, places: bool) -> String {
        let (count, first) = (self.kept.len(), self.kept.iter().take(5).map(ClusterName::as_str));
        let mut list = first.collect::<Vec<_>>().join(", ");
        if count > 5 {
            list += &format!(" and {} more", count - 5);
        }
        let are = if count == 1 { "it is" } else { "they are" };
        let how = if places {
            format!("spec.clusters.allowShrink: {}", self.token)
        } else {
            // Somebody says by names that there are none.
            "spec.clusters: {names: []}".to_owned()
        };
        format!(
            "{count} of {} clusters would be lost ({list}); {are} kept. To let them go: set {how}",
            self.all
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decisions one after the other, each over what the one before left; every loss waited long enough.
    fn decide(before: &mut Option<Decided>, words: &str, names_only: bool, now: &str, allow: &str) -> String {
        let now = names(Some(now));
        let counts = |n: &ClusterName| n.as_str() != "left";
        let case = Case {
            before: before.as_ref(),
            words,
            names_only,
            allow_shrink: allow,
            now: &now,
            waited: &names(Some("a,b,c,d,x,y,z,v,w")),
            counts: &counts,
        };
        let Verdict { decided, held, waiting } = judge(&case);
        assert_eq!(waiting, Names::new());
        let kept = held.map(|h| names_text(&h.kept)).unwrap_or_default();
        assert_eq!(kept, decided.held);
        *before = Some(decided);
        kept
    }

    #[test]
    fn half_may_go_more_is_held_and_comes_back_with_what_was_lost() {
        let mut d = None;
        assert_eq!(decide(&mut d, "w", false, "a,b,c,d", ""), "");
        assert_eq!(decide(&mut d, "w", false, "a,b", ""), "", "half");
        assert_eq!(decide(&mut d, "w", false, "", ""), "a,b", "all");
        assert_eq!(decide(&mut d, "w", false, "", ""), "a,b", "looked at again");
        assert_eq!(decide(&mut d, "w", false, "a", ""), "b");
        assert_eq!(decide(&mut d, "w", false, "a,b", ""), "", "as before");
    }

    #[test]
    fn an_edit_is_held_too_unless_only_names_choose() {
        let mut d = None;
        decide(&mut d, "eu", false, "a,b,c", "");
        assert_eq!(decide(&mut d, "ue", false, "x,y,z,v,w", ""), "a,b,c");
        assert_eq!(decide(&mut d, "ue", false, "x,y,z,v,w", ""), "a,b,c", "and stays, though others came");
        assert_eq!(decide(&mut d, "names", true, "x", ""), "", "somebody says by name what it is");
        assert_eq!(decide(&mut d, "names", true, "", ""), "x", "names alone, and nobody edited them");
    }

    #[test]
    fn a_token_is_for_these_names_and_words() {
        let mut d = None;
        decide(&mut d, "w", false, "a,b,c", "");
        let token = token(&names(Some("a,b")), "w");
        let mut other = d.clone();
        assert_eq!(decide(&mut other, "w", false, "", &token), "a,b,c", "more are lost");
        let mut edited = d.clone();
        assert_eq!(decide(&mut edited, "v", false, "c", &token), "a,b", "by other words");
        assert_eq!(decide(&mut d, "w", false, "c", &token), "");
    }

    #[test]
    fn small_losses_wait_for_each_other_and_are_judged_together() {
        let before = Decided { words: "w".into(), clusters: "a,b,c,d,e".into(), held: String::new() };
        for (words, now, waited, waiting, kept) in [
            ("w", "b,c,d,e", "", "a", ""),
            ("w", "b,c,d,e", "a", "", ""),
            ("w", "c,d,e", "a", "a,b", ""),
            ("w", "c,d,e", "a,b", "", ""),
            ("w", "d,e", "", "", "a,b,c"),
            ("w", "a,b,c,d,e", "a", "", ""),
            ("edited", "b,c,d,e", "", "", ""),
        ] {
            let verdict = judge(&Case {
                before: Some(&before),
                words,
                names_only: false,
                allow_shrink: "",
                now: &names(Some(now)),
                waited: &names(Some(waited)),
                counts: &|_| true,
            });
            let held = verdict.held.map(|held| names_text(&held.kept)).unwrap_or_default();
            assert_eq!(
                (names_text(&verdict.waiting).as_str(), held.as_str()),
                (waiting, kept),
                "{words} {now}"
            );
            let remembered = &names(Some(now)) | &names(Some(waiting));
            assert_eq!(verdict.decided.clusters, names_text(&remembered), "{words} {now}");
        }
    }

    #[test]
    fn one_that_is_deregistered_is_no_loss() {
        let mut d = None;
        decide(&mut d, "w", false, "left", "");
        assert_eq!(decide(&mut d, "w", false, "", ""), "");
    }
}
