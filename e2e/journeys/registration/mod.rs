//! Clusters come, change their credentials, are mistaken for others, and leave.

mod credentials;
mod duplicates;
mod hostile;
mod leaving;
mod local;
mod placement;
mod refused;
mod rights;
mod secrets;
mod seen;
mod stage;

use crate::lanes::CLUSTERS;
use anyhow::Result;
use libtest_mimic::Trial;
pub use stage::Shared;
use stage::Stage;

/// All trials share one fleet and run one at a time; each starts with no cluster registered.
pub fn trials(shared: &Shared) -> Vec<Trial> {
    type Run = fn(&Stage) -> Result<()>;
    let all: [(&str, Run); 28] = [
        ("a_secret_makes_a_cluster", secrets::a_secret_makes_a_cluster),
        ("keys_and_labels_of_other_tools", secrets::keys_and_labels_of_other_tools),
        ("the_first_secret_owns_the_name", secrets::the_first_secret_owns_the_name),
        ("kubeconfigs_that_run_or_read_are_refused", refused::kubeconfigs_that_run_or_read_are_refused),
        ("twins_wait_for_each_other", duplicates::twins_wait_for_each_other),
        ("the_hub_is_no_spoke", duplicates::the_hub_is_no_spoke),
        ("a_token_takes_over_from_a_certificate", credentials::a_token_takes_over_from_a_certificate),
        ("rubbish_deletes_nothing", credentials::rubbish_deletes_nothing),
        ("a_wrong_token_is_not_hammered", credentials::a_wrong_token_is_not_hammered),
        ("a_missing_right_is_named", rights::a_missing_right_is_named),
        ("another_cluster_behind_the_name_is_not_touched", credentials::another_cluster_behind_the_name),
        ("another_cluster_behind_the_address_gets_nothing", hostile::another_cluster_behind_the_address),
        ("a_spoke_that_means_harm_hurts_nobody", hostile::a_spoke_that_means_harm),
        ("a_cluster_of_another_hub_is_not_touched", credentials::a_cluster_of_another_hub),
        ("a_lost_secret_changes_nothing", leaving::a_lost_secret_changes_nothing),
        ("workloads_outlive_their_registration", leaving::workloads_outlive_their_registration),
        ("leftovers_are_cleaned_on_return", leaving::leftovers_are_cleaned_on_return),
        ("on_deregister_delete_cleans_first", leaving::on_deregister_delete_cleans_first),
        (
            "what_is_removed_with_its_cluster_leaves_nothing_behind",
            leaving::what_is_removed_with_its_cluster_leaves_nothing_behind,
        ),
        ("the_hub_runs_instances_as_kro_does", local::the_hub_runs_instances_as_kro_does),
        ("a_paused_cluster_gets_nothing", placement::a_paused_cluster_gets_nothing),
        ("other_namespaces_are_not_allowed", placement::other_namespaces_are_not_allowed),
        ("an_instance_waits_for_its_cluster", placement::an_instance_waits_for_its_cluster),
        ("only_one_cluster_is_local", local::only_one_cluster_is_local),
        ("a_restart_writes_nothing", secrets::a_restart_writes_nothing),
        ("the_local_cluster_leaves_its_workload", local::the_local_cluster_leaves_its_workload),
        ("a_found_mirror_is_let_go_too", leaving::a_found_mirror_is_let_go_too),
        ("what_was_never_written_holds_nothing", credentials::what_was_never_written_holds_nothing),
    ];
    let trial = |(name, run): (&'static str, Run)| {
        let shared = shared.clone();
        Trial::test(format!("registration::{name}"), move || {
            CLUSTERS.run(name, || Ok(shared.on_stage(run).map_err(|error| format!("{error:#}"))?))
        })
    };
    all.into_iter().map(trial).collect()
}
