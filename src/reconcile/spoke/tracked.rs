//! What is remembered of one object between steps: what we applied, what failed.

use super::moving::{Moving, Seen};
use super::write_budget::{Unrest, WriteBudget};
use crate::api::hash;
use crate::reconcile::Moment;
use crate::reconcile::settled::Rules;
use crate::reconcile::world::Stored;
use crate::reconcile::{Now, Retry, ownership};
use crate::schema::served::as_served;
use serde_json::Value;
use std::sync::Arc;
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
    /// The cluster's rules keep resources out of the namespace.
    OutOfBounds,
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
            Self::OutOfBounds => "NamespaceNotAllowed",
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
    /// Nothing was tried: another instance had the object when it was looked at.
    another_has_it: bool,
}

/// What the cluster had after our last write, or what we found settled after a restart.
#[derive(Clone, Debug)]
struct Baseline {
    desired: u64,
    fields: u64,
    values: u64,
    /// As it was then.
    stored: Arc<Stored>,
    /// Some of what we want is not owned: the schema's default says the same.
    leans_on_defaults: bool,
    answer: Answer,
}

/// What the API server made of what was applied.
#[derive(Clone, Debug)]
enum Answer {
    /// Nobody compared yet.
    New,
    AsApplied,
    /// It changed this field by itself; whether it still does is tried at that time.
    Rewritten(Box<(String, Moment)>),
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
    pub failure: Option<Box<Failure>>,
    /// A write was started, whatever became of it.
    attempted: bool,
    /// What an object that is at rest has nothing of.
    moving: Option<Box<Moving>>,
}

/// An object that another instance had, and has no more, is left alone for so long: that one may only repair it. kro looks
/// again after as long.
const GIVEN_UP_PAUSE: Duration = Duration::from_secs(3);
/// An API server gives a request up after a minute at the latest.
const LATE_WRITE: Duration = Duration::from_secs(60);
/// A field that only another schema brings back is written again after this, for a change of the schema that nobody saw.
const DROPPED_PAUSE: Duration = Duration::from_secs(600);
/// The same for a field that the API server changed by itself: nobody tells when it does so no more.
const REWRITTEN_PAUSE: Duration = Duration::from_secs(600);

impl Answer {
    fn of(desired: &Value, stored: &Stored, fields: &Value, rules: Rules, now: &Now) -> Self {
        match rules.rewritten(desired, &stored.object.unpack().0, fields) {
            Some(field) => Self::Rewritten(Box::new((field, now.at.after(REWRITTEN_PAUSE)))),
            None => Self::AsApplied,
        }
    }
}

impl Tracked {
    /// Judges a live object against what we want. Notes a settled object as the new baseline.
    pub fn judge(
        &mut self,
        Desired { body: desired, manager, rules }: Desired,
        stored: Option<&Arc<Stored>>,
        now: &Now,
    ) -> Verdict {
        let Some(stored) = stored else {
            return Verdict::Write(if self.baseline.is_some() { Cause::Gone } else { Cause::First });
        };
        let want = hash::json(desired);
        let Some(fields) = stored.fields(manager) else {
            return Verdict::Write(if self.baseline.is_some() { Cause::Drift } else { Cause::Changed });
        };
        let cause = match &mut self.baseline {
            Some(base) if base.desired == want => {
                let before = &base.stored.object;
                let same_object = before.uid() == stored.object.uid();
                let same_version = before.resource_version() == stored.object.resource_version();
                let same_owned = || {
                    !base.leans_on_defaults
                        && stored
                            .fingerprint(manager)
                            .is_some_and(|(f, v)| f == base.fields && v == base.values)
                };
                if same_object && (same_version || same_owned()) {
                    // What both show alike is kept once.
                    base.stored = stored.clone();
                    if matches!(base.answer, Answer::New) {
                        base.answer = Answer::of(desired, stored, &fields.unpack(), rules, now);
                    }
                    if self.rewritten_until().is_some_and(|until| until <= now.at) {
                        return Verdict::Write(Cause::Changed);
                    }
                    return self.calm(want, now);
                }
                if !base.leans_on_defaults || !same_object {
                    return Verdict::Write(Cause::Drift);
                }
                Cause::Drift
            }
            // A default that came with a new schema is wanted and is there: no object is written for its sake.
            Some(base) if rules.as_served && base.stored.object.uid() == stored.object.uid() => {
                Cause::Changed
            }
            Some(_) => return Verdict::Write(Cause::Changed),
            None => Cause::Changed,
        };
        let (there, fields) = (stored.object.unpack(), fields.unpack());
        let live = match rules.schema.filter(|_| rules.as_served) {
            Some(schema) => as_served(&there.0, schema),
            None => std::borrow::Cow::Borrowed(&there.0),
        };
        let desired = ownership::owned_part(desired);
        if !rules.settled(&desired, &ownership::owned_part(&live), &fields) {
            return Verdict::Write(cause);
        }
        self.settle(want, stored, manager, Answer::AsApplied);
        if let Some(base) = &mut self.baseline {
            base.leans_on_defaults =
                rules.as_served && !Rules { as_served: false, ..rules }.settled(&desired, &live, &fields);
        }
        self.calm(want, now)
    }

