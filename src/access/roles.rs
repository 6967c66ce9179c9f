//! Which roles there are, and what is in them. Each verb here is one that some request of the controller needs: the trials on
//! real API servers run with nothing else.

use super::book::{Book, Of};
use super::{Access, Account, Definition, Role, Source, grants};
use crate::api::Gvk;
use crate::api::keys::{hub as keys, kro};
use crate::api::rgd::Resource;
use crate::graph::Node;
use crate::schema::plural;
use std::collections::BTreeSet;

/// The ClusterRole of the hub on a spoke.
pub const SPOKE_ROLE: &str = "kro-hub-spoke";
/// The Role for the claim, in the namespace of the claim.
pub const CLAIM_ROLE: &str = "kro-hub-claim";
const HUB_ROLE: &str = "kro-hub-kinds";
const VIEW_ROLE: &str = "kro-hub-tenant-view";
const EDIT_ROLE: &str = "kro-hub-tenant-edit";
/// ClusterRoles with this label make up what the controller may do.
const AGGREGATE: &str = "rbac.kro.run/aggregate-to-controller";

const CHILDREN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// A name is read by itself where many names of its kind share one watch.
const READ: &[&str] = &["get", "list", "watch"];

const IDENTITY: u8 = 0;
const CRDS: u8 = 1;
const MIRRORS: u8 = 2;
const MADE: u8 = 3;

/// What the hub needs on a spoke.
pub fn spoke(source: &Source<'_>, account: &Account) -> Access {
    let (mut book, mut notes) = (Book::default(), Vec::new());
    let core = |resource, names| Of { chapter: IDENTITY, group: "", resource, names };
    book.say(
        &core("namespaces", &["kube-system"]),
        &["get"],
        "who the cluster is: each connection asks first",
    );
    book.say(&core("namespaces", &[]), &["create"], "the namespace of a mirror, where it is missing");
    let property = Of {
        chapter: IDENTITY,
        group: "about.k8s.io",
        resource: "clusterproperties",
        names: &["cluster.clusterset.k8s.io"],
    };
    book.say(&property, &["get"], "who the cluster is, where it has a ClusterProperty");

    let mut crds: BTreeSet<&str> = BTreeSet::new();
    for definition in source.definitions {
        crds.insert(definition.graph.crd_name());
        let label = definition.label();
        generated(definition, MIRRORS, (CHILDREN, &["patch"]), "instances", &mut book);
        let on_spoke = |node: &Node| !node.on_hub;
        nodes(source, definition, on_spoke, &mut book, &mut notes);
        let secrets = definition.graph.nodes.iter().filter(|n| on_spoke(n) && is_secret(&n.gvk));
        notes.extend(secrets.map(|node| {
            format!(
                "{label}, node {}: watch on secrets reads all Secrets there; RBAC knows no labels. Instead: {}: hub",
                node.id,
                keys::TARGET
            )
        }));
    }
    let names: Vec<&str> = crds.into_iter().collect();
    let all = Of { chapter: CRDS, group: APIEXTENSIONS, resource: "customresourcedefinitions", names: &[] };
    book.say(&all, &["list", "watch", "create"], "generated kinds are brought there");
    if !names.is_empty() {
        let own = Of { names: &names, ..all };
        let why = "generated kinds are kept; one of another API is replaced while it is empty";
        book.say(&own, &["get", "patch", "delete"], why);
    }
    source.granted.iter().for_each(|granted| book.take(granted.0.clone()));

    let mut claim = Book::default();
    let config_maps = |names| Of { chapter: IDENTITY, group: "", resource: "configmaps", names };
    claim.say(
        &config_maps(&[keys::CLAIM_CONFIGMAP]),
        &["get"],
        "the claim: which hub the cluster belongs to",
    );
    claim.say(&config_maps(&[]), &["create"], "the claim is written once; create knows no names");
    let role = |name: &str, namespace: Option<&str>, book: Book| Role {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        labels: Vec::new(),
        rules: book.into_rules(),
        bound_to: Some(account.clone()),
    };
    Access {
        title: format!(
            "What kro-hub needs on a spoke, as ServiceAccount {}/{}.",
            account.namespace, account.name
        ),
        roles: vec![role(SPOKE_ROLE, None, book), role(CLAIM_ROLE, Some(keys::CLAIM_NAMESPACE), claim)],
        notes: once(notes),
    }
}

const APIEXTENSIONS: &str = "apiextensions.k8s.io";

