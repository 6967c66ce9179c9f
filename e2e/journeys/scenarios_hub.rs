//! The hub tells its controller less than there is, or knows less than its spokes.

use super::faults_spoke_down::{content, define, nothing_vanished};
use super::scenarios::Runs::{Always, Long};
use super::scenarios::Scenario;
use super::stand::{CLUSTERS, Kind, PATIENCE, RGDS, Stand, annotation, entry, parse, text};
use crate::env::controller::{Controller, NAMESPACE, Options};
use crate::env::registration::{condition, secret};
use crate::env::wait::throughout;
use crate::env::{Environment, Programs, eventually};
use crate::faults::{Fault, Rule, When};
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_10_lists_of_the_hub_that_fail_or_lie", lists, Long),
    ("scenario_10_lists_of_the_hub_in_every_other_way", all_lists, Long),
    ("scenario_10_a_kind_that_the_hub_may_not_list", unlisted, Long),
    ("scenario_18_two_hubs_and_one_spoke", two_hubs, Long),
    ("scenario_17_an_empty_hub_takes_nothing_from_its_spokes", empty_hub, Always),
];

/// So long the controller may do harm.
const WHILE: Duration = Duration::from_secs(4);

fn lists(stand: &Stand) -> Result<()> {
    start_with(stand, ("lists", "ListsKind"), &[Fault::Answer(500, None), Fault::NoItems])
}

fn all_lists(stand: &Stand) -> Result<()> {
    let faults = [
        Fault::NullItems,
        Fault::Answer(403, None),
        Fault::Answer(404, None),
        Fault::Answer(503, None),
        Fault::Truncated(200),
        Fault::Short(200),
        Fault::Page,
        Fault::GzipBomb(256 << 20),
        Fault::Endless,
        Fault::Redirect("https://127.0.0.1:1".to_owned()),
    ];
    start_with(stand, ("lists-all", "ListsAllKind"), &faults)
}

fn start_with(stand: &Stand, (rgd, name): (&str, &str), faults: &[Fault]) -> Result<()> {
    let kind = define(stand, rgd, name)?;
    let placed = [("named", "eu,us"), ("all", "*"), ("chosen", "?name in (eu,us)")];
    for (name, clusters) in placed {
        kind.create(name, clusters, "{text: one}")?;
    }
    placed.iter().try_for_each(|(name, _)| kind.wait_active(name, &["eu", "us"]).map(drop))?;
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    for path in [secrets.as_str(), CLUSTERS, kind.all().as_str()] {
        for fault in faults {
            let said = format!("{path}: {fault:?}");
            start_while(stand, &kind, path, fault.clone()).with_context(|| said.clone())?;
            placed
                .iter()
                .try_for_each(|(name, _)| kind.wait_active(name, &["eu", "us"]).map(drop))
                .context(said)?;
        }
    }
    placed.iter().try_for_each(|(name, _)| kind.remove(name))
}

