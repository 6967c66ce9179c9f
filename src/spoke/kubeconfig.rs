//! Reads a kubeconfig that somebody put into a Secret: untrusted input.
//!
//! Only what is on the list below is taken; everything that would run a program, read a file of this process or weaken
//! TLS is refused by name. The text never reaches a general kubeconfig loader, which would do such things while it
//! builds a client. Secret bytes appear in no `Debug`, no error, no log.
//!
//! Taken: one context; `server` (https), `certificate-authority-data`, `tls-server-name`, `client-certificate-data` with
//! `client-key-data`, `token`. As UTF-8, or as UTF-16, which is how PowerShell writes files.

mod reader;
#[cfg(test)]
mod tests;

use crate::api::text;
use base64::Engine;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Largest kubeconfig that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// What this hub allows beyond the list.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether public authorities may speak for this cluster; somebody said so of it.
    pub public_roots: bool,
}

/// Why a kubeconfig is not used. Names the field, never a value of a secret field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}; {fix}")]
pub struct Refused {
    pub field: String,
    pub why: &'static str,
    pub fix: &'static str,
}

/// How to reach and authenticate to one cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    server: String,
    tls_server_name: Option<String>,
    ca_pem: Option<Vec<u8>>,
    client_cert_pem: Option<Vec<u8>>,
    client_key_pem: Option<Vec<u8>>,
    token: Option<String>,
    public_roots: bool,
    /// Where the cluster and the user stand in the kubeconfig, for messages.
    cluster_path: String,
    user_path: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub fn server(&self) -> &str {
        &self.server
    }
    pub fn tls_server_name(&self) -> Option<&str> {
        self.tls_server_name.as_deref()
    }
    pub fn ca_pem(&self) -> Option<&[u8]> {
        self.ca_pem.as_deref()
    }
    pub fn client_identity_pem(&self) -> Option<(&[u8], &[u8])> {
        Some((self.client_cert_pem.as_deref()?, self.client_key_pem.as_deref()?))
    }
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
    /// Whether public authorities may speak for the cluster, beside its own.
    pub fn trusts_public_roots(&self) -> bool {
        self.public_roots
    }
    pub fn server_field(&self) -> String {
        format!("{}.server", self.cluster_path)
    }
    pub fn ca_field(&self) -> String {
        format!("{}.certificate-authority-data", self.cluster_path)
    }
    pub fn client_certificate_field(&self) -> String {
        format!("{}.client-certificate-data", self.user_path)
    }
    pub fn token_field(&self) -> String {
        format!("{}.token", self.user_path)
    }
    /// Changes when any field does, so that a rotated Secret is seen. For comparing only.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let parts: [&[u8]; 7] = [
            self.server.as_bytes(),
            self.tls_server_name.as_deref().unwrap_or_default().as_bytes(),
            self.ca_pem.as_deref().unwrap_or_default(),
            self.client_cert_pem.as_deref().unwrap_or_default(),
            self.client_key_pem.as_deref().unwrap_or_default(),
            self.token.as_deref().unwrap_or_default().as_bytes(),
            &[u8::from(self.public_roots)],
        ];
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl Refused {
    pub fn new(field: impl Into<String>, why: &'static str, fix: &'static str) -> Self {
        Self { field: field.into(), why, fix }
    }
}

fn refuse<T>(field: impl Into<String>, why: &'static str, fix: &'static str) -> Result<T, Refused> {
    Err(Refused::new(field, why, fix))
}

const EMBED: &str = "embed the content as base64 in the field ending in -data";

