//! Words for people who change by hand, on a spoke, what the hub keeps there: the API server warns them and lets them.

use super::register::MADE_BY;
use crate::api::keys::{hub, kro};
use serde_json::{Value, json};

/// Name of the policy, and of its binding.
pub const POLICY: &str = "edits.hub.kro.run";
/// The group of the policy's API.
pub const ADMISSION: &str = "admissionregistration.k8s.io";

/// The policy that warns and its binding, as a spoke takes them. Whoever is of the cluster itself (`system:…`: the hub's own
/// account, the garbage collector, kubelets) is not warned, and subresources such as `scale` go unseen.
pub fn of_edits() -> Vec<Value> {
    let metadata = json!({"name": POLICY, "labels": {MADE_BY.0: MADE_BY.1}});
    let version = format!("{ADMISSION}/v1");
    let map = |field: &str| format!("has(oldObject.metadata.{field}) ? oldObject.metadata.{field} : {{}}");
    // The whole name stands in an annotation where a label can only hold a cut one. A mirror has the name of its instance.
    let told = |long: &str, short: &str, own: &str| {
        format!(
            "{long:?} in variables.annotations ? variables.annotations[{long:?}] : \
             {short:?} in variables.labels ? variables.labels[{short:?}] : \
             {:?} in variables.labels ? {own} : \"\"",
            hub::INSTANCE_UID
        )
    };
    let name = told(hub::FULL_INSTANCE_NAME, kro::INSTANCE_NAME, "oldObject.metadata.name");
    let namespace = told(
        hub::FULL_INSTANCE_NAMESPACE,
        kro::INSTANCE_NAMESPACE,
        "(has(oldObject.metadata.namespace) ? oldObject.metadata.namespace : \"\")",
    );
    let message = "\"kept by kro-hub\" + (variables.name == \"\" ? \"\" : \" for \" + \
                   (variables.place == \"\" ? \"\" : variables.place + \"/\") + variables.name) + \
                   \": a change here is undone; change the instance on the hub\"";
    vec![
        json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": {
            // It only warns, so nobody is to be held up by it.
            "failurePolicy": "Ignore",
            "matchConstraints": {
                "objectSelector": {"matchExpressions": [{"key": hub::HUB_ID, "operator": "Exists"}]},
                "resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["UPDATE", "DELETE"]}],
            },
            "matchConditions": [
                {"name": "a-person", "expression": "!request.userInfo.username.startsWith(\"system:\")"},
            ],
            "variables": [
                {"name": "labels", "expression": map("labels")},
                {"name": "annotations", "expression": map("annotations")},
                {"name": "name", "expression": name},
                {"name": "place", "expression": namespace},
            ],
            "validations": [{"expression": "false", "messageExpression": message}],
        }}),
        json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
            "spec": {"policyName": POLICY, "validationActions": ["Warn"]}}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_as_a_spoke_takes_it() {
        insta::assert_yaml_snapshot!(of_edits());
    }
}
