//! Watches of one cluster: a stream of what happens to the objects of a kind.
//!
//! A watch is opened with a server timeout below the client's idle limit, so one that says nothing for longer than that
//! is dead and is opened again. Failures are retried with back-off for as long as the actor lives.

use super::client::{ApiError, SpokeClient, Verbs, path};
use super::discovery::{Served, discover};
use super::health::backoff;
pub use super::listwatch::Listed;
use super::listwatch::{self, Wanted};
use super::references::Subject;
use crate::api::names::{GroupKind, Gvk, ObjectRef};
use crate::reconcile::world::{Lookup, Selection, Stored};
use kube::core::ApiResource;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An API server serves a changed CRD a moment later: what is watched of its kind is listed anew after this.
pub const CHANGED_CRD_SERVED: Duration = Duration::from_secs(2);

/// What a watch of one kind saw.
#[derive(Debug)]
pub enum Seen {
    Served(ApiResource),
    NotServed,
    Failed(String),
    ListStarted,
    /// Prepared where it came in: what waits for the actor is small, and the actor's own thread has the less to do.
    Object(Arc<Stored>),
    /// It left the selection: reference, uid, and the version as of which it did.
    Left(ObjectRef, String, u64),
    /// The list is complete, as of this version.
    ListDone {
        namespaced: bool,
        version: u64,
    },
}

/// Watches every object of a kind that matches `selector`, for ever.
pub(super) async fn kind(
    client: SpokeClient,
    gk: GroupKind,
    gvk: Option<Gvk>,
    selector: Option<String>,
    tell: impl Fn(Seen) -> bool,
) {
    let mut attempt = 0;
    let served = loop {
        match Box::pin(discover(&client, &gk, gvk.as_ref())).await {
            Ok(Some(served)) => break served,
            Ok(None) => {
                tell(Seen::NotServed);
                return;
            }
            Err(error) => {
                tracing::debug!(kind = %gk, %error, "looking a kind up failed");
                if !error.is_contact_problem() {
                    tell(Seen::Failed(format!("{gk} cannot be looked up on the cluster: {error}")));
                }
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
            }
        }
    };
    tell(Seen::Served(served.resource.clone()));
    follow(&client, &gk, &served, Scope { selector, ..Scope::default() }, tell).await;
}

/// Watches what external references read, for ever. `known` tells where the kind is served, if anybody knows; else
/// `found` hears it.
pub(super) async fn reference(
    client: SpokeClient,
    subject: Subject,
    known: Option<Served>,
    found: impl Fn(&Served),
    tell: impl Fn(Seen) -> bool,
) {
    let gvk = subject.gvk();
    let gk = gvk.group_kind();
    let mut attempt = 0;
    let mut known = known;
    let served = loop {
        if let Some(served) = known.take() {
            break served;
        }
        match Box::pin(discover(&client, &gk, Some(gvk))).await {
            // Expressions were checked against this version: another one may have other fields.
            Ok(Some(served)) if *served.resource.version == *gvk.version => {
                found(&served);
                break served;
            }
            Ok(_) => {
                tell(Seen::NotServed);
                return;
            }
            Err(error) => {
                tracing::debug!(kind = %gk, %error, "looking a kind up failed");
                tell(Seen::Failed(error.to_string()));
                tokio::time::sleep(backoff(attempt, client.cluster())).await;
                attempt += 1;
            }
        }
    };
    let mut scope = Scope::default();
    if let Subject::Lookup(lookup) = &subject {
        if served.namespaced && !lookup.namespace.is_empty() {
            scope.namespace = Some(lookup.namespace.to_string());
        }
        match &lookup.selection {
            Selection::Name(_) if served.namespaced && lookup.namespace.is_empty() => {
                tell(Seen::Failed(format!("{gk} is namespaced and metadata.namespace is empty")));
                return;
            }
            Selection::Name(name) => scope.name = Some(name.to_string()),
            Selection::Labels(labels) => scope.selector = Some(labels.to_string()).filter(|s| !s.is_empty()),
        }
    }
    follow(&client, &gk, &served, scope, tell).await;
}

