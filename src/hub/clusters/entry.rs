//! One registered cluster: what its Cluster says, how far it is, and how placement sees it.

use super::connection::{Connection, Fingerprint};
use super::source::Reason;
use super::{same, status};
use crate::api::Object;
use crate::api::cluster::{
    ChildNamespaces, Cluster, CredentialsStatus, OnDeregister, SecretRef, UnknownMirrors,
};
use crate::api::names::ClusterName;
use crate::hub::identity::ClusterInfo;
use crate::hub::writes::Writes;
use crate::reconcile::bounds::Bounds;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::ClusterView;
use crate::reconcile::fleet::{ClusterState, Departure, Left};
use crate::spoke::messages::ContactState;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One registered cluster.
pub(super) struct ClusterEntry {
    pub object: Arc<Object>,
    pub cluster: Cluster,
    /// What the controller's flag says of the hub's own cluster.
    pub of_hub: ChildNamespaces,
    /// There is no such Cluster: it is the hub, for what lives there ([`super::implied`]).
    pub implied: bool,
    pub connection: Connection,
    pub info: Option<ClusterInfo>,
    /// What is recorded as left behind, once it was read.
    pub left: Option<BTreeMap<String, Left>>,
    pub instances: i64,
    /// Mirrors there that belong to no instance.
    pub unknown: Option<UnknownMirrors>,
    /// What its Secret says of the credentials in it.
    pub credentials: Option<CredentialsStatus>,
    pub lost_since: Option<String>,
    /// It was out of reach when that was noted last; otherwise it answers, with what is of no use.
    pub silent: bool,
    /// What people should know of it though it can be talked to.
    pub notes: String,
    /// The status by its print.
    pub writes: Writes<u64>,
    /// How far it is with being deregistered.
    pub departure: Option<Departure>,
    /// Why nobody knows whether something is held there; told while it is being deregistered.
    pub unseen: Option<String>,
}

/// The Cluster that stands for the hub itself: not a duplicate, and one whose identity is known before one that nobody
/// asked yet.
pub(super) fn the_local<'a>(
    entries: impl Iterator<Item = (&'a ClusterName, &'a ClusterEntry)>,
) -> Option<&'a ClusterName> {
    let candidates = entries.filter(|(_, e)| e.cluster.spec.local && !e.implied && !e.is_duplicate());
    candidates.min_by_key(|(name, e)| (e.cluster_id().is_none(), *name)).map(|(name, _)| name)
}

impl ClusterEntry {
    pub fn new(object: Arc<Object>, cluster: &Cluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        Self {
            object,
            cluster: cluster.clone(),
            of_hub: ChildNamespaces::default(),
            implied: false,
            connection: Connection::new(),
            info: None,
            left: None,
            instances: status.instances,
            unknown: status.unknown_mirrors.clone(),
            credentials: None,
            lost_since: status::lost_since(&status),
            silent: status::is_unreachable(&status),
            notes: String::new(),
            writes: Writes::default(),
            departure: None,
            unseen: None,
        }
    }

    pub fn secret_ref(&self) -> Option<&SecretRef> {
        self.cluster.spec.credentials.as_ref().map(|c| &c.secret_ref)
    }

    /// The identity that this Cluster stands for, unless it was refused.
    pub fn identity(&self) -> ClusterInfo {
        let written = || self.cluster.status.as_ref().map(same::written).unwrap_or_default();
        self.info.clone().unwrap_or_else(written)
    }
    pub fn cluster_id(&self) -> Option<String> {
        Some(self.identity().id).filter(|id| !id.is_empty())
    }

    /// Whether another Cluster stands for the same cluster.
    pub fn is_duplicate(&self) -> bool {
        matches!(&self.connection, Connection::Refused(refused) if refused.why.reason == Reason::DuplicateCluster)
    }

    /// For how long it refused credentials says nothing of how long it is out of reach.
    pub fn note_lost(&mut self, why: &ContactState, now: &str) {
        let silent = matches!(why, ContactState::Unreachable(_));
        if silent && !self.silent {
            self.lost_since = None;
        }
        self.silent = silent;
        self.lost_since.get_or_insert_with(|| now.to_owned());
    }

