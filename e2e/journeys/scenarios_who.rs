//! Who asks and who answers: credentials that turn over while there is work, and another cluster behind the address.

use super::faults_spoke_down::{cluster, define};
use super::scenarios::Runs::Always;
use super::scenarios::{Scenario, noticed, writes};
use super::stand::{PATIENCE, Stand, text};
use crate::env::eventually;
use crate::env::wait::throughout;
use crate::faults::{Line, When};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    ("scenario_06_rotations_in_the_middle_of_a_fan_out", rotations, Always),
    ("scenario_08_another_cluster_behind_the_address", another_cluster, Always),
];

const INSTANCES: usize = 40;
/// Between two writes on the spoke while there is work.
const GAP: Duration = Duration::from_secs(5);
/// Connections of earlier credentials are closed.
const CLOSED: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

/// Open files of the controller, connections among them.
fn descriptors(stand: &Stand) -> Result<usize> {
    let pid = stand.on_controller(|c| Ok(c.pid()))?;
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn rotations(stand: &Stand) -> Result<()> {
    let kind = define(stand, "rotation", "Rotation")?;
    let (proxy, pid) = (stand.proxy("us")?, stand.on_controller(|c| Ok(c.pid()))?);
    let rotate = || stand.register("us", &stand.env.least_kubeconfig_of("us", "turns", HOUR)?);
    rotate()?;
    stand.env.wait_cluster_ready("hub", "us", PATIENCE)?;
    let names: Vec<String> = (0..INSTANCES).map(|n| format!("i{n:02}")).collect();
    let start = Instant::now();
    for (n, name) in names.iter().enumerate() {
        kind.create(name, "eu,us", "{text: one}")?;
        if n % 8 == 4 {
            rotate()?;
        }
    }
    names.iter().try_for_each(|name| kind.wait_active(name, &["eu", "us"]).map(drop))?;
    let ended = Instant::now();
    let written = proxy.seen(start, &When::writes());
    let moments: Vec<Instant> =
        written.iter().filter(|seen| seen.status.is_some_and(|s| s < 300)).map(|seen| seen.at).collect();
    let gap = moments.windows(2).map(|pair| pair[1] - pair[0]).max().context("nothing was written")?;
    println!("{INSTANCES} instances in {:?}, with 5 rotations; longest gap {gap:?}", ended - start);
    ensure!(gap < GAP, "nothing was written on us for {gap:?}");
    let refused = proxy.seen(start, &When::any()).iter().filter(|seen| seen.status == Some(401)).count();
    ensure!(refused == 0, "{refused} requests with credentials that are not accepted");

    // Old connections are closed, and nothing piles up.
    let settled = |marker: u64| {
        eventually(CLOSED, "connections of earlier credentials are closed", || {
            let open = proxy.open();
            ensure!(
                open.iter().all(|number| *number > marker),
                "open: {open:?}, new are those above {marker}"
            );
            Ok(())
        })
    };
    let newest = || proxy.open().last().copied().unwrap_or_default();
    let marker = newest();
    rotate()?;
    stand.env.wait_cluster_ready("hub", "us", PATIENCE)?;
    settled(marker)?;
    let (before, open) = (descriptors(stand)?, proxy.open().len());
    for _ in 0..10 {
        let marker = newest();
        rotate()?;
        eventually(CLOSED, "the new credentials are used", || {
            ensure!(newest() > marker, "no new connection");
            Ok(())
        })?;
    }
    stand.env.wait_cluster_ready("hub", "us", PATIENCE)?;
    eventually(CLOSED, "as many connections and descriptors as before", || {
        let now = (descriptors(stand)?, proxy.open().len());
        ensure!(now.0 <= before + 1 && now.1 <= open, "{now:?}, before {:?}", (before, open));
        Ok(())
    })?;
    ensure!(stand.on_controller(|c| Ok(c.pid()))? == pid, "the controller was started anew");
    names.iter().try_for_each(|name| kind.delete(name))?;
    names.iter().try_for_each(|name| kind.wait_gone(name))
}

/// Of namespace kube-system, as the hub calls a cluster.
fn identity(stand: &Stand, name: &str) -> Result<String> {
    Ok(text(&cluster(stand, name)?, "/status/clusterID"))
}

/// How requests begin to go to another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swap {
    WithNewConnections,
    /// Connections stay open, and a gateway has credentials for both.
    Unseen,
    /// Connections stay open.
    WithoutCredentials,
}

