//! The status of a Cluster, from how it stands.

use super::same;
use super::source::{Blocked, Concern};
use crate::api::cluster::{ClusterStatus, CredentialsStatus, LeftBehind, UnknownMirrors, conditions};
use crate::api::condition::{Condition, ConditionStatus, Conditions};
use crate::hub::identity::ClusterInfo;
use crate::reconcile::Now;
use crate::spoke::messages::ContactState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Reasons that say that there is no contact.
const UNREACHABLE: &str = "Unreachable";
const UNAUTHORIZED: &str = "Unauthorized";

/// Since when there is no contact, as it was written: a restart does not forget it. One that is out of reach may have refused
/// the credentials before.
pub fn lost_since(written: &ClusterStatus) -> Option<String> {
    let since = |type_, reason| Some(is_false(written, type_, reason)?.last_transition_time.clone());
    since(conditions::REACHABLE, UNREACHABLE).or_else(|| since(conditions::READY, UNAUTHORIZED))
}

/// Whether it is out of reach, as it was written.
pub fn is_unreachable(written: &ClusterStatus) -> bool {
    is_false(written, conditions::REACHABLE, UNREACHABLE).is_some()
}

fn is_false<'s>(written: &'s ClusterStatus, type_: &str, reason: &str) -> Option<&'s Condition> {
    let found = written.conditions.iter().find(|c| c.type_ == type_)?;
    (found.status == ConditionStatus::False && found.reason == reason).then_some(found)
}

