//! The verbs on one object of a cluster.

use super::error::ApiError;
use super::verbs::{Verbs, request};
use http::Method;
use kube::core::ApiResource;
use serde_json::{Value, json};

/// One object of a cluster, by what addresses it: see [`Verbs::at`].
#[derive(Clone, Copy)]
pub struct ObjectVerbs<'a> {
    pub(super) verbs: &'a Verbs,
    pub(super) resource: &'a ApiResource,
    /// Empty where the kind is cluster scoped.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl ObjectVerbs<'_> {
    fn path(&self) -> String {
        path(self.resource, self.namespace, self.name)
    }

    async fn read(self, accept: &str) -> Result<Option<Value>, ApiError> {
        self.verbs.find(request(Method::GET, &self.path(), accept, None)).await
    }

    async fn patch(self, path: &str, media: &str, patch: &Value) -> Result<Value, ApiError> {
        self.verbs.call(request(Method::PATCH, path, JSON, Some((media, patch)))).await
    }

    /// What the object owns goes too, in the background. Unsaid, a kind decides: what a Job owns would run on, or the
    /// Job would wait for somebody to let it go.
    async fn delete_if(self, preconditions: Value) -> Result<Option<Value>, ApiError> {
        let body = json!({"preconditions": preconditions, "propagationPolicy": "Background"});
        self.verbs.find(request(Method::DELETE, &self.path(), JSON, Some((JSON, &body)))).await
    }

    /// `Ok(None)`: there is none of this name.
    ///
    /// # Errors
    /// See [`ApiError`]; so for all verbs. A kind that the server does not serve is an error too.
    pub async fn get(self) -> Result<Option<Value>, ApiError> {
        self.read(JSON).await
    }

    /// Metadata alone, as `PartialObjectMetadata`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn get_metadata(self) -> Result<Option<Value>, ApiError> {
        self.read("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await
    }

    /// Server-side apply with force: kro's way, so that either can take over from the other.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn apply(self, manager: &str, body: &Value) -> Result<Value, ApiError> {
        let path =
            format!("{}?fieldManager={}&force=true&fieldValidation=Strict", self.path(), encode(manager));
        self.patch(&path, "application/apply-patch+yaml", body).await
    }

    /// JSON merge patch.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn merge_patch(self, patch: &Value) -> Result<Value, ApiError> {
        self.patch(&self.path(), MERGE_PATCH, patch).await
    }

    /// JSON patch; `patch` is a list of operations.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn json_patch(self, patch: &Value) -> Result<Value, ApiError> {
        self.patch(&self.path(), "application/json-patch+json", patch).await
    }

    /// JSON merge patch of the status subresource; `patch` is the whole object's patch, `{"status": …}`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn merge_status(self, patch: &Value) -> Result<Value, ApiError> {
        self.patch(&format!("{}/status", self.path()), MERGE_PATCH, patch).await
    }

    /// Replaces the whole object; its resourceVersion must be in `body`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn replace(self, body: &Value) -> Result<Value, ApiError> {
        self.verbs.call(request(Method::PUT, &self.path(), JSON, Some((JSON, body)))).await
    }

    /// Deletes the object of this uid; `Ok(None)` when there is none of the name.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] when another object has the name; else as for [`Self::get`].
    pub async fn delete(self, uid: &str) -> Result<Option<Value>, ApiError> {
        self.delete_if(json!({"uid": uid})).await
    }

    /// Deletes the object if it is as it was read; `Ok(None)` when there is none of the name.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if it changed meanwhile; else as for [`Self::get`].
    pub async fn delete_unchanged(self, read: &crate::api::Object) -> Result<Option<Value>, ApiError> {
        self.delete_if(json!({"uid": read.uid(), "resourceVersion": read.resource_version()})).await
    }
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The path of an object, or of the collection where `name` is empty.
pub(in crate::spoke) fn path(resource: &ApiResource, namespace: &str, name: &str) -> String {
    let mut out = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    if !namespace.is_empty() {
        out.push_str(&format!("/namespaces/{}", encode(namespace)));
    }
    out.push_str(&format!("/{}", resource.plural));
    if !name.is_empty() {
        out.push_str(&format!("/{}", encode(name)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::client::in_memory;
    use http_body_util::{BodyExt, Full};
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_deletion_takes_along_what_the_object_owns_whatever_its_kind_does_by_itself() {
        let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = sent.clone();
        let client = in_memory(move |request| {
            let seen = seen.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                http::Response::new(Full::new("{}".into()).boxed_unsync())
            }
        });
        let resource = crate::spoke::crd::crd_resource();
        let read = crate::api::Object(json!({"metadata": {"uid": "u", "resourceVersion": "7"}}));
        client.at(&resource, "n", "c").delete("u").await.unwrap();
        client.at(&resource, "n", "c").delete_unchanged(&read).await.unwrap();
        let of =
            |preconditions: Value| json!({"preconditions": preconditions, "propagationPolicy": "Background"});
        let want = [of(json!({"uid": "u"})), of(json!({"uid": "u", "resourceVersion": "7"}))];
        assert_eq!(*sent.lock().unwrap(), want);
    }

    #[test]
    fn paths() {
        let core = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Secret".into(),
            plural: "secrets".into(),
        };
        assert_eq!(path(&core, "n", "a"), "/api/v1/namespaces/n/secrets/a");
        let apps = ApiResource {
            group: "apps".into(),
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
            ..core
        };
        assert_eq!(path(&apps, "", ""), "/apis/apps/v1/deployments");
        assert_eq!(path(&apps, "n", "a/../b"), "/apis/apps/v1/namespaces/n/deployments/a%2F..%2Fb");
    }
}
