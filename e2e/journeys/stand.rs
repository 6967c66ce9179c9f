//! Where journeys take place: a hub with spokes and the controller, and the words that trials are written in.

use crate::env::api::Api;
use crate::env::controller::{Controller, Hub, Options};
use crate::env::registration::{condition, secret};
use crate::env::{Environment, Programs, eventually};
use crate::faults::Proxy;
use crate::scratch_folder;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Far more than anything takes here; a trial that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(75);
pub const RGDS: &str = "/apis/kro.run/v1alpha1/resourcegraphdefinitions";
pub const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";

/// A hub, its spokes, and a controller.
pub struct Stand {
    // The controller ends before the clusters do.
    controller: Mutex<Option<Controller>>,
    pub env: Environment,
    pub spokes: Vec<String>,
    /// Clusters that the controller sees through one. Trials do not: what they read is true.
    proxies: BTreeMap<String, Proxy>,
    /// How the controller finds its hub.
    hub: PathBuf,
}

impl Stand {
    /// Starts everything, registers the spokes with label `name=<name>`, and waits until they are Ready.
    pub fn start(name: &str, spokes: &[&str], programs: Programs) -> Result<Self> {
        Self::start_through(&[], name, spokes, programs)
    }

    /// The same; between the controller and these clusters there are proxies.
    pub fn start_through(proxied: &[&str], name: &str, spokes: &[&str], programs: Programs) -> Result<Self> {
        let names: Vec<&str> = std::iter::once("hub").chain(spokes.iter().copied()).collect();
        let env = Environment::start_with(&scratch_folder().join(name), &names, programs)?;
        let proxies: BTreeMap<String, Proxy> = proxied
            .iter()
            .map(|cluster| Ok(((*cluster).to_owned(), Proxy::before(&env, cluster)?)))
            .collect::<Result<_>>()?;
        let mut hub = env.kubeconfig("hub").to_owned();
        if let Some(proxy) = proxies.get("hub") {
            // A certificate does not pass through a proxy that reads.
            let kubeconfig = env.token_kubeconfig("hub", "kro-hub", Duration::from_secs(24 * 3600))?;
            hub = env.dir().join("hub-through.kubeconfig");
            fs::write(&hub, proxy.leading(&kubeconfig)?)?;
        }
        let spokes = spokes.iter().map(|s| (*s).to_owned()).collect();
        let stand = Self { controller: Mutex::default(), env, spokes, proxies, hub };
        stand.start_controller()?;
        for spoke in &stand.spokes {
            stand.register(spoke, &stand.env.least_kubeconfig(spoke)?)?;
        }
        for spoke in &stand.spokes {
            stand.env.wait_cluster_ready("hub", spoke, PATIENCE)?;
        }
        Ok(stand)
    }

    /// Writes the Secret of a spoke, through its proxy if it has one.
    pub fn register(&self, spoke: &str, kubeconfig: &str) -> Result<()> {
        let leading = match self.proxies.get(spoke) {
            Some(proxy) => proxy.leading(kubeconfig)?,
            None => kubeconfig.to_owned(),
        };
        let body = secret(spoke, &leading, &[("name", spoke)]);
        let path = format!("/api/v1/namespaces/{}/secrets/{spoke}", crate::env::controller::NAMESPACE);
        self.api("hub").apply(&path, &body).map(drop)
    }

    /// The proxy before a cluster.
    pub fn proxy(&self, cluster: &str) -> Result<&Proxy> {
        self.proxies.get(cluster).with_context(|| format!("there is no proxy before {cluster}"))
    }

    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    pub fn api(&self, cluster: &str) -> &Api {
        self.env.api(cluster)
    }

