//! What would change on clusters as they are: told before anything is done, and nothing is done by telling.

use super::Run;
use super::people::{Person, Said};
use super::stand::{Kind, PATIENCE, Stand, parse};
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub const TRIALS: &[Run] = &[
    ("people::a_plan_tells_what_an_edited_definition_does_and_stores_nothing", planned),
    ("people::a_plan_tells_where_instances_come_and_go", moved),
    ("people::a_plan_tells_what_lives_on_the_hub", on_hub),
    ("people::a_tenant_plans_what_is_in_their_namespace", as_tenant),
];

const BEFORE: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: drafts}
spec:
  schema: {apiVersion: v1alpha1, kind: Draft, spec: {password: 'string | default=hunter2'}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {color: blue}}
  - id: secret
    template:
      {apiVersion: v1, kind: Secret, metadata: {name: '${schema.metadata.name}'}, stringData: {password: '${schema.spec.password}'}}
  - id: copy
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-copy'}
      data: {of: '${secret.type}'}
  - id: fixed
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-fixed'}
      immutable: ${cluster.labels.name == 'us'}
      data: {a: one}
  - id: legacy
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}-old'}}
";

/// The edit: other values, a resource more, one less, and one that waits for what a cluster tells.
fn after() -> String {
    let text = BEFORE.replace("{color: blue}", "{color: green, extra: ours}").replace("a: one", "a: two");
    let text = text.replace("'${schema.spec.password}'", "'${schema.spec.password}-more'");
    let text = text.replace("'${secret.type}'", "'${secret.type}-more'");
    let text = text.replace("default=hunter2'", "default=hunter2', host: 'string | default=none'");
    let (text, _) = text.split_once("  - id: legacy").unwrap_or((&text, ""));
    format!(
        "{text}{}",
        r"  - id: web
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}'}
      spec:
        replicas: 1
        selector: {matchLabels: {app: '${schema.metadata.name}'}}
        template:
          metadata: {labels: {app: '${schema.metadata.name}'}}
          spec: {containers: [{name: a, image: a}]}
  - id: seen
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-seen'}
      data: {generation: '${string(web.status.observedGeneration)}'}
"
    )
}

pub fn file(stand: &Stand, name: &str, text: &str) -> Result<PathBuf> {
    let path = stand.env.dir().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The versions of all that might have been written.
fn versions(stand: &Stand, kind: &Kind) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut note = |cluster: &str, object: &Value| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{cluster}{}", text("/metadata/selfLink"));
        let key = format!("{name} {} {}", text("/metadata/uid"), text("/metadata/name"));
        all.insert(key, text("/metadata/resourceVersion").to_owned());
    };
    for cluster in ["hub", "eu", "us"] {
        let api = stand.api(cluster);
        let namespace = &kind.rgd;
        for path in [
            format!("/api/v1/namespaces/{namespace}/configmaps"),
            format!("/api/v1/namespaces/{namespace}/secrets"),
            format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
            kind.collection(),
        ] {
            // A kind that nothing was placed by is not served.
            let Some(list) = api.get(&path)? else { continue };
            list["items"].as_array().into_iter().flatten().for_each(|object| note(cluster, object));
        }
        if let Some(crd) = api.get(&kind.crd_path())? {
            note(cluster, &crd);
        }
    }
    note("hub", &stand.api("hub").get(&kind.rgd_path())?.context("the definition")?);
    Ok(all)
}

pub fn has(said: &Said, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(said.out.contains(part), "it lacks {part:?}:\n{}\n{}", said.out, said.err);
    }
    Ok(())
}

