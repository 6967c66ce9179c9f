//! Placements as they come and go on the hub, without a server.

use super::*;
use crate::api::names::{Gvk, HubId};
use crate::hub::definitions::Effect;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::reconcile::fleet::placement::DefaultPlacement;
use crate::spoke::client::ApiError;

const WEB: &str = "web";

struct Bench {
    placements: Placements,
    instances: Instances,
    clusters: BTreeMap<ClusterName, ClusterState>,
    now: Now,
    version: u64,
}

fn app() -> GroupKind {
    GroupKind::new("kro.run", "App")
}

fn at(name: &str) -> PolicyName {
    PolicyName::new("shop", name)
}

impl Bench {
    /// Two clusters, and a kind without instances.
    fn new() -> Self {
        let ready = ClusterState { health: ClusterHealth::Ready, ..ClusterState::default() };
        let mut bench = Self {
            placements: Placements::default(),
            instances: Instances::new(HubId::new("h"), DefaultPlacement::Local),
            clusters: ["a", "b"].map(|name| (ClusterName::new(name), ready.clone())).into(),
            now: Now { at: Moment::from_millis(60_000), rfc3339: "2026-01-01T00:01:00Z".into() },
            version: 0,
        };
        let gvk = Gvk::new("kro.run", "v1alpha1", "App");
        bench.instances.serve(Effect::Watch { gvk, plural: "apps".into() });
        bench.instances.seen(&app(), Listed::Started);
        bench.instances.seen(&app(), Listed::Done(1));
        bench
    }

    /// The same, where all Placements were listed: one for clusters by these names, where there is one.
    fn with(names: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.sees(&Watched::ClusterPlacements, Listed::Started);
        bench.sees(&Watched::ClusterPlacements, Listed::Done(1));
        bench.sees(&Watched::Placements, Listed::Started);
        if !names.is_empty() {
            bench.comes("1", names);
        }
        bench.sees(&Watched::Placements, Listed::Done(1));
        bench.decides();
        bench
    }

    fn sees(&mut self, watched: &Watched, listed: Listed) {
        self.placements.seen(watched, listed, self.now.at);
    }

    fn object(&mut self, uid: &str, names: &[&str], status: Value) -> Value {
        self.version += 1;
        json!({"metadata": {"name": WEB, "namespace": "shop", "uid": uid, "generation": 1,
            "resourceVersion": self.version.to_string()},
            "spec": {"instances": {"kind": "App"}, "clusters": {"names": names}}, "status": status})
    }

    fn comes(&mut self, uid: &str, names: &[&str]) {
        let object = self.object(uid, names, json!({}));
        self.sees(&Watched::Placements, Listed::Object(object));
    }

    fn goes(&mut self, uid: &str) {
        let object = self.object(uid, &[], json!({}));
        self.sees(&Watched::Placements, Listed::Left(object));
    }

    fn passes(&mut self, millis: u64) {
        self.now.at = self.now.at.after(Duration::from_millis(millis));
    }

    /// Whether there was anything to decide.
    fn decides(&mut self) -> bool {
        let begins = self.placements.begins(self.now.at);
        if begins {
            self.placements.decide_all(&self.clusters, &mut self.instances, self.now.at);
        }
        begins
    }

    fn instance(&mut self, name: &str) {
        let object =
            json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"}});
        self.instances.seen(&app(), Listed::Object(object));
        for gk in self.instances.take_counted() {
            self.placements.count_anew(&gk);
        }
    }

    /// What is to be written now.
    fn patches(&mut self) -> Vec<Value> {
        self.decides();
        let due = self.placements.what_is_due(&self.instances, &self.now);
        due.patches.into_iter().map(|(_, patch)| patch).collect()
    }