/// Its definition says so, and a Cluster that is to go waits and says why.
fn unlisted(stand: &Stand) -> Result<()> {
    let kind = define(stand, "unlisted", "Unlisted")?;
    kind.create("a", "eu", "{text: one}")?;
    kind.wait_active("a", &["eu"])?;
    let controller = || -> Result<Value> {
        let rgd = stand.api("hub").get(&kind.rgd_path())?.context("the definition is gone")?;
        Ok(condition(&rgd, "ControllerReady").cloned().unwrap_or_default())
    };
    let proxy = stand.proxy("hub")?;
    proxy.rule(Rule::new(When::any().at(&kind.all()), Fault::Answer(403, None)));
    proxy.cut();
    eventually(PATIENCE, "the definition says that its instances cannot be seen", || {
        let said = controller()?;
        ensure!(said["status"] == "False" && said["reason"] == "NotWatched", "{said}");
        Ok(())
    })?;
    println!("it says: {}", controller()?["message"]);
    ensure!(kind.child("eu", "configmaps/a")?.is_some(), "what stood there is gone");
    proxy.heal()?;
    eventually(PATIENCE, "it is well again", || {
        let said = controller()?;
        ensure!(said["status"] == "True", "{said}");
        Ok(())
    })?;
    kind.edit("a", "{text: two}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "two")?;
    kind.remove("a")
}

/// Holds of all instances of the kind.
fn holds(kind: &Kind) -> Result<BTreeMap<String, String>> {
    let list = kind.stand.api("hub").list(&kind.collection())?;
    let name = |object: &Value| text(object, "/metadata/name");
    Ok(list.iter().map(|object| (name(object), annotation(object, "hub.kro.run/holds"))).collect())
}

/// The controller starts while a list of the hub fails or lies; then it is restarted with the truth.
fn start_while(stand: &Stand, kind: &Kind, path: &str, fault: Fault) -> Result<()> {
    let spokes = ["eu", "us"];
    let (before, held) = (content(stand, &spokes)?, holds(kind)?);
    stand.end_controller()?;
    let hub = stand.proxy("hub")?;
    hub.rule(Rule::new(When::reads().at(path), fault));
    let start = Instant::now();
    stand.launch_controller()?;
    let met = || hub.seen(start, &When::reads().at(path)).len();
    eventually(PATIENCE, "the list is asked for", || {
        ensure!(met() > 0, "nobody asked for {path}");
        Ok(())
    })?;
    throughout(WHILE, "nothing goes", || {
        nothing_vanished(stand, &spokes, &before)?;
        let now = holds(kind)?;
        ensure!(now == held, "the record of where content is was {held:?}, is {now:?}");
        Ok(())
    })?;
    for proxy in stand.proxies() {
        let deleted = proxy.seen(start, &When::writes().method(Method::DELETE));
        ensure!(deleted.is_empty(), "deletions: {deleted:?}");
    }
    hub.heal()?;
    // In good order: the next one need not wait for the lease to run out, and so asks for its lists at once.
    stand.end_controller()?;
    stand.start_controller()
}

/// Everything of the hub is lost but its id, as it is kept in Git; the spokes run on, and it learns from them what it gets back.
fn empty_hub(stand: &Stand) -> Result<()> {
    let kind = define(stand, "empty-hub", "EmptyHub")?;
    for name in ["a", "b"] {
        kind.create(name, "eu,us", "{text: one}")?;
        kind.wait_active(name, &["eu", "us"])?;
    }
    let spokes = ["eu", "us"];
    let before = content(stand, &spokes)?;
    stand.end_controller()?;
    // All instances, and what was recorded of versions; Clusters and Secrets come with Git.
    let lost = [format!("kro.run/{}/empty-hub/", kind.plural), "controllerrevisions/empty-hub/".to_owned()];
    let backup = stand.env.backup("hub", &lost.each_ref().map(String::as_str))?;
    ensure!(backup.len() >= 2, "the backup has {} objects", backup.len());
    stand.env.restore(&backup.emptied())?;
    ensure!(stand.api("hub").list(&kind.collection())?.is_empty(), "the hub still has instances");
    let start = Instant::now();
    stand.start_controller()?;
    stand.spokes.iter().try_for_each(|spoke| stand.env.wait_cluster_ready("hub", spoke, PATIENCE))?;
    throughout(Duration::from_secs(8), "nothing is pruned", || nothing_vanished(stand, &spokes, &before))?;
    let deleted = stand.proxy("us")?.seen(start, &When::writes().method(Method::DELETE));
    ensure!(deleted.is_empty(), "deletions on us: {deleted:?}");
    // Git brings the instances again: of other uids, and what stands is theirs.
    for name in ["a", "b"] {
        kind.create(name, "eu,us", "{text: one}")?;
        kind.wait_active(name, &["eu", "us"])?;
    }
    throughout(Duration::from_secs(2), "adopted as it stands", || nothing_vanished(stand, &spokes, &before))?;
    for name in ["a", "b"] {
        kind.remove(name)?;
        for spoke in spokes {
            ensure!(kind.child(spoke, &format!("configmaps/{name}"))?.is_none(), "left on {spoke}");
        }
    }
    Ok(())
}

const SHARED: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: two-hubs}
spec:
  schema: {apiVersion: v1alpha1, kind: TwoHub, spec: {text: string}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text}'}
