//! Nobody knows yet which version of the instance is here: it is said, and nothing is touched.

use super::identity::Whose;
use super::run::Wanted;
use super::status::{InstanceState, Report, Stands, written, written_fields};
use super::{Action, Goal, Machine, MirrorContent, Step};
use crate::api::PackedObject;
use crate::api::condition;
use crate::api::keys::hub;
use crate::graph::Graph;
use crate::reconcile::Now;
use crate::reconcile::rollout::{Admitted, Mark};
use crate::reconcile::world::{KindState, Stored, World};
use std::sync::Arc;

impl Machine {
    /// What stands here of the instance. `parent`: what has its name.
    pub(super) fn stands(&self, parent: Option<&PackedObject>) -> Stands {
        if !self.task.is_mirrored() {
            return Stands::Unknown;
        }
        match parent {
            None => Stands::Nothing,
            Some(mirror) => Stands::Mirror(mirror.annotation(hub::VERSION).and_then(Mark::read)),
        }
    }

    /// The revision that the mirror says it runs by.
    pub(super) fn admitted(&self, parent: Option<&PackedObject>) -> Option<Admitted> {
        let mirror = parent.filter(|_| self.task.is_mirrored())?;
        mirror.annotation(hub::REVISION).and_then(Admitted::read)
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
        let (Some(found), Some(content)) = (found, content) else { return self.stay(world, &graph) };
        let Stands::Mirror(mark) = self.stands(Some(&found.object)) else { return self.stay(world, &graph) };
        let wanted = Wanted {
            graph,
            part,
            mirror: Arc::new(content),
            suspended,
            allow_breaking: false,
            cluster,
            mark,
            admitted: self.admitted(Some(&found.object)),
            rank,
        };
        self.run(world, now, &wanted)
    }

    /// What a mirror is to say of rollouts. Where none moves it any more, what stands there stays until its next change.
    pub(super) fn marks(&self, found: Option<&Stored>, wanted: &Wanted) -> (Option<Mark>, Option<Admitted>) {
        let object = found.map(|found| &found.object);
        let (version, admitted) = match self.stands(object) {
            Stands::Mirror(version) => (version, self.admitted(object)),
            Stands::Unknown | Stands::Nothing => (None, None),
        };
        let lacks =
            wanted.mark.is_none() && version.is_some() || wanted.admitted.is_none() && admitted.is_some();
        let same = |found: &Stored| {
            let content = MirrorContent::of_mirror(found);
            content.is_some_and(|content| content.fingerprint() == wanted.mirror.fingerprint())
        };
        if lacks && found.is_some_and(same) {
            (wanted.mark.or(version), wanted.admitted.or(admitted))
        } else {
            (wanted.mark, wanted.admitted)
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
            // What cannot be read may be there.
            KindState::Syncing | KindState::Failed(_) => return step,
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
        });
        step
    }
}
