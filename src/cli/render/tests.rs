//! From files to what is printed.

use super::*;
use clap::Parser;
use std::fs;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

const DEFINITION: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: web}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec: {text: string | default=hello, replicas: integer | default=2, extra: boolean | default=false, ports: '[]integer'}
    status: {address: '${service.spec.clusterIP}'}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {text: '${schema.spec.text}', region: '${kro.cluster.labels[\"region\"]}'}}
  - id: deployment
    readyWhen: ['${deployment.status.availableReplicas > 0}']
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${config.metadata.name}'}
      spec:
        replicas: ${schema.spec.replicas}
        selector: {matchLabels: {app: web}}
        template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}
  - id: service
    template: {apiVersion: v1, kind: Service, metadata: {name: '${deployment.metadata.name}'}, spec: {selector: {app: web}, ports: [{port: 80}]}}
  - id: addressed
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: address}, data: {at: '${service.spec.clusterIP}'}}
  - id: extra
    includeWhen: ['${schema.spec.extra}']
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: extra}}
  - id: opened
    forEach: [{port: '${schema.spec.ports}'}]
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: 'port-${string(port)}'}}
  - id: shared
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: shared, namespace: platform}}
  - id: derived
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: derived}, data: {of: '${shared.data.key}'}}
";
const INSTANCE: &str = "
apiVersion: kro.run/v1alpha1
kind: Web
metadata: {name: shop, namespace: team, labels: {tier: web}}
spec: {ports: [80]}
";
const CLUSTER: &str = "
apiVersion: hub.kro.run/v1alpha1
kind: Cluster
metadata: {name: eu, labels: {region: eu-west}}
spec: {credentials: {secretRef: {name: eu, namespace: kro-hub}}}
";
const PLACEMENT: &str = "
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {name: web, namespace: team}
spec:
  instances: {kind: Web}
  clusters: {labelSelector: {matchLabels: {region: eu-west}}}
  overrides:
  - spec: {replicas: 5}
";

/// What is printed for these files and arguments, or the error.
fn printed(files: &[(&str, &str)], args: &str) -> Result<(String, bool), String> {
    let folder = std::env::temp_dir().join(format!(
        "kro-hub-render-{}-{:x}",
        std::process::id(),
        crate::api::hash::fnv64(format!("{files:?}{args}").as_bytes())
    ));
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    let args = args.replace('@', &format!("{}/", folder.display()));
    let line = Line::try_parse_from(["render"].into_iter().chain(args.split_whitespace())).unwrap();
    let judged = line.args.world.judge(&line.args.paths, false).unwrap();
    assert!(!judged.has_errors());
    let text = rendered(&line.args, &judged);
    fs::remove_dir_all(&folder).unwrap();
    text.map(|t| (t.out + &t.problems, t.good)).map_err(|e| format!("{e:#}"))
}

fn comments(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with('#')).collect()
}

#[test]
fn objects_come_in_apply_order_and_what_waits_says_for_what() {
    let files = [("rgd.yaml", DEFINITION), ("shop.yaml", INSTANCE), ("eu.yaml", CLUSTER)];
    let (text, good) = printed(&files, "@rgd.yaml @shop.yaml @eu.yaml --cluster eu").unwrap();
    let lines = comments(&text);
    assert_eq!(lines[..3], ["# eu: config", "# eu: deployment", "# eu: service"], "{text}");
    assert!(text.contains("region: eu-west") && text.contains("namespace: team"), "{text}");
    assert!(
        lines.iter().any(|l| l.starts_with("# eu: node addressed (") && l.contains("clusterIP")),
        "{text}"
    );
    assert!(lines.contains(&"# eu: node extra is left out by includeWhen"), "{text}");
    assert!(lines.contains(&"# eu: opened") && text.contains("name: port-80"), "{text}");
    assert!(
        lines
            .iter()
            .any(|l| l.contains("node shared (")
                && l.contains("ConfigMap platform/shared is not among the files")),
        "{text}"
    );
    assert!(lines.iter().any(|l| l.contains("node derived (") && l.contains("waits")), "{text}");
    assert!(good);
    assert!(!printed(&files, "@rgd.yaml @shop.yaml @eu.yaml --cluster eu --strict").unwrap().1);
}

#[test]
fn what_is_observed_lets_the_rest_go_on() {
    let observed = "{apiVersion: v1, kind: Service, metadata: {name: shop, namespace: team}, spec: {clusterIP: 10.0.0.7}}";
    let external = "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared, namespace: platform}, data: {key: value}}";
    let files = [
        ("rgd.yaml", DEFINITION),
        ("shop.yaml", INSTANCE),
        ("seen.yaml", observed),
        ("shared.yaml", external),
    ];
    let args =
        "@rgd.yaml @shop.yaml --set labels.region=us --observed @seen.yaml --external @shared.yaml --strict";
    let (text, good) = printed(&files, args).unwrap();
    assert!(
        text.contains("10.0.0.7")
            && text.contains("apiVersion: v1\nkind: ConfigMap\nmetadata:")
            && text.contains("of: value"),
        "{text}"
    );
    assert!(good, "{text}");
}

#[test]
fn overrides_of_placements_that_choose_the_cluster_are_in_it() {
    let files =
        [("rgd.yaml", DEFINITION), ("shop.yaml", INSTANCE), ("eu.yaml", CLUSTER), ("web.yaml", PLACEMENT)];
    let all = "@rgd.yaml @shop.yaml @eu.yaml @web.yaml";
    let (text, _) = printed(&files, &format!("{all} --cluster eu")).unwrap();
    assert!(text.contains("replicas: 5"), "{text}");
    let (text, _) = printed(&files, &format!("{all} --cluster eu --set labels.region=us")).unwrap();
    assert!(text.contains("replicas: 2"), "{text}");
}

#[test]
fn a_fact_that_nobody_gave_is_asked_for() {
    let files = [("rgd.yaml", DEFINITION), ("shop.yaml", INSTANCE)];
    let told = printed(&files, "@rgd.yaml @shop.yaml").unwrap_err();
    assert!(told.contains("web reads kro.cluster.labels") && told.contains("--cluster NAME"), "{told}");
    let told = printed(&files, "@rgd.yaml @shop.yaml --cluster nowhere").unwrap_err();
    assert!(told.contains("cluster nowhere: there is neither"), "{told}");
    let told = printed(&files, "@rgd.yaml --set labels.region=us").unwrap_err();
    assert!(told.contains("no instance"), "{told}");
}
