//! One fleet for all trials about registration: a hub, three spokes, a controller, a definition.

use super::seen::{CLUSTERS, NOTES, conditions};
use crate::env::controller::{Controller, NAMESPACE, Options};
use crate::env::registration::{condition, secret};
use crate::env::wait::eventually;
use crate::env::{Environment, Programs};
use crate::scratch_folder;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long anything may take; what is waited for takes well under a second.
pub const SOON: Duration = Duration::from_secs(20);
/// How long what an earlier trial left may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long something that must not happen is watched for.
pub const WHILE: Duration = Duration::from_millis(1000);
pub const SPOKES: [&str; 3] = ["eu", "us", "asia"];
/// Where instances of the trials live.
pub const HOME: &str = "default";

const DEFINITION: &str = r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: note}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Note
    spec: {text: 'string | default="hello"'}
    status: {copy: '${second.data.text}'}
  resources:
  - id: first
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-first'}
      data: {text: '${schema.spec.text}'}
  - id: second
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-second'}
      data: {text: '${first.data.text}'}
"#;

/// Started by the first trial, ended after the last.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Option<Stage>>>);

impl Shared {
    /// Runs a trial, alone and with no cluster registered.
    pub fn on_stage(&self, trial: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Stage::start()?);
        }
        let stage = slot.as_ref().context("just started")?;
        stage.clear().context("clearing what an earlier trial left")?;
        let result = trial(stage);
        result.with_context(|| format!("the controller's log ends with:\n{}", stage.log_tail()))
    }

    /// Ends everything that was started.
    pub fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

pub struct Stage {
    // It ends before the clusters do.
    controller: Mutex<Option<Controller>>,
    pub env: Environment,
}

impl Stage {
    fn start() -> Result<Self> {
        let mut names = vec!["hub"];
        names.extend(SPOKES);
        // Nobody but the trial and the controller writes to these clusters.
        let env =
            Environment::start_with(&scratch_folder().join("registration"), &names, Programs::ServerOnly)?;
        let controller = Controller::start(&env, Options::default())?;
        let stage = Self { controller: Mutex::new(Some(controller)), env };
        stage.env.allow(&serde_saphyr::from_str(DEFINITION)?)?;
        stage.env.apply("hub", DEFINITION)?;
        let path = "/apis/kro.run/v1alpha1/resourcegraphdefinitions/note";
        eventually(SOON, "ResourceGraphDefinition note Active", || {
            let status = stage.hub(path)?["status"].clone();
            ensure!(status["state"] == "Active", "status {status}");
            Ok(())
        })?;
        Ok(stage)
    }

    /// The object at a path of the hub.
    pub fn hub(&self, path: &str) -> Result<Value> {
        self.env.api("hub").get(path)?.with_context(|| format!("hub: {path} is not there"))
    }

    pub fn on_controller<T>(&self, ask: impl FnOnce(&Controller) -> Result<T>) -> Result<T> {
        let controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        ask(controller.as_ref().context("the controller does not run")?)
    }

    /// Ends the controller and starts it again.
    pub fn restart_controller(&self) -> Result<()> {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = controller.take() {
            running.terminate()?;
        }
        *controller = Some(Controller::start(&self.env, Options::default())?);
        Ok(())
    }

    fn log_tail(&self) -> String {
        self.on_controller(|c| Ok(c.log_tail(12))).unwrap_or_else(|error| error.to_string())
    }

    /// A kubeconfig with a certificate, and the rights that the definition needs there and no other.
    pub fn kubeconfig(&self, cluster: &str) -> Result<String> {
        self.env.least_certificate(cluster)
    }

    /// Creates or changes the kubeconfig Secret `name`.
    pub fn put_secret(&self, name: &str, kubeconfig: &str) -> Result<()> {
        self.put(&secret(name, kubeconfig, &[]))
    }