fn planned(stand: &Stand) -> Result<()> {
    let kind = stand.define(BEFORE)?;
    let person = Person::new(stand, "drafts")?;
    kind.create("one", "eu,us,ap", "{}")?;
    kind.wait_active("one", &["ap", "eu", "us"])?;
    // Somebody's own field, which the edit takes.
    let config = "/api/v1/namespaces/drafts/configmaps/one?fieldManager=kubectl-edit";
    stand.api("eu").merge_patch(config, &json!({"data": {"extra": "theirs"}}))?;
    let edited = file(stand, "drafts.yaml", &after())?.display().to_string();
    // What the controller may have to write of it is written.
    kind.wait_active("one", &["ap", "eu", "us"])?;
    let before = versions(stand, &kind)?;
    let spokes = "--spoke-context us=us-admin";

    let all = person.says(&format!("plan -f {edited} {spokes}"))?;
    ensure!(all.code == 1, "something is refused: {all:?}");
    has(
        &all,
        &[
            "~ definition drafts   revision 1 -> 2   schema: ",
            "nothing breaks",
            "Draft drafts/one",
            "\"blue\" -> \"green\"",
            "\"theirs\" -> \"ours\"   taken from kubectl-edit",
            "(sensitive, changed)",
            "+ web",
            "generation: (known after apply: string(web.status.observedGeneration))",
            "- legacy  ConfigMap drafts/one-old",
            "pruned: no node makes it any more",
            "! fixed",
            "refused: ",
            "immutable",
            "ap   ? not planned: ",
            "2 of 3 clusters planned.",
        ],
    )?;
    for secret in ["hunter2", "aHVudGVyMg", "aHVudGVyMi1tb3Jl", "Opaque"] {
        ensure!(!all.out.contains(secret), "{secret}: {}", all.out);
    }
    // eu alone: nothing is refused there.
    let eu = person.says(&format!("plan -f {edited} --clusters eu"))?;
    ensure!(eu.code == 2 && eu.out.contains("1 of 1 cluster planned"), "{eu:?}");
    let dead = person.says(&format!("plan -f {edited} --clusters eu,ap"))?;
    ensure!(dead.code == 1, "a dead cluster is a failure: {dead:?}");
    let skipped = person.says(&format!("plan -f {edited} --clusters eu,ap --unreachable skip"))?;
    ensure!(skipped.code == 2 && skipped.out.contains("ap   ? not planned: "), "{skipped:?}");
    let forbidden = person.says(&format!("plan -f {edited} --clusters us"))?;
    ensure!(
        forbidden.code == 1 && forbidden.out.contains("us   ? not planned: you may not "),
        "{forbidden:?}"
    );

    in_all_forms(stand, &person, &edited)?;
    let now = versions(stand, &kind)?;
    ensure!(now == before, "something was written: {before:?}\n{now:?}");

    // What was told is what happens.
    kind.edit_definition(&after())?;
    let remote = |path: &str| stand.api("eu").get(&format!("/api/v1/namespaces/drafts/configmaps/{path}"));
    eventually(PATIENCE, "the edit is on eu", || {
        ensure!(
            remote("one")?.is_some_and(|o| o["data"] == json!({"color": "green", "extra": "ours"})),
            "config"
        );
        ensure!(remote("one-old")?.is_none() && remote("one-seen")?.is_some(), "legacy, seen");
        Ok(())
    })?;
    kind.remove("one")
}

/// Documents, comments, commands of a workflow; what is so already; what is wrong.
fn in_all_forms(stand: &Stand, person: &Person, edited: &str) -> Result<()> {
    let spokes = "--spoke-context us=us-admin";
    let json = person.says(&format!("plan -f {edited} --clusters eu,us {spokes} -o json"))?;
    let document: Value = serde_json::from_str(&json.out).with_context(|| json.out.clone())?;
    ensure!(document["kind"] == "Plan" && document["summary"]["refused"] == 1, "{document}");
    ensure!(document["groups"].as_array().is_some_and(|groups| groups.len() == 2), "{document}");
    let comment = person.says(&format!("plan -f {edited} --clusters eu -o markdown"))?;
    has(&comment, &["<!-- kro-hub plan -->", "<details>"])?;
    let workflow = person.says(&format!("plan -f {edited} --clusters us {spokes} -o github"))?;
    has(&workflow, &["::error title=refused::", "::notice title=kro-hub plan::"])?;

    let same = file(stand, "drafts-same.yaml", BEFORE)?.display().to_string();
    let same = person.says(&format!("plan -f {same} --clusters eu,us {spokes} --show-same"))?;
    ensure!(same.code == 0, "what is so is no change: {same:?}");
    has(&same, &["eu, us   nothing changes", "Plan: no change; 2 of 2 clusters planned."])?;

    let wrong = file(stand, "drafts-wrong.yaml", &BEFORE.replace("schema.spec.password", "schema.spec.no"))?;
    let wrong = person.says(&format!("plan -f {} --clusters eu", wrong.display()))?;
    ensure!(wrong.code == 1 && wrong.err.contains("drafts-wrong.yaml"), "{wrong:?}");
    Ok(())
}

fn moved(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: strolls}
spec:
  schema: {apiVersion: v1alpha1, kind: Stroll, spec: {note: 'string | default=a'}}
  resources:
  - id: config
    template:
      {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {on: '${cluster.name}', note: '${schema.spec.note}'}}
