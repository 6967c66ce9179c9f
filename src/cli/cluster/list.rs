//! `kro-hub cluster list`

use super::{columns, now, print};
use crate::api::Object;
use crate::api::condition::Condition;
use crate::cli::connection::Connecting;
use crate::edge::clusters::{Hub, address, status_of};
use crate::view::clusters::{ClusterList, Credential, ListedCluster};
use crate::view::document::View;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// text, json or yaml
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
}

pub fn run(args: Args) -> ExitCode {
    args.connecting.clone().run(move || async move {
        let hub = Hub { connection: args.connecting.person()?.hub().await?, namespace: String::new() };
        let mut rows = Vec::new();
        for cluster in hub.clusters().await? {
            rows.push(Row::of(&hub, &cluster).await);
        }
        if rows.is_empty() && args.output == Format::Text {
            eprintln!("no cluster is registered; kro-hub cluster add NAME --context CONTEXT registers one");
        }
        print(&match args.output {
            Format::Text => text(&rows, now()),
            Format::Json => list(&rows).json(),
            Format::Yaml => list(&rows).yaml(),
        });
        Ok(ExitCode::SUCCESS)
    })
}

struct Row {
    name: String,
    ready: Option<Condition>,
    version: String,
    instances: i64,
    /// None: the Secret may not be read, or holds no kubeconfig.
    address: Option<String>,
    credential: String,
    issued: Option<i64>,
    expires: Option<i64>,
}

impl Row {
    async fn of(hub: &Hub, cluster: &Object) -> Self {
        let status = status_of(cluster);
        let at = |field: &str| cluster.str_at(&format!("/spec/credentials/secretRef/{field}")).to_owned();
        let (namespace, name) = (at("namespace"), at("name"));
        let secret =
            if name.is_empty() { None } else { hub.secret(&namespace, &name).await.unwrap_or_default() };
        let local = cluster.0.pointer("/spec/local") == Some(&json!(true));
        let credentials = status.credentials.unwrap_or_default();
        Self {
            name: cluster.name().to_owned(),
            ready: status.conditions.into_iter().find(|c| c.type_ == "Ready"),
            version: status.kubernetes_version,
            instances: status.instances,
            address: if local { Some("the hub itself".into()) } else { secret.as_ref().and_then(address) },
            credential: credentials.type_,
            issued: credentials.issued_at.map(|t| t.0.as_second()),
            expires: credentials.expires_at.map(|t| t.0.as_second()),
        }
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// As kubectl writes ages: the largest unit that is at least one, of seconds, minutes, hours and days.
fn span(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn text(rows: &[Row], now: i64) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = ["NAME", "READY", "REASON", "VERSION", "INSTANCES", "CREDENTIAL", "AGE", "EXPIRES", "ADDRESS"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let expires = row.expires.map_or("-".to_owned(), |at| match at - now {
            left if left <= 0 => "over".to_owned(),
            left => format!("in {}", span(left)),
        });
        vec![
            row.name.clone(),
            row.ready.as_ref().map_or("-".to_owned(), |c| format!("{:?}", c.status)),
            row.ready.as_ref().map_or("-".to_owned(), |c| or_dash(&c.reason)),
            or_dash(&row.version),
            row.instances.to_string(),
            or_dash(&row.credential),
            row.issued.map_or("-".to_owned(), |at| span(now - at)),
            expires,
            or_dash(row.address.as_deref().unwrap_or_default()),
        ]
    }));
    columns(&lines)
}

fn list(rows: &[Row]) -> ClusterList {
    let date =
        |at: Option<i64>| at.and_then(|at| jiff::Timestamp::from_second(at).ok()).map(|t| t.to_string());
    let clusters = rows.iter().map(|row| ListedCluster {
        name: row.name.clone(),
        ready: row.ready.as_ref().map(|c| format!("{:?}", c.status)),
        reason: row.ready.as_ref().map(|c| c.reason.clone()),
        message: row.ready.as_ref().map(|c| c.message.clone()),
        version: row.version.clone(),
        instances: row.instances,
        address: row.address.clone(),
        credential: Credential {
            type_: row.credential.clone(),
            issued_at: date(row.issued),
            expires_at: date(row.expires),
        },
    });
    ClusterList { clusters: clusters.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_cluster() {
        let row = |name: &str, issued: Option<i64>, expires: Option<i64>, address: Option<&str>| Row {
            name: name.into(),
            ready: None,
            version: "v1.37.2".into(),
            instances: 3,
            address: address.map(str::to_owned),
            credential: "Token".into(),
            issued,
            expires,
        };
        let now = 1_800_000_000;
        let rows = [
            row("eu", Some(now - 92 * 86_400), None, Some("https://prod-eu.example.org:6443")),
            row("us", Some(now - 90), Some(now + 3 * 3600), None),
            row("asia", None, Some(now - 1), None),
        ];
        insta::assert_snapshot!(text(&rows, now));
        assert_eq!(text(&[], now), "");
    }
}
