//! `kro-hub check`: the hub itself, before kro-hub is installed and while it runs.

mod before;
mod questions;

use super::cluster::Format;
use super::connection::Connecting;
use super::{cluster, rbac};
use crate::access::Account;
use crate::access::check::{Check, Finding, Group};
use crate::api::keys::hub as keys;
use crate::api::{Object, crds};
use crate::edge::clusters::{Hub, status_of};
use crate::edge::{Connection, Failure, Sort};
use crate::hub::resources;
use crate::spoke::lists::Which;
use clap::Args as ClapArgs;
use kube::core::ApiResource;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Before kro-hub is installed: what is missing for it
    #[arg(long)]
    pre: bool,
    /// What a migration from kro would change
    #[arg(long)]
    kro: bool,
    /// text; short says only what is wrong; json
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    /// Namespace of the controller
    #[arg(long, value_name = "NAME", default_value = "kro-hub")]
    hub_namespace: String,
    #[command(flatten)]
    connecting: Connecting,
}

pub fn run(args: Args) -> ExitCode {
    args.connecting.clone().run(move || async move { args.go().await })
}

impl Args {
    async fn go(&self) -> Result<ExitCode, Failure> {
        let connection = self.connecting.person()?.hub().await?;
        let look = Look { hub: Hub { connection, namespace: self.hub_namespace.clone() } };
        let mut groups = vec![look.api().await?, look.crds(self.pre).await?];
        if self.pre {
            groups.push(look.own_rights().await?);
        } else {
            groups.push(look.controller().await?);
            groups.push(look.rights().await?);
            groups.push(look.definitions().await?);
            groups.push(look.clusters().await?);
        }
        groups.push(look.kro(self.kro).await?);
        Ok(cluster::show(&Check::new(groups), self.output))
    }
}

struct Look {
    hub: Hub,
}

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

impl Look {
    fn connection(&self) -> &Connection {
        &self.hub.connection
    }

    fn group(&self, name: &str, checks: Vec<Finding>) -> Group {
        Group { about: self.connection().name.clone(), name: name.to_owned(), checks }
    }

    async fn api(&self) -> Result<Group, Failure> {
        let hub = self.connection();
        let read = hub.within("get /version", hub.verbs().get_json("/version")).await?;
        let version =
            read.as_ref().and_then(|v| v.get("gitVersion")?.as_str()).unwrap_or("of no version").to_owned();
        Ok(self.group("api", vec![Finding::ok(format!("{} answers, {version}", hub.server))]))
    }

    /// The CRDs that the controller installs, and needs.
    async fn crds(&self, pre: bool) -> Result<Group, Failure> {
        let crd =
            resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
        let mut checks = Vec::new();
        let mut fine = 0;
        for wanted in crds::all() {
            let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let Some(live) = self.connection().get(&crd, "", name).await? else {
                if !pre {
                    checks.push(Finding::failed(
                        format!("{name} is missing"),
                        "kro-hub crds | kubectl apply --server-side -f -, or start the controller, which installs it",
                    ));
                }
                continue;
            };
            let lacks = crds::lacks(&live.0, &wanted);
            if !crate::spoke::crd::is_established(&live.0) {
                checks.push(Finding::failed(
                    format!("{name} is not Established"),
                    format!("kubectl describe crd {name}"),
                ));
            } else if lacks.is_empty() {
                fine += 1;
            } else {
                checks.push(Finding::warning(
                    format!("{name} is older than kro 0.9.4: it lacks {}", lacks.join(", ")),
                    "kro-hub crds | kubectl apply --server-side -f -, or start the controller with --upgrade-crds",
                ));
            }
        }
        if fine > 0 || pre {
            let text = if fine == 0 {
                "none is there yet; the controller installs them".to_owned()
            } else {
                format!("{fine} as wanted")
            };
            checks.insert(0, Finding::ok(text));
        }
        Ok(self.group("crds", checks))
    }

    /// Whether the person may install it.
    async fn own_rights(&self) -> Result<Group, Failure> {
        let questions = questions::install(&self.hub.namespace);
        let denied = self.connection().denied(&questions, None).await?;
        let checks = match denied.as_slice() {
            [] => vec![Finding::ok("you may install it: namespace, CRDs, roles, Deployment")],
            denied => denied
                .iter()
                .map(|q| {
                    Finding::failed(
                        format!("you may not {} {}", q.verb, q.what()),
                        "ask an administrator of this cluster to install it",
                    )
                })
                .collect(),
        };
        Ok(self.group("rights", checks))
    }

    /// Who leads, and which hub this is.
    async fn controller(&self) -> Result<Group, Failure> {
        let lease = resource("coordination.k8s.io/v1", "Lease", "leases");
        let found = self.connection().get(&lease, &self.hub.namespace, keys::LEASE).await?;
        let mut checks = vec![before::leads(found.as_ref(), &self.hub.namespace, cluster::now())];
        checks.push(match self.hub.id().await? {
            Some(id) => Finding::ok(format!("hub id {id}")),
            None => Finding::failed(
                format!("ConfigMap {}/{} is missing", self.hub.namespace, keys::HUB_ID_CONFIGMAP),
                "the controller makes it when it starts; after a restore take it from Git or a backup",
            ),
        });
        Ok(self.group("controller", checks))
    }