/// How a registered cluster stands.
#[derive(Clone, Debug)]
pub enum Standing<'a> {
    /// It is not used.
    Blocked(&'a Blocked),
    /// It is being asked for the first time; says what the last try met.
    Connecting(Option<&'a ContactState>),
    /// It has an actor.
    Running(&'a ContactState),
}

/// What goes into the status besides the standing.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub info: Option<ClusterInfo>,
    pub instances: i64,
    pub left_behind: Option<LeftBehind>,
    pub unknown_mirrors: Option<UnknownMirrors>,
    pub credentials: Option<CredentialsStatus>,
    /// What people should know of it though it can be talked to.
    pub notes: String,
    /// What is said while it is being deregistered.
    pub leaving: Option<String>,
}

/// The status to write; the same as `old` when nothing changed.
pub fn status(
    old: &ClusterStatus,
    generation: i64,
    standing: &Standing,
    facts: &Facts,
    now: &Now,
) -> ClusterStatus {
    use ConditionStatus::{False, True, Unknown};
    use conditions::{CLAIMED, CREDENTIALS_VALID, REACHABLE, READY};
    let mut list = Conditions::new(old.conditions.clone(), generation, &now.rfc3339);
    let waiting = "waiting for the first contact";
    let (credentials, reachable, claimed, ready) = match standing {
        Standing::Blocked(blocked) => {
            let ready = (False, blocked.reason.text(), blocked.message.as_str());
            let unknown = (Unknown, "NotConnected", "");
            match blocked.reason.concern() {
                Concern::Credentials => (ready, unknown, unknown, ready),
                Concern::Claim => ((True, "Valid", ""), (True, "Connected", ""), ready, ready),
                Concern::Cluster => ((True, "Valid", ""), unknown, unknown, ready),
            }
        }
        Standing::Connecting(None | Some(ContactState::Ready)) => {
            let unknown = (Unknown, "Connecting", waiting);
            ((True, "Valid", ""), unknown, unknown, unknown)
        }
        Standing::Connecting(Some(ContactState::Unreachable(why))) => {
            let lost = (False, UNREACHABLE, why.as_str());
            ((True, "Valid", ""), lost, (Unknown, UNREACHABLE, ""), lost)
        }
        Standing::Connecting(Some(ContactState::Unauthorized(why))) => {
            let refused = (False, UNAUTHORIZED, why.as_str());
            (refused, (True, "Connected", ""), (Unknown, UNAUTHORIZED, ""), refused)
        }
        Standing::Connecting(Some(ContactState::Unusable { reason, message }))
        | Standing::Running(ContactState::Unusable { reason, message }) => (
            (True, "Valid", ""),
            (True, "Connected", ""),
            (Unknown, *reason, ""),
            (False, *reason, message.as_str()),
        ),
        Standing::Running(ContactState::Ready) => {
            let fine = match facts.notes.as_str() {
                "" => (True, "Connected", ""),
                notes => (True, "Limited", notes),
            };
            ((True, "Valid", ""), fine, (True, "Claimed", ""), (True, "Ready", ""))
        }
        Standing::Running(ContactState::Unreachable(why)) => {
            let lost = (False, UNREACHABLE, why.as_str());
            ((True, "Valid", ""), lost, (True, "Claimed", ""), lost)
        }
        Standing::Running(ContactState::Unauthorized(why)) => {
            let refused = (False, UNAUTHORIZED, why.as_str());
            (refused, (True, "Connected", ""), (True, "Claimed", ""), refused)
        }
    };
    let both = facts.leaving.as_ref().map(|leaving| match ready {
        (True, ..) | (_, _, "") => leaving.clone(),
        (_, _, message) => format!("{message}; {leaving}"),
    });
    let ready = match (&both, ready) {
        (Some(both), (True, ..)) => (False, "Leaving", both.as_str()),
        (Some(both), (status, reason, _)) => (status, reason, both.as_str()),
        (None, ready) => ready,
    };
    for (type_, (status, reason, message)) in
        [(CREDENTIALS_VALID, credentials), (REACHABLE, reachable), (CLAIMED, claimed), (READY, ready)]
    {
        list.set(type_, status, reason, message);
    }
    // A cluster that is not used keeps the identity it had: a later change of it must be seen.
    let known = facts.info.clone().unwrap_or_else(|| same::written(old));
    let mut new = ClusterStatus {
        cluster_id: known.id,
        kube_system_uid: known.system_uid,
        kubernetes_version: known.version,
        last_contact: old.last_contact.clone(),
        instances: facts.instances,
        left_behind: facts.left_behind.clone(),
        unknown_mirrors: facts.unknown_mirrors.clone(),
        credentials: facts.credentials.clone(),
        observed_generation: generation,
        conditions: list.into_list(),
    };
    if new != *old && matches!(standing, Standing::Running(ContactState::Ready)) {
        new.last_contact = now.rfc3339.parse().ok().map(Time);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kstatus::{self, Kstatus};
    use crate::hub::clusters::source::Reason;
    use crate::reconcile::Moment;
    use serde_json::json;

    fn now(text: &str) -> Now {
        Now { at: Moment::START, rfc3339: text.into() }
    }
    fn condition(status: &ClusterStatus, type_: &str) -> String {
        let c = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
        format!("{:?} {}", c.status, c.reason)
    }

    #[test]
    fn nothing_new_changes_nothing_and_contact_is_dated_with_a_change_only() {
        let facts = Facts {
            info: Some(ClusterInfo { id: "x".into(), version: "v1".into(), ..ClusterInfo::default() }),
            ..Facts::default()
        };
        let first = status(
            &ClusterStatus::default(),
            1,
            &Standing::Running(&ContactState::Ready),
            &facts,
            &now("2026-01-01T00:00:00Z"),
        );
        let second =
            status(&first, 1, &Standing::Running(&ContactState::Ready), &facts, &now("2026-01-01T09:00:00Z"));
        assert_eq!(first, second);
        assert!(first.last_contact.is_some());
    }

    #[test]
    fn standings() {
        let t = now("2026-01-01T00:00:00Z");
        let refused = Blocked::new(Reason::KubeconfigRefused, "m".into());
        let twin = Blocked::new(Reason::DuplicateCluster, "m".into());
        let other = Blocked::new(Reason::ClaimedByAnotherHub, "m".into());
        let lost = ContactState::Unreachable("x".into());
        let unusable = ContactState::Unusable { reason: "MissingRight", message: "x".into() };
        let cases = [
            (
                Standing::Blocked(&refused),
                "False KubeconfigRefused",
                "Unknown NotConnected",
                "False KubeconfigRefused",
            ),
            (Standing::Blocked(&twin), "True Valid", "Unknown NotConnected", "False DuplicateCluster"),
            (Standing::Blocked(&other), "True Valid", "True Connected", "False ClaimedByAnotherHub"),
            (Standing::Connecting(None), "True Valid", "Unknown Connecting", "Unknown Connecting"),
            (Standing::Running(&lost), "True Valid", "False Unreachable", "False Unreachable"),
            (Standing::Connecting(Some(&unusable)), "True Valid", "True Connected", "False MissingRight"),
            (Standing::Running(&unusable), "True Valid", "True Connected", "False MissingRight"),
        ];
        for (standing, credentials, reachable, ready) in cases {
            let s = status(&ClusterStatus::default(), 1, &standing, &Facts::default(), &t);
            assert_eq!(condition(&s, "CredentialsValid"), credentials);
            assert_eq!(condition(&s, "Reachable"), reachable);
            assert_eq!(condition(&s, "Ready"), ready);
            let object = |generation: i64| json!({"metadata": {"generation": generation}, "status": s});
            assert_eq!(kstatus::of(&object(1)), Kstatus::InProgress, "{ready}");
        }
        let running = Standing::Running(&ContactState::Ready);
        let s = status(&ClusterStatus::default(), 1, &running, &Facts::default(), &t);
        let object = |generation: i64| json!({"metadata": {"generation": generation}, "status": s});
        assert_eq!(kstatus::of(&object(1)), Kstatus::Current);
        assert_eq!(kstatus::of(&object(2)), Kstatus::InProgress, "it was edited since");
        let noted = Facts { notes: "it asks to slow down".into(), ..Facts::default() };
        let limited = status(&s, 1, &running, &noted, &t);
        assert_eq!(condition(&limited, "Reachable"), "True Limited");
        let reachable = limited.conditions.iter().find(|c| c.type_ == "Reachable").unwrap();
        assert_eq!(reachable.message, "it asks to slow down");
        assert_eq!(condition(&limited, "Ready"), "True Ready");
        let over = status(&limited, 1, &running, &Facts::default(), &t);
        assert_eq!(over.conditions, s.conditions, "it is taken back");
    }

    #[test]
    fn since_when_there_is_no_contact_is_read_back() {
        let t = now("2026-01-01T00:00:00Z");
        for (state, lost) in [
            (ContactState::Ready, false),
            (ContactState::Unreachable("x".into()), true),
            (ContactState::Unauthorized("x".into()), true),
            (ContactState::Unusable { reason: "MissingRight", message: "x".into() }, false),
        ] {
            let s = status(&ClusterStatus::default(), 1, &Standing::Running(&state), &Facts::default(), &t);
            assert_eq!(lost_since(&s), lost.then(|| t.rfc3339.clone()), "{state:?}");
            // Out of reach after that, it is so since then; where that was so before, since before.
            let silent = ContactState::Unreachable("x".into());
            let later = now("2026-01-02T00:00:00Z");
            let s = status(&s, 1, &Standing::Running(&silent), &Facts::default(), &later);
            let was = matches!(state, ContactState::Unreachable(_));
            assert_eq!(
                lost_since(&s),
                Some(if was { t.rfc3339.clone() } else { later.rfc3339 }),
                "{state:?}"
            );
        }
    }

    #[test]
    fn identity_is_kept_while_a_cluster_is_not_used() {
        let old = ClusterStatus { cluster_id: "x".into(), ..ClusterStatus::default() };
        let blocked = Blocked::new(Reason::IdentityChanged, String::new());
        let new =
            status(&old, 1, &Standing::Blocked(&blocked), &Facts::default(), &now("2026-01-01T00:00:00Z"));
        assert_eq!(new.cluster_id, "x");
    }
}