    /// Server-side apply of a Secret or a Cluster to the hub; unlike kubectl's, it leaves no copy in an annotation.
    pub fn put(&self, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
            None => format!("{CLUSTERS}/{name}"),
        };
        self.env.api("hub").apply(&path, object).map(drop)
    }

    /// Registers `spoke` under the name `cluster` and waits until it is Ready.
    pub fn register_as(&self, cluster: &str, spoke: &str) -> Result<Value> {
        self.put_secret(cluster, &self.kubeconfig(spoke)?)?;
        self.ready(cluster)
    }

    pub fn register(&self, spoke: &str) -> Result<Value> {
        self.register_as(spoke, spoke)
    }

    pub fn delete_secret(&self, name: &str) -> Result<()> {
        self.env.api("hub").delete(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}"))
    }

    pub fn delete_cluster(&self, name: &str) -> Result<()> {
        self.env.api("hub").delete(&format!("{CLUSTERS}/{name}"))
    }

    /// Deletes Secret and Cluster, and waits until the Cluster is gone.
    pub fn deregister(&self, name: &str) -> Result<()> {
        self.delete_secret(name)?;
        self.delete_cluster(name)?;
        eventually(SOON, &format!("Cluster {name} gone"), || {
            let found = self.env.api("hub").get(&format!("{CLUSTERS}/{name}"))?;
            ensure!(found.is_none(), "it is there: {}", found.as_ref().map(conditions).unwrap_or_default());
            Ok(())
        })
    }

    pub fn cluster(&self, name: &str) -> Result<Value> {
        self.hub(&format!("{CLUSTERS}/{name}"))
    }

    pub fn patch_cluster(&self, name: &str, patch: &Value) -> Result<Value> {
        self.env.api("hub").merge_patch(&format!("{CLUSTERS}/{name}"), patch)
    }

    pub fn ready(&self, name: &str) -> Result<Value> {
        self.is(name, "Ready", "True", "Ready")
    }

    /// Waits for a condition of a Cluster, and returns the Cluster.
    pub fn is(&self, name: &str, of_type: &str, status: &str, reason: &str) -> Result<Value> {
        eventually(SOON, &format!("Cluster {name}: {of_type} {status} {reason}"), || {
            let cluster = self.cluster(name)?;
            let found =
                condition(&cluster, of_type).is_some_and(|c| c["status"] == status && c["reason"] == reason);
            ensure!(found, "conditions {}", conditions(&cluster));
            Ok(cluster)
        })
    }

    /// Creates an instance; `words` are its annotations.
    pub fn note(&self, name: &str, words: &Value) -> Result<Value> {
        self.note_in(HOME, name, words)
    }

    pub fn note_in(&self, namespace: &str, name: &str, words: &Value) -> Result<Value> {
        let body = json!({
            "apiVersion": "kro.run/v1alpha1", "kind": "Note",
            "metadata": {"name": name, "annotations": words},
            "spec": {"text": format!("text of {name}")},
        });
        self.env.api("hub").post(&notes(namespace), &body)
    }

    /// Creates an instance on one cluster and waits until it is there.
    pub fn placed_note(&self, name: &str, cluster: &str) -> Result<Value> {
        self.note(name, &json!({"hub.kro.run/clusters": cluster}))?;
        self.active(name)
    }

    pub fn instance(&self, name: &str) -> Result<Value> {
        self.hub(&format!("{}/{name}", notes(HOME)))
    }

    /// Waits until an instance is ACTIVE.
    pub fn active(&self, name: &str) -> Result<Value> {
        eventually(SOON, &format!("Note {name} ACTIVE"), || {
            let note = self.instance(name)?;
            ensure!(note["status"]["state"] == "ACTIVE", "status {}", note["status"]);
            Ok(note)
        })
    }

    /// Waits until an instance says of one cluster that it is in `state`; returns the entry.
    pub fn entry(&self, name: &str, cluster: &str, state: &str) -> Result<Value> {
        eventually(SOON, &format!("Note {name} {state} on {cluster}"), || {
            let note = self.instance(name)?;
            let entries = note.pointer("/status/fleet/clusters").and_then(Value::as_array);
            let entry = entries.and_then(|list| list.iter().find(|entry| entry["name"] == cluster));
            ensure!(entry.is_some_and(|e| e["state"] == state), "status {}", note["status"]);
            Ok(entry.cloned().unwrap_or_default())
        })
    }

    /// Deletes an instance and waits until it is gone from the hub.
    pub fn delete_note(&self, name: &str) -> Result<()> {
        let path = format!("{}/{name}", notes(HOME));
        self.env.api("hub").delete(&path)?;
        eventually(SOON, &format!("Note {name} gone"), || {
            let found = self.env.api("hub").get(&path)?;
            ensure!(found.is_none(), "it is there: {}", found.unwrap_or_default()["status"]);
            Ok(())
        })
    }

    /// Breaks a child on a spoke and waits until it is repaired.
    pub fn drift_is_repaired(&self, spoke: &str, note: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{HOME}/configmaps/{note}-second");
        let api = self.env.api(spoke);
        api.merge_patch(&path, &json!({"data": {"text": "somebody was here"}}))?;
        eventually(SOON, &format!("{note}-second repaired on {spoke}"), || {
            let text = api.get(&path)?.context("it is gone")?["data"]["text"].clone();
            ensure!(text == format!("text of {note}"), "it says {text}");
            Ok(())
        })
    }

    /// No cluster, no instance, nothing of ours on the spokes but the definitions.
    ///
    /// Spokes go first, so that nothing waits for them, and local clusters last, so that the hub is cleaned.
    fn clear(&self) -> Result<()> {
        let api = self.env.api("hub");
        for namespace in [NAMESPACE, "kro-system"] {
            for label in
                ["hub.kro.run/cluster", "kro.run/cluster", "sigs.k8s.io/multicluster-runtime-kubeconfig"]
            {
                api.delete(&format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={label}"))?;
            }
        }
        let path = |item: &Value| {
            let meta = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
            match item["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{}/{}", notes(namespace), meta("name")),
                None => format!("{CLUSTERS}/{}", meta("name")),
            }
        };
        let end = |what: &str, list: &str, which: &dyn Fn(&Value) -> bool| -> Result<()> {
            let left = || -> Result<Vec<Value>> { Ok(api.list(list)?.into_iter().filter(which).collect()) };
            for item in left()? {
                api.delete(&path(&item))?;
            }
            let gone = eventually(PATIENCE, what, || {
                let left = left()?;
                ensure!(left.is_empty(), "{} left", left.len());
                Ok(())
            });
            if gone.is_err() {
                // A trial that failed must not make the next ones fail.
                for item in left()? {
                    api.merge_patch(&path(&item), &json!({"metadata": {"finalizers": null}}))?;
                }
            }
            Ok(())
        };
        end("spokes gone", CLUSTERS, &|cluster| cluster["spec"]["local"] != true)?;
        end("instances gone", "/apis/kro.run/v1alpha1/notes", &|_| true)?;
        end("clusters gone", CLUSTERS, &|_| true)?;
        for config_map in api.list(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps"))? {
            let name = config_map["metadata"]["name"].as_str().unwrap_or_default();
            if name.starts_with("left-") {
                api.delete(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}"))?;
            }
        }
        let ours = "labelSelector=hub.kro.run/hub-id";
        for spoke in SPOKES {
            for path in
                [format!("{}?{ours}", notes(HOME)), format!("/api/v1/namespaces/{HOME}/configmaps?{ours}")]
            {
                self.env.api(spoke).delete(&path)?;
            }
            self.env.api(spoke).delete("/api/v1/namespaces/kube-system/configmaps/kro-hub-claim")?;
        }
        Ok(())
    }

    /// The ConfigMap that lists what was left on a cluster, by uid of the instance; none is an empty list.
    pub fn left_behind(&self, cluster_id: &str) -> Result<serde_json::Map<String, Value>> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/left-{cluster_id}");
        let found = self.env.api("hub").get(&path)?;
        Ok(found.and_then(|map| map["data"].as_object().cloned()).unwrap_or_default())
    }

    /// Waits for an Event on an object of the hub; returns its text.
    pub fn event(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        eventually(SOON, &format!("Event {reason} on {kind} {name}"), || {
            let events = self.env.api("hub").list("/apis/events.k8s.io/v1/events")?;
            let about = |e: &&Value| {
                e["regarding"]["kind"] == kind && e["regarding"]["name"] == name && e["reason"] == reason
            };
            match events.iter().find(about) {
                Some(event) => Ok(event["note"].as_str().unwrap_or_default().to_owned()),
                None => bail!("{} other events", events.len()),
            }
        })
    }
}

pub fn notes(namespace: &str) -> String {
    NOTES.replace("{}", namespace)
}

/// The identity of a Cluster.
pub fn cluster_id(cluster: &Value) -> String {
    cluster["status"]["clusterID"].as_str().unwrap_or_default().to_owned()
}

pub fn text_of<'a>(cluster: &'a Value, of_type: &str) -> &'a str {
    condition(cluster, of_type).and_then(|c| c["message"].as_str()).unwrap_or_default()
}
