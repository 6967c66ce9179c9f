//! What is wrong with the objects of the files: definitions, their instances, clusters, placements.

use super::finding::{Finding, Rule, Severity};
use super::kinds::{Known, is_crd};
use super::report_to::{Findings, Words};
use super::source::{File, Object, Refused, is_helm_template};
use super::structural;
use super::yaml::{Content, Node, Refusal};
use super::{expressions, policies, portable, tenancy};
use crate::api::keys::{hub, kro};
use crate::api::rgd::ResourceGraphDefinition;
use crate::api::{GroupKind, Gvk, crds};
use crate::graph::{self, Graph};
use crate::reconcile::fleet::placement::Selector;
use crate::schema::kinds::{Kinds, Served};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How to judge.
pub struct Judge {
    pub options: graph::Options,
    pub portable: bool,
}

/// What the files hold.
pub struct Read<'r> {
    pub files: &'r [File],
    pub objects: &'r [Object],
    /// Documents that cannot be read, each with the position of its file.
    pub refusals: Vec<(usize, Refused)>,
    /// Files and documents that are none of Kubernetes.
    pub ignored: usize,
}

/// How many objects of which sort were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub definitions: usize,
    pub instances: usize,
    pub clusters: usize,
    /// Placements, ClusterPlacements and RolloutApprovals.
    pub placements: usize,
    pub crds: usize,
    pub ignored: usize,
}

pub struct Checked {
    pub findings: Vec<Finding>,
    pub counts: Counts,
    /// The definitions that compile, by the position of their object.
    pub graphs: Vec<(usize, Arc<Graph>)>,
    /// The kinds that they were judged by, their own among them.
    pub known: Known,
}

struct Definition<'o> {
    position: usize,
    object: &'o Object,
    rgd: ResourceGraphDefinition,
    /// Paths where the outer form is wrong. The compiler does not report them again.
    told: BTreeSet<String>,
}

pub fn is_definition(object: &Object) -> bool {
    *object.gvk.group == *kro::GROUP && &*object.gvk.kind == "ResourceGraphDefinition"
}

fn is_cluster(object: &Object) -> bool {
    *object.gvk.group == *hub::GROUP && &*object.gvk.kind == "Cluster"
}

/// The kinds that the definitions name, as far as they can be read.
pub fn named_kinds(objects: &[Object]) -> BTreeSet<Gvk> {
    let definitions = objects.iter().filter(|o| is_definition(o));
    definitions.filter_map(|o| rgd(&o.node)).flat_map(|rgd| graph::kinds_named_by(&rgd)).collect()
}

