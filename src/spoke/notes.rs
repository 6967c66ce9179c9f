//! What people should know of a cluster that can be talked to: that it asks to slow down, what of it is too large.
//!
//! Nobody says when such a thing is over: what was not said again for a while is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of what causes a note, all tries come sooner than this.
const STANDS: Duration = Duration::from_secs(150);
/// So many different ones are shown.
const SHOWN: usize = 4;
/// So many are remembered.
const KEPT: usize = 32;

pub(super) const THROTTLED: &str = "it asks to slow down (429): requests wait for as long as it says";

#[derive(Debug, Default)]
pub(super) struct Notes {
    known: BTreeMap<(&'static str, Arc<str>), Instant>,
    said: String,
}

impl Notes {
    /// Takes in a note, and says what is to be shown from now on, if that changes.
    pub fn take(&mut self, topic: &'static str, text: &Arc<str>, now: Instant) -> Option<String> {
        let key = (topic, text.clone());
        if self.known.len() < KEPT || self.known.contains_key(&key) {
            self.known.insert(key, now);
        }
        self.changed(now)
    }

    /// Time went by.
    pub fn changed(&mut self, now: Instant) -> Option<String> {
        self.known.retain(|_, heard| now.duration_since(*heard) < STANDS);
        let texts: Vec<&str> = self.known.keys().take(SHOWN).map(|(_, text)| &**text).collect();
        let mut shown = texts.join("; ");
        if self.known.len() > SHOWN {
            shown.push_str("; and more");
        }
        (shown != self.said).then(|| {
            self.said.clone_from(&shown);
            shown
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_said_once_and_taken_back_when_it_is_not_said_again() {
        let (mut notes, start) = (Notes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let text: Arc<str> = "a".into();
        assert_eq!(notes.take("size", &text, at(0)).as_deref(), Some("a"));
        for seconds in 1..100 {
            assert_eq!(notes.take("size", &text, at(seconds)), None);
        }
        assert_eq!(notes.take("throttle", &"b".into(), at(120)).as_deref(), Some("a; b"));
        assert_eq!(notes.changed(at(260)).as_deref(), Some("b"));
        assert_eq!(notes.changed(at(300)).as_deref(), Some(""));
        assert_eq!(notes.changed(at(400)), None);
    }

    #[test]
    fn many_notes_are_bounded() {
        let (mut notes, now) = (Notes::default(), Instant::now());
        let shown = (0..1000).filter_map(|n| notes.take("size", &format!("{n:04}").into(), now)).last();
        assert_eq!(shown.as_deref(), Some("0000; 0001; 0002; 0003; and more"));
        assert_eq!(notes.known.len(), KEPT);
    }
}