    fn controller(&self) -> MutexGuard<'_, Option<Controller>> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn kill_controller(&self) {
        if let Some(controller) = self.controller().take() {
            controller.kill9();
        }
    }

    /// Ends it in good order: the next one need not wait for its lease to run out.
    pub fn end_controller(&self) -> Result<()> {
        self.controller().take().context("the controller does not run")?.terminate()
    }

    pub fn start_controller(&self) -> Result<()> {
        *self.controller() = Some(self.another_controller(Options::default())?);
        Ok(())
    }

    /// Starts it, and does not wait until it is ready.
    pub fn launch_controller(&self) -> Result<()> {
        *self.controller() = Some(Controller::launch(self.hub(), Options::default())?);
        Ok(())
    }

    /// One that nothing here ends.
    pub fn another_controller(&self, options: Options) -> Result<Controller> {
        Controller::start_at(self.hub(), options)
    }

    fn hub(&self) -> Hub<'_> {
        Hub { dir: self.env.dir(), kubeconfig: &self.hub, api: self.api("hub") }
    }

    pub fn controller_runs(&self) -> bool {
        self.controller().is_some()
    }

    /// Asks the controller that runs.
    pub fn on_controller<T>(&self, ask: impl FnOnce(&Controller) -> Result<T>) -> Result<T> {
        ask(self.controller().as_ref().context("the controller does not run")?)
    }

    pub fn metrics(&self) -> Result<String> {
        self.controller().as_ref().context("the controller does not run")?.metrics()
    }

    /// The end of the controller's log, for failures.
    pub fn log_tail(&self) -> String {
        self.controller().as_ref().map(|c| c.log_tail(8)).unwrap_or_default()
    }

    /// Creates an object from YAML.
    pub fn create(&self, cluster: &str, collection: &str, yaml: &str) -> Result<Value> {
        self.api(cluster).post(collection, &parse(yaml)?)
    }

    /// Applies a definition and waits until it is Active.
    pub fn define(&self, rgd: &str) -> Result<Kind<'_>> {
        let kind = self.submit(rgd)?;
        kind.wait_defined()?;
        Ok(kind)
    }

    /// Applies a definition. Its instances live in the namespace that is named like it.
    pub fn submit(&self, rgd: &str) -> Result<Kind<'_>> {
        let rgd = parse(rgd)?;
        let text =
            |pointer: &str| rgd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, kind) = (text("/metadata/name"), text("/spec/schema/kind"));
        self.env.allow(&rgd)?;
        self.api("hub").post(RGDS, &rgd).with_context(|| format!("creating {name}"))?;
        let namespaces = "/api/v1/namespaces";
        if self.api("hub").get(&format!("{namespaces}/{name}"))?.is_none() {
            self.api("hub").post(namespaces, &json!({"metadata": {"name": name}}))?;
        }
        Ok(Kind { stand: self, rgd: name, plural: format!("{}s", kind.to_lowercase()), kind })
    }

    pub fn label_cluster(&self, name: &str, labels: &Value) -> Result<()> {
        let patch = json!({"metadata": {"labels": labels}});
        self.api("hub").merge_patch(&format!("{CLUSTERS}/{name}"), &patch).map(drop)
    }
}

/// A kind that a definition of this hub generates.
pub struct Kind<'a> {
    pub stand: &'a Stand,
    /// Name of the definition, and of the namespace of its instances.
    pub rgd: String,
    pub kind: String,
    pub plural: String,
}

