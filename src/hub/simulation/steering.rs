//! How users steer the fleet: Placements, rollouts, approvals, labels and taints of clusters.

use super::act::Act;
use super::ground::{EXPRESSION, Ground, Unit};
use super::network::HUB;
use super::process::HUB_NAMESPACE;
use super::wishes::{self, KIND, NAMESPACE};
use super::world::World;
use crate::api::keys::hub;
use crate::hub::machines::random::Random;
use serde_json::{Value, json};

/// The ClusterPlacement that moves the revision of the whole kind.
const OF_KIND: &str = "kind";
const POLICIES: [(&str, bool); 4] = [("web", false), ("web2", false), ("base", true), (OF_KIND, true)];
const STAGES: [&str; 4] = ["canary", "middle", "last", "rest"];

/// What one of them does.
pub fn random(random: &mut Random, spokes: &[String]) -> Act {
    let site = random.pick(spokes);
    let (name, of_cluster) = random.pick(&POLICIES);
    let policy = name.to_owned();
    match random.below(100) {
        0..40 => {
            let spec = if name == OF_KIND { of_kind(random) } else { spec(random, spokes) };
            Act::Steer { policy, of_cluster, spec }
        }
        40..48 => Act::Unsteer { policy, of_cluster },
        48..58 => {
            let (key, value) =
                random.pick(&[("region", "eu"), ("region", "us"), ("stage", "canary"), ("stage", "prod")]);
            Act::Label { site, key, value }
        }
        58..65 => {
            let effect = random.pick(&["NoSelect", "NoSelectIfNew", "PreferNoSelect", ""]);
            let taint = json!([{"key": "gpu", "value": "yes", "effect": effect}]);
            Act::Taint { site, taints: if effect.is_empty() { json!([]) } else { taint } }
        }
        65..83 => Act::Approve { pick: random.below(100), stage: random.pick(&STAGES) },
        83..86 => Act::Withdraw { pick: random.below(100) },
        86..92 => Act::Pause { policy, of_cluster, on: random.chance(40) },
        92..96 => Act::Pin { back: random.below(3) as u64 },
        _ => Act::Acknowledge,
    }
}

fn selector(random: &mut Random) -> Value {
    let (key, value) = random.pick(&[("region", "eu"), ("region", "us"), ("stage", "prod")]);
    json!({"matchLabels": {key: value}})
}

fn some(random: &mut Random, spokes: &[String]) -> Vec<String> {
    let mut names: Vec<String> = spokes.iter().filter(|_| random.chance(50)).cloned().collect();
    if names.is_empty() {
        names.push(random.pick(spokes));
    }
    names
}

