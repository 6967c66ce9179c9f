//! The bare minimum: the writes that kro-hub made, recorded from the API server's audit log and sent again by the same
//! client, as many at once and in the same order for each instance, with nothing to decide.

use super::site::{Site, Variant};
use super::stages::{self, CREATORS, Plan};
use super::watch::{Watch, active, name};
use super::workload::{INSTANCES, instance, names};
use crate::env::Programs;
use crate::env::api::runtime;
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use kro_hub::metrics::Metrics;
use kro_hub::spoke::client::HubClient;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use tokio::sync::Semaphore;

/// One recorded write.
struct Write {
    method: Method,
    path: String,
    content: &'static str,
    body: String,
    /// Moments in the recording.
    start: String,
    end: String,
}

/// What kro-hub wrote for each instance of a batch.
pub struct Recording {
    /// For each instance: its name, and writes in steps. Those of one step were under way at once.
    instances: Vec<(String, Vec<Vec<Write>>)>,
    at_once: usize,
}

/// Runs kro-hub on a server of its own with the largest batch of the plan.
pub fn record(dir: &Path, plan: &Plan) -> Result<Recording> {
    let mut site = Site::start(Variant::Local, dir, Programs::Audited)?;
    stages::prepare(&site)?;
    let watch = Watch::open(site.hub(), INSTANCES)?;
    site.hub().post(INSTANCES, &instance("first", None))?;
    watch.until(plan.patience(), |object| name(object) == "first" && active(object))?;
    let all = names(plan.largest());
    let bodies: Vec<_> = all.iter().map(|name| instance(name, None)).collect();
    let mut waiting: BTreeSet<String> = all.iter().cloned().collect();
    site.hub().post_all(INSTANCES, &bodies, CREATORS)?;
    watch.until(plan.patience(), |object| {
        if active(object) {
            waiting.remove(name(object));
        }
        waiting.is_empty()
    })?;
    std::thread::sleep(Duration::from_secs(2));
    site.stop_manager()?;
    let recording = Recording::read(&site.env.dir().join("hub/audit.log"), &all)?;
    let writes: usize = recording.instances.iter().flat_map(|(_, steps)| steps).map(Vec::len).sum();
    println!("  {writes} writes of {} instances, at most {} at once", all.len(), recording.at_once);
    Ok(recording)
}

impl Recording {
    fn read(log: &Path, all: &[String]) -> Result<Self> {
        let mut of: BTreeMap<&str, Vec<Write>> = all.iter().map(|name| (name.as_str(), Vec::new())).collect();
        for line in BufReader::new(File::open(log)?).lines() {
            let event: Value = serde_json::from_str(&line?).context("in the audit log")?;
            if !event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("kro-hub/")) {
                continue;
            }
            let object = event.pointer("/objectRef/name").and_then(Value::as_str).unwrap_or_default();
            if let (Some(writes), Some(write)) = (of.get_mut(object), Write::read(&event)) {
                writes.push(write);
            }
        }
        let empty = of.iter().find(|(_, writes)| writes.is_empty());
        ensure!(empty.is_none(), "no write of {:?} was recorded", empty.map(|(name, _)| name));
        let mut moments: Vec<(&str, i64)> =
            of.values().flatten().flat_map(|w| [(w.start.as_str(), 1), (w.end.as_str(), -1)]).collect();
        moments.sort_unstable();
        let (mut now, mut most) = (0, 1);
        for (_, change) in moments {
            now += change;
            most = most.max(now);
        }
        let instances = of.into_iter().map(|(name, writes)| (name.to_owned(), steps(writes))).collect();
        Ok(Self { instances, at_once: usize::try_from(most)? })
    }
}

impl Write {
    /// None for what is no write, or was refused.
    fn read(event: &Value) -> Option<Self> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let method = match text("/verb")?.as_str() {
            "patch" => Method::PATCH,
            "update" => Method::PUT,
            "create" => Method::POST,
            _ => return None,
        };
        if !event
            .pointer("/responseStatus/code")
            .and_then(Value::as_i64)
            .is_some_and(|c| (200..300).contains(&c))
        {
            return None;
        }
        let path = text("/requestURI")?;
        let content = match method {
            Method::PATCH if path.contains("force=true") => "application/apply-patch+yaml",
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut body = event.get("requestObject")?.clone();
        // They are those of the recording's objects.
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("uid");
            metadata.remove("resourceVersion");
        }
        let (start, end) = (text("/requestReceivedTimestamp")?, text("/stageTimestamp")?);
        Some(Self { method, path, content, body: body.to_string(), start, end })
    }

    /// As a request for an instance of another name.
    fn request(&self, recorded: &str, name: &str) -> Result<Request<Vec<u8>>> {
        let request = Request::builder()
            .method(self.method.clone())
            .uri(self.path.replace(recorded, name))
            .header("content-type", self.content)
            .header("accept", "application/json");
        Ok(request.body(self.body.replace(recorded, name).into_bytes())?)
    }
}

/// A write belongs to the step before as long as it began before any write of that step had ended.
fn steps(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    writes.sort_by(|a, b| a.start.cmp(&b.start));
    let mut steps: Vec<Vec<Write>> = Vec::new();
    for write in writes {
        match steps.last_mut() {
            Some(step) if step.iter().all(|other| write.start < other.end) => step.push(write),
            _ => steps.push(vec![write]),
        }
    }
    steps
}

/// Sends recordings with the client of kro-hub.
pub struct Sender {
    client: HubClient,
}

impl Sender {
    pub fn new(site: &Site) -> Result<Self> {
        let made = HubClient::from_environment(
            Some(site.env.kubeconfig("hub")),
            None,
            Metrics::default(),
            std::sync::Arc::new(kro_hub::spoke::host::ThisHost),
        );
        Ok(Self { client: runtime()?.block_on(made)? })
    }

    /// Creates instances of these names as a user does, and for each does what was recorded for one.
    pub fn send(&self, recording: &Recording, names: &[String]) -> Result<()> {
        let runtime = runtime()?;
        // The library's client has a task of its own.
        let kube = &{
            let _within = runtime.enter();
            self.client.kube()
        };
        let places = Semaphore::new(recording.at_once);
        let one = |name: String, recorded: &str, steps: &[Vec<Write>]| {
            let requests: Result<Vec<Vec<_>>> = steps
                .iter()
                .map(|step| step.iter().map(|write| write.request(recorded, &name)).collect())
                .collect();
            let places = &places;
            async move {
                for step in requests? {
                    let sent = step.into_iter().map(|request| async move {
                        let _place = places.acquire().await?;
                        kube.request::<Value>(request).await.map(drop).map_err(anyhow::Error::from)
                    });
                    futures::future::try_join_all(sent).await?;
                }
                anyhow::Ok(())
            }
        };
        let create = |name: &String| {
            let request = Request::post(INSTANCES).header("content-type", "application/json");
            let request = request.body(serde_json::to_vec(&instance(name, None)).unwrap_or_default());
            async move { anyhow::Ok(kube.request::<Value>(request?).await.map(drop)?) }
        };
        let pairs = names.iter().zip(&recording.instances);
        runtime.block_on(async {
            // As with the controller: the user creates so many at once, and each goes on by itself as soon as it exists.
            let chains = futures::stream::iter(pairs)
                .map(|(name, recorded)| async move {
                    create(name).await?;
                    anyhow::Ok((name, recorded))
                })
                .buffered(CREATORS)
                .map_ok(|(name, (recorded, steps))| one(name.clone(), recorded, steps));
            chains.try_buffer_unordered(names.len().max(1)).try_collect::<Vec<()>>().await.map(drop)
        })
    }
}
