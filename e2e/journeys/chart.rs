//! The Helm chart: what it renders, what it refuses, and a hub that runs on exactly the rights that it gives.

use super::stand::{CLUSTERS, PATIENCE, RGDS, parse};
use crate::env::controller::{Controller, Hub, NAMESPACE, Options};
use crate::env::webhook::Webhook;
use crate::env::{Environment, assets, eventually};
use crate::lanes::CLUSTERS as LANE;
use crate::scratch_folder;
use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "chart::installs_upgrades_and_runs_on_the_rights_that_it_gives";
const CHART: &str = "deploy/chart";
/// Sets of values that people have, each of its own file.
const SETS: &str = "deploy/chart/ci";
const VALID: Duration = Duration::from_secs(3_600);

/// Values that are refused, and a word of what helm says.
const REFUSED: &[(&str, &str)] = &[
    ("replicaCount=two", "replicaCount"),
    ("imagee.tag=1", "imagee"),
    ("image.digest=latest", "digest"),
    ("rbac.mode=all", "mode"),
    ("serviceAccount.create=false", "name the ServiceAccount"),
    ("clusterNamespaces[0]=UPPER", "clusterNamespaces"),
    ("defaultPlacement=everywhere", "defaultPlacement"),
    ("localChildNamespaces=own", "localChildNamespaces"),
    ("metrics.secure=maybe", "secure"),
    ("groups[0]=nodots", "groups"),
    ("log.format=xml", "format"),
    ("webhook.failurePolicy=Deny", "failurePolicy"),
    ("webhook.port=1", "port"),
];

pub fn trial() -> Trial {
    Trial::test(NAME, || {
        LANE.run(NAME, || {
            // A machine that cannot reach the Go modules proves nothing about the chart.
            let helm = match assets::helm() {
                Ok(helm) => Helm(helm),
                Err(error) => {
                    eprintln!("\nSKIPPED {NAME}: helm cannot be had here: {error:#}\n");
                    return Ok(());
                }
            };
            whole_life(&helm).map_err(|error| format!("{error:#}").into())
        })
    })
}

struct Helm(PathBuf);

