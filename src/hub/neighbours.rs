//! The clusters that can be asked for their schemas: what the hub does not serve may live there.

use crate::api::names::{ClusterName, Gvk};
use crate::spoke::actor::Handle;
use crate::spoke::client::SpokeClient;
use crate::spoke::schemas::{ClusterKinds, Reader};
use crate::spoke::shared_map::SharedMap;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A cluster that does not answer in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(300);
/// Schemas that were read longer ago are asked for anew.
const FRESH: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub struct Neighbour {
    pub client: SpokeClient,
    pub reader: Reader,
    /// Whether there is contact.
    pub trusted: Arc<AtomicBool>,
    pub handle: Handle,
}

#[derive(Clone, Default)]
pub struct Neighbours(SharedMap<ClusterName, Neighbour>);

impl Neighbours {
    pub fn add(&self, name: &ClusterName, neighbour: Neighbour) {
        self.0.insert(name.clone(), neighbour);
    }

    /// What each cluster in contact says of these kinds; those that do not answer in time are left out.
    pub async fn kinds(&self, wanted: &BTreeSet<Gvk>) -> Vec<ClusterKinds> {
        self.0.retain(|_, n| !n.handle.is_stopped());
        let mut all: BTreeMap<ClusterName, Neighbour> = BTreeMap::new();
        self.0.each(|name, neighbour| {
            if neighbour.trusted.load(Ordering::Acquire) {
                all.insert(name.clone(), neighbour.clone());
            }
        });
        let asked = all.values().map(|n| tokio::time::timeout(PATIENCE, n.kinds(wanted)));
        join_all(asked).await.into_iter().filter_map(Result::ok).collect()
    }
}

impl Neighbour {
    /// Asks until there is an answer: a kind may be served a moment before it is described.
    async fn kinds(&self, wanted: &BTreeSet<Gvk>) -> ClusterKinds {
        loop {
            self.reader.forget_older(FRESH).await;
            match self.reader.kinds(&self.client, wanted).await {
                Ok(kinds) => return kinds,
                Err(error) => {
                    tracing::debug!(cluster = self.client.cluster(), %error, "reading schemas failed")
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
