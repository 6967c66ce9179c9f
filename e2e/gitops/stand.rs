//! A hub with two spokes, the controller, a repository, and a tool that brings the one into the other; the words that
//! trials are written in.

use super::git::Repository;
use super::tool::{Site, Tool};
use crate::env::api::{Api, Task};
use crate::env::controller::{Controller, NAMESPACE, Options};
use crate::env::wait::throughout;
use crate::env::{Environment, Programs, eventually, gitops};
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Longer than two tries of either tool. What waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(240);
pub const SPOKES: [&str; 2] = ["spoke-1", "spoke-2"];
pub const RGDS: &str = "/apis/kro.run/v1alpha1/resourcegraphdefinitions";
pub const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";
pub const NOTES: &str = "/apis/kro.run/v1alpha1/namespaces/default/notes";
const PAGES: &str = "/api/v1/namespaces/default/configmaps";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/notes.kro.run";
/// Folders of the fleet that a tool is told of by name.
const FOLDERS: [&str; 3] = ["clusters", "definitions", "instances"];

pub struct Stand {
    // The tool ends before the controller, and that before the clusters.
    tool: Box<dyn Tool>,
    controller: Controller,
    repository: Repository,
    pub env: Environment,
}

/// A file of `examples/gitops`, told where the repository is.
pub fn example(path: &str, url: &str) -> Result<String> {
    let path = examples().join(path);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.replace("https://git.example.org/platform/hub.git", url))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops")
}

