//! What the hub has to be asked for an answer. What it does not say in time counts as unknown, and lets pass.

use super::Judge;
use super::review::{Answer, Asked, Subject};
use super::rules::{self, Found, Reading, Version};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph;
use crate::hub::definitions::crd::{Foreseen, foresee};
use crate::hub::identity::version_numbers;
use crate::hub::resources;
use crate::spoke::client::{ApiError, HubClient};
use crate::spoke::lists::{self, Which};
use crate::spoke::pool::Pool;
use crate::spoke::schemas::{ClusterKinds, Reader};
use std::time::Duration;

/// For one thing that is asked of the hub; the API server that asks waits for five seconds.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Schemas that were read longer ago are asked for anew.
const FRESH: Duration = Duration::from_secs(1);
pub const NOT_JUDGED: &str = "kro-hub webhook could not judge this in time; the controller will";

/// The hub, asked for the sake of answers.
pub struct Hub {
    pub client: HubClient,
    pub reader: Reader,
    pub pool: Pool,
    pub judge: Judge,
    /// Version of Kubernetes that the built-in kinds are of.
    pub builtin: String,
}

impl Hub {
    pub async fn answer(&self, asked: Asked) -> Answer {
        match asked.subject {
            Subject::Other => Answer::default(),
            Subject::Definition if rules::stays(&asked) => Answer::default(),
            Subject::Definition => self.definition(asked).await,
            Subject::Cluster if rules::stays(&asked) => Answer::default(),
            Subject::Cluster => match self.clusters().await {
                Some(clusters) => rules::cluster(&asked, &clusters),
                None => Answer::warn(NOT_JUDGED),
            },
            Subject::Secret => {
                let clusters = resources::clusters();
                let found = self.client.at(&clusters, "", asked.new.name()).get();
                let cluster = in_time("a Cluster", found).await.flatten().map(Object);
                rules::secret(&asked, cluster.as_ref())
            }
        }
    }

    async fn definition(&self, asked: Asked) -> Answer {
        let read = serde_json::from_value::<ResourceGraphDefinition>(asked.new.0.clone()).ok();
        let wanted = read.as_ref().map(graph::kinds_named_by).unwrap_or_default();
        self.reader.forget_older(FRESH).await;
        let kinds = async {
            let kinds = in_time("the hub's kinds", self.reader.kinds(&self.client, &wanted)).await;
            kinds.unwrap_or_default()
        };
        let (kinds, readings) = tokio::join!(kinds, self.readings());
        let Some(found) = self.found(&asked, kinds, readings).await else { return Answer::warn(NOT_JUDGED) };
        let crd = match &found.strict.crd {
            Some(crd) if found.lenient.is_none() => {
                let may_break = asked.new.annotation(kro::ALLOW_BREAKING) == Some("true");
                let foreseen = foresee(&self.client, crd, asked.new.name(), may_break);
                in_time("the generated CRD", foreseen).await.unwrap_or(Foreseen::Fine)
            }
            _ => Foreseen::Fine,
        };
        rules::definition(&asked, &found, &crd)
    }

    async fn found(&self, asked: &Asked, kinds: ClusterKinds, readings: Vec<Reading>) -> Option<Found> {
        let (judge, object) = (self.judge.clone(), asked.new.0.clone());
        let judged = self.pool.run(move || rules::judge(&readings, |by| judge(&object, &kinds, by)));
        match judged.await {
            Some(Ok(found)) => Some(found),
            Some(Err(error)) => {
                tracing::error!(definition = asked.new.name(), error, "judging failed");
                None
            }
            None => {
                tracing::error!(definition = asked.new.name(), "the compiler failed on this definition");
                None
            }
        }
    }

    /// By which kinds a definition may be read here. Where clusters cannot be asked for, one may be newer than all.
    async fn readings(&self) -> Vec<Reading> {
        let version = async {
            let path = "/version";
            in_time("its version", self.client.get_json(path)).await.flatten()
        };
        let (version, clusters) = tokio::join!(version, self.clusters());
        let text = version.and_then(|v| v.get("gitVersion")?.as_str().map(str::to_owned)).unwrap_or_default();
        let number = |text: &str| version_numbers(text).unwrap_or_default();
        let clusters: Vec<Version> = match clusters {
            Some(all) => all.iter().map(|cluster| number(cluster.str_at(VERSION))).collect(),
            None => vec![(u32::MAX, 0)],
        };
        rules::readings(number(&text), number(&self.builtin), &clusters)
    }

    async fn clusters(&self) -> Option<Vec<Object>> {
        let resource = resources::clusters();
        let all = in_time("Clusters", lists::all(&self.client, &resource, Which::default())).await?;
        Some(all.into_iter().map(Object).collect())
    }
}

const VERSION: &str = "/status/kubernetesVersion";

async fn in_time<T>(what: &str, request: impl Future<Output = Result<T, ApiError>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, request).await.unwrap_or(Err(ApiError::Timeout)) {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::warn!(%error, "asking the hub for {what} failed");
            None
        }
    }
}