impl Helm {
    /// Runs helm as somebody who has no configuration of their own.
    fn run(&self, args: &[&str]) -> Result<String> {
        let home = scratch_folder().join("helm");
        let output = Command::new(&self.0)
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HOME", &home)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .output()
            .context("cannot run helm")?;
        if !output.status.success() {
            bail!("helm {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn template(&self, more: &[&str]) -> Result<Vec<Value>> {
        let args = ["template", "kro-hub", CHART, "--namespace", NAMESPACE, "--kube-version", "1.37.0"];
        objects(&self.run(&[&args[..], more].concat())?)
    }
}

fn whole_life(helm: &Helm) -> Result<()> {
    helm.run(&["lint", "--strict", CHART])?;
    refusals(helm)?;
    let env = Environment::start(&scratch_folder().join("chart"), &["hub", "eu"])?;
    as_kustomize_has_it(helm, &env)?;
    value_sets(helm, &env)?;
    installed(helm, &env)
}

fn refusals(helm: &Helm) -> Result<()> {
    for (values, says) in REFUSED {
        match helm.template(&["--set", values]) {
            Ok(_) => bail!("{values} is taken"),
            Err(error) => ensure!(format!("{error:#}").contains(says), "{values}: {error:#}"),
        }
    }
    Ok(())
}

/// With the defaults, both ways to install give the same objects.
fn as_kustomize_has_it(helm: &Helm, env: &Environment) -> Result<()> {
    let text = env.kubectl("hub", &["kustomize", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy")])?;
    let mut by_kustomize = plain(objects(&text)?);
    ensure!(by_kustomize.remove("Namespace kro-hub").is_some(), "no Namespace in deploy");
    let by_helm = plain(helm.template(&[])?);
    for (name, object) in &by_kustomize {
        let other = by_helm.get(name).with_context(|| format!("the chart has no {name}"))?;
        ensure!(other == object, "{name}:\n  kustomize {object}\n  chart     {other}");
    }
    let more: Vec<&String> = by_helm.keys().filter(|name| !by_kustomize.contains_key(*name)).collect();
    ensure!(more.is_empty(), "deploy has no {more:?}");
    Ok(())
}

/// What each set of values renders is what its golden says, and is taken by the API server, field for field. After a change
/// that is meant, `INSTA_UPDATE=always` writes the goldens anew.
fn value_sets(helm: &Helm, env: &Environment) -> Result<()> {
    let api = env.api("hub");
    for namespace in [NAMESPACE, "team-a"] {
        api.post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}))?;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(SETS))?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let defaults = helm.template(&[])?;
    ensure!(files.len() >= 8, "{SETS} has {} files", files.len());
    for file in files {
        let file = file.display().to_string();
        let rendered = helm.template(&["--values", &file])?;
        let name = Path::new(&file).file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        insta::assert_snapshot!(name.trim_end_matches("-values"), differs(&rendered, &defaults));
        // Kinds of the Prometheus operator and of cert-manager are not served here.
        let is_elsewhere = |o: &Value| {
            let version = o["apiVersion"].as_str().unwrap_or_default();
            version.starts_with("monitoring.coreos.com/") || version.starts_with("cert-manager.io/")
        };
        let served = rendered.iter().filter(|o| !is_elsewhere(o));
        let text: Vec<String> = served.map(Value::to_string).collect();
        ensure!(text.len() >= 8, "{file}: {} objects", text.len());
        let args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-"];
        env.kubectl_with("hub", &args, &text.join("\n---\n")).with_context(|| file.clone())?;
    }
    Ok(())
}

/// What a set of values renders, as far as it is not what the defaults do: whole objects, and the names of the others.
fn differs(rendered: &[Value], defaults: &[Value]) -> String {
    let name = |object: &Value| {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = Some(text("/metadata/namespace")).filter(|n| !n.is_empty()).map(|n| format!("{n}/"));
        format!("{} {}{}", text("/kind"), place.unwrap_or_default(), text("/metadata/name"))
    };
    let known: BTreeMap<String, &Value> = defaults.iter().map(|o| (name(o), o)).collect();
    let here: BTreeMap<String, &Value> = rendered.iter().map(|o| (name(o), o)).collect();
    let mut out = String::new();
    let is_first = rendered == defaults;
    for (name, object) in &here {
        let mark = match known.get(name) {
            Some(other) if other == object && !is_first => "= ",
            Some(_) => "~ ",
            None => "+ ",
        };
        out.push_str(&format!("{mark}{name}\n"));
        // CRDs are files of their own.
        if mark != "= " && object["kind"] != "CustomResourceDefinition" {
            let yaml = serde_saphyr::to_string(object).unwrap_or_else(|error| error.to_string());
            out.extend(yaml.lines().map(|line| format!("    {line}\n")));
        }
    }
    out.extend(known.keys().filter(|name| !here.contains_key(*name)).map(|name| format!("- {name}\n")));
    out
}

/// Install, run, upgrade, roll back, uninstall.
fn installed(helm: &Helm, env: &Environment) -> Result<()> {
    let api = env.api("hub");
    let kubeconfig = env.kubeconfig("hub").display().to_string();
    let on_hub = |verb: &[&str], more: &[&str]| {
        let place = ["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig];
        helm.run(&[verb, &place[..], more].concat())
    };
    on_hub(&["install", "kro-hub", CHART], &["--set", "clusterNamespaces={team-a}"])?;
    let deployment = |api: &crate::env::api::Api| -> Result<Value> {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kro-hub");
        api.get(&path)?.context("there is no Deployment")
    };
    runs(env, &deployment(api)?)?;

    on_hub(
        &["upgrade", "kro-hub", CHART],
        &["--set", "replicaCount=3", "--set", "groups={shop.example.org}"],
    )?;
    ensure!(deployment(api)?["spec"]["replicas"] == 3);
    on_hub(&["rollback", "kro-hub", "1"], &[])?;
    ensure!(deployment(api)?["spec"]["replicas"] == 2);
    on_hub(&["upgrade", "kro-hub", CHART], &["--set", "webhook.enabled=true"])?;
    webhook(env)?;
    on_hub(&["uninstall", "kro-hub"], &[])?;
    eventually(PATIENCE, "the configuration of the webhook goes with the chart", || {
        ensure!(api.get(&format!("{CONFIGURATIONS}/kro-hub"))?.is_none());
        Ok(())
    })?;
    let crd =
        |name: &str| api.get(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"));
    for name in ["clusters.hub.kro.run", "resourcegraphdefinitions.kro.run", "things.kro.run"] {
        ensure!(crd(name)?.is_some(), "{name} went with the release, and all its objects");
    }
    let left = api.list(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector=app.kubernetes.io/name%3Dkro-hub",
    )?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// The webhook, with the arguments of its Deployment and the rights of its ServiceAccount. Nobody can reach its Service here.
fn webhook(env: &Environment) -> Result<()> {
    let api = env.api("hub");
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kro-hub-webhook");
    let deployment = api.get(&path)?.context("there is no Deployment of the webhook")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let given = pod["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut args: Vec<String> = given.skip(1).map(str::to_owned).collect();
    args.extend(["--url".to_owned(), Webhook::url(env.dir(), "webhook")?]);
    let account = pod["serviceAccountName"].as_str().context("no ServiceAccount")?;
    let kubeconfig = scratch_folder().join("chart-webhook.kubeconfig");
    fs::write(&kubeconfig, env.account_kubeconfig("hub", (NAMESPACE, account), VALID)?)?;
    let webhook = Webhook::spawn(env.dir(), "webhook", &kubeconfig, &args)?;
    webhook.wait_ready()?;
    let log = || format!("its log ends with:\n{}", webhook.log_tail(15));
    let mut wrong = parse(RGD)?;
    wrong["metadata"]["name"] = json!("other");
    wrong["spec"]["resources"][0]["template"]["data"] = json!("${schema.spec.txt}");
    eventually(PATIENCE, "a wrong definition is refused", || {
        match api.post(&format!("{RGDS}?dryRun=All"), &wrong) {
            Ok(_) => bail!("it is taken"),
            Err(error) => ensure!(format!("{error:#}").contains("definitions.hub.kro.run"), "{error:#}"),
        }
        Ok(())
    })
    .with_context(log)?;
    // A breaking change: it looks at the CRD and at all instances.
    let change = json!({"spec": {"schema": {"spec": {"text": "integer"}},
        "resources": [{"id": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "${schema.metadata.name}"}, "data": {"text": "${string(schema.spec.text)}"}}}]}});
    match api.merge_patch(&format!("{RGDS}/thing?dryRun=All"), &change) {
        Ok(_) => bail!("a breaking change is taken; {}", log()),
        Err(error) => ensure!(format!("{error:#}").contains("breaking changes"), "{error:#}; {}", log()),
    }
    let said = webhook.log_tail(200);
    ensure!(!said.contains("orbidden"), "a right is missing: {said}");
    webhook.terminate()
}

const RGD: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: thing}
spec:
  schema: {apiVersion: v1alpha1, kind: Thing, spec: {text: string | default=hello}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {text: '${schema.spec.text}'}}
";

/// The binary, with the arguments of the Deployment and a token of its ServiceAccount.
fn runs(env: &Environment, deployment: &Value) -> Result<()> {
    let api = env.api("hub");
    let pod = &deployment["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().context("no ServiceAccount")?;
    let container = &pod["containers"][0];
    let args = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).skip(1);
    let variables = container["env"].as_array().into_iter().flatten();
    let value = |v: &Value| v["value"].as_str().unwrap_or(NAMESPACE).to_owned();
    let variables = variables.filter_map(|v| Some((v["name"].as_str()?.to_owned(), value(v))));
    let options =
        Options { args: args.map(str::to_owned).collect(), env: variables.collect(), ..Options::default() };
    let kubeconfig = scratch_folder().join("chart-account.kubeconfig");
    fs::write(&kubeconfig, env.account_kubeconfig("hub", (NAMESPACE, account), VALID)?)?;
    let hub = Controller::start_at(Hub { dir: env.dir(), kubeconfig: &kubeconfig, api }, options)?;
    let log = || format!("its log ends with:\n{}", hub.log_tail(15));

    env.register("hub", "eu", &[])?;
    env.wait_cluster_ready("hub", "eu", PATIENCE).with_context(log)?;
    api.post(RGDS, &parse(RGD)?)?;
    let things = "/apis/kro.run/v1alpha1/namespaces/team-a/things";
    let thing = |name: &str, words: Value| json!({"apiVersion": "kro.run/v1alpha1", "kind": "Thing", "metadata": {"name": name, "annotations": words}});
    eventually(PATIENCE, "the kind is served", || {
        api.post(things, &thing("one", json!({"hub.kro.run/clusters": "eu"})))
    })
    .with_context(log)?;
    eventually(PATIENCE, "the instance is ACTIVE", || {
        let one = api.get(&format!("{things}/one"))?.unwrap_or_default();
        ensure!(one["status"]["state"] == "ACTIVE", "{}", one["status"]);
        Ok(())
    })
    .with_context(log)?;
    let child = env.api("eu").get("/api/v1/namespaces/team-a/configmaps/one")?;
    ensure!(child.is_some(), "no child on eu");
    clusters(api)?;
    policies(api, things, &thing)?;
    let told = hub.metrics()?;
    let refused = told.lines().find(|l| l.contains("requests_total") && l.contains("code=\"403\""));
    ensure!(refused.is_none(), "a right is missing: {refused:?}; {}", log());
    hub.terminate()
}

/// A Cluster says in one way how it is reached, and keeps to it.
fn clusters(api: &crate::env::api::Api) -> Result<()> {
    let of = |spec: Value| json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": "two"}, "spec": spec});
    let secret = json!({"secretRef": {"name": "eu", "namespace": NAMESPACE}});
    for spec in [json!({}), json!({"local": false}), json!({"local": true, "credentials": secret})] {
        match api.post(&format!("{CLUSTERS}?dryRun=All"), &of(spec.clone())) {
            Ok(_) => bail!("a Cluster with spec {spec} is taken"),
            Err(error) => ensure!(format!("{error:#}").contains("write one of the two"), "{spec}: {error:#}"),
        }
    }
    let change = json!({"spec": {"credentials": null, "local": true}});
    match api.merge_patch(&format!("{CLUSTERS}/eu?dryRun=All"), &change) {
        Ok(_) => bail!("a spoke becomes the hub itself"),
        Err(error) => ensure!(format!("{error:#}").contains("local does not change"), "{error:#}"),
    }
    Ok(())
}

/// What the admission policies refuse, and what they let pass.
fn policies(api: &crate::env::api::Api, things: &str, thing: &dyn Fn(&str, Value) -> Value) -> Result<()> {
    // They are in force a moment after they are there.
    eventually(PATIENCE, "words that nobody can read are refused", || {
        let words = [
            json!({"hub.kro.run/clusters": "eu; us"}),
            json!({"hub.kro.run/cluster-selector": "region in eu"}),
        ];
        for words in words {
            match api.post(things, &thing("unreadable", words.clone())) {
                Ok(_) => {
                    api.delete(&format!("{things}/unreadable"))?;
                    bail!("{words} is taken");
                }
                Err(error) => ensure!(format!("{error:#}").contains("metadata.annotations"), "{error:#}"),
            }
        }
        Ok(())
    })?;
    let readable = [
        json!({"hub.kro.run/clusters": " eu ,,us-1.example , *, @local"}),
        json!({"hub.kro.run/cluster-selector": "a=b, c != d,e in (f, g),h notin (i),j,!k,l=="}),
        json!({"hub.kro.run/clusters": "", "hub.kro.run/cluster-selector": ""}),
    ];
    for words in readable {
        let body = thing("readable", words);
        api.post(&format!("{things}?dryRun=All"), &body).with_context(|| body.to_string())?;
    }
    let one = format!("{things}/one");
    let holds = |value: Value| {
        api.merge_patch(&one, &json!({"metadata": {"annotations": {"hub.kro.run/holds": value}}}))
    };
    for lost in [json!(null), json!(""), json!("us")] {
        match holds(lost.clone()) {
            Ok(_) => bail!("the record of where it runs can be made {lost}"),
            Err(error) => ensure!(format!("{error:#}").contains("takes a name out of it: eu"), "{error:#}"),
        }
    }
    api.merge_patch(&one, &json!({"spec": {"text": "an edit"}})).map(|_| ())
}

fn objects(text: &str) -> Result<Vec<Value>> {
    let all = serde_saphyr::from_multiple::<Value>(text).context("no YAML")?;
    Ok(all.into_iter().filter(|o| !o.is_null()).collect())
}

/// By kind and name, without what only helm adds.
fn plain(all: Vec<Value>) -> BTreeMap<String, Value> {
    let mut plain = BTreeMap::new();
    for mut object in all {
        if let Some(meta) = object["metadata"].as_object_mut() {
            for (map, ours) in [("labels", "app.kubernetes.io/name"), ("annotations", "")] {
                if let Some(entries) = meta.get_mut(map).and_then(Value::as_object_mut) {
                    entries.retain(|key, _| {
                        !(key.starts_with("helm.sh/")
                            || (key.starts_with("app.kubernetes.io/") && key != ours))
                    });
                    // kustomize has it on some objects only.
                    entries.remove("app.kubernetes.io/name");
                }
                if meta.get(map).is_some_and(|m| m.as_object().is_some_and(serde_json::Map::is_empty)) {
                    meta.remove(map);
                }
            }
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        plain.insert(format!("{kind} {name}"), object);
    }
    plain
}
