//! How a definition fits the clusters: `status.fleet` of the definition.

use crate::api::names::ClusterName;
use crate::api::text;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// More problems than this are only counted.
const SHOWN: usize = 20;
/// Bytes of one message.
const MESSAGE: usize = 600;

/// What a cluster said of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of the graph.
    pub hash: String,
    pub fits: Result<(), String>,
}

/// A definition fits none of the clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// How many they are.
    pub clusters: usize,
    /// What the first one says.
    pub first: String,
}

/// What each cluster said last.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(BTreeMap<ClusterName, Verdict>);

impl Verdicts {
    pub fn take(&mut self, cluster: &ClusterName, verdict: Verdict) {
        self.0.insert(cluster.clone(), verdict);
    }

    /// Forgets clusters that are not registered any more. Whether there was one.
    pub fn keep(&mut self, registered: &BTreeSet<ClusterName>) -> bool {
        let before = self.0.len();
        self.0.retain(|cluster, _| registered.contains(cluster));
        self.0.len() != before
    }

    /// `None` where there is nothing to say: there are no clusters. `before`: what was said; `clusters`: how many are
    /// registered, once that is known.
    pub fn fleet(&self, before: Option<&Value>, clusters: Option<usize>) -> Option<Value> {
        if self.0.is_empty() {
            // After a restart, what was said before stands until a cluster answers.
            return before.filter(|_| clusters != Some(0)).cloned();
        }
        let bad = || self.0.iter().filter_map(|(name, verdict)| Some((name, verdict.fits.as_ref().err()?)));
        let problems: Vec<Value> = bad()
            .take(SHOWN)
            .map(|(name, why)| json!({"cluster": name.as_str(), "reason": "Incompatible", "message": text::shorten(why, MESSAGE)}))
            .collect();
        if let Some(before) = before.filter(|before| self.repeats(before, &problems, clusters)) {
            return Some(before.clone());
        }
        let mut fleet = json!({"clusters": self.0.len(), "compatible": self.0.len() - bad().count()});
        if let (false, Some(fleet)) = (problems.is_empty(), fleet.as_object_mut()) {
            fleet.insert("problems".into(), Value::Array(problems));
        }
        Some(fleet)
    }

    /// Whether those that answered since a restart say nothing but what was said before, of clusters that are all
    /// registered still.
    fn repeats(&self, before: &Value, problems: &[Value], clusters: Option<usize>) -> bool {
        let counted = before.get("clusters").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let told = before.get("problems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        counted.is_some_and(|n| self.0.len() < n && clusters.is_none_or(|registered| n <= registered))
            && problems.iter().all(|problem| told.contains(problem))
    }

    /// `hash`: of the graph that instances run with; what was said of another one counts for nothing.
    pub fn unfit(&self, hash: &str) -> Option<Unfit> {
        let why = |(name, verdict): (&ClusterName, &Verdict)| {
            let why = verdict.fits.as_ref().err().filter(|_| verdict.hash == hash)?;
            Some(format!("{}: {}", name.as_str(), text::cut(why, MESSAGE)))
        };
        let all: Option<Vec<String>> = self.0.iter().map(why).collect();
        let all = all?;
        Some(Unfit { clusters: all.len(), first: all.into_iter().next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hash: &str, why: Option<&str>) -> Verdict {
        Verdict { hash: hash.to_owned(), fits: why.map_or(Ok(()), |w| Err(w.to_owned())) }
    }
    fn verdicts(a: Verdict, b: Verdict) -> Verdicts {
        Verdicts(BTreeMap::from([(ClusterName::new("a"), a), (ClusterName::new("b"), b)]))
    }

    #[test]
    fn problems_are_named_by_cluster() {
        let mut verdicts = verdicts(of("h", None), of("h", Some("no such kind")));
        assert_eq!(
            verdicts.fleet(None, Some(2)),
            Some(json!({"clusters": 2, "compatible": 1, "problems": [
                {"cluster": "b", "reason": "Incompatible", "message": "no such kind"},
            ]}))
        );
        assert_eq!(Verdicts::default().fleet(None, None), None);
        let before = json!({"clusters": 7});
        let said = |clusters| Verdicts::default().fleet(Some(&before), clusters);
        assert_eq!(
            (said(None), said(Some(2))),
            (Some(before.clone()), Some(before.clone())),
            "none answered yet"
        );
        assert_eq!(said(Some(0)), None, "none is left");
        assert!(!verdicts.keep(&["a", "b"].map(ClusterName::new).into()));
        assert!(verdicts.keep(&[ClusterName::new("a")].into()));
        assert_eq!(verdicts.fleet(None, Some(2)), Some(json!({"clusters": 1, "compatible": 1})));
    }

    #[test]
    fn clusters_that_answer_one_by_one_after_a_restart_change_nothing_while_they_repeat_what_was_said() {
        let (a, b) = (of("h", None), of("h", Some("no such kind")));
        let before = verdicts(a.clone(), b.clone()).fleet(None, Some(2)).unwrap();
        let only =
            |name: &str, verdict: &Verdict| Verdicts([(ClusterName::new(name), verdict.clone())].into());
        for (said, registered, stands) in [
            (only("a", &a), Some(2), true),
            (only("b", &b), Some(2), true),
            (only("a", &a), None, true),
            (only("a", &a), Some(1), false),
            (only("a", &b), Some(2), false),
        ] {
            let fleet = said.fleet(Some(&before), registered).unwrap();
            assert_eq!(fleet == before, stands, "{said:?} of {registered:?}");
        }
        assert_eq!(
            verdicts(a.clone(), a).fleet(Some(&before), Some(2)),
            Some(json!({"clusters": 2, "compatible": 2}))
        );
    }

    #[test]
    fn what_fits_nowhere_is_told_from_what_fits_somewhere_or_is_not_judged_yet() {
        let bad = || of("h", Some("no"));
        assert_eq!(verdicts(bad(), bad()).unfit("h"), Some(Unfit { clusters: 2, first: "a: no".into() }));
        assert_eq!(verdicts(bad(), of("h", None)).unfit("h"), None);
        assert_eq!(verdicts(bad(), of("older", Some("no"))).unfit("h"), None);
        assert_eq!(Verdicts::default().unfit("h"), None);
    }
}
