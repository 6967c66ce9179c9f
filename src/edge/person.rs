//! Who runs a command: the kubeconfig and the flags that say as whom, and to which cluster.
//!
//! The kubeconfig is the person's own, so what it asks for is done as kubectl does it: credential plugins run, and files are
//! read.

use super::connection::Connection;
use super::failure::{Failure, Sort};
use crate::access::register::Way;
use crate::spoke::client::PersonClient;
use crate::spoke::host::ThisHost;
use base64::Engine;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the flags say, as those of kubectl do.
#[derive(Clone, Debug)]
pub struct Flags {
    /// The one file; without it `KUBECONFIG`, then `~/.kube/config`, then the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the hub; without it the present one.
    pub context: Option<String>,
    pub namespace: Option<String>,
    pub user: Option<String>,
    pub groups: Vec<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A person, and what their kubeconfig holds.
#[derive(Clone)]
pub struct Person {
    flags: Flags,
    /// `None`: there is none, and this process is a pod.
    file: Option<Kubeconfig>,
}

impl Person {
    /// Reads the kubeconfig; connects to nothing.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn new(flags: Flags) -> Result<Self, Failure> {
        let read = match &flags.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map(Some),
            None => match Kubeconfig::read() {
                // Where none is given and none is there, a pod has its service account.
                Err(KubeconfigError::ReadConfig(error, _))
                    if error.kind() == std::io::ErrorKind::NotFound && is_pod() =>
                {
                    Ok(None)
                }
                read => read.map(Some),
            },
        };
        let file = read.map_err(|error| unreadable(&error))?;
        if let (None, Some(context)) = (&file, &flags.context) {
            return Err(Failure::usage(format!(
                "there is no kubeconfig, so no context {context:?}; give --kubeconfig"
            )));
        }
        Ok(Self { flags, file })
    }

    /// The names of the contexts, in the order of the file.
    pub fn contexts(&self) -> Vec<&str> {
        let all = self.file.iter().flat_map(|file| &file.contexts);
        all.map(|context| context.name.as_str()).collect()
    }

    pub fn has_context(&self, name: &str) -> bool {
        self.contexts().contains(&name)
    }

    /// The context that the hub is reached by.
    ///
    /// # Errors
    /// None is chosen.
    pub fn hub_context(&self) -> Result<&str, Failure> {
        let Some(file) = &self.file else { return Ok("in-cluster") };
        let chosen = self.flags.context.as_deref().or(file.current_context.as_deref());
        chosen.filter(|name| !name.is_empty()).ok_or_else(|| {
            let text = format!("no context is chosen; give --context: {}", self.listed());
            Failure::usage(text)
        })
    }

    fn listed(&self) -> String {
        let names = self.contexts();
        if names.is_empty() { "the kubeconfig has none".into() } else { names.join(", ") }
    }

    /// The hub: the context of the flags, else the present one.
    ///
    /// # Errors
    /// No such context, or what it names cannot be used.
    pub async fn hub(&self) -> Result<Connection, Failure> {
        let name = self.hub_context()?.to_owned();
        self.connect(&name).await
    }

    /// A cluster by a context of the person, as whom the flags say. It is not asked yet, and nobody knows who answers.
    ///
    /// # Errors
    /// As [`Self::hub`].
    pub async fn connect(&self, context: &str) -> Result<Connection, Failure> {
        let mut config = self.config(context).await?;
        if let Some(user) = &self.flags.user {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !self.flags.groups.is_empty() {
            if config.auth_info.impersonate.is_none() {
                return Err(Failure::usage("--as-group needs --as"));
            }
            config.auth_info.impersonate_groups = Some(self.flags.groups.clone());
        }
        let namespace = self.flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let (name, of) = (context.to_owned(), context.to_owned());
        let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        let plugin = plugin.map(|command| format!(" (with its credential plugin {command})"));
        let plugin = plugin.unwrap_or_default();
        // A credential plugin may take its time.
        let built = tokio::task::spawn_blocking(move || {
            PersonClient::new(&name, &config, &(Arc::new(ThisHost) as _)).map_err(|error| error.to_string())
        });
        let client = match built.await {
            Ok(Ok(client)) => client,
            Ok(Err(why)) => {
                return Err(Failure::new(
                    Sort::Usage,
                    format!("context {of} cannot be used{plugin}: {why}"),
                    why,
                ));
            }
            Err(ended) => return Err(Failure::new(Sort::Other, format!("context {of}: {ended}"), &ended)),
        };
        Ok(Connection::new(&of, &server, &namespace, (*client).clone(), self.flags.timeout))
    }

    /// How the cluster of a context is reached, as somebody else would reach it.
    ///
    /// # Errors
    /// No such context, or its server is not verified.
    pub fn way(&self, context: &str) -> Result<Way, Failure> {
        let Some(file) = &self.file else {
            return Err(Failure::usage("there is no kubeconfig; give --kubeconfig"));
        };
        let found = file.contexts.iter().find(|c| c.name == context).and_then(|c| c.context.as_ref());
        let Some(named) = found else {
            let text = format!("the kubeconfig has no context {context:?}; it has: {}", self.listed());
            return Err(Failure::usage(text));
        };
        let cluster = file.clusters.iter().find(|c| c.name == named.cluster).and_then(|c| c.cluster.as_ref());
        let server = cluster.and_then(|c| c.server.clone());
        let (Some(cluster), Some(server)) = (cluster, server) else {
            return Err(Failure::usage(format!(
                "context {context}: its cluster {:?} has no server",
                named.cluster
            )));
        };
        if cluster.insecure_skip_tls_verify == Some(true) {
            return Err(Failure::usage(format!(
                "context {context}: insecure-skip-tls-verify is set, and the hub trusts nobody unseen; give --ca-file"
            )));
        }
        let unreadable = |why: String| Failure::usage(format!("context {context}: {why}"));
        let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(data), _) => {
                let clean: String = data.split_whitespace().collect();
                let decoded = base64::engine::general_purpose::STANDARD.decode(clean);
                Some(decoded.map_err(|_| unreadable("certificate-authority-data is not base64".into()))?)
            }
            (None, Some(path)) => Some(
                std::fs::read(path)
                    .map_err(|error| unreadable(format!("certificate-authority {path}: {error}")))?,
            ),
            (None, None) => None,
        };
        let server = server.trim_end_matches('/').to_owned();
        Ok(Way { server, authority, tls_server_name: cluster.tls_server_name.clone() })
    }

    async fn config(&self, context: &str) -> Result<Config, Failure> {
        let Some(file) = &self.file else {
            return Config::incluster()
                .map_err(|e| Failure::new(Sort::Usage, format!("the service account of this pod: {e}"), &e));
        };
        if !self.has_context(context) {
            let text = format!("the kubeconfig has no context {context:?}; it has: {}", self.listed());
            return Err(Failure::usage(text));
        }
        if let Some(proxy) = self.proxy_of(file, context) {
            return Err(Failure::usage(format!(
                "context {context}: proxy-url {proxy:?} is not supported; reach the cluster without a proxy"
            )));
        }
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(file.clone(), &options)
            .await
            .map_err(|e| Failure::new(Sort::Usage, format!("context {context} cannot be used: {e}"), &e))
    }

    fn proxy_of(&self, file: &Kubeconfig, context: &str) -> Option<String> {
        let context = file.contexts.iter().find(|c| c.name == context)?.context.as_ref()?;
        let cluster = file.clusters.iter().find(|c| c.name == context.cluster)?.cluster.as_ref()?;
        cluster.proxy_url.clone().filter(|url| !url.is_empty())
    }
}

