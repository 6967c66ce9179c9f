//! `kro-hub webhook`: its flags, and how it starts and stops.

use super::controller::{Address, LogFormat, address, log_to_stderr, stop_on_signal};
use super::gates::Gates;
use super::validate;
use crate::webhook::{Certificates, FailurePolicy, Judge, Life, Reached, Settings};
use anyhow::{Context, ensure};
use clap::{ArgAction, Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Kubeconfig of the hub; without it KUBECONFIG, then the service account of the pod
    #[arg(long, env = "KRO_HUB_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, env = "KRO_HUB_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the webhook: its Service, and the Secret of its certificates
    #[arg(long, env = "KRO_HUB_NAMESPACE", default_value = "kro-hub", value_name = "NAME")]
    namespace: String,
    /// Namespaces whose kubeconfig Secrets are judged [default: the webhook's and kro-system]
    #[arg(long, env = "KRO_HUB_CLUSTER_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    cluster_namespaces: Vec<String>,
    /// Whether kubeconfig Secrets are judged at all
    #[arg(long, default_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    secrets: bool,
    /// What API servers do with definitions and Clusters when the webhook does not answer; Secrets always pass
    #[arg(long, value_enum, default_value = "ignore")]
    failure_policy: Failing,
    /// Service by which API servers reach it
    #[arg(long, default_value = "kro-hub-webhook", value_name = "NAME")]
    service: String,
    /// Port of the Service
    #[arg(long, default_value = "443", value_name = "PORT")]
    service_port: u16,
    /// Address by which API servers reach it where no Service does; wins over --service
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = https)]
    url: Option<url::Url>,
    /// Name of the ValidatingWebhookConfiguration
    #[arg(long, default_value = "kro-hub", value_name = "NAME")]
    configuration: String,
    /// ClusterRole that the configuration is deleted with
    #[arg(long, default_value = "kro-hub-webhook", value_name = "NAME")]
    owner: String,
    /// Secret of the certificates that it makes
    #[arg(long, default_value = "kro-hub-webhook-tls", value_name = "NAME")]
    certificate_secret: String,
    /// Folder with tls.crt, tls.key and ca.crt that somebody else renews; none are made then
    #[arg(long, value_name = "FOLDER", conflicts_with = "certificate_secret")]
    certificate_dir: Option<PathBuf>,
    /// Address to serve at
    #[arg(long, env = "KRO_HUB_WEBHOOK_BIND_ADDRESS", default_value = ":9443", value_parser = address)]
    bind_address: Address,
    /// Address of /healthz and /readyz; 0 serves none
    #[arg(long, env = "KRO_HUB_HEALTH_PROBE_BIND_ADDRESS", default_value = ":8079", value_parser = address)]
    health_probe_bind_address: Address,
    /// kro's feature gates, as the controller has them
    #[arg(long, env = "KRO_HUB_FEATURE_GATES", default_value = "", value_name = "NAME=BOOL,…")]
    feature_gates: Gates,
    /// What is logged: a level, or a filter such as `kro_hub::webhook=debug`
    #[arg(long, env = "KRO_HUB_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is logged
    #[arg(long, env = "KRO_HUB_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Failing {
    /// Let them pass: the controller judges too
    Ignore,
    /// Refuse them
    Fail,
}

const DAY: u64 = 86_400;
const LIFE: Life = Life { authority: Duration::from_secs(365 * DAY), leaf: Duration::from_secs(90 * DAY) };

fn https(text: &str) -> Result<url::Url, String> {
    let wrong = || "write https://HOST or https://HOST:PORT".to_owned();
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let plain = url.scheme() == "https" && url.path() == "/" && url.query().is_none();
    let nobody = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if plain && nobody && url.host_str().is_some() { Ok(url) } else { Err(wrong()) }
}

impl Args {
    fn settings(self) -> anyhow::Result<Settings> {
        let address = self.bind_address.0.context("--bind-address: there is nothing to do without one")?;
        let mut cluster_namespaces = self.cluster_namespaces;
        if cluster_namespaces.is_empty() {
            cluster_namespaces = vec![self.namespace.clone(), "kro-system".into()];
        }
        ensure!(!self.namespace.is_empty(), "--namespace is empty");
        cluster_namespaces.sort();
        cluster_namespaces.dedup();
        Ok(Settings {
            kubeconfig: self.kubeconfig,
            context: self.context,
            namespace: self.namespace,
            cluster_namespaces,
            secrets: self.secrets,
            reached: match self.url {
                Some(url) => Reached::Url(url),
                None => Reached::Service { name: self.service, port: self.service_port },
            },
            failure_policy: match self.failure_policy {
                Failing::Ignore => FailurePolicy::Ignore,
                Failing::Fail => FailurePolicy::Fail,
            },
            configuration: self.configuration,
            owner: self.owner,
            certificates: match self.certificate_dir {
                Some(folder) => Certificates::Folder(folder),
                None => Certificates::Own { secret: self.certificate_secret, life: LIFE },
            },
            address,
            health_address: self.health_probe_bind_address.0,
            builtin: validate::builtin_version()?.to_owned(),
        })
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    log_to_stderr(&args.log, args.log_format)?;
    super::descriptors::raise();
    let omit = args.feature_gates.omit;
    let judge: Judge = Arc::new(move |definition, kinds, reading| {
        validate::judge(definition, kinds, reading, omit).map_err(|error| format!("{error:#}"))
    });
    let settings = args.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;
        Box::pin(crate::webhook::run(settings, judge, stop)).await.map_err(anyhow::Error::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_api_servers() {
        for text in ["https://127.0.0.1:9443", "https://hooks.example.org", "https://[::1]:1/"] {
            assert!(https(text).is_ok(), "{text}");
        }
        for text in
            ["http://h", "https://", "h:1", "https://h/review", "https://u@h", "https://h?x=1", "https://h#x"]
        {
            assert!(https(text).is_err(), "{text}");
        }
    }
}
