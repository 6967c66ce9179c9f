//! Every label, annotation, finalizer and field manager, in one place.

/// kro's own keys. kro-hub writes them exactly as kro does, so that either can take over from the other.
pub mod kro {
    pub const GROUP: &str = "kro.run";
    pub const VERSION: &str = "v1alpha1";
    pub const FINALIZER: &str = "kro.run/finalizer";

    pub const OWNED: &str = "kro.run/owned";
    pub const KRO_VERSION: &str = "kro.run/kro-version";
    pub const RGD_ID: &str = "kro.run/resource-graph-definition-id";
    pub const RGD_NAME: &str = "kro.run/resource-graph-definition-name";
    pub const INSTANCE_ID: &str = "kro.run/instance-id";
    pub const INSTANCE_NAME: &str = "kro.run/instance-name";
    pub const INSTANCE_NAMESPACE: &str = "kro.run/instance-namespace";
    pub const INSTANCE_GROUP: &str = "kro.run/instance-group";
    pub const INSTANCE_VERSION: &str = "kro.run/instance-version";
    pub const INSTANCE_KIND: &str = "kro.run/instance-kind";
    pub const NODE_ID: &str = "kro.run/node-id";
    pub const COLLECTION_INDEX: &str = "kro.run/collection-index";
    pub const COLLECTION_SIZE: &str = "kro.run/collection-size";
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    pub const MANAGED_BY_VALUE: &str = "kro";

    pub const APPLYSET_ID: &str = "applyset.kubernetes.io/id";
    pub const APPLYSET_PART_OF: &str = "applyset.kubernetes.io/part-of";
    pub const APPLYSET_TOOLING: &str = "applyset.kubernetes.io/tooling";
    pub const APPLYSET_GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
    pub const APPLYSET_NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
    pub const INVENTORY_HASH: &str = "internal.kro.run/applyset-inventory-hash";
    pub const APPLY_ORDER: &str = "internal.kro.run/apply-order";

    pub const RECONCILE: &str = "kro.run/reconcile";
    pub const ALLOW_BREAKING: &str = "kro.run/allow-breaking-changes";

    /// Applies children.
    pub const MANAGER_APPLYSET: &str = "kro.run/applyset";
    /// Applies ApplySet label and annotations on the instance.
    pub const MANAGER_PARENT: &str = "kro.run/applyset-parent";
    /// Applies finalizer and kro labels on the instance, and whole mirrors.
    pub const MANAGER_LABELLER: &str = "kro.run/labeller";

    /// The kro version whose behaviour this is. `applyset.kubernetes.io/tooling` must start with `kro/`.
    pub const COMPATIBLE_VERSION: &str = "v0.9.4";
}

/// kro-hub's own keys.
pub mod hub {
    pub const GROUP: &str = "hub.kro.run";
    pub const FINALIZER: &str = "hub.kro.run/finalizer";

    /// On every object that this hub wrote to a spoke.
    pub const HUB_ID: &str = "hub.kro.run/hub-id";
    /// On a mirror: uid of the instance on the hub.
    pub const INSTANCE_UID: &str = "hub.kro.run/instance-uid";
    /// On a child: the whole name, where kro's label holds a cut one.
    pub const FULL_INSTANCE_NAME: &str = "hub.kro.run/instance-name";
    pub const FULL_INSTANCE_NAMESPACE: &str = "hub.kro.run/instance-namespace";

    /// On a kubeconfig Secret: registers a cluster.
    pub const CLUSTER_LABEL: &str = "hub.kro.run/cluster";
    /// Labels of other tools that register a cluster as well.
    pub const CLUSTER_LABELS: [&str; 3] =
        [CLUSTER_LABEL, "kro.run/cluster", "sigs.k8s.io/multicluster-runtime-kubeconfig"];
    /// On a kubeconfig Secret: which key of `data` holds the kubeconfig.
    pub const KEY: &str = "hub.kro.run/key";

    /// On a kubeconfig Secret: public authorities may speak for the cluster.
    pub const PUBLIC_ROOTS: &str = "hub.kro.run/public-roots";

    pub const CLUSTERS: &str = "hub.kro.run/clusters";
    pub const CLUSTER_SELECTOR: &str = "hub.kro.run/cluster-selector";
    /// Durable record of where content of an instance may exist.
    pub const HOLDS: &str = "hub.kro.run/holds";
    /// Fingerprint of the instance's own placement words at the last decision (see the shrink guard).
    pub const DECIDED: &str = "hub.kro.run/decided";
    pub const RELEASE: &str = "hub.kro.run/release";
    pub const ALLOW_SHRINK: &str = "hub.kro.run/allow-shrink";
    /// On a mirror: the version of the instance's rollout that stands there, and since when.
    pub const VERSION: &str = "hub.kro.run/version";
    /// On a mirror: the revision of its definition that it runs by, where the whole kind moves as one; and since when.
    pub const REVISION: &str = "hub.kro.run/revision";
    /// On a mirror: labels and properties of the cluster as they were read when the instance was let there.
    pub const FACTS: &str = "hub.kro.run/facts";
    /// On a ControllerRevision: the instance that it is a version of, by uid.
    pub const VERSION_OF: &str = "hub.kro.run/version-of";
    /// On a ControllerRevision: every cluster within reach completed it.
    pub const STABLE: &str = "hub.kro.run/stable";

