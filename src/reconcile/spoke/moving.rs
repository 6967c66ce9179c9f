//! What is remembered of an object that was written lately or does not come to rest: how often it was written, who fights us.

use super::tracked::{Cause, Desired, Trouble};
use super::write_budget::{WriteBudget, span};
use crate::api::packed::At;
use crate::reconcile::rivals::{Taken, taken};
use crate::reconcile::world::Stored;
use crate::reconcile::{Moment, Now, ownership};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

const FIGHT_WINDOW: Duration = Duration::from_secs(300);
const FIGHT_PAUSE: Duration = Duration::from_secs(600);
const FIGHT_REPAIRS: usize = 3;

/// What is remembered of an object that was written lately, or that does not come to rest.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    /// Repairs of the last five minutes that were accepted: when, and of what.
    repairs: VecDeque<(Moment, Moved)>,
    /// Why the write under way is done.
    cause: Option<Cause>,
    /// What was taken for gone had only lost our labels.
    relabelled: bool,
    /// What the write under way repairs.
    repairing: Option<Box<Moved>>,
    /// What a paused repair is about.
    contested: Option<Box<Moved>>,
    pub writes: WriteBudget,
    /// What was written last of an object that does not come to rest.
    written: Option<Box<Value>>,
    /// The uid that was asked to be deleted: ours, also when a restart forgot that we wrote it.
    pub asked_uid: Option<String>,
    /// When a write was given up unanswered: the API server may still execute it.
    pub unanswered_at: Option<Moment>,
}

/// An object as it is, and as it was when it was as we want it.
#[derive(Clone, Copy)]
pub struct Seen<'s> {
    pub before: Option<&'s Stored>,
    pub now: Option<&'s Stored>,
}

/// A field that is not as we wrote it, and who has it now, if the record of field managers says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moved {
    field: String,
    manager: Option<String>,
    /// It is not there any more.
    removed: bool,
}

impl Moved {
    /// What somebody else changed of what we wrote.
    fn of(desired: Desired, before: Option<&Stored>, stored: &Stored) -> Self {
        let manager = desired.manager;
        let ours = stored.fields(manager).map(At::unpack);
        let taken = taken(desired.body, &stored.object.unpack().0, ours.as_ref(), &stored.rivals());
        if let Some(Taken { path, manager }) = taken {
            return Self { field: path, manager: Some(manager), removed: false };
        }
        let values = |stored: &Stored| stored.projection(manager).unwrap_or_default().unpack();
        let (was, is) = (before.map(values).unwrap_or_default(), values(stored));
        let field = ownership::first_difference(&was, &is);
        let removed = !has(&is, &field);
        Self { field, manager: None, removed }
    }

    fn say(&self) -> String {
        let Self { field, manager, removed } = self;
        match (manager, removed) {
            (Some(manager), _) => format!("field {field} is changed again and again by {manager}"),
            (None, true) => format!("field {field} is removed again and again"),
            (None, false) => format!(
                "field {field} is changed again and again by a writer that uses our own field manager, as another controller of kro does"
            ),
        }
    }
}

impl Moving {
    /// Of a name that was written before.
    pub fn of(writes: WriteBudget) -> Self {
        Self { writes, ..Self::default() }
    }

    /// Our write was accepted. `is_same`: by the object that was ours before.
    pub fn applied(&mut self, desired: &Value, is_same: bool, now: &Now) {
        if self.cause.take() == Some(Cause::Gone) {
            self.relabelled = is_same;
        }
        self.unanswered_at = None;
        self.writes.wrote(now);
        self.written = self.writes.is_busy().then(|| Box::new(desired.clone()));
        if let Some(repaired) = self.repairing.take() {
            self.repairs.push_back((now.at, *repaired));
        }
    }

    /// Our write was refused, or not answered.
    pub fn failed(&mut self) {
        self.repairing = None;
    }

