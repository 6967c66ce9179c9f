//! The kinds that a cluster serves.

use crate::api::Gvk;
use crate::schema::openapi::{self, Document};
use anyhow::{Context, anyhow};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a cluster, for reading only.
pub struct Live {
    client: kube::Client,
    runtime: tokio::runtime::Runtime,
    server: String,
}

impl Live {
    /// # Errors
    /// The kubeconfig cannot be read, or has no such context.
    pub fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let read = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path).with_context(|| path.display().to_string())?,
            None => Kubeconfig::read().context("kubeconfig")?,
        };
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let (client, server) = runtime.block_on(async {
            let mut config =
                kube::Config::from_custom_kubeconfig(read, &options).await.context("kubeconfig")?;
            config.connect_timeout = Some(TIMEOUT);
            config.read_timeout = Some(TIMEOUT);
            let server = config.cluster_url.to_string();
            anyhow::Ok((kube::Client::try_from(config).context("kubeconfig")?, server))
        })?;
        Ok(Self { client, runtime, server })
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = Request::get(path).body(Vec::new())?;
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, self.client.request::<Value>(request)).await });
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => {
                Err(anyhow!("cannot read {path} of {}: {} {}", self.server, status.code, status.message))
            }
            Ok(Err(error)) => {
                // The innermost error tells what really happened.
                let error = anyhow::Error::from(error);
                Err(anyhow!("cannot read {path} of {}: {}", self.server, error.root_cause()))
            }
            Err(_) => Err(anyhow!("no answer from {} within {} s", self.server, TIMEOUT.as_secs())),
        }
    }

    /// The documents that hold these kinds, as far as the cluster has them.
    ///
    /// # Errors
    /// The cluster does not answer, or not as an API server.
    pub fn documents(&self, kinds: &BTreeSet<Gvk>) -> anyhow::Result<Vec<Document>> {
        let index = openapi::index(&self.get("/openapi/v3")?);
        let names: BTreeSet<String> = kinds.iter().map(openapi::document_of).collect();
        let urls = names.iter().filter_map(|name| index.get(name));
        urls.map(|url| Document::new(self.get(url)?).map_err(|e| anyhow!("{url} of {}: {e}", self.server)))
            .collect()
    }

    /// The file of the built-in kinds, from all that the cluster serves.
    ///
    /// # Errors
    /// As [`Self::documents`].
    pub fn bundle(&self) -> anyhow::Result<Vec<u8>> {
        let version = self.get("/version")?;
        let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let index = openapi::index(&self.get("/openapi/v3")?);
        let urls = index.iter().filter(|(name, _)| name.starts_with("api/") || name.starts_with("apis/"));
        let documents = urls.map(|(_, url)| self.get(url)).collect::<anyhow::Result<Vec<_>>>()?;
        super::bundle::write(&version, &documents)
    }
}
