//! The durable record of content that was let go without being deleted: ConfigMap `left-<clusterID>` on the hub, one
//! entry an instance, keyed by the instance's uid. What does not fit into one ConfigMap goes on in `left-<clusterID>.1`,
//! `.2` and so on. An empty one is deleted if none comes after it, so that there is no gap.

use crate::api::Object;
use crate::api::names::ClusterName;
use crate::hub::resources::config_maps;
use crate::reconcile::fleet::Left;
use crate::spoke::client::{ApiError, HubClient};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of a ConfigMap for a cluster. Ids are uids or names that an operator chose; what no object name may contain
/// becomes a dash, with a hash that keeps two such ids apart. No id keeps a dot, so numbers are told apart from ids.
pub(super) fn config_map(cluster_id: &str, number: usize) -> String {
    let suffix = if number == 0 { String::new() } else { format!(".{number}") };
    let lower = cluster_id.to_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if lower == cluster_id && lower.chars().all(plain) && lower.len() <= 200 {
        return format!("left-{lower}{suffix}");
    }
    let clean: String = lower.chars().take(200).map(|c| if plain(c) { c } else { '-' }).collect();
    format!("left-{clean}-{:08x}{suffix}", crate::api::hash::fnv32(cluster_id))
}

/// What is on record now as left on a cluster.
#[derive(Debug)]
pub enum Recorded {
    /// This too.
    More(Left),
    /// All of it: nobody knew before.
    All(BTreeMap<String, Left>),
}

impl Recorded {
    /// What is left of the instance with this uid.
    pub fn of(&self, hub_uid: &str) -> Option<Left> {
        match self {
            Self::More(left) => Some(left).filter(|left| left.hub_uid == hub_uid).cloned(),
            Self::All(all) => all.get(hub_uid).cloned(),
        }
    }
}

/// Where the ConfigMaps are.
trait Maps {
    async fn get(&self, name: &str) -> Result<Option<Value>, ApiError>;
    async fn merge(&self, name: &str, patch: &Value) -> Result<(), ApiError>;
    async fn create(&self, name: &str) -> Result<(), ApiError>;
    /// If it is still as it was read.
    async fn delete(&self, read: &Object) -> Result<(), ApiError>;
}

struct OnHub<'a> {
    client: &'a HubClient,
    namespace: &'a str,
}

impl Maps for OnHub<'_> {
    async fn get(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.client.at(&config_maps(), self.namespace, name).get().await
    }
    async fn merge(&self, name: &str, patch: &Value) -> Result<(), ApiError> {
        self.client.at(&config_maps(), self.namespace, name).merge_patch(patch).await.map(drop)
    }
    async fn create(&self, name: &str) -> Result<(), ApiError> {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace}, "data": {}});
        match self.client.create(&config_maps(), self.namespace, &body).await {
            Ok(_) | Err(ApiError::AlreadyExists) => Ok(()),
            Err(error) => Err(error),
        }
    }
    async fn delete(&self, read: &Object) -> Result<(), ApiError> {
        self.client.at(&config_maps(), self.namespace, read.name()).delete_unchanged(read).await.map(drop)
    }
}

/// Under which ids something may be on record of a cluster: its own, and where nobody knew that one, one by its name.
pub fn ids(cluster_id: &str, name: &ClusterName) -> [String; 2] {
    [cluster_id.to_owned(), unknown_id(name)]
}

/// All entries for a cluster, under whichever id.
///
/// # Errors
/// The hub could not be asked; with the name of the ConfigMap.
pub async fn read_under(
    client: &HubClient,
    namespace: &str,
    ids: &[String],
) -> Result<BTreeMap<String, Left>, (String, ApiError)> {
    let mut all = BTreeMap::new();
    for id in ids {
        all.extend(read(client, namespace, id).await.map_err(|error| (config_map(id, 0), error))?);
    }
    Ok(all)
}

/// All entries under an id. An entry that cannot be read is an error: what is left must not be forgotten.
///
/// # Errors
/// The hub could not be asked.
pub async fn read(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
) -> Result<BTreeMap<String, Left>, ApiError> {
    let maps = OnHub { client, namespace };
    let (all, found) = read_all(&maps, cluster_id).await?;
    if all.is_empty() {
        tidy(&maps, found).await;
    }
    Ok(all)
}

