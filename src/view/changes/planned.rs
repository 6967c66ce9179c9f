//! Changes that were tried on a cluster: what only a stored object can tell, whose values are taken, what is refused.

use super::fields::differences;
use super::{Action, Change, Field, Told};
use crate::api::Gvk;
use crate::api::keys::{hub, kro};
use crate::reconcile::rivals;
use serde_json::Value;
use std::collections::BTreeMap;

/// With this a value begins that only a stored object can tell.
pub const AFTER: &str = "(known after apply";

/// What is taken from these is nobody else's.
const OURS: [&str; 4] = [kro::MANAGER_APPLYSET, kro::MANAGER_PARENT, kro::MANAGER_LABELLER, hub::MANAGER];

/// An object that cannot be made or changed.
pub fn refused(node: &str, gvk: &Gvk, (namespace, name): (&str, &str), reason: String) -> Change {
    Change {
        node: node.to_owned(),
        api_version: gvk.api_version(),
        kind: gvk.kind.to_string(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        action: Action::Refused,
        reason,
        fields: Vec::new(),
    }
}

/// An object that goes.
pub fn gone(node: &str, object: &Value, reason: &str) -> Change {
    let text = |pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Change {
        node: node.to_owned(),
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        action: Action::Delete,
        reason: reason.to_owned(),
        fields: Vec::new(),
    }
}

/// A namespace that would be made for an instance.
pub fn namespace(name: &str) -> Change {
    Change {
        node: String::new(),
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
        action: Action::Create,
        reason: "for the instance".to_owned(),
        fields: Vec::new(),
    }
}

/// An object that should go, and cannot.
pub fn stays(node: &str, object: &Value, reason: &str) -> Change {
    Change { action: Action::Refused, ..gone(node, object, reason) }
}

/// What is there, and what it would be.
#[derive(Clone, Copy)]
pub struct Tried<'a> {
    /// With what the API server notes of field managers.
    pub live: &'a Value,
    pub before: &'a Value,
    pub after: &'a Value,
}

/// Says of each field what it is known by, and whose value it takes.
pub fn with(mut told: Told<Change>, tried: Option<Tried<'_>>, reason: Option<String>) -> Told<Change> {
    let taken = tried.map(taken).unwrap_or_default();
    for change in [&mut told.shown, &mut told.neutral] {
        for field in &mut change.fields {
            if let Some(manager) = taken.get(&field.path) {
                field.taken_from.clone_from(manager);
            }
            known(field);
        }
        if let Some(reason) = &reason {
            change.reason.clone_from(reason);
        }
    }
    told
}

/// The fields whose values another manager set, by path.
fn taken(Tried { live, before, after }: Tried<'_>) -> BTreeMap<String, String> {
    let all = differences(Some(before), Some(after)).into_iter();
    let owner = |steps: &[String]| rivals::owner(live, &OURS, steps);
    all.filter_map(|found| Some((found.path, owner(&found.before?.0)?))).collect()
}

fn known(field: &mut Field) {
    if field.live
        && let Some(after) = &mut field.after
    {
        tell(after);
    }
}

fn tell(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("${") => *text = after_apply(text),
        Value::Array(items) => items.iter_mut().for_each(tell),
        Value::Object(fields) => fields.values_mut().for_each(tell),
        _ => {}
    }
}

/// `(known after apply: service.metadata.name)`
fn after_apply(text: &str) -> String {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let whole = inner.filter(|inner| !inner.contains("${"));
    format!("{AFTER}: {})", whole.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_says_what_it_is_made_of() {
        for (text, want) in [
            ("${service.metadata.name}", "(known after apply: service.metadata.name)"),
            ("http://${a.b}/x", "(known after apply: http://${a.b}/x)"),
            ("${a.b}-${c.d}", "(known after apply: ${a.b}-${c.d})"),
        ] {
            assert_eq!(after_apply(text), want);
        }
    }

    #[test]
    fn a_value_is_taken_from_whoever_set_it_last() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "kubectl-edit", "operation": "Update", "time": "2", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kro.run/applyset", "operation": "Apply", "time": "1", "fieldsV1": {"f:spec": {"f:image": {}}}}]},
            "spec": {"replicas": 3, "image": "a"}});
        let (before, after) =
            (json!({"spec": {"replicas": 3, "image": "a"}}), json!({"spec": {"replicas": 5, "image": "b"}}));
        let taken = taken(Tried { live: &live, before: &before, after: &after });
        assert_eq!(taken, BTreeMap::from([("spec.replicas".to_owned(), "kubectl-edit".to_owned())]));
    }
}
