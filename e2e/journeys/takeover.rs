//! From kro to kro-hub and back, with the real kro: nothing that runs notices.

use super::stand::{CLUSTERS, PATIENCE, RGDS, parse, text};
use crate::env::api::Api;
use crate::env::controller::{Controller, Options};
use crate::env::kro::Kro;
use crate::env::wait::throughout;
use crate::env::{Environment, assets, eventually};
use crate::lanes::CLUSTERS as LANE;
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "takeover::from_kro_to_kro_hub_and_back_nothing_changes";
const NAMES: [&str; 3] = ["one", "two", "three"];
const REVISIONS: &str = "/apis/internal.kro.run/v1alpha1/graphrevisions";
const INSTANCES_PATH: &str = "/apis/kro.run/v1alpha1/namespaces/shop/shops";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/shops.kro.run";
const CHILDREN: [&str; 4] = [
    "/api/v1/namespaces/shop/configmaps",
    "/api/v1/namespaces/shop/serviceaccounts",
    "/api/v1/namespaces/shop/services",
    "/apis/apps/v1/namespaces/shop/deployments",
];
const PODS: &str = "/api/v1/namespaces/shop/pods";

const RGD: &str = r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: shop}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Shop
    spec: {text: string | default="hello", replicas: integer | default=2, tiers: '[]string', extra: boolean | default=true}
    status: {available: '${deployment.status.availableReplicas}', address: '${service.spec.clusterIP}'}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text}'}
  - id: account
    template: {apiVersion: v1, kind: ServiceAccount, metadata: {name: '${schema.metadata.name}'}}
  - id: deployment
    readyWhen: ['${deployment.status.availableReplicas == deployment.spec.replicas}']
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}'}
      spec:
        replicas: ${schema.spec.replicas}
        selector: {matchLabels: {app: '${schema.metadata.name}'}}
        template:
          metadata: {labels: {app: '${schema.metadata.name}'}, annotations: {config: '${config.metadata.uid}'}}
          spec:
            serviceAccountName: ${account.metadata.name}
            containers: [{name: main, image: nginx, resources: {requests: {cpu: 100m, memory: 1024Mi}}}]
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {name: '${schema.metadata.name}'}
      spec: {selector: '${deployment.spec.selector.matchLabels}', ports: [{port: 80}]}
  - id: extra
    includeWhen: ['${schema.spec.extra}']
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-extra'}
      data: {of: '${service.metadata.name}'}
  - id: tiers
    forEach: [{tier: '${schema.spec.tiers}'}]
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-${tier}'}
      data: {tier: '${tier}'}
"#;

pub fn trial() -> Trial {
    Trial::test(NAME, || {
        LANE.run(NAME, || {
            // A machine that cannot reach the Go modules proves nothing about kro-hub.
            if let Err(error) = assets::Kro::ensure() {
                eprintln!("\nSKIPPED {NAME}: the real kro cannot be had here: {error:#}\n");
                return Ok(());
            }
            there_and_back().map_err(|error| format!("{error:#}").into())
        })
    })
}

fn there_and_back() -> Result<()> {
    let env = Environment::start(&scratch_folder().join("takeover"), &["hub"])?;
    let api = env.api("hub");

    let kro = Kro::start(&env, "hub", &[])?;
    api.post(RGDS, &parse(RGD)?)?;
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}))?;
    for name in NAMES {
        let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Shop", "metadata": {"name": name},
            "spec": {"text": format!("text of {name}"), "tiers": ["front", "back"]}});
        eventually(PATIENCE, "kro serves the kind", || api.post(INSTANCES_PATH, &body))?;
    }
    wait_active(api).with_context(|| format!("kro alone; its log ends with:\n{}", kro.log_tail(8)))?;
    settled(api)?;
    kro.terminate()?;
    let before = Picture::take(api)?;
    ensure!(before.children.len() == NAMES.len() * 7, "children: {:?}", before.children.keys());
    ensure!(before.pods.len() == NAMES.len() * 2, "pods: {:?}", before.pods);

    // kro-hub takes over.
    let hub = Controller::start(&env, Options::default())?;
    let log = |hub: &Controller| format!("kro-hub's log ends with:\n{}", hub.log_tail(12));
    let local =
        "apiVersion: hub.kro.run/v1alpha1\nkind: Cluster\nmetadata: {name: local}\nspec: {local: true}";
    // A kind is served a moment after its CRD is established.
    let local = parse(local)?;
    eventually(PATIENCE, "the Cluster local is created", || api.post(CLUSTERS, &local))?;
    env.wait_cluster_ready("hub", "local", PATIENCE)?;
    eventually(PATIENCE, "kro-hub looks at the instances", || {
        let metrics = hub.metrics()?;
        let seen =
            metrics.lines().any(|l| l.contains("reconcile_seconds_count") && l.contains("cluster=\"local\""));
        let rgd = || api.get(&format!("{RGDS}/shop")).ok().flatten().unwrap_or_default();
        ensure!(seen, "no step for local yet; the definition: {}", rgd()["status"]);
        Ok(())
    })?;
    let unchanged = |before: &Picture| -> Result<()> {
        wait_active(api)?;
        throughout(Duration::from_secs(5), "as kro left it", || before.ensure_same(&Picture::take(api)?))
    };
    unchanged(&before).with_context(|| log(&hub))?;

    // It does not only watch: it repairs and reconciles.
    api.delete(&format!("{}/one", CHILDREN[0]))?;
    eventually(PATIENCE, "kro-hub brings back a deleted child", || {
        api.get(&format!("{}/one", CHILDREN[0]))?.context("no ConfigMap one")
    })
    .with_context(|| log(&hub))?;
    edit(api, "two", "by kro-hub").with_context(|| log(&hub))?;
    wait_active(api)?;
    settled(api)?;
    hub.terminate()?;

    // And back.
    let before = Picture::take(api)?;
    let kro = Kro::start(&env, "hub", &[])?;
    let log = |kro: &Kro| format!("kro's log ends with:\n{}", kro.log_tail(12));
    eventually(PATIENCE, "kro says Active of the definition", || {
        let rgd = api.get(&format!("{RGDS}/shop"))?.context("the definition is gone")?;
        ensure!(rgd["status"]["state"] == "Active", "status {}", rgd["status"]);
        Ok(())
    })
    .with_context(|| log(&kro))?;
    wait_active(api)?;
    throughout(Duration::from_secs(5), "as kro-hub left it", || {
        before.ensure_same_but_for_versions(&Picture::take(api)?)
    })
    .with_context(|| log(&kro))?;
    edit(api, "three", "by kro").with_context(|| log(&kro))?;
    wait_active(api).with_context(|| log(&kro))
}