/// Adds an entry.
///
/// # Errors
/// The hub could not be asked.
pub async fn record(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
    left: &Left,
) -> Result<(), ApiError> {
    add(&OnHub { client, namespace }, cluster_id, left).await
}

/// Takes an entry out.
///
/// # Errors
/// The hub could not be asked.
pub async fn forget(
    client: &HubClient,
    namespace: &str,
    cluster_id: &str,
    hub_uid: &str,
) -> Result<(), ApiError> {
    let maps = OnHub { client, namespace };
    remove(&maps, cluster_id, hub_uid).await?;
    let (_, found) = read_all(&maps, cluster_id).await?;
    tidy(&maps, found).await;
    Ok(())
}

/// What stands for the id of a cluster that is not registered, so that its id is not known.
pub fn unknown_id(cluster: &ClusterName) -> String {
    format!("name:{cluster}")
}

/// All entries, and the ConfigMaps that they stand in.
async fn read_all(
    maps: &impl Maps,
    cluster_id: &str,
) -> Result<(BTreeMap<String, Left>, Vec<Object>), ApiError> {
    let (mut all, mut read) = (BTreeMap::new(), Vec::new());
    for number in 0.. {
        let name = config_map(cluster_id, number);
        let Some(found) = maps.get(&name).await? else { break };
        parse(&name, &found, &mut all)?;
        read.push(Object(found));
    }
    Ok((all, read))
}

/// Deletes the empty ones at the end. One that stays, since it changed meanwhile or could not be deleted, does no harm.
async fn tidy(maps: &impl Maps, read: Vec<Object>) {
    let is_empty = |map: &Object| map.0.get("data").and_then(Value::as_object).is_none_or(|d| d.is_empty());
    for map in read.into_iter().rev().take_while(is_empty) {
        if let Err(error) = maps.delete(&map).await {
            tracing::debug!(name = map.name(), %error, "an empty record of what is left stays");
            return;
        }
    }
}

fn parse(name: &str, found: &Value, all: &mut BTreeMap<String, Left>) -> Result<(), ApiError> {
    for (uid, text) in found.get("data").and_then(Value::as_object).into_iter().flatten() {
        let left = serde_json::from_str(text.as_str().unwrap_or_default()).map_err(|error| {
            let namespace = found.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            ApiError::Invalid { message: format!("ConfigMap {namespace}/{name}, key {uid}: {error}") }
        })?;
        all.insert(uid.clone(), left);
    }
    Ok(())
}

async fn add(maps: &impl Maps, cluster_id: &str, left: &Left) -> Result<(), ApiError> {
    let text = serde_json::to_string(left).unwrap_or_default();
    let patch = json!({"data": {left.hub_uid.as_str(): text}});
    let mut number = 0;
    loop {
        let name = config_map(cluster_id, number);
        match maps.merge(&name, &patch).await {
            Err(ApiError::NotFound) => maps.create(&name).await?,
            Err(error) if is_full(&error) => number += 1,
            other => return other,
        }
    }
}

/// Whether the API server says that a ConfigMap may not grow any more.
fn is_full(error: &ApiError) -> bool {
    match error {
        ApiError::Invalid { message } => message.contains("Too long"),
        ApiError::Other { code, message } => *code == 413 || message.contains("request is too large"),
        _ => false,
    }
}

