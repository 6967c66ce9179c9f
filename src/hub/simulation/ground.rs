//! What stands on the hub that choices and rollouts follow from, as anybody can read it there; and what follows from it by
//! the words of the documents alone. Nothing of the controller decides here: its laws are measured against this.

use super::network::HUB;
use super::wishes::KIND;
use crate::api::Object;
use crate::api::amounts::Amount;
use crate::api::cluster::{Effect, Taint};
use crate::api::keys::{hub, kro};
use crate::api::names::ClusterName;
use crate::api::placement::{ClusterFilter, Clusters, PlacementSpec};
use crate::api::rollout::{Rollout, Scope};
use crate::reconcile::fleet::Fleet;
use crate::reconcile::fleet::placement::{LOCAL, Record, Then, names};
use crate::reconcile::policy::tolerates;
use apiserver_model::server::Server;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

type Names = BTreeSet<String>;
type Labels = BTreeMap<String, String>;

/// The only expression that users write here.
pub const EXPRESSION: &str = "cluster.name != \"c2\"";

#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub allowed: Vec<String>,
    pub leaving: bool,
    pub ready: bool,
    /// As its status says.
    pub id: String,
}

/// A Placement, or a ClusterPlacement.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub of_cluster: bool,
    pub name: String,
    pub spec: PlacementSpec,
    /// As its status says.
    pub held: Names,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub uid: String,
    pub labels: Labels,
    /// The annotation that names clusters.
    pub words: Option<String>,
    pub deleting: bool,
    pub holds: BTreeSet<ClusterName>,
    /// The hub may run it as a whole: it is its own mirror there.
    pub on_hub: bool,
    pub record: Record,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub stable: bool,
    /// What it brings: two of one print are the same.
    pub print: String,
    pub spec: Value,
    pub overrides: Value,
    pub graph: String,
}

impl Version {
    /// They differ in this alone: with one of both the revision of the kind moves by itself.
    pub fn is_alike(&self, other: &Self) -> bool {
        let same = self.spec == other.spec && self.overrides == other.overrides;
        same && self.graph.is_empty() != other.graph.is_empty()
    }
}

/// Whose versions they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// By uid.
    Instance(String),
    Kind,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ground {
    pub clusters: BTreeMap<String, Cluster>,
    /// ClusterPlacements by name, then Placements by name.
    pub policies: Vec<Policy>,
    pub instances: BTreeMap<String, Instance>,
    pub versions: BTreeMap<(Unit, u64), Version>,
    /// The name of an instance, or none for a whole kind; version; stage.
    pub approvals: BTreeSet<(Option<String>, u64, String)>,
    /// The revision of the definition in which a graph was made, by its hash and by number.
    pub graphs: BTreeMap<String, u64>,
    pub revisions: BTreeMap<u64, u64>,
    /// What a Placement let go as it was: the id of the cluster, and the name of the instance.
    pub left: BTreeSet<(String, String)>,
    /// What a cluster that was deregistered kept, by its id and the uid of the instance: it stays as long as that lives.
    pub outlives: BTreeSet<(String, String)>,
}

impl Ground {
    pub fn read(hub: &Server) -> Self {
        let mut ground = Self::default();
        for (resource, _, object) in hub.objects() {
            let object = Object((*object).clone());
            match (resource.group.as_str(), resource.plural.as_str()) {
                ("hub.kro.run", "clusters") => ground.cluster(&object),
                ("hub.kro.run", "placements" | "clusterplacements") => ground.policy(&object),
                ("hub.kro.run", "rolloutapprovals") => ground.approval(&object),
                ("kro.run", "shops") => ground.instance(&object),
                ("apps", "controllerrevisions") => ground.version(&object),
                ("internal.kro.run", "graphrevisions") => ground.revision(&object),
                ("", "configmaps") => ground.left(&object),
                _ => {}
            }
        }
        ground.policies.sort_by_key(|p| (!p.of_cluster, p.name.clone()));
        ground
    }

    fn cluster(&mut self, object: &Object) {
        if object.0.pointer("/spec/local") == Some(&Value::Bool(true)) {
            return;
        }
        let list = |field: &str| object.0.pointer(field).cloned().unwrap_or(Value::Array(Vec::new()));
        let ready = super::rest::condition(&object.0, "Ready").is_some_and(|c| c["status"] == "True");
        let cluster = Cluster {
            labels: object.labels(),
            taints: serde_json::from_value(list("/spec/taints")).unwrap(),
            allowed: serde_json::from_value(list("/spec/allowedNamespaces")).unwrap(),
            leaving: object.is_deleting(),
            ready,
            id: object.str_at("/status/clusterID").to_owned(),
        };
        self.clusters.insert(object.name().to_owned(), cluster);
    }

