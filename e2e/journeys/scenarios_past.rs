//! A spoke goes back in time: the store of its API server is restored from a backup, and gives versions a second time.

use super::faults_spoke_down::{cluster, define};
use super::scenarios::Runs::Long;
use super::scenarios::Scenario;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand};
use crate::env::controller::NAMESPACE;
use crate::env::registration::condition;
use crate::env::wait::throughout;
use crate::env::{Environment, Programs, eventually};
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[("scenario_17_a_spoke_restored_from_its_backup", restored, Long)];

/// Its store is its own: the others share one.
const OLD: &str = "old";
/// An API server that starts writes some objects of its own. The backup is older by more than those.
const WRITES: usize = 300;

struct Site {
    dir: PathBuf,
}

impl Site {
    fn start(&self) -> Result<Environment> {
        Environment::start_with(&self.dir, &[OLD], Programs::ServerOnly)
    }
    fn store(&self) -> PathBuf {
        self.dir.join("etcd")
    }
    fn backup(&self) -> PathBuf {
        self.dir.join("backup")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let done = Command::new("cp").arg("-a").args([from, to]).status().context("cannot run cp")?;
    ensure!(done.success(), "cp: {done}");
    Ok(())
}

fn text_of(env: &Environment, kind: &Kind, name: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/configmaps/{name}", kind.rgd);
    let found = env.api(OLD).get(&path)?.with_context(|| format!("{name} is not there"))?;
    Ok(found["data"]["text"].as_str().unwrap_or_default().to_owned())
}

fn restored(stand: &Stand) -> Result<()> {
    let site = Site { dir: scratch_folder().join("restored") };
    let env = site.start()?;
    let kind = define(stand, "restored", "Restored")?;
    let definition = stand.api("hub").get(&kind.rgd_path())?.context("no definition")?;
    env.allow(&definition)?;
    stand.register(OLD, &env.least_kubeconfig(OLD)?)?;
    stand.env.wait_cluster_ready("hub", OLD, PATIENCE)?;
    for name in ["edited", "deleted"] {
        kind.create(name, OLD, "{text: one}")?;
        kind.wait_active(name, &[OLD])?;
    }
    drop(env);
    copy(&site.store(), &site.backup())?;
    let env = site.start()?;
    stand.env.wait_cluster_ready("hub", OLD, PATIENCE)?;
    kind.edit("edited", "{text: two}")?;
    kind.create("created", OLD, "{text: one}")?;
    eventually(PATIENCE, "the edit is there", || {
        ensure!(text_of(&env, &kind, "edited")? == "two" && text_of(&env, &kind, "created")? == "one");
        Ok(())
    })?;
    kind.remove("deleted")?;
    kind.wait_active("created", &[OLD])?;
    kind.wait_active("edited", &[OLD])?;
    let filler = |n: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("filler-{n}")}});
    let fillers: Vec<_> = (0..WRITES).map(filler).collect();
    env.api(OLD).post_all("/api/v1/namespaces/default/configmaps", &fillers, 8)?;
    drop(env);
    copy(&site.backup(), &site.store())?;
    let env = site.start()?;
    let back = Instant::now();
    eventually(PATIENCE, "what the restore took away is there again", || {
        let (edited, created) = (text_of(&env, &kind, "edited")?, text_of(&env, &kind, "created")?);
        ensure!(edited == "two" && created == "one", "{edited}, {created}");
        Ok(())
    })?;
    let found = cluster(stand, OLD)?;
    let reachable = condition(&found, "Reachable").cloned().unwrap_or_default();
    ensure!(reachable["message"].to_string().contains("it went back in time"), "{reachable}");
    println!("a restored spoke is as it shall be after {:?}", back.elapsed());
    kind.wait_active("edited", &[OLD])?;
    // The hub knows nothing of an instance that is back there: it is not its own to delete.
    throughout(Duration::from_secs(5), "what came back stays", || text_of(&env, &kind, "deleted").map(drop))?;
    ["edited", "created"].iter().try_for_each(|name| kind.remove(name))?;
    stand.api("hub").delete(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/{OLD}"))?;
    stand.api("hub").delete(&format!("{CLUSTERS}/{OLD}"))
}