";
const SHARED_INSTANCES: &str = "/apis/kro.run/v1alpha1/namespaces/default/twohubs";

/// The same definition, the same instance, the same spoke: who came first has it.
fn two_hubs(_: &Stand) -> Result<()> {
    let env = Environment::start_with(
        &scratch_folder().join("two-hubs"),
        &["one", "two", "eu"],
        Programs::ServerOnly,
    )?;
    let start = |hub: &str| {
        Controller::start(&env, Options { name: hub.into(), hub: hub.into(), ..Options::default() })
    };
    let (_one, second) = (start("one")?, start("two")?);
    let definition = parse(SHARED)?;
    env.allow(&definition)?;
    let join = |hub: &str| -> Result<()> {
        let body = secret("eu", &env.least_kubeconfig("eu")?, &[]);
        env.api(hub).apply(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/eu"), &body)?;
        env.api(hub).post(RGDS, &definition)?;
        let instance = json!({"apiVersion": "kro.run/v1alpha1", "kind": "TwoHub",
            "metadata": {"name": "a", "annotations": {"hub.kro.run/clusters": "eu"}}, "spec": {"text": hub}});
        eventually(PATIENCE, "the kind is served", || env.api(hub).post(SHARED_INSTANCES, &instance))
            .map(drop)
    };
    join("one")?;
    env.wait_cluster_ready("one", "eu", PATIENCE)?;
    let child = || env.api("eu").get("/api/v1/namespaces/default/configmaps/a");
    eventually(PATIENCE, "the first serves it", || {
        let found = child()?.context("no child")?;
        ensure!(found["data"]["text"] == "one", "{}", found["data"]);
        Ok(())
    })?;
    let everything = || -> Result<Vec<[String; 3]>> {
        let collections = ["/api/v1/configmaps", "/apis/kro.run/v1alpha1/twohubs", super::stand::CRDS];
        let listed = collections.iter().map(|path| env.api("eu").list(path)).collect::<Result<Vec<_>>>()?;
        let fields = ["/metadata/name", "/metadata/uid", "/metadata/resourceVersion"];
        Ok(listed.iter().flatten().map(|object| fields.map(|field| text(object, field))).collect())
    };
    let before = everything()?;
    join("two")?;
    let id = |hub: &str| -> Result<String> {
        let found = env.api(hub).get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/kro-hub-id"))?;
        Ok(text(&found.context("no hub id")?, "/data/id"))
    };
    let of_first = id("one")?;
    eventually(PATIENCE, "the second names the first", || {
        let cluster = env.api("two").get(&format!("{CLUSTERS}/eu"))?.context("no Cluster")?;
        let claimed = condition(&cluster, "Claimed").cloned().unwrap_or_default();
        let said = text(&claimed, "/message");
        ensure!(claimed["reason"] == "ClaimedByAnotherHub" && said.contains(&of_first), "{claimed}");
        let instance = env.api("two").get(&format!("{SHARED_INSTANCES}/a"))?.context("no instance")?;
        ensure!(entry(&instance, "eu")?["state"] == "ClaimedByAnotherHub", "{}", instance["status"]);
        Ok(())
    })?;
    let untouched = || {
        let now = everything()?;
        ensure!(now == before, "was {before:?}, is {now:?}");
        Ok(())
    };
    throughout(Duration::from_secs(5), "not one change on the spoke", untouched)?;
    // It takes nothing with it.
    env.api("two").delete(&format!("{SHARED_INSTANCES}/a"))?;
    env.api("two").delete(&format!("{CLUSTERS}/eu"))?;
    throughout(Duration::from_secs(5), "not one change on the spoke", untouched)?;
    second.check()
}