pub fn check(read: Read<'_>, mut known: Known, judge: &Judge) -> Checked {
    let Read { files, objects, refusals, ignored } = read;
    let mut findings = Findings::new(files);
    let mut counts = Counts { ignored, ..Counts::default() };
    let mut definitions = Vec::new();
    let mut generated: BTreeSet<Gvk> = BTreeSet::new();
    for (position, object) in objects.iter().enumerate() {
        if is_crd(object) {
            counts.crds += 1;
            known.add_crd(&object.node.value());
        } else if is_definition(object) {
            counts.definitions += 1;
            let definition = definition(position, object, &mut findings);
            let kind = generated_kind(&object.node);
            if let Some(gvk) = kind
                && !generated.insert(gvk.clone())
            {
                let message = format!("another definition generates {gvk} already");
                findings.at_path(
                    object,
                    Rule::Definition,
                    "spec.schema.kind",
                    Words { message, help: Some("choose another kind or group".into()) },
                );
            }
            match (definition, generated_kind(&object.node)) {
                (Some(definition), _) => definitions.push(definition),
                (None, Some(gvk)) => known.add_broken(gvk),
                (None, None) => {}
            }
            if judge.portable {
                portable::check(object, &mut findings);
            }
        }
    }
    for (file, refused) in refusals {
        let source = files.get(file).map_or("", |f| f.text.as_str());
        match unreadable(source, refused, &generated) {
            Some((severity, refusal)) => findings.all.push(Finding {
                severity,
                rule: Rule::Yaml,
                file,
                span: refusal.span,
                object: String::new(),
                path: String::new(),
                message: refusal.message,
                help: refusal.help,
                related: refusal.related,
            }),
            None => counts.ignored += 1,
        }
    }
    let graphs = compile_all(definitions, &mut known, judge, &mut findings);
    findings.without_warnings_beside_errors();

    let made: BTreeSet<GroupKind> = generated.iter().map(Gvk::group_kind).collect();
    let kinds = policies::Kinds { graphs: &graphs, generated: &made, objects };
    let crds: BTreeMap<&Gvk, &Value> = graphs.iter().map(|(_, g)| (&g.gvk, &g.crd)).collect();
    for object in objects.iter().filter(|o| !is_crd(o) && !is_definition(o)) {
        if is_cluster(object) {
            counts.clusters += 1;
            cluster(object, &mut findings);
        } else if let Some(plural) = policies::plural(object) {
            counts.placements += 1;
            let schema = own_schema(&format!("{plural}.{}", hub::GROUP));
            named(object, &mut findings);
            policies::check(object, schema.as_ref(), &kinds, &mut findings);
        } else if let Some(crd) = crds.get(&object.gvk) {
            counts.instances += 1;
            instance(object, crd, &mut findings);
        } else if generated.contains(&object.gvk) {
            // The problems of its definition come first.
            counts.instances += 1;
            placement(object, &mut findings);
        } else {
            counts.ignored += 1;
            other_version(object, &crds, &mut findings);
        }
    }
    Checked { findings: findings.sorted(), counts, graphs, known }
}

/// The problem of a document that cannot be read. `None` if the document is of no concern: no object of Kubernetes,
/// or a template that another tool makes into one.
fn unreadable(source: &str, refused: Refused, generated: &BTreeSet<Gvk>) -> Option<(Severity, Refusal)> {
    let Refused { refusal, document } = refused;
    let text = source.get(document.clone()).unwrap_or_default();
    let groups = generated.iter().map(|gvk| &*gvk.group).chain([kro::GROUP, hub::GROUP]);
    let ours = text.contains("ResourceGraphDefinition")
        || groups.into_iter().any(|group| text.contains(&format!("{group}/")));
    if is_helm_template(text) {
        let at = document.start + text.find("{{").unwrap_or(0);
        let refusal = Refusal {
            span: at..at + 2,
            message: "a template of Helm, which is no YAML yet".to_owned(),
            help: Some(
                "validate what Helm makes of it: helm template CHART | kro-hub validate -; leave it out here with --exclude"
                    .to_owned(),
            ),
            related: None,
        };
        return ours.then_some((Severity::Error, refusal));
    }
    if ours {
        return Some((Severity::Error, refusal));
    }
    let manifest =
        text.lines().any(|l| l.trim_start_matches(['\u{feff}', '"', '{', ' ']).starts_with("apiVersion"));
    let message = format!("{}; the document is ignored", refusal.message);
    manifest.then_some((Severity::Warning, Refusal { message, ..refusal }))
}

fn generated_kind(node: &Node) -> Option<Gvk> {
    let text = |key: &str| node.at(&["spec", "schema", key]).and_then(Node::text).filter(|t| !t.is_empty());
    Some(Gvk::new(
        text("group").filter(|g| !g.is_empty()).unwrap_or(kro::GROUP),
        text("apiVersion")?,
        text("kind")?,
    ))
}

