//! One whole definition, as it compiles and renders.

use super::graph;
use crate::graph::{Graph, Pass};
use serde_json::{Value, json};

const HELLO: &str = "
metadata: {name: hello, uid: 00000000-0000-0000-0000-000000000001, generation: 2}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Hello
    spec:
      image: string | default=nginx
      replicas: integer | default=2 minimum=1
      message: string | required=true
    status:
      address: ${service.spec.clusterIP}
      available: ${deployment.status.availableReplicas}
      ready: ${deployment.status.availableReplicas == schema.spec.replicas}
      image: ${schema.spec.image}
      url: http://${service.metadata.name}.${service.metadata.namespace}
  resources:
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata:
        name: ${schema.metadata.name}
      spec:
        selector: ${deployment.spec.selector.matchLabels}
        ports:
        - port: 80
  - id: deployment
    readyWhen:
    - ${deployment.status.availableReplicas == deployment.spec.replicas}
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: ${schema.metadata.name}
        annotations:
          hub.kro.run/on-existing: Fail
      spec:
        replicas: ${schema.spec.replicas}
        selector:
          matchLabels:
            app: ${schema.metadata.name}
        template:
          metadata:
            labels:
              app: ${schema.metadata.name}
            annotations:
              config: ${config.metadata.resourceVersion}
          spec:
            containers:
            - name: web
              image: ${schema.spec.image}:latest
              envFrom:
              - configMapRef:
                  name: ${config.metadata.name}
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: ${schema.metadata.name}-config
      data:
        message: ${schema.spec.message}
";

fn observed(graph: &Graph, pass: &mut Pass<'_>, id: &str, more: &Value) -> Value {
    let index = graph.nodes.iter().position(|n| n.id == id).unwrap();
    assert_eq!(pass.included(index), Ok(true));
    let rendered = pass.render(index).unwrap().remove(0).object;
    let mut seen = rendered.clone();
    merge(&mut seen, more);
    pass.observe(index, &[&seen], 1);
    rendered
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[test]
fn hello_compiles() {
    let graph = graph(HELLO);
    let nodes: Vec<String> = graph
        .nodes
        .iter()
        .map(|n| format!("{} {} order {} {:?}", n.id, n.gvk, n.apply_order, n.on_existing))
        .collect();
    insta::assert_snapshot!(nodes.join("\n"), @r"
    config v1 ConfigMap order 1 None
    deployment apps/v1 Deployment order 2 Some(Fail)
    service v1 Service order 3 None
    ");
    assert_eq!(
        json!(graph.resources),
        json!([
            {"id": "deployment", "dependencies": [{"id": "config"}]},
            {"id": "service", "dependencies": [{"id": "deployment"}]},
        ])
    );
    let status =
        graph.crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties").unwrap();
    let own: serde_json::Map<String, Value> = status
        .as_object()
        .unwrap()
        .iter()
        .filter(|(k, _)| !["state", "conditions"].contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    assert_eq!(
        Value::Object(own),
        json!({
            "address": {"type": "string"}, "available": {"type": "integer"}, "ready": {"type": "boolean"},
            "image": {"type": "string"}, "url": {"type": "string"},
        })
    );
    assert_eq!(graph.crd.pointer("/metadata/name").unwrap(), "hellos.kro.run");
    assert_eq!(graph.crd_hash().len(), 16);
    assert_eq!((graph.rgd_name.as_str(), graph.generation), ("hello", 2));
}

#[test]
fn hello_renders_in_three_steps() {
    let graph = graph(HELLO);
    let parent = json!({
        "apiVersion": "kro.run/v1alpha1", "kind": "Hello",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
        "spec": {"image": "nginx", "replicas": 2, "message": "hi"},
    });
    let mut pass = Pass::new(&graph, &parent, &Value::Null);
    let config = observed(&graph, &mut pass, "config", &json!({"metadata": {"resourceVersion": "7"}}));
    let deployment = observed(&graph, &mut pass, "deployment", &json!({"status": {"availableReplicas": 2}}));
    let service = observed(
        &graph,
        &mut pass,
        "service",
        &json!({"metadata": {"namespace": "shop"}, "spec": {"clusterIP": "10.0.0.1"}}),
    );
    assert_eq!(
        config,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web-config"}, "data": {"message": "hi"},
        })
    );
    assert_eq!(
        deployment,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "annotations": {"hub.kro.run/on-existing": "Fail"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}, "annotations": {"config": "7"}},
                    "spec": {"containers": [{
                        "name": "web", "image": "nginx:latest",
                        "envFrom": [{"configMapRef": {"name": "web-config"}}],
                    }]},
                },
            },
        })
    );
    assert_eq!(
        service,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        })
    );
    let (fields, problems) = pass.status();
    assert_eq!(
        Value::Object(fields),
        json!({
            "address": "10.0.0.1", "available": 2, "ready": true, "image": "nginx", "url": "http://web.shop",
        })
    );
    assert_eq!(problems, Vec::<String>::new());
}
