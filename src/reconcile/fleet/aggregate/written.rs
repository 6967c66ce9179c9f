//! The status that stands on the instance, and whether what is to be said differs from it. That is found out without
//! making the new one: most of what clusters report changes nothing that is shown.

use super::lines::prints;
use super::{Aggregate, standing};
use crate::api::Object;
use crate::api::condition::Condition;
use crate::reconcile::Now;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::io;
use std::sync::Arc;

/// A status as it stands on an instance, and what is found out of it once.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(in super::super) struct Written {
    object: Arc<Object>,
    /// Bytes of the object.
    size: OnceCell<usize>,
    /// Prints of its lines.
    lines: OnceCell<Vec<u64>>,
}

const NOTHING: Value = Value::Null;

impl Written {
    pub fn on(object: &Arc<Object>) -> Self {
        Self { object: object.clone(), size: OnceCell::new(), lines: OnceCell::new() }
    }

    pub fn is_on(&self, object: &Arc<Object>) -> bool {
        Arc::ptr_eq(&self.object, object)
    }

    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    pub fn status(&self) -> &Value {
        self.object.0.get("status").unwrap_or(&NOTHING)
    }

    pub fn size(&self) -> usize {
        *self.size.get_or_init(|| {
            let mut counted = Counted(0);
            // Counting takes everything.
            drop(serde_json::to_writer(&mut counted, &self.object.0));
            counted.0
        })
    }

    /// Whether writing this in its place would change anything: what [`Aggregate::differs`] has to say.
    #[cfg(test)]
    pub fn is_changed_by(&self, new: &Value, generation: i64) -> bool {
        let nothing = serde_json::json!({});
        let old = if self.status().is_null() { &nothing } else { self.status() };
        let patch = crate::reconcile::spoke::merge_patch(old, new);
        let for_that_alone = serde_json::json!({"observedGeneration": generation});
        patch.is_some_and(|p| old.get("observedGeneration").is_some() || p != for_that_alone)
    }

    /// The conditions, if they are written as we write them.
    fn conditions(&self) -> Option<Vec<Condition>> {
        let list = self.status().get("conditions")?.as_array()?;
        let known = standing(self.status());
        let is_ours = |(condition, value): (&Condition, &Value)| is_written(condition, value);
        (list.len() == known.len() && known.iter().zip(list).all(is_ours)).then_some(known)
    }

    fn lines(&self) -> &[u64] {
        self.lines.get_or_init(|| prints(self.status()))
    }
}

/// Whether a condition is written like this, to the letter.
fn is_written(condition: &Condition, value: &Value) -> bool {
    let Some(fields) = value.as_object() else { return false };
    let has_reason = !condition.reason.is_empty();
    let has_time = !condition.last_transition_time.is_empty();
    fields.len() == 4 + usize::from(has_reason) + usize::from(has_time)
        && ["type", "status", "message", "observedGeneration"].iter().all(|field| fields.contains_key(*field))
        && fields.contains_key("reason") == has_reason
        && fields.contains_key("lastTransitionTime") == has_time
}

impl Aggregate<'_> {
    /// Whether [`Self::status`] is something else than what stands there.
    pub fn differs(&self, written: &Written, generation: i64, now: &Now) -> bool {
        let Some(old) = written.status().as_object() else { return true };
        let fields = self.fields(written.status());
        let by_author = fields.contains_key("observedGeneration");
        let own = |key: &str| matches!(key, "state" | "conditions") || (key == "fleet" && !self.only_local);
        let of_tools = |key: &str| key == "observedGeneration" && !by_author;
        // What stood before it was written is good as it is: an upgrade writes nothing.
        let generation_differs =
            || !by_author && old.get("observedGeneration").is_some_and(|g| g.as_i64() != Some(generation));
        let fields_differ = || {
            let says = |(key, value): (&String, &Value)| own(key) || old.get(key) == Some(value);
            !fields.iter().all(says)
                || !old.keys().all(|key| own(key) || of_tools(key) || fields.contains_key(key))
        };
        old.get("state").and_then(Value::as_str) != Some(self.state().as_str())
            || generation_differs()
            || fields_differ()
            || (!self.only_local && self.fleet_differs(old, written))
            || self.conditions_differ(written, generation, now)
    }

    fn conditions_differ(&self, written: &Written, generation: i64, now: &Now) -> bool {
        let Some(before) = written.conditions() else { return true };
        self.conditions(before.clone(), generation, now).into_list() != before
    }

    fn fleet_differs(&self, old: &Map<String, Value>, written: &Written) -> bool {
        let Some(fleet) = old.get("fleet").and_then(Value::as_object) else { return true };
        let counts = self.counts();
        let Some(counts) = counts.as_object() else { return true };
        fleet.len() != counts.len() + 1
            || counts.iter().any(|(key, value)| fleet.get(key) != Some(value))
            || !fleet.get("clusters").is_some_and(Value::is_array)
            || !self.lines.are_shown(written.lines())
    }
}

/// Takes what is written and keeps its length.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