/// Edits the instance and waits for the child that shows it.
fn edit(api: &Api, name: &str, words: &str) -> Result<()> {
    api.merge_patch(&format!("{INSTANCES_PATH}/{name}"), &json!({"spec": {"text": words}}))?;
    eventually(PATIENCE, &format!("the edit of {name} reaches its child"), || {
        let child = api.get(&format!("{}/{name}", CHILDREN[0]))?.unwrap_or_default();
        ensure!(child["data"]["text"] == words, "data {}", child["data"]);
        Ok(())
    })
}

fn wait_active(api: &Api) -> Result<()> {
    eventually(PATIENCE, "all instances ACTIVE", || {
        for instance in api.list(INSTANCES_PATH)? {
            let status = &instance["status"];
            ensure!(
                status["state"] == "ACTIVE" && status["available"] == 2,
                "{}: {status}",
                text(&instance, "/metadata/name")
            );
        }
        Ok(())
    })
}

/// Waits until no object of the picture has changed for two seconds.
fn settled(api: &Api) -> Result<()> {
    let mut last = Picture::take(api)?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_secs(2));
        let now = Picture::take(api)?;
        if last.ensure_same(&now).is_ok() && last.instances == now.instances {
            return Ok(());
        }
        last = now;
    }
    anyhow::bail!("objects still change after 40 s")
}

/// Kind, or path, and name.
type Name = String;

/// What must stay: identity, generation, and version where it says so.
#[derive(Default)]
struct Picture {
    /// uid, generation, resourceVersion.
    children: BTreeMap<Name, [String; 3]>,
    instances: BTreeMap<Name, [String; 3]>,
    pods: BTreeMap<Name, [String; 3]>,
    revisions: BTreeMap<Name, [String; 3]>,
    definition: BTreeMap<Name, [String; 3]>,
}

impl Picture {
    fn take(api: &Api) -> Result<Self> {
        let mut picture = Self::default();
        for path in CHILDREN {
            let listed = api.list(&format!("{path}?labelSelector=kro.run/owned%3Dtrue"))?;
            picture.children.extend(listed.iter().map(|o| marks(path, o)));
        }
        picture.instances.extend(api.list(INSTANCES_PATH)?.iter().map(|o| marks("instance", o)));
        picture.pods.extend(api.list(PODS)?.iter().map(|o| marks("pod", o)));
        picture.revisions.extend(api.list(REVISIONS)?.iter().map(|o| marks("revision", o)));
        for path in [format!("{RGDS}/shop"), CRD.to_owned()] {
            let object = api.get(&path)?.with_context(|| format!("{path} is gone"))?;
            picture.definition.extend([marks("definition", &object)]);
        }
        Ok(picture)
    }

    /// Not a write to any child; nothing else has got another identity or content.
    fn ensure_same(&self, now: &Self) -> Result<()> {
        self.ensure_same_but_for_versions(now)?;
        let written = differences(&self.children, &now.children, 3);
        ensure!(written.is_empty(), "children were written: {}", written.join("; "));
        Ok(())
    }

    fn ensure_same_but_for_versions(&self, now: &Self) -> Result<()> {
        let changed: Vec<String> = [
            differences(&self.children, &now.children, 2),
            differences(&self.instances, &now.instances, 2),
            differences(&self.pods, &now.pods, 2),
            differences(&self.revisions, &now.revisions, 2),
            differences(&self.definition, &now.definition, 1),
        ]
        .concat();
        ensure!(changed.is_empty(), "changed: {}", changed.join("; "));
        Ok(())
    }
}

fn marks(of: &str, object: &Value) -> (Name, [String; 3]) {
    let metadata = &object["metadata"];
    let generation = metadata["generation"].as_i64().unwrap_or_default().to_string();
    let name = text(object, "/metadata/name");
    let values = [text(object, "/metadata/uid"), generation, text(object, "/metadata/resourceVersion")];
    (format!("{of}/{name}"), values)
}

/// Objects that came, went, or differ in the first `compared` marks.
fn differences(
    before: &BTreeMap<Name, [String; 3]>,
    now: &BTreeMap<Name, [String; 3]>,
    compared: usize,
) -> Vec<String> {
    let first = |marks: &[String; 3]| marks.iter().take(compared).cloned().collect::<Vec<_>>();
    let gone_or_other = before.iter().filter_map(|(name, marks)| match now.get(name) {
        None => Some(format!("{name} is gone")),
        Some(other) if first(other) != first(marks) => Some(format!("{name}: {marks:?} -> {other:?}")),
        Some(_) => None,
    });
    let new = now.keys().filter(|name| !before.contains_key(*name)).map(|name| format!("{name} is new"));
    gone_or_other.chain(new).collect()
}
