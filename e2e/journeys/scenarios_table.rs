//! The scenarios by number, as `docs/testing.md` has them: what `make faults` runs.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::collections::{BTreeMap, BTreeSet};

pub const DOCUMENT: &str = include_str!("../../docs/testing.md");
const PROMISES: &str = include_str!("../../docs/reliability.md");
const SECTION: &str = "## Twenty-five scenarios";
const COUNT: u64 = 25;

/// Runs those of a table of the document alone, long ones too.
const LANE: &str = "KRO_HUB_E2E_LANE";

/// Code spans of a row's last cell.
pub fn last_cell(line: &str) -> Vec<&str> {
    let cell = line.trim_matches('|').rsplit('|').next().unwrap_or_default();
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names of trials without their module, by number of the scenario.
fn table() -> BTreeMap<u64, Vec<&'static str>> {
    let section = DOCUMENT.split(SECTION).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &'static str| {
        let number = line.trim_matches('|').split('|').next()?.trim().parse().ok()?;
        Some((number, last_cell(line)))
    };
    section.lines().filter_map(row).collect()
}

pub fn bare(trial: &Trial) -> &str {
    trial.name().rsplit("::").next().unwrap_or_default()
}

/// What is to run: everything, or the lane that is asked for.
pub fn lane(trials: Vec<Trial>) -> Vec<Trial> {
    let named: BTreeSet<&str> = table().into_values().flatten().collect();
    let faults = |trial: &Trial| trial.name().starts_with("proxy::") || named.contains(bare(trial));
    let gitops = |trial: &Trial| trial.name().starts_with("gitops::");
    let soak = |trial: &Trial| trial.name().starts_with("soak::");
    let wanted: &dyn Fn(&Trial) -> bool = match std::env::var(LANE).as_deref() {
        Ok("faults") => &faults,
        Ok("gitops") => &gitops,
        Ok("soak") => &soak,
        _ => return trials,
    };
    trials.into_iter().filter(wanted).map(|trial| trial.with_ignored_flag(false)).collect()
}

/// That each number has its trials, each name is one, and nothing is promised that the pipeline does not hold.
pub fn check(trials: &[Trial]) -> Trial {
    let there: BTreeSet<String> = trials.iter().map(|trial| bare(trial).to_owned()).collect();
    let always = trials.iter().filter(|trial| !trial.has_ignored_flag());
    let always: BTreeSet<String> = always.map(|trial| bare(trial).to_owned()).collect();
    Trial::test("proxy::the_table_of_scenarios_names_what_there_is", move || {
        let checked = complete(&there).and_then(|()| kept(&always));
        checked.map_err(|error| format!("{error:#}").into())
    })
}

fn complete(there: &BTreeSet<String>) -> Result<()> {
    let table = table();
    ensure!(table.keys().copied().eq(1..=COUNT), "docs/testing.md has the numbers {:?}", table.keys());
    for (number, names) in &table {
        ensure!(!names.is_empty(), "docs/testing.md: {number} has no trial");
        for name in names {
            ensure!(there.contains(*name), "docs/testing.md: {number}: there is no trial {name}");
        }
    }
    let listed: BTreeSet<&str> = table.into_values().flatten().collect();
    let forgotten: Vec<&String> = there
        .iter()
        .filter(|name| name.starts_with("scenario_") && !listed.contains(name.as_str()))
        .collect();
    ensure!(forgotten.is_empty(), "docs/testing.md: not in the table: {forgotten:?}");
    Ok(())
}

fn kept(always: &BTreeSet<String>) -> Result<()> {
    let promised: Vec<&str> = PROMISES.lines().filter(|l| l.starts_with("| ")).flat_map(last_cell).collect();
    let broken: Vec<&&str> = promised.iter().filter(|name| !always.contains(**name)).collect();
    ensure!(promised.len() > 20, "docs/reliability.md promises {} trials", promised.len());
    ensure!(broken.is_empty(), "docs/reliability.md: the pipeline runs no such trials: {broken:?}");
    Ok(())
}
