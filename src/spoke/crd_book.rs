//! What is known of the generated CRDs of one cluster, and when that knowledge is stale.

use super::crd::{Ensured, Mark};
use crate::api::maps::HashMap;
use crate::api::names::GroupKind;
use crate::reconcile::Moment;
use crate::reconcile::world::{CrdState, CrdWish};
use std::time::Duration;

/// A refused CRD is looked at again after this, whatever was seen meanwhile.
const RETRY: Duration = Duration::from_secs(60);
/// What is likely to pass by itself is looked at sooner.
const RETRY_SOON: Duration = Duration::from_secs(10);
/// Both are doubled with each refusal in a row, up to this.
const LONGEST: Duration = Duration::from_secs(300);

/// How a live CRD was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// By a list: it is so, also where it is older than what was known, as after a restore of etcd.
    Listed,
    /// By an event, which may be older than what was known.
    Changed,
    /// As it was when it went.
    Gone,
}

#[derive(Debug, Default)]
pub struct CrdBook {
    entries: HashMap<GroupKind, CrdEntry>,
    /// Hash of the content that the hub asked for last.
    wanted: HashMap<GroupKind, String>,
}

#[derive(Debug)]
struct CrdEntry {
    /// Of the CRD.
    name: String,
    state: CrdState,
    /// The live CRD that the state was told from.
    judged: Option<Mark>,
    /// Hash of its content and the highest revision that it serves, as they were told last.
    content: Option<(String, u64)>,
    /// How often in a row it was refused.
    refusals: u32,
    /// It is being brought there.
    busy: bool,
    /// What was seen while it was being brought there.
    meanwhile: Vec<(Mark, Shown)>,
}

impl CrdBook {
    pub fn state(&self, gk: &GroupKind) -> CrdState {
        self.entries.get(gk).map_or(CrdState::Unknown, |e| e.state.clone())
    }

    /// The hub asks for this content.
    pub fn want(&mut self, gk: &GroupKind, hash: String) {
        self.wanted.insert(gk.clone(), hash);
    }
    pub fn wanted(&self, gk: &GroupKind) -> Option<String> {
        self.wanted.get(gk).cloned()
    }

    /// The kind that a CRD of this name is for, where it was asked for.
    pub fn kind_of(&self, name: &str) -> Option<GroupKind> {
        self.entries.iter().find(|(_, e)| e.name == name).map(|(gk, _)| gk.clone())
    }

    /// It is to be brought there now; `false` if it is being brought already. A refusal of the same wish stays visible
    /// meanwhile.
    pub fn begin(&mut self, gk: &GroupKind, name: &str, wish: &CrdWish) -> bool {
        let entry = self.entries.entry(gk.clone()).or_insert_with(|| CrdEntry {
            name: name.to_owned(),
            state: CrdState::Unknown,
            judged: None,
            content: None,
            refusals: 0,
            busy: false,
            meanwhile: Vec::new(),
        });
        if entry.busy {
            return false;
        }
        name.clone_into(&mut entry.name);
        entry.busy = true;
        entry.meanwhile.clear();
        match &mut entry.state {
            CrdState::Refused { wish: refused, retry_at, .. } if refused == wish => *retry_at = None,
            state => {
                // Another wish, or another CRD there.
                entry.refusals = 0;
                *state = CrdState::Working;
            }
        }
        true
    }

    /// What came of it.
    pub fn ensured(&mut self, gk: &GroupKind, ensured: Ensured, now: Moment) {
        let Some(entry) = self.entries.get_mut(gk) else { return };
        entry.busy = false;
        entry.state = ensured.state;
        // What was told of the same CRD before still holds: one who is behind does not know its content, and who does may not
        // know its number.
        let same = entry.judged == ensured.judged;
        entry.judged = ensured.judged;
        if let CrdState::Ready { hash, serves } = &mut entry.state {
            if let Some((known, served)) = entry.content.take().filter(|_| same) {
                if hash.is_empty() {
                    *hash = known;
                    *serves = served.max(*serves);
                } else if *hash == known {
                    *serves = served.max(*serves);
                }
            }
            entry.content = Some((hash.clone(), *serves));
        }
        if let CrdState::Refused { retry_at, .. } = &mut entry.state {
            let first = if ensured.soon { RETRY_SOON } else { RETRY };
            *retry_at = Some(now.after((first * (1 << entry.refusals.min(8))).min(LONGEST)));
            entry.refusals = entry.refusals.saturating_add(1);
        }
        for (mark, shown) in std::mem::take(&mut entry.meanwhile) {
            entry.compare(&mark, shown);
        }
    }

    /// The watch saw the kind's CRD: as it is now, or as it was when it went.
    pub fn seen(&mut self, gk: &GroupKind, mark: &Mark, shown: Shown) {
        let Some(entry) = self.entries.get_mut(gk) else { return };
        if entry.busy {
            entry.meanwhile.push((mark.clone(), shown));
        } else {
            entry.compare(mark, shown);
        }
    }
}

