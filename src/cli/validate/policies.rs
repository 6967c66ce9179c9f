//! Placements, ClusterPlacements and RolloutApprovals: their form, what chooses instances and clusters, and their overrides
//! against the definition that makes the kind.

use super::finding::{Rule, Severity};
use super::report_to::{Findings, Words};
use super::source::Object;
use super::structural::{self, below};
use crate::api;
use crate::api::keys::hub;
use crate::api::names::{GroupKind, InstanceKey};
use crate::api::placement::{ClusterFilter, Placement};
use crate::api::rollout_approval::{InstanceRef, RolloutApproval, RolloutApprovalSpec};
use crate::cel::{Budget, Decls, Program, Scope, Type};
use crate::graph::patch::Patch;
use crate::graph::{Diagnostic, Graph, Spot, variables};
use crate::reconcile::policy::approving::Stages;
use crate::reconcile::policy::{Filter, Policy, stages};
use crate::reconcile::rollout::approving::Approves;
use crate::schema::served;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The plural of a kind that is judged here.
pub fn plural(object: &Object) -> Option<&'static str> {
    let kind = Some(&*object.gvk.kind).filter(|_| *object.gvk.group == *hub::GROUP)?;
    Some(match kind {
        "Placement" => "placements",
        "ClusterPlacement" => "clusterplacements",
        "RolloutApproval" => "rolloutapprovals",
        _ => return None,
    })
}

/// The kinds of the files.
pub struct Kinds<'g> {
    /// Of the definitions that compile.
    pub graphs: &'g [(usize, Arc<Graph>)],
    /// Kinds that some definition makes, be it right or wrong.
    pub generated: &'g BTreeSet<GroupKind>,
    /// All objects of the files.
    pub objects: &'g [Object],
}

/// Checks one of them; `schema` is that of whole objects of its kind.
pub fn check(object: &Object, schema: Option<&Value>, kinds: &Kinds<'_>, findings: &mut Findings<'_>) {
    let source = findings.source(object);
    let mut is_right = true;
    if let Some(schema) = schema {
        for problem in structural::check(source, &object.node, schema, "") {
            is_right = false;
            findings.problem(object, Rule::Placement, Severity::Error, problem);
        }
        if is_right {
            let value = object.node.value();
            let shown = served::shown(Some(&value), schema).unwrap_or(value);
            rules(object, &shown, schema, "", findings);
        }
    }
    match &*object.gvk.kind {
        _ if !is_right => {}
        "RolloutApproval" => approval(object, kinds.objects, findings),
        _ => placement(object, kinds, findings),
    }
}

/// Whether it approves something that the Placements among the files have.
fn approval(object: &Object, all: &[Object], findings: &mut Findings<'_>) {
    let value = api::Object(object.node.value());
    let Ok(RolloutApproval { spec, .. }) = serde_json::from_value(value.0.clone()) else { return };
    let (path, Some(why)) = (match (&spec.instance, &spec.cluster_placement) {
        (Some(instance), _) => of_instance(&value, instance, &spec, all),
        (None, Some(name)) => of_kind(name, &spec, all),
        (None, None) => ("spec", None),
    }) else {
        return;
    };
    findings.at_path(object, Rule::Placement, path, Words { message: why, help: None });
}

fn policies<'o>(all: &'o [Object], kind: &'o str) -> impl Iterator<Item = Policy> + use<'o> {
    let of = move |object: &&Object| *object.gvk.group == *hub::GROUP && *object.gvk.kind == *kind;
    all.iter().filter(of).map(|object| Policy::new(&api::Object(object.node.value())))
}

/// Of one that is not among the files nothing can be said.
fn of_instance(
    approval: &api::Object,
    instance: &InstanceRef,
    spec: &RolloutApprovalSpec,
    all: &[Object],
) -> (&'static str, Option<String>) {
    let gk = GroupKind::new(&instance.group, &instance.kind);
    let key = InstanceKey::new(gk.clone(), approval.namespace(), &instance.name);
    let found: Vec<Policy> = policies(all, "Placement").chain(policies(all, "ClusterPlacement")).collect();
    let own = all.iter().filter(|object| object.gvk.group_kind() == gk).map(|o| api::Object(o.node.value()));
    let own = own.into_iter().find(|o| o.name() == instance.name && o.namespace() == approval.namespace());
    let labels = own.map(|own| own.labels());
    let stages = Stages::of_instance(&found, &key, labels.as_ref());
    let stages = if stages == Stages::None { Stages::Unknown } else { stages };
    ("spec.stage", stages.refuse(approves(spec), None, ""))
}

fn of_kind(name: &str, spec: &RolloutApprovalSpec, all: &[Object]) -> (&'static str, Option<String>) {
    let found = policies(all, "ClusterPlacement").find(|policy| *policy.name().name == *name);
    match found.as_ref().map(Stages::of_kind) {
        None => ("spec", None),
        Some(Stages::None) => {
            let why = format!("the rollout of ClusterPlacement {name} does not have the scope Kind");
            ("spec.clusterPlacement", Some(why))
        }
        Some(stages) => ("spec.stage", stages.refuse(approves(spec), None, "")),
    }
}

fn approves(spec: &RolloutApprovalSpec) -> Approves<'_> {
    Approves { version: u64::try_from(spec.version).unwrap_or_default(), stage: &spec.stage }
}