    /// The object is as we want it.
    pub fn calm(&mut self, now: &Now) {
        self.writes.calm(now);
        if self.writes.unrest(now).is_none() {
            (self.contested, self.written) = (None, None);
        }
    }

    /// Somebody wants something else of the instance: what was written before counts no more.
    pub fn start_afresh(&mut self) {
        self.writes.start_afresh();
        self.repairs.clear();
        (self.repairing, self.contested, self.written) = (None, None, None);
    }

    /// Whether nothing is remembered any more that could make a difference.
    pub fn is_blank(&mut self, now: &Now) -> bool {
        self.forget_old_repairs(now);
        let at_rest = self.writes.held_until().is_none() && self.writes.is_blank(now);
        let fights = !self.repairs.is_empty() || self.repairing.is_some() || self.contested.is_some();
        at_rest && !fights && self.asked_uid.is_none() && self.unanswered_at.is_none()
    }

    fn forget_old_repairs(&mut self, now: &Now) {
        self.repairs.retain(|(at, _)| now.at.since(*at) <= FIGHT_WINDOW);
    }

    /// Whether a write has to wait.
    ///
    /// More than three repairs of one field against one manager within five minutes pause the repair for ten; whatever
    /// the cause, writes that follow each other are spaced.
    pub fn is_held(&mut self, cause: Cause, desired: Desired, seen: Seen, now: &Now) -> bool {
        (self.repairing, self.cause) = (None, Some(cause));
        if let (Cause::Drift, Some(stored)) = (cause, seen.now) {
            if self.contested.is_some() && self.writes.holds(now) {
                return true;
            }
            let moved = Moved::of(desired, seen.before, stored);
            self.forget_old_repairs(now);
            let same = self.repairs.iter().filter(|(_, m)| *m == moved).count();
            let goes_on = self.contested.as_deref() == Some(&moved) && same > 0;
            if same >= FIGHT_REPAIRS || goes_on {
                self.writes.hold_until(now.at.after(FIGHT_PAUSE), now);
                self.writes
                    .say(Trouble::Contested, format!("{}; repaired at most every 10 minutes", moved.say()));
                self.contested = Some(Box::new(moved));
                return true;
            }
            self.repairing = Some(Box::new(moved));
        }
        if self.writes.allows(now) {
            return false;
        }
        let (trouble, what) = self.why(cause, desired.body);
        let (so_far, pause) = (self.writes.so_far(now), span(self.writes.interval()));
        self.writes.say(
            trouble,
            format!("{what}; written {so_far} without coming to rest, now at most every {pause}"),
        );
        true
    }

    /// Why it does not come to rest.
    fn why(&self, cause: Cause, desired: &Value) -> (Trouble, String) {
        match (cause, self.repairing.as_deref()) {
            (Cause::Drift, Some(moved)) => (Trouble::Contested, moved.say()),
            (Cause::Gone, _) if self.relabelled => (
                Trouble::Contested,
                "loses its labels again and again, so that it is not seen as ours".to_owned(),
            ),
            (Cause::Gone, _) => (Trouble::Contested, "is deleted again and again".to_owned()),
            (Cause::First, _) => {
                (Trouble::Restless, "is made and removed again and again by the definition itself".to_owned())
            }
            _ => (Trouble::Restless, self.what_changes(desired)),
        }
    }

    fn what_changes(&self, desired: &Value) -> String {
        let field =
            self.written.as_ref().map(|w| ownership::first_difference(w, desired)).unwrap_or_default();
        if field.is_empty() {
            "changes with each of our own writes".into()
        } else {
            format!("field {field} changes with each of our own writes")
        }
    }
}

/// Whether something stands at a path as [`ownership::first_difference`] says it.
fn has(object: &Value, path: &str) -> bool {
    match object {
        _ if path.is_empty() => true,
        Value::Object(fields) => fields.iter().any(|(name, inner)| {
            path.strip_prefix(name.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('.').is_some_and(|rest| has(inner, rest))
            })
        }),
        _ => false,
    }
}
