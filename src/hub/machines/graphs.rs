//! Random small definitions, and what each should lead to, said by a few lines that share nothing with `graph`.

use super::random::Random;
use crate::api::ResourceGraphDefinition;
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::graph::{Graph, Options, compile};
use crate::schema::kinds::Anywhere;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const NAMESPACE: &str = "apps";
pub const OTHER_NAMESPACE: &str = "shared";

/// The kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    ConfigMap,
    /// An operator fills its status.
    Widget,
    /// Cluster-scoped.
    Zone,
}

impl Sort {
    pub const ALL: [Self; 3] = [Self::ConfigMap, Self::Widget, Self::Zone];

    pub fn gk(self) -> GroupKind {
        match self {
            Self::ConfigMap => GroupKind::new("", "ConfigMap"),
            Self::Widget => GroupKind::new("example.com", "Widget"),
            Self::Zone => GroupKind::new("example.com", "Zone"),
        }
    }
    fn api_version(self) -> &'static str {
        if self == Self::ConfigMap { "v1" } else { "example.com/v1" }
    }
    /// Where its content stands.
    pub fn field(self) -> &'static str {
        if self == Self::ConfigMap { "data" } else { "spec" }
    }
}

/// The generated kind of the model.
pub fn app_gvk() -> Gvk {
    Gvk::new("kro.run", "v1alpha1", "App")
}

pub fn app_kind() -> GroupKind {
    GroupKind::new("kro.run", "App")
}

/// One resource of a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub id: String,
    pub sort: Sort,
    pub suffix: String,
    pub reads: Vec<String>,
    /// Only while `spec.flag` is set.
    pub flagged: bool,
    /// Once for each of `spec.items`.
    pub each: bool,
    /// Ready when the operator says so.
    pub waits: bool,
    pub elsewhere: bool,
    /// Its name ends with the uid of the mirror.
    pub by_uid: bool,
    /// All instances want the same object.
    pub shared: bool,
    pub adopts: bool,
    /// Takes what is there before us if it is as wanted.
    pub adopts_equal: bool,
    pub orphans: bool,
    /// It says the tier of the cluster.
    pub tells_tier: bool,
    /// It lives on the hub.
    pub on_hub: bool,
    /// It is not made, only read.
    pub outside: Option<Outside>,
}

/// What stands beside the instances, and is nobody's here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// ConfigMap `settings-<spec.x>`.
    Named,
    /// ConfigMaps with label `tier=web`.
    Selected,
}

impl Plan {
    pub fn new(id: &str, sort: Sort) -> Self {
        Self {
            id: id.into(),
            sort,
            suffix: id.into(),
            reads: Vec::new(),
            flagged: false,
            each: false,
            waits: false,
            elsewhere: false,
            by_uid: false,
            shared: false,
            adopts: false,
            adopts_equal: false,
            orphans: false,
            tells_tier: false,
            on_hub: false,
            outside: None,
        }
    }
    pub fn reading(mut self, ids: &[&str]) -> Self {
        self.reads = ids.iter().map(|i| (*i).to_owned()).collect();
        self
    }
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    pub fn on_hub(mut self) -> Self {
        self.on_hub = true;
        self
    }

    pub fn outside(mut self, outside: Outside) -> Self {
        self.outside = Some(outside);
        self
    }

    /// Without the item.
    fn name(&self, instance: &str, uid: &str) -> String {
        let uid = if self.by_uid { format!("-{uid}") } else { String::new() };
        let instance = if self.shared { "shared" } else { instance };
        format!("{instance}-{}{uid}", self.suffix)
    }

    fn reference(&self) -> Option<Value> {
        let metadata = match self.outside? {
            Outside::Named => json!({"name": "settings-${schema.spec.x}"}),
            Outside::Selected => {
                json!({"namespace": NAMESPACE, "selector": {"matchLabels": {"tier": "web"}}})
            }
        };
        Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    }