/// The rules of a CRD in CEL, as the API server says them. Those that compare with what was before are for it alone.
fn rules(object: &Object, value: &Value, schema: &Value, path: &str, findings: &mut Findings<'_>) {
    let of_here = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    for rule in of_here {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
        if !text("rule").contains("oldSelf") && holds(text("rule"), value) == Some(false) {
            let words = Words { message: text("message").to_owned(), help: None };
            findings.at_path(object, Rule::Placement, if path.is_empty() { "spec" } else { path }, words);
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let property = schema.get("properties").and_then(|p| p.get(name));
                if let Some(inner) = property.or_else(|| schema.get("additionalProperties")) {
                    rules(object, field, inner, &below(path, name), findings);
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                rules(object, item, inner, &format!("{path}[{index}]"), findings);
            }
        }
        _ => {}
    }
}

/// `None` where only the API server can say.
fn holds(rule: &str, value: &Value) -> Option<bool> {
    let program = Program::compile(rule).ok()?;
    let mut scope = Scope::new();
    scope.bind("self", value);
    program.eval(&scope, &Budget::default()).ok()?.as_bool()
}

fn placement(object: &Object, kinds: &Kinds<'_>, findings: &mut Findings<'_>) {
    let value = object.node.value();
    let Ok(read) = serde_json::from_value::<Placement>(value.clone()) else { return };
    let mut said = BTreeSet::new();
    let spec = &read.spec;
    if let Some(clusters) = &spec.clusters {
        condition(object, &clusters.expression, "spec.clusters.expression", &mut said, findings);
    }
    for (index, entry) in spec.overrides.iter().enumerate() {
        filter(
            object,
            entry.clusters.as_ref(),
            &format!("spec.overrides[{index}].clusters"),
            &mut said,
            findings,
        );
    }
    for (index, stage) in spec.rollout.iter().flat_map(|rollout| &rollout.stages).enumerate() {
        let path = format!("spec.rollout.stages[{index}].clusters");
        filter(object, stage.clusters.as_ref(), &path, &mut said, findings);
    }
    let policy = Policy::new(&api::Object(value));
    let of_stages = spec.rollout.iter().flat_map(stages::problems);
    for why in of_stages.chain(policy.invalid().map(str::to_owned)) {
        problem(object, &why, &mut said, findings);
    }
    overrides(object, &read, kinds, findings);
}

fn filter(
    object: &Object,
    filter: Option<&ClusterFilter>,
    path: &str,
    said: &mut BTreeSet<String>,
    findings: &mut Findings<'_>,
) {
    let Some(filter) = filter else { return };
    condition(object, &filter.expression, &format!("{path}.expression"), said, findings);
    if let Err(why) = Filter::read(Some(filter), path) {
        problem(object, &why, said, findings);
    }
}

/// What the controller says of a field, unless something was said of it already.
fn problem(object: &Object, why: &str, said: &mut BTreeSet<String>, findings: &mut Findings<'_>) {
    let Some((path, message)) = why.split_once(": ") else { return };
    if said.insert(path.to_owned()) {
        findings.at_path(object, Rule::Placement, path, Words { message: message.to_owned(), help: None });
    }
}

/// An expression over `cluster` that says yes or no.
fn condition(
    object: &Object,
    source: &str,
    path: &str,
    said: &mut BTreeSet<String>,
    findings: &mut Findings<'_>,
) {
    if source.is_empty() {
        return;
    }
    let mut decls = Decls::new();
    variables::declare_cluster(&mut decls);
    let mut tell = |message: String, help: Option<String>, spot: Option<Spot>| {
        said.insert(path.to_owned());
        let found = Diagnostic { path: path.to_owned(), message, help, spot };
        findings.diagnostic(object, Rule::Placement, found);
    };
    match Program::compile_typed(source, &decls) {
        Ok((_, found)) if *found.plain() == Type::Bool => {}
        Ok((_, other)) => tell(format!("expected bool, got {}", other.in_message()), None, None),
        Err(problems) => {
            for problem in problems {
                let spot = Spot { source: problem.source_text.clone(), offset: problem.offset };
                let bare = problem.clone().with_help(None);
                tell(bare.to_string(), problem.help, Some(spot));
            }
        }
    }
}

fn overrides(object: &Object, read: &Placement, kinds: &Kinds<'_>, findings: &mut Findings<'_>) {
    let gk = read.spec.instances.group_kind();
    if read.spec.overrides.is_empty() {
        return;
    }
    let Some((_, graph)) = kinds.graphs.iter().find(|(_, graph)| graph.gvk.group_kind() == gk) else {
        // The problems of its definition come first.
        if !kinds.generated.contains(&gk) {
            let message = format!("no definition among the files makes {gk}: the overrides are not checked");
            let help = Some("give the file of its ResourceGraphDefinition too".to_owned());
            findings.warn_at_path(object, Rule::Placement, "spec.overrides", Words { message, help });
        }
        return;
    };
    for (index, entry) in read.spec.overrides.iter().enumerate() {
        let compiled = Patch::compile(graph, &entry.spec, &format!("spec.overrides[{index}].spec"));
        for problem in compiled.err().unwrap_or_default() {
            findings.diagnostic(object, Rule::Placement, problem);
        }
    }
}