    pub const ON_DELETE: &str = "hub.kro.run/on-delete";
    pub const ON_EXISTING: &str = "hub.kro.run/on-existing";
    pub const TARGET: &str = "hub.kro.run/target";
    pub const HUB_REFS: &str = "hub.kro.run/hub-refs";
    /// On a definition: opt-in libraries of functions, e.g. `math,sets`.
    pub const CEL_LIBRARIES: &str = "hub.kro.run/cel-libraries";
    pub const DISTRIBUTE: &str = "hub.kro.run/distribute";
    pub const ABANDON: &str = "hub.kro.run/abandon";

    /// ConfigMap in the controller's namespace that holds the hub id.
    pub const HUB_ID_CONFIGMAP: &str = "kro-hub-id";
    /// ConfigMap in `kube-system` of a spoke that names the hub which owns it.
    pub const CLAIM_CONFIGMAP: &str = "kro-hub-claim";
    pub const CLAIM_NAMESPACE: &str = "kube-system";
    pub const LEASE: &str = "kro-hub";
    /// Field manager for kro-hub's own objects (Clusters, claims, generated CRDs).
    pub const MANAGER: &str = "kro-hub";
}

/// Annotations and labels with these prefixes never travel from the hub instance to its mirror: either they
/// are bookkeeping of one cluster, or another tool on the spoke would act on them.
pub const NEVER_MIRRORED_PREFIXES: [&str; 7] = [
    "kro.run/",
    "internal.kro.run/",
    "hub.kro.run/",
    "applyset.kubernetes.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
];
/// Whole keys that never travel.
pub const NEVER_MIRRORED_KEYS: [&str; 2] =
    ["app.kubernetes.io/instance", "kubectl.kubernetes.io/last-applied-configuration"];

/// Whether a label or annotation of a hub instance is copied to its mirrors.
pub fn is_mirrored(key: &str) -> bool {
    !NEVER_MIRRORED_KEYS.contains(&key) && !NEVER_MIRRORED_PREFIXES.iter().any(|p| key.starts_with(p))
}

/// Bookkeeping of kro and of ours. Expressions do not see it, so an instance reads as its author wrote it.
const BOOKKEEPING_PREFIXES: [&str; 4] =
    ["kro.run/", "internal.kro.run/", "hub.kro.run/", "applyset.kubernetes.io/"];

/// Whether a label or annotation of an instance is hidden from expressions.
pub fn is_hidden(key: &str, value: Option<&str>) -> bool {
    BOOKKEEPING_PREFIXES.iter().any(|p| key.starts_with(p))
        || (key == kro::MANAGED_BY && value == Some(kro::MANAGED_BY_VALUE))
}

/// Whether a finalizer of an instance is hidden from expressions, and never copied to a resource.
pub fn is_own_finalizer(name: &str) -> bool {
    [kro::FINALIZER, hub::FINALIZER].contains(&name)
}

/// Keys that begin as bookkeeping does and that authors may write on a template all the same: they mean something on
/// the resource.
const FOR_AUTHORS: [&str; 3] = [kro::RECONCILE, kro::ALLOW_BREAKING, "kro.run/cluster"];
/// Keys of our group that are bookkeeping about the object that carries them.
const KEPT_BY_US: [&str; 11] = [
    hub::HUB_ID,
    hub::INSTANCE_UID,
    hub::HOLDS,
    hub::DECIDED,
    hub::VERSION,
    hub::REVISION,
    hub::FACTS,
    hub::VERSION_OF,
    hub::STABLE,
    hub::FULL_INSTANCE_NAME,
    hub::FULL_INSTANCE_NAMESPACE,
];

/// Whether a label or annotation says what an object is or what is known of it. On a copy of the object it would be
/// wrong.
pub fn is_identity(key: &str) -> bool {
    let of_kro = ["kro.run/", "internal.kro.run/", "applyset.kubernetes.io/"];
    KEPT_BY_US.contains(&key) || (of_kro.iter().any(|p| key.starts_with(p)) && !FOR_AUTHORS.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_author_may_write_is_no_identity() {
        let author = [
            "team",
            hub::ON_DELETE,
            hub::ON_EXISTING,
            hub::TARGET,
            hub::CLUSTERS,
            hub::CLUSTER_SELECTOR,
            hub::CLUSTER_LABEL,
            hub::KEY,
            hub::RELEASE,
            hub::ALLOW_SHRINK,
            kro::RECONCILE,
            kro::ALLOW_BREAKING,
            "kro.run/cluster",
            "x.kro.run/y",
            "app.kubernetes.io/name",
        ];
        for key in author {
            assert!(!is_identity(key), "{key}");
        }
        let identity = [
            hub::HUB_ID,
            hub::INSTANCE_UID,
            hub::HOLDS,
            hub::DECIDED,
            "hub.kro.run/instance-name",
            kro::OWNED,
            kro::NODE_ID,
            kro::COLLECTION_SIZE,
            kro::RGD_NAME,
            kro::APPLYSET_ID,
            kro::APPLYSET_PART_OF,
            kro::APPLYSET_GROUP_KINDS,
            kro::INVENTORY_HASH,
            kro::APPLY_ORDER,
        ];
        for key in identity {
            assert!(is_identity(key) && is_hidden(key, None), "{key}");
        }
        assert!(is_hidden(kro::MANAGED_BY, Some("kro")) && !is_hidden(kro::MANAGED_BY, Some("Helm")));
        assert!(is_hidden(hub::CLUSTERS, None) && !is_hidden("team", None));
    }
}
