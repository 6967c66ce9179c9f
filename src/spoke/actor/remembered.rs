//! What an actor still knows of instances: nothing, once they are gone.

use super::Actor;

impl Actor {
    /// One word for each thing that is kept of an instance.
    pub fn remembered(&self) -> Vec<String> {
        let mut kept: Vec<String> = self.slots.keys().map(|key| format!("slot of {key}")).collect();
        kept.extend(self.queued.iter().map(|key| format!("queued: {key}")));
        kept.extend(self.agenda.next().map(|at| format!("due at {at:?}")));
        kept.extend(self.nested.remembered());
        self.read_store(|store| {
            kept.extend(store.objects.remembered());
            kept.extend(store.references.remembered());
        });
        if self.requests > 0 {
            kept.push(format!("{} requests under way", self.requests));
        }
        kept
    }
}
