//! How a definition fits the clusters: `status.fleet` of the definition.

use crate::api::names::ClusterName;
use crate::api::text;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// More problems than this are only counted.
const SHOWN: usize = 20;
/// Bytes of one message.
const MESSAGE: usize = 600;

/// `None` where there is nothing to say and nothing was said: no cluster was asked yet.
pub fn fleet(
    verdicts: &BTreeMap<ClusterName, (String, Result<(), String>)>,
    before: Option<&Value>,
) -> Option<Value> {
    if verdicts.is_empty() {
        // After a restart, what was said before stands until a cluster answers.
        return before.cloned();
    }
    let bad = || verdicts.iter().filter_map(|(name, (_, fits))| Some((name, fits.as_ref().err()?)));
    let problems: Vec<Value> = bad()
        .take(SHOWN)
        .map(|(name, why)| json!({"cluster": name.as_str(), "reason": "Incompatible", "message": text::shorten(why, MESSAGE)}))
        .collect();
    let mut fleet = json!({"clusters": verdicts.len(), "compatible": verdicts.len() - bad().count()});
    if let (false, Some(fleet)) = (problems.is_empty(), fleet.as_object_mut()) {
        fleet.insert("problems".into(), Value::Array(problems));
    }
    Some(fleet)
}

/// If a definition fits none of the clusters: how many they are, and what the first says. `hash`: of the graph that
/// instances run with; what was said of another one counts for nothing.
pub fn unfit(
    verdicts: &BTreeMap<ClusterName, (String, Result<(), String>)>,
    hash: &str,
) -> Option<(usize, String)> {
    let why = |(name, (of, fits)): (&ClusterName, &(String, Result<(), String>))| {
        let why = fits.as_ref().err().filter(|_| of == hash)?;
        Some(format!("{}: {}", name.as_str(), text::cut(why, MESSAGE)))
    };
    let all: Option<Vec<String>> = verdicts.iter().map(why).collect();
    let all = all?;
    Some((all.len(), all.into_iter().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named_by_cluster() {
        let of = |why: Option<&str>| ("h".to_owned(), why.map_or(Ok(()), |w| Err(w.to_owned())));
        let verdicts = BTreeMap::from([
            (ClusterName::new("a"), of(None)),
            (ClusterName::new("b"), of(Some("no such kind"))),
        ]);
        assert_eq!(
            fleet(&verdicts, None),
            Some(json!({"clusters": 2, "compatible": 1, "problems": [
                {"cluster": "b", "reason": "Incompatible", "message": "no such kind"},
            ]}))
        );
        assert_eq!(fleet(&BTreeMap::new(), None), None);
    }

    #[test]
    fn what_fits_nowhere_is_told_from_what_fits_somewhere_or_is_not_judged_yet() {
        let of = |hash: &str, why: Option<&str>| (hash.to_owned(), why.map_or(Ok(()), |w| Err(w.to_owned())));
        let verdicts = |a, b| BTreeMap::from([(ClusterName::new("a"), a), (ClusterName::new("b"), b)]);
        let bad = || of("h", Some("no"));
        assert_eq!(unfit(&verdicts(bad(), bad()), "h"), Some((2, "a: no".into())));
        assert_eq!(unfit(&verdicts(bad(), of("h", None)), "h"), None);
        assert_eq!(unfit(&verdicts(bad(), of("older", Some("no"))), "h"), None);
        assert_eq!(unfit(&BTreeMap::new(), "h"), None);
    }
}