impl CrdEntry {
    /// Forgets the state if the watch saw something newer than what it was told from. The echo of our own write is not. A list
    /// that was begun before our own write makes it look once more.
    fn compare(&mut self, seen: &Mark, shown: Shown) {
        let gone = shown == Shown::Gone;
        let another = |known: &Mark| match shown {
            Shown::Listed => seen.generation != known.generation,
            Shown::Changed | Shown::Gone => seen.generation > known.generation,
        };
        let newer = match &self.judged {
            None => !gone,
            Some(known) if known.uid != seen.uid => !gone,
            Some(known) => gone || another(known) || seen.hub_id != known.hub_id,
        };
        if newer && matches!(self.state, CrdState::Ready { .. } | CrdState::Refused { .. }) {
            self.state = CrdState::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn gk() -> GroupKind {
        GroupKind::new("kro.run", "App")
    }

    fn wish(hash: &str) -> CrdWish {
        CrdWish { hash: hash.into(), allow_breaking: false }
    }

    fn mark(uid: &str, generation: i64) -> Mark {
        Mark { uid: uid.into(), generation, hub_id: Some("hub".into()) }
    }

    fn ready() -> CrdState {
        CrdState::Ready { hash: "h".into(), serves: 0 }
    }

    fn refused(reason: &'static str, retry_at: Option<Moment>) -> CrdState {
        CrdState::Refused { reason, message: "m".into(), wish: wish("h"), retry_at }
    }

    fn book(state: CrdState, judged: Option<Mark>) -> CrdBook {
        let mut book = CrdBook::default();
        book.begin(&gk(), "apps.kro.run", &wish("h"));
        book.ensured(&gk(), Ensured { state, judged, soon: false }, at(1_000));
        book
    }

    #[test]
    fn a_refusal_is_looked_at_again_and_stays_visible_meanwhile() {
        let mut book = book(refused("Incompatible", None), Some(mark("u", 1)));
        assert_eq!(book.state(&gk()), refused("Incompatible", Some(at(61_000))));
        assert!(book.begin(&gk(), "apps.kro.run", &wish("h")));
        assert_eq!(book.state(&gk()), refused("Incompatible", None));
        assert!(!book.begin(&gk(), "apps.kro.run", &wish("h")), "it is being tried");

        // Ever less often, as long as it lasts.
        let mut pauses = Vec::new();
        for _ in 0..5 {
            book.ensured(
                &gk(),
                Ensured { state: refused("Incompatible", None), judged: Some(mark("u", 1)), soon: false },
                at(0),
            );
            let CrdState::Refused { retry_at: Some(at), .. } = book.state(&gk()) else { panic!() };
            pauses.push(at.as_millis());
            assert!(book.begin(&gk(), "apps.kro.run", &wish("h")));
        }
        assert_eq!(pauses, [120_000, 240_000, 300_000, 300_000, 300_000]);

        // Another wish is no longer refused.
        let mut other = super::tests::book(refused("Incompatible", None), Some(mark("u", 1)));
        assert!(other.begin(&gk(), "apps.kro.run", &wish("mended")));
        assert_eq!(other.state(&gk()), CrdState::Working);
    }

    #[test]
    fn the_state_holds_until_the_cluster_shows_something_newer() {
        let cases = [
            ("the echo of our own write", mark("u", 2), Shown::Changed, true),
            ("an older event", mark("u", 1), Shown::Changed, true),
            ("a list of what is there", mark("u", 2), Shown::Listed, true),
            ("a list after a restore", mark("u", 1), Shown::Listed, false),
            ("changed by somebody", mark("u", 3), Shown::Changed, false),
            ("another label", Mark { hub_id: None, ..mark("u", 2) }, Shown::Changed, false),
            ("deleted", mark("u", 2), Shown::Gone, false),
            ("recreated", mark("v", 1), Shown::Changed, false),
            ("an earlier one went", mark("t", 9), Shown::Gone, true),
        ];
        for (what, seen, shown, holds) in cases {
            for state in [ready(), refused("Conflict", Some(at(61_000)))] {
                let want = if holds { state.clone() } else { CrdState::Unknown };
                let mut idle = book(state.clone(), Some(mark("u", 2)));
                idle.seen(&gk(), &seen, shown);
                assert_eq!(idle.state(&gk()), want, "{what}");

                // The same when the event comes before the answer.
                let mut busy = book(CrdState::Unknown, None);
                busy.begin(&gk(), "apps.kro.run", &wish("h"));
                busy.seen(&gk(), &seen, shown);
                busy.ensured(&gk(), Ensured { state, judged: Some(mark("u", 2)), soon: false }, at(1_000));
                assert_eq!(busy.state(&gk()), want, "{what}, while busy");
            }
        }
    }

    #[test]
    fn what_was_told_of_the_same_crd_is_told_by_whoever_looks_next() {
        let told = |hash: &str, serves| CrdState::Ready { hash: hash.into(), serves };
        let mut book = CrdBook::default();
        // Whose definition is the newest, who is behind, and the first one again: neither has to look once more.
        for (said, generation, known) in [
            (told("h", 0), 2, told("h", 0)),
            (told("", 4), 2, told("h", 4)),
            (told("h", 0), 2, told("h", 4)),
            (told("i", 0), 3, told("i", 0)),
            (told("", 5), 4, told("", 5)),
        ] {
            book.begin(&gk(), "apps.kro.run", &wish("h"));
            book.ensured(
                &gk(),
                Ensured { state: said, judged: Some(mark("u", generation)), soon: false },
                at(1_000),
            );
            assert_eq!(book.state(&gk()), known, "{generation}");
        }
    }

    #[test]
    fn a_foreign_crd_is_known_by_its_name() {
        let book = book(refused("Conflict", None), Some(Mark { hub_id: None, ..mark("u", 2) }));
        assert_eq!(book.kind_of("apps.kro.run"), Some(gk()));
        assert_eq!(book.kind_of("apps.example.com"), None);
    }
}