    fn policy(&mut self, object: &Object) {
        let text = |path: &str| object.0.pointer(path).and_then(Value::as_str);
        // Somebody let it go, whether the status says so by now or not.
        let is_let_go = text("/spec/clusters/allowShrink")
            .is_some_and(|token| !token.is_empty() && object.0["status"].to_string().contains(token));
        let says_none = object.0.pointer("/spec/clusters") == Some(&json!({"names": []}));
        let held = names(text("/status/decided/held").filter(|_| !is_let_go && !says_none));
        let held = held.iter().map(|n| n.as_str().to_owned()).collect();
        self.policies.push(Policy {
            of_cluster: object.namespace().is_empty(),
            name: object.name().to_owned(),
            spec: serde_json::from_value(object.0["spec"].clone()).unwrap(),
            held,
        });
    }

    fn approval(&mut self, object: &Object) {
        let spec = &object.0["spec"];
        let instance = spec["instance"]["name"].as_str().map(str::to_owned);
        let (Some(version), Some(stage)) = (spec["version"].as_u64(), spec["stage"].as_str()) else { return };
        self.approvals.insert((instance, version, stage.to_owned()));
    }

    fn instance(&mut self, object: &Object) {
        let record = Record::on(object);
        let instance = Instance {
            uid: object.uid().to_owned(),
            labels: object.labels(),
            words: object.annotation(hub::CLUSTERS).map(str::to_owned),
            deleting: object.is_deleting(),
            holds: Fleet::holds(object),
            on_hub: record.local || object.label(kro::APPLYSET_ID).is_some(),
            record,
        };
        self.instances.insert(object.name().to_owned(), instance);
    }

    fn left(&mut self, object: &Object) {
        let Some(id) = object.name().strip_prefix("left-") else { return };
        let id = id.split('.').next().unwrap_or(id);
        for entry in object.0["data"].as_object().into_iter().flat_map(|entries| entries.values()) {
            let entry: Value = serde_json::from_str(entry.as_str().unwrap_or_default()).unwrap();
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            if entry["stays"] == true {
                self.left.insert((id.to_owned(), text("name")));
            }
            if entry["staysWhileItLives"] == true {
                self.outlives.insert((id.to_owned(), text("hubUid")));
            }
        }
    }

    /// Whether what an instance has at a site was left as it was: by a Placement, of the hub itself by its record; or by a
    /// cluster that was deregistered.
    pub fn is_left(&self, site: &str, name: &str) -> bool {
        if site == HUB {
            let record = self.instances.get(name).map(|instance| &instance.record);
            let own = record.and_then(|record| record.unmatched.get(&ClusterName::new(LOCAL)));
            return own.is_some_and(|unmatched| unmatched.then == Then::Orphan);
        }
        let Some(Cluster { id, .. }) = self.clusters.get(site) else { return false };
        let lives = |instance: &Instance| self.outlives.contains(&(id.clone(), instance.uid.clone()));
        self.left.contains(&(id.clone(), name.to_owned())) || self.instances.get(name).is_some_and(lives)
    }

    fn version(&mut self, object: &Object) {
        let Some(of) = object.label(hub::VERSION_OF) else { return };
        let data = &object.0["data"];
        let unit = if data["kind"].is_null() { Unit::Instance(of.to_owned()) } else { Unit::Kind };
        let graph = data["graph"].as_str().unwrap_or_default().to_owned();
        let version = Version {
            stable: object.label(hub::STABLE) == Some("true"),
            print: data["print"].as_str().map_or_else(|| graph.clone(), str::to_owned),
            spec: data["spec"].clone(),
            overrides: data["overrides"].clone(),
            graph,
        };
        self.versions.insert((unit, object.0["revision"].as_u64().unwrap_or_default()), version);
    }

    fn revision(&mut self, object: &Object) {
        let text = object.0.to_string();
        let Some(of) = text.split("\"revision\":\"r").nth(1).and_then(|t| t.split('"').next()?.parse().ok())
        else {
            return;
        };
        if let Some(number) = object.0.pointer("/spec/revision").and_then(Value::as_u64) {
            self.revisions.insert(number, of);
        }
        if let Some(hash) = object.label("kro.run/graph-revision-hash") {
            self.graphs.insert(hash.to_owned(), of);
        }
    }

