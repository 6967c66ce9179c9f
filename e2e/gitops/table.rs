//! That `docs/testing.md` says of each trial with GitOps tools what it holds, for both tools.

use crate::journeys::scenarios_table::{DOCUMENT, bare, last_cell};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeSet;

const SECTION: &str = "## GitOps tools";

pub fn check(trials: &[Trial]) -> Trial {
    let of = |tool: &str| -> BTreeSet<String> {
        let prefix = format!("gitops::{tool}::");
        trials.iter().filter(|trial| trial.name().starts_with(&prefix)).map(|t| bare(t).to_owned()).collect()
    };
    let there = [("flux", of("flux")), ("argocd", of("argocd"))];
    Trial::test("environment::the_table_of_gitops_tools_names_what_there_is", move || {
        there.iter().try_for_each(|(tool, names)| complete(tool, names)).map_err(|e| format!("{e:#}").into())
    })
}

fn complete(tool: &str, there: &BTreeSet<String>) -> Result<()> {
    let section = DOCUMENT.split(SECTION).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let listed: BTreeSet<String> = rows.flat_map(last_cell).map(str::to_owned).collect();
    let differs: Vec<&String> = listed.symmetric_difference(there).collect();
    ensure!(differs.is_empty(), "docs/testing.md and the trials of {tool} differ in {differs:?}");
    Ok(())
}
