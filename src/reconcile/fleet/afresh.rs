//! Wherever tests step a machine, a twin takes the step too that forgot all it had worked out before: it has to say and
//! to keep the same. So every storm and every table shows that looking at what is new alone misses nothing.

use super::{Fleet, FleetAction, FleetStep, Inputs};

/// The two do not say the same.
#[derive(Debug)]
pub struct Disagreement(pub String);

impl Fleet {
    /// The same machine without anything that it could work out again.
    pub(super) fn afresh(&self, inputs: &Inputs) -> Self {
        let mut twin = self.clone();
        (twin.plan, twin.seen, twin.is_told) = (None, None, false);
        twin.news.everything = true;
        twin.lines.forget();
        // Where a cluster waits for its turn, what runs there by an earlier word is not made again.
        let may_wait = inputs.rolled.gates.is_some() || inputs.placements.iter().any(|p| p.rollout.is_some());
        if !may_wait {
            twin.pairs.iter_mut().for_each(|(_, pair)| pair.applied = None);
        }
        twin.rolling = None;
        twin
    }

    pub(super) fn agrees_with(&self, mut twin: Self, inputs: &Inputs, step: &FleetStep) {
        let other = twin.take_step(inputs);
        let here = (said(step), step.wake_at, self.kept());
        let there = (said(&other), other.wake_at, twin.kept());
        if here != there {
            // No guard of a step is to take this for a crash of that step.
            std::panic::panic_any(Disagreement(format!(
                "{}\nfrom the news alone: {here:#?}\nfrom all: {there:#?}",
                self.key
            )));
        }
    }

    fn kept(&self) -> String {
        let mut this = self.clone();
        this.pairs.tidy();
        let Self { pairs, lines, reports, lost, held, recording, passing_since, only_hub_part, .. } = &this;
        format!(
            "{pairs:?} {} {} {lost:?} {held:?} {recording:?} {passing_since:?} {only_hub_part}",
            lines.kept(),
            reports.kept()
        )
    }
}

/// Whether a status differs, as it was found and as it is.
pub(super) fn agree(found: bool, is: bool) {
    if found != is {
        std::panic::panic_any(Disagreement(format!("the status differs: found {found}, is {is}")));
    }
}

/// What a step wants, in an order that does not depend on how it was found.
fn said(step: &FleetStep) -> Vec<String> {
    let of = |action: &FleetAction| match action {
        FleetAction::Send { cluster, task } => format!("send {cluster} {:x}", task.fingerprint()),
        FleetAction::Evaluate(question) => format!("evaluate {question}"),
        other => format!("{other:?}"),
    };
    step.actions.iter().map(of).collect()
}
