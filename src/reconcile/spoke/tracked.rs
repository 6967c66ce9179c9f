//! What is remembered of one object between steps: what we applied, what failed, who fights us.

use super::write_budget::{Unrest, WriteBudget, span};
use crate::api::hash;
use crate::reconcile::Moment;
use crate::reconcile::rivals::{Taken, taken};
use crate::reconcile::settled::Rules;
use crate::reconcile::world::Stored;
use crate::reconcile::{Now, Retry, ownership};
use crate::schema::served::as_served;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// Why an object is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It exists and is not ours.
    Conflict,
    /// The cluster does not know the kind or a field.
    Incompatible,
    /// The API server accepted the object and dropped a field.
    FieldsDropped,
    /// Somebody else keeps changing what we repair.
    Contested,
    /// Our own writes move it again and again.
    Restless,
    /// It is on its way out; it is made again when it is gone.
    Terminating,
    /// Its name followed the uid of a mirror that was replaced.
    MirrorReplaced,
    /// No contact; says nothing about the object.
    Contact,
    /// Anything else the API server said, or an expression that failed.
    Error,
}

impl Trouble {
    /// The reason in conditions.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Incompatible => "Incompatible",
            Self::FieldsDropped => "FieldsDropped",
            Self::Contested => "Contested",
            Self::Restless => "Restless",
            Self::Terminating => "ResourceDeleting",
            Self::MirrorReplaced => "MirrorReplaced",
            Self::Contact | Self::Error => "NotReady",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub trouble: Trouble,
    pub message: String,
    pub retry: Retry,
    /// Fingerprint of what we tried to write.
    desired: u64,
}

/// What the cluster had after our last write, or what we found settled after a restart.
#[derive(Clone, Debug)]
struct Baseline {
    desired: u64,
    fields: u64,
    values: u64,
    uid: String,
    resource_version: String,
    projection: Value,
    /// Some of what we want is not owned: the schema's default says the same.
    leans_on_defaults: bool,
}

/// Why an object has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not there, never written by us.
    First,
    /// Not there, although we wrote it.
    Gone,
    /// We want something else than last time.
    Changed,
    /// Somebody else changed it.
    Drift,
}

/// What an object is to be, who writes it, and how it is compared.
#[derive(Clone, Copy)]
pub struct Desired<'a> {
    pub body: &'a Value,
    pub manager: &'a str,
    pub rules: Rules<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Settled,
    Write(Cause),
}

#[derive(Clone, Debug, Default)]
pub struct Tracked {
    baseline: Option<Baseline>,
    /// A request for this object is under way.
    pub busy: bool,
    pub failure: Option<Failure>,
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
    writes: WriteBudget,
    /// What was written last of an object that does not come to rest.
    written: Option<Box<Value>>,
    /// The uid that was asked to be deleted: ours, also when a restart forgot that we wrote it.
    asked_uid: Option<String>,
    /// A write was started, whatever became of it.
    attempted: bool,
    /// When a write was given up unanswered: the API server may still execute it.
    unanswered_at: Option<Moment>,
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

/// An API server gives a request up after a minute at the latest.
const LATE_WRITE: Duration = Duration::from_secs(60);
const FIGHT_WINDOW: Duration = Duration::from_secs(300);
const FIGHT_PAUSE: Duration = Duration::from_secs(600);
const FIGHT_REPAIRS: usize = 3;

impl Tracked {
    /// Judges a live object against what we want. Notes a settled object as the new baseline.
    pub fn judge(
        &mut self,
        Desired { body: desired, manager, rules }: Desired,
        stored: Option<&Stored>,
        now: &Now,
    ) -> Verdict {
        let Some(stored) = stored else {
            return Verdict::Write(if self.baseline.is_some() { Cause::Gone } else { Cause::First });
        };
        let want = hash::json(desired);
        let Some(fields) = stored.fields(manager) else {
            return Verdict::Write(if self.baseline.is_some() { Cause::Drift } else { Cause::Changed });
        };
        let cause = match &self.baseline {
            Some(base) if base.desired == want => {
                let same_version = base.resource_version == stored.object.resource_version();
                let same_owned = || {
                    !base.leans_on_defaults
                        && stored
                            .fingerprint(manager)
                            .is_some_and(|(f, v)| f == base.fields && v == base.values)
                };
                if base.uid == stored.object.uid() && (same_version || same_owned()) {
                    return self.calm(want, now);
                }
                if !base.leans_on_defaults || base.uid != stored.object.uid() {
                    return Verdict::Write(Cause::Drift);
                }
                Cause::Drift
            }
            // A default that came with a new schema is wanted and is there: no object is written for its sake.
            Some(base) if rules.as_served && base.uid == stored.object.uid() => Cause::Changed,
            Some(_) => return Verdict::Write(Cause::Changed),
            None => Cause::Changed,
        };
        let live = match rules.schema.filter(|_| rules.as_served) {
            Some(schema) => as_served(&stored.object.0, schema),
            None => std::borrow::Cow::Borrowed(&stored.object.0),
        };
        let desired = ownership::owned_part(desired);
        if !rules.settled(&desired, &ownership::owned_part(&live), fields) {
            return Verdict::Write(cause);
        }
        self.settle(want, stored, manager);
        if let Some(base) = &mut self.baseline {
            base.leans_on_defaults =
                rules.as_served && !Rules { as_served: false, ..rules }.settled(&desired, &live, fields);
        }
        self.calm(want, now)
    }

