//! The hub, as a person reads it. What they may not read leaves a hole, and a line that says so.

use super::connection::Connection;
use super::failure::{Failure, Sort};
use crate::api::Object;
use crate::api::hash::label_value;
use crate::api::keys::kro;
use crate::hub::definitions::revisions::HASH_LABEL;
use crate::hub::resources;
use crate::spoke::lists::Which;
use kube::core::ApiResource;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The hub of a person.
pub struct Hub {
    pub connection: Connection,
    /// What could not be read, a line each.
    holes: Mutex<Vec<String>>,
}

/// Which instances are meant.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    pub selector: Option<String>,
    /// Those of these names alone; empty means all.
    pub names: Vec<String>,
}

impl Hub {
    pub fn new(connection: Connection) -> Self {
        Self { connection, holes: Mutex::default() }
    }

    /// What could not be read so far.
    pub fn take_holes(&self) -> Vec<String> {
        std::mem::take(&mut *self.holes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn hole(&self, text: String) {
        let mut holes = self.holes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !holes.contains(&text) {
            holes.push(text);
        }
    }

    /// What is nice to have: a right that lacks leaves a hole.
    fn or_hole<T: Default>(&self, read: Result<T, Failure>) -> Result<T, Failure> {
        match read {
            Err(failure) if failure.sort == Sort::Forbidden => {
                self.hole(failure.text);
                Ok(T::default())
            }
            Err(failure) if failure.sort == Sort::NotServed => Ok(T::default()),
            other => other,
        }
    }

    fn no_hub(&self, failure: Failure) -> Failure {
        if failure.sort != Sort::NotServed {
            return failure;
        }
        let text = format!(
            "context {} serves no clusters.hub.kro.run: it is no hub; choose another with --context, or install kro-hub there",
            self.connection.name
        );
        Failure { text, ..failure }
    }

    /// All registered clusters; a hole where they may not be read.
    ///
    /// # Errors
    /// It is no hub, or there is no answer.
    pub async fn clusters(&self) -> Result<Vec<Object>, Failure> {
        let read = self.connection.list(&resources::clusters(), Which::default()).await;
        match read {
            Err(failure) if failure.sort == Sort::NotServed => Err(self.no_hub(failure)),
            read => self.or_hole(read),
        }
    }

    /// The same, where nothing can be shown without them.
    ///
    /// # Errors
    /// As [`Self::clusters`], or they may not be read.
    pub async fn clusters_or_fail(&self) -> Result<Vec<Object>, Failure> {
        let read = self.connection.list(&resources::clusters(), Which::default()).await;
        read.map_err(|failure| self.no_hub(failure))
    }

    /// All definitions: without them nobody knows a kind.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn definitions(&self) -> Result<Vec<Object>, Failure> {
        let read = self.connection.list(&resources::definitions(), Which::default()).await;
        read.map_err(|failure| self.no_hub(failure))
    }

    /// Snapshots of one definition, or of all.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn revisions(&self, definition: Option<&str>) -> Result<Vec<Object>, Failure> {
        let selector = definition.map(|name| format!("{}={}", kro::RGD_NAME, label_value(name)));
        let which = Which { namespace: None, selector: selector.as_deref() };
        self.or_hole(self.connection.list(&resources::revisions(), which).await)
    }

