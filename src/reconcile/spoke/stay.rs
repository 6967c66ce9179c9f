//! Nobody knows yet which version of the instance is here: it is said, and nothing is touched.

use super::identity::Whose;
use super::mirror::{Marks, marks};
use super::run::Wanted;
use super::status::{InstanceState, Report, Stands, written, written_fields};
use super::{Action, Goal, Machine, MirrorContent, Step};
use crate::api::PackedObject;
use crate::api::condition;
use crate::graph::Graph;
use crate::reconcile::Now;
use crate::reconcile::rollout::{Admitted, Facts};
use crate::reconcile::world::{KindState, Stored, World};
use std::sync::Arc;

impl Machine {
    /// What stands here of the instance. `parent`: what has its name.
    pub(super) fn stands(&self, parent: Option<&PackedObject>) -> Stands {
        match parent.filter(|_| !self.task.is_nested()) {
            None if !self.task.is_mirrored() => Stands::Unknown,
            None => Stands::Nothing,
            Some(mirror) => Stands::Mirror(marks::version(mirror)),
        }
    }

    /// The revision that the mirror says it runs by.
    pub(super) fn admitted(&self, parent: Option<&PackedObject>) -> Option<Admitted> {
        let mirror = parent.filter(|_| !self.task.is_nested())?;
        marks::admitted(mirror)
    }

    /// What the mirror says was read of the cluster.
    pub(super) fn facts(&self, parent: Option<&PackedObject>) -> Option<Arc<Facts>> {
        let mirror = parent.filter(|_| self.task.is_mirrored())?;
        marks::facts(mirror)
    }

    /// Runs what the mirror says. Where none stands, or nobody can tell what we wrote there, nothing is touched.
    pub(super) fn go_on(&mut self, world: &dyn World, now: &Now) -> Step {
        let Goal::GoOn { graph, part, suspended, cluster, rank } = self.task.goal.clone() else {
            return Step::default();
        };
        let found =
            world.get(&self.task.key.object()).filter(|found| matches!(self.whose(found), Whose::This));
        let is_seen = matches!(world.kind(&self.task.key.gk), KindState::Synced { .. });
        let content = found.as_deref().filter(|_| is_seen).and_then(MirrorContent::of_mirror);
        let (Some(found), Some(content), true) = (found, content, self.task.is_mirrored()) else {
            return self.stay(world, &graph);
        };
        let Marks { version, admitted, facts } = Marks::on(&found.object);
        let wanted = Wanted {
            graph,
            part,
            mirror: Arc::new(content),
            suspended,
            allow_breaking: false,
            cluster: facts.as_ref().map(|facts| facts.over(&cluster)).unwrap_or(cluster),
            mark: version,
            admitted,
            facts,
            keeps: false,
            rank,
        };
        self.run(world, now, &wanted)
    }

    /// What a mirror is to say of rollouts. Where none moves it any more, what stands there stays until its next change. What
    /// was read of the cluster is written with that, or where the cluster is otherwise; for itself alone it is not.
    pub(super) fn marks(&self, found: Option<&Stored>, wanted: &Wanted) -> Marks {
        let told = Marks { version: wanted.mark, admitted: wanted.admitted, facts: wanted.facts.clone() };
        let Some(found) = found.filter(|_| self.task.is_mirrored()) else { return told };
        let there = Marks::on(&found.object);
        let is_same_content = || {
            let content = MirrorContent::of_mirror(found);
            content.is_some_and(|content| content.fingerprint() == wanted.mirror.fingerprint())
        };
        let counts = told.facts.as_ref().is_some_and(|facts| facts.since.is_some() || facts.held);
        if told.facts.is_some() && there.facts.is_none() && !counts {
            let alone = there.version == told.version && there.admitted == told.admitted;
            let facts = told.facts.filter(|_| !(alone && is_same_content()));
            return Marks { facts, ..told };
        }
        let lacks = told.version.is_none() && there.version.is_some()
            || told.admitted.is_none() && there.admitted.is_some()
            || told.facts.is_none() && there.facts.is_some();
        // What was read when a rollout moved it says nothing of what is read now.
        let is_current =
            || told.facts.is_some() || there.facts.as_ref().is_none_or(|facts| wanted.reads_as(facts));
        if lacks && is_current() && is_same_content() {
            Marks {
                version: told.version.or(there.version),
                admitted: told.admitted.or(there.admitted),
                facts: told.facts.or(there.facts),
            }
        } else {
            told
        }
    }

    pub(super) fn stay(&mut self, world: &dyn World, graph: &Graph) -> Step {
        let mut step = Step::default();
        let gk = &self.task.key.gk;
        match world.kind(gk) {
            KindState::Synced { .. } | KindState::Missing => {}
            KindState::Unknown => {
                step.actions.push(Action::EnsureKind(gk.clone(), Some(self.task.gvk.clone())));
                return step;
            }
            KindState::Syncing => return step,
            // What cannot be read may be there.
            KindState::Failed(why) => {
                step.report = Some(Report::of_unseen(&self.task.hub_uid, why));
                return step;
            }
        }
        let found = world.get(&self.task.key.object());
        let mirror = found.filter(|found| matches!(self.whose(found), Whose::This));
        let mirror = mirror.as_deref().map(|stored| &stored.object);
        let state = mirror
            .and_then(|m| m.0.root().at(&["status", "state"]).and_then(|s| s.as_str().map(str::to_owned)));
        let state = match state.as_deref() {
            Some("ACTIVE") => InstanceState::Active,
            Some("ERROR") => InstanceState::Error,
            _ => InstanceState::InProgress,
        };
        let conditions = mirror.map(written).unwrap_or_default();
        let conditions = condition::shared(&conditions);
        step.report = Some(Report {
            hub_uid: self.task.hub_uid.clone(),
            generation: 0,
            revision: String::new(),
            state,
            ready: 0,
            total: 0,
            message: String::new(),
            author: graph.has_conditions().then(|| conditions.clone()),
            conditions,
            hub_values: Arc::default(),
            fields: mirror.map(written_fields).unwrap_or_default(),
            settled: true,
            stands: self.stands(mirror),
            admitted: self.admitted(mirror),
            facts: self.facts(mirror),
        });
        step
    }
}