/// # Errors
/// The first field that is refused, by name.
pub fn parse(bytes: &[u8], policy: &Policy) -> Result<Endpoint, Refused> {
    if bytes.len() > MAX_BYTES {
        return refuse("kubeconfig", "it is larger than 1 MiB", "keep only the one context that is needed");
    }
    let Some(text) = text::decode(bytes) else {
        return refuse(
            "kubeconfig",
            "it is neither UTF-8 nor UTF-16 text",
            "store the kubeconfig file as it is",
        );
    };
    let config = reader::read(&text)?;
    let (context_path, context) = context(&config)?;
    let (cluster_path, cluster) = named(&config, &context_path, &context, "cluster")?;
    let (user_path, user) = named(&config, &context_path, &context, "user")?;
    check_cluster(&cluster_path, &cluster)?;
    check_user(&user_path, &user)?;

    let endpoint = Endpoint {
        server: server(&cluster_path, &cluster)?,
        tls_server_name: tls_server_name(&cluster_path, &cluster)?,
        ca_pem: data(&cluster_path, &cluster, "certificate-authority-data")?,
        client_cert_pem: data(&user_path, &user, "client-certificate-data")?,
        client_key_pem: data(&user_path, &user, "client-key-data")?,
        // A file that ends in a line end, as most do.
        token: text_of(&user_path, &user, "token")?.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
        public_roots: policy.public_roots,
        cluster_path,
        user_path: user_path.clone(),
    };
    if endpoint.ca_pem.is_none() && !endpoint.public_roots {
        return refuse(
            endpoint.ca_field(),
            "it is missing",
            "put the certificate of the server's authority there, as base64; where a public authority signed the server's \
             certificate, annotate the Secret hub.kro.run/public-roots: \"true\"",
        );
    }
    match (&endpoint.client_cert_pem, &endpoint.client_key_pem) {
        (Some(_), None) => {
            refuse(format!("{user_path}.client-key-data"), "it is missing", "add the key of the certificate")
        }
        (None, Some(_)) => refuse(
            format!("{user_path}.client-certificate-data"),
            "it is missing",
            "add the certificate of the key",
        ),
        (None, None) if endpoint.token.is_none() => refuse(
            user_path,
            "it holds no credentials",
            "add a token, or client-certificate-data with client-key-data",
        ),
        _ => Ok(endpoint),
    }
}

/// The context to use, and its path for messages.
fn context(config: &Map<String, Value>) -> Result<(String, Map<String, Value>), Refused> {
    let current = text_of("", config, "current-context")?.filter(|name| !name.is_empty());
    let name = match (current, config.get("contexts").and_then(Value::as_array).map(Vec::as_slice)) {
        (Some(name), _) => name,
        (None, Some([one])) => one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        (None, _) => {
            return refuse(
                "current-context",
                "it is missing and there is not exactly one context",
                "name the context to use",
            );
        }
    };
    let there = "there is none of the name that current-context says";
    entry(config, "contexts", "context", &name, there)
}

/// The cluster or user that a context names, and its path for messages.
fn named(
    config: &Map<String, Value>,
    context_path: &str,
    context: &Map<String, Value>,
    what: &str,
) -> Result<(String, Map<String, Value>), Refused> {
    let name = text_of(context_path, context, what)?.unwrap_or_default();
    let there = "there is none of the name that the context says";
    entry(config, &format!("{what}s"), what, &name, there)
}

/// The entry of a named list, and its path for messages.
fn entry(
    config: &Map<String, Value>,
    list: &str,
    field: &str,
    name: &str,
    none: &'static str,
) -> Result<(String, Map<String, Value>), Refused> {
    let items = config.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is = |item: &Value| item.get("name").and_then(Value::as_str).unwrap_or_default() == name;
    let mut found = items.iter().enumerate().filter(|(_, item)| is(item));
    let Some((index, item)) = found.next() else { return refuse(list, none, "add the entry") };
    if let Some((again, _)) = found.next() {
        return refuse(
            format!("{list}[{again}].name"),
            "an entry before it has the same name",
            "keep the one that is meant",
        );
    }
    let path = format!("{list}[{index}].{field}");
    match item.get(field) {
        Some(Value::Object(map)) => Ok((path, map.clone())),
        _ => refuse(path, "it is missing or not a map", "add it"),
    }
}

