//! The verbs on an object, without [`Verbs::at`].

use super::error::ApiError;
use super::verbs::Verbs;
use kube::core::ApiResource;
use serde_json::Value;

impl Verbs {
    pub async fn get(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        self.at(resource, namespace, name).get().await
    }
    pub async fn get_metadata(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        self.at(resource, namespace, name).get_metadata().await
    }
    pub async fn apply(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        manager: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        self.at(resource, namespace, name).apply(manager, body).await
    }
    pub async fn merge_patch(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.at(resource, namespace, name).merge_patch(patch).await
    }
    pub async fn json_patch(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.at(resource, namespace, name).json_patch(patch).await
    }
    pub async fn merge_status(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.at(resource, namespace, name).merge_status(patch).await
    }
    pub async fn delete(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Value>, ApiError> {
        self.at(resource, namespace, name).delete(uid).await
    }
    pub async fn delete_unchanged(
        &self,
        resource: &ApiResource,
        namespace: &str,
        read: &crate::api::Object,
    ) -> Result<Option<Value>, ApiError> {
        self.at(resource, namespace, read.name()).delete_unchanged(read).await
    }
}
