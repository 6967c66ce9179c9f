//! REST paths of the kinds that the hub side itself reads and writes.

use kube::core::ApiResource;

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version,
        kind: kind.into(),
        plural: plural.into(),
    }
}

pub fn secrets() -> ApiResource {
    resource("", "v1", "Secret", "secrets")
}
pub fn config_maps() -> ApiResource {
    resource("", "v1", "ConfigMap", "configmaps")
}
pub fn namespaces() -> ApiResource {
    resource("", "v1", "Namespace", "namespaces")
}
pub fn clusters() -> ApiResource {
    resource("hub.kro.run", "v1alpha1", "Cluster", "clusters")
}
pub fn reports() -> ApiResource {
    resource("hub.kro.run", "v1alpha1", "InstanceReport", "instancereports")
}
pub fn placements() -> ApiResource {
    resource("hub.kro.run", "v1alpha1", "Placement", "placements")
}
pub fn cluster_placements() -> ApiResource {
    resource("hub.kro.run", "v1alpha1", "ClusterPlacement", "clusterplacements")
}
pub fn definitions() -> ApiResource {
    resource("kro.run", "v1alpha1", "ResourceGraphDefinition", "resourcegraphdefinitions")
}
pub fn controller_revisions() -> ApiResource {
    resource("apps", "v1", "ControllerRevision", "controllerrevisions")
}
pub fn rollout_approvals() -> ApiResource {
    resource("hub.kro.run", "v1alpha1", "RolloutApproval", "rolloutapprovals")
}
pub fn token_reviews() -> ApiResource {
    resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews")
}
pub fn subject_access_reviews() -> ApiResource {
    resource("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews")
}
pub fn revisions() -> ApiResource {
    resource("internal.kro.run", "v1alpha1", "GraphRevision", "graphrevisions")
}