    /// The patch that is due; what the server makes of it is heard.
    fn writes(&mut self, names: &[&str]) -> Value {
        let patch = self.patches().pop().expect("nothing is due");
        let uid = patch["metadata"]["uid"].as_str().unwrap().to_owned();
        let mut status = self.placements.entries[&at(WEB)].object.0["status"].clone();
        for (field, value) in patch["status"].as_object().unwrap() {
            status[field] = value.clone();
        }
        let answer = self.object(&uid, names, status);
        self.placements.written(&at(WEB), Ok(answer), self.now.at);
        patch["status"].clone()
    }

    /// How many Placements the instances of the kind go by.
    fn told(&self) -> usize {
        self.placements.told.get(&app()).map_or(0, Vec::len)
    }
}

fn ready(status: &Value) -> String {
    let list = status["conditions"].as_array().cloned().unwrap_or_default();
    let ready = list.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

#[test]
fn nothing_is_decided_before_both_kinds_were_listed_to_their_end() {
    let mut bench = Bench::new();
    for listed in [Listed::Started, Listed::Done(1)] {
        assert!(!bench.decides() && !bench.placements.are_decided());
        bench.sees(&Watched::ClusterPlacements, listed);
    }
    bench.sees(&Watched::Placements, Listed::Started);
    bench.comes("1", &["a"]);
    assert!(!bench.decides(), "the list may have more");
    bench.sees(&Watched::Placements, Listed::Done(1));
    assert!(bench.decides() && bench.placements.are_decided());
    assert!(!bench.decides(), "nothing is new");
    // None at all is decided as well: instances wait for that.
    let mut none = Bench::with(&[]);
    assert!(none.placements.are_decided() && !none.decides());
}

#[test]
fn a_status_is_written_where_it_says_something_else_and_at_most_once_a_second() {
    let mut bench = Bench::with(&["a"]);
    let patch = bench.placements.what_is_due(&bench.instances, &bench.now).patches.pop().unwrap().1;
    assert_eq!(patch["metadata"]["uid"], "1");
    assert!(ready(&patch["status"]).starts_with("True NoInstances"), "{patch}");
    bench.instance("x");
    bench.passes(5_000);
    assert_eq!(bench.patches(), [json!(null); 0], "one is under way");
    let answer = bench.object("1", &["a"], patch["status"].clone());
    bench.placements.written(&at(WEB), Ok(answer), bench.now.at);
    bench.passes(100);
    assert_eq!(ready(&bench.writes(&["a"])), "True Placed: 1 cluster matches, 1 instance");
    bench.instance("y");
    bench.passes(100);
    assert_eq!(bench.patches(), [json!(null); 0], "a second is not over");
    let rest = APART - Duration::from_millis(100);
    assert_eq!(bench.placements.due(), Some(bench.now.at.after(rest)));
    bench.passes(900);
    let status = bench.writes(&["a"]);
    assert_eq!(status["instances"], 2);
    bench.passes(1_000);
    bench.decides();
    assert_eq!(bench.patches(), [json!(null); 0], "it says that already");
    assert_eq!(bench.placements.due(), None);
}

/// Whoever waits for a condition of the newest generation would take what was true of the one before for it.
#[test]
fn what_an_edit_comes_to_is_told_once_its_instances_heard_of_it() {
    let mut bench = Bench::with(&["a"]);
    bench.writes(&["a"]);
    bench.instance("x");
    bench.passes(2_000);
    bench.writes(&["a"]);
    bench.passes(2_000);
    let status = bench.placements.entries[&at(WEB)].object.0["status"].clone();
    let mut object = bench.object("1", &["b"], status);
    object["metadata"]["generation"] = json!(2);
    bench.sees(&Watched::Placements, Listed::Object(object));
    let due = bench.placements.what_is_due(&bench.instances, &bench.now);
    assert!(due.patches.is_empty(), "nothing is decided yet");
    for _ in 0..3 {
        assert_eq!(bench.patches(), [json!(null); 0], "the instance goes by the first generation");
        bench.passes(1_000);
    }
    while bench.instances.step_next(&bench.now).is_some() {}
    assert_eq!(bench.writes(&["b"])["observedGeneration"], 2);
}

#[test]
fn what_was_refused_is_tried_again_after_a_pause() {
    let mut bench = Bench::with(&["a"]);
    assert_eq!(bench.patches().len(), 1);
    bench.placements.written(&at(WEB), Err(ApiError::Timeout), bench.now.at);
    bench.passes(4_900);
    assert_eq!(bench.patches(), [json!(null); 0]);
    bench.passes(100);
    assert!(ready(&bench.writes(&["a"])).starts_with("True NoInstances"));
}

/// GitOps that deletes and creates anew: the new one does not inherit what the old one remembered or had under way.
#[test]
fn one_that_is_made_again_under_its_name_begins_anew() {
    let mut bench = Bench::with(&["a", "b"]);
    assert_eq!((bench.told(), bench.patches().len()), (1, 1));
    bench.goes("1");
    bench.passes(60);
    assert!(bench.decides());
    assert_eq!(bench.told(), 0);
    bench.comes("2", &["a"]);
    bench.passes(60);
    assert!(bench.decides());
    assert_eq!(bench.told(), 1);
    let chosen = bench.placements.entries[&at(WEB)].policy.effective().unwrap().clusters.clone().unwrap();
    assert_eq!(chosen.names, BTreeSet::from([ClusterName::new("a")]), "nothing of the old one is kept");
    // The answer to the old one's write comes late, and is none of the new one.
    let late = bench.object("1", &["a", "b"], json!({"clusters": 2}));
    bench.placements.written(&at(WEB), Ok(late), bench.now.at);
    let patch = bench.patches().pop().unwrap();
    assert_eq!((&patch["metadata"]["uid"], &patch["status"]["clusters"]), (&json!("2"), &json!(1)));
}

#[test]
fn who_selects_another_kind_leaves_the_instances_of_the_first() {
    let mut bench = Bench::with(&["a"]);
    let mut other = bench.object("1", &["a"], json!({}));
    other["spec"]["instances"]["kind"] = json!("Other");
    bench.sees(&Watched::Placements, Listed::Object(other));
    bench.passes(60);
    assert!(bench.decides());
    assert_eq!(bench.told(), 0);
    let said = ready(&bench.patches()[0]["status"]);
    assert_eq!(
        said,
        "False InvalidPlacement: spec.instances: no ResourceGraphDefinition makes Other.kro.run"
    );
}

#[test]
fn a_small_loss_without_an_edit_is_decided_when_its_pause_is_over() {
    let mut bench = Bench::new();
    for name in ["a", "b", "c"] {
        let state = bench.clusters.entry(ClusterName::new(name)).or_default();
        state.health = ClusterHealth::Ready;
        state.view.labels.insert("tier".into(), "web".into());
    }
    let mut object = bench.object("1", &[], json!({}));
    object["spec"]["clusters"] = json!({"labelSelector": {"matchLabels": {"tier": "web"}}});
    for watched in [Watched::ClusterPlacements, Watched::Placements] {
        bench.sees(&watched, Listed::Started);
        if watched == Watched::Placements {
            bench.sees(&watched, Listed::Object(object.clone()));
        }
        bench.sees(&watched, Listed::Done(1));
    }
    let chosen = |bench: &Bench| {
        let effective = bench.placements.entries[&at(WEB)].policy.effective().unwrap().clone();
        effective.clusters.clone().unwrap().names.len()
    };
    assert!(bench.decides());
    assert_eq!((chosen(&bench), bench.placements.due()), (3, Some(Moment::START)), "the status is due");
    bench.patches();
    bench.clusters.get_mut(&ClusterName::new("c")).unwrap().view.labels.clear();
    bench.placements.clusters_changed(bench.now.at);
    bench.passes(60);
    assert!(bench.decides());
    let until = bench.now.at.after(Duration::from_secs(5));
    assert_eq!((chosen(&bench), bench.placements.due()), (3, Some(until)), "others may follow");
    bench.passes(5_000);
    assert!(bench.decides(), "its time has come");
    assert_eq!(chosen(&bench), 2);
}
