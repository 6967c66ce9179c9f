//! Resources that live on the hub, once for all clusters: what they may read.

use crate::api::keys::hub;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::diagnostic::{Path, Problems};
use crate::graph::read::Draft;
use crate::graph::variables::{CLUSTER, KRO};
use std::collections::BTreeSet;

/// The positions of the resources that live on the hub.
pub fn check(rgd: &ResourceGraphDefinition, drafts: &[Draft], problems: &mut Problems) -> BTreeSet<usize> {
    let resources = &rgd.spec.resources;
    let mut on_hub: BTreeSet<usize> = BTreeSet::new();
    for (position, resource) in resources.iter().enumerate() {
        let annotations = resource.template.as_ref().and_then(|t| t.pointer("/metadata/annotations"));
        let target = annotations.and_then(|a| a.get(hub::TARGET)).and_then(|t| t.as_str());
        if target == Some("hub") {
            on_hub.insert(position);
        }
    }
    if let Some(text) = rgd.metadata.annotations.get(hub::HUB_REFS) {
        let path = Path::of(&["metadata", "annotations"]).key(hub::HUB_REFS);
        for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            match resources.iter().position(|r| r.id == id && r.external_ref.is_some()) {
                Some(position) => {
                    on_hub.insert(position);
                }
                None => {
                    let names: Vec<&str> = resources
                        .iter()
                        .filter(|r| r.external_ref.is_some())
                        .map(|r| r.id.as_str())
                        .collect();
                    let help = format!("the external references are [{}]", names.join(", "));
                    problems.add_with_help(&path, format!("{id:?} is no external reference"), Some(help));
                }
            }
        }
    }
    for draft in on_hub.iter().filter_map(|p| drafts.get(*p)) {
        for usage in &draft.uses {
            for variable in usage.expression.program.variables() {
                let of_cluster = [CLUSTER, KRO].contains(&variable.as_str()) && !is_iterator(draft, variable);
                let read = resources.iter().position(|r| r.id == *variable);
                let elsewhere = read.is_some_and(|p| !on_hub.contains(&p)) && !is_iterator(draft, variable);
                if elsewhere || (of_cluster && read.is_none()) {
                    let message = format!(
                        "{}: a resource on the hub is there once for all clusters, it cannot read {variable}",
                        usage.expression.text
                    );
                    let help = match read {
                        Some(_) => format!("let {variable} live on the hub too"),
                        None => format!("remove {variable}, or let the resource live on the clusters"),
                    };
                    problems.add_with_help(&usage.path, message, Some(help));
                }
            }
        }
    }
    on_hub
}

fn is_iterator(draft: &Draft, variable: &str) -> bool {
    draft.for_each.iter().any(|d| d.iterator == *variable)
}
