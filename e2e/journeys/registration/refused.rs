//! Kubeconfigs are untrusted: nothing that they name is run or read, and no secret of theirs shows anywhere.

use super::stage::{SOON, Stage, WHILE, text_of};
use crate::env::controller::{Controller, NAMESPACE};
use crate::env::wait::{eventually, throughout};
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stands in every refused kubeconfig where a secret would.
const SECRET: &str = "sesame-5f1c";
#[cfg(target_os = "linux")]
const NONBLOCK: i32 = 0o4000;
#[cfg(not(target_os = "linux"))]
const NONBLOCK: i32 = 0x4;

/// Files that must stay alone.
struct Traps {
    dir: PathBuf,
}

impl Traps {
    fn new() -> Result<Self> {
        let dir = scratch_folder().join("traps");
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// What a program would create.
    fn touched(&self) -> PathBuf {
        self.dir.join("touched")
    }

    /// A pipe: whoever opens it to read waits there, and is seen by [`is_being_read`].
    fn pipe(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let made = Command::new("mkfifo").arg(&path).status().context("cannot run mkfifo")?;
        ensure!(made.success(), "mkfifo {}", path.display());
        Ok(path)
    }
}

fn is_being_read(pipe: &Path) -> bool {
    // Opening a pipe to write, without waiting, works only while somebody has it open to read.
    OpenOptions::new().write(true).custom_flags(NONBLOCK).open(pipe).is_ok()
}

struct Case {
    name: &'static str,
    /// As the refusal names it.
    field: &'static str,
    kubeconfig: Value,
}

pub fn kubeconfigs_that_run_or_read_are_refused(stage: &Stage) -> Result<()> {
    let traps = Traps::new()?;
    let pipes = ["token", "cert", "key", "ca"].map(|name| traps.pipe(name));
    let [token, cert, key, ca] = pipes;
    let pipes = [token?, cert?, key?, ca?];
    let good: Value = serde_json::from_str(&stage.kubeconfig("eu")?)?;
    the_traps_work(stage, &traps, &good, &pipes)?;

    let cases = cases(&good, &traps, &pipes);
    let before = stage.content("eu")?;
    for case in &cases {
        stage.put_secret(case.name, &case.kubeconfig.to_string())?;
    }
    for case in &cases {
        let cluster = stage.is(case.name, "CredentialsValid", "False", "KubeconfigRefused")?;
        let said = text_of(&cluster, "CredentialsValid");
        let named = format!("Secret {NAMESPACE}/{}: {}: ", case.name, case.field);
        ensure!(said.starts_with(&named), "{}: it should name {}, it says {said:?}", case.name, case.field);
        ensure!(said.contains("; "), "{}: it names no fix: {said:?}", case.name);
        stage.is(case.name, "Ready", "False", "KubeconfigRefused")?;
    }
    throughout(WHILE, "nothing was run or read", || {
        ensure!(!traps.touched().exists(), "a program of a kubeconfig ran");
        for pipe in &pipes {
            ensure!(!is_being_read(pipe), "{} is being read", pipe.display());
        }
        for case in &cases {
            ensure!(stage.requests(case.name)? == 0, "requests were sent for {}", case.name);
        }
        stage.unchanged("eu", &before)
    })?;
    no_secret_shows(stage)?;

    // Each of them was one field away from being good.
    let last = cases.last().context("no case")?;
    stage.put_secret(last.name, &good.to_string())?;
    stage.ready(last.name).map(drop)
}

/// A trap that nothing falls into proves nothing: kubectl and this process must.
fn the_traps_work(stage: &Stage, traps: &Traps, good: &Value, pipes: &[PathBuf]) -> Result<()> {
    let path = traps.dir.join("exec.kubeconfig");
    std::fs::write(&path, with_user(good, exec(traps)).to_string())?;
    let kubectl = Command::new(&stage.env.assets().kubectl)
        .arg("--kubeconfig")
        .arg(&path)
        .args(["get", "namespaces", "--request-timeout=5s"])
        .output()?;
    ensure!(!kubectl.status.success(), "touch(1) gave no credentials, and yet kubectl came through");
    ensure!(
        traps.touched().exists(),
        "kubectl runs no program: {}",
        String::from_utf8_lossy(&kubectl.stderr)
    );
    std::fs::remove_file(traps.touched())?;
    for pipe in pipes {
        ensure!(!is_being_read(pipe), "{} is being read by nobody", pipe.display());
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe))
        };
        eventually(SOON, "a reader is seen", || {
            ensure!(is_being_read(pipe), "not seen");
            Ok(())
        })?;
        reader.join().ok().context("the reader panicked")??;
    }
    Ok(())
}