impl Kind<'_> {
    pub fn rgd_path(&self) -> String {
        format!("{RGDS}/{}", self.rgd)
    }
    pub fn crd_path(&self) -> String {
        format!("{CRDS}/{}.kro.run", self.plural)
    }
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.collection())
    }
    pub fn collection(&self) -> String {
        format!("/apis/kro.run/v1alpha1/namespaces/{}/{}", self.rgd, self.plural)
    }
    /// Path of the instances of all namespaces.
    pub fn all(&self) -> String {
        format!("/apis/kro.run/v1alpha1/{}", self.plural)
    }
    pub fn status(&self) -> Result<Value> {
        let rgd = self.stand.api("hub").get(&self.rgd_path())?.context("the definition is gone")?;
        Ok(rgd["status"].clone())
    }

    pub fn wait_defined(&self) -> Result<()> {
        eventually(PATIENCE, &format!("ResourceGraphDefinition {} Active", self.rgd), || {
            let status = self.status()?;
            ensure!(status["state"] == "Active", "status {status}");
            Ok(())
        })
    }

    /// Merges a patch in YAML into the definition.
    pub fn edit_definition(&self, patch: &str) -> Result<()> {
        let patch = parse(patch)?;
        let mut edited = self.stand.api("hub").get(&self.rgd_path())?.context("the definition is gone")?;
        merge(&mut edited, &patch);
        self.stand.env.allow(&edited)?;
        self.stand.api("hub").merge_patch(&self.rgd_path(), &patch).map(drop)
    }

    /// Creates an instance on clusters: `eu,us`, `*`, or `?selector`.
    pub fn create(&self, name: &str, placed: &str, spec: &str) -> Result<Value> {
        let annotations = match placed.strip_prefix('?') {
            Some(selector) => json!({"hub.kro.run/cluster-selector": selector}),
            None => json!({"hub.kro.run/clusters": placed}),
        };
        let metadata = json!({"name": name, "annotations": annotations});
        self.create_as(metadata, spec)
    }

    pub fn create_as(&self, metadata: Value, spec: &str) -> Result<Value> {
        let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": self.kind,
            "metadata": metadata, "spec": parse(spec)?});
        // A kind is served a moment after its CRD is established.
        eventually(PATIENCE, &format!("{} {} created", self.kind, body["metadata"]["name"]), || {
            self.stand.api("hub").post(&self.collection(), &body)
        })
    }

    pub fn hub(&self, name: &str) -> Result<Value> {
        self.on("hub", name)?.with_context(|| format!("there is no {} {name} on the hub", self.kind))
    }
    /// The instance, or its mirror on a spoke.
    pub fn on(&self, cluster: &str, name: &str) -> Result<Option<Value>> {
        self.stand.api(cluster).get(&self.path(name))
    }

    pub fn patch(&self, name: &str, patch: &Value) -> Result<Value> {
        self.stand.api("hub").merge_patch(&self.path(name), patch)
    }
    pub fn edit(&self, name: &str, spec: &str) -> Result<Value> {
        self.patch(name, &json!({"spec": parse(spec)?}))
    }
    pub fn annotate(&self, name: &str, annotations: &Value) -> Result<Value> {
        self.patch(name, &json!({"metadata": {"annotations": annotations}}))
    }
    pub fn place(&self, name: &str, clusters: &str) -> Result<Value> {
        self.annotate(name, &json!({"hub.kro.run/clusters": clusters}))
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        self.stand.api("hub").delete(&self.path(name))
    }
    pub fn wait_gone(&self, name: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{} {name} gone from the hub", self.kind), || {
            let found = self.on("hub", name)?;
            ensure!(found.is_none(), "{}", summary(&found.unwrap_or_default()));
            Ok(())
        })
    }
    pub fn remove(&self, name: &str) -> Result<()> {
        self.delete(name)?;
        self.wait_gone(name)
    }

    /// Waits until the instance is ACTIVE for its present spec, on exactly these clusters.
    pub fn wait_active(&self, name: &str, clusters: &[&str]) -> Result<Value> {
        eventually(PATIENCE, &format!("{} {name} ACTIVE on {clusters:?}", self.kind), || {
            let instance = self.hub(name)?;
            ensure_active(&instance, clusters)?;
            Ok(instance)
        })
    }

    /// Waits until condition Ready has this reason; returns the instance.
    pub fn wait_reason(&self, name: &str, reason: &str) -> Result<Value> {
        eventually(PATIENCE, &format!("{} {name} Ready=False {reason}", self.kind), || {
            let instance = self.hub(name)?;
            let ready = condition(&instance, "Ready").cloned().unwrap_or_default();
            ensure!(ready["status"] == "False" && ready["reason"] == reason, "{}", summary(&instance));
            Ok(instance)
        })
    }

    /// Path of an object beside the instances, e.g. `configmaps/a`, `apps/v1/deployments/a`.
    pub fn beside(&self, what: &str) -> String {
        let parts: Vec<&str> = what.split('/').collect();
        match parts.as_slice() {
            [group, version, rest @ ..] if rest.len() == 2 => {
                format!("/apis/{group}/{version}/namespaces/{}/{}", self.rgd, rest.join("/"))
            }
            _ => format!("/api/v1/namespaces/{}/{what}", self.rgd),
        }
    }
    pub fn child(&self, cluster: &str, what: &str) -> Result<Option<Value>> {
        self.stand.api(cluster).get(&self.beside(what))
    }
    /// Waits for a child that is as `check` wants it.
    pub fn wait_child(&self, cluster: &str, what: &str, check: impl Fn(&Value) -> bool) -> Result<Value> {
        let waited = eventually(PATIENCE, &format!("{what} on {cluster} as wanted"), || {
            let mut found = self.child(cluster, what)?.with_context(|| format!("no {what}"))?;
            if !check(&found) {
                found["metadata"]["managedFields"].take();
                bail!("{found}");
            }
            Ok(found)
        });
        waited.with_context(|| self.instances())
    }
    /// What the hub says of all instances, for failures.
    fn instances(&self) -> String {
        let list = self.stand.api("hub").list(&self.collection()).unwrap_or_default();
        list.iter().map(summary).collect::<Vec<_>>().join("\n")
    }
    pub fn wait_no_child(&self, cluster: &str, what: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{what} gone from {cluster}"), || {
            let found = self.child(cluster, what)?;
            ensure!(found.is_none(), "it is there: {}", found.unwrap_or_default()["metadata"]);
            Ok(())
        })
    }
    /// Creates the namespace of the instances on a spoke, for what stands there before them.
    pub fn namespace_on(&self, cluster: &str) -> Result<()> {
        self.stand.api(cluster).post("/api/v1/namespaces", &json!({"metadata": {"name": self.rgd}})).map(drop)
    }
    pub fn create_beside(&self, cluster: &str, collection: &str, yaml: &str) -> Result<Value> {
        self.stand.create(cluster, &self.beside(collection), yaml)
    }
    /// Names of the objects of one collection that carry kro's label, sorted.
    pub fn owned(&self, cluster: &str, collection: &str) -> Result<Vec<String>> {
        let path = format!("{}?labelSelector=kro.run/owned%3Dtrue", self.beside(collection));
        let mut names: Vec<String> =
            self.stand.api(cluster).list(&path)?.iter().map(|o| text(o, "/metadata/name")).collect();
        names.sort();
        Ok(names)
    }
    /// Waits until exactly these owned objects are there.
    pub fn wait_owned(&self, cluster: &str, collection: &str, names: &[&str]) -> Result<()> {
        eventually(PATIENCE, &format!("{collection} {names:?} on {cluster}"), || {
            let found = self.owned(cluster, collection)?;
            ensure!(found == names, "found {found:?}");
            Ok(())
        })
    }
}

