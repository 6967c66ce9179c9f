//! What the rollouts of a Placement's instances come to together.

use crate::api::condition::ConditionStatus;
use crate::api::placement::{KindProgress, PlacementStatus, RolloutCounts};
use crate::reconcile::rollout::unit::{News, Told, WrittenState};
use crate::reconcile::rollout::{Progress, Reason};
use std::collections::BTreeSet;

/// So many that wait or are halted are named.
const NAMED: usize = 20;

/// From the best to the worst.
const ORDER: [Reason; 7] = [
    Reason::Complete,
    Reason::InProgress,
    Reason::Paused,
    Reason::AwaitingApproval,
    Reason::StageUnproven,
    Reason::Halted,
    Reason::PinRefused,
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollouts {
    /// How many are how, in the order from the best to the worst.
    counts: [usize; ORDER.len()],
    /// The first of the worst: its place in the order, its name, what it says.
    worst: Option<(usize, String, String)>,
    problems: Vec<String>,
    /// How many pairs wait for their turn, and the versions that they wait at.
    held: usize,
    held_at: BTreeSet<Option<u64>>,
    /// The rollout of the whole kind, with the revision that it goes to.
    kind: Option<(Progress, u64)>,
    is_known: bool,
}

impl Rollouts {
    /// One more instance, by its short name.
    pub fn add(&mut self, instance: &str, progress: &Progress) {
        let held = progress.held();
        // Those may be the same.
        let all = held.max(progress.stale);
        if all > 0 {
            self.held += all;
            self.held_at.insert(progress.stable.filter(|_| held == all));
        }
        self.say(instance, progress.reason, &progress.message);
    }

    /// That of the whole kind, which all are to run by this revision. `is_known`: it is, of all of them, what they run now.
    pub fn add_kind(&mut self, kind: &str, progress: &Progress, revision: u64, is_known: bool) {
        self.add(kind, progress);
        self.kind = Some((progress.clone(), revision));
        self.is_known = is_known;
    }

    /// What is to be told of the rollout of the whole kind by an Event on its ClusterPlacement, whose status says this.
    pub fn news(&self, told: &mut Told, written: &PlacementStatus) -> Option<News> {
        let (progress, _) = self.kind.as_ref().filter(|_| self.is_known)?;
        let written = written.rollout.as_ref().and_then(|counts| counts.kind.as_ref()).and_then(|kind| {
            let version = u64::try_from(kind.version).ok()?;
            Some(WrittenState { version, state: &kind.state, stage: kind.stage.as_deref() })
        });
        told.news(progress, written, true)
    }

    /// One whose pinned revision cannot be run.
    pub fn refuse(&mut self, instance: &str, why: String) {
        self.say(instance, Reason::PinRefused, &why);
    }

    fn say(&mut self, instance: &str, reason: Reason, message: &str) {
        let place = ORDER.iter().position(|known| *known == reason).unwrap_or_default();
        self.counts[place] += 1;
        let is_problem = !matches!(reason, Reason::Complete | Reason::InProgress);
        if is_problem && self.problems.len() < NAMED {
            self.problems.push(format!("{instance}: {message}"));
        }
        if self.worst.as_ref().is_none_or(|(worst, ..)| *worst < place) {
            self.worst = Some((place, instance.to_owned(), message.to_owned()));
        }
    }

    /// What a deletion of the Placement waits for; `None` where it holds nothing back.
    pub fn holds(&self) -> Option<String> {
        let (held, are) = match self.held {
            0 => return None,
            1 => ("1 pair".to_owned(), "is"),
            held => (format!("{held} pairs"), "are"),
        };
        let at = match self.held_at.first() {
            Some(Some(version)) if self.held_at.len() == 1 => format!("held at version {version}"),
            _ => "held back".to_owned(),
        };
        Some(format!(
            "deletion waits: {held} {are} {at}; remove spec.rollout to let them move now; to keep it, apply it again once it is gone"
        ))
    }

    fn of(&self, reasons: &[Reason]) -> usize {
        let with = ORDER.iter().zip(self.counts).filter(|(reason, _)| reasons.contains(reason));
        with.map(|(_, count)| count).sum()
    }

    fn waiting(&self) -> usize {
        self.of(&[Reason::Paused, Reason::AwaitingApproval, Reason::StageUnproven])
    }

    /// The worst first, e.g. `1 halted, 2 complete`.
    fn summary(&self) -> String {
        let parts = [
            (self.of(&[Reason::Halted, Reason::PinRefused]), "halted"),
            (self.waiting(), "waiting"),
            (self.of(&[Reason::InProgress]), "moving"),
            (self.of(&[Reason::Complete]), "complete"),
        ];
        let said =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        said.collect::<Vec<_>>().join(", ")
    }

    /// Status, reason and message of the condition `RolledOut`; `None` where nothing rolls.
    pub fn condition(&self) -> Option<(ConditionStatus, String, String)> {
        let (place, instance, message) = self.worst.as_ref()?;
        let reason = ORDER.get(*place)?;
        let status = match reason {
            Reason::Complete => ConditionStatus::True,
            Reason::Halted | Reason::PinRefused => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        let message = match reason {
            Reason::Complete => self.summary(),
            _ => format!("{}; {instance}: {message}", self.summary()),
        };
        Some((status, reason.as_str().to_owned(), message))
    }

    /// What the status says beside it.
    pub fn counts(&self) -> Option<RolloutCounts> {
        self.worst.as_ref()?;
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let kind = self.kind.as_ref().map(|(progress, revision)| KindProgress {
            version: number(progress.version),
            stable: progress.stable.map(number),
            revision: number(*revision),
            stage: progress.stage.as_deref().map(str::to_owned),
            state: progress.reason.state().to_owned(),
        });
        Some(RolloutCounts {
            summary: self.summary(),
            moving: count(self.of(&[Reason::InProgress])),
            waiting: count(self.waiting()),
            halted: count(self.of(&[Reason::Halted, Reason::PinRefused])),
            problems: self.problems.clone(),
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(reason: Reason, message: &str) -> Progress {
        Progress {
            version: 2,
            stable: Some(1),
            stage: None,
            reason,
            message: message.to_owned(),
            updated: 0,
            total: 1,
            in_flight: 0,
            failing: 0,
            failed: 0,
            deferred: 0,
            stale: 0,
        }
    }

    #[test]
    fn a_deletion_waits_for_what_is_held_and_for_nothing_else() {
        let mut all = Rollouts::default();
        let at = |total, updated, in_flight, deferred, stable| Progress {
            total,
            updated,
            in_flight,
            deferred,
            stable,
            ..progress(Reason::InProgress, "")
        };
        all.add("shop/a", &at(9, 4, 3, 2, Some(1)));
        assert_eq!(all.holds(), None);
        all.add("shop/b", &at(9, 8, 0, 0, Some(7)));
        let ends = "; remove spec.rollout to let them move now; to keep it, apply it again once it is gone";
        assert_eq!(all.holds().unwrap(), format!("deletion waits: 1 pair is held at version 7{ends}"));
        all.add("shop/c", &at(9, 7, 0, 0, None));
        assert_eq!(all.holds().unwrap(), format!("deletion waits: 3 pairs are held back{ends}"));
        // What waits to be read anew of a cluster is held back as well.
        all.add("shop/d", &Progress { stale: 2, ..at(9, 9, 0, 0, Some(3)) });
        assert_eq!(all.holds().unwrap(), format!("deletion waits: 5 pairs are held back{ends}"));
    }

    #[test]
    fn the_worst_is_told_with_how_many_are_how() {
        let mut all = Rollouts::default();
        assert_eq!((all.condition(), all.counts()), (None, None));
        all.add("shop/a", &progress(Reason::Complete, ""));
        let (status, reason, message) = all.condition().unwrap();
        assert_eq!(
            (status, reason.as_str(), message.as_str()),
            (ConditionStatus::True, "Complete", "1 complete")
        );
        all.add("shop/b", &progress(Reason::AwaitingApproval, "waits"));
        all.add("shop/c", &progress(Reason::Halted, "failed"));
        all.add("shop/d", &progress(Reason::InProgress, "goes on"));
        let (status, reason, message) = all.condition().unwrap();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "RolloutHalted"));
        assert_eq!(message, "1 halted, 1 waiting, 1 moving, 1 complete; shop/c: failed");
        let counts = all.counts().unwrap();
        assert_eq!((counts.moving, counts.waiting, counts.halted), (1, 1, 1));
        assert_eq!(counts.problems, ["shop/b: waits", "shop/c: failed"]);
        assert_eq!(counts.kind, None);
    }

    #[test]
    fn the_rollout_of_a_kind_is_shown_and_told_once() {
        let of = |reason, version| {
            let mut all = Rollouts::default();
            let progress = Progress { version, stage: Some("prod".into()), ..progress(reason, "waits") };
            all.add_kind("App", &progress, 5, true);
            all
        };
        let waits = of(Reason::AwaitingApproval, 2);
        let shown = waits.counts().unwrap().kind.unwrap();
        assert_eq!((shown.version, shown.stable, shown.revision), (2, Some(1), 5));
        assert_eq!((shown.stage.as_deref(), shown.state.as_str()), (Some("prod"), "AwaitingApproval"));
        let reason = |news: Option<News>| news.map(|news| (news.warning, news.reason));
        let mut told = Told::default();
        let nothing = PlacementStatus::default();
        let asks = Some((false, "RolloutAwaitingApproval"));
        assert_eq!(reason(waits.news(&mut told, &nothing)), asks);
        assert_eq!(reason(waits.news(&mut told, &nothing)), None);
        assert_eq!(reason(of(Reason::Halted, 2).news(&mut told, &nothing)), Some((true, "RolloutHalted")));
        assert_eq!(reason(of(Reason::Complete, 2).news(&mut told, &nothing)), Some((false, "Complete")));
        // What stands in the status was told before a restart.
        let written = PlacementStatus { rollout: waits.counts(), ..PlacementStatus::default() };
        assert_eq!(reason(waits.news(&mut Told::default(), &written)), None);
        assert_eq!(reason(of(Reason::AwaitingApproval, 3).news(&mut Told::default(), &written)), asks);
    }
}
