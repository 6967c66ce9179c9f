//! From files and a hub to what clusters are told.

use super::deciding::{Decided, Orders};
use super::on_record::Rollouts;
use super::overlay::{self, Deleted, lay};
use super::reading::Read;
use crate::api::Object;
use crate::api::names::{ClusterName, GroupKind, HubId, InstanceKey, ObjectRef};
use crate::cli::diff::comparing::Revision;
use crate::cli::diff::placing::Policies;
use crate::cli::diff::side::Side;
use crate::edge::planning::Wish;
use crate::reconcile::spoke::{Goal, HubValues, Part};
use crate::view::Look;
use crate::view::changes::{Changes, Plan, RolloutChange};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: super::Args,
}

fn hub(objects: Vec<Value>) -> Read {
    Read {
        objects: objects.into_iter().map(Object).collect(),
        clusters: Vec::new(),
        facts: BTreeMap::new(),
        revisions: BTreeMap::new(),
        rollouts: Rollouts::default(),
        documents: Vec::new(),
        hub_id: HubId::new("h"),
        notes: Vec::new(),
    }
}

fn definition() -> Value {
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "web", "uid": "r"},
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "Web", "spec": {}}, "resources": []}})
}

fn web(name: &str, metadata: Value) -> Value {
    let mut object =
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Web", "metadata": metadata, "spec": {"a": 1}});
    object["metadata"]["name"] = name.into();
    object
}

fn laid(objects: Vec<Value>, files: Vec<Value>, delete: &[&str]) -> Result<overlay::Laid, String> {
    let files = files.into_iter().map(|object| ("f.yaml".to_owned(), Object(object))).collect();
    let delete: Vec<Deleted> = delete.iter().map(|text| overlay::deleted(text).unwrap()).collect();
    lay(&hub(objects), files, &delete, "shop").map_err(|error| format!("{error:#}"))
}

/// The object of a name, as it is laid.
fn object(laid: &overlay::Laid, name: &str) -> Option<Value> {
    let read = laid.texts.iter().filter_map(|(_, text)| serde_saphyr::from_str::<Value>(text).ok());
    read.into_iter().find(|object| object["metadata"]["name"] == name)
}

#[test]
fn files_are_laid_over_what_the_hub_has() {
    let live = web(
        "one",
        json!({"namespace": "shop", "uid": "u", "resourceVersion": "5", "labels": {"old": "x"},
            "annotations": {"hub.kro.run/holds": "eu", "hub.kro.run/clusters": "eu"}}),
    );
    let other = web("two", json!({"namespace": "shop", "uid": "v"}));
    let file = web("one", json!({"annotations": {"hub.kro.run/clusters": "us"}, "labels": {"new": "y"}}));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let laid = laid(vec![definition(), live, other], vec![file, config], &[]).unwrap();
    let one = object(&laid, "one").unwrap();
    assert_eq!(one["metadata"]["uid"], "u");
    assert_eq!(
        one["metadata"]["annotations"],
        json!({"hub.kro.run/holds": "eu", "hub.kro.run/clusters": "us"}),
        "what the controller notes stays; what the author wrote is the file's"
    );
    assert_eq!(one["metadata"]["labels"], json!({"new": "y"}));
    assert!(object(&laid, "two").is_some() && object(&laid, "web").is_some());
    assert_eq!(laid.touched.instances.len(), 1);
    assert!(laid.notes[0].starts_with("1 objects in the files"), "{:?}", laid.notes);
}