    /// The object is as we want it: a failure of other content is over, and so is a fight. A dropped field stays dropped
    /// until it is time to try again.
    fn calm(&mut self, want: u64, now: &Now) -> Verdict {
        if let Some(moving) = &mut self.moving {
            moving.calm(now);
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
    pub fn applied(&mut self, desired: &Value, stored: &Arc<Stored>, manager: &str, now: &Now) {
        let is_same = self.uid() == Some(stored.object.uid());
        self.moving.get_or_insert_default().applied(desired, is_same, now);
        self.settle(hash::json(desired), stored, manager, Answer::New);
        self.failure = None;
        if let Some(path) = ownership::dropped_leaf(desired, &stored.object.unpack().0) {
            self.fail(Trouble::FieldsDropped, format!("the cluster dropped the field {path}"), desired, now);
            // Only a changed schema helps; that wakes us. The timer is for a schema change that nobody saw.
            if let Some(failure) = &mut self.failure {
                failure.retry.wait_until(now.at.after(DROPPED_PAUSE));
            }
        }
    }

    fn settle(&mut self, desired: u64, stored: &Arc<Stored>, manager: &str, answer: Answer) {
        let (fields, values) = stored.fingerprint(manager).unwrap_or_default();
        let stored = stored.clone();
        self.baseline = Some(Baseline { desired, fields, values, stored, leans_on_defaults: false, answer });
    }

    /// The field that the API server changes by itself whenever we apply it.
    pub fn rewritten(&self) -> Option<&str> {
        match &self.baseline.as_ref()?.answer {
            Answer::Rewritten(told) => Some(&told.0),
            _ => None,
        }
    }

    fn rewritten_until(&self) -> Option<Moment> {
        match &self.baseline.as_ref()?.answer {
            Answer::Rewritten(told) => Some(told.1),
            _ => None,
        }
    }

    pub fn fail(&mut self, trouble: Trouble, message: String, desired: &Value, now: &Now) {
        let (desired, before) = (hash::json(desired), self.failure.take());
        if let Some(moving) = &mut self.moving {
            moving.failed();
        }
        let is_new = |f: &Failure| !f.another_has_it && f.desired != desired;
        if trouble != Trouble::Contact && before.as_deref().is_some_and(is_new) {
            // Its pause does not hold what is new, so that counts as one write more.
            self.moving.get_or_insert_default().writes.wrote(now);
        }
        let mut retry = before.as_ref().map(|f| f.retry).unwrap_or_default();
        retry.failed(now);
        let says_nothing = matches!(trouble, Trouble::Contact | Trouble::Error);
        let dropped =
            before.filter(|f| says_nothing && f.trouble == Trouble::FieldsDropped && f.desired == desired);
        self.failure = Some(Box::new(match dropped {
            // An attempt that failed does not say that the field is there now.
            Some(failure) => Failure { retry, ..*failure },
            None => Failure { trouble, message, retry, desired, another_has_it: false },
        }));
    }

    /// Another instance has the object: nothing is tried before that changes.
    pub fn another_has_it(&mut self, message: String) {
        let (trouble, retry) = (Trouble::Conflict, Retry::default());
        self.failure = Some(Box::new(Failure { trouble, message, retry, desired: 0, another_has_it: true }));
    }

    /// Another instance had the object when it was looked at last, and has it no more: what is to be said as long as that
    /// one may take it back.
    pub fn may_be_taken_back(&mut self, now: &Now) -> Option<&Failure> {
        let failure = self.failure.as_deref_mut().filter(|failure| failure.another_has_it)?;
        if !failure.retry.has_failed() {
            failure.retry.wait_until(now.at.after(GIVEN_UP_PAUSE));
        }
        Some(&*failure).filter(|failure| !failure.retry.is_due(now))
    }

    /// Whether nothing is remembered but that another instance has it.
    pub fn is_anothers(&self) -> bool {
        !self.was_ours() && self.failure.as_ref().is_some_and(|failure| failure.another_has_it)
    }

    /// Whether a write may be tried now; a failure waits for its retry time unless we want something new.
    pub fn may_try(&self, desired: &Value, now: &Now) -> bool {
        !self.busy
            && self.failure.as_ref().is_none_or(|f| f.retry.is_due(now) || f.desired != hash::json(desired))
    }

    /// The uid of the object that is ours by this name.
    pub fn uid(&self) -> Option<&str> {
        let written = self.baseline.as_ref().map(|b| b.stored.object.uid());
        written.or(self.asked_uid()).filter(|u| !u.is_empty())
    }

    /// Whether the object of this uid is as we wrote it last, or was found settled; not only one that was asked to go.
    pub fn wrote(&self, uid: &str) -> bool {
        self.baseline.as_ref().is_some_and(|b| b.stored.object.uid() == uid)
    }

    /// Whether an object of ours had this name.
    pub fn was_ours(&self) -> bool {
        self.baseline.is_some() || self.asked_uid().is_some() || self.attempted
    }

    fn asked_uid(&self) -> Option<&str> {
        self.moving.as_ref()?.asked_uid.as_deref()
    }

    pub fn start_write(&mut self) {
        self.attempted = true;
        self.busy = true;
    }

    /// A write got no answer in time.
    pub fn unanswered(&mut self, now: &Now) {
        self.moving.get_or_insert_default().unanswered_at = Some(now.at);
    }

    /// Until when a write of ours may still be executed, if it may.
    pub fn uncertain_until(&self, now: &Now) -> Option<Moment> {
        let at = self.moving.as_ref()?.unanswered_at?;
        Some(at.after(LATE_WRITE)).filter(|until| now.at < *until)
    }

    /// Whether the object may be there later although nobody shows it now.
    pub fn may_come(&self, now: &Now) -> bool {
        self.busy || self.uncertain_until(now).is_some()
    }

    pub fn ask_to_delete(&mut self, uid: &str) {
        self.moving.get_or_insert_default().asked_uid = Some(uid.to_owned());
        self.busy = true;
    }

    /// Our labels were taken off it: it is another's, or nobody's.
    pub fn let_go(&mut self) {
        self.baseline = None;
        if let Some(moving) = &mut self.moving {
            moving.asked_uid = None;
        }
    }

    /// Whether a write has to wait, since the object does not come to rest. [`Self::unrest`] says why.
    pub fn is_held(&mut self, cause: Cause, desired: Desired, stored: Option<&Stored>, now: &Now) -> bool {
        let before = self.baseline.as_ref().map(|base| &*base.stored);
        self.moving.get_or_insert_default().is_held(cause, desired, Seen { before, now: stored }, now)
    }

    /// What to say of an object that does not come to rest.
    pub fn unrest(&self, now: &Now) -> Option<&Unrest> {
        self.moving.as_ref()?.writes.unrest(now)
    }

    /// Somebody wants something else of the instance: what was written before counts no more.
    pub fn start_afresh(&mut self) {
        if let Some(moving) = &mut self.moving {
            moving.start_afresh();
        }
    }

    /// What a later object of this name is to know.
    pub fn into_writes(self) -> WriteBudget {
        self.moving.map(|moving| moving.writes).unwrap_or_default()
    }

    /// An object of a name that was written before.
    pub fn of_name(writes: WriteBudget) -> Self {
        Self { moving: Some(Box::new(Moving::of(writes))), ..Self::default() }
    }

    /// Forgets what an object has nothing of that was at rest for a while; says whether there is nothing more to forget.
    pub fn rest(&mut self, now: &Now) -> bool {
        if !self.busy && self.moving.as_mut().is_some_and(|moving| moving.is_blank(now)) {
            self.moving = None;
        }
        self.moving.is_none()
    }

    /// When this object wants to be looked at again, if nothing happens before.
    pub fn wake_at(&self) -> Option<Moment> {
        let retry = self.failure.as_ref().and_then(|f| f.retry.at());
        // Written is only when neither stands in the way.
        let writes = self.moving.as_ref().map(|moving| &moving.writes);
        let write = [retry, writes.and_then(WriteBudget::held_until)].into_iter().flatten().max();
        let calm = writes.and_then(WriteBudget::calm_at);
        write.into_iter().chain(calm).chain(self.rewritten_until()).min().filter(|_| !self.busy)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANAGER: &str = crate::api::keys::kro::MANAGER_APPLYSET;

    fn stored(version: u64, value: &str) -> Arc<Stored> {
        Arc::new(Stored::new(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"x": value},
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": version.to_string(),
                "managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:data": {"f:x": {}}}}]},
        })))
    }

    #[test]
    fn what_the_cluster_itself_changes_is_known_and_written_again_now_and_then() {
        let schema = json!({"properties": {"data": {"additionalProperties": {"type": "string"}}}});
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "ours"}});
        let desired = Desired {
            body: &body,
            manager: MANAGER,
            rules: Rules { schema: Some(&schema), as_served: false },
        };
        let (mut tracked, mut now) =
            (Tracked::default(), Now { at: Moment::from_millis(1_000), ..Now::default() });
        for version in 1..4 {
            let answer = stored(version, "theirs");
            tracked.applied(&body, &answer, MANAGER, &now);
            for _ in 0..2 {
                assert_eq!(tracked.judge(desired, Some(&answer), &now), Verdict::Settled, "nobody fights it");
                assert_eq!(tracked.rewritten(), Some("data.x"));
            }
            let again = tracked.wake_at().unwrap();
            assert_eq!(again.since(now.at), REWRITTEN_PAUSE);
            now.at = again;
            assert_eq!(tracked.judge(desired, Some(&answer), &now), Verdict::Write(Cause::Changed));
        }
        let answer = stored(4, "ours");
        tracked.applied(&body, &answer, MANAGER, &now);
        assert_eq!(tracked.judge(desired, Some(&answer), &now), Verdict::Settled);
        assert_eq!((tracked.rewritten(), tracked.wake_at()), (None, None), "it is changed no more");
    }
}