/// Whether the instance is ACTIVE for its present spec, on exactly these clusters.
pub fn ensure_active(instance: &Value, clusters: &[&str]) -> Result<()> {
    let ready = condition(instance, "Ready").cloned().unwrap_or_default();
    let mut wanted = clusters.to_vec();
    wanted.sort_unstable();
    let current =
        entries(instance).iter().all(|e| e["observedGeneration"] == instance["metadata"]["generation"]);
    ensure!(
        instance["status"]["state"] == "ACTIVE"
            && ready["status"] == "True"
            && ready["observedGeneration"] == instance["metadata"]["generation"]
            && current
            && placed(instance) == wanted,
        "{}",
        summary(instance)
    );
    Ok(())
}

/// `status.fleet.clusters`.
pub fn entries(instance: &Value) -> Vec<Value> {
    instance.pointer("/status/fleet/clusters").and_then(Value::as_array).cloned().unwrap_or_default()
}
pub fn entry(instance: &Value, cluster: &str) -> Result<Value> {
    let found = entries(instance).into_iter().find(|e| e["name"] == cluster);
    found.with_context(|| format!("no entry of {cluster}: {}", summary(instance)))
}
/// Clusters of the entries, sorted.
pub fn placed(instance: &Value) -> Vec<String> {
    let mut names: Vec<String> = entries(instance).iter().map(|e| text(e, "/name")).collect();
    names.sort();
    names
}

pub fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
pub fn uid(object: &Value) -> String {
    text(object, "/metadata/uid")
}
pub fn annotation(object: &Value, key: &str) -> String {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
}

/// What of an instance explains a failure.
pub fn summary(instance: &Value) -> String {
    let mut metadata = instance["metadata"].clone();
    metadata["managedFields"].take();
    format!("{metadata} {}", instance["status"])
}

/// A JSON merge patch.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        match value {
            Value::Null => drop(object.as_object_mut().and_then(|o| o.remove(key))),
            value => merge(&mut object[key], value),
        }
    }
}

pub fn parse(yaml: &str) -> Result<Value> {
    serde_saphyr::from_str(yaml).with_context(|| format!("in this YAML:\n{yaml}"))
}

/// A stand that is started by the first trial that asks for it.
pub type Lazy = crate::lazy::Lazy<Stand>;
