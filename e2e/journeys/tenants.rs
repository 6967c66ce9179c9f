//! What somebody with the rights of one namespace may reach, and what they may not. `docs/security.md` has the table.

use super::Run;
use super::stand::{CLUSTERS, Kind, PATIENCE, Stand, entry, parse, text, uid};
use crate::env::api::Api;
use crate::env::controller::Options;
use crate::env::eventually;
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

pub const TRIALS: &[Run] = &[
    ("tenants::a_namespace_that_the_instance_names_is_refused_where_a_cluster_says_own", bounded),
    ("tenants::forged_bookkeeping_reaches_nothing_of_others", forged),
    ("tenants::names_that_collide_take_nothing_of_others", collisions),
    ("tenants::metrics_are_read_by_those_who_may", metrics),
];

pub(super) const WHILE: Duration = Duration::from_millis(1_500);

/// What a Cluster says for the time of a trial.
pub(super) struct Said<'a> {
    stand: &'a Stand,
    cluster: &'a str,
}

impl<'a> Said<'a> {
    pub(super) fn own(stand: &'a Stand, cluster: &'a str, also: &[&str]) -> Result<Self> {
        let said = Self { stand, cluster };
        said.say(&json!({"policy": "Own", "also": also}))?;
        Ok(said)
    }

    pub(super) fn say(&self, child_namespaces: &Value) -> Result<()> {
        let patch = json!({"spec": {"childNamespaces": child_namespaces}});
        self.stand.api("hub").merge_patch(&format!("{CLUSTERS}/{}", self.cluster), &patch).map(drop)
    }
}

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.say(&Value::Null) {
            eprintln!("childNamespaces of {} stay: {error:#}", self.cluster);
        }
    }
}

/// Somebody with every right in one namespace of the hub, and none anywhere else.
pub(super) fn tenant(stand: &Stand, namespace: &str) -> Result<Api> {
    let api = stand.api("hub");
    let of_namespace = format!("/api/v1/namespaces/{namespace}");
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}});
    api.apply(&format!("{of_namespace}/serviceaccounts/tenant"), &account)?;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "tenant"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    api.apply(&format!("{rbac}/roles/tenant"), &role)?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "tenant"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
        "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}]});
    api.apply(&format!("{rbac}/rolebindings/tenant"), &binding)?;
    let kubeconfig =
        stand.env.account_kubeconfig("hub", (namespace, "tenant"), Duration::from_secs(24 * 3600))?;
    let file = stand.env.dir().join(format!("tenant-{namespace}.kubeconfig"));
    std::fs::write(&file, kubeconfig)?;
    Api::from_kubeconfig(&file)
}

/// The tenant makes an instance in their namespace.
pub(super) fn makes(tenant: &Api, kind: &Kind, metadata: &Value, spec: &Value) -> Result<Value> {
    let body =
        json!({"apiVersion": "kro.run/v1alpha1", "kind": kind.kind, "metadata": metadata, "spec": spec});
    // Rights and kinds are known a moment after they are there.
    eventually(PATIENCE, "the tenant makes an instance", || tenant.post(&kind.collection(), &body))
}

pub(super) fn in_kube_system(stand: &Stand, cluster: &str, name: &str) -> Result<Option<Value>> {
    stand.api(cluster).get(&format!("/api/v1/namespaces/kube-system/configmaps/{name}"))
}

/// One resource where the instance says, one beside the instance, and one of the whole cluster.
const REACHER: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: reacher}
spec:
  schema: {apiVersion: v1alpha1, kind: Reacher, spec: {home: string, text: string | default=a}}
  resources:
  - id: there
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-there', namespace: '${schema.spec.home}'}
      data: {text: '${schema.spec.text}'}
  - id: here
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}-here'}
      data: {text: '${schema.spec.text}'}
";