fn check_cluster(path: &str, cluster: &Map<String, Value>) -> Result<(), Refused> {
    let at = |key: &str| format!("{path}.{key}");
    if is_set(cluster, "certificate-authority") {
        return refuse(at("certificate-authority"), "files are not read", EMBED);
    }
    if cluster.get("insecure-skip-tls-verify").is_some_and(|v| *v != Value::Bool(false) && !v.is_null()) {
        return refuse(
            at("insecure-skip-tls-verify"),
            "the server would not be verified",
            "remove it and add certificate-authority-data",
        );
    }
    match text_of(path, cluster, "proxy-url")?.filter(|p| !p.is_empty()) {
        Some(_) => refuse(at("proxy-url"), "proxies are not supported", "reach the cluster without one"),
        None => Ok(()),
    }
}

fn check_user(path: &str, user: &Map<String, Value>) -> Result<(), Refused> {
    const STATIC: &str = "use a token, or a client certificate";
    let refused: [(&str, &str, &str); 11] = [
        ("exec", "programs are not run", STATIC),
        ("auth-provider", "programs are not run", STATIC),
        ("tokenFile", "files are not read", "put the token itself into `token`"),
        ("client-certificate", "files are not read", EMBED),
        ("client-key", "files are not read", EMBED),
        ("username", "passwords are not supported", STATIC),
        ("password", "passwords are not supported", STATIC),
        ("as", "impersonation is not supported", "use credentials of the user itself"),
        ("as-uid", "impersonation is not supported", "use credentials of the user itself"),
        ("as-groups", "impersonation is not supported", "use credentials of the user itself"),
        ("as-user-extra", "impersonation is not supported", "use credentials of the user itself"),
    ];
    for (key, why, fix) in refused {
        if is_set(user, key) {
            return Err(Refused { field: format!("{path}.{key}"), why, fix });
        }
    }
    Ok(())
}

/// The address, as it was judged: who connects must not read the text in another way.
fn server(path: &str, cluster: &Map<String, Value>) -> Result<String, Refused> {
    let field = format!("{path}.server");
    let text = text_of(path, cluster, "server")?.unwrap_or_default();
    let Ok(url) = url::Url::parse(text.trim()) else {
        return refuse(field, "it is not a URL", "write https://host:port");
    };
    if url.scheme() != "https" {
        return refuse(field, "it is not https", "write https://host:port");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(field, "it carries a user name or password", "remove the part before @");
    }
    if url.host_str().is_none_or(str::is_empty) || url.query().is_some() || url.fragment().is_some() {
        return refuse(field, "it is not a plain server address", "write https://host:port");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn tls_server_name(path: &str, cluster: &Map<String, Value>) -> Result<Option<String>, Refused> {
    let Some(name) = text_of(path, cluster, "tls-server-name")?.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if ServerName::try_from(name.as_str()).is_err() {
        return refuse(
            format!("{path}.tls-server-name"),
            "it is neither a DNS name nor an IP address",
            "write a name that the server's certificate has, or remove it",
        );
    }
    Ok(Some(name))
}

fn is_set(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_some_and(|v| !v.is_null() && v.as_str() != Some(""))
}

fn text_of(path: &str, map: &Map<String, Value>, key: &str) -> Result<Option<String>, Refused> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => {
            let field = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            refuse(field, "it is not text", "write it in quotes")
        }
    }
}

fn data(path: &str, map: &Map<String, Value>, key: &str) -> Result<Option<Vec<u8>>, Refused> {
    let Some(text) = map.get(key).filter(|v| !v.is_null() && v.as_str() != Some("")) else { return Ok(None) };
    let clean: String = text.as_str().unwrap_or("?").split_whitespace().collect();
    match base64::engine::general_purpose::STANDARD.decode(clean) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => refuse(format!("{path}.{key}"), "it is not base64", "encode the PEM file as base64"),
    }
}
