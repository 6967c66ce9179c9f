//! `kro-hub wait`: until an instance is as somebody wants it.

use super::connection::{Connecting, duration};
use super::find::find;
use super::show::{self, Showing};
use crate::edge::{Failure, Hub, Watch, follow, numbers};
use crate::view::awaited::{Goal, Standing};
use crate::view::instance::{Around, ClusterLine};
use crate::view::kinds::{self, Generated};
use clap::Args as ClapArgs;
use futures::future::try_join3;
use jiff::Timestamp;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// KIND NAME, or KIND/NAME
    #[arg(value_name = "INSTANCE", required = true)]
    words: Vec<String>,
    /// active, deleted, revision=N, or a condition: Ready, ResourcesReady=False
    #[arg(long = "for", value_name = "GOAL", default_value = "active", value_parser = Goal::parse)]
    goal: Goal,
    /// So many of its clusters are enough
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = percent)]
    quorum: u8,
    /// End at once when it fails on a cluster
    #[arg(long)]
    fail_fast: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    connecting: Connecting,
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>();
    number
        .ok()
        .filter(|n| (1..=100).contains(n))
        .ok_or_else(|| format!("{text:?} is no percentage: 1% to 100%"))
}

/// Runs the command: 1 when the time is over.
pub fn run(args: Args) -> ExitCode {
    let connecting = args.connecting.clone();
    connecting.run(move || async move { wait(&args).await.map(|()| ExitCode::SUCCESS) })
}

async fn wait(args: &Args) -> Result<(), Failure> {
    let hub = Hub::new(args.connecting.person()?.hub().await?);
    let asked = kinds::asked(&args.words).map_err(Failure::usage)?;
    let [name] = asked.names.as_slice() else {
        return Err(Failure::usage(format!("name one instance: {}/NAME", asked.kind)));
    };
    let kind = match find(&hub, &args.words, false).await {
        Ok(found) => found.kind,
        // What is not there is deleted; but only of a kind that there is.
        Err(_) if args.goal == Goal::Deleted => {
            find(&hub, std::slice::from_ref(&asked.kind), false).await?.kind
        }
        Err(failure) => return Err(failure),
    };
    let title = format!("{}/{name}", kind.lower());
    let watches = [Watch {
        connection: hub.connection.clone(),
        resource: kind.resource(),
        namespace: kind.namespaced.then(|| hub.connection.namespace.clone()),
        selector: None,
    }];
    let (mut before, mut last): (Vec<ClusterLine>, String) = (Vec::new(), String::new());
    let reached = follow(&watches, async || {
        let (standing, lines) = look(args, &hub, &kind, name).await?;
        let count = match &standing {
            Standing::NotYet(count) => count.clone(),
            _ => format!("{} of {}", lines.iter().filter(|l| l.state == "ACTIVE").count(), lines.len()),
        };
        let now = Timestamp::now().strftime("%H:%M:%S");
        let is_new = |line: &&ClusterLine| {
            before.iter().all(|b| (&b.name, &b.state, &b.message) != (&line.name, &line.state, &line.message))
        };
        for line in lines.iter().filter(is_new) {
            let rest = if line.message.is_empty() { &line.resources } else { &line.message };
            show::print(&format!("{now} {} {} {rest}   {count}\n", line.name, line.state));
        }
        before = lines;
        match standing {
            Standing::Reached => return Ok(false),
            Standing::Failed(how) if args.fail_fast || how == "it is gone" => {
                return Err(Failure::usage(format!("{title} {how}")));
            }
            Standing::Failed(how) | Standing::NotYet(how) => last = how,
        }
        Ok(true)
    });
    match tokio::time::timeout(args.timeout, reached).await {
        Ok(ended) => ended,
        Err(_) => {
            let seconds = args.timeout.as_secs();
            let text = format!("{title} is not {} after {seconds} s: {last}", args.goal.text());
            Err(Failure::usage(text))
        }
    }
}

async fn look(
    args: &Args,
    hub: &Hub,
    kind: &Generated,
    name: &str,
) -> Result<(Standing, Vec<ClusterLine>), Failure> {
    let namespace = kind.namespaced.then(|| hub.connection.namespace.clone());
    let resource = kind.resource();
    let object = hub.connection.get(&resource, namespace.as_deref().unwrap_or_default(), name);
    let (clusters, reports, revisions) =
        try_join3(hub.clusters(), hub.reports(namespace.as_deref()), hub.revisions(Some(&kind.definition)))
            .await?;
    let object = object.await?;
    let around = Around::new(numbers(&revisions), &reports, &clusters);
    let lines = object.as_ref().map(|object| around.lines(object)).unwrap_or_default();
    args.showing.notes(hub.take_holes());
    Ok((args.goal.standing(object.as_ref(), &lines, args.quorum), lines))
}