/// An object as a server stores it: a field that is null counts as absent. Parts whose shape is the author's keep
/// their nulls.
fn rgd(node: &Node) -> Option<ResourceGraphDefinition> {
    let mut value = node.value();
    let without_nulls = |value: Option<&mut Value>| {
        if let Some(map) = value.and_then(Value::as_object_mut) {
            map.retain(|_, v| !v.is_null());
        }
    };
    for pointer in [
        "",
        "/metadata",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec",
        "/spec/schema",
        "/spec/schema/metadata",
    ] {
        without_nulls(value.pointer_mut(pointer));
    }
    for resource in value.pointer_mut("/spec/resources").and_then(Value::as_array_mut).into_iter().flatten() {
        without_nulls(Some(resource));
    }
    serde_json::from_value(value).ok()
}

/// Reads a definition after its form was checked; `None` if it is too wrong to be compiled.
fn definition<'o>(
    position: usize,
    object: &'o Object,
    findings: &mut Findings<'_>,
) -> Option<Definition<'o>> {
    let mut told = BTreeSet::new();
    if *object.gvk.version != *kro::VERSION {
        let message = format!("there is no version {:?} of ResourceGraphDefinition", &*object.gvk.version);
        let help = format!("write apiVersion: {}/{}", kro::GROUP, kro::VERSION);
        findings.at_path(object, Rule::Shape, "apiVersion", Words { message, help: Some(help) });
        return None;
    }
    let source = findings.source(object);
    if let Some(schema) = own_schema(crds::RGD_CRD) {
        for problem in structural::check(source, &object.node, &schema, "") {
            told.insert(problem.path.clone());
            findings.problem(object, Rule::Shape, Severity::Error, problem);
        }
    }
    named(object, findings);
    tenancy::check(object, findings);
    for (path, text) in expressions::backslashes(&object.node) {
        let message = "a backslash before ${ is a part of the text and escapes nothing".to_owned();
        let help = crate::graph::backslash(&text, None);
        findings.warn_at_path(object, Rule::Definition, &path, Words { message, help });
    }
    let Some(rgd) = rgd(&object.node) else {
        if told.is_empty() {
            findings.at_path(
                object,
                Rule::Shape,
                "spec",
                Words { message: "this cannot be read as a ResourceGraphDefinition".into(), help: None },
            );
        }
        return None;
    };
    Some(Definition { position, object, rgd, told })
}

/// The schema of a CRD of ours, closed at its root.
fn own_schema(name: &str) -> Option<Value> {
    let crd = crds::all()
        .into_iter()
        .find(|c| c.pointer("/metadata/name").and_then(Value::as_str) == Some(name))?;
    Some(of_object(&crd))
}

/// The schema of whole objects: a CRD's schema, with apiVersion, kind and metadata, which servers add by themselves.
fn of_object(crd: &Value) -> Value {
    let mut schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
    for (field, inner) in [
        ("apiVersion", serde_json::json!({"type": "string"})),
        ("kind", serde_json::json!({"type": "string"})),
        (
            "metadata",
            serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "name": {"type": "string"}, "namespace": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            }}),
        ),
    ] {
        if schema.get("properties").is_some_and(Value::is_object) {
            schema["properties"][field] = inner;
        }
    }
    schema
}

fn named(object: &Object, findings: &mut Findings<'_>) {
    let generated = !object.text(&["metadata", "generateName"]).is_empty();
    let name = object.node.at(&["metadata", "name"]);
    if name.is_none() && !generated {
        findings.at_path(
            object,
            Rule::Shape,
            "metadata",
            Words { message: "metadata.name is missing".into(), help: None },
        );
    } else if let Some(name) = name.and_then(Node::text)
        && !crate::api::naming::is_dns_subdomain(name)
    {
        let help = "write lower case letters, digits, - and . between them".to_owned();
        findings.at_path(
            object,
            Rule::Shape,
            "metadata.name",
            Words { message: format!("{name:?} is no name for an object"), help: Some(help) },
        );
    }
}