#[test]
fn what_the_controller_set_on_a_cluster_is_no_matter_of_its_file() {
    let cluster = |labels: Value| json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu", "labels": labels}, "spec": {}});
    let mut live = cluster(json!({"region": "eu", "tier": "old"}));
    live["metadata"]["managedFields"] = json!([{"manager": "kro-hub", "operation": "Apply",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:region": {}}}}}]);
    let laid = laid(vec![live], vec![cluster(json!({"tier": "new"}))], &[]).unwrap();
    let eu = object(&laid, "eu").unwrap();
    assert_eq!(eu["metadata"]["labels"], json!({"region": "eu", "tier": "new"}));
}

#[test]
fn what_is_deleted_is_named_as_on_the_command_line() {
    let all = || vec![definition(), web("one", json!({"namespace": "shop", "uid": "u"}))];
    for (delete, want) in [
        ("web/one", Ok(false)),
        ("webs.kro.run/one", Ok(false)),
        ("rgd/web", Ok(true)),
        ("web/two", Err("it is not on the hub")),
        ("cluster/eu", Err("it is not on the hub")),
        ("wob/one", Err("did you mean webs")),
    ] {
        match (laid(all(), vec![], &[delete]), want) {
            (Ok(laid), Ok(has_instance)) => {
                assert_eq!(object(&laid, "one").is_some(), has_instance, "{delete}");
            }
            (Err(said), Err(want)) => assert!(said.contains(want), "{delete}: {said}"),
            (got, _) => panic!("{delete}: {:?}", got.map(|laid| laid.texts)),
        }
    }
    let both = laid(all(), vec![web("one", json!({}))], &["web/one"]).err().unwrap();
    assert!(both.contains("among the files too"), "{both}");
    assert!(overlay::deleted("web").is_err() && overlay::deleted("web/a/b").is_err());
}

#[test]
fn the_command_line_wants_files_or_something_to_delete() {
    for (line, good) in [
        ("plan -f a.yaml b.yaml", true),
        ("plan --delete web/one --unreachable skip", true),
        ("plan", false),
        ("plan -f a --from ui", false),
        ("plan -f a --delete web", false),
    ] {
        assert_eq!(Line::try_parse_from(line.split(' ')).is_ok(), good, "{line}");
    }
}

const DB: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: db}
spec:
  schema: {apiVersion: v1alpha1, kind: Db, spec: {size: string}}
  resources:
  - id: store
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-store', annotations: {hub.kro.run/target: hub}}
      data: {size: '${schema.spec.size}'}
  - id: app
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {of: '${store.data.size}'}}
";

/// An instance that stands on the hub, with the record of where it runs.
fn db(clusters: &str, holds: &str, size: &str) -> String {
    format!(
        "apiVersion: kro.run/v1alpha1\nkind: Db\nmetadata:\n  name: one\n  namespace: shop\n  uid: u\n  annotations:\n    \
         hub.kro.run/clusters: '{clusters}'\n    hub.kro.run/holds: '{holds}'\n    \
         applyset.kubernetes.io/contains-group-kinds: ConfigMap\nspec: {{size: {size}}}\n"
    )
}

fn cluster(name: &str, spec: &str) -> String {
    format!("apiVersion: hub.kro.run/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn remote(name: &str) -> String {
    cluster(name, &format!("credentials: {{secretRef: {{name: {name}, namespace: kro-hub}}}}"))
}

/// What each cluster is told, from these files to those, and how it travels. `touched`: the definition is among those that
/// somebody wrote of.
fn decided(
    before: &[String],
    after: &[String],
    touched: bool,
) -> (BTreeMap<ClusterName, Orders>, Vec<RolloutChange>) {
    let args =
        Line::try_parse_from(["plan", "-f", "x", "--local-child-namespaces", "Own,logs"]).unwrap().args;
    let judged = |texts: &[String]| {
        let texts = texts.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), text.clone()));
        let judged = args.judging.judge_texts(texts.collect()).unwrap();
        assert!(!judged.has_errors());
        judged
    };
    let live: Vec<Object> = before.iter().map(|text| Object(serde_saphyr::from_str(text).unwrap())).collect();
    let (before, after) = (judged(before), judged(after));
    let facts = BTreeMap::new();
    let (was, is) = (Side::new(&before, &facts).unwrap(), Side::new(&after, &facts).unwrap());
    let definitions = touched.then(|| "db".to_owned()).into_iter().collect();
    let mut policies = Policies::default();
    let decided = Decided {
        was: Revision::new(&was, &mut policies),
        is: Revision::new(&is, &mut policies),
        graphs: (before.graphs(), after.graphs()),
        touched: &overlay::Touched { definitions, ..overlay::Touched::default() },
        hub_id: HubId::new("h"),
        of_hub: &args.local_child_namespaces,
        live: live.iter().map(|object| (object.object_ref(), object)).collect(),
        revisions: &[("db".to_owned(), 4)].into(),
        rollouts: &Rollouts::default(),
    };
    decided.orders()
}