    // Choice.

    pub fn selecting<'g, 'n>(&'g self, name: &'n str) -> impl Iterator<Item = &'g Policy> + use<'g, 'n> {
        self.policies.iter().filter(move |policy| {
            let of = &policy.spec.instances;
            let labels = self.instances.get(name).map(|i| &i.labels);
            let wanted = of.label_selector.as_ref().and_then(|s| s.match_labels.as_ref());
            of.kind == KIND
                && (of.names.is_empty() || of.names.iter().any(|n| n == name))
                && wanted.is_none_or(|wanted| labels.is_some_and(|labels| has(labels, wanted)))
        })
    }

    /// Registered clusters that instances may be put on. `there`: it is there already.
    fn open(&self, tolerations: &[crate::api::placement::Toleration], there: bool) -> Names {
        let is_open = |cluster: &&Cluster| {
            let refuses = |taint: &&Taint| {
                taint.effect == Effect::NoSelect || (taint.effect == Effect::NoSelectIfNew && !there)
            };
            let mut taints = cluster.taints.iter().filter(refuses);
            let allowed = cluster.allowed.is_empty() || cluster.allowed.iter().any(|n| n == "default");
            !cluster.leaving && allowed && taints.all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
        };
        self.clusters.iter().filter(|(_, c)| is_open(c)).map(|(name, _)| name.clone()).collect()
    }

    /// What a Placement may take.
    pub fn candidates(&self, policy: &Policy, there: bool) -> Names {
        let Some(words) = &policy.spec.clusters else { return Names::new() };
        let mut open = self.open(&words.tolerations, there);
        open.retain(|name| !words.exclude.contains(name) && self.means(words, name));
        open
    }

    fn means(&self, words: &Clusters, name: &String) -> bool {
        if words.names.contains(name) {
            return true;
        }
        let labels = self.clusters.get(name).map(|c| &c.labels);
        let selector = words.label_selector.as_ref().and_then(|s| s.match_labels.as_ref());
        let wide = match selector {
            Some(wanted) => labels.is_some_and(|labels| !wanted.is_empty() && has(labels, wanted)),
            None => words.all || (!words.expression.is_empty() && words.names.is_empty()),
        };
        wide && (words.expression.is_empty() || name != "c2")
    }

    /// What the annotation of an instance may take.
    pub fn named(&self, instance: &Instance, there: bool) -> Names {
        let Some(text) = instance.words.as_deref() else { return Names::new() };
        let mut open = self.open(&[], there);
        let named = names(Some(text));
        open.retain(|name| text == "*" || named.contains(&ClusterName::new(name)));
        open
    }

    /// Everything that any word may put the instance on.
    pub fn may(&self, name: &str, there: bool) -> Names {
        let Some(instance) = self.instances.get(name) else { return Names::new() };
        let mut all = self.named(instance, there);
        self.selecting(name).for_each(|policy| all.extend(self.candidates(policy, there)));
        all
    }

    /// What some word puts it on for certain.
    pub fn must(&self, name: &str) -> Names {
        let Some(instance) = self.instances.get(name) else { return Names::new() };
        let mut all = self.named(instance, false);
        for policy in self.selecting(name) {
            let candidates = self.candidates(policy, false);
            let limit = policy.spec.clusters.as_ref().and_then(|words| words.max);
            let new = self.candidates(policy, true).len();
            if limit.is_none_or(|max| new <= max as usize) {
                all.extend(candidates);
            }
        }
        all
    }

    // Rollouts.

    /// The rollout in effect for a unit, and the Placement that has it.
    pub fn rollout(&self, unit: &Unit, name: &str) -> Option<&Rollout> {
        let scope = if *unit == Unit::Kind { Scope::Kind } else { Scope::Instance };
        let of = |policy: &&Policy| {
            let rollout = policy.spec.rollout.as_ref();
            rollout.is_some_and(|r| {
                let moves = !r.stages.is_empty() || (scope == Scope::Kind && r.revision.is_some());
                r.scope == scope && moves && (scope == Scope::Instance || policy.of_cluster)
            })
        };
        let first = self.selecting(name).filter(of).min_by_key(|p| (p.of_cluster, p.name.clone()))?;
        first.spec.rollout.as_ref()
    }

    /// The index of the stage that a pair is in; the number of stages for what none matches.
    pub fn stage(&self, rollout: &Rollout, name: &str, site: &str) -> usize {
        let empty = Labels::new();
        let labels = self.instances.get(name).map_or(&empty, |i| &i.labels);
        let has_instance = |stage: &crate::api::rollout::Stage| {
            let of = stage.instances.as_ref();
            let wanted = of.and_then(|of| of.label_selector.as_ref()?.match_labels.as_ref());
            wanted.is_none_or(|wanted| has(labels, wanted))
        };
        let is_in = |stage: &crate::api::rollout::Stage| {
            stage.clusters.as_ref().is_none_or(|filter| self.is_in(filter, site)) && has_instance(stage)
        };
        rollout.stages.iter().position(is_in).unwrap_or(rollout.stages.len())
    }

    fn is_in(&self, filter: &ClusterFilter, site: &str) -> bool {
        let labels = self.clusters.get(site).map(|c| &c.labels);
        let selector = filter.label_selector.as_ref().and_then(|s| s.match_labels.as_ref());
        let selected = |wanted: &Labels| labels.is_some_and(|labels| has(labels, wanted));
        filter.names.iter().any(|n| n == site) || selector.is_some_and(selected)
    }

    pub fn stable(&self, unit: &Unit) -> Option<(u64, &Version)> {
        let mut all = self.versions.iter().filter(|((of, _), version)| of == unit && version.stable);
        all.next_back().map(|((_, number), version)| (*number, version))
    }

    pub fn target(&self, unit: &Unit) -> Option<(u64, &Version)> {
        let mut all = self.versions.iter().filter(|((of, _), _)| of == unit);
        all.next_back().map(|((_, number), version)| (*number, version))
    }

    /// Which contents a version may have on a cluster: overrides of a Placement reach what it chooses, which changes.
    /// `labels`: those that the mirror says were read.
    pub fn contents(version: &Version, site: &str, labels: Option<&Labels>) -> Vec<Value> {
        let mut all = vec![version.spec.clone()];
        for layer in version.overrides.as_array().into_iter().flatten() {
            let rules = layer["rules"].as_array().cloned().unwrap_or_default();
            all.extend(all.clone().into_iter().flat_map(|spec| overridden(spec, &rules, (site, labels))));
        }
        all
    }

    pub fn contents_now(&self, name: &str, spec: &Value, site: &str) -> Vec<Value> {
        let mut all = vec![spec.clone()];
        for policy in self.selecting(name).filter(|p| !p.spec.overrides.is_empty()) {
            let rules = serde_json::to_value(&policy.spec.overrides).unwrap();
            let rules = rules.as_array().unwrap();
            let labels = self.clusters.get(site).map(|cluster| &cluster.labels);
            let over = |spec: &Value| overridden(spec.clone(), rules, (site, labels));
            let places = policy.spec.clusters.as_ref();
            let limited = places.is_some_and(|words| words.max.is_some());
            let candidates = self.candidates(policy, true).contains(site);
            let new: Vec<Value> = all.iter().flat_map(over).collect();
            match (places.is_none() || candidates, limited || places.is_some_and(|_| !candidates)) {
                (_, true) => all.extend(new),
                (true, false) => all = new,
                (false, false) => {}
            }
        }
        all
    }
}

