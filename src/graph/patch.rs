//! A merge patch (RFC 7386) of an instance's spec, with expressions over the instance as written and the cluster that it is
//! for. It is judged against the generated kind once, and evaluated for each cluster.

use super::diagnostic::{Diagnostic, Path, Problems, Segment, legible};
use super::expression::{Expressions, Use};
use super::template::{Failure, Template};
use super::validate::place::{self, Known, Place};
use super::validate::types;
use super::validate::values::{self, Field};
use super::variables::{self, CLUSTER, KRO, SCHEMA};
use super::{Graph, pass};
use crate::api::Object;
use crate::cel::{Bound, Budget, Decls, Libraries, Scope, Type};
use crate::schema::unmet;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A patch that fits the kind it was compiled for.
#[derive(Debug)]
pub struct Patch {
    template: Template,
    /// What it sets or takes out, below the instance: `spec.replicas`.
    paths: Vec<Path>,
    cluster_reads: BTreeSet<Vec<String>>,
}

/// Why a patch gives nothing on one cluster. No value is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpatched {
    /// Below the patch: `.image`, or nothing.
    pub path: String,
    pub why: String,
}

/// The instance as expressions of patches see it.
#[derive(Debug)]
pub struct Subject {
    instance: Bound,
    spec: Value,
}

impl Graph {
    /// `instance` as patches of it see it: what is written there, with the defaults of the schema.
    pub fn subject(&self, instance: &Object) -> Subject {
        let shown = self.as_served(instance);
        let shown = shown.as_ref().unwrap_or(instance);
        let seen = pass::visible(self, &shown.0);
        let spec = seen.get("spec").cloned().unwrap_or_else(|| json!({}));
        Subject { instance: Bound::typed(&seen, &self.instance), spec }
    }

    /// Whether this spec is one of the generated kind. What is wrong with it, but for what is wrong with `before` as well.
    pub fn unfit(&self, spec: &Value, before: &Value) -> Option<Unpatched> {
        let schema = self.spec_schema()?.as_object()?;
        let found = unmet::all(schema, spec);
        if found.is_empty() {
            return None;
        }
        let known = unmet::all(schema, before);
        let new = found.into_iter().find(|unmet| !known.contains(unmet))?;
        Some(Unpatched { path: new.path, why: new.why })
    }

    /// A spec as an API server shows it that serves the generated kind: with its defaults, without what it does not know.
    pub fn spec_as_served(&self, spec: Value) -> Value {
        let Some(schema) = self.spec_schema() else { return spec };
        crate::schema::served::shown(Some(&spec), schema).unwrap_or(spec)
    }

    fn spec_schema(&self) -> Option<&Value> {
        self.schema()?.pointer("/properties/spec")
    }
}

impl Subject {
    /// The spec as written.
    pub fn spec(&self) -> &Value {
        &self.spec
    }
}

impl Patch {
    /// Compiles a patch that stands at `place` of its object, for instances of this kind.
    ///
    /// # Errors
    /// All problems at once.
    pub fn compile(graph: &Graph, patch: &Value, place: &str) -> Result<Self, Vec<Diagnostic>> {
        let found = Self::judge(graph, patch);
        found.map_err(|problems| {
            let moved = |d: Diagnostic| Diagnostic { path: join(place, &d.path), ..d };
            problems.into_iter().map(moved).collect()
        })
    }

    fn judge(graph: &Graph, patch: &Value) -> Result<Self, Vec<Diagnostic>> {
        let (root, mut problems) = (Path::default(), Problems::default());
        if !patch.is_object() {
            problems.add(&root, "a map of fields of the spec is needed");
            return Err(problems.into_sorted());
        }
        let schema = graph.spec_schema();
        let field = schema.map_or(Field::Anything, Field::Schema);
        values::check(patch, field, &root, &mut problems);
        let mut expressions = Expressions::new(Libraries::default());
        let (mut template, uses) = expressions.read(patch, &root, &mut problems);
        let decls = declared(graph);
        for usage in &uses {
            judge_use(usage, field, &decls, &mut problems);
        }
        // A literal that is no value of its type was told already.
        let mut broken = Problems::default();
        literals(&template, field, &root, &mut broken);
        let told = problems.paths();
        broken.into_sorted().into_iter().filter(|d| !told.contains(&d.path)).for_each(|d| problems.push(d));
        if !problems.is_empty() {
            return Err(problems.into_sorted());
        }
        template.encode(&root, &|place| {
            let Field::Schema(schema) = field.at(place.below(&root)?) else { return None };
            Type::from_openapi(schema, "field").filter(Type::holds_bytes).map(Arc::new)
        });
        let mut paths = Vec::new();
        leaves(&template, &Path::of(&["spec"]), &mut paths);
        let cluster_reads = variables::cluster_reads(expressions.all(), |_| false);
        Ok(Self { template, paths, cluster_reads })
    }

