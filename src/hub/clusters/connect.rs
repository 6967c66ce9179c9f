//! Connecting a cluster: build the client, ask who it is, claim it, read what was left there.
//!
//! Nothing is written to a cluster before the hub side has judged its identity, so this runs in two halves.

use super::source::Source;
use crate::api::names::ClusterName;
use crate::hub::context::Context;
use crate::hub::identity::{self, AskError, Claim, ClusterInfo};
use crate::hub::{Event, clusters::left_behind};
use crate::reconcile::fleet::Left;
use crate::spoke::client::{ApiError, ClientSettings, DEFAULT_IN_FLIGHT, SpokeClient};
use crate::spoke::health::{Contact, backoff};
use crate::spoke::messages::ContactState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
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

/// The longest pause while something has to be mended on the cluster, of which nobody tells us.
const LASTING: Duration = Duration::from_secs(120);

/// How far connecting is.
#[derive(Debug)]
pub enum Progress {
    /// No client can be built from the credentials.
    Unusable(String),
    /// A try failed; the next one follows by itself.
    Failed(ContactState),
    /// A connection led to another cluster than the one before, with this identity.
    Stranger(String),
    Identified(Box<(ClusterInfo, Line)>),
    /// `left` is what an earlier registration of this cluster left there, by uid of the hub instance.
    Claimed(Box<(Claim, Line, BTreeMap<String, Left>)>),
    /// Contact is back, in the episode of this number: who answers now, and whose it says it is.
    Recognized(u64, Box<(ClusterInfo, Claim)>),
    /// The same, and it does not say; the next try follows by itself.
    Unrecognized(u64, ContactState),
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
    let (cluster, metrics) = (name.clone(), ctx.metrics.clone());
    let settings = ClientSettings { cluster, in_flight: limit, metrics, contacts: sender };
    let built = match source {
        Source::Local => ctx.client.as_local_spoke(settings),
        Source::Remote(endpoint) => SpokeClient::new(endpoint, settings, ctx.client.host().clone()),
    };
    let (ctx, name) = (ctx.clone(), name.clone());
    let client = match built {
        Ok(client) => client,
        Err(error) => {
            ctx.tell(Event::Connect(name, epoch, Progress::Unusable(error.to_string())));
            return;
        }
    };
    let lease = ctx.lease.clone();
    let line = Line { client: client.fenced(Arc::new(move || lease.is_held())), contacts };
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
                    Err(error) => {
                        // Nobody judged yet who it is.
                        line.client.forget_who_answers();
                        tell(Progress::Failed(state(&error)));
                        tokio::time::sleep(pause(attempt, &error, &name)).await;
                    }
                }
                attempt += 1;
            }
        };
        let info = tokio::select! {
            biased;
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
    episode: u64,
    client: &SpokeClient,
    until: CancellationToken,
) {
    let (ctx, name, client) = (ctx.clone(), name.clone(), client.clone());
    let this = ctx.clone();
    this.spawn(async move {
        let tell = |progress| ctx.tell(Event::Connect(name.clone(), epoch, progress));
        let asking = async {
            let mut attempt = 0;
            loop {
                let found = async {
                    let info = identity::of_cluster(&client).await?;
                    Ok::<_, AskError>((info, identity::claim_of(&client, &ctx.hub_id).await?))
                };
                match found.await {
                    Ok(found) => return found,
                    Err(error) => {
                        tracing::info!(cluster = %name, %error, "contact is back, but not who answers");
                        tell(Progress::Unrecognized(episode, state(&error)));
                        tokio::time::sleep(pause(attempt, &error, &name)).await;
                    }
                }
                attempt += 1;
            }
        };
        let found = tokio::select! {
            biased;
            () = until.cancelled() => return,
            found = asking => found,
        };
        tell(Progress::Recognized(episode, Box::new(found)));
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
                    Ok(found) => return Ok(found),
                    Err(AskError::Api(ApiError::Stranger { found })) => return Err(found),
                    Err(error) => {
                        ctx.tell(Event::Connect(name.clone(), epoch, Progress::Failed(state(&error))));
                        tokio::time::sleep(pause(attempt, &error, &name)).await;
                    }
                }
                attempt += 1;
            }
        };
        let asked = tokio::select! {
            biased;
            () = until.cancelled() => return,
            found = asking => found,
        };
        let (claim, left) = match asked {
            Ok(found) => found,
            Err(found) => return ctx.tell(Event::Connect(name, epoch, Progress::Stranger(found))),
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
) -> Result<(Claim, BTreeMap<String, Left>), AskError> {
    if local {
        return Ok((Claim::Ours, BTreeMap::new()));
    }
    if !ctx.may_write() {
        return Err(ApiError::NotLeading.into());
    }
    let claim = identity::claim(client, &ctx.hub_id).await?;
    let mut left = BTreeMap::new();
    for id in [cluster_id.to_owned(), left_behind::unknown_id(name)] {
        let read = left_behind::read(&ctx.client, &ctx.settings.namespace, &id).await;
        let record = || format!("ConfigMap {}/{}", ctx.settings.namespace, left_behind::config_map(&id, 0));
        left.extend(read.map_err(|error| AskError::Record(record(), error))?);
    }
    Ok((claim, left))
}