",
    )?;
    let person = Person::new(stand, "strolls")?;
    kind.create("one", "eu", "{}")?;
    kind.wait_active("one", &["eu"])?;
    let instance = |clusters: &str, spec: &Value| {
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Stroll",
            "metadata": {"name": "one", "annotations": {"hub.kro.run/clusters": clusters}}, "spec": spec})
    };
    let spokes = "--spoke-context us=us-admin --clusters eu,us";
    let goes = file(stand, "stroll.yaml", &instance("us", &json!({})).to_string())?.display().to_string();
    let said = person.says(&format!("plan -f {goes} {spokes}"))?;
    ensure!(said.code == 2, "{said:?}");
    has(
        &said,
        &["Stroll strolls/one   leaves", "- config  ConfigMap strolls/one", "comes here", "+ config"],
    )?;
    let comes = file(stand, "strolls.yaml", &instance("eu,us", &json!({"note": "b"})).to_string())?;
    let said = person.says(&format!("plan -f {} {spokes}", comes.display()))?;
    ensure!(said.code == 2, "{said:?}");
    has(&said, &["\"a\" -> \"b\"", "comes here", "Namespace strolls", "2 to create, 1 to update"])?;
    let said = person.says("plan --delete stroll/one --clusters eu")?;
    ensure!(said.code == 2, "{said:?}");
    has(&said, &["deleted", "- config", "1 to delete"])?;
    let said = person.says("plan --delete stroll/none --clusters eu")?;
    ensure!(said.code == 1 && said.err.contains("it is not on the hub"), "{said:?}");
    // A label that an instance is placed by.
    let cluster = parse(
        "{apiVersion: hub.kro.run/v1alpha1, kind: Cluster, metadata: {name: us, labels: {stroll: 'yes'}}}",
    )?;
    let live = stand.api("hub").get(&format!("{}/us", super::stand::CLUSTERS))?.context("us")?;
    let mut cluster = cluster;
    cluster["spec"] = live["spec"].clone();
    kind.create("two", "?stroll=yes", "{}")?;
    let label = file(stand, "cluster.yaml", &cluster.to_string())?.display().to_string();
    let said = person.says(&format!("plan -f {label} {spokes}"))?;
    ensure!(said.code == 2, "{said:?}");
    has(&said, &["Stroll strolls/two   comes here", "+ config"])?;
    kind.remove("two")?;
    kind.remove("one")
}

/// A store on the hub, and what reads it on each cluster.
fn define_larder<'a>(stand: &'a Stand, name: &str, kind: &str, of_hub: &str) -> Result<(Kind<'a>, String)> {
    let text = |annotations: &str| {
        format!(
            r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: {name}}}
spec:
  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {{size: string}}}}
  resources:
  - id: store
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}-store', annotations: {annotations}}}
      data: {{size: '${{schema.spec.size}}'}}
  - id: app
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}-app'}}
      data: {{of: '${{store.data.size}}'}}
"
        )
    };
    Ok((stand.define(&text(of_hub))?, text("{}")))
}

fn on_hub(stand: &Stand) -> Result<()> {
    let (kind, moved) = define_larder(stand, "larders", "Larder", "{hub.kro.run/target: hub}")?;
    let person = Person::new(stand, "larders")?;
    kind.create("one", "eu", "{size: small}")?;
    kind.wait_active("one", &["eu", "@hub"])?;
    let before = versions(stand, &kind)?;
    let instance = |size: &str| {
        json!({"apiVersion": "kro.run/v1alpha1", "kind": "Larder",
            "metadata": {"name": "one", "annotations": {"hub.kro.run/clusters": "eu"}}, "spec": {"size": size}})
    };
    let large = file(stand, "larder.yaml", &instance("large").to_string())?.display().to_string();
    let all = person.says(&format!("plan -f {large}"))?;
    ensure!(all.code == 2, "{all:?}");
    has(
        &all,
        &[
            "on the hub   1 instance\n  Larder larders/one\n  ~ store  ConfigMap larders/one-store",
            "data.size  \"small\" -> \"large\"",
            "eu   1 instance\n  Larder larders/one\n  ~ app  ConfigMap larders/one-app",
            "data.of  \"small\" -> \"large\"",
            "Plan: 2 to update; 1 of 1 cluster planned.",
        ],
    )?;
    // What reads it is told also where the hub is not asked for.
    let eu = person.says(&format!("plan -f {large} --clusters eu"))?;
    ensure!(eu.code == 2 && !eu.out.contains("on the hub"), "{eu:?}");
    has(&eu, &["data.of  \"small\" -> \"large\"", "Plan: 1 to update"])?;
    let gone = person.says("plan --delete larder/one")?;
    ensure!(gone.code == 2, "{gone:?}");
    has(&gone, &["on the hub", "deleted\n  - store", "deleted\n  - app", "2 to delete"])?;
    let moved = file(stand, "larders-moved.yaml", &moved)?.display().to_string();
    let moved = person.says(&format!("plan -f {moved}"))?;
    ensure!(moved.code == 2, "{moved:?}");
    has(
        &moved,
        &["on the hub", "- store", "+ store  ConfigMap larders/one-store", "1 to create, 1 to delete"],
    )?;
    let two = instance("large").to_string().replace("\"one\"", "\"two\"");
    let two = file(stand, "larder-two.yaml", &two)?.display().to_string();
    let two = person.says(&format!("plan -f {two}"))?;
    ensure!(two.code == 2, "{two:?}");
    has(&two, &["new\n  + store", "new\n  + app", "2 to create"])?;
    let now = versions(stand, &kind)?;
    ensure!(now == before, "something was written: {before:?}\n{now:?}");
    // What was told is what happens.
    kind.edit("one", "{size: large}")?;
    kind.wait_child("hub", "configmaps/one-store", |c| c["data"]["size"] == "large")?;
    kind.wait_child("eu", "configmaps/one-app", |c| c["data"]["of"] == "large")?;
    kind.remove("one")
}