fn bounded(stand: &Stand) -> Result<()> {
    let kind = stand.define(REACHER)?;
    let tenant = tenant(stand, "reacher")?;
    ensure!(
        tenant.get("/api/v1/namespaces/kube-system/configmaps").is_err(),
        "the tenant may read kube-system"
    );
    let said = Said::own(stand, "eu", &[])?;
    let placed = json!({"name": "sly", "annotations": {"hub.kro.run/clusters": "eu"}});
    makes(&tenant, &kind, &placed, &json!({"home": "kube-system"}))?;

    // Refused and named; what is beside it is there.
    let refused = kind.wait_reason("sly", "NamespaceNotAllowed")?;
    let message = text(&entry(&refused, "eu")?, "/message");
    for part in [
        "node there",
        "ConfigMap kube-system/sly-there",
        "Cluster eu (spec.childNamespaces)",
        "childNamespaces.also",
    ] {
        ensure!(message.contains(part), "{part:?} is not in {message}");
    }
    kind.wait_child("eu", "configmaps/sly-here", |c| c["data"]["text"] == "a")?;
    throughout(WHILE, "nothing in kube-system", || {
        ensure!(in_kube_system(stand, "eu", "sly-there")?.is_none(), "it was written");
        Ok(())
    })?;

    // As kro does, where nothing is said.
    said.say(&Value::Null)?;
    kind.wait_active("sly", &["eu"])?;
    let written = in_kube_system(stand, "eu", "sly-there")?.context("it is not in kube-system")?;

    // What stands stays as it is, whatever is edited; it goes with its instance.
    said.say(&json!({"policy": "Own", "also": null}))?;
    kind.wait_reason("sly", "NamespaceNotAllowed")?;
    kind.edit("sly", "{text: b}")?;
    kind.wait_child("eu", "configmaps/sly-here", |c| c["data"]["text"] == "b")?;
    let kept = in_kube_system(stand, "eu", "sly-there")?.context("it was deleted")?;
    ensure!(uid(&kept) == uid(&written) && kept["data"]["text"] == "a", "it was touched: {kept}");
    said.say(&json!({"policy": "Own", "also": ["kube-system"]}))?;
    kind.wait_active("sly", &["eu"])?;
    said.say(&json!({"policy": "Own", "also": null}))?;
    kind.wait_reason("sly", "NamespaceNotAllowed")?;
    // An override is the same word by another way.
    let meek = json!({"name": "meek", "annotations": {"hub.kro.run/clusters": "eu"}});
    makes(&tenant, &kind, &meek, &json!({"home": "reacher"}))?;
    kind.wait_active("meek", &["eu"])?;
    let placement = json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Placement", "metadata": {"name": "over"},
        "spec": {"instances": {"kind": "Reacher", "names": ["meek"]}, "clusters": {"names": ["eu"]},
            "overrides": [{"clusters": {"names": ["eu"]}, "spec": {"home": "kube-system"}}]}});
    tenant.post("/apis/hub.kro.run/v1alpha1/namespaces/reacher/placements", &placement)?;
    kind.wait_reason("meek", "NamespaceNotAllowed")?;
    ensure!(
        kind.child("eu", "configmaps/meek-there")?.is_some(),
        "what was there before the override is gone"
    );
    ensure!(in_kube_system(stand, "eu", "meek-there")?.is_none(), "it was written");
    tenant.delete("/apis/hub.kro.run/v1alpha1/namespaces/reacher/placements/over")?;
    kind.remove("meek")?;
    kind.remove("sly")?;
    ensure!(in_kube_system(stand, "eu", "sly-there")?.is_none(), "it is left behind");

    // A list says nothing beside Any.
    let mixed = said.say(&json!({"policy": "Any", "also": ["kube-system"]}));
    ensure!(
        format!("{:#}", mixed.err().context("it is taken")?).contains("also goes with policy: Own"),
        "other words"
    );
    Ok(())
}

/// A definition with one ConfigMap.
pub(super) fn simple(name: &str, kind: &str, resource: &str) -> String {
    let rgd = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: NAME}
spec:
  schema: {apiVersion: v1alpha1, kind: KIND, spec: {text: string | default=a}}
  resources:
  - id: note
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: RESOURCE
      data: {text: '${schema.spec.text}'}
";
    rgd.replace("NAME", name).replace("KIND", kind).replace("RESOURCE", resource)
}

/// Somebody else, in a namespace of their own.
pub(super) struct Other<'a> {
    kind: &'a Kind<'a>,
    namespace: String,
}

impl<'a> Other<'a> {
    pub(super) fn of(kind: &'a Kind<'a>) -> Result<Self> {
        let namespace = format!("{}-other", kind.rgd);
        kind.stand.api("hub").post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}))?;
        Ok(Self { kind, namespace })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("/apis/kro.run/v1alpha1/namespaces/{}/{}/{name}", self.namespace, self.kind.plural)
    }

    pub(super) fn create(&self, name: &str, clusters: &str) -> Result<()> {
        let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": self.kind.kind,
            "metadata": {"name": name, "annotations": {"hub.kro.run/clusters": clusters}}, "spec": {}});
        let all = self.path("");
        eventually(PATIENCE, "somebody else's instance", || {
            self.kind.stand.api("hub").post(all.trim_end_matches('/'), &body)
        })?;
        eventually(PATIENCE, "it is ACTIVE", || {
            let found = self.kind.stand.api("hub").get(&self.path(name))?.context("gone")?;
            ensure!(found["status"]["state"] == "ACTIVE", "{}", found["status"]);
            Ok(())
        })
    }

    /// Its mirror and its ConfigMaps on a cluster, as they are.
    pub(super) fn content(&self, cluster: &str, name: &str) -> Result<Vec<Value>> {
        let api = self.kind.stand.api(cluster);
        let mut all: Vec<Value> = api.get(&self.path(name))?.into_iter().collect();
        all.extend(api.list(&format!(
            "/api/v1/namespaces/{}/configmaps?labelSelector=kro.run/owned%3Dtrue",
            self.namespace
        ))?);
        ensure!(all.len() >= 2, "there are only {}", all.len());
        Ok(all)
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let api = self.kind.stand.api("hub");
        api.delete(&self.path(name))?;
        eventually(PATIENCE, "somebody else's instance gone", || {
            ensure!(api.get(&self.path(name))?.is_none(), "it is there");
            Ok(())
        })
    }
}

