//! What an API server keeps, read and put back beneath it: as a backup of a cluster does.

use super::{Environment, Shared};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Everything that stood under some prefixes at one time, to the letter: uids, generations and statuses too.
pub struct Backup {
    prefixes: Vec<String>,
    /// Keys and values, as the store writes them in JSON.
    kept: BTreeMap<String, String>,
}

impl Environment {
    /// What a cluster keeps under these prefixes, for instance `controllerrevisions/shop/`.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn backup(&self, cluster: &str, prefixes: &[&str]) -> Result<Backup> {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| format!("/{cluster}/{prefix}")).collect();
        let kept = read(&self.shared, &prefixes)?;
        Ok(Backup { prefixes, kept })
    }

    /// Makes it stand there again; what came since is gone.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn restore(&self, backup: &Backup) -> Result<()> {
        let now = read(&self.shared, &backup.prefixes)?;
        for key in now.keys().filter(|key| !backup.kept.contains_key(*key)) {
            ask(&self.shared, "deleterange", &json!({"key": key}))?;
        }
        for (key, value) in backup.kept.iter().filter(|(key, value)| now.get(*key) != Some(value)) {
            ask(&self.shared, "put", &json!({"key": key, "value": value}))?;
        }
        Ok(())
    }
}

impl Backup {
    /// Nothing of it: restored, all is gone.
    pub fn emptied(&self) -> Self {
        Self { prefixes: self.prefixes.clone(), kept: BTreeMap::new() }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }
}

fn read(store: &Shared, prefixes: &[String]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for prefix in prefixes {
        // All keys that begin like this end before the one whose last letter is the next one.
        let end =
            prefix.strip_suffix('/').map(|prefix| format!("{prefix}0")).context("a prefix ends in /")?;
        let range = json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end)});
        let answer = ask(store, "range", &range)?;
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let list = answer["kvs"].as_array().cloned().unwrap_or_default();
        found.extend(list.iter().map(|entry| (text(entry, "key"), text(entry, "value"))));
    }
    Ok(found)
}

fn ask(store: &Shared, what: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", store.etcd_port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // 1.0: the answer is neither chunked nor kept open.
    write!(
        stream,
        "POST /v3/kv/{what} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        bail!("the store answers {what} with {status}: {}", body.trim());
    }
    serde_json::from_str(body).with_context(|| format!("the store's answer to {what}"))
}
