//! How the contact to the cluster is, and what people should know of it.

use super::running::Running;
use crate::spoke::health::{Contact, Transition};
use crate::spoke::messages::{ContactState, Said};
use crate::spoke::notes::THROTTLED;
use std::sync::{Arc, PoisonError};
use tokio::time::Instant;

impl Running {
    pub(super) fn on_contact(&mut self, contact: Contact) {
        match &contact {
            Contact::Throttled => self.note("throttle", &THROTTLED.into()),
            Contact::Note(topic, text) => self.note(topic, text),
            // The hub side judges it; until then nothing is sent to it anyway.
            Contact::Stranger(found) => self.say(Said::Stranger(found.to_string())),
            _ => {}
        }
        let now = Instant::now().into_std();
        let transition = self.settings.health.lock().unwrap_or_else(PoisonError::into_inner).on(contact, now);
        let Some(transition) = transition else { return };
        let state = match transition {
            Transition::Recovered => ContactState::Ready,
            Transition::Lost(why) => ContactState::Unreachable(why),
            Transition::Unauthorized(why) => ContactState::Unauthorized(why),
        };
        self.now().contact(state == ContactState::Ready);
        self.say(Said::Contact(state));
    }

    pub(super) fn note(&mut self, topic: &'static str, text: &Arc<str>) {
        let changed = self.notes.take(topic, text, Instant::now().into_std());
        changed.into_iter().for_each(|notes| self.say(Said::Notes(notes)));
    }
}
