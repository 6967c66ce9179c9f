//! `kro-hub explain`: what a reason means, or why an instance is where it is.

use super::connection::Connecting;
use super::find::one;
use super::show::{self, Format, Showing};
use super::trace::facts;
use crate::api::Object;
use crate::edge::{Failure, Hub, numbers};
use crate::view::chosen::{Choice, Choosers};
use crate::view::document::View;
use crate::view::instance::Around;
use crate::view::reasons;
use clap::Args as ClapArgs;
use futures::future::try_join;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// A reason as conditions have it; or an instance: KIND NAME, or KIND/NAME
    #[arg(value_name = "REASON|INSTANCE", required = true)]
    words: Vec<String>,
    /// text, json or yaml
    #[arg(short, long, value_enum, default_value = "text", hide_possible_values = true)]
    output: Format,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

/// Runs the command. A reason needs no cluster.
pub fn run(args: Args) -> ExitCode {
    match args.words.as_slice() {
        [reason] if !reason.contains('/') => reason_of(&args, reason),
        _ => {
            let connecting = args.connecting.clone();
            connecting.run(move || async move { instance(&args).await.map(|()| ExitCode::SUCCESS) })
        }
    }
}

fn reason_of(args: &Args, reason: &str) -> ExitCode {
    match reasons::explain(reason) {
        Ok(found) => {
            shown(&found, args.output, || found.text(&args.showing.look()));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn shown<V: View>(view: &V, format: Format, text: impl FnOnce() -> String) {
    match format {
        Format::Json => show::print(&view.json()),
        Format::Yaml => show::print(&view.yaml()),
        Format::Text | Format::Wide => show::print(&text()),
    }
}

async fn instance(args: &Args) -> Result<(), Failure> {
    let hub = Hub::new(args.connecting.person()?.hub().await?);
    let (found, object) = one(&hub, &args.words).await?;
    let namespace = Some(object.namespace()).filter(|n| !n.is_empty());
    let (clusters, placements) = try_join(hub.clusters(), hub.placements(namespace)).await?;
    let (reports, revisions) =
        try_join(hub.reports(namespace), hub.revisions(Some(&found.kind.definition))).await?;
    let around = Around::new(numbers(&revisions), &reports, &clusters);
    let around = around.moved_by(placements.as_deref().unwrap_or_default());
    let known = |cluster: &Object| (cluster.name().to_owned(), facts(cluster));
    let facts: BTreeMap<String, Value> = clusters.iter().map(known).filter(|(_, f)| !f.is_null()).collect();
    let choosers = Choosers { clusters: &clusters, placements: placements.as_deref(), facts: &facts };
    let choice = Choice::new(&found.kind, &object, &around, &choosers);
    args.showing.notes(hub.take_holes());
    shown(&choice, args.output, || choice.text(&args.showing.look()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::clusters::source::Reason;
    use crate::reconcile::fleet::placement::Refusal;
    use crate::reconcile::rollout::unit;

    #[test]
    fn what_the_hub_gives_as_a_reason_is_explained() {
        let of_clusters = [
            Reason::InvalidSpec,
            Reason::NamespaceNotAllowed,
            Reason::SecretMissing,
            Reason::KeyMissing,
            Reason::KubeconfigRefused,
            Reason::ClaimedByAnotherHub,
            Reason::DuplicateCluster,
            Reason::IdentityChanged,
            Reason::Paused,
        ];
        let refusals = [
            Refusal::NotRegistered,
            Refusal::Leaving,
            Refusal::NotAllowed,
            Refusal::Tainted,
            Refusal::Released,
        ];
        let rollouts = [
            unit::Reason::InProgress,
            unit::Reason::AwaitingApproval,
            unit::Reason::Paused,
            unit::Reason::StageUnproven,
            unit::Reason::Halted,
        ];
        let all = of_clusters.iter().map(|r| r.text());
        let all = all.chain(refusals.iter().map(|r| r.as_str())).chain(rollouts.iter().map(|r| r.as_str()));
        let unknown: Vec<&str> = all.filter(|reason| reasons::explain(reason).is_err()).collect();
        assert!(unknown.is_empty(), "docs/status.md does not explain {unknown:?}");
    }
}
