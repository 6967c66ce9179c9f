//! The hub as it is.

use super::on_record::{self, Rollouts};
use crate::api::names::HubId;
use crate::api::rgd::ResourceGraphDefinition;
use crate::api::{Gvk, Object};
use crate::cli::rbac;
use crate::cli::render::facts::Facts;
use crate::edge::{Failure, Hub, Sort, clusters};
use crate::graph;
use crate::hub::resources;
use crate::schema::openapi::{self, Document};
use crate::view::kinds::Generated;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the hub has.
pub struct Read {
    /// Definitions, Clusters, Placements of both kinds, and instances.
    pub objects: Vec<Object>,
    pub clusters: Vec<Object>,
    /// What is known of clusters beside their labels.
    pub facts: Facts,
    /// The newest revision of each definition.
    pub revisions: BTreeMap<String, i64>,
    /// What is on record of rollouts, where any Placement begins one.
    pub rollouts: Rollouts,
    /// What the hub says of the kinds that definitions name.
    pub documents: Vec<Document>,
    pub hub_id: HubId,
    /// What is worth a word.
    pub notes: Vec<String>,
}

/// # Errors
/// Something of it cannot be read: nothing is planned over a part of the hub.
pub async fn read(hub: &Hub, files: &[(String, Object)], namespace: &str) -> Result<Read, Failure> {
    let registered = hub.clusters_or_fail().await?;
    let definitions = hub.definitions().await?;
    let mut objects = [definitions.clone(), registered.clone()].concat();
    let named = files.iter().map(|(_, object)| object.namespace()).chain([hub.connection.namespace.as_str()]);
    let namespaces: BTreeSet<String> = named.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let (mut narrow, mut hidden, none) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (resource, namespaced) in [(resources::cluster_placements(), false), (resources::placements(), true)]
    {
        let namespaces = if namespaced { &namespaces } else { &none };
        let (found, narrowed) = served(hub.connection.list_within_reach(&resource, None, namespaces).await)?;
        objects.extend(found);
        narrow.extend(narrowed.then_some(resource.plural));
    }
    for kind in definitions.iter().filter_map(Generated::of) {
        let namespaces = if kind.namespaced { &namespaces } else { &none };
        let (resource, is_meant) = (kind.resource(), is_named(&kind, files));
        match served(hub.connection.list_within_reach(&resource, None, namespaces).await) {
            // What nobody asks of is nobody's to see.
            Err(failure) if failure.sort == Sort::Forbidden && !is_meant => hidden.push(resource.plural),
            read => {
                let (found, narrowed) = read?;
                objects.extend(found);
                narrow.extend(narrowed.then_some(resource.plural));
            }
        }
    }
    let mut notes = notes(&narrow, &hidden, &namespaces);
    let begins_rollouts = |object: &Object| object.0.pointer("/spec/rollout").is_some();
    let mut rollouts = Rollouts::default();
    if objects.iter().chain(files.iter().map(|(_, object)| object)).any(begins_rollouts) {
        let (read, note) = on_record::read(hub, &namespaces, namespace).await?;
        rollouts = read;
        notes.extend(note);
    }
    let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
    for revision in hub.revisions(None).await? {
        let number = revision.0.pointer("/spec/revision").and_then(Value::as_i64).unwrap_or_default();
        let newest = revisions.entry(revision.str_at("/spec/snapshot/name").to_owned()).or_default();
        *newest = number.max(*newest);
    }
    let named: BTreeSet<String> =
        definitions.iter().chain(files.iter().map(|(_, object)| object)).flat_map(kinds).collect();
    let documents = rbac::documents(&hub.connection, &named).await?;
    let of_hub = clusters::Hub { connection: hub.connection.clone(), namespace: namespace.to_owned() };
    let id = of_hub.id().await?.ok_or_else(|| {
        Failure::usage(format!(
            "the hub has no id yet: there is no ConfigMap kro-hub-id in namespace {namespace}; start the controller, or name its namespace with --hub-namespace"
        ))
    })?;
    let facts = registered.iter().map(|cluster| (cluster.name().to_owned(), fact(cluster))).collect();
    Ok(Read {
        objects,
        clusters: registered,
        facts,
        revisions,
        rollouts,
        documents,
        hub_id: HubId::new(&id),
        notes,
    })
}

/// Whether files are about instances of a kind.
fn is_named(kind: &Generated, files: &[(String, Object)]) -> bool {
    files.iter().any(|(_, object)| {
        let gk = object.group_kind();
        let defines = *gk.kind == *"ResourceGraphDefinition" && object.name() == kind.definition;
        gk == kind.gvk.group_kind() || defines
    })
}

/// That something was not read.
fn notes(narrow: &[String], hidden: &[String], namespaces: &BTreeSet<String>) -> Vec<String> {
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let narrow = (!narrow.is_empty()).then(|| {
        format!(
            "you may not list {} in all namespaces of the hub: only those of {} are planned",
            narrow.join(", "),
            names.join(", ")
        )
    });
    let hidden = (!hidden.is_empty())
        .then(|| format!("you may not list {} on the hub: these instances are left out", hidden.join(", ")));
    narrow.into_iter().chain(hidden).collect()
}

/// What is not served has no objects.
fn served(found: Result<(Vec<Object>, bool), Failure>) -> Result<(Vec<Object>, bool), Failure> {
    match found {
        Err(failure) if failure.sort == Sort::NotServed => Ok((Vec::new(), false)),
        found => found,
    }
}

/// The documents that hold the kinds of a definition.
fn kinds(object: &Object) -> Vec<String> {
    let rgd = serde_json::from_value::<ResourceGraphDefinition>(object.0.clone());
    let named: BTreeSet<Gvk> = rgd.map(|rgd| graph::kinds_named_by(&rgd)).unwrap_or_default();
    named.iter().map(openapi::document_of).collect()
}

/// As `kro-hub cluster facts` would write it.
fn fact(cluster: &Object) -> Value {
    let status = clusters::status_of(cluster);
    let known = [("id", status.cluster_id), ("version", status.kubernetes_version)];
    let known = known.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(known.map(|(key, text)| (key.to_owned(), json!(text))).collect())
}
