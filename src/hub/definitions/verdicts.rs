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
}