fn exec(traps: &Traps) -> Value {
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [traps.touched()],
        "env": [{"name": "PASSWORD", "value": SECRET}], "interactiveMode": "Never",
    }})
}

fn with_user(good: &Value, user: Value) -> Value {
    let mut out = good.clone();
    out["users"][0]["user"] = user;
    out
}

fn cases(good: &Value, traps: &Traps, pipes: &[PathBuf; 4]) -> Vec<Case> {
    let [token, cert, key, ca] = pipes;
    let identity = good["users"][0]["user"].clone();
    let user = |name, field, user: Value| Case { name, field, kubeconfig: with_user(good, user) };
    let plus = |name, field, more: Value| {
        let mut user = identity.clone();
        for (k, v) in more.as_object().into_iter().flatten() {
            user[k] = v.clone();
        }
        Case { name, field, kubeconfig: with_user(good, user) }
    };
    let cluster = |name, field, key: &str, value: Value| {
        let mut kubeconfig = with_user(good, json!({"token": SECRET}));
        kubeconfig["clusters"][0]["cluster"][key] = value;
        Case { name, field, kubeconfig }
    };
    let server = good["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default();
    let provider = json!({"auth-provider": {"name": "gcp", "config": {
        "cmd-path": "touch", "cmd-args": traps.touched(), "access-token": SECRET,
    }}});
    let mut cert_path = json!({"client-certificate": cert});
    cert_path["client-key-data"] = identity["client-key-data"].clone();
    let mut key_path = json!({"client-key": key});
    key_path["client-certificate-data"] = identity["client-certificate-data"].clone();
    let mut ca_path =
        cluster("ca-path", "clusters[0].cluster.certificate-authority", "certificate-authority", json!(ca));
    if let Some(fields) = ca_path.kubeconfig["clusters"][0]["cluster"].as_object_mut() {
        fields.remove("certificate-authority-data");
    }
    vec![
        user("exec", "users[0].user.exec", exec(traps)),
        user("auth-provider", "users[0].user.auth-provider", provider),
        user("token-file", "users[0].user.tokenFile", json!({"tokenFile": token})),
        // Beside valid credentials, which most clients would prefer, it is refused all the same.
        plus("token-file-too", "users[0].user.tokenFile", json!({"tokenFile": token, "token": SECRET})),
        plus("exec-too", "users[0].user.exec", exec(traps)),
        user("cert-path", "users[0].user.client-certificate", cert_path),
        user("key-path", "users[0].user.client-key", key_path),
        user("password", "users[0].user.username", json!({"username": "admin", "password": SECRET})),
        plus("password-alone", "users[0].user.password", json!({"password": SECRET})),
        plus("as", "users[0].user.as", json!({"as": "system:admin"})),
        plus("as-groups", "users[0].user.as-groups", json!({"as-groups": ["system:masters"]})),
        plus("as-uid", "users[0].user.as-uid", json!({"as-uid": "0"})),
        plus("as-user-extra", "users[0].user.as-user-extra", json!({"as-user-extra": {"a": ["b"]}})),
        ca_path,
        cluster(
            "insecure",
            "clusters[0].cluster.insecure-skip-tls-verify",
            "insecure-skip-tls-verify",
            json!(true),
        ),
        cluster("http", "clusters[0].cluster.server", "server", json!(server.replace("https", "http"))),
        cluster(
            "userinfo",
            "clusters[0].cluster.server",
            "server",
            json!(server.replace("https://", &format!("https://admin:{SECRET}@"))),
        ),
        cluster(
            "proxy",
            "clusters[0].cluster.proxy-url",
            "proxy-url",
            json!(format!("http://u:{SECRET}@127.0.0.1:9")),
        ),
    ]
}

fn no_secret_shows(stage: &Stage) -> Result<()> {
    let hub = stage.env.api("hub");
    let log = stage.on_controller(|c: &Controller| Ok(std::fs::read_to_string(c.log())?))?;
    ensure!(!log.is_empty(), "the log is empty: not proof of anything");
    let places = [
        ("the log", log),
        ("/metrics", stage.on_controller(Controller::metrics)?),
        ("Clusters", serde_json::to_string(&hub.list(super::seen::CLUSTERS)?)?),
        ("Events", serde_json::to_string(&hub.list("/apis/events.k8s.io/v1/events")?)?),
        (
            "ConfigMaps",
            serde_json::to_string(&hub.list(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps"))?)?,
        ),
    ];
    let admin: Value = serde_json::from_str(&stage.kubeconfig("eu")?)?;
    let key = admin.pointer("/users/0/user/client-key-data").and_then(Value::as_str).context("no key")?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(SECRET);
    for (place, text) in places {
        for secret in [SECRET, encoded.as_str(), key] {
            ensure!(!text.contains(secret), "{place} shows a secret");
        }
    }
    Ok(())
}
