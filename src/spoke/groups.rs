//! Which API groups another server may serve: what fails there fails there alone.

/// Groups with a dot that every API server serves by itself.
const OWN: [&str; 18] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// The group of a path, if another server may serve it: what fails there fails there alone. Groups without a dot are
/// Kubernetes' own.
pub(super) fn aggregated(path: &str) -> Option<&str> {
    let group = path.strip_prefix("/openapi/v3").unwrap_or(path).strip_prefix("/apis/")?.split('/').next()?;
    (group.contains('.') && !OWN.contains(&group)).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_another_server_may_serve() {
        for path in
            ["/api/v1/pods", "/apis", "/apis/apps/v1", "/openapi/v3", "/openapi/v3/apis/batch/v1", "/version"]
        {
            assert_eq!(aggregated(path), None, "{path}");
        }
        for group in OWN {
            assert_eq!(aggregated(&format!("/apis/{group}/v1/x")), None, "{group}");
        }
        for path in [
            "/apis/metrics.k8s.io/v1beta1/pods",
            "/apis/metrics.k8s.io",
            "/openapi/v3/apis/metrics.k8s.io/v1beta1",
        ] {
            assert_eq!(aggregated(path), Some("metrics.k8s.io"), "{path}");
        }
    }
}
