//! One object that two instances want: the first has it, and the second takes it up once it is given up.

use super::api_server::Server;
use super::graphs::{Blueprint, NAMESPACE, Plan, Sort, Wish};
use super::laws;
use super::spoke_tables::{Bench, child, settled};
use super::world::{World, hub_site, instance_key};
use crate::api::keys::{hub, kro};
use crate::api::names::{ClusterName, ObjectRef};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: u64 = 4_000;

fn shared() -> ObjectRef {
    ObjectRef::new(Sort::ConfigMap.gk(), NAMESPACE, "shared-n0")
}

/// `cluster`: `None` is the hub itself.
struct Pair {
    world: World,
    cluster: Option<&'static str>,
}

impl Pair {
    /// The first has the object, the second says so.
    fn new(seed: u64, cluster: Option<&'static str>) -> Self {
        let mut plan = Plan::new("n0", Sort::ConfigMap);
        (plan.shared, plan.flagged) = (true, true);
        let blueprint = Blueprint::new(vec![plan, Plan::new("n1", Sort::ConfigMap)], 1);
        let mut pair = Self { world: World::new(seed, 1, cluster.is_none(), blueprint, false), cluster };
        for name in ["first", "second"] {
            let wish = Wish { x: "x".into(), flag: true, items: Vec::new() };
            let mut body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
                "metadata": {"name": name, "namespace": NAMESPACE}, "spec": wish.value()});
            if let Some(words) = cluster {
                body["metadata"]["annotations"] = json!({hub::CLUSTERS: words});
            }
            pair.world.hub_server().create(&instance_key(name).object(), "user", &body).unwrap();
            pair.rest();
        }
        assert_eq!(pair.told(), "first ACTIVE ERROR");
        pair
    }

    fn server(&mut self) -> &mut Server {
        let site = self.cluster.map_or_else(hub_site, ClusterName::new);
        &mut self.world.sites.get_mut(&site).unwrap().server
    }

    fn rest(&mut self) {
        self.world.run_to_rest(LIMIT).unwrap();
        self.world.laws.verdict().unwrap();
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        self.world.hub_server().change(&instance_key(name).object(), "user", false, change).unwrap();
    }

    /// Who has the object, and the state of both.
    fn told(&mut self) -> String {
        let object = self.server().object(&shared());
        let owner = object.and_then(|object| object.label(kro::INSTANCE_NAME).map(str::to_owned));
        let mut words = vec![owner.unwrap_or_else(|| "nobody".into())];
        for name in ["first", "second"] {
            let instance = self.world.hub_server().object(&instance_key(name).object());
            words.extend(instance.map(|i| i.str_at("/status/state").to_owned()));
        }
        words.join(" ")
    }
}

#[test]
fn case_123_what_one_instance_gives_up_another_takes() {
    type Act = fn(&mut Pair);
    let acts: [(&str, Act, &str); 4] = [
        (
            "the first is deleted",
            |pair| drop(pair.world.hub_server().delete(&instance_key("first").object(), None)),
            "second ACTIVE",
        ),
        (
            "the first wants it no more",
            |pair| pair.edit("first", |v| v["spec"]["flag"] = json!(false)),
            "second ACTIVE ACTIVE",
        ),
        (
            "somebody deletes it, and the first makes it again",
            |pair| drop(pair.server().delete(&shared(), None)),
            "first ACTIVE ERROR",
        ),
        (
            "somebody takes the label off, and the first puts it on again",
            |pair| {
                let off = |v: &mut Value| {
                    v["metadata"]["labels"].as_object_mut().unwrap().remove(kro::APPLYSET_PART_OF);
                };
                pair.server().change(&shared(), "somebody", false, off).unwrap();
            },
            "first ACTIVE ERROR",
        ),
    ];
    for (what, act, want) in acts {
        for cluster in [None, Some("c0")] {
            for seed in 0..8 {
                let mut pair = Pair::new(seed, cluster);
                act(&mut pair);
                pair.rest();
                assert_eq!(pair.told(), want, "{what}, on {cluster:?}, seed {seed}");
                for name in ["first", "second"] {
                    drop(pair.world.hub_server().delete(&instance_key(name).object(), None));
                }
                pair.rest();
                assert_eq!((pair.told().as_str(), laws::remembered(&pair.world)), ("nobody", Vec::new()));
            }
        }
    }
}

#[test]
fn what_is_in_the_way_is_awaited_and_taken_a_little_after_it_is_free() {
    let (part_of, uid) = (kro::APPLYSET_PART_OF, hub::INSTANCE_UID);
    let cases = [
        ("another instance's", kro::MANAGER_APPLYSET, json!({part_of: "applyset-other-v1"})),
        ("a mirror", kro::MANAGER_LABELLER, json!({uid: "u9", hub::HUB_ID: "hub-1"})),
    ];
    let target = child(Sort::ConfigMap, "n0");
    for (what, manager, labels) in cases {
        let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap)]);
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "app-n0", "namespace": NAMESPACE, "labels": labels}});
        bench.server.apply(&target, manager, &body).unwrap();
        assert_eq!(bench.rounds(), ["apply mirror"], "{what}");
        assert!(bench.last.awaited.contains(&target), "{what}");
        assert_eq!((bench.report().0.as_str(), bench.last.wake_at), ("ERROR", None), "{what}");
        bench.server.delete(&target, None).unwrap();
        assert_eq!(bench.rounds(), [""; 0], "{what}: its owner may make it again");
        assert_eq!(bench.report().0, "ERROR", "{what}");
        let again = bench.last.wake_at.unwrap();
        assert_eq!(again.since(bench.now.at), Duration::from_secs(3), "{what}");
        bench.server.apply(&target, manager, &body).unwrap();
        assert_eq!((bench.rounds(), bench.last.wake_at), (Vec::new(), None), "{what}: it did");
        bench.server.delete(&target, None).unwrap();
        bench.rounds();
        bench.now.at = bench.last.wake_at.unwrap();
        assert_eq!(bench.rounds(), ["apply n0"], "{what}");
        assert_eq!((bench.report().0.as_str(), bench.last.awaited.len()), ("ACTIVE", 0), "{what}");
    }
}

#[test]
fn what_is_going_and_is_nobodys_is_awaited() {
    let mut bench = settled(vec![Plan::new("n0", Sort::ConfigMap)]);
    let target = child(Sort::ConfigMap, "n0");
    let nobodys = |v: &mut Value| {
        v["metadata"]["labels"] = json!({});
        v["metadata"]["finalizers"] = json!(["x/y"]);
    };
    bench.server.change(&target, "somebody", false, nobodys).unwrap();
    bench.server.delete(&target, None).unwrap();
    bench.step();
    assert!(bench.last.awaited.contains(&target));
}

#[test]
fn what_is_another_instances_and_wanted_no_more_is_forgotten() {
    let mut bench = Bench::new(vec![Plan::new("n0", Sort::ConfigMap), Plan::new("n1", Sort::ConfigMap)]);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-n1",
        "namespace": NAMESPACE, "labels": {kro::APPLYSET_PART_OF: "applyset-other-v1"}}});
    bench.server.create(&child(Sort::ConfigMap, "n1"), "us", &body).unwrap();
    bench.rounds();
    bench.redefine(vec![Plan::new("n0", Sort::ConfigMap)]);
    bench.rounds();
    assert_eq!((bench.report().0.as_str(), bench.last.awaited.len()), ("ACTIVE", 0));
    let kept = format!("{:?}", bench.machine);
    assert!(!kept.contains("different ApplySet"), "{kept}");
}
