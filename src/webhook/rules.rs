//! What is refused and what is warned of, from what was asked and what the hub says of it.
//!
//! Refused is only what no later event can heal, since tools apply the objects of a repository in any order. Whoever changes
//! something else of an object that is wrong already is not held up.

use super::review::{Answer, Asked};
use crate::api::Object;
use crate::api::cluster::{ClusterSpec, Credentials, SecretRef};
use crate::api::keys::{hub as keys, kro};
use crate::hub::clusters::source::{self, Blocked, Reason, Source};
use crate::hub::definitions::crd::Foreseen;
use crate::spoke::client;
use serde_json::Value;
use std::fmt;

/// So many problems of a definition are told.
const TOLD: usize = 10;

/// Something to say of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// By which kinds a definition is read, from the strictest to the most lenient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// All that the hub serves.
    Hub,
    /// Kubernetes' own kinds, as the hub serves them.
    HubKubernetes,
    /// Kubernetes' own kinds, as they are built in here.
    BuiltIn,
    /// None: a cluster is newer than both, and may have more.
    Nothing,
}

/// What was found by one reading.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    pub errors: Vec<Said>,
    pub warnings: Vec<Said>,
    /// The CRD that it generates, if it compiles.
    pub crd: Option<Value>,
}

/// Major and minor.
pub type Version = (u32, u32);

/// The readings that count, given the version of the hub, that of the built-in kinds, and those of the clusters.
pub fn readings(hub: Version, builtin: Version, clusters: &[Version]) -> Vec<Reading> {
    let newest = hub.max(builtin);
    let mut all = vec![Reading::Hub, Reading::HubKubernetes, Reading::BuiltIn];
    all.extend(clusters.iter().any(|version| *version > newest).then_some(Reading::Nothing));
    all
}

/// What was found of a definition, by readings in their order as far as they were needed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By the first.
    pub strict: Judgement,
    /// By the last; none where the first found no error.
    pub lenient: Option<Judgement>,
}

/// Judges by one reading after the other until one finds no error.
pub fn judge(
    readings: &[Reading],
    by: impl Fn(Reading) -> Result<Judgement, String>,
) -> Result<Found, String> {
    let Some((first, rest)) = readings.split_first() else { return Ok(Found::default()) };
    let mut found = Found { strict: by(*first)?, lenient: None };
    let mut rest = rest.iter();
    let mut is_wrong = !found.strict.errors.is_empty();
    while is_wrong && let Some(reading) = rest.next() {
        let judgement = by(*reading)?;
        is_wrong = !judgement.errors.is_empty();
        found.lenient = Some(judgement);
    }
    Ok(found)
}

/// Whether there is nothing to judge: what is judged stays as it is, or all of it goes.
pub fn stays(asked: &Asked) -> bool {
    let breaks = |object: &Object| object.annotation(kro::ALLOW_BREAKING) == Some("true");
    let same =
        |old: &Object| old.0.get("spec") == asked.new.0.get("spec") && breaks(old) == breaks(&asked.new);
    asked.new.is_deleting() || asked.old.as_ref().is_some_and(same)
}

/// Of a definition; `crd`: what becomes of the CRD that is there.
pub fn definition(asked: &Asked, found: &Found, crd: &Foreseen) -> Answer {
    let lenient = found.lenient.as_ref();
    let mut warnings: Vec<String> = found.strict.warnings.iter().map(ToString::to_string).collect();
    match lenient {
        Some(lenient) if !lenient.errors.is_empty() => {
            return Answer { refused: Some(told(&lenient.errors)), warnings };
        }
        // No error, or one that other kinds heal.
        _ => warnings.extend(found.strict.errors.iter().map(|said| {
            format!("where the kinds are as on this hub, instances will be Incompatible: {said}")
        })),
    }
    warnings.extend(lacking(asked));
    match crd {
        Foreseen::Refused(why) => Answer { refused: Some(format!("spec.schema: {why}")), warnings },
        Foreseen::Anothers(whose) => {
            warnings.push(format!("spec.schema.kind: {whose}"));
            Answer { refused: None, warnings }
        }
        Foreseen::Fine => Answer { refused: None, warnings },
    }
}

