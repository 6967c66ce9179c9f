//! Reads a kubeconfig that somebody put into a Secret: untrusted input.
//!
//! Only what is on the list below is taken; everything that would run a program, read a file of this process or weaken
//! TLS is refused by name. The text never reaches a general kubeconfig loader, which would do such things while it
//! builds a client. Secret bytes appear in no `Debug`, no error, no log.
//!
//! Taken: one context; `server` (https), `certificate-authority-data`, `tls-server-name`, `client-certificate-data` with
//! `client-key-data`, `token`. As UTF-8, or as UTF-16, which is how PowerShell writes files.

use crate::api::text;
use base64::Engine;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Largest kubeconfig that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// What this hub allows beyond the list.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Proxy URLs that a kubeconfig may name.
    pub allowed_proxies: Vec<String>,
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

fn refuse<T>(field: impl Into<String>, why: &'static str, fix: &'static str) -> Result<T, Refused> {
    Err(Refused { field: field.into(), why, fix })
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
    // The cause is left out: a parser's message may quote the text.
    let Ok(Value::Object(config)) = serde_saphyr::from_str::<Value>(&text) else {
        if is_encoded(&text) {
            return refuse(
                "kubeconfig",
                "it is base64 once more than a Secret needs",
                "store the kubeconfig file as it is, or put it into stringData",
            );
        }
        return refuse(
            "kubeconfig",
            "it is not a YAML map",
            "store the output of `kubectl config view --raw --minify`",
        );
    };
    let context_name = context_name(&config)?;
    let (_, context) = entry(&config, "contexts", "context", &context_name)?;
    let cluster_name = text_of(&context, "cluster").unwrap_or_default();
    let user_name = text_of(&context, "user").unwrap_or_default();
    let (cluster_path, cluster) = entry(&config, "clusters", "cluster", &cluster_name)?;
    let (user_path, user) = entry(&config, "users", "user", &user_name)?;
    check_cluster(&cluster_path, &cluster, policy)?;
    check_user(&user_path, &user)?;

    let endpoint = Endpoint {
        server: server(&cluster_path, &cluster)?,
        tls_server_name: text_of(&cluster, "tls-server-name").filter(|t| !t.is_empty()),
        ca_pem: data(&cluster_path, &cluster, "certificate-authority-data")?,
        client_cert_pem: data(&user_path, &user, "client-certificate-data")?,
        client_key_pem: data(&user_path, &user, "client-key-data")?,
        // A file that ends in a line end, as most do.
        token: text_of(&user, "token").map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
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

/// Whether a text is base64 of a kubeconfig.
fn is_encoded(text: &str) -> bool {
    let clean: String = text.split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(clean).ok();
    decoded.and_then(|d| String::from_utf8(d).ok()).is_some_and(|text| text.contains("clusters"))
}

fn context_name(config: &Map<String, Value>) -> Result<String, Refused> {
    if let Some(name) = text_of(config, "current-context").filter(|n| !n.is_empty()) {
        return Ok(name);
    }
    match config.get("contexts").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => Ok(one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()),
        _ => refuse(
            "current-context",
            "it is missing and there is not exactly one context",
            "name the context to use",
        ),
    }
}

/// The entry of a named list, and its path for messages.
fn entry(
    config: &Map<String, Value>,
    list: &str,
    field: &str,
    name: &str,
) -> Result<(String, Map<String, Value>), Refused> {
    let items = config.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let position =
        items.iter().position(|i| i.get("name").and_then(Value::as_str).unwrap_or_default() == name);
    let Some(index) = position else {
        return refuse(list, "it has no entry of the name that the context uses", "add the entry");
    };
    let path = format!("{list}[{index}].{field}");
    match items.get(index).and_then(|i| i.get(field)) {
        Some(Value::Object(map)) => Ok((path, map.clone())),
        _ => refuse(path, "it is missing or not a map", "add it"),
    }
}

fn check_cluster(path: &str, cluster: &Map<String, Value>, policy: &Policy) -> Result<(), Refused> {
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
    match text_of(cluster, "proxy-url").filter(|p| !p.is_empty()) {
        Some(proxy) if policy.allowed_proxies.contains(&proxy) => {
            refuse(at("proxy-url"), "proxies are not supported yet", "reach the cluster without a proxy")
        }
        Some(_) => {
            refuse(at("proxy-url"), "the proxy is not allowed", "remove it, or allow it by flag on the hub")
        }
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

fn server(path: &str, cluster: &Map<String, Value>) -> Result<String, Refused> {
    let field = format!("{path}.server");
    let text = text_of(cluster, "server").unwrap_or_default().trim().to_owned();
    let Ok(url) = url::Url::parse(&text) else {
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
    Ok(text)
}

fn is_set(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_some_and(|v| !v.is_null() && v.as_str() != Some(""))
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key)?.as_str().map(str::to_owned)
}

fn data(path: &str, map: &Map<String, Value>, key: &str) -> Result<Option<Vec<u8>>, Refused> {
    let Some(text) = map.get(key).filter(|v| !v.is_null() && v.as_str() != Some("")) else { return Ok(None) };
    let clean: String = text.as_str().unwrap_or("?").split_whitespace().collect();
    match base64::engine::general_purpose::STANDARD.decode(clean) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => refuse(format!("{path}.{key}"), "it is not base64", "encode the PEM file as base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    }
    fn check(cluster: &str, user: &str) -> Result<Endpoint, Refused> {
        parse(config(cluster, user).as_bytes(), &Policy::default())
    }
    const SERVER: &str = "certificate-authority-data: Y2E=, server: 'https://h:6443'";
    const TOKEN: &str = "token: sesame";

    #[test]
    fn what_is_allowed_is_taken() {
        let e =
            check("server: 'https://h:6443', certificate-authority-data: Y2E=, tls-server-name: srv", TOKEN)
                .unwrap();
        assert_eq!(
            (e.server(), e.tls_server_name(), e.ca_pem(), e.token()),
            ("https://h:6443", Some("srv"), Some(&b"ca"[..]), Some("sesame"))
        );
        let e = check(SERVER, "client-certificate-data: Yw==, client-key-data: aw==").unwrap();
        assert_eq!(e.client_identity_pem(), Some((&b"c"[..], &b"k"[..])));
    }

    #[test]
    fn what_runs_reads_or_weakens_is_refused_by_name() {
        let cases = [
            (SERVER, "exec: {command: touch, args: [/tmp/kro-hub-was-here]}", "users[0].user.exec"),
            (
                SERVER,
                "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}",
                "users[0].user.auth-provider",
            ),
            (SERVER, "tokenFile: /var/run/secrets/token", "users[0].user.tokenFile"),
            (
                SERVER,
                "client-certificate: /etc/passwd, client-key-data: aw==",
                "users[0].user.client-certificate",
            ),
            (SERVER, "client-key: /etc/passwd, client-certificate-data: aw==", "users[0].user.client-key"),
            (SERVER, "username: a, password: b", "users[0].user.username"),
            (SERVER, "token: t, password: b", "users[0].user.password"),
            (SERVER, "token: t, as: admin", "users[0].user.as"),
            (SERVER, "token: t, as-groups: ['system:masters']", "users[0].user.as-groups"),
            (SERVER, "", "users[0].user"),
            (SERVER, "client-certificate-data: Yw==", "users[0].user.client-key-data"),
            (
                SERVER,
                "token: t, client-key-data: '%%', client-certificate-data: Yw==",
                "users[0].user.client-key-data",
            ),
            ("server: 'http://h'", TOKEN, "clusters[0].cluster.server"),
            ("server: 'https://user:pw@h'", TOKEN, "clusters[0].cluster.server"),
            ("server: 'file:///etc/passwd'", TOKEN, "clusters[0].cluster.server"),
            (
                "insecure-skip-tls-verify: true, server: 'https://h'",
                TOKEN,
                "clusters[0].cluster.insecure-skip-tls-verify",
            ),
            (
                "certificate-authority: /etc/ca, server: 'https://h'",
                TOKEN,
                "clusters[0].cluster.certificate-authority",
            ),
            ("proxy-url: 'http://p', server: 'https://h'", TOKEN, "clusters[0].cluster.proxy-url"),
        ];
        for (cluster, user, field) in cases {
            let refused = check(cluster, user).expect_err(field);
            assert_eq!(refused.field, field);
            assert!(!refused.to_string().contains("sesame"), "{refused}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let two = "contexts: [{name: a, context: {}}, {name: b, context: {}}]";
        for (text, field) in [
            ("", "kubeconfig"),
            ("[1]", "kubeconfig"),
            ("a: [", "kubeconfig"),
            ("Y2x1c3RlcnM6IFtdCg==", "kubeconfig"),
            (two, "current-context"),
            ("current-context: x", "contexts"),
        ] {
            assert_eq!(parse(text.as_bytes(), &Policy::default()).expect_err(text).field, field);
        }
        assert_eq!(
            parse(&vec![b'a'; MAX_BYTES + 1], &Policy::default()).expect_err("size").field,
            "kubeconfig"
        );
        assert_eq!(parse(&[0xff, 0xfe], &Policy::default()).expect_err("utf-8").field, "kubeconfig");
    }

    #[test]
    fn files_are_read_as_people_have_them() {
        let plain = config(SERVER, TOKEN);
        let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            mark.into_iter().chain(plain.encode_utf16().flat_map(bytes)).collect()
        };
        for (what, bytes) in [
            ("UTF-8", plain.clone().into_bytes()),
            ("with a byte order mark", format!("\u{feff}{plain}").into_bytes()),
            ("line ends of Windows", plain.replace('\n', "\r\n").into_bytes()),
            ("UTF-16, little end first", wide([0xff, 0xfe], u16::to_le_bytes)),
            ("UTF-16, big end first", wide([0xfe, 0xff], u16::to_be_bytes)),
        ] {
            let read = parse(&bytes, &Policy::default());
            assert_eq!(read.as_ref().map(Endpoint::token), Ok(Some("sesame")), "{what}");
        }
        let odd = parse(&[0xff, 0xfe, b'a'], &Policy::default()).expect_err("half a unit");
        assert_eq!(odd.why, "it is neither UTF-8 nor UTF-16 text");
        let twice = base64::engine::general_purpose::STANDARD.encode(&plain);
        let refused = parse(twice.as_bytes(), &Policy::default()).expect_err("twice");
        assert!(refused.why.contains("base64 once more"), "{refused}");
    }

    #[test]
    fn white_space_around_a_value_is_no_part_of_it() {
        let e = check(SERVER, "token: \" sesame\\n\"").unwrap();
        assert_eq!(e.token(), Some("sesame"));
        let e = check("certificate-authority-data: Y2E=, server: ' https://h:6443 '", TOKEN).unwrap();
        assert_eq!(e.server(), "https://h:6443");
    }

    #[test]
    fn public_authorities_speak_for_a_cluster_only_where_somebody_said_so() {
        let bare = config("server: 'https://h:6443'", TOKEN);
        for text in [bare.clone(), bare.replace("server:", "certificate-authority-data: '', server:")] {
            let refused = parse(text.as_bytes(), &Policy::default()).expect_err("no CA");
            assert_eq!(refused.field, "clusters[0].cluster.certificate-authority-data");
            assert!(refused.to_string().contains("it is missing"), "{refused}");
            let policy = Policy { public_roots: true, ..Policy::default() };
            let asked = parse(text.as_bytes(), &policy).unwrap();
            assert!(asked.trusts_public_roots());
        }
        let both = |public_roots| {
            let policy = Policy { public_roots, ..Policy::default() };
            parse(config(SERVER, TOKEN).as_bytes(), &policy).unwrap().fingerprint()
        };
        assert_ne!(both(true), both(false));
    }

    #[test]
    fn debug_shows_no_secret_and_a_new_token_is_seen() {
        let a = check(SERVER, TOKEN).unwrap();
        let b = check(SERVER, "token: other").unwrap();
        assert!(!format!("{a:?}").contains("sesame"));
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            drop(parse(&bytes, &Policy::default()));
        }
    }
}
