//! What an instance says otherwise on some of its clusters: the content of a pair is the instance with the overrides of its
//! Placements. Where no expression of theirs reads the cluster, clusters share one content.

use super::placement::Decision;
use super::situation::Plan;
use super::{Fleet, Inputs};
use crate::api::amounts::Span;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::api::placement::OnUnmatch;
use crate::graph::Graph;
use crate::graph::patch::Subject;
use crate::reconcile::policy::overrides::{
    self, Cluster, Failed, Overridden, Overrides, Rule, Unreadable, print_of, read_clusters,
};
use crate::reconcile::policy::{Chosen, Effective, PolicyName};
use crate::reconcile::rollout::Facts;
use crate::reconcile::rollout::facts::Reads;
use crate::reconcile::spoke::MirrorContent;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The overrides of one Placement, as they were read for the kind. Its address stands for its content.
#[derive(Debug)]
pub struct Layer {
    pub of: Arc<Effective>,
    pub read: Result<Overrides, Vec<Unreadable>>,
}

impl Layer {
    pub fn read(of: &Arc<Effective>, graph: &Graph) -> Self {
        let read = Overrides::read(&of.name.to_string(), &of.overrides, graph);
        Self { of: of.clone(), read }
    }

    /// Whether it is for the pair with this cluster: one that it chooses, or any where it chooses none.
    pub fn reaches(&self, name: &ClusterName) -> bool {
        let is_chosen = |chosen: &Chosen| chosen.names.contains(name) || chosen.standing.contains(name);
        self.of.clusters.as_ref().is_none_or(is_chosen)
    }
}

/// The rules of these overrides, as they are put on record; nothing where there are none.
pub fn recorded(layers: &[Arc<Layer>]) -> Value {
    let layer = |layer: &Arc<Layer>| {
        let Effective { name, overrides, .. } = &*layer.of;
        json!({"namespace": *name.namespace, "name": *name.name, "rules": overrides})
    };
    if layers.is_empty() { Value::Null } else { layers.iter().map(layer).collect() }
}

/// A cluster as the instance there knows it.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub name: &'a ClusterName,
    labels: Cow<'a, BTreeMap<String, String>>,
    /// What `cluster` is in expressions; `None` while not all of it is known.
    pub facts: Option<Arc<Value>>,
}

impl<'a> Place<'a> {
    /// As it is now.
    pub fn now(inputs: &'a Inputs<'a>, name: &'a ClusterName) -> Self {
        let state = inputs.clusters.get(name);
        let labels = state.map_or_else(Cow::default, |state| Cow::Borrowed(&state.view.labels));
        Self { name, labels, facts: state.and_then(|state| state.facts.clone()) }
    }

    /// As it was when that was read of it.
    pub fn then(self, read: Option<&Facts>) -> Self {
        let Some(read) = read else { return self };
        let labels = read.labels().map_or(self.labels, Cow::Owned);
        Self { labels, facts: self.facts.as_ref().map(|now| read.over(now)), ..self }
    }
}

/// What overrides made of the instance on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// Of all that went into it.
    print: u64,
    /// The paths that were set or taken out; or why nothing could be made.
    outcome: Result<Arc<[String]>, Arc<str>>,
}

/// What all of it is made of, for the instance as it is now.
#[derive(Debug)]
pub(super) struct Overlay {
    subject: Subject,
    layers: Vec<Arc<Layer>>,
    /// What Placements with a limit choose for the instance.
    limited: BTreeMap<PolicyName, BTreeSet<ClusterName>>,
}

/// Contents that clusters share, by the print of the rules that made them. They are of one plan.
pub(super) type Shared = BTreeMap<u64, Arc<MirrorContent>>;

/// What a cluster is to have.
pub(super) enum Content {
    /// The instance as written.
    Written,
    /// With overrides: a print of all that goes into it, and the content, if it was made just now.
    Overridden(u64, Option<Arc<MirrorContent>>),
    /// Nothing new: what runs there stays.
    Nothing,
}

impl Overlay {
    /// `None` where nothing is overridden anywhere.
    pub fn of(inputs: &Inputs, graph: &Graph, decision: &Decision) -> Option<Arc<Self>> {
        let layers = inputs.overrides.to_vec();
        let limited = || decision.limited.clone();
        (!layers.is_empty())
            .then(|| Arc::new(Self { subject: graph.subject(inputs.instance), layers, limited: limited() }))
    }