    fn template(&self, plans: &[Self]) -> Value {
        let mut content = Map::from_iter([("x".to_owned(), json!("${schema.spec.x}"))]);
        if self.tells_tier {
            content.insert("tier".into(), json!("${kro.cluster.labels.tier}"));
        }
        for id in &self.reads {
            let Some(read) = plans.iter().find(|p| p.id == *id) else { continue };
            let text = match (read.each, read.sort) {
                _ if read.outside == Some(Outside::Named) => format!("${{{id}.data.value}}"),
                _ if read.outside.is_some() => format!("${{string(size({id}))}}"),
                (true, _) => format!("${{string(size({id}))}}"),
                (false, Sort::Widget) => format!("${{{id}.status.value}}"),
                (false, _) => format!("${{{id}.metadata.name}}"),
            };
            content.insert(id.clone(), json!(text));
        }
        let item = if self.each { "-${item0}" } else { "" };
        let uid = if self.by_uid { "-${schema.metadata.uid}" } else { "" };
        let instance = if self.shared { "shared" } else { "${schema.metadata.name}" };
        let mut metadata = json!({"name": format!("{instance}-{}{uid}{item}", self.suffix), "labels": {"team": "${schema.spec.x}"}});
        if self.elsewhere && self.sort != Sort::Zone {
            metadata["namespace"] = json!(OTHER_NAMESPACE);
        }
        let mut notes = Map::new();
        if self.adopts {
            notes.insert("hub.kro.run/on-existing".into(), json!("Adopt"));
        } else if self.adopts_equal {
            notes.insert("hub.kro.run/on-existing".into(), json!("AdoptIfEqual"));
        }
        if self.on_hub {
            notes.insert("hub.kro.run/target".into(), json!("hub"));
        }
        if self.orphans {
            notes.insert("hub.kro.run/on-delete".into(), json!("Orphan"));
        }
        if !notes.is_empty() {
            metadata["annotations"] = Value::Object(notes);
        }
        let mut content = Value::Object(content);
        if self.sort == Sort::Widget {
            content["ports"] = json!([{"port": 80, "to": "${schema.spec.x}"}]);
        }
        json!({"apiVersion": self.sort.api_version(), "kind": *self.sort.gk().kind, "metadata": metadata,
            self.sort.field(): content})
    }
}

/// The author's fields of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub x: String,
    pub flag: bool,
    pub items: Vec<String>,
}

impl Wish {
    pub fn random(random: &mut Random) -> Self {
        let items = ["a", "b", "c"].iter().filter(|_| random.chance(50)).map(|i| (*i).to_owned()).collect();
        Self { x: format!("x{}", random.below(4)), flag: random.chance(60), items }
    }
    pub fn value(&self) -> Value {
        json!({"x": self.x, "flag": self.flag, "items": self.items})
    }
    pub fn read(spec: &Value) -> Self {
        let items = spec["items"].as_array().into_iter().flatten();
        Self {
            x: spec["x"].as_str().unwrap_or_default().into(),
            flag: spec["flag"] == true,
            items: items.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

/// One object that should be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub node: String,
    pub field: &'static str,
    pub content: BTreeMap<String, String>,
}

/// A definition at one revision.
#[derive(Debug)]
pub struct Blueprint {
    pub plans: Vec<Plan>,
    pub graph: Arc<Graph>,
}

impl Blueprint {
    pub fn new(plans: Vec<Plan>, generation: i64) -> Arc<Self> {
        Self::edited_by(plans, generation, |_| {})
    }

    /// With what the author changes in the definition besides.
    pub fn edited_by(plans: Vec<Plan>, generation: i64, edit: impl FnOnce(&mut Value)) -> Arc<Self> {
        let resources: Vec<Value> = plans
            .iter()
            .map(|plan| {
                let mut resource = json!({"id": plan.id});
                match plan.reference() {
                    Some(reference) => resource["externalRef"] = reference,
                    None => resource["template"] = plan.template(&plans),
                }
                if plan.flagged {
                    resource["includeWhen"] = json!(["${schema.spec.flag}"]);
                }
                if plan.each {
                    resource["forEach"] = json!([{"item0": "${schema.spec.items}"}]);
                }
                if plan.waits {
                    let subject = if plan.each { "each" } else { &plan.id };
                    resource["readyWhen"] = json!([format!("${{{subject}.status.ready == true}}")]);
                }
                resource
            })
            .collect();
        let mut definition = json!({
            "metadata": {"name": "app", "uid": "rgd-1", "generation": generation},
            "spec": {
                "schema": {"kind": "App", "apiVersion": "v1alpha1",
                    "spec": {"x": "string", "flag": "boolean", "items": "[]string"},
                    "status": {"first": "${n0.metadata.name}"}},
                "resources": resources,
            },
        });
        edit(&mut definition);
        let definition: ResourceGraphDefinition = serde_json::from_value(definition).unwrap();
        let graph = compile(&definition, &Options::default(), &Anywhere).unwrap_or_else(|problems| {
            panic!("{}\n{plans:#?}", problems.iter().map(|p| format!("{p}\n")).collect::<String>())
        });
        Arc::new(Self { plans, graph: Arc::new(graph) })
    }

    pub fn random(random: &mut Random) -> Arc<Self> {
        let mut plans = vec![Plan::new("n0", Sort::ConfigMap)];
        for index in 1..=random.below(4) {
            let plan = random_plan(random, &format!("n{index}"), &plans);
            plans.push(plan);
        }
        Self::telling(random.chance(40), plans, 1)
    }

    /// The status may tell on how many clusters all is well.
    fn telling(tells: bool, plans: Vec<Plan>, generation: i64) -> Arc<Self> {
        Self::edited_by(plans, generation, |definition| {
            if tells {
                definition["spec"]["schema"]["status"]["active"] =
                    json!("${kro.clusters.filter(c, c.state == 'ACTIVE').size()}");
            }
        })
    }

    /// The author edits the definition.
    pub fn edited(&self, random: &mut Random, serial: usize) -> Arc<Self> {
        let mut plans = self.plans.clone();
        let last = plans.len() - 1;
        match random.below(4) {
            0 if last > 0 => {
                // The last one; nobody can read it.
                plans.pop();
            }
            1 => {
                let plan = random_plan(random, &format!("m{serial}"), &plans);
                plans.push(plan);
            }
            2 => plans[random.below(last + 1)].suffix = format!("s{serial}"),
            _ if last > 0 => {
                let plan = &mut plans[last];
                plan.flagged = !plan.flagged;
            }
            _ => {}
        }
        Self::telling(self.graph.reads_clusters(), plans, self.graph.generation + 1)
    }

    /// Nodes that take part: what reads something that is left out is left out too.
    pub fn included(&self, wish: &Wish) -> BTreeSet<String> {
        let mut out: BTreeSet<String> = BTreeSet::new();
        for plan in &self.plans {
            if (wish.flag || !plan.flagged) && plan.reads.iter().all(|r| out.contains(r)) {
                out.insert(plan.id.clone());
            }
        }
        out
    }

    pub fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|p| p.id == id)
    }

