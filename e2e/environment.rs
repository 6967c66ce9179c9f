//! Trials of the environment itself: what the other trials stand on.

use crate::Fleet;
use crate::env::process::Process;
use crate::env::wait::{eventually, throughout};
use crate::env::{Environment, Programs};
use crate::lanes::CLUSTERS;
use crate::{myself_as, scratch_folder};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

pub fn trials(fleet: &Fleet) -> Vec<Trial> {
    type Run = fn(&Environment) -> Result<()>;
    let on_fleet: [(&str, Run); 5] = [
        ("environment::clusters_are_apart", clusters_are_apart),
        ("environment::a_deployment_becomes_available", a_deployment_becomes_available),
        ("environment::a_killed_server_comes_back_with_its_data", a_killed_server_comes_back),
        ("environment::a_frozen_server_answers_nothing", a_frozen_server_answers_nothing),
        ("environment::a_token_works_until_its_account_goes", a_token_works_until_its_account_goes),
    ];
    let mut trials: Vec<Trial> = on_fleet
        .into_iter()
        .map(|(name, run)| {
            let fleet = fleet.clone();
            Trial::test(name, move || {
                CLUSTERS.run(name, || Ok(run(fleet.get()?.as_ref()).map_err(|e| format!("{e:#}"))?))
            })
        })
        .collect();
    type RunAlone = fn() -> Result<()>;
    let alone: [(&str, RunAlone); 3] = [
        ("environment::nothing_runs_after_drop", nothing_runs_after_drop),
        ("environment::nothing_runs_after_kill_of_the_owner", nothing_runs_after_kill_of_the_owner),
        ("environment::waiting_names_what_was_seen", waiting_names_what_was_seen),
    ];
    trials.extend(alone.into_iter().map(|(name, run)| {
        Trial::test(name, move || CLUSTERS.run(name, || Ok(run().map_err(|e| format!("{e:#}"))?)))
    }));
    trials
}

