//! `kro-hub cluster facts`

use super::print;
use crate::cli::connection::Connecting;
use crate::edge::clusters::{Hub, status_of};
use crate::view::clusters::{Fact, Facts};
use crate::view::document::View;
use clap::Args as ClapArgs;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Clusters; all without any
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    connecting: Connecting,
}

/// What expressions may read of a cluster and no file of a repository says: its id and its version.
pub fn run(args: Args) -> ExitCode {
    args.connecting.clone().run(move || async move {
        let hub = Hub { connection: args.connecting.person()?.hub().await?, namespace: String::new() };
        for name in &args.names {
            hub.known(name).await?;
        }
        let mut facts = Facts::default();
        let mut silent = Vec::new();
        for cluster in hub.clusters().await? {
            if !args.names.is_empty() && !args.names.iter().any(|name| name == cluster.name()) {
                continue;
            }
            let status = status_of(&cluster);
            if status.cluster_id.is_empty() || status.kubernetes_version.is_empty() {
                silent.push(cluster.name().to_owned());
                continue;
            }
            let fact = Fact { id: status.cluster_id, version: status.kubernetes_version };
            facts.clusters.insert(cluster.name().to_owned(), fact);
        }
        print(&facts.yaml());
        if silent.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!(
            "error: never in contact, so nothing is known of them: {}; kro-hub cluster check",
            silent.join(", ")
        );
        Ok(ExitCode::FAILURE)
    })
}