    /// Whether the controller's ServiceAccount has what deploy/ gives it.
    async fn rights(&self) -> Result<Group, Failure> {
        let account = Account { namespace: self.hub.namespace.clone(), name: "kro-hub".into() };
        let found = self
            .connection()
            .get(&resource("v1", "ServiceAccount", "serviceaccounts"), &account.namespace, &account.name)
            .await?;
        if found.is_none() {
            let text = format!(
                "ServiceAccount {}/{} is not there; whose rights the controller has is not known",
                account.namespace, account.name
            );
            return Ok(self.group(
                "rights",
                vec![Finding::unknown(text, "kubectl apply --server-side -k deploy installs it")],
            ));
        }
        let mut questions = questions::base(&self.hub.namespace);
        let from_hub = rbac::of_hub(self.connection(), &super::validate::Judging::default()).await;
        if let Ok(from_hub) = &from_hub {
            questions.extend(from_hub.on_hub().questions());
        }
        let denied = match self.connection().denied(&questions, Some(&account)).await {
            Ok(denied) => denied,
            Err(failure) if failure.sort == Sort::Forbidden => {
                return Ok(
                    self.group("rights", vec![Finding::unknown(failure.to_string(), "ask an administrator")])
                );
            }
            Err(failure) => return Err(failure),
        };
        let all = questions.len();
        let checks = match denied.first() {
            None => vec![Finding::ok(format!("{all} of {all}"))],
            Some(_) => denied
                .iter()
                .map(|q| {
                    Finding::failed(
                        format!("{} {} ({})", q.verb, q.what(), q.why),
                        "kubectl apply --server-side -k deploy; kro-hub rbac --for hub | kubectl apply -f -",
                    )
                })
                .collect(),
        };
        Ok(self.group("rights", checks))
    }

    /// Definitions that are refused.
    async fn definitions(&self) -> Result<Group, Failure> {
        let all = self.connection().list(&resources::definitions(), Which::default()).await?;
        let bad: Vec<Finding> = all.iter().filter_map(before::refused).collect();
        let fine = all.len() - bad.len();
        let first = Finding::ok(format!("{fine} of {} Active", all.len()));
        Ok(self.group("definitions", [vec![first], bad].concat()))
    }

    /// Clusters that are not Ready, and Secrets that register nothing.
    async fn clusters(&self) -> Result<Group, Failure> {
        let all = self.hub.clusters().await?;
        let mut checks = Vec::new();
        for cluster in &all {
            let status = status_of(cluster);
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            if ready.is_none_or(|c| c.status != crate::api::condition::ConditionStatus::True) {
                let said = ready.map_or("nothing is said of it yet".to_owned(), |c| {
                    format!("{}: {}", c.reason, c.message)
                });
                checks.push(Finding::failed(
                    format!("{}: {said}", cluster.name()),
                    format!("kro-hub cluster check {}", cluster.name()),
                ));
            }
        }
        checks.insert(0, Finding::ok(format!("{} of {} Ready", all.len() - checks.len(), all.len())));
        let which =
            Which { namespace: Some(&self.hub.namespace), selector: Some("hub.kro.run/cluster=true") };
        match self.connection().list(&resources::secrets(), which).await {
            Ok(secrets) => checks.extend(secrets.iter().filter_map(|s| before::registers_nothing(s, &all))),
            Err(failure) if failure.sort == Sort::Forbidden => {
                checks.push(Finding::unknown(
                    failure.to_string(),
                    "Secrets that are refused are not looked for",
                ));
            }
            Err(failure) => return Err(failure),
        }
        Ok(self.group("clusters", checks))
    }

    /// A kro beside us: two of them fight.
    async fn kro(&self, whole: bool) -> Result<Group, Failure> {
        let deployments = resource("apps/v1", "Deployment", "deployments");
        let which = Which { namespace: None, selector: Some("app.kubernetes.io/name=kro") };
        let found: Vec<Object> = match self.connection().list(&deployments, which).await {
            Ok(found) => found,
            Err(failure) if failure.sort == Sort::Forbidden => {
                return Ok(self.group(
                    "kro",
                    vec![Finding::unknown(failure.to_string(), "whether kro runs here is not known")],
                ));
            }
            Err(failure) => return Err(failure),
        };
        let mut checks: Vec<Finding> = found.iter().filter_map(before::runs).collect();
        if checks.is_empty() {
            checks.push(Finding::ok("no kro runs beside kro-hub"));
        }
        if whole {
            checks.extend(self.migration().await?);
        }
        Ok(self.group("kro", checks))
    }

    /// What changes where kro-hub takes over.
    async fn migration(&self) -> Result<Vec<Finding>, Failure> {
        let definitions = match self.connection().list(&resources::definitions(), Which::default()).await {
            Err(failure) if failure.sort == Sort::NotServed => Vec::new(),
            read => read?,
        };
        let mut instances = 0;
        for definition in &definitions {
            instances += self.hub.instances_of(definition).await?.len();
        }
        let local = match self.hub.clusters().await {
            Ok(clusters) => clusters.iter().any(|c| c.0.pointer("/spec/local") == Some(&Value::Bool(true))),
            Err(failure) if failure.sort == Sort::NotServed => false,
            Err(failure) => return Err(failure),
        };
        let mut out = vec![Finding::ok(format!(
            "{} definitions with {instances} instances; names, labels, managers and status stay as kro has them",
            definitions.len()
        ))];
        if instances > 0 && !local {
            out.push(Finding::warning(
                "no Cluster is local: nothing would look after these instances",
                "before kro stops, apply a Cluster with spec.local: true",
            ));
        }
        Ok(out)
    }
}