fn orders(before: &[String], after: &[String], touched: bool) -> BTreeMap<ClusterName, Orders> {
    decided(before, after, touched).0
}

/// The same in words: which part of the instance, and how it comes there.
fn told(before: &[String], after: &[String], touched: bool) -> Vec<String> {
    let word =
        |wish: &Wish| match (&wish.refused, wish.task.as_deref().map(|task| (&task.goal, task.is_local()))) {
            (Some(why), _) => why.split(';').next().unwrap_or_default().to_owned(),
            (_, Some((Goal::Run { part, .. }, local))) => {
                format!("{:?}{}", part.side(), if local { " at home" } else { "" })
            }
            (_, Some((_, local))) => format!("goes{}", if local { " from home" } else { "" }),
            (_, None) => "stays".to_owned(),
        };
    let all = orders(before, after, touched);
    let line = |(name, orders): (&ClusterName, &Orders)| -> Vec<String> {
        let one = |wish: &Wish| format!("{name}: {} {}", word(wish), wish.placement).trim().to_owned();
        orders.wishes.iter().map(one).collect()
    };
    all.iter().flat_map(line).collect()
}

#[test]
fn what_lives_on_the_hub_is_told_to_whoever_acts_there() {
    let local = cluster("here", "local: true");
    let all = |parts: &[&str]| -> Vec<String> { parts.iter().map(|part| (*part).to_owned()).collect() };
    let (eu, us) = (remote("eu"), remote("us"));
    let fleet = |more: &[&str]| all(&[&[DB, &eu, &us], more].concat());
    let plain = DB.replace(", annotations: {hub.kro.run/target: hub}", "");
    let moved = |parts: &[String]| -> Vec<String> {
        parts.iter().map(|part| if part == DB { plain.clone() } else { part.clone() }).collect()
    };
    let (small, large) = (db("eu", "eu", "small"), db("eu", "eu", "large"));
    // An edit concerns both; what is so already, nobody.
    assert_eq!(told(&fleet(&[&small]), &fleet(&[&large]), false), ["@hub: Hub at home", "eu: Rest"]);
    assert_eq!(told(&fleet(&[&small]), &fleet(&[&small]), false), [] as [&str; 0]);
    assert_eq!(told(&fleet(&[&small]), &fleet(&[&small]), true), ["@hub: Hub at home", "eu: Rest"]);
    // Once for all clusters: one more changes nothing on the hub.
    assert_eq!(
        told(&fleet(&[&small]), &fleet(&[&db("eu,us", "eu", "small")]), false),
        ["us: Rest comes here"]
    );
    assert_eq!(told(&fleet(&[]), &fleet(&[&small]), false), ["@hub: Hub at home new", "eu: Rest new"]);
    assert_eq!(
        told(&fleet(&[&small]), &fleet(&[]), false),
        ["@hub: goes from home deleted", "eu: goes deleted"]
    );
    // Placed nowhere, it has nothing there either.
    assert_eq!(
        told(&fleet(&[&small]), &fleet(&[&db("", "eu", "small")]), false),
        ["@hub: goes from home", "eu: goes leaves"]
    );
    // Nothing of the definition lives there any more.
    assert_eq!(
        told(&fleet(&[&small]), &moved(&fleet(&[&small])), true),
        ["@hub: goes from home", "eu: Whole"]
    );
    // Where a Cluster stands for the hub, it is told; placed there, it has all of it.
    assert_eq!(
        told(&fleet(&[&local, &small]), &fleet(&[&local, &large]), false),
        ["eu: Rest", "here: Hub at home"]
    );
    assert_eq!(
        told(&fleet(&[&local, &small]), &fleet(&[&local, &db("eu,here", "eu", "small")]), false),
        ["here: Whole at home comes here"]
    );
    // Whoever acts there: it is the same.
    assert_eq!(told(&fleet(&[&small]), &fleet(&[&local, &small]), false), [] as [&str; 0]);
}

