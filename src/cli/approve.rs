//! `kro-hub approve`: lets the version that waits enter its next stage.

use super::connection::Connecting;
use super::find::one;
use super::show;
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::InstanceKey;
use crate::edge::{Failure, Hub, Sort};
use crate::hub::resources;
use crate::reconcile::policy::Policy;
use crate::reconcile::policy::approving::Stages;
use crate::reconcile::rollout::approving::Approves;
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
        Some(name) => {
            match hub.connection.get(&resources::cluster_placements(), "", name).await {
                Ok(object) => for_placement(args, name, object.as_ref())?,
                // Who may approve need not see it.
                Err(failure) if failure.sort == Sort::Forbidden => match (args.version, &args.stage) {
                    (Some(version), Some(stage)) => of_kind(args, name, version, stage),
                    _ => return Err(failure),
                },
                Err(failure) => return Err(failure),
            }
        }
        None => {
            let (found, object) = one(&hub, &args.words).await?;
            let title = format!("{}/{}", found.kind.lower(), object.name());
            let namespace = Some(object.namespace()).filter(|n| !n.is_empty());
            // Who may approve need not see them.
            let placements = hub.placements(namespace).await?;
            for_instance(args, &object, &title, placements.as_deref())?
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

/// The version and the stage that are approved: those that are named, else those that a rollout waits for.
fn approved(args: &Args, title: &str, rollout: Option<&Value>) -> Result<(i64, String), Failure> {
    let text = |field: &str| rollout.and_then(|rollout| rollout.get(field)).and_then(Value::as_str);
    let Some(state) = text("state") else {
        return Err(Failure::usage(format!("{title} waits for no approval: no rollout moves it")));
    };
    let newest = rollout.and_then(|rollout| rollout.get("version")).and_then(Value::as_i64);
    let waiting = text("stage").filter(|_| state == "AwaitingApproval");
    let stage = args.stage.as_deref().or(waiting);
    match (args.version.or(newest), stage) {
        (Some(version), Some(stage)) => Ok((version, stage.to_owned())),
        _ => Err(Failure::usage(format!(
            "{title} waits for no approval: its rollout is {state}; --stage approves one in advance"
        ))),
    }
}

/// Refuses what would count for nothing.
fn refuse(
    (title, stages): (&str, &Stages),
    rollout: Option<&Value>,
    (version, stage): (i64, &str),
) -> Result<(), Failure> {
    let newest = rollout.and_then(|rollout| rollout.get("version")).and_then(Value::as_u64);
    let approval = Approves { version: u64::try_from(version).unwrap_or_default(), stage };
    match stages.refuse(approval, newest, "no rollout with stages moves it") {
        Some(why) => Err(Failure::usage(format!("{title}: {why}"))),
        None => Ok(()),
    }
}

fn for_placement(args: &Args, name: &str, object: Option<&Object>) -> Result<Value, Failure> {
    let title = format!("clusterplacement/{name}");
    let Some(object) = object else {
        return Err(Failure::usage(format!("there is no {title}")));
    };
    let stages = Stages::of_kind(&Policy::new(object));
    if stages == Stages::None {
        let why = "its rollout does not have the scope Kind: approve its instances";
        return Err(Failure::usage(format!("{title}: {why}")));
    }
    let rollout = object.0.pointer("/status/rollout/kind");
    let (version, stage) = approved(args, &title, rollout)?;
    refuse((&title, &stages), rollout, (version, &stage))?;
    Ok(of_kind(args, name, version, &stage))
}

fn of_kind(args: &Args, name: &str, version: i64, stage: &str) -> Value {
    let spec = json!({"clusterPlacement": name, "version": version, "stage": stage});
    body(name, &args.hub_namespace, version, stage, spec)
}

/// `placements`: those that may be about it; `None` where they may not be read.
fn for_instance(
    args: &Args,
    object: &Object,
    title: &str,
    placements: Option<&[Object]>,
) -> Result<Value, Failure> {
    let rollout = object.0.pointer("/status/fleet/rollout");
    let (version, stage) = approved(args, title, rollout)?;
    let key = InstanceKey::of(&object.object_ref());
    let stages = placements.map_or(Stages::Unknown, |placements| {
        let policies: Vec<Policy> = placements.iter().map(Policy::new).collect();
        Stages::of_instance(&policies, &key, Some(&object.labels()))
    });
    refuse((title, &stages), rollout, (version, &stage))?;
    let gk = object.group_kind();
    let spec = json!({
        "instance": {"group": *gk.group, "kind": *gk.kind, "name": object.name()},
        "version": version, "stage": stage,
    });
    let namespace = if object.namespace().is_empty() { &args.hub_namespace } else { object.namespace() };
    Ok(body(object.name(), namespace, version, &stage, spec))
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

    fn placement(namespace: &str, stages: &[&str], status: Value) -> Object {
        let stages: Vec<Value> = stages.iter().map(|name| json!({"name": name})).collect();
        let (kind, scope) =
            if namespace.is_empty() { ("ClusterPlacement", "Kind") } else { ("Placement", "Instance") };
        let mut metadata = json!({"name": "web"});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        Object(
            json!({"apiVersion": "hub.kro.run/v1alpha1", "kind": kind, "metadata": metadata, "status": status,
            "spec": {"instances": {"kind": "WebApp"}, "rollout": {"scope": scope, "stages": stages}}}),
        )
    }

    fn told(body: Result<Value, Failure>) -> String {
        match body {
            Ok(body) => {
                let object = Object(body.clone());
                format!("{}/{} {}", object.namespace(), object.name(), body["spec"])
            }
            Err(failure) => failure.text,
        }
    }

    fn check(flags: &[&str], rollout: Value, expect: &str) {
        let object = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
            "metadata": {"name": "shop", "namespace": "team"}, "status": {"fleet": {"rollout": rollout}}}));
        let placements = [placement("team", &["canary", "prod", "last"], Value::Null)];
        assert_eq!(told(for_instance(&args(flags), &object, "webapp/shop", Some(&placements))), expect);
    }

    #[test]
    fn the_version_that_waits_enters_the_stage_that_it_waits_for() {
        let waits = json!({"version": 8, "state": "AwaitingApproval", "stage": "prod"});
        let spec = |version: u64, stage: &str| {
            format!(
                r#"team/shop-{version}-{stage} {{"instance":{{"group":"kro.run","kind":"WebApp","name":"shop"}},"stage":"{stage}","version":{version}}}"#
            )
        };
        check(&[], waits.clone(), &spec(8, "prod"));
        check(&["--stage", "last", "--version", "7"], waits, &spec(7, "last"));
        check(
            &[],
            json!({"version": 8, "state": "InProgress", "stage": "prod"}),
            "webapp/shop waits for no approval: its rollout is InProgress; --stage approves one in advance",
        );
        check(&[], Value::Null, "webapp/shop waits for no approval: no rollout moves it");
    }

    #[test]
    fn what_would_count_for_nothing_is_refused() {
        let waits = json!({"version": 8, "state": "AwaitingApproval", "stage": "prod"});
        check(
            &["--stage", "prdo"],
            waits.clone(),
            "webapp/shop: there is no stage prdo; there are canary, prod, last, rest",
        );
        check(
            &["--version", "9"],
            waits.clone(),
            "webapp/shop: there is no version 9: the newest is 8, and the next gets a number above all that approvals name",
        );
        check(
            &["--version", "1", "--stage", "prod"],
            Value::Null,
            "webapp/shop waits for no approval: no rollout moves it",
        );
        let object = Object(json!({"apiVersion": "kro.run/v1", "kind": "WebApp",
            "metadata": {"name": "shop", "namespace": "team"}, "status": {"fleet": {"rollout": waits}}}));
        let of = |placements: Option<&[Object]>| told(for_instance(&args(&[]), &object, "it", placements));
        assert_eq!(of(Some(&[])), "it: no rollout with stages moves it");
        // Who may not read them approves all the same.
        assert!(of(None).starts_with("team/shop-8-prod "));
    }

    #[test]
    fn the_rollout_of_a_kind_is_named_by_its_placement() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of_cluster_placement(&words("clusterplacement/web")), Some("web"));
        assert_eq!(of_cluster_placement(&words("ClusterPlacement web")), Some("web"));
        assert_eq!(of_cluster_placement(&words("webapp/web")), None);
        let kind = json!({"version": 3, "revision": 5, "state": "AwaitingApproval", "stage": "prod"});
        let object = placement("", &["canary", "prod"], json!({"rollout": {"kind": kind}}));
        let of = |flags: &[&str]| told(for_placement(&args(flags), "web", Some(&object)));
        let spec = r#"{"clusterPlacement":"web","stage":"prod","version":3}"#;
        assert_eq!(of(&[]), format!("kro-hub/web-3-prod {spec}"));
        assert_eq!(of(&["--version", "3", "--stage", "prod"]), format!("kro-hub/web-3-prod {spec}"));
        let refused = of(&["--stage", "prdo"]);
        assert_eq!(refused, "clusterplacement/web: there is no stage prdo; there are canary, prod, rest");
        assert!(of(&["--version", "4"]).contains("there is no version 4: the newest is 3"));
        assert_eq!(told(for_placement(&args(&[]), "web", None)), "there is no clusterplacement/web");
        let other = placement("team", &["prod"], Value::Null);
        assert!(
            told(for_placement(&args(&[]), "web", Some(&other))).contains("does not have the scope Kind")
        );
    }
}
