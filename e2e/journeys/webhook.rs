//! The admission webhook before a real API server: what is wrong for good is refused when it is written, in the words of
//! `kro-hub validate`.

use super::stand::{CLUSTERS, PATIENCE, RGDS};
use crate::env::controller::{Controller, NAMESPACE, Options, binary};
use crate::env::webhook::Webhook;
use crate::env::{Environment, Programs, eventually};
use crate::lanes::CLUSTERS as LANE;
use crate::scratch_folder;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kro-hub";

/// Wrong in four ways that no CRD heals.
const WRONG: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: hookwrong}
spec:
  schema: {apiVersion: v1alpha1, kind: Hookwrong, spec: {size: integer}}
  resources:
  - id: one
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${two.metadata.name}'}, data: {size: '${schema.spec.siez}'}}
  - id: two
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${one.metadata.name}'}, data: {text: '${1 +}'}}
  - id: three
    template: {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: many}}
";

/// Its second resource is of a kind that nobody serves yet.
const EARLY: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: hookearly}
spec:
  schema: {apiVersion: v1alpha1, kind: Hookearly, spec: {text: string}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {text: '${schema.spec.text}'}}
  - id: later
    template: {apiVersion: later.example.org/v1, kind: Later, metadata: {name: '${schema.metadata.name}'}, spec: {a: 1}}
";

const SIZED: &str = "
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: hooksized, annotations: {kro.run/allow-breaking-changes: 'ALLOWED'}}
spec:
  schema: {apiVersion: v1alpha1, kind: Hooksized, spec: {size: TYPE}}
  resources:
  - id: config
    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.name}'}, data: {size: '${string(schema.spec.size)}'}}
";

pub fn trial() -> Trial {
    Trial::test("webhook::refuses_at_once_what_nothing_heals", || {
        LANE.run("webhook", || whole_life().map_err(|error| format!("{error:#}").into()))
    })
}

fn whole_life() -> Result<()> {
    let env = Environment::start_with(&scratch_folder().join("webhook"), &["hub"], Programs::ServerOnly)?;
    let controller = Controller::start(&env, Options::default())?;
    let url = Webhook::url(env.dir(), "webhook")?;
    let start = |name: &str| {
        let args = ["--url", &url].map(str::to_owned);
        Webhook::spawn(env.dir(), name, env.kubeconfig("hub"), &args)
    };
    // Both make certificates, and one of them is the first.
    let (webhook, second) = (start("webhook")?, start("webhook-2")?);
    webhook.wait_ready()?;
    second.wait_ready()?;
    second.terminate()?;
    let told =
        |result: Result<()>| result.with_context(|| format!("its log ends with:\n{}", webhook.log_tail(12)));
    told(definitions(&env))?;
    told(breaking_changes(&env))?;
    told(secrets(&env))?;
    told(local_clusters(&env))?;
    told(renewal(&env))?;
    webhook.terminate()?;
    let taken = env.apply("hub", WRONG).context("without the webhook")?;
    ensure!(taken.contains("hookwrong"), "{taken}");
    eventually(PATIENCE, "the controller judges what the webhook could not", || {
        let found = env.api("hub").get(&format!("{RGDS}/hookwrong"))?.context("gone")?;
        ensure!(found["status"]["state"] == "Inactive", "{}", found["status"]);
        Ok(())
    })?;
    let again = start("webhook")?;
    again.wait_ready()?;
    what_is_wrong_already(&env)?;
    again.terminate()?;
    kept_by_somebody_else(&env, &url)?;
    controller.terminate()
}

/// What kubectl says when it is refused.
fn refused(env: &Environment, args: &[&str], yaml: &str) -> Result<String> {
    match env.kubectl_says("hub", &[args, &["-f", "-"]].concat(), Some(yaml)) {
        Ok(said) => bail!("it is taken: {}{}", said.out, said.aside),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn definitions(env: &Environment) -> Result<()> {
    // An API server asks a moment after it was told to.
    let said = eventually(PATIENCE, "a wrong definition is refused", || {
        let said = refused(env, &["apply", "--dry-run=server"], WRONG)?;
        ensure!(said.contains("admission webhook \"definitions.hub.kro.run\" denied the request"), "{said}");
        Ok(said)
    })?;
    let lines = of_validate(env, WRONG)?;
    ensure!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        ensure!(said.contains(&line), "validate says {line:?}, the webhook:\n{said}");
    }
    refused(env, &["apply"], WRONG)?;
    ensure!(env.api("hub").get(&format!("{RGDS}/hookwrong"))?.is_none(), "it was stored");

    let early = env.kubectl_says("hub", &["apply", "-f", "-"], Some(EARLY))?;
    let warned =
        "Warning: spec.resources[1].template.kind: nobody is known to serve later.example.org/v1 Later";
    ensure!(early.aside.contains(warned), "{:?}", early.aside);
    Ok(())
}

/// What `kro-hub validate` says of a definition, as the webhook writes it.
fn of_validate(env: &Environment, yaml: &str) -> Result<Vec<String>> {
    let file = env.dir().join("judged.yaml");
    fs::write(&file, yaml)?;
    let output = Command::new(binary()?).args(["validate", "-o", "json"]).arg(&file).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten().filter(|f| f["severity"] == "error");
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let help = if finding["help"].is_null() { String::new() } else { format!("; {}", text("help")) };
        format!("{}: {}{help}", text("path"), text("message"))
    };
    Ok(findings.map(line).collect())
}