    /// What it sets or takes out.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// What its expressions read of the cluster, as paths below it.
    pub fn cluster_reads(&self) -> &BTreeSet<Vec<String>> {
        &self.cluster_reads
    }

    /// The patch for a cluster of these facts.
    ///
    /// # Errors
    /// The first expression that gives nothing.
    pub fn render(&self, subject: &Subject, cluster: &Value) -> Result<Value, Unpatched> {
        let (budget, mut scope) = (Budget::default(), Scope::new());
        scope.bind_shared(SCHEMA, &subject.instance);
        if !self.cluster_reads.is_empty() {
            scope.bind(CLUSTER, cluster);
            scope.bind(KRO, &json!({CLUSTER: cluster}));
        }
        let mut eval = |expression: &super::expression::Expression, field: Option<&Type>| match field {
            Some(field) => expression.program.eval_into(&scope, &budget, field),
            None => expression.program.eval(&scope, &budget).map(Some),
        };
        self.template.render(&mut eval).map_err(|Failure { path, error, .. }| Unpatched {
            path: join("", &path),
            why: legible(error.message()),
        })
    }
}

/// `patch` merged into `target`, as RFC 7386 says: null takes a field out, and a list replaces another.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A path below another, each as people read it.
fn join(place: &str, below: &str) -> String {
    match below.chars().next() {
        None => place.to_owned(),
        Some('[' | '.') => format!("{place}{below}"),
        Some(_) => format!("{place}.{below}"),
    }
}

fn declared(graph: &Graph) -> Decls {
    let mut decls = Decls::new();
    decls.declare(SCHEMA, graph.instance.clone());
    variables::declare_cluster(&mut decls);
    decls
}

/// An expression must read what there is, and give what its field takes.
fn judge_use(usage: &Use, root: Field<'_>, decls: &Decls, problems: &mut Problems) {
    let known = Known { ids: &BTreeSet::new(), omit: false };
    if place::check(usage, Place::Override, &known, problems).wrong {
        return;
    }
    let Some(found) = types::of(usage, decls, problems) else { return };
    let Some(steps) = usage.path.below(&Path::default()) else { return };
    let Field::Schema(schema) = root.at(steps) else { return };
    let Some(expected) = Type::from_openapi(schema, "field") else { return };
    let Some(detail) = found.mismatch(&expected) else { return };
    let (wanted, got) = (expected.in_message(), found.in_message());
    let is_plain = detail.starts_with("type kind mismatch");
    let detail = if is_plain { String::new() } else { format!(": {}", legible(&detail)) };
    let message =
        format!("{}: expected {}, got {}{detail}", usage.expression.text, legible(&wanted), legible(&got));
    problems.add(&usage.path, message);
}

/// Rules that values break which are written out. What expressions give is judged where they are evaluated.
fn literals(template: &Template, field: Field<'_>, path: &Path, problems: &mut Problems) {
    let Field::Schema(schema) = field else { return };
    match template {
        Template::Literal(value) => {
            let Some(schema) = schema.as_object() else { return };
            for found in unmet::of_patch(schema, value) {
                let path = format!("{path}{}", found.path);
                let path = path.strip_prefix('.').unwrap_or(&path).to_owned();
                problems.push(Diagnostic { path, message: found.why, help: None, spot: None });
            }
        }
        Template::Map(fields) => {
            for (key, below) in fields {
                let step = Segment::Key(key.clone());
                literals(below, field.at(std::slice::from_ref(&step)), &path.step(&step), problems);
            }
        }
        Template::List(items) => {
            for (position, below) in items.iter().enumerate() {
                let step = Segment::Index(position);
                literals(below, field.at(std::slice::from_ref(&step)), &path.step(&step), problems);
            }
        }
        Template::Expression(_) | Template::Encoded(..) => {}
    }
}

fn leaves(template: &Template, path: &Path, into: &mut Vec<Path>) {
    match template {
        Template::Map(fields) => fields.iter().for_each(|(key, below)| leaves(below, &path.key(key), into)),
        Template::Literal(value) => literal_leaves(value, path, into),
        Template::List(_) | Template::Expression(_) | Template::Encoded(..) => into.push(path.clone()),
    }
}

