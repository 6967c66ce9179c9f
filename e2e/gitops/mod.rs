//! Flux and Argo CD, as they ship, sync `examples/gitops` into a hub: `make gitops`.
//!
//! Both go through the same trials. What differs between them stands in [`tool`], [`flux`] and [`argocd`].

mod argocd;
mod flux;
mod git;
mod stand;
pub mod table;
mod tool;
mod trials;
mod trials_removed;
mod trials_rollout;

use crate::env::gitops;
use crate::lanes::INSTANCES;
use crate::scratch_folder;
use anyhow::Result;
use libtest_mimic::Trial;
use stand::{Lazy, Stand};
use std::time::Instant;

/// One trial: its name and what it does.
type Run = (&'static str, fn(&Stand) -> Result<()>);

/// A stand for each tool, since two tools would sync the same objects.
pub struct Stands {
    flux: Lazy,
    argocd: Lazy,
}

impl Default for Stands {
    fn default() -> Self {
        Self {
            flux: Lazy::new(|| Stand::start("gitops-flux", flux::Flux::start)),
            argocd: Lazy::new(|| Stand::start("gitops-argocd", argocd::ArgoCd::start)),
        }
    }
}

impl Stands {
    /// They are run by `make gitops` alone: the first run builds programs for more than half an hour.
    pub fn trials(&self) -> Vec<Trial> {
        let all = [trials::ALL, trials_removed::ALL, trials_rollout::ALL].concat();
        let of = |tool: &'static str, stand: &Lazy| {
            all.iter().map(|run| trial(tool, stand.clone(), *run)).collect::<Vec<_>>()
        };
        let server = Trial::test("gitops::git::a_commit_is_served_as_by_any_forge", || {
            INSTANCES.run("gitops::git", || served().map_err(|e| format!("{e:#}").into()))
        });
        [vec![server.with_ignored_flag(true)], of("flux", &self.flux), of("argocd", &self.argocd)]
            .into_iter()
            .flatten()
            .collect()
    }

    pub fn end(&self) {
        self.flux.end();
        self.argocd.end();
    }
}

fn served() -> Result<()> {
    gitops::installed("git", "git")?;
    let dir = scratch_folder().join("gitops-git");
    std::fs::create_dir_all(&dir)?;
    git::served_as_by_any_forge(&dir)
}

fn trial(tool: &str, stand: Lazy, (name, run): Run) -> Trial {
    let name = format!("gitops::{tool}::{name}");
    let told = name.clone();
    let work = move || {
        let stand = stand.get().map_err(|e| format!("{e:#}"))?;
        let start = Instant::now();
        let done = run(&stand).map_err(|e| format!("{e:#}\n{}", stand.told()));
        println!("{told}: {:.0} s", start.elapsed().as_secs_f32());
        Ok(done?)
    };
    Trial::test(name.clone(), move || INSTANCES.run(&name, work)).with_ignored_flag(true)
}