    /// Whether a layer is for the pair with this cluster.
    fn reaches(&self, layer: &Layer, name: &ClusterName) -> bool {
        layer.reaches(name) && self.limited.get(&layer.of.name).is_none_or(|names| names.contains(name))
    }

    /// The same of an earlier version: these rules, and the instance as it was. Each reaches what its Placement reaches now. Where
    /// that is gone, nobody knows whom they reached, and nothing can be made.
    pub fn of_version(
        (inputs, decision): (&Inputs, &Decision),
        graph: &Graph,
        content: &MirrorContent,
        rules: &Value,
    ) -> Option<Arc<Self>> {
        let recorded = rules.as_array().filter(|list| !list.is_empty())?;
        let layer = |rule: &Value| {
            let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
            let name = PolicyName::new(text("namespace"), text("name"));
            let now = inputs.placements.iter().find(|of| of.name == name);
            let of = Effective {
                name,
                group_kind: graph.gvk.group_kind(),
                hash: String::new(),
                clusters: now.and_then(|of| of.clusters.clone()),
                on_unmatch: OnUnmatch::default(),
                grace: Span(0),
                overrides: serde_json::from_value(rule.get("rules")?.clone()).ok()?,
                rollout: None,
                invalid: None,
            };
            let layer = Layer::read(&Arc::new(of), graph);
            let message = "is not in effect any more: whom its overrides reached is not known".to_owned();
            let gone = || vec![Unreadable { path: String::new(), message }];
            Some(Arc::new(if now.is_some() { layer } else { Layer { read: Err(gone()), ..layer } }))
        };
        let layers = recorded.iter().filter_map(layer).collect();
        let mut was = (**inputs.instance).clone();
        was.0["spec"] = content.spec();
        was.0["metadata"]["labels"] = json!(content.labels());
        was.0["metadata"]["annotations"] = json!(content.annotations());
        Some(Arc::new(Self { subject: graph.subject(&was), layers, limited: decision.limited.clone() }))
    }

    /// The rules, to be put on record.
    pub fn recorded(&self) -> Value {
        recorded(&self.layers)
    }

    /// Why the content of a cluster cannot be made.
    pub fn refusal(&self, place: &Place, graph: &Graph, written: &MirrorContent) -> Option<Arc<str>> {
        let facts = place.facts.as_deref();
        let made = self.rules(place).and_then(|rules| self.make(&rules, graph, facts, written));
        match made {
            Err(Failed::Because(why)) => Some(why.into()),
            Ok(_) | Err(Failed::Unknown) => None,
        }
    }

    /// What is read of a cluster, whether for the sake of who they are for or of what they say.
    pub fn reads(&self, name: &ClusterName) -> Reads {
        let layers = self.layers.iter().filter(|layer| self.reaches(layer, name));
        let read = layers.filter_map(|layer| layer.read.as_ref().ok());
        read.fold(Reads::default(), |reads, overrides| reads.and(overrides.reads()))
    }

    /// Changes when something else may come of it on a cluster.
    pub fn print(&self, place: &Place) -> Value {
        match self.rules(place) {
            Ok(rules) => json!([print_of(&rules, place.facts.as_deref())]),
            Err(Failed::Because(why)) => json!(why),
            Err(Failed::Unknown) => Value::Null,
        }
    }

    /// The rules that hold on a cluster.
    fn rules(&self, place: &Place) -> Result<Vec<&Rule>, Failed> {
        let mut rules = Vec::new();
        let Place { name, labels, facts } = place;
        let cluster = Cluster { name, labels, local: false, facts: facts.as_deref() };
        for layer in self.layers.iter().filter(|layer| self.reaches(layer, name)) {
            match &layer.read {
                Ok(overrides) => overrides.on(cluster, &mut rules)?,
                Err(problems) => {
                    let problem = problems.first().map(ToString::to_string).unwrap_or_default();
                    return Err(Failed::Because(format!("{} {problem}", layer.of.name)));
                }
            }
        }
        Ok(rules)
    }