fn spec(random: &mut Random, spokes: &[String]) -> Value {
    let mut spec = json!({"instances": {"kind": KIND}});
    match random.below(3) {
        0 => spec["instances"]["labelSelector"] = json!({"matchLabels": {"tier": random.pick(&["a", "b"])}}),
        1 => spec["instances"]["names"] = json!([random.pick(&super::act::NAMES)]),
        _ => {}
    }
    if random.chance(80) {
        let mut clusters = match random.below(5) {
            0 => json!({"names": some(random, spokes)}),
            1 => json!({"labelSelector": selector(random)}),
            2 => json!({"all": true, "expression": EXPRESSION}),
            _ => json!({"all": true}),
        };
        if random.chance(15) {
            clusters["exclude"] = json!([random.pick(spokes)]);
        }
        if random.chance(20) {
            clusters["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
        }
        if random.chance(30) {
            clusters["max"] = json!(1 + random.below(3));
            match random.below(3) {
                0 => clusters["failover"] = json!({"after": "1m"}),
                1 => clusters["spread"] = json!({"key": "region"}),
                _ => {}
            }
        }
        spec["clusters"] = clusters;
    }
    spec["grace"] = json!(random.pick(&["0s", "0s", "30s", "3m"]));
    if random.chance(20) {
        spec["onUnmatch"] = json!("Orphan");
    }
    if random.chance(35) {
        let mut rule = json!({"spec": random.pick(&[json!({"value": "over"}), json!({"extra": true})])});
        if random.chance(50) {
            let names = some(random, spokes);
            rule["clusters"] = match names.len() {
                1 => json!({"labelSelector": {"matchLabels": {"region": "eu"}}}),
                _ => json!({"names": names}),
            };
        }
        spec["overrides"] = json!([rule]);
    }
    if random.chance(65) {
        spec["rollout"] = rollout(random, spokes);
    }
    spec
}

/// How many of a stage may be under way.
fn at_a_time(random: &mut Random) -> Value {
    random.pick(&[json!(1), json!(2), json!(3), json!("34%"), json!("50%"), json!("100%")])
}

fn failures(random: &mut Random) -> Value {
    random.pick(&[json!(0), json!(0), json!(1), json!("25%")])
}

fn rollout(random: &mut Random, spokes: &[String]) -> Value {
    let mut stages = Vec::new();
    if random.chance(70) {
        let of = json!({"labelSelector": {"matchLabels": {"stage": "canary"}}});
        stages.push(json!({"name": "canary", "maxConcurrent": 1, "clusters": of}));
    }
    if random.chance(40) {
        let of = json!({"names": some(random, spokes)});
        let (many, approval) = (at_a_time(random), random.chance(50));
        stages.push(json!({"name": "middle", "maxConcurrent": many, "clusters": of, "approval": approval}));
    }
    if stages.is_empty() || random.chance(70) {
        let soak = random.pick(&["0s", "20s"]);
        stages.push(json!({"name": "last", "maxConcurrent": at_a_time(random), "soak": soak,
            "approval": random.chance(30)}));
    }
    json!({"stages": stages, "maxFailures": failures(random), "progressDeadline": "60s",
        "paused": random.chance(8)})
}

fn of_kind(random: &mut Random) -> Value {
    let canary = json!({"labelSelector": {"matchLabels": {"stage": "canary"}}});
    let mut stages = vec![
        json!({"name": "canary", "maxConcurrent": 1, "clusters": canary}),
        json!({"name": "last", "maxConcurrent": at_a_time(random), "approval": random.chance(30)}),
    ];
    if random.chance(30) {
        let of = json!({"labelSelector": {"matchLabels": {"tier": "a"}}});
        stages.insert(1, json!({"name": "middle", "maxConcurrent": 2, "instances": of}));
    }
    json!({"instances": {"kind": KIND}, "rollout": {"scope": "Kind", "stages": stages,
        "maxFailures": failures(random), "progressDeadline": "60s"}})
}

fn path(policy: &str, of_cluster: bool) -> (String, String) {
    let all = if of_cluster {
        "/apis/hub.kro.run/v1alpha1/clusterplacements".to_owned()
    } else {
        format!("/apis/hub.kro.run/v1alpha1/namespaces/{NAMESPACE}/placements")
    };
    let one = format!("{all}/{policy}");
    (all, one)
}

impl World {
    pub fn steer(&self, policy: &str, of_cluster: bool, spec: &Value) {
        let (all, one) = path(policy, of_cluster);
        let kind = if of_cluster { "ClusterPlacement" } else { "Placement" };
        let mut body = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": kind, "metadata": {"name": policy},
            "spec": spec});
        match self.get(HUB, &one) {
            None => drop(self.must(HUB, "POST", &all, &body)),
            Some(live) => {
                body["metadata"] = live["metadata"].clone();
                self.must(HUB, "PUT", &one, &body);
            }
        }
        self.wants();
    }

    pub fn unsteer(&self, policy: &str, of_cluster: bool) {
        self.user(HUB, "DELETE", &path(policy, of_cluster).1, &Value::Null);
        self.wants();
    }

    /// Somebody labels the Secret; its Cluster follows.
    pub fn label(&mut self, site: &str, key: &str, value: &str) {
        self.labels.entry(site.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        let patch = json!({"metadata": {"labels": {key: value}}});
        self.user(HUB, "PATCH", &Self::secret_path(site), &patch);
        self.network.laws.lock().unwrap().relabelled(site);
    }

    pub fn taint(&self, site: &str, taints: &Value) {
        let patch = json!({"spec": {"taints": taints}});
        self.user(HUB, "PATCH", &format!("/apis/hub.kro.run/v1alpha1/clusters/{site}"), &patch);
        self.wants();
    }

    pub fn ground(&self) -> Ground {
        self.network.shared(HUB).with(|server| Ground::read(server))
    }

    /// The newest version of one of the units, for one of the stages.
    pub fn approve(&self, pick: usize, stage: &str) {
        let ground = self.ground();
        let mut units: Vec<Option<&String>> = ground.instances.keys().map(Some).collect();
        units.push(None);
        self.approve_of(&ground, units[pick % units.len()], stage);
    }

    fn approve_of(&self, ground: &Ground, name: Option<&String>, stage: &str) {
        let (unit, of, namespace) = match name {
            Some(name) => {
                let uid = ground.instances[name].uid.clone();
                (Unit::Instance(uid), json!({"instance": {"kind": KIND, "name": name}}), NAMESPACE)
            }
            None => (Unit::Kind, json!({"clusterPlacement": OF_KIND}), HUB_NAMESPACE),
        };
        let Some((version, _)) = ground.target(&unit) else { return };
        let mut spec = of;
        (spec["version"], spec["stage"]) = (json!(version), json!(stage));
        let title = format!("{}-{version}-{stage}", name.map_or("kind", String::as_str));
        let body = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "RolloutApproval",
            "metadata": {"name": title, "namespace": namespace}, "spec": spec});
        let all = format!("/apis/hub.kro.run/v1alpha1/namespaces/{namespace}/rolloutapprovals");
        self.user(HUB, "POST", &all, &body);
    }

    pub fn withdraw(&self, pick: usize) {
        for namespace in [NAMESPACE, HUB_NAMESPACE] {
            let all = format!("/apis/hub.kro.run/v1alpha1/namespaces/{namespace}/rolloutapprovals");
            let list = self.list(HUB, &all);
            if let Some(one) = list.get(pick % list.len().max(1)) {
                self.user(HUB, "DELETE", &format!("{all}/{}", one.name()), &Value::Null);
                return;
            }
        }
    }

    fn change_rollout(&self, policy: &str, of_cluster: bool, field: &str, value: &Value) {
        let (_, one) = path(policy, of_cluster);
        let live = self.get(HUB, &one);
        if live.is_some_and(|live| !live["spec"]["rollout"].is_null()) {
            self.user(HUB, "PATCH", &one, &json!({"spec": {"rollout": {field: value}}}));
        }
    }

    pub fn pause(&self, policy: &str, of_cluster: bool, on: bool) {
        self.change_rollout(policy, of_cluster, "paused", &json!(on));
    }

    /// To so many revisions before the newest; none takes the pin away.
    pub fn pin(&self, back: u64) {
        let newest = self.ground().revisions.keys().next_back().copied().unwrap_or_default();
        let pin = (back > 0 && newest > back).then(|| newest - back);
        self.change_rollout(OF_KIND, true, "revision", &json!(pin));
    }

    /// Somebody reads what is held, and lets it go.
    pub fn acknowledge(&self) {
        let token = |text: &str, before: &str| -> Option<String> {
            let rest = text.split(before).nth(1)?;
            Some(rest.chars().take_while(char::is_ascii_hexdigit).collect())
        };
        for (policy, of_cluster) in POLICIES {
            let (_, one) = path(policy, of_cluster);
            let told = self.get(HUB, &one).unwrap_or_default()["status"].to_string();
            let words =
                token(&told, "spec.clusters.allowShrink: ").map(|token| json!({"allowShrink": token}));
            let none = told.contains("set spec.clusters: {names: []}").then(|| json!({"names": []}));
            if let Some(words) = words.or(none) {
                self.user(HUB, "PATCH", &one, &json!({"spec": {"clusters": words}}));
            }
        }
        for instance in self.instances() {
            let key = format!("{}=", hub::ALLOW_SHRINK);
            if let Some(token) = token(&instance.0["status"].to_string(), &key) {
                let patch = json!({"metadata": {"annotations": {hub::ALLOW_SHRINK: token}}});
                self.user(HUB, "PATCH", &format!("{}/{}", wishes::SHOPS, instance.name()), &patch);
            }
        }
    }

    /// The storm is over: nothing is paused, pinned or ill, and somebody says where each instance goes.
    pub fn settle(&self) {
        for (policy, of_cluster) in POLICIES {
            self.pause(policy, of_cluster, false);
        }
        self.pin(0);
        self.settle_words();
    }

    fn settle_words(&self) {
        let ground = self.ground();
        for instance in self.instances().into_iter().filter(|i| !i.is_deleting()) {
            let path = format!("{}/{}", wishes::SHOPS, instance.name());
            if wishes::Wish::read(&instance.0["spec"]).is_ill() {
                self.user(HUB, "PATCH", &path, &json!({"spec": {"value": "well"}}));
            }
            if ground.must(instance.name()).is_empty() {
                let patch = json!({"metadata": {"annotations": {hub::CLUSTERS: "c1"}}});
                self.user(HUB, "PATCH", &path, &patch);
            }
        }
        self.wants();
    }

    /// From then on somebody looks now and then.
    pub fn tend(&self) {
        self.acknowledge();
        self.settle_words();
        let ground = self.ground();
        for stage in STAGES {
            ground.instances.keys().for_each(|name| self.approve_of(&ground, Some(name), stage));
            self.approve_of(&ground, None, stage);
        }
    }
}
