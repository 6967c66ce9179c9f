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
    Identified(Box<Identified>),
    Claimed(Box<Claimed>),
    /// Contact is back, in the episode of this number.
    Recognized(u64, Box<Recognized>),
    /// The same, and nobody says who answers; the next try follows by itself.
    Unrecognized(u64, ContactState),
}

#[derive(Debug)]
pub struct Identified {
    pub info: ClusterInfo,
    pub line: Line,
}

#[derive(Debug)]
pub struct Claimed {
    pub claim: Claim,
    pub line: Line,
    /// What an earlier registration of this cluster left there, by uid of the hub instance.
    pub left: BTreeMap<String, Left>,
}

/// Who answers now, and whose it says it is.
#[derive(Debug)]
pub struct Recognized {
    pub info: ClusterInfo,
    pub claim: Claim,
}

/// One try of credentials: what it asks ends with its token, and what it tells is of it alone.
pub(in crate::hub) struct Asker {
    ctx: Context,
    name: ClusterName,
    epoch: u64,
    until: CancellationToken,
}

impl Asker {
    pub fn new(ctx: &Context, name: &ClusterName, epoch: u64, until: CancellationToken) -> Self {
        Self { ctx: ctx.clone(), name: name.clone(), epoch, until }
    }

    fn tell(&self, progress: Progress) {
        self.ctx.tell(Event::Connect(self.name.clone(), self.epoch, progress));
    }

    /// Asks until there is an answer; `None`: it was told to stop.
    async fn ask<T, F>(&self, question: impl Fn() -> F, failed: impl Fn(&AskError)) -> Option<T>
    where
        F: Future<Output = Result<T, AskError>>,
    {
        let asking = async {
            let mut attempt = 0;
            loop {
                match question().await {
                    Ok(answer) => return answer,
                    Err(error) => {
                        failed(&error);
                        tokio::time::sleep(pause(attempt, &error, &self.name)).await;
                    }
                }
                attempt += 1;
            }
        };
        tokio::select! {
            biased;
            () = self.until.cancelled() => None,
            answer = asking => Some(answer),
        }
    }
}

/// First half: who is it? Tries until it answers or is told to stop.
pub(in crate::hub) fn identify(asker: Asker, source: &Source, in_flight: Option<u32>) {
    // Bounded by construction: a request tells once how it ended, and who begins requests hears that too: the questions here,
    // of which one is under way at a time, and then the actor.
    let (sender, contacts) = mpsc::unbounded_channel();
    let ctx = asker.ctx.clone();
    let limit = in_flight.and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_IN_FLIGHT);
    let (cluster, metrics) = (asker.name.clone(), ctx.metrics.clone());
    let settings = ClientSettings { cluster, in_flight: limit, metrics, contacts: sender };
    let built = match source {
        Source::Local => ctx.client.as_local_spoke(settings),
        Source::Remote(endpoint) => SpokeClient::new(endpoint, settings, ctx.client.host().clone()),
    };
    let client = match built {
        Ok(client) => client,
        Err(error) => return asker.tell(Progress::Unusable(error.to_string())),
    };
    let lease = ctx.lease.clone();
    let line = Line { client: client.fenced(Arc::new(move || lease.is_held())), contacts };
    ctx.spawn(async move {
        let who = || identity::of_cluster(&line.client);
        let failed = |error: &AskError| {
            // Nobody judged yet who it is.
            line.client.forget_who_answers();
            asker.tell(Progress::Failed(state(error)));
        };
        if let Some(info) = asker.ask(who, failed).await {
            asker.tell(Progress::Identified(Box::new(Identified { info, line })));
        }
    });
}

/// Contact is back: is it still the same cluster, and still ours? Tries until it answers or is told to stop.
pub(in crate::hub) fn recognize(asker: Asker, episode: u64, client: &SpokeClient) {
    let (ctx, client) = (asker.ctx.clone(), client.clone());
    ctx.spawn(async move {
        let who = || async {
            let info = identity::of_cluster(&client).await?;
            let claim = identity::claim_of(&client, &asker.ctx.hub_id).await?;
            Ok::<_, AskError>(Recognized { info, claim })
        };
        let failed = |error: &AskError| {
            tracing::info!(cluster = %asker.name, %error, "contact is back, but not who answers");
            asker.tell(Progress::Unrecognized(episode, state(error)));
        };
        if let Some(found) = asker.ask(who, failed).await {
            asker.tell(Progress::Recognized(episode, Box::new(found)));
        }
    });
}

/// Second half: is it ours, and what did we leave there? `local` is the hub itself, which nobody needs to claim.
pub(in crate::hub) fn claim(asker: Asker, mut line: Line, cluster_id: &str, local: bool) {
    let (ctx, cluster_id) = (asker.ctx.clone(), cluster_id.to_owned());
    ctx.spawn(async move {
        let claim = || async {
            match try_claim(&asker, &line.client, &cluster_id, local).await {
                Err(AskError::Api(ApiError::Stranger { found })) => Ok(Err(found)),
                other => other.map(Ok),
            }
        };
        let failed = |error: &AskError| asker.tell(Progress::Failed(state(error)));
        match asker.ask(claim, failed).await {
            None => {}
            Some(Err(found)) => asker.tell(Progress::Stranger(found)),
            Some(Ok((claim, left))) => {
                // What failed on the way here is no news for the actor.
                while line.contacts.try_recv().is_ok() {}
                asker.tell(Progress::Claimed(Box::new(Claimed { claim, line, left })));
            }
        }
    });
}

async fn try_claim(
    asker: &Asker,
    client: &SpokeClient,
    cluster_id: &str,
    local: bool,
) -> Result<(Claim, BTreeMap<String, Left>), AskError> {
    if local {
        return Ok((Claim::Ours, BTreeMap::new()));
    }
    let ctx = &asker.ctx;
    if !ctx.may_write() {
        return Err(ApiError::NotLeading.into());
    }
    let claim = identity::claim(client, &ctx.hub_id).await?;
    let (namespace, ids) = (&ctx.settings.namespace, left_behind::ids(cluster_id, &asker.name));
    let left = left_behind::read_under(&ctx.client, namespace, &ids).await;
    let left =
        left.map_err(|(map, error)| AskError::Record(format!("ConfigMap {namespace}/{map}"), error))?;
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