fn forged(stand: &Stand) -> Result<()> {
    let kind = stand.define(&simple("forger", "Forger", "{name: '${schema.metadata.name}-note'}"))?;
    let tenant = tenant(stand, "forger")?;
    let other = Other::of(&kind)?;
    other.create("theirs", "eu,us")?;
    let before: Vec<Vec<Value>> =
        ["eu", "us"].iter().map(|c| other.content(c, "theirs")).collect::<Result<_>>()?;
    let theirs = &before[0][0];
    let (applyset, hub_uid) = (
        theirs["metadata"]["labels"]["applyset.kubernetes.io/id"].clone(),
        theirs["metadata"]["labels"]["hub.kro.run/instance-uid"].clone(),
    );
    ensure!(applyset.is_string() && hub_uid.is_string(), "the mirror says {}", theirs["metadata"]);
    let id = theirs["metadata"]["labels"]["hub.kro.run/hub-id"].clone();
    let cases = [
        ("holds", json!({"annotations": {"hub.kro.run/holds": "eu,us"}})),
        ("decided", json!({"annotations": {"hub.kro.run/decided": "0000000000000000"}})),
        ("release", json!({"annotations": {"hub.kro.run/release": "us"}})),
        (
            "identity",
            json!({"labels": {"applyset.kubernetes.io/part-of": applyset, "hub.kro.run/instance-uid": hub_uid,
                "hub.kro.run/hub-id": id, "kro.run/owned": "true", "kro.run/instance-name": "theirs",
                "kro.run/instance-namespace": other.namespace}}),
        ),
        (
            "record",
            json!({"annotations": {"applyset.kubernetes.io/additional-namespaces": other.namespace,
                "applyset.kubernetes.io/contains-group-kinds": "ConfigMap"}}),
        ),
    ];
    for (name, metadata) in cases {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        metadata["annotations"]["hub.kro.run/clusters"] = json!("eu");
        makes(&tenant, &kind, &metadata, &json!({})).with_context(|| name.to_owned())?;
        kind.wait_active(name, &["eu"]).with_context(|| name.to_owned())?;
        tenant.delete(&kind.path(name))?;
        kind.wait_gone(name).with_context(|| name.to_owned())?;
        kind.wait_no_child("eu", &format!("configmaps/{name}-note"))?;
    }
    // The id of somebody else's ApplySet: as with kro, the deletion waits until it is taken off, and deletes nothing of theirs.
    let label = "applyset.kubernetes.io/id";
    let metadata =
        json!({"name": "set", "annotations": {"hub.kro.run/clusters": "eu"}, "labels": {label: applyset}});
    makes(&tenant, &kind, &metadata, &json!({}))?;
    kind.wait_active("set", &["eu"])?;
    tenant.delete(&kind.path("set"))?;
    eventually(PATIENCE, "the deletion says what it waits for", || {
        let said = kind.hub("set")?["status"].to_string();
        ensure!(said.contains("validate deletion inventory"), "{said}");
        Ok(())
    })?;
    kind.patch("set", &json!({"metadata": {"labels": {label: null}}}))?;
    kind.wait_gone("set")?;
    // On a spoke, in their own namespace: what says that it is a part of somebody else's instance is at most lost to them.
    let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "copy",
        "labels": before[0][1]["metadata"]["labels"], "annotations": before[0][1]["metadata"]["annotations"]}});
    stand.api("eu").post("/api/v1/namespaces/forger/configmaps", &copy)?;
    throughout(WHILE, "what is somebody else's stays as it is", || {
        for (cluster, before) in ["eu", "us"].iter().zip(&before) {
            let now = other.content(cluster, "theirs")?;
            let is = |o: &Value| (uid(o), text(o, "/metadata/resourceVersion"), text(o, "/metadata/name"));
            let (was, is): (Vec<_>, Vec<_>) = (before.iter().map(is).collect(), now.iter().map(is).collect());
            ensure!(was == is, "on {cluster}: {was:?}, then {is:?}");
        }
        Ok(())
    })?;
    other.remove("theirs")
}

