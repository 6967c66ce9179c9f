//! What of a unit is worth an Event: that somebody has to do something, and that it is over.

use super::saying::{Progress, Reason};
use std::sync::Arc;

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}

/// What the status says that was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenState<'a> {
    pub version: u64,
    /// In one word.
    pub state: &'a str,
    pub stage: Option<&'a str>,
}

/// What was told of the version that is under way.
#[derive(Clone, Debug, Default)]
pub struct Told {
    version: u64,
    said: Vec<Said>,
    /// It was under way at some time.
    moved: bool,
}

#[derive(Clone, Debug)]
struct Said {
    reason: Reason,
    stage: Option<Arc<str>>,
    /// It was so in this life.
    seen: bool,
}

/// Reasons that are worth an Event.
const WORTH: [Reason; 5] =
    [Reason::Halted, Reason::AwaitingApproval, Reason::StageUnproven, Reason::PinRefused, Reason::Complete];

impl Told {
    /// What is to be told now, once for each version and stage. What an earlier life wrote, it told. `whole`: of the rollout
    /// of a whole kind, there are few: its end is told as well.
    pub fn news(&mut self, progress: &Progress, written: Option<WrittenState>, whole: bool) -> Option<News> {
        let Progress { version, reason, .. } = progress;
        if self.version != *version {
            *self = Self::of_version(*version, written);
        }
        self.moved |= *reason != Reason::Complete;
        // Who failed, did well and fails again stops all again.
        self.said.retain(|said| !(is_trouble(said.reason) && said.seen) || said.reason == *reason);
        let is_worth = match reason {
            Reason::Halted | Reason::AwaitingApproval | Reason::StageUnproven => true,
            Reason::PinRefused => whole,
            Reason::Complete => whole && self.moved,
            Reason::InProgress | Reason::Paused => false,
        };
        if !is_worth {
            return None;
        }
        let stage = stage_of(*reason, progress.stage.as_ref());
        if let Some(said) = self.said.iter_mut().find(|said| said.reason == *reason && said.stage == stage) {
            said.seen = true;
            return None;
        }
        self.said.push(Said { reason: *reason, stage, seen: true });
        Some(News {
            warning: is_trouble(*reason),
            reason: reason.as_str(),
            message: progress.message.clone(),
        })
    }

    fn of_version(version: u64, written: Option<WrittenState>) -> Self {
        let written = written.filter(|written| written.version == version);
        let Some(written) = written else { return Self { version, ..Self::default() } };
        let reason = WORTH.into_iter().find(|reason| reason.state() == written.state);
        let said = reason.map(|reason| {
            let stage = written.stage.map(Arc::from);
            Said { reason, stage: stage_of(reason, stage.as_ref()), seen: false }
        });
        Self { version, said: said.into_iter().collect(), moved: written.state != Reason::Complete.state() }
    }
}

/// Which stage is the first that is not through may change while all stand.
fn stage_of(reason: Reason, stage: Option<&Arc<str>>) -> Option<Arc<str>> {
    stage.filter(|_| !is_trouble(reason)).cloned()
}

fn is_trouble(reason: Reason) -> bool {
    matches!(reason, Reason::Halted | Reason::PinRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: u64, reason: Reason, stage: Option<&str>) -> Progress {
        Progress {
            version,
            stable: Some(1),
            stage: stage.map(Into::into),
            reason,
            message: String::new(),
            updated: 0,
            total: 1,
            in_flight: 0,
            failing: 0,
            failed: 0,
            deferred: 0,
            stale: 0,
        }
    }

    /// What is told of these in a row: by a unit of which nothing was written.
    fn told(whole: bool, all: &[Progress]) -> Vec<&'static str> {
        let mut told = Told::default();
        all.iter().filter_map(|progress| told.news(progress, None, whole)).map(|news| news.reason).collect()
    }

    #[test]
    fn who_has_to_act_is_told_once_for_each_version_and_stage() {
        use Reason::{AwaitingApproval, Complete, Halted, InProgress, Paused, PinRefused};
        let (prod, rest) = (Some("prod"), Some("rest"));
        let waits = [
            at(2, InProgress, Some("canary")),
            at(2, AwaitingApproval, prod),
            // A cluster flaps.
            at(2, InProgress, Some("canary")),
            at(2, AwaitingApproval, prod),
            at(2, Paused, prod),
            at(2, AwaitingApproval, rest),
            at(2, Complete, None),
            at(3, AwaitingApproval, prod),
        ];
        let once = ["RolloutAwaitingApproval", "RolloutAwaitingApproval"];
        assert_eq!(told(false, &waits), [&once[..], &["RolloutAwaitingApproval"]].concat());
        assert_eq!(told(true, &waits), [&once[..], &["Complete", "RolloutAwaitingApproval"]].concat());
        let halts = [
            at(2, Halted, prod),
            at(2, Halted, rest),
            at(2, InProgress, prod),
            at(2, Halted, prod),
            at(2, PinRefused, prod),
        ];
        assert_eq!(told(false, &halts), ["RolloutHalted"; 2]);
        assert_eq!(told(true, &halts), ["RolloutHalted", "RolloutHalted", "PinRefused"]);
        assert_eq!(told(true, &[at(1, Complete, None)]), [""; 0], "the first that is found");
    }

    #[test]
    fn what_an_earlier_life_wrote_it_told() {
        let state = |version, state, stage| Some(WrittenState { version, state, stage });
        for (written, now, news) in [
            (state(2, "Halted", Some("prod")), at(2, Reason::Halted, Some("prod")), None),
            (
                state(2, "InProgress", Some("prod")),
                at(2, Reason::Halted, Some("prod")),
                Some("RolloutHalted"),
            ),
            (state(1, "Halted", Some("prod")), at(2, Reason::Halted, Some("prod")), Some("RolloutHalted")),
            (state(2, "Complete", None), at(2, Reason::Complete, None), None),
            (state(2, "InProgress", Some("prod")), at(2, Reason::Complete, None), Some("Complete")),
            (state(2, "AwaitingApproval", Some("prod")), at(2, Reason::AwaitingApproval, Some("prod")), None),
        ] {
            let mut told = Told::default();
            assert_eq!(told.news(&now, written, true).map(|news| news.reason), news, "{written:?}");
        }
    }

    #[test]
    fn after_a_start_what_was_told_is_not_told_again_once_all_clusters_spoke() {
        let mut told = Told::default();
        let written = || Some(WrittenState { version: 2, state: "AwaitingApproval", stage: Some("prod") });
        let connecting = at(2, Reason::InProgress, Some("canary"));
        assert_eq!(told.news(&connecting, written(), true), None);
        let waits = at(2, Reason::AwaitingApproval, Some("prod"));
        assert_eq!(told.news(&waits, written(), true), None);

        let mut told = Told::default();
        let written = || Some(WrittenState { version: 2, state: "Halted", stage: Some("prod") });
        let halted = at(2, Reason::Halted, Some("prod"));
        for (now, news) in
            [(&connecting, None), (&halted, None), (&connecting, None), (&halted, Some("RolloutHalted"))]
        {
            assert_eq!(told.news(now, written(), true).map(|news| news.reason), news);
        }
    }
}
