//! Nothing secret in the log, however much of it is asked for.

use super::Run;
use super::stand::{PATIENCE, Stand, parse, text};
use crate::env::controller::Options;
use crate::env::eventually;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub const TRIALS: &[Run] =
    &[("tenants::a_log_of_everything_has_no_token_and_no_value_of_a_secret", everything)];

/// A Secret that is made, one that is read, and what is made of it; and one that the API server refuses.
const KEEPER: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: keeper}
spec:
  schema: {apiVersion: v1alpha1, kind: Keeper, spec: {type: string | default=Opaque}}
  resources:
  - id: read
    externalRef: {apiVersion: v1, kind: Secret, metadata: {name: given}}
  - id: made
    template:
      apiVersion: v1
      kind: Secret
      metadata: {name: '${schema.metadata.name}-made'}
      type: ${schema.spec.type}
      stringData: {own: canary-of-the-template, copied: '${string(read.data.word)}'}
";

/// What must not be found, and what it is.
fn canaries(stand: &Stand) -> Result<(Vec<(String, String)>, String)> {
    let mut all = Vec::new();
    let token = stand.env.least_kubeconfig("eu")?;
    all.push(("the token of eu".to_owned(), text(&parse(&token)?, "/users/0/user/token")));
    let certificate = parse(&stand.env.least_certificate("us")?)?;
    let key = text(&certificate, "/users/0/user/client-key-data");
    let pem = String::from_utf8(STANDARD.decode(&key)?)?;
    let line = pem.lines().nth(1).context("a key of one line")?.to_owned();
    all.push(("the key of us".to_owned(), key));
    all.push(("the key of us, as PEM".to_owned(), line));
    for word in ["canary-of-the-template", "canary-that-is-read"] {
        all.push((word.to_owned(), word.to_owned()));
        all.push((format!("{word}, encoded"), STANDARD.encode(word)));
        all.push((format!("{word}, encoded twice"), STANDARD.encode(STANDARD.encode(word))));
    }
    ensure!(all.iter().all(|(_, secret)| secret.len() > 12), "a canary is too short to be one");
    Ok((all, token))
}

fn everything(stand: &Stand) -> Result<()> {
    let kind = stand.define(KEEPER)?;
    for cluster in ["hub", "eu", "us"] {
        let body = json!({"metadata": {"name": "keeper"}});
        if stand.api(cluster).get("/api/v1/namespaces/keeper")?.is_none() {
            stand.api(cluster).post("/api/v1/namespaces", &body)?;
        }
        let given = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "given"},
            "stringData": {"word": "canary-that-is-read"}});
        stand.api(cluster).post("/api/v1/namespaces/keeper/secrets", &given)?;
    }
    let (canaries, token) = canaries(stand)?;
    stand.end_controller()?;
    let options = Options {
        name: "everything".into(),
        args: ["--log", "trace", "--metrics-secure"].map(str::to_owned).into(),
        env: vec![("RUST_LOG".into(), "trace".into())],
        ..Options::default()
    };
    let controller = stand.another_controller(options)?;
    let told = || -> Result<()> {
        stand.register("eu", &token)?;
        stand.register("us", &stand.env.least_certificate("us")?)?;
        ["eu", "us"].iter().try_for_each(|c| stand.env.wait_cluster_ready("hub", c, PATIENCE))?;
        kind.create("a", "eu,us", "{}")?;
        kind.wait_active("a", &["eu", "us"])?;
        let made = kind.wait_child("us", "secrets/a-made", |s| s["data"]["own"].is_string())?;
        ensure!(
            made["data"]["own"] == json!(STANDARD.encode("canary-of-the-template")),
            "it holds something else"
        );
        // What somebody writes over it, and what the API server refuses, is told of without its values.
        stand.api("eu").merge_patch(&kind.beside("secrets/a-made"), &json!({"data": {"own": "b3RoZXI="}}))?;
        kind.wait_child("eu", "secrets/a-made", |s| s["data"]["own"] != "b3RoZXI=")?;
        kind.create("refused", "eu", "{type: kubernetes.io/tls}")?;
        kind.wait_reason("refused", "NotReady")?;
        kind.remove("refused")?;
        kind.remove("a")
    };
    let told = told();
    controller.terminate()?;
    // The others go on as before, whatever came of this.
    stand.start_controller()?;
    for spoke in &stand.spokes {
        stand.register(spoke, &stand.env.least_kubeconfig(spoke)?)?;
    }
    stand.spokes.iter().try_for_each(|c| stand.env.wait_cluster_ready("hub", c, PATIENCE))?;
    told?;
    let log = std::fs::read_to_string(stand.env.dir().join("everything.log"))?;
    ensure!(log.contains("TRACE"), "it is no log of everything");
    for (what, canary) in &canaries {
        let found: Vec<&str> = log.lines().filter(|line| line.contains(canary.as_str())).collect();
        let shown = found.first().map(|line| line.replace(canary.as_str(), "<CANARY>"));
        ensure!(found.is_empty(), "{what} is in {} lines of the log, first {shown:?}", found.len());
    }
    // Nor in what people read.
    eventually(PATIENCE, "no canary in what the hub says", || {
        let mut said: Vec<Value> = stand.api("hub").list("/api/v1/events")?;
        said.extend(stand.api("hub").list("/apis/hub.kro.run/v1alpha1/clusters")?);
        let said = Value::Array(said).to_string();
        let found = canaries.iter().find(|(_, canary)| said.contains(canary.as_str()));
        ensure!(found.is_none(), "{:?}", found.map(|(what, _)| what));
        Ok(())
    })
}
