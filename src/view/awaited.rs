//! What somebody waits for, and whether an instance is there yet.

use super::Mark;
use super::instance::{ClusterLine, condition};
use crate::api::Object;
use serde_json::Value;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    Active,
    Deleted,
    /// All clusters run by this revision, and are ready.
    Revision(i64),
    /// A condition has this status.
    Condition(String, String),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Reached,
    NotYet(String),
    /// It failed, as far as one can tell.
    Failed(String),
}

impl Goal {
    /// # Errors
    /// The text is no goal: a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        match lower.split_once('=') {
            None if lower == "active" => Ok(Self::Active),
            None if lower == "deleted" || lower == "delete" => Ok(Self::Deleted),
            Some(("revision", number)) => {
                let number = number.parse().map_err(|_| format!("{text:?}: a revision is a number"))?;
                Ok(Self::Revision(number))
            }
            _ => {
                let text = text.strip_prefix("condition=").unwrap_or(text);
                let (of_type, status) = text.split_once('=').unwrap_or((text, "True"));
                let is_word = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric());
                if !is_word(of_type) || !is_word(status) {
                    return Err(format!("{text:?}: write active, deleted, revision=N or CONDITION[=STATUS]"));
                }
                Ok(Self::Condition(of_type.to_owned(), status.to_owned()))
            }
        }
    }

    /// As people read it: “webapp/shop is not {so} after 10m”.
    pub fn text(&self) -> String {
        match self {
            Self::Active => "active".into(),
            Self::Deleted => "deleted".into(),
            Self::Revision(number) => format!("at revision {number}"),
            Self::Condition(of_type, status) => format!("{of_type}={status}"),
        }
    }

    /// `quorum`: so many percent of its clusters are enough. `None`: the instance is not there.
    pub fn standing(&self, instance: Option<&Object>, lines: &[ClusterLine], quorum: u8) -> Standing {
        let Some(instance) = instance else {
            return match self {
                Self::Deleted => Standing::Reached,
                _ => Standing::Failed("it is gone".into()),
            };
        };
        let seen = instance.0.pointer("/status/observedGeneration").and_then(Value::as_i64);
        let is_seen = seen.is_none_or(|seen| seen >= instance.generation());
        let state = instance.str_at("/status/state");
        let reached = match self {
            Self::Deleted => false,
            Self::Active if quorum >= 100 => is_seen && state == "ACTIVE",
            Self::Active => is_seen && is_quorum(lines, quorum, |_| true),
            Self::Revision(number) => is_quorum(lines, quorum, |line| line.revision == Some(*number)),
            Self::Condition(of_type, status) => {
                let found = condition(instance, of_type).and_then(|c| c.get("status")?.as_str());
                is_seen && found.is_some_and(|found| found.eq_ignore_ascii_case(status))
            }
        };
        if reached {
            return Standing::Reached;
        }
        let failed: Vec<&str> =
            lines.iter().filter(|l| l.mark == Mark::Failed).map(|l| l.name.as_str()).collect();
        let ready = lines.iter().filter(|line| line.mark == Mark::Ready).count();
        match failed.as_slice() {
            [] if state == "ERROR" && is_seen => Standing::Failed("failed".into()),
            [] => Standing::NotYet(format!("{ready} of {}", lines.len())),
            names => Standing::Failed(format!("failed on {}", names.join(", "))),
        }
    }
}

fn is_quorum(lines: &[ClusterLine], quorum: u8, is: impl Fn(&ClusterLine) -> bool) -> bool {
    let there = lines.iter().filter(|line| line.mark == Mark::Ready && is(line)).count();
    !lines.is_empty() && there * 100 >= lines.len() * usize::from(quorum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(goal: &str, quorum: u8, status: Value, lines: &[(&str, &str, i64)], expect: &Standing) {
        let object = Object(json!({"metadata": {"generation": 2}, "status": status}));
        let lines: Vec<ClusterLine> = lines
            .iter()
            .map(|(name, state, revision)| ClusterLine {
                name: (*name).into(),
                mark: Mark::of_line(state),
                state: (*state).into(),
                revision: Some(*revision),
                resources: String::new(),
                message: String::new(),
                since: String::new(),
                version: None,
                stage: String::new(),
                rollout: String::new(),
                held: String::new(),
                said: String::new(),
            })
            .collect();
        let goal = Goal::parse(goal).unwrap();
        assert_eq!(&goal.standing(Some(&object), &lines, quorum), expect, "{goal:?} {status}");
    }

    #[test]
    fn goals_are_reached_when_what_is_written_says_so() {
        use Standing::{Failed, NotYet, Reached};
        let active = json!({"state": "ACTIVE", "observedGeneration": 2});
        let both = [("a", "ACTIVE", 7), ("b", "ACTIVE", 6)];
        check("active", 100, active.clone(), &both, &Reached);
        let old = json!({"state": "ACTIVE", "observedGeneration": 1});
        check("active", 100, old, &both, &NotYet("2 of 2".into()));
        let moving = json!({"state": "IN_PROGRESS", "observedGeneration": 2});
        let one = [("a", "ACTIVE", 7), ("b", "IN_PROGRESS", 7)];
        check("active", 100, moving.clone(), &one, &NotYet("1 of 2".into()));
        check("active", 50, moving, &one, &Reached);
        check("revision=7", 100, active.clone(), &both, &NotYet("2 of 2".into()));
        check("revision=7", 50, active, &both, &Reached);
        let error = json!({"state": "ERROR", "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "False"}]});
        check("active", 100, error.clone(), &[("a", "ERROR", 7)], &Failed("failed on a".into()));
        check("active", 100, error.clone(), &[], &Failed("failed".into()));
        check("Ready=false", 100, error.clone(), &[], &Reached);
        check("Ready", 100, error.clone(), &[], &Failed("failed".into()));
        check("deleted", 100, error, &[], &Failed("failed".into()));
        assert_eq!(Goal::Deleted.standing(None, &[], 100), Reached);
        assert_eq!(Goal::Active.standing(None, &[], 100), Failed("it is gone".into()));
        for wrong in ["", "revision=x", "a b", "Ready="] {
            assert!(Goal::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
