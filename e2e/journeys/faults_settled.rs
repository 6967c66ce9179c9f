//! What counts as a difference: an edit made while no controller runs is one, a value that the API server writes out in
//! another form is none, and a default of a new field is there without a write.

use super::Run;
use super::faults_restart::{restart_without_writes, writes};
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand};
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("settled::an_edit_while_no_controller_runs_is_not_lost", edit_while_down),
    ("settled::what_the_api_server_writes_out_anew_costs_no_write_after_a_restart", written_out_anew),
    ("settled::a_new_field_with_a_default_reaches_standing_instances", new_default),
    ("settled::a_new_field_with_a_default_reaches_an_instance_on_the_hub", new_default_on_hub),
];

fn edit_while_down(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: unwatched}
spec:
  schema: {apiVersion: v1alpha1, kind: Unwatched, spec: {version: string, args: '[]string', types: '[]string', cpu: string}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {version: '${schema.spec.version}'}
  - id: policy
    template:
      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata: {name: '${schema.metadata.name}'}
      spec: {podSelector: {}, policyTypes: '${schema.spec.types}'}
  - id: work
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}'}
      spec:
        replicas: 0
        selector: {matchLabels: {app: x}}
        template:
          metadata: {labels: {app: x}}
          spec:
            containers:
            - {name: c, image: x, args: '${schema.spec.args}', resources: {limits: {cpu: '${schema.spec.cpu}'}}}
",
    )?;
    kind.create("a", "eu", r#"{version: "1.3", args: [-a, -b], types: [Ingress, Egress], cpu: "1"}"#)?;
    kind.wait_active("a", &["eu"])?;
    stand.end_controller()?;
    kind.edit("a", r#"{version: "1.30", args: [-b, -a], types: [Egress, Ingress], cpu: "1000m"}"#)?;
    stand.start_controller()?;
    kind.wait_active("a", &["eu"])?;
    let mirror = kind.on("eu", "a")?.unwrap_or_default();
    ensure!(mirror["spec"] == kind.hub("a")?["spec"], "the mirror has {}", mirror["spec"]);
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["version"] == "1.30")?;
    kind.wait_child("eu", "networking.k8s.io/v1/networkpolicies/a", |p| {
        p["spec"]["policyTypes"] == json!(["Egress", "Ingress"])
    })?;
    kind.wait_child("eu", "apps/v1/deployments/a", |d| {
        d.pointer("/spec/template/spec/containers/0/args") == Some(&json!(["-b", "-a"]))
    })?;
    kind.remove("a")
}