impl Stand {
    /// Starts everything. The Secrets of the spokes are put there by hand, all else is the repository's, which is empty.
    ///
    /// # Errors
    /// Something cannot be built or does not start.
    pub fn start(name: &str, tool: fn(&Site<'_>) -> Result<Box<dyn Tool>>) -> Result<Self> {
        gitops::installed("git", "git")?;
        let names: Vec<&str> = std::iter::once("hub").chain(SPOKES).collect();
        let env = Environment::start_with(&scratch_folder().join(name), &names, Programs::GarbageCollector)?;
        let controller = Controller::start(&env, Options::default())?;
        for spoke in SPOKES {
            let secret = format!("{spoke}-kubeconfig");
            let body = json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": secret, "namespace": NAMESPACE},
                "stringData": {"kubeconfig": env.least_kubeconfig(spoke)?}});
            env.api("hub").post(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &body)?;
        }
        for (_, text) in files(&examples().join("fleet/definitions"))? {
            env.allow(&serde_saphyr::from_str(&text)?)?;
        }
        let dir = env.dir().join("gitops");
        fs::create_dir_all(&dir)?;
        let repository = Repository::create(&dir)?;
        empty(&repository)?;
        repository.commit("nothing")?;
        let tool = tool(&Site { env: &env, dir: &dir, url: &repository.url() })?;
        Ok(Self { tool, controller, repository, env })
    }

    pub fn hub(&self) -> &Api {
        self.env.api("hub")
    }

    /// Writes a file of the fleet, for the next commit.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        self.repository.write(&format!("fleet/{path}"), text)
    }

    /// Puts a file of `examples/gitops` into the fleet, for the next commit.
    pub fn take_example(&self, from: &str, path: &str) -> Result<()> {
        self.write(path, &example(from, "")?)
    }

    /// Changes a text of a file of the fleet, for the next commit.
    pub fn edit(&self, path: &str, before: &str, after: &str) -> Result<()> {
        let text = self.repository.read(&format!("fleet/{path}")).with_context(|| format!("no {path}"))?;
        ensure!(text.contains(before), "{path} has no {before:?}:\n{text}");
        self.write(path, &text.replace(before, after))
    }

    /// Leaves one YAML document of a file of the fleet, the one with this text, for the next commit.
    pub fn keep_document(&self, path: &str, with: &str) -> Result<()> {
        let text = self.repository.read(&format!("fleet/{path}")).with_context(|| format!("no {path}"))?;
        let kept = text.split("\n---\n").find(|document| document.contains(with));
        self.write(path, kept.with_context(|| format!("{path} has no document with {with:?}:\n{text}"))?)
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        self.repository.remove(&format!("fleet/{path}"))
    }

    /// Removes all that the example has. Each folder keeps an object: neither tool prunes all that it has.
    pub fn remove_everything(&self) -> Result<()> {
        empty(&self.repository)
    }

    /// Commits what was written and removed, and asks the tool to look.
    pub fn commit(&self, message: &str) -> Result<String> {
        let commit = self.repository.commit(message)?;
        self.tool.ask(&self.env)?;
        Ok(commit)
    }

    /// The tool looks again, at what it has seen already.
    pub fn ask(&self) -> Result<()> {
        self.tool.ask(&self.env)
    }

    /// What people do so that a sync which waits for deletions is followed by the next.
    pub fn let_the_next_sync_begin(&self) -> Result<()> {
        self.tool.let_the_next_sync_begin(&self.env)
    }

    /// The example is committed as it stands, alone, and the tool is green.
    pub fn sync_example(&self) -> Result<()> {
        self.write_example()?;
        let commit = self.commit("the example")?;
        self.wait_green(&commit)
    }

    /// The example as it stands, alone, for the next commit.
    pub fn write_example(&self) -> Result<()> {
        empty(&self.repository)?;
        for (path, text) in files(&examples().join("fleet"))? {
            self.write(&path, &text)?;
        }
        Ok(())
    }

    /// Nothing is there, nor was: no object of the fleet, and not the CRD of its kind.
    pub fn begin_from_nothing(&self) -> Result<()> {
        self.remove_everything()?;
        let commit = self.commit("nothing")?;
        self.wait_green(&commit)?;
        self.wait_nothing_on_hub()?;
        for cluster in ["hub"].into_iter().chain(SPOKES) {
            self.env.api(cluster).delete(CRD)?;
            eventually(PATIENCE, &format!("the CRD gone from {cluster}"), || {
                ensure!(self.env.api(cluster).get(CRD)?.is_none(), "it is there");
                Ok(())
            })?;
        }
        Ok(())
    }

    pub fn wait_nothing_on_hub(&self) -> Result<()> {
        eventually(PATIENCE, "nothing of the fleet is on the hub", || {
            for collection in [NOTES, RGDS, CLUSTERS] {
                let list = self.hub().get(collection)?.unwrap_or_default();
                let first = list.pointer("/items/0");
                ensure!(first.is_none(), "{collection}: {}", first.cloned().unwrap_or_default());
            }
            Ok(())
        })
    }

    pub fn wait_green(&self, commit: &str) -> Result<()> {
        eventually(PATIENCE, &format!("green at {commit}"), || {
            self.hub().list(self.tool.verdicts())?.iter().try_for_each(|v| self.tool.ensure_green(v, commit))
        })
    }

    /// Waits until the tool calls this commit failed; with what it says.
    pub fn wait_failed(&self, commit: &str, patience: Duration) -> Result<String> {
        eventually(patience, &format!("{commit} called failed"), || {
            let verdicts = self.hub().list(self.tool.verdicts())?;
            let failed = verdicts.iter().find_map(|verdict| self.tool.failure(verdict, commit));
            failed.with_context(|| self.verdicts_of(&verdicts, commit))
        })
    }

    fn verdicts_of(&self, verdicts: &[Value], commit: &str) -> String {
        let each = |v: &Value| self.tool.ensure_green(v, commit).err().map(|e| format!("{e:#}"));
        verdicts.iter().filter_map(each).collect::<Vec<_>>().join("\n")
    }

    /// Each word of the tool from now on.
    pub fn listen(&self) -> Result<Words<'_>> {
        let (task, events) = self.hub().watch(&format!("{}?watch=true", self.tool.verdicts()))?;
        Ok(Words { tool: self.tool.as_ref(), _task: task, events, latest: RefCell::default() })
    }

    /// The instance of the example of that name.
    pub fn note(&self, cluster: &str, name: &str) -> Result<Value> {
        let note = self.env.api(cluster).get(&format!("{NOTES}/{name}"))?;
        note.with_context(|| format!("no Note {name} on {cluster}"))
    }

    /// What is made of an instance.
    pub fn page(&self, cluster: &str, name: &str) -> Result<Option<Value>> {
        self.env.api(cluster).get(&format!("{PAGES}/{name}-page"))
    }

    /// Waits until the page of an instance has this text there.
    pub fn wait_page(&self, cluster: &str, name: &str, text: &str) -> Result<()> {
        eventually(PATIENCE, &format!("page of {name} on {cluster} says {text:?}"), || {
            let page = self.page(cluster, name)?.context("there is none")?;
            ensure!(page["data"]["text"] == text, "{}", page["data"]);
            Ok(())
        })
    }

    /// Waits until nothing is left there of what is made of an instance.
    pub fn wait_gone(&self, cluster: &str, name: &str) -> Result<()> {
        eventually(PATIENCE, &format!("page of {name} gone from {cluster}"), || {
            let page = self.page(cluster, name)?;
            ensure!(page.is_none(), "{}", page.unwrap_or_default()["metadata"]);
            Ok(())
        })
    }

    /// Waits until Ready of an object on the hub has this reason; its message.
    pub fn wait_reason(&self, path: &str, reason: &str) -> Result<String> {
        eventually(PATIENCE, &format!("{path} says {reason}"), || {
            let object = self.hub().get(path)?.with_context(|| format!("no {path}"))?;
            let ready = crate::env::registration::condition(&object, "Ready").cloned().unwrap_or_default();
            ensure!(ready["reason"] == reason, "{}", object["status"]);
            Ok(ready["message"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// While `work` is done, a spoke answers nothing. It answers again afterwards, however that ends.
    pub fn while_hanging<T>(&self, spoke: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.env.freeze(spoke)?;
        let done = work();
        self.env.thaw(spoke)?;
        done
    }

    /// Every object of a cluster, of all kinds, but what changes by itself or is the tool's own.
    pub fn everything(&self, cluster: &str) -> Result<Vec<Value>> {
        let kinds =
            self.env.kubectl(cluster, &["api-resources", "--verbs=list", "-o", "name", "--cached=false"])?;
        let own = ["fluxcd.io", "argoproj.io", "leases.coordination.k8s.io", "componentstatuses"];
        let kinds: Vec<&str> = kinds
            .lines()
            .filter(|kind| !kind.starts_with("events") && !own.iter().any(|own| kind.ends_with(own)))
            .collect();
        let list = self.env.kubectl(cluster, &["get", &kinds.join(","), "-A", "-o", "json"])?;
        let list: Value = serde_json::from_str(&list)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// What explains a failure.
    pub fn told(&self) -> String {
        let verdicts = self.hub().list(self.tool.verdicts()).unwrap_or_default();
        format!(
            "the tool says:\n{}\nits logs end with:\n{}\nthe controller's log ends with:\n{}",
            self.verdicts_of(&verdicts, "?"),
            self.tool.log_tail(),
            self.controller.log_tail(8)
        )
    }
}

/// What a tool says from a moment on; no word is missed.
pub struct Words<'a> {
    tool: &'a dyn Tool,
    _task: Task,
    events: Receiver<(Instant, Value)>,
    latest: RefCell<BTreeMap<String, Value>>,
}

impl Words<'_> {
    /// Calls `check` with each that came since the last call, and all that stood then.
    fn each(&self, mut check: impl FnMut(&Value, &BTreeMap<String, Value>) -> Result<()>) -> Result<()> {
        let mut latest = self.latest.borrow_mut();
        while let Ok((_, event)) = self.events.try_recv() {
            let object = &event["object"];
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            latest.insert(name, object.clone());
            check(object, &latest)?;
        }
        Ok(())
    }

    /// That nothing failed of this commit so far, not even for a moment.
    pub fn ensure_never_failed(&self, commit: &str) -> Result<()> {
        self.each(|word, _| match self.tool.failure(word, commit) {
            Some(failure) => Err(anyhow::anyhow!("it failed: {failure}")),
            None => Ok(()),
        })
    }

    /// That this commit is not green for so long, not even for a moment.
    pub fn ensure_never_green(&self, commit: &str, time: Duration) -> Result<()> {
        throughout(time, "not green", || {
            self.each(|_, all| {
                let green = all.values().all(|verdict| self.tool.ensure_green(verdict, commit).is_ok());
                ensure!(!green, "green at {commit}");
                Ok(())
            })
        })
    }
}

/// Files below a folder, by path in it.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path)?.into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

/// A repository with nothing of the fleet.
fn empty(repository: &Repository) -> Result<()> {
    repository.remove("fleet")?;
    for folder in FOLDERS {
        let keep = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("keep-{folder}"), "namespace": "default"}});
        repository.write(&format!("fleet/{folder}/keep.yaml"), &keep.to_string())?;
    }
    Ok(())
}

/// A stand that is started by the first trial that asks for it.
pub type Lazy = crate::lazy::Lazy<Stand>;