fn breaking_changes(env: &Environment) -> Result<()> {
    let sized = |type_: &str, allowed: &str| SIZED.replace("TYPE", type_).replace("ALLOWED", allowed);
    env.apply("hub", &sized("string", "false"))?;
    let instances = "/apis/kro.run/v1alpha1/namespaces/default/hooksizeds";
    let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Hooksized", "metadata": {"name": "secretive"}, "spec": {"size": "large"}});
    eventually(PATIENCE, "the kind is served", || env.api("hub").post(instances, &body))?;
    let said = refused(env, &["apply"], &sized("integer", "false"))?;
    ensure!(
        said.contains("spec.schema: cannot update CRD hooksizeds.kro.run: breaking changes detected"),
        "{said}"
    );
    ensure!(!said.contains("secretive"), "it names an instance to whoever asks: {said}");
    env.kubectl_with("hub", &["apply", "--dry-run=server", "-f", "-"], &sized("integer", "true"))?;
    env.kubectl_with(
        "hub",
        &["apply", "--dry-run=server", "-f", "-"],
        &sized("string | description=\"how large\"", "false"),
    )?;
    Ok(())
}

fn secrets(env: &Environment) -> Result<()> {
    let authority = CertificateParams::default().self_signed(&KeyPair::generate()?)?.pem();
    let authority = STANDARD.encode(authority);
    let kubeconfig = |user: Value| {
        json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://eu.example.org", "certificate-authority-data": authority}}],
            "users": [{"name": "u", "user": user}]})
        .to_string()
    };
    let secret = |namespace: &str, label: &str, text: String| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooked", "namespace": namespace,
            "labels": {label: "true"}}, "stringData": {"kubeconfig": text}})
        .to_string()
    };
    let program =
        || kubeconfig(json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh"}}));
    let dry = ["apply", "--dry-run=server"];
    for label in ["hub.kro.run/cluster", "kro.run/cluster", "sigs.k8s.io/multicluster-runtime-kubeconfig"] {
        let said = refused(env, &dry, &secret(NAMESPACE, label, program()))?;
        ensure!(said.contains("Secret kro-hub/hooked: users[0].user.exec: programs are not run"), "{said}");
    }
    let taken = [
        secret(NAMESPACE, "hub.kro.run/cluster", kubeconfig(json!({"token": "sesame"}))),
        // Nobody looks at those.
        secret("default", "hub.kro.run/cluster", program()),
        secret(NAMESPACE, "app", program()),
    ];
    for yaml in taken {
        env.kubectl_with("hub", &[&dry[..], &["-f", "-"]].concat(), &yaml)?;
    }
    Ok(())
}

fn local_clusters(env: &Environment) -> Result<()> {
    let local = |name: &str| json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": {"local": true}});
    env.apply("hub", &local("here").to_string())?;
    let said = refused(env, &["apply"], &local("too").to_string())?;
    ensure!(said.contains("spec.local: Cluster here stands for the hub itself already"), "{said}");
    env.kubectl("hub", &["label", "cluster.hub.kro.run", "here", "tier=one"])?;
    env.api("hub").delete(&format!("{CLUSTERS}/here"))?;
    eventually(PATIENCE, "the first is gone", || {
        ensure!(env.api("hub").get(&format!("{CLUSTERS}/here"))?.is_none());
        Ok(())
    })?;
    env.kubectl_with("hub", &["apply", "--dry-run=server", "-f", "-"], &local("too").to_string())?;
    Ok(())
}

/// An authority that grew old is replaced while it serves, and not one question goes unanswered meanwhile.
fn renewal(env: &Environment) -> Result<()> {
    let api = env.api("hub");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/kro-hub-webhook-tls");
    let old = aged()?;
    api.merge_patch(&path, &json!({"data": old}))?;
    let renewed = || -> Result<bool> {
        let data = api.get(&path)?.context("no Secret")?["data"].clone();
        Ok(data["ca.crt"] != old["ca.crt"] && data["ca-before.crt"] == old["ca.crt"])
    };
    let begin = std::time::Instant::now();
    let mut after = None;
    loop {
        // Without an answer it would be taken.
        let said =
            refused(env, &["apply", "--dry-run=server"], WRONG).context("while certificates change")?;
        ensure!(said.contains("denied the request"), "{said}");
        if after.is_none() && renewed()? {
            after = Some(std::time::Instant::now());
        }
        // The new one is shown some seconds after it is written.
        if after.is_some_and(|at| at.elapsed() > Duration::from_secs(12)) {
            break;
        }
        ensure!(begin.elapsed() < PATIENCE, "it is not renewed");
    }
    let configuration = api.get(CONFIGURATION)?.context("no configuration")?;
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let bundle = String::from_utf8(STANDARD.decode(bundle)?)?;
    ensure!(
        bundle.matches("BEGIN CERTIFICATE").count() == 3,
        "the first, the aged and the new one: {bundle}"
    );
    Ok(())
}

