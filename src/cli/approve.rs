//! `kro-hub approve`: lets the version that waits enter its next stage.

use super::connection::Connecting;
use super::find::one;
use super::show;
use crate::api::Object;
use crate::api::keys::hub;
use crate::edge::{Failure, Hub, Sort};
use crate::hub::resources;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// KIND NAME, or KIND/NAME; or clusterplacement/NAME for the rollout of a whole kind
    #[arg(value_name = "INSTANCE", required = true)]
    words: Vec<String>,
    /// The version that is approved [default: the one that waits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    /// The stage that it may enter [default: the one that it waits for]
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Namespace of the controller, where what is of the whole cluster is approved
    #[arg(long, env = "KRO_HUB_NAMESPACE", default_value = "kro-hub", value_name = "NAME")]
    hub_namespace: String,
    /// Print the RolloutApproval, for Git, instead of creating it: yaml or json
    #[arg(short, long, value_enum, value_name = "FORM")]
    output: Option<Form>,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { approve(&args).await.map(|()| ExitCode::SUCCESS) })
}

async fn approve(args: &Args) -> Result<(), Failure> {
    let hub = Hub::new(args.connecting.person()?.hub().await?);
    let body = match of_cluster_placement(&args.words) {
        Some(name) => for_placement(args, name)?,
        None => {
            let (found, object) = one(&hub, &args.words).await?;
            let title = format!("{}/{}", found.kind.lower(), object.name());
            for_instance(args, &object, &title)?
        }
    };
    match args.output {
        Some(Form::Json) => {
            show::print(&(serde_json::to_string_pretty(&body).unwrap_or_default() + "\n"));
            return Ok(());
        }
        Some(Form::Yaml) => {
            show::print(&serde_saphyr::to_string(&body).unwrap_or_default());
            return Ok(());
        }
        None => {}
    }
    let object = Object(body.clone());
    let resource = resources::rollout_approvals();
    let what = format!("create rolloutapprovals.{} in namespace {}", hub::GROUP, object.namespace());
    let created = hub.connection.verbs().create(&resource, object.namespace(), &body);
    let (name, spec) = (object.name(), &body["spec"]);
    let says =
        format!("version {} may enter stage {}", spec["version"], spec["stage"].as_str().unwrap_or_default());
    match hub.connection.within(&what, created).await {
        Ok(_) => show::print(&format!("rolloutapproval/{name} created: {says}\n")),
        Err(failure) if failure.sort == Sort::Exists => {
            show::print(&format!("rolloutapproval/{name} is there already: {says}\n"));
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

fn of_cluster_placement(words: &[String]) -> Option<&str> {
    let is = |word: &str| ["clusterplacement", "clusterplacements"].contains(&word.to_lowercase().as_str());
    match words {
        [one] => one.split_once('/').filter(|(kind, _)| is(kind)).map(|(_, name)| name),
        [kind, name] if is(kind) => Some(name),
        _ => None,
    }
}

fn for_placement(args: &Args, name: &str) -> Result<Value, Failure> {
    let (Some(version), Some(stage)) = (args.version, &args.stage) else {
        return Err(Failure::usage(
            "for a ClusterPlacement give --version and --stage, as its condition RolledOut names them",
        ));
    };
    let spec = json!({"clusterPlacement": name, "version": version, "stage": stage});
    Ok(body(name, &args.hub_namespace, version, stage, spec))
}

fn for_instance(args: &Args, object: &Object, title: &str) -> Result<Value, Failure> {
    let rollout = |field: &str| object.0.pointer(&format!("/status/fleet/rollout/{field}"));
    let state = rollout("state").and_then(Value::as_str);
    let version = args.version.or_else(|| rollout("version").and_then(Value::as_i64));
    let waiting = rollout("stage").and_then(Value::as_str).filter(|_| state == Some("AwaitingApproval"));
    let stage = args.stage.as_deref().or(waiting);
    let (Some(version), Some(stage)) = (version, stage) else {
        let why = match state {
            None => "no rollout moves it".to_owned(),
            Some(state) => format!("its rollout is {state}"),
        };
        return Err(Failure::usage(format!(
            "{title} waits for no approval: {why}; --stage approves one in advance"
        )));
    };
    let gk = object.group_kind();
    let spec = json!({
        "instance": {"group": *gk.group, "kind": *gk.kind, "name": object.name()},
        "version": version, "stage": stage,
    });
    let namespace = if object.namespace().is_empty() { &args.hub_namespace } else { object.namespace() };
    Ok(body(object.name(), namespace, version, stage, spec))
}

fn body(name: &str, namespace: &str, version: i64, stage: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{}/v1alpha1", hub::GROUP),
        "kind": "RolloutApproval",
        "metadata": {"name": format!("{name}-{version}-{stage}"), "namespace": namespace},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        Line::parse_from(["approve", "webapp/shop"].iter().chain(flags)).args
    }

    fn check(flags: &[&str], rollout: Value, expect: &str) {
        let object = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
            "metadata": {"name": "shop", "namespace": "team"}, "status": {"fleet": {"rollout": rollout}}}));
        let got = match for_instance(&args(flags), &object, "webapp/shop") {
            Ok(body) => {
                let object = Object(body.clone());
                format!("{}/{} {}", object.namespace(), object.name(), body["spec"])
            }
            Err(failure) => failure.text,
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn the_version_that_waits_enters_the_stage_that_it_waits_for() {
        let waits = json!({"version": 8, "state": "AwaitingApproval", "stage": "prod"});
        check(
            &[],
            waits.clone(),
            r#"team/shop-8-prod {"instance":{"group":"kro.run","kind":"WebApp","name":"shop"},"stage":"prod","version":8}"#,
        );
        check(
            &["--stage", "last", "--version", "9"],
            waits,
            r#"team/shop-9-last {"instance":{"group":"kro.run","kind":"WebApp","name":"shop"},"stage":"last","version":9}"#,
        );
        check(
            &[],
            json!({"version": 8, "state": "InProgress", "stage": "prod"}),
            "webapp/shop waits for no approval: its rollout is InProgress; --stage approves one in advance",
        );
        check(
            &[],
            Value::Null,
            "webapp/shop waits for no approval: no rollout moves it; --stage approves one in advance",
        );
    }

    #[test]
    fn the_rollout_of_a_kind_is_named_by_its_placement() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of_cluster_placement(&words("clusterplacement/web")), Some("web"));
        assert_eq!(of_cluster_placement(&words("ClusterPlacement web")), Some("web"));
        assert_eq!(of_cluster_placement(&words("webapp/web")), None);
        let body = for_placement(&args(&["--version", "3", "--stage", "prod"]), "web").unwrap();
        assert_eq!(body["metadata"], json!({"name": "web-3-prod", "namespace": "kro-hub"}));
        assert!(for_placement(&args(&[]), "web").is_err());
    }
}
