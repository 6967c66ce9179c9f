//! How the contact to the cluster is, and what people should know of it.

use super::Actor;
use crate::spoke::health::Contact;
use crate::spoke::health::Transition;
use crate::spoke::messages::ContactState;
use crate::spoke::messages::Said;
use crate::spoke::notes::THROTTLED;
use std::sync::Arc;
use tokio::time::Instant;

impl Actor {
    pub(super) fn on_contact(&mut self, contact: Contact) {
        match &contact {
            Contact::Throttled => self.note("throttle", &THROTTLED.into()),
            Contact::Note(topic, text) => self.note(topic, text),
            // The hub side judges it; until then nothing is sent to it anyway.
            Contact::Stranger(found) => self.say(Said::Stranger(found.to_string())),
            _ => {}
        }
        let transition = match self.settings.health.lock() {
            Ok(mut health) => health.on(contact, Instant::now().into_std()),
            Err(poisoned) => poisoned.into_inner().on(contact, Instant::now().into_std()),
        };
        let Some(transition) = transition else { return };
        let state = match transition {
            Transition::Recovered => ContactState::Ready,
            Transition::Lost(why) => ContactState::Unreachable(why),
            Transition::Unauthorized(why) => ContactState::Unauthorized(why),
        };
        self.parked = state != ContactState::Ready;
        if !self.parked {
            for slot in self.slots.values_mut() {
                if let Some(machine) = &mut slot.machine {
                    machine.reconnected();
                }
            }
            self.enqueue_all();
            self.schemas_changed();
        }
        self.say(Said::Contact(state));
    }

    pub(super) fn note(&mut self, topic: &'static str, text: &Arc<str>) {
        let changed = self.notes.take(topic, text, Instant::now().into_std());
        changed.into_iter().for_each(|notes| self.say(Said::Notes(notes)));
    }
}