fn is_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn unreadable(error: &KubeconfigError) -> Failure {
    let text = match error {
        KubeconfigError::ReadConfig(why, path) if why.kind() == std::io::ErrorKind::NotFound => {
            format!("there is no kubeconfig {}; give --kubeconfig, or set KUBECONFIG", path.display())
        }
        KubeconfigError::ReadConfig(why, path) => {
            format!("kubeconfig {} cannot be read: {why}", path.display())
        }
        other => format!("the kubeconfig cannot be read: {other}"),
    };
    Failure::new(Sort::Usage, text, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: hub
contexts:
- {name: hub, context: {cluster: h, user: u, namespace: shop}}
- {name: eu-1, context: {cluster: e, user: p}}
- {name: far, context: {cluster: f, user: u}}
clusters:
- {name: h, cluster: {server: 'https://h.example:6443/'}}
- {name: e, cluster: {server: 'https://e.example:6443'}}
- {name: f, cluster: {server: 'https://f.example:6443', proxy-url: 'socks5://p:1080'}}
users:
- {name: u, user: {token: t}}
- name: p
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /does/not/exist, interactiveMode: Never}}
";

    fn person(flags: impl FnOnce(&mut Flags)) -> Person {
        let mut all = Flags {
            kubeconfig: None,
            context: None,
            namespace: None,
            user: None,
            groups: Vec::new(),
            timeout: Duration::from_secs(10),
        };
        flags(&mut all);
        Person { flags: all, file: Some(Kubeconfig::from_yaml(FILE).unwrap()) }
    }

    /// `context server namespace`, or the failure.
    async fn check(person: Person, context: Option<&str>, expect: &str) {
        let connection = match context {
            Some(context) => person.connect(context).await,
            None => person.hub().await,
        };
        let got = match connection {
            Ok(c) => format!("{} {} {}", c.name, c.server, c.namespace),
            Err(failure) => failure.text,
        };
        assert_eq!(got, expect);
    }

    #[tokio::test]
    async fn contexts_are_chosen_as_with_kubectl() {
        check(person(|_| ()), None, "hub https://h.example:6443 shop").await;
        check(person(|f| f.namespace = Some("n".into())), None, "hub https://h.example:6443 n").await;
        check(
            person(|f| f.context = Some("nope".into())),
            None,
            "the kubeconfig has no context \"nope\"; it has: hub, eu-1, far",
        )
        .await;
        check(
            person(|_| ()),
            Some("far"),
            "context far: proxy-url \"socks5://p:1080\" is not supported; reach the cluster without a proxy",
        )
        .await;
        check(person(|f| f.groups = vec!["dev".into()]), None, "--as-group needs --as").await;
        let mut none = person(|_| ());
        none.file.as_mut().unwrap().current_context = None;
        check(none, None, "no context is chosen; give --context: hub, eu-1, far").await;
    }

    /// It is run, and its failure names the context.
    #[tokio::test]
    async fn the_credential_plugin_of_the_persons_own_kubeconfig_runs() {
        let failure = person(|_| ()).connect("eu-1").await.err().unwrap();
        let expect = "context eu-1 cannot be used (with its credential plugin /does/not/exist): ";
        assert!(failure.text.starts_with(expect), "{failure}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let mut flags = person(|_| ()).flags;
        flags.kubeconfig = Some("/no/such/config".into());
        let failure = Person::new(flags).err().unwrap();
        assert_eq!(
            failure.text,
            "there is no kubeconfig /no/such/config; give --kubeconfig, or set KUBECONFIG"
        );
    }
}