fn clusters_are_apart(env: &Environment) -> Result<()> {
    let id = |name: &str| -> Result<String> {
        let namespace = env.api(name).get("/api/v1/namespaces/kube-system")?.context("no kube-system")?;
        Ok(namespace["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    };
    let (hub, eu, us) = (id("hub")?, id("eu")?, id("us")?);
    ensure!(hub != eu && eu != us && hub != us && !hub.is_empty(), "identities: {hub} {eu} {us}");
    env.apply("eu", "{apiVersion: v1, kind: ConfigMap, metadata: {name: only-eu}, data: {a: b}}")?;
    ensure!(env.kubectl("us", &["get", "configmap", "only-eu"]).is_err(), "us sees what was written to eu");
    env.kubectl("eu", &["label", "configmap", "only-eu", "test=apart"])?;
    let labelled = env.labelled("eu", "test=apart")?;
    ensure!(labelled == ["default/ConfigMap/only-eu"], "labelled: {labelled:?}");
    env.kubectl("eu", &["delete", "configmap", "only-eu"])?;
    ensure!(env.labelled("eu", "test=apart")?.is_empty(), "still there after deletion");
    Ok(())
}

fn a_deployment_becomes_available(env: &Environment) -> Result<()> {
    env.kubectl("us", &["create", "deployment", "web", "--image=nginx", "--replicas=3"])?;
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    eventually(Duration::from_secs(60), "Deployment web available", || {
        let status = env.api("us").get(path)?.context("gone")?["status"].clone();
        ensure!(status["availableReplicas"] == 3, "status {status}");
        Ok(())
    })?;
    env.kubectl("us", &["delete", "deployment", "web"])?;
    eventually(Duration::from_secs(60), "its pods gone", || {
        let pods = env.api("us").list("/api/v1/namespaces/default/pods")?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
}

fn a_killed_server_comes_back(env: &Environment) -> Result<()> {
    env.kubectl("eu", &["create", "configmap", "kept", "--from-literal=a=b"])?;
    let url = env.server_url("eu");
    env.stop_server("eu")?;
    ensure!(env.api("eu").text("/readyz").is_err(), "a killed server answers");
    ensure!(env.stop_server("eu").is_err(), "it could be killed twice");
    env.api("us").text("/readyz").context("us must not notice")?;
    env.start_server("eu")?;
    ensure!(env.server_url("eu") == url, "the address changed to {}", env.server_url("eu"));
    let kept = env.kubectl("eu", &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"])?;
    ensure!(kept == "b", "read {kept:?}");
    env.kubectl("eu", &["delete", "configmap", "kept"])?;
    // The programs beside it must have survived too.
    env.kubectl("eu", &["create", "namespace", "after"])?;
    let account = "/api/v1/namespaces/after/serviceaccounts/default";
    eventually(Duration::from_secs(60), "the controller manager works again", || {
        env.api("eu").get(account)?.context("no default service account").map(drop)
    })?;
    env.kubectl("eu", &["delete", "namespace", "after"]).map(drop)
}

fn a_frozen_server_answers_nothing(env: &Environment) -> Result<()> {
    env.freeze("eu")?;
    let start = Instant::now();
    let answer = env.kubectl("eu", &["get", "--raw", "/readyz", "--request-timeout=2s"]);
    let waited = start.elapsed();
    env.thaw("eu")?;
    ensure!(answer.is_err(), "it answered {answer:?}");
    ensure!(waited >= Duration::from_secs(2), "refused at once, after {waited:?}: not frozen but gone");
    eventually(Duration::from_secs(20), "eu answers again", || env.api("eu").text("/readyz").map(drop))
}

fn a_token_works_until_its_account_goes(env: &Environment) -> Result<()> {
    let valid = Duration::from_secs(3600);
    let (first, second) =
        (env.token_kubeconfig("eu", "robot", valid)?, env.token_kubeconfig("eu", "robot", valid)?);
    ensure!(first != second, "both calls gave the same token");
    let path = scratch_folder().join("token.kubeconfig");
    std::fs::write(&path, &first)?;
    let api = crate::env::api::Api::from_kubeconfig(&path)?;
    ensure!(!api.list("/api/v1/nodes")?.is_empty(), "the token sees no node");
    env.kubectl("eu", &["delete", "serviceaccount", "robot", "-n", "kube-system"])?;
    eventually(Duration::from_secs(30), "token refused", || {
        let error = api.list("/api/v1/nodes").err().context("still accepted")?;
        ensure!(format!("{error:#}").contains("Unauthorized"), "{error:#}");
        Ok(())
    })
}

/// Pids of all programs in `dir`, from their pid files.
fn pids(dir: &Path) -> Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    for folder in [dir.to_owned(), dir.join("alone")] {
        for name in ["etcd", "kube-apiserver"] {
            found.extend(Process::open(&folder, name).map(|p| (name.to_owned(), p.pid())));
        }
    }
    ensure!(found.len() == 2, "expected etcd and one API server, found {found:?}");
    Ok(found)
}

/// Whether a process of that pid does anything.
pub fn runs(pid: u32) -> bool {
    // Without `kill`: a zombie still takes signals.
    let ps = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    ps.is_ok_and(|output| {
        let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        !state.is_empty() && !state.starts_with('Z')
    })
}

fn nothing_runs_after_drop() -> Result<()> {
    let dir = scratch_folder().join("dropped");
    let env = Environment::start_with(&dir, &["alone"], Programs::ServerOnly)?;
    let pids = pids(&dir)?;
    ensure!(pids.iter().all(|(_, pid)| runs(*pid)), "not running: {pids:?}");
    let panicked = std::thread::spawn(move || {
        let _env = env;
        std::panic::resume_unwind(Box::new("a test that fails"));
    })
    .join();
    ensure!(panicked.is_err(), "it should have panicked");
    let left: Vec<_> = pids.iter().filter(|(_, pid)| runs(*pid)).collect();
    ensure!(left.is_empty(), "still running: {left:?}");
    Ok(())
}

fn nothing_runs_after_kill_of_the_owner() -> Result<()> {
    let dir = scratch_folder().join("killed");
    // This program again, as the owner of an environment that it then waits in.
    let mut owner = myself_as("owner", &[])?.env(OWNED, &dir).spawn()?;
    let found = eventually(Duration::from_secs(60), "an environment of another process", || {
        ensure!(dir.join("ready").is_file(), "not ready yet");
        pids(&dir)
    });
    owner.kill()?;
    owner.wait()?;
    let found = found?;
    eventually(Duration::from_secs(5), "everything ended", || {
        let left: Vec<_> = found.iter().filter(|(_, pid)| runs(*pid)).collect();
        ensure!(left.is_empty(), "still running: {left:?}");
        Ok(())
    })
}

const OWNED: &str = "KRO_HUB_E2E_OWNED";

/// The other half of the trial above: starts an environment where it is told, and waits to be killed.
pub fn own_and_wait() -> ExitCode {
    let start = || -> Result<Environment> {
        let dir = std::env::var_os(OWNED).context("no folder given")?;
        let env = Environment::start_with(Path::new(&dir), &["alone"], Programs::ServerOnly)?;
        std::fs::write(Path::new(&dir).join("ready"), "")?;
        Ok(env)
    };
    match start() {
        Ok(_env) => {
            std::thread::sleep(Duration::from_secs(60));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn waiting_names_what_was_seen() -> Result<()> {
    let mut count = 0;
    let error = eventually(Duration::from_millis(50), "five", || {
        count += 1;
        ensure!(count == 0, "count is {count}");
        Ok(())
    });
    let text = error.err().context("it succeeded")?.to_string();
    ensure!(
        text.starts_with("five: not within 0.05 s; last seen: count is ") && count > 1,
        "{text}, {count}"
    );
    let error = throughout(Duration::from_secs(1), "calm", || ensure_calm(&mut count));
    let text = error.err().context("it succeeded")?.to_string();
    ensure!(text.starts_with("calm: no longer so after ") && text.ends_with("seen: storm"), "{text}");
    Ok(())
}

fn ensure_calm(count: &mut i32) -> Result<()> {
    *count += 1;
    ensure!(*count < 8, "storm");
    Ok(())
}
