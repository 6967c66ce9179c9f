//! The hub, as far as registering needs it.

use super::{PATIENCE, POLL};
use crate::api::Object;
use crate::api::cluster::{Cluster, ClusterStatus, CredentialsStatus};
use crate::api::condition::{Condition, ConditionStatus};
use crate::api::keys;
use crate::edge::{Connection, Failure, Sort};
use crate::hub::resources;
use crate::spoke::lists::Which;
use kube::core::ApiResource;
use std::time::{Duration, Instant};

/// How long credentials that look like those of before are not taken for new ones.
const ALIKE: Duration = Duration::from_secs(10);

/// The hub, and the namespace of its controller.
pub struct Hub {
    pub connection: Connection,
    pub namespace: String,
}

impl Hub {
    /// All Clusters.
    ///
    /// # Errors
    /// They cannot be read, or this is no hub.
    pub async fn clusters(&self) -> Result<Vec<Object>, Failure> {
        let read = self.connection.list(&resources::clusters(), Which::default()).await;
        read.map_err(|failure| match failure.sort {
            Sort::NotServed => Failure::new(
                Sort::NotServed,
                format!(
                    "context {} serves no clusters.hub.kro.run; kro-hub check --pre says what is missing",
                    self.connection.name
                ),
                failure.text,
            ),
            _ => failure,
        })
    }

    /// One Cluster.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn cluster(&self, name: &str) -> Result<Option<Object>, Failure> {
        self.connection.get(&resources::clusters(), "", name).await
    }

    /// One that has to be there.
    ///
    /// # Errors
    /// It cannot be read, or there is none; names those that there are.
    pub async fn known(&self, name: &str) -> Result<Object, Failure> {
        if let Some(found) = self.cluster(name).await? {
            return Ok(found);
        }
        let all = self.clusters().await?;
        let names: Vec<&str> = all.iter().map(Object::name).collect();
        let has = if names.is_empty() { "none is registered".into() } else { names.join(", ") };
        Err(Failure::usage(format!(
            "there is no Cluster {name} on context {}; there are: {has}",
            self.connection.name
        )))
    }

    /// The Secret that registers a cluster, or any other there.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Object>, Failure> {
        self.connection.get(&resources::secrets(), namespace, name).await
    }

    /// The id that spokes know this hub by; none where no controller ran yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn id(&self) -> Result<Option<String>, Failure> {
        let found = self
            .connection
            .get(&resources::config_maps(), &self.namespace, keys::hub::HUB_ID_CONFIGMAP)
            .await?;
        Ok(found.map(|map| map.str_at("/data/id").to_owned()).filter(|id| !id.is_empty()))
    }

    /// How many instances have content on a cluster, by what is on record with each.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn instances_on(&self, cluster: &str) -> Result<usize, Failure> {
        let mut count = 0;
        for definition in self.connection.list(&resources::definitions(), Which::default()).await? {
            for instance in self.instances_of(&definition).await? {
                let holds = instance.annotation(keys::hub::HOLDS).unwrap_or_default();
                count += usize::from(holds.split(',').any(|name| name.trim() == cluster));
            }
        }
        Ok(count)
    }

    /// The instances of a definition; none where its kind is not served.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn instances_of(&self, definition: &Object) -> Result<Vec<Object>, Failure> {
        let schema = |field: &str| definition.str_at(&format!("/spec/schema/{field}")).to_owned();
        let (group, version, kind) = (schema("group"), schema("apiVersion"), schema("kind"));
        let group = if group.is_empty() { keys::kro::GROUP.to_owned() } else { group };
        let resource = ApiResource {
            api_version: format!("{group}/{version}"),
            plural: crate::schema::plural::of(&kind.to_lowercase()),
            group,
            version,
            kind,
        };
        match self.connection.list(&resource, Which::default()).await {
            Err(failure) if failure.sort == Sort::NotServed => Ok(Vec::new()),
            read => read,
        }
    }

    /// Waits until the controller has connected; by other credentials than `before`, where those are given.
    ///
    /// # Errors
    /// It has not after a minute; with what the Cluster says.
    pub async fn wait_ready(
        &self,
        name: &str,
        before: Option<&CredentialsStatus>,
    ) -> Result<Duration, Failure> {
        let start = Instant::now();
        loop {
            let found = self.cluster(name).await?;
            let status = found.as_ref().map(status_of).unwrap_or_default();
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            // Two that were written within one second look alike.
            let present = before.is_none_or(|before| status.credentials.as_ref() != Some(before))
                || start.elapsed() > ALIKE;
            if present && ready.is_some_and(|c| c.status == ConditionStatus::True) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                return Err(not_ready(name, found.is_some(), ready));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn not_ready(name: &str, is_there: bool, ready: Option<&Condition>) -> Failure {
    let seconds = PATIENCE.as_secs();
    let text = match ready {
        None if !is_there => format!(
            "the controller made no Cluster {name} within {seconds} s; does it run, and read this namespace? kro-hub check says"
        ),
        None => format!(
            "the controller says nothing of Cluster {name} after {seconds} s; kro-hub check says whether it runs"
        ),
        Some(c) => {
            let message = if c.message.is_empty() { String::new() } else { format!(": {}", c.message) };
            format!(
                "Cluster {name} is not Ready after {seconds} s: {}{message}; kro-hub explain {} says what to do",
                c.reason, c.reason
            )
        }
    };
    Failure::usage(text)
}

/// The status of a Cluster; a blank one where there is none.
pub fn status_of(cluster: &Object) -> ClusterStatus {
    serde_json::from_value::<Cluster>(cluster.0.clone()).ok().and_then(|c| c.status).unwrap_or_default()
}