fn told(errors: &[Said]) -> String {
    let mut lines: Vec<String> = errors.iter().take(TOLD).map(ToString::to_string).collect();
    let more = errors.len().saturating_sub(TOLD);
    lines.extend((more > 0).then(|| format!("and {more} more; kro-hub validate shows them all")));
    lines.join("\n")
}

/// Clusters that said of resources which stay as they are that they do not fit there.
fn lacking(asked: &Asked) -> Vec<String> {
    let resource = |object: &Object, at: usize| object.0.pointer(&format!("/spec/resources/{at}")).cloned();
    let Some(old) = &asked.old else { return Vec::new() };
    let problems = old.0.pointer("/status/fleet/problems").and_then(Value::as_array).into_iter().flatten();
    let mut all = Vec::new();
    for problem in problems {
        let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
        for line in text("message").lines() {
            let index = line.strip_prefix("spec.resources[").and_then(|rest| rest.split_once(']'));
            let Some(at) = index.and_then(|(at, _)| at.parse::<usize>().ok()) else { continue };
            let (before, now) = (resource(old, at), resource(&asked.new, at));
            if now.is_some() && before == now {
                all.push(format!("does not fit cluster {}: {line}", text("cluster")));
            }
        }
    }
    all
}

/// Of a Cluster; `clusters`: all there are.
pub fn cluster(asked: &Asked, clusters: &[Object]) -> Answer {
    let is_local = |cluster: &Object| cluster.0.pointer("/spec/local") == Some(&Value::Bool(true));
    if !is_local(&asked.new) {
        return Answer::default();
    }
    let other = clusters.iter().find(|c| is_local(c) && !c.is_deleting() && c.name() != asked.new.name());
    match other {
        Some(other) => Answer::refuse(format!(
            "spec.local: Cluster {} stands for the hub itself already, and one does; delete that one first, or give this one credentials",
            other.name()
        )),
        None => Answer::default(),
    }
}

/// Of a Secret; `cluster`: the Cluster of its name.
pub fn secret(asked: &Asked, cluster: Option<&Object>) -> Answer {
    let Err(now) = kubeconfig(&asked.new, cluster) else { return Answer::default() };
    let before = asked.old.as_ref().and_then(|old| kubeconfig(old, cluster).err());
    // Whoever fills Secrets may make them first.
    if now.reason != Reason::KubeconfigRefused || before.as_ref() == Some(&now) {
        return Answer::warn(now.message);
    }
    Answer::refuse(now.message)
}