/// A child of each sort that reads back in another form than it was applied in.
const TABLE: &str = r#"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: rewritten}
spec:
  schema: {apiVersion: v1alpha1, kind: Rewritten, spec: {text: string}}
  resources:
  - id: deployment
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: d, annotations: {}}
      spec:
        replicas: 0
        selector: {matchLabels: {app: x}}
        template:
          metadata: {labels: {app: x}, annotations: {}}
          spec:
            hostNetwork: false
            terminationGracePeriodSeconds: 30
            tolerations: []
            containers:
            - name: c
              image: x
              args: []
              ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}, {containerPort: 53}]
              env:
              - {name: EMPTY, value: ""}
              - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
              - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
              resources: {limits: {cpu: 1000m, memory: 1024Mi}, requests: {cpu: 0.5, memory: "1073741824"}}
              readinessProbe: {httpGet: {path: /, port: 80}}
              volumeMounts: [{name: e, mountPath: /e, readOnly: false}]
            volumes:
            - {name: e, emptyDir: {}}
            - {name: s, emptyDir: {sizeLimit: 1024Mi}}
            - name: p
              projected:
                sources:
                - serviceAccountToken: {path: t}
                - downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}
            - {name: c, configMap: {name: c, items: [{key: k, path: p}]}}
  - id: stateful
    template:
      apiVersion: apps/v1
      kind: StatefulSet
      metadata: {name: s}
      spec:
        replicas: 0
        serviceName: s
        selector: {matchLabels: {app: db}}
        template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x}]}}
        volumeClaimTemplates:
        - metadata: {name: data}
          spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
  - id: cron
    template:
      apiVersion: batch/v1
      kind: CronJob
      metadata: {name: c}
      spec:
        schedule: "*/5 * * * *"
        suspend: true
        jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}
  - id: policy
    template:
      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata: {name: policy}
      spec:
        podSelector: {}
        ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]
        egress: [{}]
  - id: service
    template:
      apiVersion: v1
      kind: Service
      metadata: {name: s}
      spec: {ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP, targetPort: dns}], selector: {}}
  - id: secret
    template:
      apiVersion: v1
      kind: Secret
      metadata: {name: s}
      data: {k: "aGVsbG8=\n"}
      stringData: {t: text}
  - id: binding
    template:
      apiVersion: rbac.authorization.k8s.io/v1
      kind: RoleBinding
      metadata: {name: r}
      roleRef: {kind: ClusterRole, name: view}
      subjects: [{kind: ServiceAccount, name: x, namespace: default, apiGroup: ""}, {kind: User, name: u}]
  - id: claim
    template:
      apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: {name: p}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1.5Gi}}, storageClassName: ""}
  - id: quota
    template:
      apiVersion: v1
      kind: ResourceQuota
      metadata: {name: q}
      spec: {hard: {cpu: 2000m, memory: 2048Mi, pods: 10, requests.storage: "1e12"}}
  - id: budget
    template:
      apiVersion: policy/v1
      kind: PodDisruptionBudget
      metadata: {name: b}
      spec: {maxUnavailable: 50%, selector: {matchLabels: {app: x}}}
  - id: scaler
    template:
      apiVersion: autoscaling/v2
      kind: HorizontalPodAutoscaler
      metadata: {name: h}
      spec:
        scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}
        maxReplicas: 3
        metrics:
        - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
        - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1024Mi}}}
        behavior: {scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}
  - id: lease
    template:
      apiVersion: coordination.k8s.io/v1
      kind: Lease
      metadata: {name: l}
      spec: {holderIdentity: x, renewTime: "2026-01-01T01:00:00.000000+01:00"}
  - id: ingress
    template:
      apiVersion: networking.k8s.io/v1
      kind: Ingress
      metadata: {name: i}
      spec:
        rules:
        - host: x.example.org
          http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}
  - id: hook
    template:
      apiVersion: admissionregistration.k8s.io/v1
      kind: ValidatingWebhookConfiguration
      metadata: {name: 'rewritten-${schema.spec.text}'}
      webhooks:
      - name: w.example.org
        admissionReviewVersions: [v1]
        sideEffects: None
        failurePolicy: Ignore
        clientConfig: {url: "https://127.0.0.1:1/"}
        rules: [{apiGroups: [none.example.org], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
"#;

fn written_out_anew(stand: &Stand) -> Result<()> {
    let kind = stand.define(TABLE)?;
    kind.create("a", "eu", "{text: x}")?;
    // Not all of these become ready here; it is enough that all are there and nothing is refused.
    eventually(Duration::from_secs(20), "all children on eu", || {
        for what in ["configmaps", "secrets", "services", "persistentvolumeclaims", "resourcequotas"] {
            ensure!(what == "configmaps" || !kind.owned("eu", what)?.is_empty(), "no {what}");
        }
        for what in [
            "apps/v1/deployments/d",
            "apps/v1/statefulsets/s",
            "batch/v1/cronjobs/c",
            "networking.k8s.io/v1/networkpolicies/policy",
            "networking.k8s.io/v1/ingresses/i",
            "policy/v1/poddisruptionbudgets/b",
            "autoscaling/v2/horizontalpodautoscalers/h",
            "coordination.k8s.io/v1/leases/l",
        ] {
            ensure!(kind.child("eu", what)?.is_some(), "no {what}");
        }
        Ok(())
    })
    .with_context(|| kind.hub("a").unwrap_or_default()["status"].to_string())?;
    std::thread::sleep(Duration::from_secs(1));
    restart_without_writes(stand, &["eu"])?;
    kind.remove("a")
}

fn new_default(stand: &Stand) -> Result<()> {
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: grown}
spec:
  schema: {apiVersion: v1alpha1, kind: Grown, spec: {name: string, parts: '[]Part'}, types: {Part: {id: string}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {name: '${schema.spec.name}'}
",
    )?;
    kind.create("a", "eu,us", "{name: x, parts: [{id: one}, {id: two}]}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let mirrors = |kind: &Kind| -> Result<Vec<String>> {
        let mut all = Vec::new();
        for cluster in ["eu", "us"] {
            // The status follows the revision; what was applied is told by the generation.
            all.push(kind.on(cluster, "a")?.unwrap_or_default()["metadata"]["managedFields"].to_string());
        }
        Ok(all)
    };
    let applied = |text: &str| -> Vec<serde_json::Value> {
        let all: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
        all.into_iter().filter(|e| e["manager"] == "kro.run/labeller").collect()
    };
    let before = mirrors(&kind)?;
    // Several edits in a row, none of which touches an instance.
    for (spec, types, data, want) in [
        (
            "{name: string, parts: '[]Part', tier: string | default=small}",
            "{Part: {id: string}}",
            "{name: '${schema.spec.name}', tier: '${schema.spec.tier}'}",
            json!({"name": "x", "tier": "small"}),
        ),
        (
            "{name: string, parts: '[]Part', tier: string | default=small, size: {n: integer | default=3}}",
            "{Part: {id: string, weight: integer | default=7}}",
            "{name: '${schema.spec.name}', tier: '${schema.spec.tier}', n: '${string(schema.spec.size.n)}', \
             weights: '${schema.spec.parts.map(p, string(p.weight)).join(\",\")}'}",
            json!({"name": "x", "tier": "small", "n": "3", "weights": "7,7"}),
        ),
    ] {
        kind.edit_definition(&format!(
            "spec: {{schema: {{spec: {spec}, types: {types}}}, resources: [{{id: config, template: {{apiVersion: v1, \
             kind: ConfigMap, metadata: {{name: '${{schema.metadata.name}}'}}, data: {data}}}}}]}}"
        ))?;
        for cluster in ["eu", "us"] {
            kind.wait_child(cluster, "configmaps/a", |c| c["data"] == want)?;
        }
        kind.wait_active("a", &["eu", "us"])?;
    }
    let same = before.iter().zip(mirrors(&kind)?).all(|(b, a)| applied(b) == applied(&a));
    ensure!(same, "a mirror was applied anew for a default");
    restart_without_writes(stand, &["eu", "us"])?;
    let counted = writes(stand, &["eu", "us"])?;
    ensure!(counted.is_empty(), "{counted:?}");
    // What is set afterwards arrives, and goes back to the default.
    kind.edit("a", "{tier: big}")?;
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["tier"] == "big")?;
    kind.patch("a", &json!({"spec": {"tier": null}}))?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["tier"] == "small")?;
    kind.remove("a")
}