/// As with cert-manager: a folder has the certificate, and another one later, each its own authority.
fn kept_by_somebody_else(env: &Environment, url: &str) -> Result<()> {
    // What is stored already and comes again is taken.
    env.api("hub").delete(&format!("{RGDS}/hookwrong"))?;
    eventually(PATIENCE, "the definition is gone", || {
        ensure!(env.api("hub").get(&format!("{RGDS}/hookwrong"))?.is_none(), "it is there");
        Ok(())
    })?;
    let folder = env.dir().join("certificates");
    issue(&folder, "first")?;
    let args = ["--url", url, "--certificate-dir", &folder.display().to_string()].map(str::to_owned);
    let webhook = Webhook::spawn(env.dir(), "webhook", env.kubeconfig("hub"), &args)?;
    webhook.wait_ready()?;
    // Another authority than that of the certificates before: API servers hear of it in a moment.
    eventually(PATIENCE, "the API server trusts the first certificate", || {
        refused(env, &["apply", "--dry-run=server"], WRONG).map(drop)
    })?;
    issue(&folder, "second")?;
    let second = fs::read_to_string(folder.join("ca.crt"))?;
    let begin = std::time::Instant::now();
    let mut after = None;
    while after.is_none_or(|at: std::time::Instant| at.elapsed() < Duration::from_secs(12)) {
        // Without an answer it would be taken.
        let said = refused(env, &["apply", "--dry-run=server"], WRONG).context("while the folder changes")?;
        ensure!(said.contains("denied the request"), "{said}");
        let configuration = env.api("hub").get(CONFIGURATION)?.context("no configuration")?;
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        if after.is_none() && String::from_utf8(STANDARD.decode(bundle)?)?.contains(second.trim()) {
            after = Some(std::time::Instant::now());
        }
        ensure!(begin.elapsed() < PATIENCE, "the second certificate is not trusted: {}", webhook.log_tail(9));
    }
    ensure!(webhook.log_tail(2_000).contains("a new certificate is served"), "{}", webhook.log_tail(20));
    webhook.terminate()
}

/// Puts a new certificate into a folder as kubelets do: all files at once.
fn issue(folder: &Path, name: &str) -> Result<()> {
    let mut certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    certificate.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let pem = certificate.self_signed(&key)?.pem();
    let version = folder.with_file_name(format!("certificates-{name}"));
    fs::create_dir_all(&version)?;
    for (file, text) in [("tls.crt", &pem), ("ca.crt", &pem), ("tls.key", &key.serialize_pem())] {
        fs::write(version.join(file), text)?;
    }
    let link = folder.with_file_name("certificates-next");
    std::os::unix::fs::symlink(&version, &link)?;
    Ok(fs::rename(link, folder)?)
}

/// Data of a Secret with an authority, and a certificate of it, of which two thirds are over.
fn aged() -> Result<Value> {
    const DAY: u64 = 86_400;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let at = |days: i64| {
        let seconds = i64::try_from(now).unwrap_or_default() + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or(DAY))
    };
    let mut authority = CertificateParams::new(Vec::new())?;
    (authority.not_before, authority.not_after) = (at(-300), at(65));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "an aged authority");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let authority_key_pem = authority_key.serialize_pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    (leaf.not_before, leaf.not_after) = (at(-80), at(10));
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &issuer)?.pem();
    Ok(json!({
        "ca.crt": STANDARD.encode(authority_pem), "ca.key": STANDARD.encode(authority_key_pem),
        "tls.crt": STANDARD.encode(leaf), "tls.key": STANDARD.encode(key.serialize_pem()),
    }))
}

/// Who changes something else of what is wrong already is not held up.
fn what_is_wrong_already(env: &Environment) -> Result<()> {
    eventually(PATIENCE, "the webhook is asked again", || {
        refused(env, &["create", "--dry-run=server"], &WRONG.replace("hookwrong}", "hookother}")).map(drop)
    })?;
    env.kubectl("hub", &["annotate", "resourcegraphdefinition", "hookwrong", "owner=me"])?;
    refused(env, &["apply"], &WRONG.replace("integer", "string")).map(drop)
}
