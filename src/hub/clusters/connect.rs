//! Connecting a cluster: build the client, ask who it is, claim it, read what was left there.
//!
//! Nothing is written to a cluster before the hub side has judged its identity, so this runs in two halves.

use super::source::Source;
use crate::api::names::ClusterName;
use crate::hub::context::Context;
use crate::hub::identity::{self, Claim, ClusterInfo};
use crate::hub::{Event, clusters::left};
use crate::reconcile::fleet::Left;
use crate::spoke::client::{ApiError, DEFAULT_IN_FLIGHT, SpokeClient};
use crate::spoke::health::{Contact, backoff};
use crate::spoke::messages::ContactState;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A client and the ear that hears how its requests end.
pub struct Line {
    pub client: SpokeClient,
    pub contacts: mpsc::UnboundedReceiver<Contact>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

/// How far connecting is.
#[derive(Debug)]
pub enum Progress {
    /// No client can be built from the credentials.
    Unusable(String),
    /// A try failed; the next one follows by itself.
    Failed(ContactState),
    Identified(Box<(ClusterInfo, Line)>),
    /// `left` is what an earlier registration of this cluster left there, by uid of the hub instance.
    Claimed(Box<(Claim, Line, BTreeMap<String, Left>)>),
    /// Who answers now that contact is back, and whose it says it is.
    Recognized(Box<(ClusterInfo, Claim)>),
}

/// First half: who is it? Tries until it answers or is told to stop.
pub(in crate::hub) fn identify(
    ctx: &Context,
    name: &ClusterName,
    epoch: u64,
    source: &Source,
    in_flight: Option<u32>,
    until: CancellationToken,
) {
    let (sender, contacts) = mpsc::unbounded_channel();
    let limit = in_flight.and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_IN_FLIGHT);
    let built = match source {
        Source::Local => ctx.client.as_local_spoke(name, limit, ctx.metrics.clone(), sender),
        Source::Remote(endpoint) => SpokeClient::new(endpoint, name, limit, ctx.metrics.clone(), sender),
    };
    let (ctx, name) = (ctx.clone(), name.clone());
    let client = match built {
        Ok(client) => client,
        Err(error) => {
            ctx.tell(Event::Connect(name, epoch, Progress::Unusable(error.to_string())));
            return;
        }
    };
    let line = Line { client, contacts };
    let tell = {
        let (ctx, name) = (ctx.clone(), name.clone());
        move |progress| ctx.tell(Event::Connect(name.clone(), epoch, progress))
    };
    ctx.spawn(async move {
        let asking = async {
            let mut attempt = 0;
            loop {
                match identity::of_cluster(&line.client).await {
                    Ok(info) => return info,
                    Err(error) => tell(Progress::Failed(state(&error))),
                }
                tokio::time::sleep(backoff(attempt, name.as_str())).await;
                attempt += 1;
            }
        };
        let info = tokio::select! {
            () = until.cancelled() => return,
            info = asking => info,
        };
        tell(Progress::Identified(Box::new((info, line))));
    });
}

/// Contact is back: is it still the same cluster, and still ours? Tries until it answers or is told to stop.
pub(in crate::hub) fn recognize(
    ctx: &Context,
    name: &ClusterName,
    epoch: u64,
    client: &SpokeClient,
    until: CancellationToken,
) {
    let (ctx, name, client) = (ctx.clone(), name.clone(), client.clone());
    let this = ctx.clone();
    this.spawn(async move {
        let asking = async {
            let mut attempt = 0;
            loop {
                let info = identity::of_cluster(&client).await;
                let claim = identity::claim_of(&client, &ctx.hub_id).await;
                if let (Ok(info), Ok(claim)) = (info, claim) {
                    return (info, claim);
                }
                tokio::time::sleep(backoff(attempt, name.as_str())).await;
                attempt += 1;
            }
        };
        let found = tokio::select! {
            () = until.cancelled() => return,
            found = asking => found,
        };
        ctx.tell(Event::Connect(name, epoch, Progress::Recognized(Box::new(found))));
    });
}

/// Second half: is it ours, and what did we leave there? `local` is the hub itself, which nobody needs to claim.
pub(in crate::hub) fn claim(
    ctx: &Context,
    name: &ClusterName,
    epoch: u64,
    cluster_id: &str,
    line: Line,
    local: bool,
    until: CancellationToken,
) {
    let (ctx, name, cluster_id) = (ctx.clone(), name.clone(), cluster_id.to_owned());
    let (this, mut line) = (ctx.clone(), line);
    this.spawn(async move {
        let asking = async {
            let mut attempt = 0;
            loop {
                match try_claim(&ctx, &name, &line.client, &cluster_id, local).await {
                    Ok(found) => return found,
                    Err(error) => {
                        ctx.tell(Event::Connect(name.clone(), epoch, Progress::Failed(state(&error))))
                    }
                }
                tokio::time::sleep(backoff(attempt, name.as_str())).await;
                attempt += 1;
            }
        };
        let (claim, left) = tokio::select! {
            () = until.cancelled() => return,
            found = asking => found,
        };
        // What failed on the way here is no news for the actor.
        while line.contacts.try_recv().is_ok() {}
        ctx.tell(Event::Connect(name, epoch, Progress::Claimed(Box::new((claim, line, left)))));
    });
}

async fn try_claim(
    ctx: &Context,
    name: &ClusterName,
    client: &SpokeClient,
    cluster_id: &str,
    local: bool,
) -> Result<(Claim, BTreeMap<String, Left>), ApiError> {
    if local {
        return Ok((Claim::Ours, BTreeMap::new()));
    }
    if !ctx.may_write() {
        return Err(ApiError::NotLeading);
    }
    let claim = identity::claim(client, &ctx.hub_id).await?;
    let mut left = left::read(&ctx.client, &ctx.settings.namespace, cluster_id).await?;
    left.extend(left::read(&ctx.client, &ctx.settings.namespace, &left::unknown_id(name)).await?);
    Ok((claim, left))
}

fn state(error: &ApiError) -> ContactState {
    match error {
        ApiError::Unauthorized => ContactState::Unauthorized(error.to_string()),
        _ => ContactState::Unreachable(error.to_string()),
    }
}