    pub fn state(&self) -> ClusterState {
        let spec = &self.cluster.spec;
        ClusterState {
            view: ClusterView::of(&self.object, spec),
            health: self.health(),
            delete_on_leave: spec.on_deregister == OnDeregister::Delete,
            departure: self.departure.unwrap_or_default(),
            implied: self.implied,
            facts: self.facts(),
            bounds: self.bounds(),
        }
    }

    /// Where resources may be written there.
    pub fn bounds(&self) -> Arc<Bounds> {
        Arc::new(Bounds::of(self.object.name(), &self.cluster.spec, &self.of_hub))
    }

    /// What `kro.cluster` is in expressions, once the cluster said all of it.
    fn facts(&self) -> Option<Arc<Value>> {
        self.identity().facts(&self.object, &self.cluster.spec).map(Arc::new)
    }

    pub fn health(&self) -> ClusterHealth {
        self.connection.health(self.lost_since.as_deref().unwrap_or_default())
    }

    /// Asks who it is, with these credentials. Returns the token that asking ends with.
    pub fn ask(
        &mut self,
        epoch: u64,
        credentials: Fingerprint,
        term: &CancellationToken,
    ) -> CancellationToken {
        self.notes.clear();
        let since = self.lost_since.clone().unwrap_or_default();
        self.connection.ask(epoch, credentials, term, &since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::clusters::source::Blocked;
    use serde_json::json;

    fn entry(spec: serde_json::Value, id: &str) -> ClusterEntry {
        let object = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"clusterID": id}});
        let cluster: Cluster = serde_json::from_value(object.clone()).unwrap();
        ClusterEntry::new(Arc::new(Object(object)), &cluster)
    }
    fn local(id: &str) -> ClusterEntry {
        entry(json!({"local": true}), id)
    }

    #[test]
    fn a_cluster_has_facts_when_all_of_them_are_known() {
        let mut entry = entry(json!({"properties": {"size": "big"}}), "id-1");
        entry.object = Arc::new(Object(json!({"metadata": {"name": "c", "labels": {"tier": "prod"}}})));
        assert_eq!(entry.state().facts, None, "no version yet");
        let info = ClusterInfo { id: "id-1".into(), version: "v1.33.2".into(), ..ClusterInfo::default() };
        entry.info = Some(info);
        let want = json!({"name": "c", "id": "id-1", "labels": {"tier": "prod"}, "properties": {"size": "big"},
            "version": {"major": 1, "minor": 33}});
        assert_eq!(entry.state().facts.as_deref(), Some(&want));
    }

    #[test]
    fn how_long_it_is_out_of_reach_says_nothing_of_when_it_refused_credentials() {
        let (lost, refused) =
            (|| ContactState::Unreachable("x".into()), || ContactState::Unauthorized("x".into()));
        for (before, after, since) in [
            (lost(), lost(), "1"),
            (lost(), refused(), "1"),
            (refused(), refused(), "1"),
            (refused(), lost(), "2"),
        ] {
            let mut entry = entry(json!({}), "");
            entry.note_lost(&before, "1");
            entry.note_lost(&after, "2");
            assert_eq!(entry.lost_since.as_deref(), Some(since), "{before:?} {after:?}");
        }
    }

    #[test]
    fn one_cluster_is_the_hub_itself() {
        let mut duplicate = local("");
        duplicate.connection.refuse(Blocked::new(Reason::DuplicateCluster, String::new()));
        let cases = [
            (vec![("a", local("")), ("b", local("x"))], Some("b"), "known before new, whatever its name"),
            (vec![("a", duplicate), ("b", local(""))], Some("b"), "not the duplicate"),
            (vec![("a", local("")), ("b", local(""))], Some("a"), "nobody was asked yet"),
            (vec![("a", entry(json!({}), "x"))], None, "no local one"),
        ];
        for (entries, want, why) in cases {
            let entries: BTreeMap<_, _> =
                entries.into_iter().map(|(n, e)| (ClusterName::new(n), e)).collect();
            assert_eq!(the_local(entries.iter()).map(ClusterName::as_str), want, "{why}");
        }
    }
}
