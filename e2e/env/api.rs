//! Requests to one API server, blocking and quick, for reads that are timed or repeated.

use anyhow::{Context, Result};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

pub fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().context("cannot start the async runtime")
}

/// Runs beside the trial until the task is dropped.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<Task> {
    Ok(Task(runtime()?.spawn(work)))
}

/// A client with the rights of its kubeconfig.
#[derive(Clone)]
pub struct Api {
    client: Arc<kube::Client>,
    /// Without a time limit between two bytes, for watches.
    patient: Arc<kube::Client>,
}

/// Runs until it is dropped.
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Api {
    /// # Errors
    /// The kubeconfig cannot be read.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let kubeconfig =
            Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
        let clients = runtime()?.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            // A frozen server must fail a probe, not hold it.
            config.connect_timeout = Some(Duration::from_secs(2));
            let mut patient = config.clone();
            config.read_timeout = Some(Duration::from_secs(10));
            patient.read_timeout = None;
            anyhow::Ok((kube::Client::try_from(config)?, kube::Client::try_from(patient)?))
        })?;
        let (client, patient) = clients;
        Ok(Self { client: Arc::new(client), patient: Arc::new(patient) })
    }

    /// Gets a connection that answers, where the last one was idle for longer than the time between two bytes may be.
    ///
    /// # Errors
    /// No contact.
    pub fn wake(&self) -> Result<()> {
        super::eventually(Duration::from_secs(20), "the API server answers", || {
            self.text("/readyz").map(drop)
        })
    }

    /// The text at `path`, e.g. `/readyz`.
    ///
    /// # Errors
    /// No contact, or an answer other than 2xx.
    pub fn text(&self, path: &str) -> Result<String> {
        let request = Request::get(path).body(Vec::new())?;
        Ok(runtime()?.block_on(self.client.request_text(request))?)
    }

    /// The object at `path`; None when there is none.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        self.send(Method::GET, path, "application/json", None)
    }

    /// The items of the list at `path`.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.get(path)?.with_context(|| format!("{path} is not served"))?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// # Errors
    /// No contact, or refused.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::POST, path, "application/json", Some(body))?
            .with_context(|| format!("{path} is not served"))
    }

    /// # Errors
    /// No contact, or refused, or there is no such object.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PUT, path, "application/json", Some(body))?
            .with_context(|| format!("{path} does not exist"))
    }

    /// # Errors
    /// No contact, or refused, or there is no such object.
    pub fn merge_patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, "application/merge-patch+json", Some(body))?
            .with_context(|| format!("{path} does not exist"))
    }

    /// Server-side apply of the object at `path`, as the field manager `test`, which takes over what it sets.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn apply(&self, path: &str, body: &Value) -> Result<Value> {
        self.apply_as("test", path, body)
    }

    /// The same as this field manager.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn apply_as(&self, manager: &str, path: &str, body: &Value) -> Result<Value> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", Some(body))?
            .with_context(|| format!("{path} is not served"))
    }

    /// Deletes the object at `path`, if there is one.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, "application/json", None).map(drop)
    }

    /// Creates objects, so many at a time, in their order. Returns when the first was sent.
    ///
    /// # Errors
    /// No contact, or one is refused.
    pub fn post_all(&self, path: &str, bodies: &[Value], at_once: usize) -> Result<Instant> {
        let requests = bodies
            .iter()
            .map(|body| {
                let request = Request::post(path).header("content-type", "application/json");
                Ok(request.body(serde_json::to_vec(body)?)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        runtime()?.block_on(async {
            let sent = futures::stream::iter(requests).map(|request| self.client.request::<Value>(request));
            sent.buffered(at_once).try_for_each(|_| std::future::ready(Ok(()))).await
        })?;
        Ok(start)
    }

    /// The events of a watch, each with the moment it came, until the task is dropped or the server ends it.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn watch(&self, path: &str) -> Result<(Task, Receiver<(Instant, Value)>)> {
        let request = Request::get(path).body(Vec::new())?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let runtime = runtime()?;
        let stream = runtime.block_on(self.patient.request_stream(request))?;
        let task = runtime.spawn(async move {
            let mut lines = stream.lines();
            while let Some(Ok(line)) = lines.next().await {
                let at = Instant::now();
                let Ok(event) = serde_json::from_str(&line) else { break };
                if sender.send((at, event)).is_err() {
                    break;
                }
            }
        });
        Ok((Task(task), receiver))
    }

    fn send(&self, method: Method, path: &str, content: &str, body: Option<&Value>) -> Result<Option<Value>> {
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("content-type", content)
            .header("accept", "application/json")
            .body(bytes)?;
        match runtime()?.block_on(self.client.request::<Value>(request)) {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{method} {path}")),
        }
    }
}