/// Where the instance is its own mirror.
fn new_default_on_hub(stand: &Stand) -> Result<()> {
    let local = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "local"},
        "spec": {"local": true}});
    stand.api("hub").post(CLUSTERS, &local)?;
    let kind = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: grown-here}
spec:
  schema: {apiVersion: v1alpha1, kind: GrownHere, spec: {name: string}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {name: '${schema.spec.name}'}}
",
    )?;
    kind.create_as(json!({"name": "a"}), "{name: x}")?;
    kind.wait_child("hub", "configmaps/a", |c| c["data"] == json!({"name": "x"}))?;
    kind.edit_definition(
        "spec: {schema: {spec: {name: string, tier: string | default=small}}, resources: [{id: config, template: {apiVersion: v1, \
         kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {name: '${schema.spec.name}', tier: '${schema.spec.tier}'}}}]}",
    )?;
    kind.wait_child("hub", "configmaps/a", |c| c["data"] == json!({"name": "x", "tier": "small"}))?;
    eventually(PATIENCE, "a is ACTIVE", || {
        let status = kind.hub("a")?["status"].clone();
        ensure!(status["state"] == "ACTIVE", "{status}");
        Ok(())
    })?;
    kind.remove("a")?;
    stand.api("hub").delete(&format!("{CLUSTERS}/local"))?;
    eventually(PATIENCE, "Cluster local gone", || {
        ensure!(stand.api("hub").get(&format!("{CLUSTERS}/local"))?.is_none(), "it is there");
        Ok(())
    })
}
