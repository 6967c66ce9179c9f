//! What is still known of instances: nothing, once they are gone.

use super::Instances;

impl Instances {
    /// One word for each thing that is kept of an instance.
    pub fn remembered(&self) -> Vec<String> {
        let slots = self.kinds.values().flat_map(|kind| kind.slots.keys());
        let mut kept: Vec<String> = slots.map(|key| format!("slot of {key}")).collect();
        let seen = self.kinds.values().flat_map(|kind| kind.view.iter());
        kept.extend(seen.map(|(key, _)| format!("view of {}/{}", key.namespace, key.name)));
        kept.extend(self.agenda.next().map(|at| format!("due at {at:?}")));
        kept.extend((self.lanes.len() > 0).then(|| format!("{} in the lanes", self.lanes.len())));
        kept.extend(self.cleaning.keys().map(|(name, key)| format!("cleaning {key} on {name}")));
        kept.extend(self.unjudged.iter().map(|(name, left)| format!("unjudged: {} on {name}", left.key())));
        kept.extend(self.let_go.iter().map(|(name, left)| format!("let go: {} on {name}", left.key())));
        let found = self.undiscovered.values().flatten();
        kept.extend(found.map(|(key, _)| format!("found: {key}")));
        kept.extend(self.vanished.remembered());
        kept.extend(self.unknown.remembered());
        kept.extend(self.reported.remembered());
        kept.extend(self.holdings.remembered());
        kept
    }
}
