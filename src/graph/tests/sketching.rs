//! What can be told of objects without a cluster.

use super::{app, free, graph};
use crate::graph::{Leaf, Origin, Sketch, Sketcher};
use serde_json::{Value, json};

fn cluster() -> Value {
    json!({"name": "eu-1", "id": "u", "labels": {"tier": "edge"}, "properties": {},
        "version": {"major": 1, "minor": 31}})
}

fn sketched(resources: &str, spec: Value, leaves: Vec<Leaf>) -> Vec<(String, Vec<Sketch>)> {
    let graph = graph(&app(resources));
    let instance = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App",
        "metadata": {"name": "shop", "namespace": "team"}, "spec": spec});
    let mut sketcher = Sketcher::new(&graph, &instance, &cluster(), leaves);
    let nodes = graph.nodes.iter().enumerate();
    nodes.map(|(index, node)| (node.id.clone(), sketcher.node(index).unwrap())).collect()
}

/// The value of `data.k` of a ConfigMap, and what it was made of: `w`aits, `s`ecret, the facts.
fn shown(sketch: &Sketch) -> (String, String) {
    let steps = ["data".to_owned(), "k".to_owned()];
    let none = Origin::default();
    let leaf = sketch.leaves.iter().find(|leaf| leaf.steps == steps);
    let Origin { waits, secret, facts } = leaf.map_or(&none, |leaf| &leaf.origin);
    let facts: Vec<String> = facts.iter().map(|path| path.join(".")).collect();
    let flags = format!("{}{}", if *waits { "w" } else { "" }, if *secret { "s" } else { "" });
    (sketch.object["data"]["k"].as_str().unwrap().to_owned(), format!("{flags}{}", facts.join(",")))
}

fn cm(id: &str, value: &str, more: &str) -> String {
    super::cm(id, &format!("{value:?}"), more)
}

const SECRET: &str = "- id: secret
  template: {apiVersion: v1, kind: Secret, metadata: {name: '${schema.metadata.name}'}, data: {key: dmFsdWU=}}
";
const SERVICE: &str = "- id: service
  template: {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: '${schema.spec.s}'}}}
";
const REFERENCE: &str = "- id: shared
  externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: shared}}
";

#[test]
fn what_is_not_known_stays_as_it_is_written_and_what_is_read_of_it_too() {
    for (source, value, want, made_of) in [
        ("", "${schema.spec.s}", "x", ""),
        ("", "${cluster.name}-${schema.spec.s}", "eu-1-x", "name"),
        ("", "${kro.cluster.labels.tier}", "edge", "labels.tier"),
        ("", "${schema.metadata.uid}", "${schema.metadata.uid}", "w"),
        (SECRET, "${string(secret.data.key)}", "value", "s"),
        (SECRET, "${secret.metadata.name}", "shop", ""),
        (SERVICE, "${service.spec.selector.app}", "x", ""),
        (SERVICE, "${service.spec.clusterIP}", "${service.spec.clusterIP}", "w"),
        (free("db", "a", "").as_str(), "${db.?status.?host.orValue('none')}", "", "w"),
        (REFERENCE, "${shared.data.key}", "${shared.data.key}", "w"),
    ] {
        let want = if want.is_empty() { value } else { want };
        let all = sketched(&format!("{source}{}", cm("x", value, "")), json!({"s": "x"}), Vec::new());
        let (_, x) = all.iter().find(|(id, _)| id == "x").unwrap();
        assert_eq!(shown(&x[0]), (want.to_owned(), made_of.to_owned()), "{value}");
    }
}

#[test]
fn what_went_into_a_value_goes_on_with_it() {
    let chain = [
        SECRET,
        SERVICE,
        &cm("a", "${string(secret.data.key)}", ""),
        &cm("b", "${a.data.k}-${cluster.name}", ""),
        &cm("c", "${b.data.k}", ""),
        &cm("d", "${service.spec.clusterIP}", ""),
        &cm("e", "${d.data.k + '!'}", ""),
    ];
    let all = sketched(&chain.concat(), json!({"s": "x"}), Vec::new());
    let of = |id: &str| shown(&all.iter().find(|(name, _)| name == id).unwrap().1[0]);
    assert_eq!(of("c"), ("value-eu-1".into(), "sname".into()));
    assert_eq!(of("e"), ("${d.data.k + '!'}".into(), "w".into()));
}

#[test]
fn what_an_instance_was_made_of_goes_on_too() {
    let facts = [vec!["name".to_owned()]].into();
    let leaf = |field: &str, origin| Leaf { steps: vec!["spec".into(), field.into()], origin };
    let leaves = vec![
        leaf("s", Origin { facts, ..Origin::default() }),
        leaf("opt", Origin { waits: true, ..Origin::default() }),
    ];
    let resources = [cm("a", "${schema.spec.s}", ""), cm("b", "${schema.spec.opt}", "")].concat();
    let all = sketched(&resources, json!({"s": "eu-1", "opt": "${db.status.host}"}), leaves);
    assert_eq!(shown(&all[0].1[0]), ("eu-1".into(), "name".into()));
    assert_eq!(shown(&all[1].1[0]), ("${schema.spec.opt}".into(), "w".into()));
}

#[test]
fn what_decides_and_is_not_known_is_said() {
    let when = |text: &str| format!("includeWhen: ['{text}']\n");
    let each = |text: &str| format!("forEach: [{{one: '{text}'}}]\n");
    let resources = [
        SERVICE,
        &cm("out", "a", &when("${schema.spec.b}")),
        &cm("maybe", "a", &when("${service.spec.clusterIP != \"\"}")),
        &cm("after", "${maybe.data.k}", ""),
        &cm("many", "${one}", &each("${schema.spec.l}")).replace("name: many", "name: 'many-${one}'"),
        &cm("ports", "${one.name}", &each("${service.spec.ports}"))
            .replace("name: ports", "name: 'p-${one.name}'"),
    ];
    let all = sketched(&resources.concat(), json!({"s": "x", "b": false, "l": ["p", "q"]}), Vec::new());
    let of = |id: &str| &all.iter().find(|(name, _)| name == id).unwrap().1;
    assert!(of("out").is_empty());
    let condition = Some("${service.spec.clusterIP != \"\"}");
    assert_eq!(of("maybe")[0].only_if.as_deref(), condition);
    assert_eq!(of("after")[0].only_if.as_deref(), condition);
    let items: Vec<_> = of("many").iter().map(|s| shown(s).0).collect();
    assert_eq!(items, ["p", "q"]);
    let ports = of("ports");
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0].for_each.as_deref(), Some("${service.spec.ports}"));
    assert_eq!(shown(&ports[0]), ("${one.name}".into(), "w".into()));
}
