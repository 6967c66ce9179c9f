//! Status conditions and their bookkeeping, as kro keeps them.

use super::shared::Shared;
use super::text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One condition. Times are RFC 3339 in UTC, whole seconds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: ConditionStatus,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it means, for people; may be empty.
    // An empty message is written too, as kro does.
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_transition_time: String,
    #[serde(default)]
    pub observed_generation: i64,
}

/// A list of conditions with one root (`Ready`) that follows its dependents.
///
/// `lastTransitionTime` moves only when a status changes; setting what is already there changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    now: String,
}

pub const READY: &str = "Ready";

/// The most bytes of a message, so that the object stays small whatever the message quotes.
const LONGEST: usize = 16 << 10;

/// The transition time of a condition on an object that nobody looked at yet.
const UNSEEN: &str = "1970-01-01T00:00:00Z";

/// The status of an object that nobody looked at yet, written into its CRD as a default. Tools that wait would take
/// an object without a status for a ready one.
pub fn unseen_status() -> Value {
    json!({
        "observedGeneration": -1,
        "conditions": [{"type": READY, "status": "Unknown", "reason": "AwaitingReconciliation",
            "message": "waiting for the controller", "lastTransitionTime": UNSEEN}],
    })
}

/// A list that is kept once for all objects that have the same.
pub fn shared(list: &[Condition]) -> Arc<[Condition]> {
    static ALL: LazyLock<Shared<[Condition]>> = LazyLock::new(Shared::new);
    ALL.one(list, |own| own.into())
}

impl Condition {
    /// Whether a controller set this condition, and not the default of a CRD.
    pub fn is_said(&self) -> bool {
        self.last_transition_time != UNSEEN
    }
}

impl Conditions {
    /// Starts from the list that stands in the object. `now` is RFC 3339.
    pub fn new(existing: Vec<Condition>, generation: i64, now: &str) -> Self {
        let list = existing.into_iter().filter(Condition::is_said).collect();
        Self { list, generation, now: now.to_owned() }
    }

    pub fn get(&self, type_: &str) -> Option<&Condition> {
        self.list.iter().find(|c| c.type_ == type_)
    }

    pub fn set(&mut self, type_: &str, status: ConditionStatus, reason: &str, message: &str) {
        let (generation, now) = (self.generation, self.now.clone());
        let fresh = |since: String| Condition {
            type_: type_.to_owned(),
            status,
            reason: reason.to_owned(),
            message: text::cut(message, LONGEST),
            last_transition_time: since,
            observed_generation: generation,
        };
        match self.list.iter_mut().find(|c| c.type_ == type_) {
            Some(old) => {
                let since = if old.status == status && !old.last_transition_time.is_empty() {
                    old.last_transition_time.clone()
                } else {
                    now
                };
                *old = fresh(since);
            }
            None => self.list.push(fresh(now)),
        }
    }

    pub fn remove(&mut self, type_: &str) {
        self.list.retain(|c| c.type_ != type_);
    }

    /// Sets `Ready` from its dependents. The False one that changed last wins, else the Unknown one that did; else it
    /// is True.
    pub fn set_ready_from(&mut self, dependents: &[&str]) {
        let worst = |status: ConditionStatus| {
            dependents
                .iter()
                .filter_map(|t| self.get(t))
                .filter(|c| c.status == status)
                .max_by(|a, b| a.last_transition_time.cmp(&b.last_transition_time))
                .cloned()
        };
        match worst(ConditionStatus::False).or_else(|| worst(ConditionStatus::Unknown)) {
            Some(c) => self.set(READY, c.status, &c.reason, &c.message),
            None => self.set(READY, ConditionStatus::True, READY, ""),
        }
    }

    /// The list in the order kro writes it: by transition time, root last.
    pub fn into_list(mut self) -> Vec<Condition> {
        self.list.sort_by(|a, b| {
            (a.type_ == READY)
                .cmp(&(b.type_ == READY))
                .then_with(|| a.last_transition_time.cmp(&b.last_transition_time))
        });
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{False, True};

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut c = Conditions::new(vec![], 1, "2026-01-01T00:00:00Z");
        c.set("A", False, "No", "x");
        let mut c = Conditions::new(c.into_list(), 2, "2026-01-02T00:00:00Z");
        c.set("A", False, "Still", "y");
        let a = c.get("A").cloned().unwrap();
        assert_eq!((a.last_transition_time.as_str(), a.observed_generation), ("2026-01-01T00:00:00Z", 2));
        c.set("A", True, "Yes", "");
        assert_eq!(c.get("A").unwrap().last_transition_time, "2026-01-02T00:00:00Z");
    }

    #[test]
    fn a_condition_has_a_message_though_nothing_is_to_be_said() {
        let mut c = Conditions::new(vec![], 1, "2026-01-01T00:00:00Z");
        c.set("A", True, "Fine", "all is well");
        c.set_ready_from(&["A"]);
        let written = serde_json::to_value(c.into_list()).unwrap();
        assert_eq!(written.pointer("/1/message"), Some(&serde_json::json!("")));
    }

    #[test]
    fn a_message_that_quotes_without_end_keeps_its_beginning_and_its_end() {
        let mut c = Conditions::new(vec![], 1, "2026-01-01T00:00:00Z");
        c.set("A", False, "No", &format!("annotation x: {}: it is too long", "y".repeat(200_000)));
        let message = &c.get("A").unwrap().message;
        assert!(message.len() <= LONGEST && message.starts_with("annotation x: "), "{}", message.len());
        assert!(message.ends_with(": it is too long"));
    }

    #[test]
    fn ready_copies_the_worst_dependent_and_comes_last() {
        let mut c = Conditions::new(vec![], 1, "2026-01-01T00:00:00Z");
        c.set("A", True, "Fine", "");
        c.set("B", False, "Broken", "because");
        c.set_ready_from(&["A", "B"]);
        let list = c.into_list();
        let ready = list.last().unwrap();
        assert_eq!((ready.type_.as_str(), ready.status, ready.reason.as_str()), (READY, False, "Broken"));
    }
}