    /// The object is as we want it: a failure of other content is over, and so is a fight. A dropped field stays dropped
    /// until it is time to try again.
    fn calm(&mut self, want: u64, now: &Now) -> Verdict {
        self.writes.calm(now);
        if self.writes.unrest(now).is_none() {
            (self.contested, self.written) = (None, None);
        }
        match &self.failure {
            Some(f) if f.trouble == Trouble::FieldsDropped && f.desired == want => {
                if f.retry.is_due(now) {
                    Verdict::Write(Cause::Changed)
                } else {
                    Verdict::Settled
                }
            }
            _ => {
                self.failure = None;
                Verdict::Settled
            }
        }
    }

    /// Notes the answer of the API server to our write of `desired`.
    pub fn applied(&mut self, desired: &Value, stored: &Stored, manager: &str, now: &Now) {
        if self.cause.take() == Some(Cause::Gone) {
            self.relabelled = self.uid() == Some(stored.object.uid());
        }
        self.settle(hash::json(desired), stored, manager);
        self.failure = None;
        self.unanswered_at = None;
        self.writes.wrote(now);
        self.written = self.writes.is_busy().then(|| Box::new(desired.clone()));
        if let Some(repaired) = self.repairing.take() {
            self.repairs.push_back((now.at, *repaired));
        }
        if let Some(path) = ownership::dropped_leaf(desired, &stored.object.0) {
            self.fail(Trouble::FieldsDropped, format!("the cluster dropped the field {path}"), desired, now);
            // Only a changed schema helps; that wakes us. The timer is for a schema change that nobody saw.
            if let Some(failure) = &mut self.failure {
                failure.retry.wait_until(now.at.after(FIGHT_PAUSE));
            }
        }
    }

    fn settle(&mut self, desired: u64, stored: &Stored, manager: &str) {
        let (fields, values) = stored.fingerprint(manager).unwrap_or_default();
        self.baseline = Some(Baseline {
            desired,
            fields,
            values,
            uid: stored.object.uid().to_owned(),
            resource_version: stored.object.resource_version().to_owned(),
            projection: stored.projection(manager).unwrap_or_default(),
            leans_on_defaults: false,
        });
    }

    pub fn fail(&mut self, trouble: Trouble, message: String, desired: &Value, now: &Now) {
        let (desired, before) = (hash::json(desired), self.failure.take());
        self.repairing = None;
        if trouble != Trouble::Contact && before.as_ref().is_some_and(|f| f.desired != desired) {
            // Its pause does not hold what is new, so that counts as one write more.
            self.writes.wrote(now);
        }
        let mut retry = before.as_ref().map(|f| f.retry).unwrap_or_default();
        retry.failed(now);
        let says_nothing = matches!(trouble, Trouble::Contact | Trouble::Error);
        let dropped =
            before.filter(|f| says_nothing && f.trouble == Trouble::FieldsDropped && f.desired == desired);
        self.failure = Some(match dropped {
            // An attempt that failed does not say that the field is there now.
            Some(failure) => Failure { retry, ..failure },
            None => Failure { trouble, message, retry, desired },
        });
    }

    /// Whether a write may be tried now; a failure waits for its retry time unless we want something new.
    pub fn may_try(&self, desired: &Value, now: &Now) -> bool {
        !self.busy
            && self.failure.as_ref().is_none_or(|f| f.retry.is_due(now) || f.desired != hash::json(desired))
    }

    /// The uid of the object that is ours by this name.
    pub fn uid(&self) -> Option<&str> {
        let written = self.baseline.as_ref().map(|b| b.uid.as_str());
        written.or(self.asked_uid.as_deref()).filter(|u| !u.is_empty())
    }

