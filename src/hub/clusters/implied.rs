//! The hub without a Cluster that stands for it: resources that live on the hub need somebody who makes them there.
//!
//! It is connected as a local Cluster is, under a name that no object can have, and only while something lives on the hub
//! or may be left of it. As soon as a Cluster stands for the hub this one ends; it starts when that one has ended. So no two
//! actors write for one instance.

use super::connect::{self, Asker};
use super::entry::ClusterEntry;
use super::source::Source;
use super::{Clusters, Effect};
use crate::api::Object;
use crate::api::cluster::{Cluster, ClusterSpec};
use crate::api::names::ClusterName;
use crate::hub::context::Context;
use crate::reconcile::fleet::on_hub::ITSELF;
use serde_json::{Value, json};
use std::sync::Arc;

impl Clusters {
    /// Starts or ends the hub's own actor. `needed`: something lives on the hub, or may be left of it.
    pub fn serve_itself(&mut self, ctx: &Context, needed: bool) -> Vec<Effect> {
        if !self.is_synced() {
            return Vec::new();
        }
        let name = ClusterName::new(ITSELF);
        let wanted = needed && !self.view.iter().any(|(_, cluster)| stands_for_hub(cluster));
        match (wanted, self.entries.contains_key(&name)) {
            (true, false) => {
                tracing::info!("no Cluster stands for the hub; what lives there is looked after without one");
                let of_hub = ctx.settings.local_child_namespaces.clone();
                self.entries.insert(name, ClusterEntry { of_hub, ..entry() });
                self.connect_itself(ctx)
            }
            (false, true) => {
                self.entries.remove(&name);
                ctx.metrics.forget(name.as_str());
                vec![Effect::Changed(name)]
            }
            _ => Vec::new(),
        }
    }

    /// Connects, unless that was done: it ended by itself, or was refused some time ago.
    pub(super) fn connect_itself(&mut self, ctx: &Context) -> Vec<Effect> {
        let name = ClusterName::new(ITSELF);
        let Some(entry) = self.entries.get_mut(&name) else { return Vec::new() };
        entry.connection.try_again(ctx.clock.now().at);
        if entry.connection.tried().is_some() {
            return Vec::new();
        }
        self.epoch += 1;
        let until = entry.ask(self.epoch, Source::Local.fingerprint(None), &ctx.cancel);
        connect::identify(Asker::new(ctx, &name, self.epoch, until), &Source::Local, None);
        vec![Effect::Changed(name)]
    }
}

fn entry() -> ClusterEntry {
    let cluster = Cluster::new(ITSELF, ClusterSpec { local: true, ..ClusterSpec::default() });
    let object = Object(json!({"metadata": {"name": ITSELF}}));
    ClusterEntry { implied: true, ..ClusterEntry::new(Arc::new(object), &cluster) }
}

/// Also one that is paused, refused or a second one: somebody decided how the hub is used.
fn stands_for_hub(cluster: &Object) -> bool {
    cluster.0.pointer("/spec/local") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::super::entry::the_local;
    use super::*;

    #[test]
    fn the_hub_without_a_cluster_is_no_cluster() {
        let (name, own) = (ClusterName::new(ITSELF), entry());
        let state = own.state();
        assert!(state.implied && state.view.local);
        assert_eq!(the_local([(&name, &own)].into_iter()), None);
    }

    #[test]
    fn any_cluster_with_the_word_stands_for_the_hub() {
        let cases = [
            (json!({"local": true}), true),
            (json!({"local": true, "paused": true}), true),
            (json!({"local": false}), false),
            (json!({"credentials": {}}), false),
        ];
        for (spec, want) in cases {
            assert_eq!(stands_for_hub(&Object(json!({"spec": spec}))), want, "{spec}");
        }
    }
}