fn literal_leaves(value: &Value, path: &Path, into: &mut Vec<Path>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => fields.iter().for_each(|(key, below)| literal_leaves(below, &path.key(key), into)),
        None => into.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::{cm, graph};

    fn kind() -> Graph {
        let spec = "
metadata: {name: app, uid: r1, generation: 3}
spec:
  schema:
    kind: App
    apiVersion: v1alpha1
    types:
      Port: {name: string | required=true, number: integer | minimum=1 maximum=9}
    spec:
      replicas: integer | default=3 minimum=1 maximum=9
      image: string
      mode: string | enum=\"fast,safe\" default=\"safe\"
      tags: 'map[string]string'
      ports: '[]Port'
      database: {size: integer | default=1, host: string | required=true}
      free: object
  resources:
";
        let resource = cm("x", "\"${schema.spec.image}\"", "");
        graph(&format!("{spec}{}", resource.lines().map(|l| format!("  {l}\n")).collect::<String>()))
    }

    fn cluster() -> Value {
        json!({"name": "eu-1", "id": "u", "labels": {"tier": "edge"}, "properties": {"registry": "r.eu"},
            "version": {"major": 1, "minor": 31}})
    }

    fn instance(spec: Value) -> Object {
        let metadata = json!({"name": "shop", "namespace": "demo", "uid": "u", "generation": 7,
            "labels": {"team": "a", "kro.run/owned": "true"}});
        Object(json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "metadata": metadata, "spec": spec}))
    }

    /// Each problem of a patch that stands at `spec.overrides[0].spec`.
    #[test]
    fn a_patch_is_judged_by_the_schema_of_its_kind() {
        let graph = kind();
        for (patch, want) in [
            (json!({"replicas": 1, "image": "x", "mode": null, "database": null}), ""),
            (
                json!({"tags": {"a.b/c": "${cluster.name}"}, "ports": [{"name": "${schema.metadata.name}"}]}),
                "",
            ),
            (json!({"free": {"any": [1, {"b": "${cluster.version.minor}"}]}}), ""),
            (json!({"replicas": "${cluster.version.minor}"}), ""),
            (json!({"replicas": "${cluster.name}"}), ".replicas: ${cluster.name}: expected int, got string"),
            (json!({"image": "v${cluster.version.minor}"}), ".image: v${cluster.version.minor}: "),
            (json!({"replicas": "many"}), ".replicas: expected integer type, got string"),
            (json!({"replicas": 10}), ".replicas: is more than maximum=9"),
            (json!({"mode": "slow"}), ".mode: is none of the enum: `fast`, `safe`"),
            (json!({"imgae": "x"}), ".imgae: schema not found for field imgae; did you mean \"image\"?"),
            (json!({"database": {"hosts": "x"}}), ".database.hosts: schema not found"),
            (json!({"ports": [{"number": 2}]}), ".ports[0]: lacks name, which is required"),
            (json!({"ports": [{"name": "a", "number": 20}]}), ".ports[0].number: is more than maximum=9"),
            (json!({"image": "${schema.spec.imgae}"}), ".image: ${schema.spec.imgae}: "),
            (json!({"image": "${cluster.region}"}), ".image: ${cluster.region}: "),
            (json!({"image": "${kro.cluster.name + x.data.k}"}), "references unknown identifiers: [x]"),
            (json!({"image": "${spec.image}"}), "the instance is called schema: schema.spec"),
            (json!({"image": "${schema.metadata.resourceVersion}"}), "changes with every write"),
            (json!({"image": "${schema.status.state}"}), "undefined field 'status'"),
            (json!({"image": "${omit()}"}), "omit() "),
            (json!({"image": "${cluster.name"}), ""),
            (json!({"image": "${cluster.}"}), ".image: failed to compile"),
            (json!([1]), ": a map of fields of the spec is needed"),
        ] {
            let found = Patch::compile(&graph, &patch, "spec.overrides[0].spec");
            let said = match &found {
                Ok(_) => Vec::new(),
                Err(problems) => problems.iter().map(ToString::to_string).collect(),
            };
            match (said.as_slice(), want) {
                ([], "") => {}
                ([one], want) if !want.is_empty() => {
                    assert!(one.starts_with("spec.overrides[0].spec"), "{one}");
                    assert!(one.contains(want), "{patch}: {one}");
                }
                (said, want) => panic!("{patch}: {said:?}, wanted {want:?}"),
            }
        }
    }

    #[test]
    fn what_a_patch_gives_is_merged_as_rfc_7386_says() {
        let graph = kind();
        let spec = json!({"replicas": 5, "image": "web", "tags": {"a": "1", "b": "2"}, "ports": [{"name": "p", "number": 1}],
            "database": {"host": "h", "size": 2}});
        for (patch, want) in [
            (json!({}), json!({})),
            (json!({"replicas": 1}), json!({"replicas": 1})),
            (json!({"replicas": null}), json!({"replicas": 3})),
            (
                json!({"mode": "${cluster.labels[?'tier'].orValue('') == 'edge' ? 'fast' : 'safe'}"}),
                json!({"mode": "fast"}),
            ),
            (
                json!({"image": "${cluster.properties.registry + '/' + schema.spec.image}"}),
                json!({"image": "r.eu/web"}),
            ),
            (
                json!({"image": "${cluster.labels.tier}:${schema.metadata.labels.team}"}),
                json!({"image": "edge:a"}),
            ),
            (json!({"replicas": "${schema.spec.replicas + 1}"}), json!({"replicas": 6})),
            (json!({"replicas": "${optional.none()}"}), json!({"replicas": 3})),
            (json!({"tags": {"a": null, "c": "3"}}), json!({"tags": {"b": "2", "c": "3"}})),
            (json!({"ports": [{"name": "q"}]}), json!({"ports": [{"name": "q"}]})),
            (json!({"database": {"size": null}}), json!({"database": {"host": "h", "size": 1}})),
        ] {
            let compiled = Patch::compile(&graph, &patch, "p").unwrap_or_else(|p| panic!("{patch}: {p:?}"));
            let subject = graph.subject(&instance(spec.clone()));
            let mut got = subject.spec().clone();
            merge(&mut got, &compiled.render(&subject, &cluster()).unwrap());
            let got = graph.spec_as_served(got);
            let mut whole = graph.spec_as_served(spec.clone());
            for (key, value) in want.as_object().unwrap() {
                whole[key] = value.clone();
            }
            assert_eq!(got, whole, "{patch}");
            assert_eq!(graph.unfit(&got, subject.spec()), None, "{patch}");
        }
        let mut gone = spec;
        merge(&mut gone, &json!({"database": null, "tags": 1, "new": {"a": {"b": null, "c": 1}}}));
        assert_eq!(gone["tags"], json!(1));
        assert_eq!((gone.get("database"), &gone["new"]), (None, &json!({"a": {"c": 1}})));
    }

    #[test]
    fn what_gives_nothing_on_a_cluster_is_said_with_its_place() {
        let graph = kind();
        let subject = graph.subject(&instance(json!({"image": "web"})));
        for (patch, want) in [
            (json!({"image": "${cluster.properties.region}"}), (".image", "no such key: region")),
            (json!({"ports": [{"name": "${cluster.labels['x']}"}]}), (".ports[0].name", "no such key: x")),
        ] {
            let failed =
                Patch::compile(&graph, &patch, "p").unwrap().render(&subject, &cluster()).unwrap_err();
            assert_eq!((failed.path.as_str(), failed.why.as_str()), want, "{patch}");
        }
        let before = json!({"image": "web", "mode": "old"});
        let unfit = |spec: Value| graph.unfit(&spec, &before).map(|u| format!("{}: {}", u.path, u.why));
        assert_eq!(
            unfit(json!({"mode": "old", "replicas": 12})).as_deref(),
            Some(".replicas: is more than maximum=9")
        );
        assert_eq!(
            unfit(json!({"mode": "old", "database": {}})).as_deref(),
            Some(".database: lacks host, which is required")
        );
        assert_eq!(unfit(json!({"mode": "old"})), None, "what was wrong before is not the patch's fault");
    }

    #[test]
    fn a_patch_says_what_it_sets_and_what_it_reads_of_the_cluster() {
        let patch = json!({"image": "${cluster.properties.registry}", "tags": {"a": "1", "b.c": "${kro.cluster.labels.x}"},
            "database": null, "ports": [], "free": {}});
        let patch = Patch::compile(&kind(), &patch, "p").unwrap();
        let paths: Vec<String> = patch.paths().iter().map(ToString::to_string).collect();
        assert_eq!(
            paths,
            ["spec.database", "spec.free", "spec.image", "spec.ports", "spec.tags.a", "spec.tags[\"b.c\"]"]
        );
        let reads: Vec<String> = patch.cluster_reads().iter().map(|path| path.join(".")).collect();
        assert_eq!(reads, ["labels.x", "properties.registry"]);
    }
}