/// Rules name their clusters or their labels, or are for all. Where the labels are not known, it may be either.
fn overridden(spec: Value, rules: &[Value], (site, labels): (&str, Option<&Labels>)) -> Vec<Value> {
    let mut all = vec![spec];
    for rule in rules {
        let fields = rule["spec"].as_object().cloned().unwrap_or_default();
        let over = |spec: &Value| {
            let mut spec = spec.clone();
            fields.iter().for_each(|(field, value)| spec[field] = value.clone());
            spec
        };
        let named = rule.pointer("/clusters/names").and_then(Value::as_array);
        let wanted = rule.pointer("/clusters/labelSelector/matchLabels");
        let wanted: Option<Labels> = wanted.map(|wanted| serde_json::from_value(wanted.clone()).unwrap());
        let holds = match (named, wanted, labels) {
            (Some(named), ..) => Some(named.iter().any(|n| n == site)),
            (None, None, _) => Some(true),
            (None, Some(wanted), Some(labels)) => Some(has(labels, &wanted)),
            (None, Some(_), None) => None,
        };
        let new: Vec<Value> = all.iter().map(over).collect();
        match holds {
            Some(true) => all = new,
            Some(false) => {}
            None => all.extend(new),
        }
    }
    all
}

pub fn count(amount: &Amount, total: usize) -> usize {
    match *amount {
        Amount::Count(count) => count as usize,
        Amount::Percent(percent) => total * percent as usize / 100,
    }
}

fn has(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
