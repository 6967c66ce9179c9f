//! Into which namespaces of a cluster the resources of an instance may be written.
//!
//! A definition may take `metadata.namespace` from its instance. Whoever may make instances in one namespace then says where
//! the hub writes with its own rights, `kube-system` included. What may be written has a type of its own, [`Within`], which
//! only the rules of the cluster give.

use crate::api::Object;
use crate::api::cluster::{ChildNamespacePolicy, ChildNamespaces, ClusterSpec};
use crate::api::names::ObjectRef;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rules of one cluster: each of them has to allow a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(Vec<Rule>);

/// Own namespaces, and those that are named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    also: BTreeSet<String>,
    /// Who says so, and in which field.
    said_by: String,
    /// What lets one namespace more in.
    fix: String,
}

/// A resource that may be written where it says.
#[derive(Debug)]
pub struct Within(Value);

impl Within {
    pub fn into_body(self) -> Value {
        self.0
    }
}

/// The flag of the controller that is the rule of the hub's own cluster.
pub const FLAG: &str = "--local-child-namespaces";

impl Bounds {
    /// As a Cluster says, and for the hub's own also the controller's flag.
    pub fn of(cluster: &str, spec: &ClusterSpec, of_hub: &ChildNamespaces) -> Self {
        let said = Rule::of(
            spec.child_namespaces.as_ref(),
            format!("Cluster {cluster} (spec.childNamespaces)"),
            format!("add it to spec.childNamespaces.also of Cluster {cluster}"),
        );
        let flag = Rule::of(
            Some(of_hub).filter(|_| spec.local),
            format!("the controller ({FLAG})"),
            format!("add it to {FLAG} of the controller"),
        );
        Self(said.into_iter().chain(flag).collect())
    }

    /// Whether a resource of an instance in the namespace `home` may be written; `home` is empty for an instance that has
    /// none. What lives in no namespace always may: that its definition makes such objects is the word of its author.
    ///
    /// # Errors
    /// It may not: which object it is, who says so, and what helps.
    pub fn admit(&self, home: &str, resource: Object) -> Result<Within, String> {
        self.allow(home, &resource.object_ref()).map(|()| Within(resource.0))
    }

    /// The same of an object that nobody is about to write.
    ///
    /// # Errors
    /// As there.
    pub fn allow(&self, home: &str, target: &ObjectRef) -> Result<(), String> {
        let namespace = &*target.namespace;
        let allows =
            |rule: &&Rule| namespace.is_empty() || namespace == home || rule.also.contains(namespace);
        match self.0.iter().find(|rule| !allows(rule)) {
            None => Ok(()),
            Some(rule) => Err(rule.refusal(home, target)),
        }
    }
}

impl Rule {
    /// `None` where everything is allowed. A word that nobody knows allows the least.
    fn of(said: Option<&ChildNamespaces>, said_by: String, fix: String) -> Option<Self> {
        let said = said.filter(|said| said.policy != ChildNamespacePolicy::Any)?;
        Some(Self { also: said.also.iter().cloned().collect(), said_by, fix })
    }

    fn refusal(&self, home: &str, target: &ObjectRef) -> String {
        let namespace = &target.namespace;
        let home = match home {
            "" => "the instance has no namespace of its own".to_owned(),
            home => format!("the instance is in {home}"),
        };
        format!(
            "{target} is not written: {} keeps resources out of namespace {namespace}, since {home}; leave metadata.namespace \
             out of the template, or {}",
            self.said_by, self.fix
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn own(also: &[&str]) -> ChildNamespaces {
        let also = also.iter().map(|&name| name.to_owned()).collect();
        ChildNamespaces { policy: ChildNamespacePolicy::Own, also }
    }

    fn spec(said: Option<ChildNamespaces>, local: bool) -> ClusterSpec {
        ClusterSpec { child_namespaces: said, local, ..ClusterSpec::default() }
    }

    fn in_namespace(namespace: &str) -> Object {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        Object(object)
    }

    #[test]
    fn what_may_be_written_where() {
        let any = ChildNamespaces::default();
        let unknown = ChildNamespaces { policy: ChildNamespacePolicy::Other, also: Vec::new() };
        let cases = [
            ("nothing is said", None, "shop", "kube-system", true),
            ("any", Some(any), "shop", "kube-system", true),
            ("its own", Some(own(&[])), "shop", "shop", true),
            ("another one", Some(own(&[])), "shop", "kube-system", false),
            ("one that is named", Some(own(&["logs"])), "shop", "logs", true),
            ("beside those named", Some(own(&["logs"])), "shop", "kube-system", false),
            ("one that only begins like it", Some(own(&["logs"])), "shop", "shop-2", false),
            ("in no namespace", Some(own(&[])), "shop", "", true),
            ("of an instance without one", Some(own(&[])), "", "shop", false),
            ("the same, named", Some(own(&["shop"])), "", "shop", true),
            ("a word of a later version", Some(unknown), "shop", "other", false),
        ];
        for (case, said, home, namespace, want) in cases {
            let bounds = Bounds::of("eu", &spec(said, false), &ChildNamespaces::default());
            assert_eq!(bounds.admit(home, in_namespace(namespace)).is_ok(), want, "{case}");
        }
    }

    #[test]
    fn the_flag_is_of_the_hub_alone_and_both_have_to_allow() {
        let cases = [
            ("a spoke", false, None, "kube-system", true),
            ("the hub", true, None, "kube-system", false),
            ("its Cluster says less", true, Some(own(&["logs"])), "audit", false),
            ("its Cluster says more", true, Some(own(&["logs", "audit"])), "logs", false),
            ("both name it", true, Some(own(&["audit"])), "audit", true),
        ];
        for (case, local, said, namespace, want) in cases {
            let bounds = Bounds::of("c", &spec(said, local), &own(&["audit"]));
            assert_eq!(bounds.admit("shop", in_namespace(namespace)).is_ok(), want, "{case}");
        }
    }

    #[test]
    fn a_refusal_names_the_object_who_says_so_and_what_helps() {
        let refused = |bounds: Bounds, home| bounds.admit(home, in_namespace("kube-system")).unwrap_err();
        let of_cluster = Bounds::of("eu", &spec(Some(own(&[])), false), &ChildNamespaces::default());
        assert_eq!(
            refused(of_cluster, "shop"),
            "ConfigMap kube-system/c is not written: Cluster eu (spec.childNamespaces) keeps resources out of namespace \
             kube-system, since the instance is in shop; leave metadata.namespace out of the template, or add it to \
             spec.childNamespaces.also of Cluster eu"
        );
        assert_eq!(
            refused(Bounds::of("hub", &spec(None, true), &own(&[])), ""),
            "ConfigMap kube-system/c is not written: the controller (--local-child-namespaces) keeps resources out of \
             namespace kube-system, since the instance has no namespace of its own; leave metadata.namespace out of the \
             template, or add it to --local-child-namespaces of the controller"
        );
    }
}
