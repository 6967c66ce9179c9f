//! `kro-hub argocd`: what Argo CD is to know of the kinds of a repository.

#[cfg(test)]
mod tests;

use super::show;
use super::validate::{self, World};
use crate::api::keys::kro;
use crate::api::names::GroupKind;
use clap::Args as ClapArgs;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files or folders with ResourceGraphDefinitions
    #[arg(value_name = "DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Namespace of Argo CD
    #[arg(long, value_name = "NAME", default_value = "argocd")]
    namespace: String,
    #[command(flatten)]
    world: World,
}

/// Health of Clusters, Placements, definitions and what they generate.
const HEALTH: &str = include_str!("../../../deploy/argocd-health.yaml");
/// Under this key of `data` it stands.
const CUSTOMIZATIONS: &str = "  resource.customizations: |\n";
/// Entries of it to which more is added.
const CLUSTER: &str = "    hub.kro.run/Cluster:\n";
const KINDS: &str = "    kro.run/*:\n      health.lua: |\n";

/// Something that a person can do with an object in Argo CD.
struct Action {
    name: &'static str,
    script: &'static str,
}

const DISCOVERY: &str = include_str!("discovery.lua");
const ACTIONS: [Action; 4] = [
    Action { name: "suspend", script: include_str!("suspend.lua") },
    Action { name: "resume", script: include_str!("resume.lua") },
    Action { name: "release-unreachable", script: include_str!("release-unreachable.lua") },
    Action { name: "allow-shrink", script: include_str!("allow-shrink.lua") },
];
const CLUSTER_DISCOVERY: &str = include_str!("cluster-discovery.lua");
const CLUSTER_ACTIONS: [Action; 2] = [
    Action { name: "pause", script: include_str!("cluster-pause.lua") },
    Action { name: "resume", script: include_str!("cluster-resume.lua") },
];

/// Prints the ConfigMap: 0; 1 where a definition has an error.
pub fn run(args: Args) -> ExitCode {
    let done = super::on_large_stack(move || {
        let judged = args.world.judge_definitions(&args.paths)?;
        if judged.has_errors() {
            return Ok(validate::shown(&judged, validate::Format::Text, true));
        }
        let kinds: BTreeSet<GroupKind> =
            judged.definitions().into_iter().map(|(_, graph)| graph.gvk.group_kind()).collect();
        anyhow::ensure!(!kinds.is_empty(), "there is no ResourceGraphDefinition");
        show::print(&config_map(&kinds, &args.namespace));
        Ok(ExitCode::SUCCESS)
    });
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// `argocd-cm`, to be merged into the one that is there.
fn config_map(kinds: &BTreeSet<GroupKind>, namespace: &str) -> String {
    let health = HEALTH.split_once(CUSTOMIZATIONS).map_or("", |(_, health)| health);
    let health = health.replacen(
        CLUSTER,
        &format!("{CLUSTER}{}", actions("", CLUSTER_DISCOVERY, &CLUSTER_ACTIONS)),
        1,
    );
    let health = health.replacen(KINDS, &KINDS.replace("health.lua: |", "health.lua: &health |"), 1);
    let mut out = format!(
        "# What Argo CD is to know of this hub. Merge `data` into its ConfigMap:
#   kubectl -n {namespace} patch configmap argocd-cm --type merge --patch-file FILE
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
  # Kept revisions of definitions: nobody syncs them, and there are many.
  resource.exclusions: |
    - apiGroups: [internal.kro.run]
      kinds: [GraphRevision]
      clusters: ['*']
{CUSTOMIZATIONS}{health}"
    );
    let groups: BTreeSet<&str> = kinds.iter().map(|kind| &*kind.group).filter(|g| *g != kro::GROUP).collect();
    for group in groups {
        let _ = write!(out, "    {group}/*:\n      health.lua: *health\n");
    }
    out.push_str(
        "    # Actions know no wildcards, and where an entry names a kind, Argo CD may look for its health there alone.\n",
    );
    for (position, kind) in kinds.iter().enumerate() {
        let _ = write!(out, "    {}/{}:\n      health.lua: *health\n", kind.group, kind.kind);
        match position {
            0 => out.push_str(&actions("&actions ", DISCOVERY, &ACTIONS)),
            _ => out.push_str("      actions: *actions\n"),
        }
    }
    out
}

/// The entry of the actions of a kind.
fn actions(anchor: &str, discovery: &str, all: &[Action]) -> String {
    let mut out = format!("      actions: {anchor}|\n        discovery.lua: |\n{}", indented(discovery, 10));
    out.push_str("        definitions:\n");
    for Action { name, script } in all {
        let _ = write!(out, "        - name: {name}\n          action.lua: |\n{}", indented(script, 12));
    }
    out
}

fn indented(text: &str, by: usize) -> String {
    let line = |line: &str| match line.is_empty() {
        true => "\n".to_owned(),
        false => format!("{:by$}{line}\n", ""),
    };
    text.lines().map(line).collect()
}
