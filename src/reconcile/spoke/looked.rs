//! What a look at a name, or a request that was to end an object, says of what is remembered of it.

use super::{Goal, Machine};
use crate::api::PackedObject;
use crate::api::keys::{hub, kro};
use crate::api::names::ObjectRef;
use crate::reconcile::Now;
use crate::reconcile::world::Stored;
use std::sync::Arc;
use std::time::Duration;

/// An object that waits for its finalizers is looked at again after this long, if no event comes before.
pub(super) const LEAVING: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn note_gone(&mut self, object: ObjectRef) {
        if let Some(t) = self.objects.get_mut(&object) {
            t.busy = false;
        }
        self.delete_failures.remove(&object);
        self.leaving.remove(&object);
        self.mirror_doubted &= object != self.task.key.object();
        self.gone.insert(object);
    }

    /// It lives on and is nobody's: what has its uid is not ours any more.
    pub(super) fn note_released(&mut self, object: ObjectRef) {
        if let Some(t) = self.objects.get_mut(&object) {
            t.let_go();
        }
        self.note_gone(object);
    }

    /// A read without selector found something of this name.
    pub(super) fn still_there(&mut self, object: ObjectRef, found: Arc<Stored>, now: &Now) {
        let ours = self.is_ours(&object, &found.object);
        self.delete_failures.remove(&object);
        self.mirror_doubted &= object != self.task.key.object();
        let unseen = self.is_unseen_mirror(&object);
        let Some(tracked) = self.objects.get_mut(&object) else { return };
        tracked.busy = false;
        if unseen {
            // Whose it is and what it has on record is not said here, but by the list that left it out.
            self.strays.insert(object, found);
        } else if tracked.uid() != Some(found.object.uid()) && !ours {
            // Another object has the name: ours is gone.
            self.gone.insert(object);
        } else if found.object.is_deleting() {
            self.leaving.insert(object, now.at.after(LEAVING));
        } else {
            self.strays.insert(object, found);
        }
    }

    /// Whether this is the mirror of a removal that never saw one.
    pub(super) fn is_unseen_mirror(&self, object: &ObjectRef) -> bool {
        self.task.is_mirrored()
            && matches!(self.task.goal, Goal::Remove { .. })
            && *object == self.task.key.object()
            && self.objects.get(object).is_none_or(|tracked| !tracked.was_ours())
    }

    /// Whether labels say that an object belongs to this instance.
    fn is_ours(&self, target: &ObjectRef, found: &PackedObject) -> bool {
        let is = |key: &str, value: &str| found.label(key) == Some(value);
        let of_this_hub = self.task.is_local() || is(hub::HUB_ID, self.task.hub_id.as_str());
        let child = is(kro::APPLYSET_PART_OF, &self.task.applyset());
        // Labels of a mirror may stand on a copy.
        let mirror = *target == self.task.key.object() && is(hub::INSTANCE_UID, &self.task.hub_uid);
        of_this_hub && (child || mirror)
    }
}
