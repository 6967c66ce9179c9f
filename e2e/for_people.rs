//! Trials of what people call: `make up`, `make logs`, `make down`, `make demo`.

use crate::env::Environment;
use crate::environment::runs;
use crate::lanes::CLUSTERS;
use crate::{myself_as, scratch_folder};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;

pub fn trials() -> Vec<Trial> {
    type Run = fn() -> Result<()>;
    let all: [(&str, Run); 3] = [
        ("for_people::up_twice_is_harmless_and_down_ends_all", up_twice_is_harmless_and_down_ends_all),
        ("for_people::down_leaves_a_strange_folder_alone", down_leaves_a_strange_folder_alone),
        ("for_people::demo_observes_everything", demo_observes_everything),
    ];
    all.into_iter()
        .map(|(name, run)| {
            Trial::test(name, move || CLUSTERS.run(name, || Ok(run().map_err(|e| format!("{e:#}"))?)))
        })
        .collect()
}

/// What `testenv` printed.
fn testenv(args: &[&str]) -> Result<String> {
    let output = myself_as("testenv", args)?.output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "testenv {} failed:\n{said}", args.join(" "));
    Ok(said)
}

fn pid(file: &Path) -> Result<u32> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().parse()?)
}

/// Ends what `up` started in a folder, also when the trial fails before it does so itself.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if self.0.is_dir() {
            let _ = Environment::end_all(self.0);
        }
    }
}

fn up_twice_is_harmless_and_down_ends_all() -> Result<()> {
    let dir = scratch_folder().join("up");
    let _down = Down(&dir);
    let at = dir.display().to_string();
    let said = testenv(&["--dir", &at, "up", "--spokes", "1"])?;
    ensure!(said.contains("kubectl get clusters"), "it does not say what to type next:\n{said}");
    let programs = ["controller.pid", "etcd.pid", "hub/kube-apiserver.pid", "spoke-1/kwok.pid"];
    let pids = |names: &[&str]| names.iter().map(|name| pid(&dir.join(name))).collect::<Result<Vec<u32>>>();
    let first = pids(&programs)?;
    ensure!(first.iter().all(|pid| runs(*pid)), "not all of {first:?} run");

    testenv(&["--dir", &at, "up", "--spokes", "2", "--local"])?;
    ensure!(
        pids(&programs)? == first,
        "the second call started something anew: {first:?}, {:?}",
        pids(&programs)?
    );
    let kubectl = dir.join("bin/kubectl");
    let output = std::process::Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(dir.join("hub.kubeconfig"))
        .args(["get", "clusters.hub.kro.run", "--no-headers"])
        .args(["-o", "custom-columns=N:.metadata.name,R:.metadata.labels.region"])
        .output()?;
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    let clusters = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = clusters.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [["local", "<none>"], ["spoke-1", "eu"], ["spoke-2", "us"]];
    ensure!(rows == expected, "clusters: {rows:?}");
    let log = testenv(&["--dir", &at, "logs"])?;
    ensure!(log.contains("spoke-2"), "the log does not name spoke-2:\n{log}");

    let all = pids(&[&programs[..], &["spoke-2/kube-apiserver.pid"]].concat())?;
    testenv(&["--dir", &at, "down"])?;
    let left: Vec<&u32> = all.iter().filter(|pid| runs(**pid)).collect();
    ensure!(left.is_empty(), "still running: {left:?}");
    ensure!(!dir.exists(), "{at} is still there");
    testenv(&["--dir", &at, "down"]).map(drop)
}

fn down_leaves_a_strange_folder_alone() -> Result<()> {
    let dir = scratch_folder().join("strange");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("thesis.txt"), "years of work")?;
    let refused = testenv(&["--dir", &dir.display().to_string(), "down"]).err().context("it was taken")?;
    ensure!(refused.to_string().contains("was not made by `up`"), "{refused}");
    ensure!(dir.join("thesis.txt").is_file(), "the file is gone");
    Ok(())
}

fn demo_observes_everything() -> Result<()> {
    let said = testenv(&["demo"])?;
    for observed in ["repaired to", "All of it was observed"] {
        ensure!(said.contains(observed), "it does not say {observed:?}:\n{said}");
    }
    Ok(())
}
