//! Which of Kubernetes' own kinds are namespaced. Other kinds are judged where they are served.

/// `None` for kinds that only a cluster knows.
pub fn is_namespaced(group: &str, kind: &str) -> Option<bool> {
    let cluster: &[&str] = match group {
        "" => &["Namespace", "Node", "PersistentVolume"],
        "rbac.authorization.k8s.io" => &["ClusterRole", "ClusterRoleBinding"],
        "storage.k8s.io" => {
            &["StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "VolumeAttributesClass"]
        }
        "apiextensions.k8s.io" => &["CustomResourceDefinition"],
        "apiregistration.k8s.io" => &["APIService"],
        "admissionregistration.k8s.io" => &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        "scheduling.k8s.io" => &["PriorityClass"],
        "networking.k8s.io" => &["IngressClass", "IPAddress", "ServiceCIDR"],
        "node.k8s.io" => &["RuntimeClass"],
        "certificates.k8s.io" => &["CertificateSigningRequest", "ClusterTrustBundle"],
        "flowcontrol.apiserver.k8s.io" => &["FlowSchema", "PriorityLevelConfiguration"],
        _ => &[],
    };
    let namespaced: &[&str] = match group {
        "" => &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
        "apps" => &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        "batch" => &["CronJob", "Job"],
        "autoscaling" => &["HorizontalPodAutoscaler"],
        "policy" => &["PodDisruptionBudget"],
        "networking.k8s.io" => &["Ingress", "NetworkPolicy"],
        "rbac.authorization.k8s.io" => &["Role", "RoleBinding"],
        "coordination.k8s.io" => &["Lease"],
        "discovery.k8s.io" => &["EndpointSlice"],
        "storage.k8s.io" => &["CSIStorageCapacity"],
        _ => &[],
    };
    if cluster.contains(&kind) {
        Some(false)
    } else if namespaced.contains(&kind) {
        Some(true)
    } else {
        None
    }
}
