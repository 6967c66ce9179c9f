//! A labelled kubeconfig Secret asks for a Cluster of its name.

use crate::api::keys::{self, hub};
use crate::api::{Object, hash};
use crate::hub::request::Request;
use crate::hub::timers::{Pauses, Timers};
use crate::hub::view::Key;
use crate::reconcile::Moment;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// On a Cluster: fingerprint of the labels that were copied from its Secret, so that they are copied again only when the
/// Secret's change, and an edit on the Cluster stands.
const COPIED: &str = "hub.kro.run/labels-from-secret";

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is not labelled, or all is as it should be.
    Nothing,
    /// Server-side apply of the Cluster.
    Apply(Value),
    /// The name belongs to something else; says to what.
    Refuse(String),
}

/// The version of a Secret for which it was said that it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    uid: String,
    version: String,
}

impl Told {
    pub fn of(secret: &Object) -> Self {
        Self { uid: secret.uid().to_owned(), version: secret.resource_version().to_owned() }
    }
}

/// Decides what a Secret means for the Cluster of its name.
pub(super) fn of(secret: &Object, cluster: Option<&Object>) -> Verdict {
    let labelled = hub::CLUSTER_LABELS.iter().any(|l| secret.label(l) == Some("true"));
    if !labelled || secret.is_deleting() {
        return Verdict::Nothing;
    }
    let (name, namespace) = (secret.name(), secret.namespace());
    if let Some(cluster) = cluster {
        if cluster.is_deleting() {
            return Verdict::Nothing;
        }
        let owner = |field: &str| cluster.str_at(&format!("/spec/credentials/secretRef/{field}")).to_owned();
        if cluster.0.pointer("/spec/local") == Some(&Value::Bool(true)) {
            return Verdict::Refuse(format!(
                "Cluster {name} is the hub itself (spec.local); give the Secret another name"
            ));
        }
        let (owner_name, owner_namespace) = (owner("name"), owner("namespace"));
        if !owner_name.is_empty() && (owner_name != name || owner_namespace != namespace) {
            return Verdict::Refuse(format!(
                "Cluster {name} belongs to Secret {owner_namespace}/{owner_name}; give this Secret another name"
            ));
        }
    }
    let mut labels: BTreeMap<String, String> = secret.labels();
    // By its own marks, a GitOps tool would take the Cluster for something that it has to delete.
    labels.retain(|k, _| !hub::CLUSTER_LABELS.contains(&k.as_str()) && keys::is_mirrored(k));
    let print = labels_print(&labels);
    let known = cluster.is_some_and(|c| {
        c.annotation(COPIED) == Some(&print) && !c.str_at("/spec/credentials/secretRef/name").is_empty()
    });
    if known {
        return Verdict::Nothing;
    }
    Verdict::Apply(json!({
        "apiVersion": "hub.kro.run/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, "labels": labels, "annotations": {COPIED: print}},
        "spec": {"credentials": {"secretRef": {"name": name, "namespace": namespace}}},
    }))
}

/// Fingerprint of the labels that a Secret gave its Cluster.
fn labels_print(labels: &BTreeMap<String, String>) -> String {
    hash::json_hex(&json!(labels))
}

/// Between tries of what is refused, or does not come to be seen.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

/// Registrations that are not settled, by the place of their Secret: each is tried by itself alone, however many events
/// call for it.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// By the print of what is asked for.
    open: BTreeMap<Key, Request<u64>>,
    timers: Timers<Key>,
}

impl Registrations {
    /// Whether to apply this now, which is taken as begun. The same is not tried again before its time.
    pub fn may_apply(&mut self, secret: &Key, body: &Value, now: Moment) -> bool {
        self.open.entry(secret.clone()).or_default().begin(hash::json(body), now)
    }

    /// There was an answer; `why`: it was refused. Tells when it is tried again, unless it turns out to be settled.
    pub fn answered(&mut self, secret: &Key, why: Option<String>, now: Moment) -> Option<Duration> {
        let request = self.open.get_mut(secret)?;
        self.timers.failed(secret, now, PAUSES);
        let at = self.timers.time(secret)?;
        request.failed(why, Some(at));
        Some(at.since(now))
    }

    /// All is as the Secret asks for, or it asks for nothing any more.
    pub fn settled(&mut self, secret: &Key) {
        if self.open.remove(secret).is_some() {
            self.timers.settled(secret);
        }
    }

    /// Those that ask for the Cluster of this name.
    pub fn of(&self, name: &str) -> Vec<Key> {
        self.open.keys().filter(|secret| secret.name == name).cloned().collect()
    }

    pub fn next(&self) -> Option<Moment> {
        self.timers.next()
    }