fn collisions(stand: &Stand) -> Result<()> {
    // Longer than a label may be, and different only behind that.
    let (long_a, long_b) = (format!("{}-a", "n".repeat(70)), format!("{}-b", "n".repeat(70)));
    let kind = stand.define(&simple("longer", "Longer", "{name: '${schema.metadata.name}'}"))?;
    let other = Other::of(&kind)?;
    let tenant_api = tenant(stand, "longer")?;
    other.create(&long_a, "eu")?;
    for name in [&long_a, &long_b] {
        let placed = json!({"name": name, "annotations": {"hub.kro.run/clusters": "eu"}});
        makes(&tenant_api, &kind, &placed, &json!({}))?;
        kind.wait_active(name, &["eu"])?;
    }
    let theirs = other.content("eu", &long_a)?;
    kind.remove(&long_a)?;
    kind.wait_child("eu", &format!("configmaps/{long_b}"), |_| true)?;
    ensure!(kind.child("eu", &format!("configmaps/{long_a}"))?.is_none(), "it is left behind");
    ensure!(uid(&theirs[1]) == uid(&other.content("eu", &long_a)?[1]), "somebody else's was made anew");
    kind.remove(&long_b)?;
    other.remove(&long_a)?;

    // One name for all, in a namespace that is nobody's: the first has it.
    let kind = stand.define(&simple("meeting", "Meeting", "{name: meeting-point, namespace: default}"))?;
    let other = Other::of(&kind)?;
    let tenant = tenant(stand, "meeting")?;
    let at = "/api/v1/namespaces/default/configmaps/meeting-point";
    other.create("first", "eu").context("the first")?;
    let first = stand.api("eu").get(at)?.context("it is not there")?;
    let placed = json!({"name": "second", "annotations": {"hub.kro.run/clusters": "eu"}});
    makes(&tenant, &kind, &placed, &json!({"text": "mine"}))?;
    let refused = kind.wait_reason("second", "Conflict")?;
    ensure!(text(&entry(&refused, "eu")?, "/message").contains("first"), "{}", refused["status"]);
    kind.remove("second")?;
    let now = stand.api("eu").get(at)?.context("it went with the second")?;
    ensure!(uid(&now) == uid(&first) && now["data"] == first["data"], "it was touched: {now}");
    other.remove("first")
}

/// One more controller, which stands by, and is asked by TLS with a token.
fn metrics(stand: &Stand) -> Result<()> {
    let api = stand.api("hub");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "scrapes"}});
    api.apply("/api/v1/namespaces/scrapes", &namespace)?;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scrapes"},
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]});
    api.apply(&format!("{rbac}/clusterroles/scrapes"), &role)?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "scrapes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scrapes"},
        "subjects": [{"kind": "ServiceAccount", "name": "may", "namespace": "scrapes"}]});
    api.apply(&format!("{rbac}/clusterrolebindings/scrapes"), &binding)?;
    let args = vec!["--metrics-secure".to_owned()];
    let options = Options { name: "secure-metrics".into(), args, ..Options::default() };
    let controller = stand.another_controller(options)?;
    let asked = |token: &str| -> Result<String> {
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "m",
            "contexts": [{"name": "m", "context": {"cluster": "m", "user": "m"}}],
            "clusters": [{"name": "m", "cluster": {"insecure-skip-tls-verify": true,
                "server": format!("https://127.0.0.1:{}", controller.metrics_port())}}],
            "users": [{"name": "m", "user": if token.is_empty() { json!({}) } else { json!({"token": token}) }}]});
        let file = stand.env.dir().join("scrapes.kubeconfig");
        std::fs::write(&file, kubeconfig.to_string())?;
        Api::from_kubeconfig(&file)?.text("/metrics")
    };
    let mut tokens = Vec::new();
    for name in ["may", "may-not"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        api.apply(&format!("/api/v1/namespaces/scrapes/serviceaccounts/{name}"), &account)?;
        let kubeconfig = stand.env.account_kubeconfig("hub", ("scrapes", name), Duration::from_secs(3600))?;
        tokens.push(text(&parse(&kubeconfig)?, "/users/0/user/token"));
    }
    let told = eventually(PATIENCE, "metrics for who may", || asked(&tokens[0]))?;
    ensure!(told.contains("kro_hub_"), "no metrics: {told}");
    for (token, code) in [(tokens[1].as_str(), 403), ("rubbish", 401), ("", 401)] {
        let error = asked(token).err().with_context(|| format!("they are told, instead of {code}"))?;
        ensure!(format!("{error:?}").contains(&code.to_string()), "not {code}: {error:?}");
    }
    ensure!(controller.metrics().is_err(), "they are told without TLS");
    ensure!(stand.metrics()?.contains("kro_hub_"), "nobody is told where nothing is asked");
    controller.terminate()
}