    fn make(
        &self,
        rules: &[&Rule],
        graph: &Graph,
        facts: Option<&Value>,
        written: &MirrorContent,
    ) -> Result<(MirrorContent, Vec<String>), Failed> {
        let Overridden { spec, paths } = overrides::apply(rules, &self.subject, graph, facts)?;
        let content =
            MirrorContent::new(&written.labels(), &written.annotations(), &spec, written.generation);
        Ok((content, paths))
    }
}

impl Fleet {
    /// What the cluster is to have, with the print of the task as it is without overrides. What comes of the overrides is
    /// noted where it is another than before.
    pub(super) fn content(
        &mut self,
        place: &Place,
        overlay: &Overlay,
        told: (&Graph, &MirrorContent, u64),
    ) -> Content {
        let (graph, written, print) = told;
        let (name, facts) = (place.name, place.facts.as_deref());
        let rules = match overlay.rules(place) {
            Ok(rules) if rules.is_empty() => {
                self.note(name, None);
                return Content::Written;
            }
            Ok(rules) => rules,
            Err(failed) => return self.fail(name, print, failed),
        };
        let Some(of_rules) = print_of(&rules, facts) else { return self.fail(name, print, Failed::Unknown) };
        let print = hash::json(&json!([print, of_rules]));
        let known = self.pairs.get(name).and_then(|pair| pair.applied.as_deref());
        match known.filter(|applied| applied.print == print).map(|applied| applied.outcome.is_ok()) {
            Some(true) => return Content::Overridden(print, None),
            Some(false) => return Content::Nothing,
            None => {}
        }
        match overlay.make(&rules, graph, facts, written) {
            Ok((content, paths)) => {
                let content = self.keep_shared(&rules, shared_by(of_rules, written), content);
                self.note(name, Some(Applied { print, outcome: Ok(paths.into()) }));
                Content::Overridden(print, Some(content))
            }
            Err(failed) => self.fail(name, print, failed),
        }
    }

    /// The content that [`Content::Overridden`] stands for, made once more.
    pub(super) fn overridden(
        &mut self,
        place: &Place,
        overlay: &Overlay,
        (graph, written): (&Graph, &MirrorContent),
    ) -> Option<Arc<MirrorContent>> {
        let facts = place.facts.as_deref();
        let rules = overlay.rules(place).ok()?;
        let print = shared_by(print_of(&rules, facts)?, written);
        if let Some(shared) = self.shared.get(&print) {
            return Some(shared.clone());
        }
        let (content, _) = overlay.make(&rules, graph, facts, written).ok()?;
        Some(self.keep_shared(&rules, print, content))
    }

    fn keep_shared(&mut self, rules: &[&Rule], print: u64, content: MirrorContent) -> Arc<MirrorContent> {
        if read_clusters(rules) {
            return Arc::new(content);
        }
        self.shared.entry(print).or_insert_with(|| Arc::new(content)).clone()
    }

    fn fail(&mut self, name: &ClusterName, print: u64, failed: Failed) -> Content {
        let applied = match failed {
            Failed::Because(why) => Some(Applied { print, outcome: Err(why.into()) }),
            Failed::Unknown => None,
        };
        self.note(name, applied);
        Content::Nothing
    }

    pub(super) fn note(&mut self, name: &ClusterName, applied: Option<Applied>) {
        let known = self.pairs.get(name).and_then(|pair| pair.applied.as_deref());
        if known != applied.as_ref() {
            self.pairs.at(name).applied = applied.map(Box::new);
        }
    }

    /// Where the instance is not to run, and where nothing is overridden, nothing is noted.
    pub(super) fn forget_overrides(&mut self, plan: &Plan) {
        let overlay = plan.orders.as_ref().is_some_and(|orders| orders.overlay.is_some());
        for (name, pair) in self.pairs.iter_mut() {
            if !overlay || !plan.spokes.contains(name) || plan.stays(name) {
                pair.applied = None;
            }
        }
    }
}

/// Clusters may be at several versions of the instance at one time.
fn shared_by(rules: u64, written: &MirrorContent) -> u64 {
    hash::json(&json!([rules, written.fingerprint()]))
}

impl Applied {
    /// The paths that are overridden, and why nothing could be made of the instance.
    pub fn shown(&self) -> (Option<&Arc<[String]>>, Option<&Arc<str>>) {
        (self.outcome.as_ref().ok(), self.outcome.as_ref().err())
    }
}