/// As the controller will read it, if it registers a cluster at all.
fn kubeconfig(secret: &Object, cluster: Option<&Object>) -> Result<(), Blocked> {
    let registers = keys::CLUSTER_LABELS.iter().any(|label| secret.label(label) == Some("true"));
    if !registers || secret.is_deleting() {
        return Ok(());
    }
    let (name, namespace) = (secret.name().to_owned(), secret.namespace().to_owned());
    let reference = |field: &str| cluster.map(|c| c.str_at(&format!("/spec/credentials/secretRef/{field}")));
    let is_of =
        reference("name") == Some(name.as_str()) && reference("namespace") == Some(namespace.as_str());
    let key = reference("key").filter(|key| is_of && !key.is_empty()).map(str::to_owned);
    let namespaces = [namespace.clone()];
    let secret_ref = SecretRef { name, namespace, key };
    let credentials = Credentials { secret_ref: secret_ref.clone() };
    let spec = ClusterSpec { credentials: Some(credentials), ..ClusterSpec::default() };
    match source::of(&spec, |_| Some(secret.clone()), &namespaces)? {
        Source::Local => Ok(()),
        Source::Remote(endpoint) => {
            client::check(&endpoint).map_err(|why| source::unusable(Some(&secret_ref), &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::review::Subject;
    use super::*;
    use base64::Engine;
    use serde_json::json;
    use std::cell::RefCell;

    fn asked(subject: Subject, new: Value, old: Option<Value>) -> Asked {
        Asked { uid: "u".into(), subject, new: Object(new), old: old.map(Object) }
    }
    fn said(path: &str, message: &str) -> Said {
        Said { path: path.into(), message: message.into(), help: None }
    }
    fn wrong(messages: &[&str]) -> Judgement {
        Judgement { errors: messages.iter().map(|m| said("spec", m)).collect(), ..Judgement::default() }
    }

    #[test]
    fn what_a_newer_cluster_may_have_counts() {
        use Reading::{BuiltIn, Hub, HubKubernetes, Nothing};
        let usual = vec![Hub, HubKubernetes, BuiltIn];
        let lenient = vec![Hub, HubKubernetes, BuiltIn, Nothing];
        for (hub, builtin, clusters, expect) in [
            ((1, 37), (1, 37), vec![], &usual),
            ((1, 37), (1, 37), vec![(1, 30), (1, 37)], &usual),
            ((1, 30), (1, 37), vec![(1, 36)], &usual),
            ((1, 37), (1, 37), vec![(1, 38)], &lenient),
            ((1, 40), (1, 37), vec![(1, 38)], &usual),
        ] {
            assert_eq!(&readings(hub, builtin, &clusters), expect, "{hub:?} {builtin:?} {clusters:?}");
        }
    }

    #[test]
    fn a_definition_is_refused_when_no_reading_takes_it() {
        let all = readings((1, 37), (1, 37), &[(1, 38)]);
        let taken_by = |reading: Option<Reading>| {
            let asked = RefCell::new(Vec::new());
            let found = judge(&all, |by| {
                asked.borrow_mut().push(by);
                Ok(if Some(by) == reading { Judgement::default() } else { wrong(&[&format!("{by:?}")]) })
            });
            let answer = definition(
                &self::asked(Subject::Definition, json!({}), None),
                &found.unwrap(),
                &Foreseen::Fine,
            );
            (asked.into_inner().len(), answer)
        };
        assert_eq!(taken_by(Some(Reading::Hub)), (1, Answer::default()));
        let (readings, answer) = taken_by(Some(Reading::BuiltIn));
        assert_eq!((readings, &answer.refused), (3, &None));
        assert!(answer.warnings[0].ends_with("Incompatible: spec: Hub"), "{answer:?}");
        assert_eq!(taken_by(None), (4, Answer::refuse("spec: Nothing")));
        assert!(judge(&all, |_| Err("broken".into())).is_err());
    }

    #[test]
    fn ten_problems_are_told_in_the_words_of_validate() {
        let mut first = said("spec.resources[0].id", "no name");
        first.help = Some("write a letter".into());
        let mut errors = vec![first];
        errors.extend((1..12).map(|n| said("", &n.to_string())));
        let found = Found {
            strict: Judgement { warnings: vec![said("spec", "unknown")], ..wrong(&["x"]) },
            lenient: Some(Judgement { errors, ..Judgement::default() }),
        };
        let answer = definition(&asked(Subject::Definition, json!({}), None), &found, &Foreseen::Fine);
        let lines: Vec<String> = answer.refused.unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "spec.resources[0].id: no name; write a letter");
        assert_eq!((lines.len(), lines[10].as_str()), (11, "and 2 more; kro-hub validate shows them all"));
        assert_eq!(answer.warnings, ["spec: unknown"]);
    }

    #[test]
    fn what_becomes_of_the_crd() {
        let of =
            |crd: Foreseen| definition(&asked(Subject::Definition, json!({}), None), &Found::default(), &crd);
        assert_eq!(of(Foreseen::Fine), Answer::default());
        assert_eq!(of(Foreseen::Refused("breaks".into())), Answer::refuse("spec.schema: breaks"));
        assert_eq!(of(Foreseen::Anothers("whose".into())), Answer::warn("spec.schema.kind: whose"));
    }

    #[test]
    fn clusters_that_lack_something_are_named_while_it_is_asked_for() {
        let resources = |second: &str| json!([{"id": "a"}, {"id": "b", "template": second}]);
        let message = "spec.resources[1].template.x: no such field\nspec.resources[9].id: gone\nthe group y does not answer";
        let old = json!({"spec": {"resources": resources("x")}, "status": {"fleet": {"problems": [
            {"cluster": "eu", "reason": "Incompatible", "message": message}]}}});
        let warnings = |second: &str| {
            let new = json!({"spec": {"resources": resources(second)}});
            let asked = asked(Subject::Definition, new, Some(old.clone()));
            definition(&asked, &Found::default(), &Foreseen::Fine).warnings
        };
        assert_eq!(warnings("x"), ["does not fit cluster eu: spec.resources[1].template.x: no such field"]);
        assert!(warnings("y").is_empty());
    }

    #[test]
    fn what_does_not_change_is_not_judged() {
        let of = |new: Value, old: Option<Value>| stays(&asked(Subject::Definition, new, old));
        let (one, two) = (json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}));
        assert!(!of(one.clone(), None) && !of(two, Some(one.clone())));
        let finalizer = json!({"metadata": {"finalizers": ["x"]}, "spec": {"a": 1}});
        assert!(of(finalizer, Some(one.clone())));
        let allowed = json!({"metadata": {"annotations": {"kro.run/allow-breaking-changes": "true"}}, "spec": {"a": 1}});
        assert!(!of(allowed, Some(one.clone())), "another annotation, another answer");
        assert!(of(json!({"metadata": {"deletionTimestamp": "t"}, "spec": {"a": 3}}), Some(one)));
    }

    #[test]
    fn one_cluster_stands_for_the_hub() {
        let local = |name: &str| json!({"metadata": {"name": name}, "spec": {"local": true}});
        let leaving = json!({"metadata": {"name": "b", "deletionTimestamp": "t"}, "spec": {"local": true}});
        let spoke = json!({"metadata": {"name": "c"}, "spec": {"credentials": {}}});
        let of = |new: Value, there: &[Value]| {
            let there: Vec<Object> = there.iter().cloned().map(Object).collect();
            cluster(&asked(Subject::Cluster, new, None), &there).refused
        };
        assert_eq!(of(local("a"), &[]), None);
        assert_eq!(of(local("a"), &[local("a"), leaving, spoke.clone()]), None);
        assert_eq!(of(spoke, &[local("b")]), None);
        assert!(
            of(local("a"), &[local("b")]).unwrap().starts_with("spec.local: Cluster b stands for the hub")
        );
    }

    #[test]
    fn a_kubeconfig_that_the_controller_refuses_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let kubeconfig = |authority: &str, user: &str| {
            format!(
                "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
                 clusters: [{{name: k, cluster: {{server: 'https://h', certificate-authority-data: {}}}}}]\n\
                 users: [{{name: u, user: {user}}}]\n",
                encode(authority)
            )
        };
        let good = kubeconfig(&authority, "{token: sesame}");
        let bad = kubeconfig(&authority, "{exec: {command: sh}}");
        let labelled = |label: &str, key: &str, text: &str| json!({"metadata": {"name": "eu", "namespace": "n", "labels": {label: "true"}}, "data": {key: encode(text)}});
        let of = |new: Value, old: Option<Value>, cluster: Option<Value>| {
            secret(&asked(Subject::Secret, new, old), cluster.map(Object).as_ref())
        };
        for label in keys::CLUSTER_LABELS {
            assert_eq!(of(labelled(label, "kubeconfig", &good), None, None), Answer::default(), "{label}");
            let refused = of(labelled(label, "kubeconfig", &bad), None, None).refused.unwrap();
            assert!(
                refused.starts_with("Secret n/eu: users[0].user.exec") && !refused.contains("sesame"),
                "{refused}"
            );
        }
        let [label, ..] = keys::CLUSTER_LABELS;
        // What shows only when a client is made of it.
        let unreadable = of(labelled(label, "kubeconfig", &kubeconfig("ca", "{token: sesame}")), None, None);
        let refused = unreadable.refused.unwrap();
        assert!(
            refused.starts_with("Secret n/eu: clusters[0].cluster.certificate-authority-data"),
            "{refused}"
        );
        let is_bad = labelled(label, "kubeconfig", &bad);
        assert_eq!(
            of(labelled("app", "kubeconfig", &bad), None, None),
            Answer::default(),
            "registers nothing"
        );
        let edited = of(is_bad.clone(), Some(is_bad.clone()), None);
        assert!(edited.refused.is_none() && edited.warnings.len() == 1, "{edited:?}");
        assert!(of(is_bad, Some(labelled(label, "kubeconfig", &good)), None).refused.is_some());
        let empty = of(labelled(label, "other", &bad), None, None);
        assert!(empty.refused.is_none() && empty.warnings[0].contains("has no key"), "{empty:?}");
        let cluster = json!({"metadata": {"name": "eu"}, "spec": {"credentials": {"secretRef": {"name": "eu", "namespace": "n", "key": "other"}}}});
        assert!(
            of(labelled(label, "other", &bad), None, Some(cluster)).refused.is_some(),
            "the key of the Cluster"
        );
    }
}