fn another_cluster(stand: &Stand) -> Result<()> {
    let kind = define(stand, "swapped", "Swapped")?;
    kind.create("kept", "us", "{text: one}")?;
    kind.wait_active("kept", &["us"])?;
    let (proxy, us) = (stand.proxy("us")?, identity(stand, "us")?);
    let on_us = print(stand, "us", &kind.collection())?;
    // A gateway with credentials of its own: the other cluster lets in whoever comes.
    let kubeconfig: Value = serde_saphyr::from_str(&stand.env.token_kubeconfig("eu", "gateway", HOUR)?)?;
    let token = text(&kubeconfig, "/users/0/user/token");
    let turn = |way: Swap, reason: &str| -> Result<()> {
        // What was under way to the one cluster is not what comes to the other.
        if way == Swap::WithNewConnections {
            proxy.line(Line::Refused)?;
            proxy.cut();
        }
        let start = Instant::now();
        match way {
            Swap::WithNewConnections => {
                proxy.lead_to_with(stand.env.port("eu"), &token);
                proxy.line(Line::Clear)?;
            }
            Swap::Unseen => proxy.lead_to_with(stand.env.port("eu"), &token),
            // Tokens of one cluster are none of another.
            Swap::WithoutCredentials => proxy.lead_to(stand.env.port("eu")),
        }
        kind.create("new", "us", "{text: one}")?;
        kind.edit("kept", "{text: two}")?;
        let took = noticed(stand, "us", reason, start, Duration::from_secs(20))?;
        println!("noticed after {took:?}");
        kind.delete("new")?;
        throughout(Duration::from_secs(3), "nothing is written to the other cluster", || {
            let written = writes(proxy, start);
            // What is not answered yet is answered so as well.
            let all = |code| {
                let refused = format!("Some({code})");
                written.iter().all(|line| line.ends_with(&refused) || line.ends_with("None"))
            };
            match way {
                Swap::WithNewConnections => ensure!(written.is_empty(), "tried: {written:?}"),
                // One for each instance may be under way; the other cluster does not even know the kind.
                Swap::Unseen => ensure!(all(404) && written.len() <= 2, "{written:?}"),
                Swap::WithoutCredentials => ensure!(all(401), "{written:?}"),
            }
            ensure!(stand.api("eu").get(&kind.path("new"))?.is_none(), "it is on eu");
            Ok(())
        })?;
        ensure!(identity(stand, "us")? == us, "it took on the new identity");
        ensure!(print(stand, "us", &kind.collection())? == on_us, "us was written");
        // Back, and acknowledged by credentials that are written anew.
        proxy.heal()?;
        proxy.cut();
        stand.register("us", &stand.env.least_kubeconfig_of("us", "turns", HOUR)?)?;
        stand.env.wait_cluster_ready("hub", "us", PATIENCE)?;
        kind.wait_gone("new")?;
        kind.wait_child("us", "configmaps/kept", |c| c["data"]["text"] == "two")?;
        kind.edit("kept", "{text: one}")?;
        kind.wait_active("kept", &["us"]).map(drop)
    };
    turn(Swap::WithNewConnections, "IdentityChanged")?;
    turn(Swap::Unseen, "IdentityChanged")?;
    turn(Swap::WithoutCredentials, "Unauthorized")?;
    kind.remove("kept")
}

/// Objects of a collection: name, uid, what they say.
fn print(stand: &Stand, on: &str, collection: &str) -> Result<Vec<[String; 3]>> {
    let found = stand.api(on).list(collection)?;
    Ok(found
        .iter()
        .map(|o| [text(o, "/metadata/name"), text(o, "/metadata/uid"), o["spec"].to_string()])
        .collect())
}
