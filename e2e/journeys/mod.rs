//! What users do, on real API servers.

pub mod argocd;
mod canaries;
pub mod chart;
pub mod cluster_verbs;
mod definitions;
mod definitions_edits;
mod definitions_judged;
mod faults_isolation;
mod faults_restart;
mod faults_settled;
mod faults_spoke_down;
mod fleets;
mod instances_conflicts;
mod instances_drift;
mod instances_fanout;
mod instances_graph;
mod instances_moves;
mod instances_nested;
mod instances_on_hub;
mod instances_reads;
mod people;
mod people_live;
mod people_plan;
mod people_plan_rollout;
mod placement;
pub mod registration;
mod rollout;
mod rollout_facts;
mod rollout_kinds;
mod rollout_lives;
mod rollout_said;
mod scenarios;
mod scenarios_answers;
mod scenarios_foreign;
mod scenarios_gone;
mod scenarios_hub;
mod scenarios_line;
mod scenarios_lives;
mod scenarios_past;
mod scenarios_rollout;
pub mod scenarios_table;
mod scenarios_who;
mod schemas;
pub mod stand;
pub mod takeover;
mod tenants;
mod tenants_reach;
pub mod webhook;

use crate::env::Programs;
use crate::lanes::{CLUSTERS, INSTANCES, Lane};
use libtest_mimic::Trial;
use stand::{Lazy, Stand};

/// One trial: its name and what it does.
type Run = (&'static str, fn(&Stand) -> anyhow::Result<()>);

/// The stands that the trials share.
pub struct Stands {
    calm: Lazy,
    restarts: Lazy,
    faults: Lazy,
    scenarios: Lazy,
}

impl Default for Stands {
    fn default() -> Self {
        Self {
            calm: Lazy::new(|| Stand::start("calm", &["eu", "us", "ap"], Programs::Workloads)),
            restarts: Lazy::new(|| Stand::start("restarts", &["eu", "us", "ap"], Programs::Workloads)),
            faults: Lazy::new(|| Stand::start("faults", &["eu", "us", "ap"], Programs::ServerOnly)),
            scenarios: Lazy::new(scenarios::stand),
        }
    }
}

impl Stands {
    /// Of the stand where all is well.
    pub fn calm(&self) -> Vec<Trial> {
        let calm = [
            definitions::TRIALS,
            definitions_edits::TRIALS,
            definitions_judged::TRIALS,
            instances_fanout::TRIALS,
            instances_drift::TRIALS,
            instances_graph::TRIALS,
            instances_moves::TRIALS,
            instances_nested::TRIALS,
            instances_reads::TRIALS,
            instances_on_hub::TRIALS,
            instances_conflicts::TRIALS,
            schemas::TRIALS,
            people::TRIALS,
            people_live::TRIALS,
            people_plan::TRIALS,
            people_plan_rollout::TRIALS,
            placement::TRIALS,
            tenants::TRIALS,
            tenants_reach::TRIALS,
            canaries::TRIALS,
            rollout::TRIALS,
            rollout_facts::TRIALS,
            rollout_kinds::TRIALS,
            rollout_said::TRIALS,
        ]
        .concat();
        let calm = calm.into_iter().map(|run| trial(&INSTANCES, &self.calm, run));
        let long = rollout_kinds::LONG.iter();
        let long = long.map(|run| trial(&INSTANCES, &self.calm, *run).with_ignored_flag(true));
        calm.chain(long).chain(fleets::trials()).collect()
    }

    /// Of the stands where the controller is killed, or clusters are lost. They run after those of [`CLUSTERS`], so that both
    /// lanes end at about the same time.
    pub fn stormy(&self) -> Vec<Trial> {
        let restarts =
            [faults_restart::TRIALS, faults_settled::TRIALS, rollout::FAULTS, rollout_lives::FAULTS].concat();
        let faults = [
            faults_spoke_down::TRIALS,
            faults_isolation::TRIALS,
            faults_spoke_down::DELETIONS,
            faults_isolation::LAST,
        ]
        .concat();
        let faults = faults.into_iter().map(|run| trial(&CLUSTERS, &self.faults, run));
        let restarts = restarts.into_iter().map(|run| trial(&CLUSTERS, &self.restarts, run));
        restarts.chain(faults).chain(scenarios::trials(&self.scenarios)).collect()
    }

    pub fn end(&self) {
        self.calm.end();
        self.restarts.end();
        self.faults.end();
        self.scenarios.end();
    }
}

/// Trials that measure time, or that keep the instances of others away.
const ALONE: &[&str] = &[
    "faults::a_spoke_that_is_down_slows_no_other",
    "faults::a_frozen_spoke_is_noticed_and_recovers",
    placement::TAINTS,
    tenants_reach::TAINTS,
];

fn trial(lane: &'static Lane, stand: &Lazy, (name, run): Run) -> Trial {
    let stand = stand.clone();
    Trial::test(name, move || {
        let work = || {
            let stand = stand.get().map_err(|e| format!("{e:#}"))?;
            Ok(run(&stand)
                .map_err(|e| format!("the controller's log ends with:\n{}\n\n{e:#}", stand.log_tail()))?)
        };
        if ALONE.contains(&name) { lane.run_alone(name, work) } else { lane.run(name, work) }
    })
}
