//! One registered cluster: what its Cluster says, how far it is, and how placement sees it.

use super::same;
use super::source::Blocked;
use crate::api::Object;
use crate::api::cluster::{Cluster, OnDeregister, SecretRef};
use crate::api::condition::{ConditionStatus, READY};
use crate::api::names::ClusterName;
use crate::hub::identity::ClusterInfo;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::ClusterView;
use crate::reconcile::fleet::{ClusterState, Departure, Left};
use crate::spoke::actor;
use crate::spoke::client::SpokeClient;
use crate::spoke::messages::ContactState;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Why a cluster is not used: another Cluster stands for it.
pub(super) const DUPLICATE: &str = "DuplicateCluster";

/// How far a cluster is.
pub(super) enum Phase {
    Blocked(Blocked),
    /// `before` is how it stood: what was wrong is shown until there is an answer.
    Connecting {
        before: Option<ClusterHealth>,
        failure: Option<ContactState>,
        failures: u32,
    },
    Running {
        /// Of contact: what was asked in an earlier one says nothing.
        episode: Episode,
        /// For asking once more who it is when contact returns.
        client: Box<SpokeClient>,
        /// Whether it is still known to be the cluster that was claimed: nothing is written while that is open.
        trusted: Arc<AtomicBool>,
        handle: actor::Handle,
        contact: ContactState,
    },
}

/// Contact comes and goes. Each time is an episode; what is asked in one ends with it.
#[derive(Debug, Default)]
pub(super) struct Episode {
    number: u64,
    asking: CancellationToken,
}

impl Episode {
    /// Another one begins, in which somebody asks until the token ends.
    pub fn begin(&mut self, until: &CancellationToken) -> (u64, CancellationToken) {
        self.end();
        self.asking = until.child_token();
        (self.number, self.asking.clone())
    }

    pub fn end(&mut self) {
        self.asking.cancel();
        self.number += 1;
    }

    /// Whether an answer of this episode counts.
    pub fn is(&self, number: u64) -> bool {
        self.number == number && !self.asking.is_cancelled()
    }
}

/// [`super::source::Source::fingerprint`]
type Fingerprint = ([u8; 32], Option<u32>);

/// One registered cluster.
pub(super) struct Entry {
    pub object: Arc<Object>,
    pub cluster: Cluster,
    /// There is no such Cluster: it is the hub, for what lives there ([`super::itself`]).
    pub implied: bool,
    pub phase: Phase,
    /// Of the connection that the phase stands for.
    pub fingerprint: Option<Fingerprint>,
    pub epoch: u64,
    pub until: CancellationToken,
    pub info: Option<ClusterInfo>,
    /// What is recorded as left behind, once it was read.
    pub left: Option<BTreeMap<String, Left>>,
    pub instances: i64,
    pub lost_since: Option<String>,
    /// What people should know of it though it can be talked to.
    pub notes: String,
    pub writing: bool,
    /// What the last status that was written said, while the status is still another.
    pub offered: Option<u64>,
    /// How far it is with being deregistered.
    pub departure: Option<Departure>,
    /// A changed count waits to be written.
    pub count_due: bool,
    /// When credentials that were refused are tried again, in milliseconds of the clock.
    pub retry_at: Option<u64>,
}

/// The Cluster that stands for the hub itself: not a duplicate, and one whose identity is known before one that nobody
/// asked yet.
pub(super) fn the_local<'a>(
    entries: impl Iterator<Item = (&'a ClusterName, &'a Entry)>,
) -> Option<&'a ClusterName> {
    let duplicate = |e: &Entry| matches!(&e.phase, Phase::Blocked(b) if b.reason == DUPLICATE);
    let candidates = entries.filter(|(_, e)| e.cluster.spec.local && !e.implied && !duplicate(e));
    candidates.min_by_key(|(name, e)| (e.cluster_id().is_none(), *name)).map(|(name, _)| name)
}