    /// Placements of a namespace, and all ClusterPlacements; `None` where some may not be read.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn placements(&self, namespace: Option<&str>) -> Result<Option<Vec<Object>>, Failure> {
        let of_cluster = self.connection.list(&resources::cluster_placements(), Which::default()).await;
        let mut all = match self.or_hole(of_cluster.map(Some))? {
            Some(all) => all,
            None => return Ok(None),
        };
        if namespace.is_some() {
            let which = Which { namespace, selector: None };
            let own = self.connection.list(&resources::placements(), which).await;
            match self.or_hole(own.map(Some))? {
                Some(own) => all.extend(own),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// Events of a namespace of the hub.
    ///
    /// # Errors
    /// As [`Self::clusters`].
    pub async fn events(&self, namespace: Option<&str>) -> Result<Vec<Object>, Failure> {
        self.or_hole(events(&self.connection, namespace).await)
    }

    /// InstanceReports of a namespace, or of all.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn reports(&self, namespace: Option<&str>) -> Result<Vec<Object>, Failure> {
        let which = Which { namespace, selector: None };
        self.or_hole(self.connection.list(&resources::reports(), which).await)
    }

    /// Instances of a kind.
    ///
    /// # Errors
    /// They cannot be read, or one that is named is not there.
    pub async fn instances(
        &self,
        resource: &ApiResource,
        namespaced: bool,
        scope: &Scope,
    ) -> Result<Vec<Object>, Failure> {
        let read = self.instances_served(resource, namespaced, scope).await;
        read.map_err(|failure| {
            if failure.sort != Sort::NotServed {
                return failure;
            }
            let ApiResource { plural, group, .. } = resource;
            let text = format!(
                "context {} does not serve {plural}.{group} yet; kro-hub get definitions says why",
                self.connection.name
            );
            Failure { text, ..failure }
        })
    }

    async fn instances_served(
        &self,
        resource: &ApiResource,
        namespaced: bool,
        scope: &Scope,
    ) -> Result<Vec<Object>, Failure> {
        let namespace = scope.namespace.as_deref().filter(|_| namespaced);
        let selector = scope.selector.as_deref();
        if scope.names.is_empty() || (namespaced && namespace.is_none()) {
            let mut all = self.connection.list(resource, Which { namespace, selector }).await?;
            if !scope.names.is_empty() {
                all.retain(|object| scope.names.iter().any(|name| name == object.name()));
                if let Some(name) = scope.names.iter().find(|name| all.iter().all(|o| o.name() != *name)) {
                    let kind = resource.kind.to_lowercase();
                    let context = &self.connection.name;
                    return Err(Failure::usage(format!("there is no {kind}/{name} in context {context}")));
                }
            }
            return Ok(all);
        }
        let namespace = namespace.unwrap_or_default();
        let each = scope.names.iter().map(|name| self.connection.get(resource, namespace, name));
        let mut found = Vec::new();
        for (name, object) in scope.names.iter().zip(futures::future::join_all(each).await) {
            match object? {
                Some(object) => found.push(object),
                None => return Err(self.not_there(resource, namespace, name).await),
            }
        }
        Ok(found)
    }

    async fn not_there(&self, resource: &ApiResource, namespace: &str, name: &str) -> Failure {
        let (kind, context) = (resource.kind.to_lowercase(), &self.connection.name);
        let mut text = match namespace {
            "" => format!("there is no {kind}/{name} in context {context}"),
            namespace => format!("{kind}/{name} is not in namespace {namespace} of context {context}"),
        };
        // Whether it is elsewhere is nice to know.
        let all = self.connection.list(resource, Which::default()).await.unwrap_or_default();
        let elsewhere: Vec<&str> = all.iter().filter(|o| o.name() == name).map(|o| o.namespace()).collect();
        if !elsewhere.is_empty() {
            text.push_str(&format!("; it is in: {}", elsewhere.join(", ")));
        } else if let Some(near) = crate::graph::suggestion(
            name,
            all.iter().filter(|o| o.namespace() == namespace).map(|o| o.name()),
        ) {
            text.push_str(&format!("; {near}"));
        }
        Failure::usage(text)
    }
}

/// What events are called.
pub fn event_resource() -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "Event".into(),
        plural: "events".into(),
    }
}

/// Events on any cluster.
///
/// # Errors
/// They cannot be read.
pub async fn events(connection: &Connection, namespace: Option<&str>) -> Result<Vec<Object>, Failure> {
    connection.list(&event_resource(), Which { namespace, selector: None }).await
}

/// Numbers of revisions by the hash of their graph.
pub fn numbers(revisions: &[Object]) -> BTreeMap<String, i64> {
    let number = |object: &Object| object.0.pointer("/spec/revision").and_then(Value::as_i64);
    let known = revisions.iter().filter_map(|o| Some((o.label(HASH_LABEL)?.to_owned(), number(o)?)));
    let mut out = BTreeMap::new();
    for (hash, number) in known {
        // A definition that goes back has a hash twice: the later number is the one that it runs by.
        let newest = out.entry(hash).or_insert(number);
        *newest = number.max(*newest);
    }
    out
}
