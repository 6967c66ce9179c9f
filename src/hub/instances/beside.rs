//! What the instances want done is begun here, beside the hub's task.

use super::{Effect, kind_rollouts, perform};
use crate::api::maps::HashMap;
use crate::api::names::GroupKind;
use crate::hub::clusters::Clusters;
use crate::hub::context::Context;
use crate::hub::{Event, Watched};
use crate::spoke::watch::{CHANGED_CRD_SERVED, Scope};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(in crate::hub) struct Beside {
    /// Ends the watch of a kind's instances.
    watches: HashMap<GroupKind, CancellationToken>,
}

impl Beside {
    pub fn begin(&mut self, ctx: &Context, clusters: &Clusters, effect: Effect) {
        match effect {
            // The definitions are asked for it.
            Effect::Need(..) | Effect::Number(..) => {}
            Effect::KindVersion(gk, action) => kind_rollouts::write(ctx, gk, action),
            Effect::Send(name, message) => clusters.send(&name, message),
            Effect::SendToAll(message) => clusters.broadcast(|| message.clone()),
            Effect::Watch(gk, resource) => {
                let until = CancellationToken::new();
                if let Some(before) = self.watches.insert(gk.clone(), until.clone()) {
                    before.cancel();
                }
                ctx.watch(Watched::Instances(gk), resource, Scope::default(), until);
            }
            Effect::EndWatch(gk) => {
                if let Some(until) = self.watches.remove(&gk) {
                    until.cancel();
                }
            }
            Effect::RereadLater(gk, hash) => ctx.later(CHANGED_CRD_SERVED, Event::Reread(gk, hash)),
            Effect::Request(target, action) => perform::start(ctx, &target, action, clusters),
            Effect::Evaluate { target, question, slow } => perform::evaluate(ctx, &target, question, slow),
            Effect::ForgetLeft(name, hub_uid) => perform::forget_left(ctx, &name, clusters, &hub_uid),
            Effect::TellRefused(object, why) => perform::tell_refused(ctx, object.as_deref(), &why),
        }
    }
}