/// Rights of a user in one namespace of the hub and of a cluster, beside those that everybody has there.
fn grant(stand: &Stand, kind: &Kind, user: &str) -> Result<()> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let subject = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
    let give = |cluster: &str, namespace: &str, rules: Value| -> Result<()> {
        let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
        let place = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
        let plural = kind.to_lowercase();
        let version = "rbac.authorization.k8s.io/v1";
        let api = stand.api(cluster);
        let role = json!({"apiVersion": version, "kind": kind, "metadata": {"name": user}, "rules": rules});
        api.apply(&format!("{rbac}{place}/{plural}s/{user}"), &role)?;
        let binding = json!({"apiVersion": version, "kind": format!("{kind}Binding"), "metadata": {"name": user},
            "subjects": subject, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": user}});
        api.apply(&format!("{rbac}{place}/{plural}bindings/{user}"), &binding)?;
        Ok(())
    };
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let read = ["get", "list"];
    give(
        "hub",
        "",
        json!([
            rule("kro.run", "resourcegraphdefinitions", &read),
            rule("internal.kro.run", "graphrevisions", &read),
            rule("hub.kro.run", "clusters", &read),
            rule("hub.kro.run", "clusterplacements", &read),
        ]),
    )?;
    give("hub", "kro-hub", json!([rule("", "configmaps", &["get"])]))?;
    let namespace = &kind.rgd;
    give(
        "hub",
        namespace,
        json!([rule("kro.run", &kind.rgd, &read), rule("hub.kro.run", "placements", &read)]),
    )?;
    let all = ["get", "list", "create", "patch", "delete"];
    give(
        "eu",
        "",
        json!([
            rule("", "namespaces", &["get"]),
            rule("apiextensions.k8s.io", "customresourcedefinitions", &["get", "patch"]),
        ]),
    )?;
    give("eu", namespace, json!([rule("kro.run", &kind.rgd, &all), rule("", "configmaps", &all)]))
}

fn as_tenant(stand: &Stand) -> Result<()> {
    let (kind, _) = define_larder(stand, "closets", "Closet", "{}")?;
    let person = Person::new(stand, "closets")?;
    kind.create("one", "eu", "{size: small}")?;
    kind.wait_active("one", &["eu"])?;
    grant(stand, &kind, "tenant")?;
    let large = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Closet",
        "metadata": {"name": "one", "annotations": {"hub.kro.run/clusters": "eu"}}, "spec": {"size": "large"}});
    let large = file(stand, "closet.yaml", &large.to_string())?.display().to_string();
    // Rights are known a moment after they are there.
    let said = eventually(PATIENCE, "the tenant may plan", || {
        let said = person.says(&format!("plan -f {large} --as tenant"))?;
        ensure!(said.code == 2, "{said:?}");
        Ok(said)
    })?;
    has(
        &said,
        &["~ store", "~ app", "\"small\" -> \"large\"", "Plan: 2 to update; 1 of 1 cluster planned."],
    )?;
    for part in ["only those of closets are planned", "these instances are left out", "eu: you may not list "]
    {
        ensure!(said.err.contains(part), "it lacks {part:?}: {said:?}");
    }
    // In another namespace they may nothing.
    let other = person.says(&format!("plan -f {large} --as tenant -n kube-system"))?;
    ensure!(other.code == 1 && other.err.contains("you may not list"), "{other:?}");
    kind.remove("one")
}