/// Sorts definitions so that those whose kinds others use come first.
fn compile_all(
    mut pending: Vec<Definition<'_>>,
    known: &mut Known,
    judge: &Judge,
    findings: &mut Findings<'_>,
) -> Vec<(usize, Arc<Graph>)> {
    let mut graphs = Vec::new();
    while !pending.is_empty() {
        let waiting: Vec<Gvk> = pending.iter().map(|d| d.rgd.spec.schema.gvk()).collect();
        let needs = |d: &Definition<'_>| {
            let own = d.rgd.spec.schema.gvk();
            graph::kinds_named_by(&d.rgd).iter().any(|k| *k != own && waiting.contains(k))
        };
        let (mut ready, mut later): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for definition in pending {
            if needs(&definition) { later.push(definition) } else { ready.push(definition) }
        }
        if ready.is_empty() {
            // Definitions may use each other in a ring; then one of them has to begin.
            waiting.into_iter().for_each(|gvk| known.add_broken(gvk));
            ready.append(&mut later);
        }
        for definition in ready {
            if let Some(graph) = compile(&definition, known, judge, findings) {
                known.add_crd(&graph.crd);
                graphs.push((definition.position, Arc::new(graph)));
            } else {
                known.add_broken(definition.rgd.spec.schema.gvk());
            }
        }
        pending = later;
    }
    graphs.sort_by_key(|(position, _)| *position);
    graphs
}

fn compile(
    definition: &Definition<'_>,
    known: &Known,
    judge: &Judge,
    findings: &mut Findings<'_>,
) -> Option<Graph> {
    let Definition { object, rgd, told, .. } = definition;
    let compiled = graph::compile(rgd, &judge.options, known);
    let noted = known.take_noted();
    let kinds: Vec<(String, Gvk)> = rgd
        .spec
        .resources
        .iter()
        .enumerate()
        .filter_map(|(i, r)| {
            let (field, value) = match (&r.template, &r.external_ref) {
                (Some(template), _) => ("template", template),
                (None, reference) => ("externalRef", reference.as_ref()?),
            };
            let text = |key: &str| value.get(key).and_then(Value::as_str);
            Some((
                format!("spec.resources[{i}].{field}.kind"),
                Gvk::from_api(text("apiVersion")?, text("kind")?),
            ))
        })
        .collect();
    for (path, gvk) in kinds.iter().filter(|(_, gvk)| noted.contains(gvk)) {
        let message = format!("nobody is known to serve {gvk}: its fields are not checked");
        let help = known.near(gvk).unwrap_or_else(|| known.remedy.to_owned());
        findings.warn_at_path(object, Rule::UnknownKind, path, Words { message, help: Some(help) });
    }
    match compiled {
        Ok(graph) => Some(graph),
        Err(problems) => {
            for mut problem in problems.into_iter().filter(|p| !told.contains(&p.path)) {
                let kind = kinds.iter().find(|(path, _)| *path == problem.path);
                match kind.filter(|(_, gvk)| known.find(gvk) == Served::No) {
                    Some((_, gvk)) => {
                        let otherwise = format!("{}; {}", known.origin, known.remedy);
                        problem.help = Some(known.near(gvk).unwrap_or(otherwise));
                        findings.diagnostic(object, Rule::UnknownKind, problem);
                    }
                    None => findings.diagnostic(object, Rule::Definition, problem),
                }
            }
            None
        }
    }
}

fn instance(object: &Object, crd: &Value, findings: &mut Findings<'_>) {
    let source = findings.source(object);
    for problem in structural::check(source, &object.node, &of_object(crd), "") {
        if problem.path == "status" || problem.path.starts_with("status.") {
            continue;
        }
        // A server drops an unknown field, unless it was asked to be strict.
        let severity = if problem.unknown_field { Severity::Warning } else { Severity::Error };
        findings.problem(object, Rule::Instance, severity, problem);
    }
    if crd.pointer("/spec/scope").and_then(Value::as_str) == Some("Cluster")
        && object.node.at(&["metadata", "namespace"]).is_some()
    {
        let message = format!("{} has no namespaces: it is cluster scoped", object.gvk.kind);
        findings.at_path(
            object,
            Rule::Instance,
            "metadata.namespace",
            Words { message, help: Some("remove the namespace".into()) },
        );
    }
    named(object, findings);
    placement(object, findings);
}