#[test]
fn what_the_hub_shows_goes_to_those_who_read_it() {
    let files = |size: &str| [DB.to_owned(), remote("eu"), db("eu", "eu", size)];
    let mut orders = orders(&files("small"), &files("large"), false);
    let eu = orders.get_mut(&ClusterName::new("eu")).unwrap();
    assert!(eu.reads_hub());
    let mut values = HubValues::default();
    values.insert("store", vec![json!({"data": {"size": "large"}})]);
    let key: InstanceKey = eu.wishes[0].key.clone();
    eu.give(&[(key, Arc::new(values))].into());
    let Part::Rest(values) = eu.wishes[0].part() else { panic!() };
    assert_eq!(values.get("store").unwrap(), [json!({"data": {"size": "large"}})]);
    assert!(!orders[&ClusterName::new("@hub")].reads_hub());
}

#[test]
fn the_flag_of_the_controller_bounds_what_is_written_on_the_hub() {
    let local = cluster("here", "local: true, childNamespaces: {policy: Own, also: [audit]}");
    for (local, name, allowed) in [(None, "@hub", ["logs"].as_slice()), (Some(local), "here", &[])] {
        let files = |size: &str| {
            let mut all = vec![DB.to_owned(), remote("eu"), db("eu", "eu", size)];
            all.extend(local.clone());
            all
        };
        let orders = orders(&files("small"), &files("large"), false);
        let allows = |cluster: &str, namespace: &str| {
            let target = ObjectRef::new(GroupKind::new("", "ConfigMap"), namespace, "c");
            orders[&ClusterName::new(cluster)].bounds.allow("shop", &target).is_ok()
        };
        let own = ["logs", "audit", "other"].into_iter().filter(|namespace| allows(name, namespace));
        assert_eq!(own.collect::<Vec<_>>(), allowed, "{name}");
        assert!(allows(name, "shop") && allows("eu", "other"));
    }
}

/// Of a fleet of a canary and two others, with a rollout that says this, from the instance as it is to how it would be.
fn travels(rollout: &str, [before, after]: [&str; 2], definitions: [&str; 2]) -> String {
    let labelled = |name: &str, tier: &str| {
        remote(name)
            .replace(&format!("{{name: {name}}}\n"), &format!("{{name: {name}, labels: {{tier: {tier}}}}}\n"))
    };
    let fleet = [labelled("eu", "canary"), labelled("us", "prod"), labelled("ap", "prod")];
    let mut by = format!(
        "apiVersion: hub.kro.run/v1alpha1\nkind: ClusterPlacement\nmetadata: {{name: all}}\nspec:\n  \
         instances: {{kind: Db}}\n  rollout: {rollout}\n"
    );
    if rollout.contains("Kind") {
        by.push_str("status: {rollout: {summary: 1 complete, moving: 0, waiting: 0, halted: 0, kind: {version: 2, stable: 2, revision: 4, state: Complete}}}\n");
    }
    let files = |definition: &str, instance: &str| {
        let plain = DB.replace(", annotations: {hub.kro.run/target: hub}", "");
        let status = "status: {fleet: {rollout: {version: 7, stable: 7}, clusters: [{name: eu, version: 7}, \
                      {name: us, version: 7}, {name: ap, version: 7}]}}\n";
        let instances = (!instance.is_empty()).then(|| db("eu,us,ap", "eu,us,ap", instance) + status);
        let mut all = vec![plain.replace("name: '${schema.metadata.name}'}", definition), by.clone()];
        all.extend(fleet.iter().cloned().chain(instances));
        all
    };
    let (before, after) = (files(definitions[0], before), files(definitions[1], after));
    let (_, rollouts) = decided(&before, &after, true);
    let plan = Plan { changes: Changes::default(), rollouts, unplanned: Vec::new(), unchanged: Vec::new() };
    let look = Look { colour: false, utf8: true, width: None };
    plan.text(&look, false).replace("Plan: no change; 0 of 0 clusters planned.\n", "")
}

