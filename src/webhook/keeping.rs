//! Keeps what API servers need to reach the webhook: its certificates, and the configuration that says where it is.
//!
//! Replicas share one Secret and write it only as they read it, so the first to renew does so for all. Before a new
//! certificate is shown, its authority stands in the configuration, beside those of certificates that others still show.

use super::certificate::{self, Due, Stored};
use super::configuration::{self, Wanted};
use super::{Certificates, Settings};
use crate::hub::resources;
use crate::hub::tls::{Pair, Shown, certified};
use crate::spoke::client::{ApiError, HubClient};
use kube::core::ApiResource;
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// API servers hear of another configuration by then.
const HEARD: Duration = Duration::from_secs(5);
/// Other replicas may write first so many times.
const TRIES: usize = 10;
const MANAGER: &str = "kro-hub-webhook";

/// Keeps certificates and configuration.
pub struct Keeper {
    pub client: HubClient,
    pub settings: Settings,
    pub shown: Shown,
    pub ready: Arc<AtomicBool>,
}

/// What to serve, and the authorities that speak for it.
struct Present {
    key: CertifiedKey,
    authorities: String,
}

impl Keeper {
    /// Looks again and again.
    pub async fn keep(&self) {
        let (mut told, mut served) = (String::new(), String::new());
        loop {
            let pause = match self.look(&mut served).await {
                Ok(()) => {
                    told.clear();
                    LOOK
                }
                Err(why) => {
                    // Once: it may be so for long.
                    if why != told {
                        tracing::error!("{why}");
                    }
                    told = why;
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// `served`: the authorities of the certificate that is shown.
    async fn look(&self, served: &mut String) -> Result<(), String> {
        let present = match &self.settings.certificates {
            Certificates::Own { secret, .. } => self.own(secret).await?,
            Certificates::Folder(folder) => of_folder(folder).await?,
        };
        // It serves before anybody is told to ask; from then on, whoever asks trusts the next one before it is shown.
        if self.shown.is_empty() {
            self.shown.set(present.key);
            served.clone_from(&present.authorities);
            self.configure(&present.authorities).await?;
            self.ready.store(true, Ordering::Release);
            return Ok(());
        }
        let is_new = !self.shown.is(&present.key);
        // Until the new one is shown, the one that is shown has to be trusted too.
        let changed = self.configure(&format!("{}\n{served}", present.authorities)).await?;
        if is_new {
            if changed {
                tokio::time::sleep(HEARD).await;
            }
            self.shown.set(present.key);
            *served = present.authorities;
            tracing::info!("a new certificate is served");
        }
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Our own certificates, made anew where that is due.
    async fn own(&self, name: &str) -> Result<Present, String> {
        let namespace = self.settings.namespace.as_str();
        let place = format!("Secret {namespace}/{name}");
        let secrets = resources::secrets();
        for _ in 0..TRIES {
            let found = self.client.at(&secrets, namespace, name).get().await;
            let found = found.map_err(|error| format!("reading {place}: {error}"))?;
            let stored = found.as_ref().map(Stored::read).transpose();
            let stored = stored.map_err(|why| {
                format!("{place}: {why}; delete it, or name another one with --certificate-secret")
            })?;
            let stored = stored.flatten();
            let Some(renewed) = self.renewed(stored.as_ref())? else {
                if let Some(stored) = stored {
                    let key = certified(&stored.leaf).map_err(|why| format!("{place}: {why}"))?;
                    return Ok(Present { key, authorities: stored.authorities() });
                }
                continue;
            };
            let written = match found {
                None => {
                    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                        "metadata": {"name": name, "namespace": namespace}, "data": renewed.data()});
                    if let Some((owner, uid)) = self.owner().await {
                        secret["metadata"]["ownerReferences"] = owner_reference(owner, &uid);
                    }
                    self.client.create(&secrets, namespace, &secret).await
                }
                // With the version that was read: who comes second is refused, and reads what the first one wrote.
                Some(mut secret) => {
                    secret["data"] = renewed.data();
                    self.client.at(&secrets, namespace, name).replace(&secret).await
                }
            };
            match written {
                Ok(_) => tracing::info!("{place}: new certificates"),
                Err(ApiError::Conflict { .. } | ApiError::AlreadyExists | ApiError::NotFound) => {}
                Err(error) => return Err(format!("writing {place}: {error}")),
            }
        }
        Err(format!("{place} is written by somebody else again and again"))
    }

    /// New certificates, if any are due.
    fn renewed(&self, stored: Option<&Stored>) -> Result<Option<Stored>, String> {
        let Certificates::Own { life, .. } = &self.settings.certificates else { return Ok(None) };
        let names = self.settings.reached.names(&self.settings.namespace);
        let now = jiff::Timestamp::now().as_second();
        let is_usable = stored.is_none_or(|stored| certified(&stored.leaf).is_ok());
        let due = match certificate::due(stored, &names, now) {
            Due::Nothing if is_usable => return Ok(None),
            Due::Nothing => Due::Authority,
            due => due,
        };
        let made = certificate::renewed(stored, due, &names, (*life, now));
        made.map(Some).map_err(|error| format!("making a certificate for {names:?}: {error}"))
    }

    /// Writes the configuration; says whether API servers trust another authority from now on.
    async fn configure(&self, authorities: &str) -> Result<bool, String> {
        let settings = &self.settings;
        let (resource, name) = (configurations(), settings.configuration.as_str());
        let what = format!("ValidatingWebhookConfiguration {name}");
        let found = self.client.at(&resource, "", name).get().await;
        let found = found.map_err(|error| format!("reading {what}: {error}"))?;
        let before = found.as_ref().map(configuration::bundle_of).unwrap_or_default();
        let bundle = certificate::bundle(authorities, &before, jiff::Timestamp::now().as_second());
        if bundle.is_empty() {
            return Err("no authority of the webhook's certificate is valid: renew ca.crt".to_owned());
        }
        let owner = self.owner().await;
        let wanted = Wanted {
            name,
            namespace: &settings.namespace,
            reached: &settings.reached,
            failure_policy: settings.failure_policy,
            secrets: if settings.secrets { &settings.cluster_namespaces } else { &[] },
            owner: owner.as_ref().map(|(name, uid)| (*name, uid.as_str())),
        };
        let object = configuration::object(&wanted, &bundle);
        let written = self.client.at(&resource, "", name).apply(MANAGER, &object).await;
        written.map_err(|error| format!("writing {what}: {error}"))?;
        if found.is_none() {
            tracing::info!("{what} is there: API servers ask from now on");
        }
        Ok(before != bundle)
    }

    /// The ClusterRole that all goes with, by name and uid. Without it, what is written stays when the chart goes.
    async fn owner(&self) -> Option<(&str, String)> {
        let name = self.settings.owner.as_str();
        let found = self.client.at(&cluster_roles(), "", name).get_metadata().await;
        match found {
            Ok(found) => {
                let uid = found?.pointer("/metadata/uid").and_then(Value::as_str)?.to_owned();
                Some((name, uid))
            }
            Err(error) => {
                tracing::warn!(%error, "reading ClusterRole {name} failed");
                None
            }
        }
    }
}

fn owner_reference(name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": name, "uid": uid}])
}

async fn of_folder(folder: &Path) -> Result<Present, String> {
    let read = |name: &'static str| {
        let path = folder.join(name);
        async move {
            let text = tokio::fs::read_to_string(&path).await;
            text.map_err(|error| format!("--certificate-dir: {}: {error}", path.display()))
        }
    };
    let pair = Pair { certificate: read("tls.crt").await?, key: read("tls.key").await? };
    let key = certified(&pair).map_err(|why| format!("--certificate-dir {}: {why}", folder.display()))?;
    Ok(Present { key, authorities: read("ca.crt").await? })
}

fn configurations() -> ApiResource {
    resource(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
}

fn cluster_roles() -> ApiResource {
    resource("rbac.authorization.k8s.io", "ClusterRole", "clusterroles")
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: kind.into(),
        plural: plural.into(),
    }
}