async fn remove(maps: &impl Maps, cluster_id: &str, hub_uid: &str) -> Result<(), ApiError> {
    let patch = json!({"data": {hub_uid: null}});
    for number in 0.. {
        match maps.merge(&config_map(cluster_id, number), &patch).await {
            Err(ApiError::NotFound) => break,
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    const ROOM: usize = 10_000;

    /// An API server, with less room in a ConfigMap than a real one.
    #[derive(Default)]
    struct Model(Mutex<BTreeMap<String, BTreeMap<String, String>>>);

    impl Maps for Model {
        async fn get(&self, name: &str) -> Result<Option<Value>, ApiError> {
            Ok(self.0.lock().unwrap().get(name).map(|data| json!({"metadata": {"name": name}, "data": data})))
        }
        async fn merge(&self, name: &str, patch: &Value) -> Result<(), ApiError> {
            let mut all = self.0.lock().unwrap();
            let data = all.get_mut(name).ok_or(ApiError::NotFound)?;
            let mut after = data.clone();
            for (key, value) in patch["data"].as_object().unwrap() {
                match value.as_str() {
                    Some(text) => drop(after.insert(key.clone(), text.to_owned())),
                    None => drop(after.remove(key)),
                }
            }
            if after.values().map(String::len).sum::<usize>() > ROOM {
                let message = format!(
                    "ConfigMap \"{name}\" is invalid: []: Too long: may not be more than 1048576 bytes"
                );
                return Err(ApiError::Invalid { message });
            }
            *data = after;
            Ok(())
        }
        async fn create(&self, name: &str) -> Result<(), ApiError> {
            self.0.lock().unwrap().insert(name.to_owned(), BTreeMap::new());
            Ok(())
        }
        async fn delete(&self, read: &Object) -> Result<(), ApiError> {
            let mut all = self.0.lock().unwrap();
            let now = all.get(read.name()).map(|data| json!(data));
            if now.as_ref() != read.0.get("data") {
                return Err(ApiError::Conflict { message: "changed".into() });
            }
            all.remove(read.name());
            Ok(())
        }
    }

    fn left_of(uid: &str) -> Left {
        Left {
            hub_uid: uid.into(),
            group: "kro.run".into(),
            version: "v1alpha1".into(),
            kind: "App".into(),
            namespace: "team".into(),
            name: "a".repeat(200),
            group_kinds: BTreeSet::from(["ConfigMap".to_owned()]),
            since: "2026-01-01T00:00:00Z".into(),
            stays: false,
            stays_while_it_lives: false,
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_into_one_goes_on_in_the_next_and_all_is_read() {
        let maps = Model::default();
        let uids: Vec<String> = (0..60).map(|i| format!("uid-{i}")).collect();
        for uid in &uids {
            add(&maps, "c1", &left_of(uid)).await.unwrap();
        }
        let names: Vec<String> = maps.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(names, ["left-c1", "left-c1.1", "left-c1.2"]);
        let (all, _) = read_all(&maps, "c1").await.unwrap();
        assert!(uids.iter().all(|uid| all.get(uid) == Some(&left_of(uid))) && all.len() == uids.len());
        let left = async || {
            let (all, found) = read_all(&maps, "c1").await.unwrap();
            tidy(&maps, found).await;
            (all.len(), maps.0.lock().unwrap().len())
        };
        // The first ones are taken out first: the map that they stood in stays while another comes after it.
        for (done, uid) in uids.iter().enumerate() {
            remove(&maps, "c1", uid).await.unwrap();
            let (entries, maps) = left().await;
            assert_eq!(entries, uids.len() - done - 1);
            assert!(maps == if entries == 0 { 0 } else { 3 }, "{entries} entries in {maps}");
        }
        // What is added while it is being tidied is not lost.
        add(&maps, "c1", &left_of("a")).await.unwrap();
        remove(&maps, "c1", "a").await.unwrap();
        let (_, found) = read_all(&maps, "c1").await.unwrap();
        add(&maps, "c1", &left_of("b")).await.unwrap();
        tidy(&maps, found).await;
        assert_eq!(left().await, (1, 1));
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_read_is_an_error() {
        let maps = Model::default();
        maps.create("left-c1").await.unwrap();
        maps.merge("left-c1", &json!({"data": {"u": "no"}})).await.unwrap();
        assert!(matches!(read_all(&maps, "c1").await, Err(ApiError::Invalid { .. })));
    }

    #[test]
    fn names() {
        assert_eq!(config_map("0f1e-22", 0), "left-0f1e-22");
        assert_eq!(config_map("0f1e-22", 2), "left-0f1e-22.2");
        assert_ne!(config_map("Prod/EU", 0), config_map("prod/eu", 0));
        assert!(config_map("Prod/EU", 0).starts_with("left-prod-eu-"));
        assert_ne!(config_map("a", 1), config_map("a.1", 0));
    }
}