const STAGES: &str = "stages: [{name: canary, clusters: {labelSelector: {matchLabels: {tier: canary}}}, soak: 30m}, \
                      {name: prod, approval: true, maxConcurrent: 1}]";
const AS_IT_IS: [&str; 2] = ["name: '${schema.metadata.name}'}", "name: '${schema.metadata.name}'}"];
const EDITED: [&str; 2] = ["name: '${schema.metadata.name}'}", "name: '${schema.metadata.name}-b'}"];

#[test]
fn a_change_travels_as_its_placement_says() {
    let stages = format!("{{{STAGES}}}");
    let want = "rollout of Db shop/one   by ClusterPlacement all   version 8\n  1 canary  eu   each well for 30m\n  \
                2 prod    ap, us   1 at a time, waits for approval\n  no more is begun once one fails\n";
    assert_eq!(travels(&stages, ["small", "large"], AS_IT_IS), want);
    // A new revision of the definition is a version of each instance.
    assert_eq!(travels(&stages, ["small", "small"], EDITED), want);
    assert_eq!(travels(&stages, ["small", "small"], AS_IT_IS), "", "what is so is no version");
    assert_eq!(
        travels("{maxFailures: 1}", ["small", "large"], AS_IT_IS),
        "",
        "without stages all go at once"
    );
    let first = want.replace("version 8", "version 1");
    assert_eq!(travels(&stages, ["", "small"], AS_IT_IS), first, "the first one goes by stages too");
    let paused =
        travels(&format!("{{{STAGES}, paused: true, maxFailures: 2}}"), ["small", "large"], AS_IT_IS);
    assert!(paused.contains("? held: paused; once it is not:\n  1 canary"), "{paused}");
    assert!(paused.ends_with("once more than 2 fail\n"), "{paused}");
    let both = travels(&format!("{{{STAGES}, revision: 4}}"), ["small", "large"], EDITED);
    assert!(both.contains("may run\n  1 canary  eu"), "what the instance says goes on: {both}");
    let pinned = travels(&format!("{{{STAGES}, revision: 4}}"), ["small", "small"], EDITED);
    assert!(
        pinned.ends_with("? held: revision 4 of the definition is the highest that may run\n"),
        "{pinned}"
    );
}

#[test]
fn the_revision_of_a_kind_travels_as_one() {
    let stages = format!("{{scope: Kind, {STAGES}}}");
    let text = travels(&stages, ["small", "small"], EDITED);
    assert!(
        text.starts_with("rollout of definition db, Db shop/one   by ClusterPlacement all   version 3\n"),
        "{text}"
    );
    assert!(text.contains("1 canary  eu   each well for 30m\n  2 prod    ap, us   1 at a time"), "{text}");
    assert_eq!(travels(&stages, ["small", "large"], AS_IT_IS), "", "an edit of an instance is no revision");
    let pinned = travels(&format!("{{scope: Kind, {STAGES}, revision: 4}}"), ["small", "small"], EDITED);
    assert!(
        pinned.ends_with("? held: revision 4 of the definition is the highest that may run\n"),
        "{pinned}"
    );
}