    /// Whether the object of this uid is as we wrote it last, or was found settled; not only one that was asked to go.
    pub fn wrote(&self, uid: &str) -> bool {
        self.baseline.as_ref().is_some_and(|b| b.uid == uid)
    }

    /// Whether an object of ours had this name.
    pub fn was_ours(&self) -> bool {
        self.baseline.is_some() || self.asked_uid.is_some() || self.attempted
    }

    pub fn start_write(&mut self) {
        self.attempted = true;
        self.busy = true;
    }

    /// A write got no answer in time.
    pub fn unanswered(&mut self, now: &Now) {
        self.unanswered_at = Some(now.at);
    }

    /// Until when a write of ours may still be executed, if it may.
    pub fn uncertain_until(&self, now: &Now) -> Option<Moment> {
        self.unanswered_at.map(|at| at.after(LATE_WRITE)).filter(|until| now.at < *until)
    }

    /// Whether the object may be there later although nobody shows it now.
    pub fn may_come(&self, now: &Now) -> bool {
        self.busy || self.uncertain_until(now).is_some()
    }

    pub fn ask_to_delete(&mut self, uid: &str) {
        self.asked_uid = Some(uid.to_owned());
        self.busy = true;
    }

    /// Whether a write has to wait, since the object does not come to rest. [`Self::unrest`] says why.
    ///
    /// More than three repairs of one field against one manager within five minutes pause the repair for ten; whatever
    /// the cause, writes that follow each other are spaced.
    pub fn is_held(
        &mut self,
        cause: Cause,
        Desired { body: desired, manager, .. }: Desired,
        stored: Option<&Stored>,
        now: &Now,
    ) -> bool {
        (self.repairing, self.cause) = (None, Some(cause));
        if let (Cause::Drift, Some(stored)) = (cause, stored) {
            if self.contested.is_some() && self.writes.holds(now) {
                return true;
            }
            let moved = self.moved(desired, stored, manager);
            self.repairs.retain(|(at, _)| now.at.since(*at) <= FIGHT_WINDOW);
            let same = self.repairs.iter().filter(|(_, m)| *m == moved).count();
            let goes_on =
                self.contested.as_deref() == Some(&moved) && self.repairs.iter().any(|(_, m)| *m == moved);
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
        let (trouble, what) = match (cause, self.repairing.as_deref()) {
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
        };
        let (so_far, pause) = (self.writes.so_far(now), span(self.writes.interval()));
        self.writes.say(
            trouble,
            format!("{what}; written {so_far} without coming to rest, now at most every {pause}"),
        );
        true
    }

    /// What somebody else changed of what we wrote.
    fn moved(&self, desired: &Value, stored: &Stored, manager: &str) -> Moved {
        if let Some(Taken { path, manager }) =
            taken(desired, &stored.object.0, stored.fields(manager), &stored.rivals)
        {
            return Moved { field: path, manager: Some(manager), removed: false };
        }
        let was = self.baseline.as_ref().map(|b| &b.projection).unwrap_or(&Value::Null);
        let is = stored.projection(manager).unwrap_or_default();
        let field = ownership::first_difference(was, &is);
        let removed = !has(&is, &field);
        Moved { field, manager: None, removed }
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

    /// What to say of an object that does not come to rest.
    pub fn unrest(&self, now: &Now) -> Option<&Unrest> {
        self.writes.unrest(now)
    }

    /// Somebody wants something else of the instance: what was written before counts no more.
    pub fn start_afresh(&mut self) {
        self.writes.start_afresh();
        self.repairs.clear();
        (self.repairing, self.contested, self.written) = (None, None, None);
    }

    /// What a later object of this name is to know.
    pub fn into_writes(self) -> WriteBudget {
        self.writes
    }

    /// An object of a name that was written before.
    pub fn of_name(writes: WriteBudget) -> Self {
        Self { writes, ..Self::default() }
    }

    /// When this object wants to be looked at again, if nothing happens before.
    pub fn wake_at(&self) -> Option<Moment> {
        let retry = self.failure.as_ref().and_then(|f| f.retry.at());
        // Written is only when neither stands in the way.
        let write = [retry, self.writes.held_until()].into_iter().flatten().max();
        write.into_iter().chain(self.writes.calm_at()).min().filter(|_| !self.busy)
    }

    /// The kind's schema changed: what failed because of it is tried again.
    pub fn schema_changed(&mut self) {
        if let Some(f) = &mut self.failure
            && matches!(f.trouble, Trouble::Incompatible | Trouble::FieldsDropped)
        {
            f.retry.at_once();
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
