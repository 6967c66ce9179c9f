//! Whether the stages of a rollout can be read. One that cannot be would be empty, and what is behind it would begin.

use super::Filter;
use crate::api::rollout::{Rollout, Stage};
use crate::reconcile::fleet::placement::Selector;

/// What cannot be read: sentences that begin with the field.
pub fn problems(rollout: &Rollout) -> impl Iterator<Item = String> {
    rollout.stages.iter().enumerate().flat_map(|(index, stage)| of(stage, index))
}

fn of(stage: &Stage, index: usize) -> impl Iterator<Item = String> + use<> {
    let path = format!("spec.rollout.stages[{index}]");
    let clusters = Filter::read(stage.clusters.as_ref(), &format!("{path}.clusters")).err();
    let selector = stage.instances.as_ref().and_then(|instances| instances.label_selector.as_ref());
    let instances = selector.and_then(|selector| Selector::of(selector).err());
    let instances = instances.map(|why| format!("{path}.instances.labelSelector.{why}"));
    clusters.into_iter().chain(instances)
}
