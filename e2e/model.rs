//! The model of an API server, held to a real one: both answer the same scripts.
//!
//! `KRO_HUB_TRUTH=record` writes down what the real one answers; the unit tests of the model compare with that.

use crate::env::api::runtime;
use crate::env::{Environment, Programs};
use crate::lanes::CLUSTERS;
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use apiserver_model::suite::{Ask, Said, Subject, TOPICS, model::Model, play};
use futures::{AsyncBufReadExt, StreamExt};
use http::{Request, header};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub fn trial() -> Trial {
    Trial::test("model::answers_as_a_real_server_does", || {
        CLUSTERS.run("model", || Ok(compare().map_err(|e| format!("{e:#}"))?))
    })
}

fn compare() -> Result<()> {
    let env = Environment::start_with(&scratch_folder().join("truth"), &["truth"], Programs::ServerOnly)?;
    let records = std::env::var("KRO_HUB_TRUTH").is_ok_and(|v| v == "record");
    let (mut asked, mut wrong) = (0, Vec::new());
    let mut real = Real::new(&env)?;
    for topic in TOPICS {
        let truth = play(topic.script, &mut real).map_err(anyhow::Error::msg)?;
        if records {
            let file = format!("apiserver-model/truth/{}.json", topic.name);
            let lines: Vec<String> = truth.iter().map(Value::to_string).collect();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n")))?;
        }
        let modelled = play(topic.script, &mut Model::default()).map_err(anyhow::Error::msg)?;
        ensure!(truth.len() == modelled.len(), "{}: not the same number of answers", topic.name);
        asked += truth.len();
        for (truth, modelled) in truth.iter().zip(&modelled).filter(|(a, b)| a != b) {
            wrong
                .push(format!("{}: {}\n  is       {truth}\n  modelled {modelled}", topic.name, truth["ask"]));
        }
    }
    ensure!(wrong.is_empty(), "{} of {asked} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// A real API server.
struct Real {
    client: kube::Client,
    tokens: BTreeMap<&'static str, String>,
    watches: BTreeMap<String, Receiver<String>>,
}

impl Real {
    fn new(env: &Environment) -> Result<Self> {
        let name = "truth";
        let admin = env.token_kubeconfig(name, "admin", Duration::from_secs(3600))?;
        let config = Kubeconfig::from_yaml(&admin)?;
        let api = env.api(name);
        api.post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "bob"}}))?;
        let path = "/api/v1/namespaces/default/serviceaccounts/bob/token";
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let bob = api.post(path, &request)?;
        let bob =
            bob.pointer("/status/token").and_then(Value::as_str).context("no token for bob")?.to_owned();
        let admin: Value = serde_json::from_str(&admin)?;
        let admin =
            admin.pointer("/users/0/user/token").and_then(Value::as_str).context("no token")?.to_owned();
        let client = runtime()?.block_on(async {
            let mut config =
                kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
            // Each request says who asks.
            config.auth_info = kube::config::AuthInfo::default();
            config.read_timeout = None;
            config.default_retry = false;
            anyhow::Ok(kube::Client::try_from(config)?)
        })?;
        let tokens = BTreeMap::from([("admin", admin), ("bob", bob), ("nobody", "nobody".to_owned())]);
        Ok(Self { client, tokens, watches: BTreeMap::new() })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Body>> {
        let token = self.tokens.get(ask.user.as_str()).context("no such user")?;
        let mut builder = Request::builder()
            .method(ask.method.as_str())
            .uri(&ask.path)
            .header(header::ACCEPT, &ask.accept)
            .header(header::USER_AGENT, "suite/1")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Some((media, _)) = &ask.body {
            builder = builder.header(header::CONTENT_TYPE, media);
        }
        let text = ask.body.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
        Ok(builder.body(Body::from(text.into_bytes()))?)
    }
}

impl Subject for Real {
    type Error = anyhow::Error;

    fn ask(&mut self, ask: &Ask) -> Result<Said> {
        let request = self.request(ask)?;
        runtime()?.block_on(async {
            let reply = self.client.send(request).await?;
            let text = |name: header::HeaderName| -> Vec<String> {
                reply
                    .headers()
                    .get_all(name)
                    .iter()
                    .filter_map(|v| v.to_str().ok().map(str::to_owned))
                    .collect()
            };
            let (status, content, warnings) =
                (reply.status().as_u16(), text(header::CONTENT_TYPE).concat(), text(header::WARNING));
            let body = reply.into_body().collect_bytes().await?;
            Ok(Said { status, content, warnings, body: String::from_utf8_lossy(&body).into_owned() })
        })
    }

    fn watch(&mut self, name: &str, ask: &Ask) -> Result<()> {
        let request = Request::from_parts(self.request(ask)?.into_parts().0, Vec::new());
        let (sender, receiver) = channel();
        let stream = runtime()?.block_on(self.client.request_stream(request))?;
        runtime()?.spawn(async move {
            let mut lines = stream.lines();
            while let Some(Ok(line)) = lines.next().await {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        self.watches.insert(name.to_owned(), receiver);
        Ok(())
    }

    fn events(&mut self, name: &str) -> Result<Vec<String>> {
        let receiver = self.watches.get(name).context("no such watch")?;
        let mut lines = Vec::new();
        // What was written before is told within this.
        while let Ok(line) = receiver.recv_timeout(Duration::from_millis(300)) {
            lines.push(line);
        }
        Ok(lines)
    }

    fn sleep(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }
}