impl Entry {
    pub fn new(object: Arc<Object>, cluster: &Cluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == READY);
        // A restart does not forget since when there is no contact.
        let lost_since = ready
            .filter(|c| {
                c.status == ConditionStatus::False
                    && matches!(c.reason.as_str(), "Unreachable" | "Unauthorized")
            })
            .map(|c| c.last_transition_time.clone());
        Self {
            object,
            cluster: cluster.clone(),
            implied: false,
            phase: Phase::Connecting { before: None, failure: None, failures: 0 },
            fingerprint: None,
            epoch: 0,
            until: CancellationToken::new(),
            info: None,
            left: None,
            instances: status.instances,
            lost_since,
            notes: String::new(),
            writing: false,
            offered: None,
            departure: None,
            count_due: false,
            retry_at: None,
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

    pub fn stop(&self) {
        self.until.cancel();
        if let Phase::Running { handle, trusted, .. } = &self.phase {
            // Nor does what the actor has already begun start another write.
            trusted.store(false, Ordering::Release);
            handle.stop();
        }
    }

    pub fn block(&mut self, blocked: Blocked) {
        self.stop();
        self.phase = Phase::Blocked(blocked);
        self.fingerprint = None;
        self.retry_at = None;
    }

    /// The same credentials are tried again when their time has come.
    pub fn try_again(&mut self, now: u64) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.fingerprint = None;
            self.retry_at = None;
        }
    }

    /// `term` ends with the right to write, and what is begun here ends with it.
    pub fn restart(&mut self, epoch: u64, fingerprint: Fingerprint, term: &CancellationToken) {
        self.stop();
        let before = Some(self.health()).filter(|health| *health != ClusterHealth::Connecting);
        self.phase = Phase::Connecting { before, failure: None, failures: 0 };
        self.notes.clear();
        self.epoch = epoch;
        self.fingerprint = Some(fingerprint);
        self.until = term.child_token();
    }

    /// Whether an answer to a step of connecting with this number is waited for. One that was under way when the cluster
    /// was paused, or its Secret went, is not.
    pub fn expects(&self, epoch: u64) -> bool {
        self.epoch == epoch && matches!(self.phase, Phase::Connecting { .. })
    }

    /// Whether it has an actor.
    pub fn is_used(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Whether an answer about a cluster whose contact returned is waited for.
    pub fn asks_again(&self, epoch: u64, number: u64) -> bool {
        self.epoch == epoch && matches!(&self.phase, Phase::Running { episode, .. } if episode.is(number))
    }

    /// Whether it was ready and is being connected anew.
    pub fn was_ready(&self) -> bool {
        matches!(&self.phase, Phase::Connecting { before: Some(ClusterHealth::Ready), .. })
    }

    pub fn note_lost(&mut self, now: &str) {
        self.lost_since.get_or_insert_with(|| now.to_owned());
    }

    pub fn state(&self) -> ClusterState {
        let spec = &self.cluster.spec;
        ClusterState {
            view: ClusterView {
                labels: self.object.labels(),
                local: spec.local,
                allowed_namespaces: spec.allowed_namespaces.clone(),
                leaving: self.object.is_deleting(),
            },
            health: self.health(),
            delete_on_leave: spec.on_deregister == OnDeregister::Delete,
            departure: self.departure.unwrap_or_default(),
            implied: self.implied,
            facts: self.facts(),
        }
    }

    /// What `kro.cluster` is in expressions, once the cluster said all of it.
    fn facts(&self) -> Option<Arc<Value>> {
        let identity = self.identity();
        let (major, minor) = identity.version_numbers()?;
        (!identity.id.is_empty()).then(|| {
            Arc::new(json!({
                "name": self.object.name(),
                "id": identity.id,
                "labels": self.object.labels(),
                "properties": self.cluster.spec.properties,
                "version": {"major": major, "minor": minor},
            }))
        })
    }

    pub fn health(&self) -> ClusterHealth {
        let lost = |why: &ContactState| {
            let message = match why {
                ContactState::Ready => return ClusterHealth::Ready,
                ContactState::Unreachable(m) | ContactState::Unauthorized(m) => m.clone(),
                ContactState::Unusable { reason, message } => {
                    return ClusterHealth::NotReady {
                        reason: (*reason).to_owned(),
                        message: message.clone(),
                    };
                }
            };
            ClusterHealth::Unreachable { since: self.lost_since.clone().unwrap_or_default(), message }
        };
        match &self.phase {
            Phase::Blocked(b) => {
                ClusterHealth::NotReady { reason: b.reason.to_owned(), message: b.message.clone() }
            }
            Phase::Connecting { failure: Some(why), .. } => lost(why),
            // It was ready by the word of an actor that is no more.
            Phase::Connecting { before: None | Some(ClusterHealth::Ready), .. } => ClusterHealth::Connecting,
            Phase::Connecting { before: Some(before), .. } => before.clone(),
            Phase::Running { contact, .. } => lost(contact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(spec: serde_json::Value, id: &str) -> Entry {
        let object = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"clusterID": id}});
        let cluster: Cluster = serde_json::from_value(object.clone()).unwrap();
        Entry::new(Arc::new(Object(object)), &cluster)
    }
    fn local(id: &str) -> Entry {
        entry(json!({"local": true}), id)
    }

    #[test]
    fn connecting_anew_shows_what_was_until_there_is_an_answer() {
        let mut entry = entry(json!({}), "");
        let term = CancellationToken::new();
        entry.restart(1, ([1; 32], None), &term);
        assert_eq!(entry.health(), ClusterHealth::Connecting);
        entry.block(Blocked::claimed("m".into()));
        let claimed = entry.health();
        for epoch in 2..4 {
            entry.restart(epoch, ([1; 32], None), &term);
            assert_eq!(entry.health(), claimed);
        }
        entry.phase = Phase::Connecting {
            before: None,
            failure: Some(ContactState::Unreachable("x".into())),
            failures: 2,
        };
        assert!(matches!(entry.health(), ClusterHealth::Unreachable { .. }));
    }

    #[test]
    fn nothing_is_ready_without_an_actor() {
        let mut entry = entry(json!({}), "");
        entry.phase = Phase::Connecting { before: Some(ClusterHealth::Ready), failure: None, failures: 0 };
        assert!(entry.was_ready());
        assert_eq!(entry.health(), ClusterHealth::Connecting);
    }

    #[test]
    fn what_is_begun_for_a_cluster_ends_with_the_term() {
        let (mut entry, term) = (entry(json!({}), ""), CancellationToken::new());
        entry.restart(1, ([1; 32], None), &term);
        term.cancel();
        assert!(entry.until.is_cancelled());
    }

    #[test]
    fn an_answer_counts_in_its_own_episode_alone() {
        let (mut episode, until) = (Episode::default(), CancellationToken::new());
        let (first, asking) = episode.begin(&until);
        assert!(episode.is(first));
        // Contact is lost while the answer is on its way, and comes back.
        episode.end();
        assert!(asking.is_cancelled() && !episode.is(first));
        let (second, asking) = episode.begin(&until);
        assert!(episode.is(second) && !episode.is(first) && !asking.is_cancelled());
        until.cancel();
        assert!(!episode.is(second));
    }

    #[test]
    fn an_answer_that_comes_after_a_block_starts_nothing() {
        let mut entry = entry(json!({}), "");
        entry.restart(3, ([1; 32], None), &CancellationToken::new());
        assert!(entry.expects(3) && !entry.expects(2));
        entry.block(Blocked::ready("Paused", String::new()));
        assert!(!entry.expects(3));
    }

    #[test]
    fn refused_credentials_are_tried_again_once_and_not_before_their_time() {
        let mut entry = entry(json!({}), "");
        entry.block(Blocked::claimed("m".into()));
        (entry.fingerprint, entry.retry_at) = (Some(([1; 32], None)), Some(100));
        entry.try_again(99);
        assert!(entry.fingerprint.is_some());
        entry.try_again(100);
        assert!(entry.fingerprint.is_none() && entry.retry_at.is_none());
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
    fn one_cluster_is_the_hub_itself() {
        let mut duplicate = local("");
        duplicate.block(Blocked::ready(DUPLICATE, String::new()));
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
