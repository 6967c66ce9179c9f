//! What people wait for: the table of a thousand instances, one instance over many clusters, a completion, and what a commit
//! changes on all clusters.

use super::results::{Results, Run};
use super::simulated::{Fleet, spoke};
use super::site::Variant;
use super::stages::{CREATORS, Plan};
use super::workload::{INSTANCES, NAMESPACE, definition, instance};
use crate::env::contexts::Contexts;
use crate::env::controller::binary;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// As often is each asked for; the fastest counts, since what else the machine does is not meant.
const ROUNDS: usize = 5;

/// What is promised: words, value, seconds at most.
pub const BUDGETS: [(&str, &str, f64); 4] = [
    ("get of 1,000 instances, s", "get_s", 1.0),
    ("trace of an instance on 40 clusters, s", "trace_s", 2.0),
    ("a completion among 1,000 instances, s", "completion_s", 0.3),
    ("diff of 100 instances on 40 clusters, s", "diff_s", 5.0),
];

pub fn run(dir: &Path, plan: &Plan, run: usize, results: &mut Results) -> Result<()> {
    let fleet = Fleet::start(dir, plan.people_clusters)?;
    let done = ask(dir, &fleet, plan, results.run(Variant::People.name(), run));
    results.write()?;
    done.with_context(|| format!("the controller's log ends with:\n{}\n", fleet.log_tail()))
}

fn ask(dir: &Path, fleet: &Fleet, plan: &Plan, run: &mut Run) -> Result<()> {
    let (all, everywhere, clusters) = (plan.people_instances, plan.people_everywhere, plan.people_clusters);
    fleet.register()?;
    fleet.place(everywhere)?;
    let on_one: Vec<Value> =
        (everywhere..all).map(|n| instance(&format!("one-{n:04}"), Some(&spoke(1)))).collect();
    fleet.hub.post_all(INSTANCES, &on_one, CREATORS)?;
    fleet.settle()?;
    println!("  {all} instances, {everywhere} of them on all of {clusters} clusters");

    let mut contexts = Contexts::new(NAMESPACE);
    contexts.add("hub", &fleet.hub_kubeconfig(), |_, _| ())?;
    for server in 1..=clusters {
        contexts.add(&spoke(server), &fleet.simulator.kubeconfig(server), |_, _| ())?;
    }
    let person = Person { dir: dir.to_owned(), kubeconfig: dir.join("person.kubeconfig") };
    contexts.write(&person.kubeconfig)?;

    let shown = format!("{all} instances on");
    run.set("get_s", person.waits(&["get", "benches"], 0, &shown)?);
    let whole = format!("{clusters}/{clusters} clusters");
    run.set("trace_s", person.waits(&["trace", "bench/all-000", "--all"], 0, &whole)?);
    run.set("completion_s", person.waits(&["__complete", "get", "bench/one-0999"], 0, "bench/one-0999")?);

    let repository = dir.join("repository");
    commit_fleet(&repository, everywhere, clusters)?;
    let changed = format!("{clusters} clusters");
    let repository = repository.display().to_string();
    run.set("diff_s", person.waits(&["diff", "HEAD", &repository], 2, &changed)?);
    Ok(())
}

struct Person {
    dir: PathBuf,
    kubeconfig: PathBuf,
}

impl Person {
    /// Seconds until the answer is whole: it ends with this code and has this in it.
    fn waits(&self, args: &[&str], code: i32, part: &str) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut command = Command::new(binary()?);
            let command = command.args(args).current_dir(&self.dir).env("KUBECONFIG", &self.kubeconfig);
            let start = Instant::now();
            let output = command.output()?;
            best = best.min(start.elapsed().as_secs_f64());
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.code() == Some(code) && out.contains(part), "{args:?}: {out}\n{err}");
        }
        println!("    {}: {best:.2} s", args.join(" "));
        Ok(best)
    }
}

/// A git repository with Clusters, a definition and instances on all of them; the definition is edited, and not yet committed.
fn commit_fleet(dir: &Path, instances: usize, clusters: u16) -> Result<()> {
    let write = |name: &str, object: &Value| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, serde_json::to_string_pretty(object)?).with_context(|| path.display().to_string())
    };
    for server in 1..=clusters {
        let name = spoke(server);
        let labels = json!({"region": format!("r{}", server % 4)});
        let spec = json!({"credentials": {"secretRef": {"namespace": "kro-hub", "name": name}}});
        let object = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name, "labels": labels}, "spec": spec});
        write(&format!("clusters/{name}.yaml"), &object)?;
    }
    for n in 0..instances {
        let mut object = instance(&format!("all-{n:03}"), Some("*"));
        object["metadata"]["namespace"] = json!(NAMESPACE);
        write(&format!("instances/all-{n:03}.yaml"), &object)?;
    }
    let mut made = definition("bench", "Bench", Variant::Local);
    write("definitions/bench.yaml", &made)?;
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["config", "user.name", "a person"],
        &["config", "user.email", "a.person@example.org"],
        &["add", "-A"],
        &["commit", "-q", "-m", "the fleet"],
    ] {
        let done = Command::new("git").args(args).current_dir(dir).output().context("git")?;
        ensure!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    made["spec"]["resources"][2]["template"]["spec"]["replicas"] = json!(2);
    write("definitions/bench.yaml", &made)
}
