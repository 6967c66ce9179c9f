//! Whether the cluster behind the credentials is the one that a Cluster stood for before.

use crate::api::cluster::ClusterStatus;
use crate::hub::identity::ClusterInfo;

/// What was written of a cluster's identity.
pub(super) fn written(status: &ClusterStatus) -> ClusterInfo {
    ClusterInfo {
        id: status.cluster_id.clone(),
        system_uid: status.kube_system_uid.clone(),
        version: status.kubernetes_version.clone(),
    }
}

/// The identity from now on; `None` when it is another cluster. The uid of kube-system decides where both are known: a
/// ClusterProperty may appear, or become readable, later. The id stays what it was first, for records stand under it.
pub(super) fn recognize(known: &ClusterInfo, found: ClusterInfo) -> Option<ClusterInfo> {
    if known.id.is_empty() {
        return Some(found);
    }
    let same = match (known.system_uid.as_str(), found.system_uid.as_str()) {
        ("", uid) => known.id == found.id || known.id == uid,
        (_, "") => known.id == found.id,
        (before, now) => before == now,
    };
    let system_uid =
        if found.system_uid.is_empty() { known.system_uid.clone() } else { found.system_uid.clone() };
    same.then(|| ClusterInfo { id: known.id.clone(), system_uid, version: found.version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str, system_uid: &str) -> ClusterInfo {
        ClusterInfo { id: id.into(), system_uid: system_uid.into(), version: "v1".into() }
    }

    #[test]
    fn a_cluster_is_recognized_by_kube_system_and_keeps_its_id() {
        let cases = [
            ("new", info("", ""), info("prop", "u1"), Some(info("prop", "u1"))),
            ("the same", info("prop", "u1"), info("prop", "u1"), Some(info("prop", "u1"))),
            ("a property appeared", info("u1", "u1"), info("prop", "u1"), Some(info("u1", "u1"))),
            ("a property went", info("prop", "u1"), info("u1", "u1"), Some(info("prop", "u1"))),
            ("rebuilt under its old name", info("prop", "u1"), info("prop", "u2"), None),
            ("another one", info("u1", "u1"), info("u2", "u2"), None),
            ("written before uids were kept", info("prop", ""), info("prop", "u1"), Some(info("prop", "u1"))),
            ("the same, property new", info("u1", ""), info("prop", "u1"), Some(info("u1", "u1"))),
            ("written before, another one", info("prop", ""), info("other", "u1"), None),
            ("kube-system is hidden now", info("prop", "u1"), info("prop", ""), Some(info("prop", "u1"))),
            ("hidden, and another property", info("prop", "u1"), info("other", ""), None),
        ];
        for (name, known, found, want) in cases {
            assert_eq!(recognize(&known, found), want, "{name}");
        }
    }
}
