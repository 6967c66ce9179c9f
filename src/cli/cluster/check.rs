//! `kro-hub cluster check`

use super::{Both, now, plain, print};
use crate::access::check::{Check, Finding, Group, of_status};
use crate::access::{Account, Question};
use crate::api::Object;
use crate::api::keys::hub as keys;
use crate::cli::rbac;
use crate::cli::validate::Judging;
use crate::edge::clusters::{Hub, by_secret, status_of};
use crate::edge::{Connection, Failure, Person};
use crate::hub::resources;
use clap::{Args as ClapArgs, ValueEnum};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Clusters; all without any
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Ask the cluster itself, as the hub does: with the credentials of its Secret, which you must be allowed to read
    #[arg(long)]
    hub_credentials: bool,
    /// text; short says only what is wrong; json
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    both: Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Short,
    Json,
}

/// Shows a check, and gives the exit code: 1 where something failed, 0 for warnings.
pub fn show(check: &Check, format: Format) -> ExitCode {
    print(&match format {
        Format::Text => check.text(false, plain()),
        Format::Short => check.text(true, plain()),
        Format::Json => format!("{:#}\n", serde_json::json!(check)),
    });
    if check.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

pub fn run(args: Args) -> ExitCode {
    args.both.connecting().run(move || async move { args.go().await })
}

/// How a cluster is asked: as whom.
enum Line {
    /// By a context of the person, of the hub's account.
    Person(Connection),
    /// As the hub.
    Hub(Connection),
}

impl Args {
    async fn go(&self) -> Result<ExitCode, Failure> {
        let person = self.both.connecting().person()?;
        let hub = self.both.hub(&person).await?;
        if self.both.context.is_some() && self.names.len() != 1 {
            return Err(Failure::usage("--context is that of one cluster: name the Cluster too"));
        }
        let clusters = match self.names.as_slice() {
            [] => hub.clusters().await?,
            names => {
                let mut found = Vec::new();
                for name in names {
                    found.push(hub.known(name).await?);
                }
                found
            }
        };
        if clusters.is_empty() {
            eprintln!("no cluster is registered; kro-hub cluster add NAME --context CONTEXT registers one");
        }
        let from_hub = match rbac::of_hub(&hub.connection, &Judging::default()).await {
            Ok(found) => Some(found),
            Err(failure) => {
                eprintln!("warning: kinds and rights are not looked at: {failure}");
                None
            }
        };
        let mut groups = Vec::new();
        for cluster in &clusters {
            let name = cluster.name();
            groups.extend(of_status(name, &status_of(cluster), now()));
            let group = |group: &str, checks: Vec<Finding>| Group {
                about: name.to_owned(),
                name: group.to_owned(),
                checks,
            };
            match self.line(&hub, &person, cluster).await {
                Ok(Some(line)) => groups.extend(self.ask(&hub, cluster, &line, from_hub.as_ref()).await),
                Ok(None) => groups.push(group(
                    "rights",
                    vec![Finding::unknown(
                        "not asked",
                        format!(
                            "kro-hub cluster check {name} --context CONTEXT-OF-{name}, or --hub-credentials"
                        ),
                    )],
                )),
                Err(failure) => groups
                    .push(group("contact", vec![Finding::failed(failure.to_string(), "mend that first")])),
            }
        }
        Ok(show(&Check::new(groups), self.output))
    }

    async fn line(&self, hub: &Hub, person: &Person, cluster: &Object) -> Result<Option<Line>, Failure> {
        if self.both.context.is_some() {
            return Ok(Some(Line::Person(self.both.spoke(person).await?)));
        }
        if self.hub_credentials && cluster.0.pointer("/spec/credentials").is_some() {
            return Ok(Some(Line::Hub(
                by_secret(hub, cluster, self.both.connecting().request_timeout).await?,
            )));
        }
        Ok(None)
    }

    /// What the cluster itself says.
    async fn ask(
        &self,
        hub: &Hub,
        cluster: &Object,
        line: &Line,
        from_hub: Option<&rbac::FromHub>,
    ) -> Vec<Group> {
        let name = cluster.name();
        let group = |group: &str, checks: Vec<Finding>| Group {
            about: name.to_owned(),
            name: group.to_owned(),
            checks,
        };
        let (connection, account) = match line {
            Line::Person(connection) => (connection, Some(Account::on_spoke())),
            Line::Hub(connection) => (connection, None),
        };
        let start = Instant::now();
        let identity = match identity(hub, cluster, connection).await {
            Ok(found) => found,
            Err(failure) => {
                let mend = format!("kro-hub cluster rotate {name}, where the credentials are the trouble");
                return vec![group("contact", vec![Finding::failed(failure.to_string(), mend)])];
            }
        };
        let took = start.elapsed().as_millis();
        let mut groups = vec![
            group("contact", vec![Finding::ok(format!("answers {} in {took} ms", connection.name))]),
            group("identity", identity),
        ];
        let Some(from_hub) = from_hub else { return groups };
        let (definitions, _) = from_hub.counts();
        groups.push(group(
            "kinds",
            match from_hub.not_served(connection).await {
                Ok(missing) if missing.is_empty() => {
                    vec![Finding::ok(format!("all kinds of {definitions} definitions are served"))]
                }
                Ok(missing) => missing
                    .iter()
                    .map(|(kind, definition)| {
                        Finding::warning(
                            format!("not served: {kind} ({definition})"),
                            "install what serves it there, or do not place such instances there",
                        )
                    })
                    .collect(),
                Err(failure) => vec![Finding::unknown(failure.to_string(), "mend that first")],
            },
        ));
        let access = from_hub.access(&Account::on_spoke());
        let questions = access.questions();
        groups.push(group(
            "rights",
            match connection.denied(&questions, account.as_ref()).await {
                Ok(denied) => rights(&questions, &denied, name),
                Err(failure) => {
                    vec![Finding::unknown(failure.to_string(), "ask an administrator of that cluster")]
                }
            },
        ));
        groups
    }
}

/// Whether it is the cluster that the Cluster stands for, and whose.
async fn identity(hub: &Hub, cluster: &Object, connection: &Connection) -> Result<Vec<Finding>, Failure> {
    let uid = connection.system_uid().await?.unwrap_or_default();
    let known = cluster.str_at("/status/kubeSystemUID");
    let mut out = vec![match known {
        "" => {
            Finding::unknown("the hub has not seen it yet", "kro-hub check says whether the controller runs")
        }
        known if known == uid => Finding::ok("same id"),
        known => Finding::failed(
            format!("another cluster: kube-system {uid}, not {known}"),
            "give the context of this one; or register that one under another name",
        ),
    }];
    let (namespace, name) = (keys::CLAIM_NAMESPACE, keys::CLAIM_CONFIGMAP);
    let claim = connection.get(&resources::config_maps(), namespace, name).await?;
    let owner = claim.map(|claim| claim.str_at("/data/hub-id").to_owned());
    out.push(match (owner, hub.id().await?) {
        (None, _) => Finding::warning("not claimed by any hub", "the controller claims it when it connects"),
        (Some(owner), Some(own)) if owner == own => Finding::ok("claimed by this hub"),
        (Some(owner), _) => Finding::failed(
            format!("claimed by hub {owner}"),
            format!("if that hub is gone for good, delete ConfigMap {namespace}/{name} there"),
        ),
    });
    Ok(out)
}

fn rights(questions: &[Question], denied: &[Question], name: &str) -> Vec<Finding> {
    let all = questions.len();
    if denied.is_empty() {
        return vec![Finding::ok(format!("{all} of {all}"))];
    }
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for question in denied {
        let what = question.what();
        if told.insert(what.clone()) {
            let verbs: Vec<&str> =
                denied.iter().filter(|q| q.what() == what).map(|q| q.verb.as_str()).collect();
            lines.push(format!("{} {what} ({})", verbs.join(", "), question.why));
        }
    }
    let mend = format!("kro-hub rbac | kubectl --context CONTEXT-OF-{name} apply -f -");
    vec![Finding::failed(format!("{} of {all}: {}", all - denied.len(), lines.join("; ")), mend)]
}