fn placement(object: &Object, findings: &mut Findings<'_>) {
    let word = |key: &str| object.node.at(&["metadata", "annotations", key]).and_then(Node::text);
    let path = |key: &str| format!("metadata.annotations[{key:?}]");
    if let Some(text) = word(hub::CLUSTERS) {
        let names = text.split(',').map(str::trim).filter(|n| !n.is_empty() && *n != "*");
        for name in names.filter(|n| !crate::api::naming::is_dns_subdomain(n)) {
            let message = format!("{name:?} is no name of a cluster");
            let help = "write names with commas between them, or * for all".to_owned();
            findings.at_path(
                object,
                Rule::Placement,
                &path(hub::CLUSTERS),
                Words { message, help: Some(help) },
            );
        }
        if text.split(',').all(|n| n.trim().is_empty()) && word(hub::CLUSTER_SELECTOR).is_none() {
            let help =
                "name clusters, or * for all; without the annotation the instance runs on the local cluster"
                    .to_owned();
            findings.warn_at_path(
                object,
                Rule::Placement,
                &path(hub::CLUSTERS),
                Words { message: "this places the instance nowhere".into(), help: Some(help) },
            );
        }
    }
    if let Some(text) = word(hub::CLUSTER_SELECTOR) {
        match Selector::parse(text) {
            Err(error) => findings.at_path(
                object,
                Rule::Placement,
                &path(hub::CLUSTER_SELECTOR),
                Words { message: error, help: None },
            ),
            Ok(_) if text.split(',').all(|t| t.trim().is_empty()) => {
                let message = "an empty selector selects no cluster".to_owned();
                let help = format!("write {}: '*' for all", hub::CLUSTERS);
                findings.warn_at_path(
                    object,
                    Rule::Placement,
                    &path(hub::CLUSTER_SELECTOR),
                    Words { message, help: Some(help) },
                );
            }
            Ok(_) => {}
        }
    }
}

fn cluster(object: &Object, findings: &mut Findings<'_>) {
    let source = findings.source(object);
    if let Some(schema) = own_schema("clusters.hub.kro.run") {
        for problem in structural::check(source, &object.node, &schema, "") {
            findings.problem(object, Rule::Cluster, Severity::Error, problem);
        }
    }
    named(object, findings);
    let credentials = object.node.at(&["spec", "credentials"]).is_some();
    let local = object
        .node
        .at(&["spec", "local"])
        .is_some_and(|n| matches!(n.content, Content::Scalar(Value::Bool(true), _)));
    if credentials == local && object.node.get("spec").is_some() {
        let message = if local {
            "a cluster is local or has credentials, not both"
        } else {
            "a cluster needs credentials, or local: true"
        };
        let help = "credentials.secretRef names the Secret that holds the kubeconfig".to_owned();
        findings.at_path(
            object,
            Rule::Cluster,
            "spec",
            Words { message: message.to_owned(), help: Some(help) },
        );
    }
}

/// An instance of a version that its definition does not have is easily overlooked.
fn other_version(object: &Object, crds: &BTreeMap<&Gvk, &Value>, findings: &mut Findings<'_>) {
    let same = crds.keys().find(|g| g.group == object.gvk.group && g.kind == object.gvk.kind);
    if let Some(gvk) = same {
        let message = format!("the definition of {} has no version {:?}", gvk.kind, &*object.gvk.version);
        findings.at_path(
            object,
            Rule::Instance,
            "apiVersion",
            Words { message, help: Some(format!("write apiVersion: {}", gvk.api_version())) },
        );
    }
}