/// What the controller needs on the hub beside the rights that are the same for every hub.
pub fn hub(source: &Source<'_>) -> Access {
    let (mut book, mut notes) = (Book::default(), Vec::new());
    for definition in source.definitions {
        // kro's own group is among the rights that every hub has.
        if definition.graph.gvk.group.as_ref() != kro::GROUP {
            generated(
                definition,
                MIRRORS,
                (&["get", "list", "watch", "patch"], &["patch"]),
                "instances",
                &mut book,
            );
        }
        nodes(source, definition, |node: &Node| source.local || node.on_hub, &mut book, &mut notes);
    }
    source.granted.iter().for_each(|granted| book.take(granted.0.clone()));
    if !source.local {
        notes.push("no Cluster is local: children are on the hub only where a template says hub.kro.run/target: hub (--local adds the others)".to_owned());
    }
    let rules = book.into_rules();
    if rules.is_empty() {
        notes.push(format!("nothing more is needed: the role kro-hub-base has all of group {}", kro::GROUP));
    }
    let role = Role {
        name: HUB_ROLE.to_owned(),
        namespace: None,
        labels: vec![(AGGREGATE.to_owned(), "true".to_owned())],
        rules,
        bound_to: None,
    };
    Access {
        title: "What the controller needs on the hub beside deploy/base; the label adds it to ClusterRole kro-hub.".to_owned(),
        roles: vec![role],
        notes: once(notes),
    }
}

/// What people need to see, and to write, instances of the generated kinds.
pub fn tenant(source: &Source<'_>) -> Access {
    let (mut view, mut edit) = (Book::default(), Book::default());
    for definition in source.definitions.iter().filter(|d| d.older.is_none()) {
        let of = Of {
            chapter: MIRRORS,
            group: &definition.graph.gvk.group,
            resource: &plural_of_crd(definition),
            names: &[],
        };
        view.need(&of, READ, &definition.label(), "instances");
        edit.need(
            &of,
            &["create", "update", "patch", "delete", "deletecollection"],
            &definition.label(),
            "instances",
        );
    }
    let role = |name: &str, to: &[&str], book: Book| Role {
        name: name.to_owned(),
        namespace: None,
        labels: to
            .iter()
            .map(|to| (format!("{}/aggregate-to-{to}", grants::RBAC), "true".to_owned()))
            .collect(),
        rules: book.into_rules(),
        bound_to: None,
    };
    Access {
        title: "What people may do with instances: whoever may view, edit or administer a namespace may do so with those in it.".to_owned(),
        roles: vec![role(VIEW_ROLE, &["view", "edit", "admin"], view), role(EDIT_ROLE, &["edit", "admin"], edit)],
        notes: Vec::new(),
    }
}

/// The kind that a definition generates: verbs for objects, and for their status.
fn generated(
    definition: &Definition<'_>,
    chapter: u8,
    verbs: (&[&str], &[&str]),
    part: &str,
    book: &mut Book,
) {
    let (plural, label) = (plural_of_crd(definition), definition.label());
    let of = |resource| Of { chapter, group: &definition.graph.gvk.group, resource, names: &[] };
    book.need(&of(&plural), verbs.0, &label, part);
    book.need(&of(&format!("{plural}/status")), verbs.1, &label, part);
}

fn plural_of_crd(definition: &Definition<'_>) -> String {
    let name = definition.graph.crd_name();
    name.split_once('.').map_or(name, |(plural, _)| plural).to_owned()
}

/// What a definition makes and reads in one place.
fn nodes(
    source: &Source<'_>,
    definition: &Definition<'_>,
    here: impl Fn(&Node) -> bool,
    book: &mut Book,
    notes: &mut Vec<String>,
) {
    let label = definition.label();
    let written: &[Resource] = &definition.graph.definition().spec.resources;
    for node in definition.graph.nodes.iter().filter(|n| here(n)) {
        let own = source.definitions.iter().find(|d| d.graph.gvk.group_kind() == node.gvk.group_kind());
        let chapter = if own.is_some() { MIRRORS } else { MADE };
        let known = own.map(plural_of_crd).or_else(|| (source.plural)(&node.gvk));
        let plural = known.unwrap_or_else(|| {
            let guessed = plural::of(&node.gvk.kind.to_lowercase());
            notes.push(format!(
                "{label}, node {}: {guessed} is a guess; nobody who was asked serves {}",
                node.id, node.gvk
            ));
            guessed
        });
        let verbs = if node.external.is_some() { READ } else { CHILDREN };
        let of = Of { chapter, group: &node.gvk.group, resource: &plural, names: &[] };
        book.need(&of, verbs, &label, &node.id);
        if let Some(resource) = written.iter().find(|r| r.id == node.id) {
            grants::of_template(resource, written, &label, book, notes);
        }
    }
}

fn is_secret(gvk: &Gvk) -> bool {
    gvk.group.is_empty() && &*gvk.kind == "Secret"
}

/// Each note once, in the order in which they came.
fn once(notes: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    notes.into_iter().filter(|note| seen.insert(note.clone())).collect()
}
