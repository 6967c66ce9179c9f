//! Requests to one API server, blocking and quick, for reads that are timed or repeated.

use anyhow::{Context, Result};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().context("cannot start the async runtime")
}

/// A client with the rights of its kubeconfig.
#[derive(Clone)]
pub struct Api {
    client: Arc<kube::Client>,
}

impl Api {
    /// # Errors
    /// The kubeconfig cannot be read.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let kubeconfig =
            Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
        let client = runtime()?.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            // A frozen server must fail a probe, not hold it.
            config.connect_timeout = Some(Duration::from_secs(2));
            config.read_timeout = Some(Duration::from_secs(10));
            anyhow::Ok(kube::Client::try_from(config)?)
        })?;
        Ok(Self { client: Arc::new(client) })
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
    pub fn merge_patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, "application/merge-patch+json", Some(body))?
            .with_context(|| format!("{path} does not exist"))
    }

    /// Server-side apply of the object at `path`, as the field manager `test`, which takes over what it sets.
    ///
    /// # Errors
    /// No contact, or refused.
    pub fn apply(&self, path: &str, body: &Value) -> Result<Value> {
        let path = format!("{path}?fieldManager=test&force=true");
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
