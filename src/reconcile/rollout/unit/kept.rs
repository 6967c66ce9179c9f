//! What a unit keeps of a cluster, in as little room as it takes: there is one for each cluster of each instance.

use super::judging::{Judged, State};
use super::{Condition, Contact, Pair, Place, Read, Version};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Seconds since 1970 in four bytes, none of them as well. What is later than 2106 is the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Second(NonZeroU32);

impl Second {
    fn of(seconds: u64) -> Self {
        let next = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN))
    }
    fn get(self) -> u64 {
        u64::from(self.0.get()) - 1
    }
}

/// What is said of few.
#[derive(Clone, Debug, PartialEq)]
struct Words {
    why: Option<Arc<str>>,
    refused: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    Ready,
    Connecting,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Runs {
    Nothing,
    Unmarked,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Active,
    Moving,
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    place: Arc<Place>,
    words: Option<Box<Words>>,
    number: u64,
    contact_since: Option<Second>,
    admitted: Second,
    active_since: Option<Second>,
    read_since: Option<Second>,
    until: Option<Second>,
    reach: Reach,
    runs: Runs,
    health: Health,
    unjudged: bool,
    same: bool,
    stale: bool,
    read_unjudged: bool,
    state: State,
    slot: bool,
    spoilt: bool,
    rank: Option<u8>,
    reads: Option<u8>,
}

impl Kept {
    pub fn of(pair: Pair, judged: &Judged) -> Self {
        let (reach, contact_since) = match pair.contact {
            Contact::Ready(at) => (Reach::Ready, Some(Second::of(at))),
            Contact::Connecting => (Reach::Connecting, None),
            Contact::Lost => (Reach::Lost, None),
        };
        let (runs, number) = match pair.version {
            Version::Nothing => (Runs::Nothing, 0),
            Version::Unmarked => (Runs::Unmarked, 0),
            Version::Number(number) => (Runs::Number, number),
        };
        let (health, active_since) = match pair.condition {
            Condition::Active(at) => (Health::Active, Some(Second::of(at))),
            Condition::Moving => (Health::Moving, None),
            Condition::Error => (Health::Error, None),
        };
        let says = pair.why.is_some() || pair.refused.is_some();
        Self {
            place: pair.place,
            words: says.then(|| Box::new(Words { why: pair.why, refused: pair.refused })),
            number,
            contact_since,
            admitted: Second::of(pair.admitted),
            active_since,
            read_since: pair.read.since.map(Second::of),
            until: judged.until.map(Second::of),
            reach,
            runs,
            health,
            unjudged: pair.unjudged,
            same: pair.same,
            stale: pair.read.stale,
            read_unjudged: pair.read.unjudged,
            state: judged.state,
            slot: judged.slot,
            spoilt: judged.spoilt,
            rank: judged.rank,
            reads: judged.reads,
        }
    }

    pub fn pair(&self) -> Pair {
        let seconds = |at: Option<Second>| at.map_or(0, Second::get);
        Pair {
            place: self.place.clone(),
            contact: match self.reach {
                Reach::Ready => Contact::Ready(seconds(self.contact_since)),
                Reach::Connecting => Contact::Connecting,
                Reach::Lost => Contact::Lost,
            },
            version: self.version(),
            admitted: self.admitted.get(),
            unjudged: self.unjudged,
            condition: match self.health {
                Health::Active => Condition::Active(seconds(self.active_since)),
                Health::Moving => Condition::Moving,
                Health::Error => Condition::Error,
            },
            why: self.words.as_ref().and_then(|words| words.why.clone()),
            same: self.same,
            refused: self.words.as_ref().and_then(|words| words.refused.clone()),
            read: Read {
                stale: self.stale,
                since: self.read_since.map(Second::get),
                unjudged: self.read_unjudged,
            },
        }
    }

    pub fn judged(&self) -> Judged {
        Judged {
            state: self.state,
            slot: self.slot,
            rank: self.rank,
            until: self.until.map(Second::get),
            reads: self.reads,
            spoilt: self.spoilt,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }
    pub fn has_slot(&self) -> bool {
        self.slot
    }
    pub fn is_spoilt(&self) -> bool {
        self.spoilt
    }
    pub fn is_same(&self) -> bool {
        self.same
    }
    pub fn version(&self) -> Version {
        match self.runs {
            Runs::Nothing => Version::Nothing,
            Runs::Unmarked => Version::Unmarked,
            Runs::Number => Version::Number(self.number),
        }
    }
    pub fn why(&self) -> Option<&str> {
        self.words.as_ref()?.why.as_deref()
    }
    pub fn refused(&self) -> Option<&str> {
        self.words.as_ref()?.refused.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::rollout::stages::Wave;
    use proptest::prelude::*;

    /// `Arc<Place>`, words and version take 24 of them.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Kept>() <= 64, "{}", size_of::<Kept>());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_known(
            (stage, contact, version, condition) in (0..3_usize, 0..3_u8, 0..3_u8, 0..3_u8),
            seconds in proptest::array::uniform5(0..u64::from(u32::MAX)),
            number in any::<u64>(),
            (unjudged, same, stale, read_unjudged, slot, spoilt) in any::<(bool, bool, bool, bool, bool, bool)>(),
            (why, refused, read, until) in any::<(bool, bool, bool, bool)>(),
            (rank, reads) in any::<(Option<u8>, Option<u8>)>(),
        ) {
            let words = |said: bool| said.then(|| Arc::from("words"));
            let pair = Pair {
                place: Arc::new(Place { stage, wave: Wave::Last }),
                contact: [Contact::Ready(seconds[0]), Contact::Connecting, Contact::Lost][usize::from(contact)],
                version: [Version::Nothing, Version::Unmarked, Version::Number(number)][usize::from(version)],
                admitted: seconds[1],
                unjudged,
                condition: [Condition::Active(seconds[2]), Condition::Moving, Condition::Error]
                    [usize::from(condition)].clone(),
                why: words(why),
                same,
                refused: words(refused),
                read: Read { stale, since: read.then_some(seconds[3]), unjudged: read_unjudged },
            };
            let until = until.then_some(seconds[4]);
            let judged = Judged { state: State::Held, slot, rank, until, reads, spoilt };
            let kept = Kept::of(pair.clone(), &judged);
            prop_assert_eq!(kept.pair(), pair);
            prop_assert_eq!(kept.judged(), judged);
        }
    }
}