    pub fn due(&mut self, now: Moment) -> Vec<Key> {
        let due = self.timers.due(now);
        for secret in &due {
            self.open.entry(secret.clone()).and_modify(Request::due);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn secret(namespace: &str, labels: Value) -> Object {
        Object(json!({"metadata": {"name": "eu", "namespace": namespace, "labels": labels}}))
    }
    fn applied(verdict: &Verdict) -> Object {
        match verdict {
            Verdict::Apply(body) => Object(body.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_labelled_secret_makes_a_cluster_with_its_labels() {
        let labelled = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "eu"}));
        let cluster = applied(&of(&labelled, None));
        assert_eq!((cluster.name(), cluster.label("region")), ("eu", Some("eu")));
        assert_eq!(cluster.label("hub.kro.run/cluster"), None);
        assert_eq!(of(&labelled, Some(&cluster)), Verdict::Nothing, "settled");
        assert_eq!(of(&secret("kro-hub", json!({"region": "eu"})), None), Verdict::Nothing);
        assert_eq!(of(&secret("kro-hub", json!({"hub.kro.run/cluster": "false"})), None), Verdict::Nothing);
        for label in ["kro.run/cluster", "sigs.k8s.io/multicluster-runtime-kubeconfig"] {
            applied(&of(&secret("kro-hub", json!({label: "true"})), None));
        }
    }

    #[test]
    fn the_marks_of_a_tool_that_syncs_the_secret_stay_there() {
        let marks = json!({
            "hub.kro.run/cluster": "true", "region": "eu", "app.kubernetes.io/name": "fleet",
            "app.kubernetes.io/instance": "clusters", "argocd.argoproj.io/instance": "clusters",
            "kustomize.toolkit.fluxcd.io/name": "clusters", "helm.toolkit.fluxcd.io/name": "clusters",
            "applyset.kubernetes.io/part-of": "applyset-x",
        });
        let labelled = secret("kro-hub", marks);
        let cluster = applied(&of(&labelled, None));
        let want = json!({"region": "eu", "app.kubernetes.io/name": "fleet"});
        assert_eq!(json!(cluster.labels()), want);
        // One that was given them before loses them.
        let mut before = cluster.clone();
        before.0["metadata"]["annotations"][COPIED] = json!("another");
        assert_eq!(json!(applied(&of(&labelled, Some(&before))).labels()), want);
    }

    #[test]
    fn labels_follow_the_secret_but_an_edit_on_the_cluster_stands() {
        let labelled = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "eu"}));
        let mut cluster = applied(&of(&labelled, None));
        cluster.0["metadata"]["labels"]["region"] = json!("edited");
        assert_eq!(of(&labelled, Some(&cluster)), Verdict::Nothing);
        let changed = secret("kro-hub", json!({"hub.kro.run/cluster": "true", "region": "us"}));
        assert_eq!(applied(&of(&changed, Some(&cluster))).label("region"), Some("us"));
    }

    /// Applies a minute, for ten minutes in which events call for it a hundred times a second. `answers` after so many
    /// milliseconds; the Cluster is never seen.
    fn applies(answers: u64) -> Vec<u32> {
        let (mut registrations, place) = (Registrations::default(), Key::new("kro-hub", "eu"));
        let labelled = secret("kro-hub", json!({"hub.kro.run/cluster": "true"}));
        let body = applied(&of(&labelled, None)).0;
        let (mut minutes, mut answer) = (vec![0; 10], None);
        for now in (0..600_000_u64).step_by(10) {
            if answer.is_some_and(|at| at <= now) {
                answer = None;
                registrations.answered(&place, None, at(now));
            }
            registrations.due(at(now));
            if registrations.may_apply(&place, &body, at(now)) {
                minutes[usize::try_from(now / 60_000).unwrap()] += 1;
                answer = Some(now + answers);
            }
        }
        minutes
    }

    #[test]
    fn what_is_refused_or_never_seen_is_applied_ever_less() {
        for answers in [0, 300, 15_000] {
            let minutes = applies(answers);
            assert!(minutes[0] <= 7 && minutes.iter().sum::<u32>() <= 12, "{minutes:?}");
            assert!(minutes[5..].iter().all(|n| *n <= 1), "{minutes:?}");
        }
    }

    #[test]
    fn another_wish_does_not_wait_for_the_one_that_was_refused() {
        let (mut registrations, place) = (Registrations::default(), Key::new("kro-hub", "eu"));
        let (refused, mended) = (json!({"a": 1}), json!({"a": 2}));
        assert!(registrations.may_apply(&place, &refused, at(10)));
        assert!(!registrations.may_apply(&place, &mended, at(10)), "one at a time");
        assert_eq!(registrations.answered(&place, Some("no".into()), at(0)), Some(Duration::from_secs(1)));
        assert!(!registrations.may_apply(&place, &refused, at(10)));
        assert_eq!(registrations.of("eu"), std::slice::from_ref(&place));
        assert!(registrations.may_apply(&place, &mended, at(10)));
        registrations.answered(&place, None, at(10));
        registrations.settled(&place);
        assert_eq!(registrations.next(), None);
        assert!(registrations.may_apply(&place, &refused, at(10)), "it was deleted since");
    }

    #[test]
    fn the_first_secret_owns_the_name() {
        let first = secret("kro-hub", json!({"hub.kro.run/cluster": "true"}));
        let cluster = applied(&of(&first, None));
        let second = secret("kro-system", json!({"hub.kro.run/cluster": "true"}));
        assert!(matches!(of(&second, Some(&cluster)), Verdict::Refuse(m) if m.contains("kro-hub/eu")));
        let local = Object(json!({"metadata": {"name": "eu"}, "spec": {"local": true}}));
        assert!(matches!(of(&first, Some(&local)), Verdict::Refuse(_)));
    }
}