/// Reads what a lookup names, once; tried again for ever while there is no answer.
pub(super) async fn ask(
    client: SpokeClient,
    lookup: Lookup,
    known: Option<Served>,
    tell: impl Fn(Result<Option<Stored>, String>) -> bool,
) {
    let Selection::Name(name) = &lookup.selection else { return };
    let mut attempt = 0;
    loop {
        let found = match &known {
            Some(served) if served.namespaced && lookup.namespace.is_empty() => {
                tell(Err(format!("{} is namespaced and metadata.namespace is empty", lookup.gvk)));
                return;
            }
            Some(served) => read(&client, served, &lookup.namespace, name).await,
            // Its watch looks the kind up right now.
            None => match discover(&client, &lookup.gvk.group_kind(), Some(&lookup.gvk)).await {
                Ok(Some(served)) => read(&client, &served, &lookup.namespace, name).await,
                Ok(None) => return,
                Err(error) => Err(error),
            },
        };
        let failed = match found {
            Ok(found) => {
                tell(Ok(found.map(Stored::new)));
                return;
            }
            Err(error) => tell(Err(error.to_string())),
        };
        if !failed {
            return;
        }
        tokio::time::sleep(backoff(attempt, client.cluster())).await;
        attempt += 1;
    }
}

async fn read(
    client: &SpokeClient,
    served: &Served,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, ApiError> {
    let namespace = if served.namespaced { namespace } else { "" };
    client.at(&served.resource, namespace, name).get().await
}

/// Tells what happens to the objects of a kind.
async fn follow(
    client: &SpokeClient,
    gk: &GroupKind,
    served: &Served,
    scope: Scope,
    tell: impl Fn(Seen) -> bool,
) {
    let namespaced = served.namespaced;
    let listed = |listed: Listed| match listed {
        Listed::Started => tell(Seen::ListStarted),
        Listed::Object(object) => tell(Seen::Object(Arc::new(Stored::new(object)))),
        Listed::Left(object) => {
            let object = crate::api::Object(object);
            let version = object.version();
            tell(Seen::Left(object.object_ref(), object.uid().to_owned(), version))
        }
        Listed::Done(version) => tell(Seen::ListDone { namespaced, version }),
    };
    let trouble = |code: Option<u16>, text: &str| match code {
        Some(403) => {
            tell(Seen::Failed(format!("this hub may not list or watch {gk} on the cluster: {text}")))
        }
        // It is the kind's trouble, not the cluster's: who needs it is told.
        Some(400 | 413 | 500 | 502 | 503 | 504) => {
            tell(Seen::Failed(format!("{gk} cannot be listed on the cluster: {text}")))
        }
        Some(404) => {
            // The kind is gone from the cluster: whoever needs it looks it up again.
            tell(Seen::NotServed);
            false
        }
        _ => true,
    };
    objects(client, &served.resource, &scope, listed, trouble).await;
}

/// Which objects of a kind a watch shows.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// All namespaces without it.
    pub namespace: Option<String>,
    /// A label selector; everything without it.
    pub selector: Option<String>,
    /// Only the object of this name.
    pub name: Option<String>,
}

/// Watches objects until `listed` or `trouble` says to stop; retries with back-off. `trouble` hears the HTTP code, where there was
/// one, and a text for people.
pub async fn objects(
    client: &Verbs,
    resource: &ApiResource,
    scope: &Scope,
    listed: impl Fn(Listed) -> bool,
    trouble: impl Fn(Option<u16>, &str) -> bool,
) {
    let mut selectors = Vec::new();
    if let Some(selector) = &scope.selector {
        selectors.push(("labelSelector", selector.clone()));
    }
    if let Some(name) = &scope.name {
        selectors.push(("fieldSelector", format!("metadata.name={}", field_value(name))));
    }
    let namespace = scope.namespace.as_deref().unwrap_or_default();
    let wanted = Wanted {
        path: path(resource, namespace, ""),
        kind: resource.kind.clone(),
        selectors,
        metadata: false,
    };
    let typed = |seen: Listed| {
        listed(match seen {
            Listed::Object(object) => Listed::Object(to_value(object, resource)),
            Listed::Left(object) => Listed::Left(to_value(object, resource)),
            other => other,
        })
    };
    listwatch::follow(client, &wanted, typed, trouble).await;
}

/// A value in a field selector, whose own signs are escaped.
fn field_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// Items of lists do not say what they are; the kind that was asked for does.
fn to_value(mut object: Value, resource: &ApiResource) -> Value {
    object["apiVersion"] = Value::String(resource.api_version.clone());
    object["kind"] = Value::String(resource.kind.clone());
    object
}
