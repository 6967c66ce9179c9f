//! One cluster that a person may talk to. Each request has the person's time limit, and fails in the person's words.

use super::failure::{Failure, Sort, silent};
use crate::api::Object;
use crate::hub::resources;
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::lists::{self, Which};
use kube::core::ApiResource;
use std::collections::BTreeSet;
use std::time::Duration;

/// A connection to one cluster.
#[derive(Clone)]
pub struct Connection {
    /// How people call it: the context, or the cluster whose Secret it is made from.
    pub name: String,
    pub server: String,
    /// Where what is namespaced is looked for.
    pub namespace: String,
    verbs: Verbs,
    timeout: Duration,
}

impl Connection {
    pub fn new(name: &str, server: &str, namespace: &str, verbs: Verbs, timeout: Duration) -> Self {
        Self { name: name.into(), server: server.into(), namespace: namespace.into(), verbs, timeout }
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// All verbs, without the time limit of the person.
    pub fn verbs(&self) -> &Verbs {
        &self.verbs
    }

    /// Waits for an answer for as long as the person does. `what` completes “you may not …”.
    ///
    /// # Errors
    /// In the person's words.
    pub async fn within<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, Failure> {
        let seconds = self.timeout.as_secs();
        match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::of_request(&error, &self.server, seconds, what)),
            Err(_) => {
                Err(Failure::new(Sort::Silent, silent(&self.server, seconds, "connect"), ApiError::Timeout))
            }
        }
    }

    /// All objects of a kind in a scope.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub async fn list(&self, resource: &ApiResource, which: Which<'_>) -> Result<Vec<Object>, Failure> {
        let what = format!("list {}{}", named(resource), in_namespace(which.namespace));
        let read = self.within(&what, lists::all(&self.verbs, resource, which)).await?;
        Ok(read.into_iter().map(Object).collect())
    }

    /// All objects of a kind; where only those of some namespaces may be read, these, and whether that is so.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub async fn list_within_reach(
        &self,
        resource: &ApiResource,
        selector: Option<&str>,
        namespaces: &BTreeSet<String>,
    ) -> Result<(Vec<Object>, bool), Failure> {
        let what = format!("list {}", named(resource));
        let read = lists::within_reach(&self.verbs, resource, selector, namespaces);
        let (read, narrowed) = self.within(&what, read).await?;
        Ok((read.into_iter().map(Object).collect(), narrowed))
    }

    /// One object; `None` where there is none of this name. The namespace is empty where the kind is cluster scoped.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub async fn get(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Object>, Failure> {
        let place = Some(namespace).filter(|n| !n.is_empty());
        let what = format!("get {}{}", named(resource), in_namespace(place));
        let read = self.within(&what, self.verbs.at(resource, namespace, name).get()).await?;
        Ok(read.map(Object))
    }

    /// The uid of kube-system, by which a cluster is recognized; `None` where that namespace is not there.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub async fn system_uid(&self) -> Result<Option<String>, Failure> {
        let found = self.get(&resources::namespaces(), "", "kube-system").await?;
        Ok(found.map(|namespace| namespace.uid().to_owned()))
    }
}

/// `webapps.kro.run`, `secrets`.
fn named(resource: &ApiResource) -> String {
    let dot = if resource.group.is_empty() { "" } else { "." };
    format!("{}{dot}{}", resource.plural, resource.group)
}

fn in_namespace(namespace: Option<&str>) -> String {
    namespace.map(|n| format!(" in namespace {n}")).unwrap_or_default()
}