    /// Objects of one node. `uid` is that of what they belong to: the mirror, or the instance itself on the hub.
    pub fn objects_of(&self, plan: &Plan, instance: &str, uid: &str, wish: &Wish) -> Vec<ObjectRef> {
        if plan.outside.is_some() {
            return Vec::new();
        }
        let namespace = match plan.sort {
            Sort::Zone => "",
            _ if plan.elsewhere => OTHER_NAMESPACE,
            _ => NAMESPACE,
        };
        let name = plan.name(instance, uid);
        if plan.each {
            let items = wish.items.iter();
            return items
                .map(|i| ObjectRef::new(plan.sort.gk(), namespace, &format!("{name}-{i}")))
                .collect();
        }
        vec![ObjectRef::new(plan.sort.gk(), namespace, &name)]
    }

    /// All that should be there for an instance, once everything is ready.
    pub fn expected(&self, instance: &str, uid: &str, wish: &Wish) -> BTreeMap<ObjectRef, Expected> {
        let included = self.included(wish);
        let mut out = BTreeMap::new();
        for plan in self.plans.iter().filter(|p| included.contains(&p.id)) {
            let mut content = BTreeMap::from([("x".to_owned(), wish.x.clone())]);
            for read in plan.reads.iter().filter_map(|r| self.plan(r)).filter(|r| r.outside.is_none()) {
                let name = read.name(instance, uid);
                let value = match (read.each, read.sort) {
                    (true, _) => wish.items.len().to_string(),
                    (false, Sort::Widget) => operator_value(&name),
                    (false, _) => name,
                };
                content.insert(read.id.clone(), value);
            }
            for object in self.objects_of(plan, instance, uid, wish) {
                let field = plan.sort.field();
                out.insert(object, Expected { node: plan.id.clone(), field, content: content.clone() });
            }
        }
        out
    }
}

/// What the operator writes into the status of a Widget.
pub fn operator_value(name: &str) -> String {
    format!("value-of-{name}")
}

/// An object beside the instances.
pub fn outside(x: &str) -> ObjectRef {
    ObjectRef::new(Sort::ConfigMap.gk(), NAMESPACE, &format!("settings-{x}"))
}
pub fn is_outside(object: &ObjectRef) -> bool {
    object.name.starts_with("settings-")
}
/// All that `spec.x` may say.
pub const XS: [&str; 4] = ["x0", "x1", "x2", "x3"];
/// What stands beside the instances when all is calm.
pub const CALM_VALUE: &str = "calm";

fn random_plan(random: &mut Random, id: &str, before: &[Plan]) -> Plan {
    if random.chance(20) {
        return Plan::new(id, Sort::ConfigMap).outside(random.pick(&[Outside::Named, Outside::Selected]));
    }
    let mut plan = Plan::new(id, random.pick(&Sort::ALL));
    plan.reads = before.iter().filter(|_| random.chance(40)).map(|p| p.id.clone()).collect();
    plan.flagged = random.chance(25);
    plan.each = random.chance(25);
    plan.waits = plan.sort == Sort::Widget && random.chance(60);
    plan.elsewhere = plan.sort != Sort::Zone && random.chance(20);
    plan.by_uid = random.chance(15);
    plan.tells_tier = random.chance(20);
    plan.orphans = random.chance(10);
    // What was let live may be wanted again.
    plan.adopts = plan.orphans || random.chance(20);
    plan.adopts_equal = random.chance(20);
    plan
}