/// What an error says of the contact. Only what the connection or the cluster's own API meets is a loss of it.
fn state(error: &AskError) -> ContactState {
    let message = error.to_string();
    match error {
        AskError::Api(ApiError::Unauthorized) => ContactState::Unauthorized(message),
        AskError::Right { .. } => ContactState::Unusable { reason: "MissingRight", message },
        AskError::Record(..) => ContactState::Unusable { reason: "RecordUnreadable", message },
        AskError::Api(error) if error.is_contact_problem() => ContactState::Unreachable(message),
        AskError::Api(_) => ContactState::Unusable { reason: "IdentityUnknown", message },
    }
}

/// Before the next try. What has to be mended by somebody is asked for ever less.
fn pause(attempt: u32, error: &AskError, name: &ClusterName) -> Duration {
    let lasting = !error.is_contact_problem() || matches!(error, AskError::Api(ApiError::Unauthorized));
    let pause = backoff(attempt, name.as_str());
    if lasting { LASTING.min(pause.saturating_mul(1 << attempt.saturating_sub(4).min(4))) } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> AskError {
        AskError::Right { right: "get namespace kube-system", said: "no".into() }
    }

    #[test]
    fn what_a_cluster_answers_is_no_loss_of_contact() {
        let unreachable = |e: ApiError| matches!(state(&e.into()), ContactState::Unreachable(_));
        assert!(unreachable(ApiError::Timeout) && unreachable(ApiError::Unavailable { message: "x".into() }));
        let unusable = |error: AskError| match state(&error) {
            ContactState::Unusable { reason, message } => (reason, message),
            other => panic!("{other:?}"),
        };
        let (reason, message) = unusable(right());
        assert!(reason == "MissingRight" && message.contains("get namespace kube-system"), "{message}");
        let record = AskError::Record("ConfigMap kro-hub/left-x".into(), ApiError::Timeout);
        assert_eq!(unusable(record).0, "RecordUnreadable");
        assert_eq!(
            unusable(ApiError::Other { code: 500, message: "boom".into() }.into()).0,
            "IdentityUnknown"
        );
        assert!(matches!(state(&ApiError::Unauthorized.into()), ContactState::Unauthorized(_)));
    }

    #[test]
    fn what_somebody_has_to_mend_is_asked_ever_less() {
        let name = ClusterName::new("eu");
        for error in [right(), ApiError::Unauthorized.into()] {
            let (mut now, mut minutes, mut attempt) = (0, [0_u32; 10], 0);
            while now < 600_000 {
                minutes[usize::try_from(now / 60_000).unwrap()] += 1;
                now += u64::try_from(pause(attempt, &error, &name).as_millis()).unwrap();
                attempt += 1;
            }
            assert!(minutes[0] <= 9 && minutes[4..].iter().all(|n| *n <= 1), "{minutes:?}");
        }
        let contact = AskError::Api(ApiError::Timeout);
        assert!(
            pause(30, &contact, &name) <= Duration::from_secs(15),
            "a cluster that comes back is seen soon"
        );
    }
}
