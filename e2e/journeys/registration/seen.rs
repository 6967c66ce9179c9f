//! Proofs that nothing happened: what is on a cluster, and what was asked of it.

use super::stage::{Stage, notes};
use crate::env::wait::throughout;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

pub const CLUSTERS: &str = "/apis/hub.kro.run/v1alpha1/clusters";
pub const NOTES: &str = "/apis/kro.run/v1alpha1/namespaces/{}/notes";

/// The conditions of a Cluster in one line.
pub fn conditions(cluster: &Value) -> String {
    let list = cluster.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let one = |c: &Value| {
        format!("{}={} {} {:?}", text(c, "type"), text(c, "status"), text(c, "reason"), text(c, "message"))
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Everything on a cluster that a hub could have written, by path, with uid and resourceVersion.
pub type Content = BTreeMap<String, (String, String)>;

impl Stage {
    /// Labelled or not: an object that lacks our label is seen too.
    pub fn content(&self, cluster: &str) -> Result<Content> {
        let mut out = Content::new();
        for path in [
            "/api/v1/configmaps",
            "/api/v1/namespaces",
            "/api/v1/secrets",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "/apis/kro.run/v1alpha1/notes",
        ] {
            let Some(list) = self.env.api(cluster).get(path)? else { continue };
            for item in list["items"].as_array().into_iter().flatten() {
                let meta = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
                let key = format!("{path} {}/{}", meta("namespace"), meta("name"));
                out.insert(key, (meta("uid"), meta("resourceVersion")));
            }
        }
        Ok(out)
    }

    /// What differs from `before`; empty when nothing was written or deleted.
    pub fn changed_since(&self, cluster: &str, before: &Content) -> Result<Vec<String>> {
        let now = self.content(cluster)?;
        let keys = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
        let changed = keys.filter(|key| before.get(*key) != now.get(*key));
        Ok(changed.map(|key| format!("{key}: {:?} -> {:?}", before.get(key), now.get(key))).collect())
    }

    pub fn unchanged(&self, cluster: &str, before: &Content) -> Result<()> {
        let changed = self.changed_since(cluster, before)?;
        ensure!(changed.is_empty(), "changed on {cluster}: {changed:#?}");
        Ok(())
    }

    /// Requests that meant to write, successful or not, as the cluster's own API server counted them, but for what API
    /// servers do among themselves.
    pub fn write_requests(&self, cluster: &str) -> Result<u64> {
        let text = self.env.api(cluster).text("/metrics")?;
        let mut sum = 0;
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let is = |key: &str, value: &str| line.contains(&format!("{key}=\"{value}\""));
            let writes = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
            let own = [
                "leases",
                "flowschemas",
                "prioritylevelconfigurations",
                "subjectaccessreviews",
                "tokenreviews",
                "apiservices",
                "endpointslices",
                "endpoints",
                "serviceaccounts",
                "clusterroles",
                "clusterrolebindings",
                "roles",
                "rolebindings",
                "priorityclasses",
                "services",
            ];
            if writes.iter().any(|verb| is("verb", verb)) && !own.iter().any(|name| is("resource", name)) {
                let value = line.rsplit(' ').next().unwrap_or_default();
                sum += value.parse::<f64>().with_context(|| format!("cannot read {line}"))? as u64;
            }
        }
        Ok(sum)
    }

    /// Watches that neither content changes nor a write is tried on a cluster.
    pub fn stays_untouched(&self, cluster: &str, time: std::time::Duration) -> Result<()> {
        let before = self.content(cluster)?;
        let requests = self.write_requests(cluster)?;
        throughout(time, &format!("{cluster} untouched"), || self.unchanged(cluster, &before))?;
        let tried = self.write_requests(cluster)? - requests;
        ensure!(tried == 0, "{tried} writes were tried on {cluster}");
        Ok(())
    }

    /// Requests of the controller to a cluster, by its own count.
    pub fn requests(&self, cluster: &str) -> Result<u64> {
        let text = self.on_controller(crate::env::controller::Controller::metrics)?;
        let series = format!("kro_hub_requests_total{{cluster=\"{cluster}\"");
        let values =
            text.lines().filter(|line| line.starts_with(&series)).filter_map(|l| l.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
    }

    /// Whether the children of an instance are on a cluster.
    pub fn children(&self, cluster: &str, note: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/namespaces/{}/configmaps", super::stage::HOME);
        let mut found = Vec::new();
        for child in ["first", "second"] {
            found.extend(self.env.api(cluster).get(&format!("{path}/{note}-{child}"))?);
        }
        Ok(found)
    }

    pub fn mirror(&self, cluster: &str, note: &str) -> Result<Option<Value>> {
        self.env.api(cluster).get(&format!("{}/{note}", notes(super::stage::HOME)))
    }
}
