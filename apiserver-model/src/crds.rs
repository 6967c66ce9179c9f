//! CustomResourceDefinitions: what a server fills in, what it refuses, and whether names are free.

use crate::admit::FieldError;
use crate::kinds::Resource;
use crate::metadata::{invalid, text};
use serde_json::{Map, Value, json};

pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(crate) fn is(resource: &Resource) -> bool {
    resource.plural == "customresourcedefinitions" && resource.group == crate::kinds::CRDS
}

fn at<'a>(crd: &'a Value, pointer: &str) -> &'a str {
    crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What is set where nobody said it.
pub(crate) fn default(crd: &mut Value) {
    let kind = at(crd, "/spec/names/kind").to_owned();
    let Some(Value::Object(spec)) = crd.get_mut("spec") else { return };
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        let empty = |names: &Map<String, Value>, f: &str| {
            names.get(f).and_then(Value::as_str).unwrap_or_default().is_empty()
        };
        if empty(names, "singular") {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if empty(names, "listKind") && !kind.is_empty() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
    }
    let conversion = spec.entry("conversion").or_insert(Value::Null);
    if conversion.is_null() {
        *conversion = json!({"strategy": "None"});
    }
    spec.retain(|_, v| !v.is_null());
    if let Some(Value::Array(versions)) = spec.get_mut("versions") {
        for version in versions.iter_mut().filter_map(Value::as_object_mut) {
            version.entry("served").or_insert(json!(false));
            version.entry("storage").or_insert(json!(false));
            version.retain(|_, v| !v.is_null());
        }
    }
}

/// What a server keeps of the status of a CRD that is made.
pub(crate) fn first_status(crd: &mut Value) {
    let stored: Vec<Value> = storage_version(crd).into_iter().map(Value::from).collect();
    crd["status"] =
        json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
}

pub(crate) fn storage_version(crd: &Value) -> Option<String> {
    let versions = crd.pointer("/spec/versions")?.as_array()?;
    let storage = versions.iter().find(|v| v.get("storage").and_then(Value::as_bool) == Some(true))?;
    Some(storage.get("name")?.as_str()?.to_owned())
}

/// The storage version is among the stored ones.
pub(crate) fn note_storage(crd: &mut Value) {
    let Some(version) = storage_version(crd) else { return };
    let Some(Value::Array(stored)) = crd.pointer_mut("/status/storedVersions") else { return };
    if !stored.iter().any(|s| s == version.as_str()) {
        stored.push(version.into());
    }
}

fn required(path: &str) -> FieldError {
    FieldError { reason: "FieldValueRequired", path: path.into(), message: "Required value".into() }
}

/// Mistakes in a CRD, in the order in which a server tells them.
pub(crate) fn validate(crd: &Value, before: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (group, plural, scope) =
        (at(crd, "/spec/group"), at(crd, "/spec/names/plural"), at(crd, "/spec/scope"));
    let name = text(crd, "name");
    if before.is_none() && name != format!("{plural}.{group}") {
        errors.push(invalid(
            "metadata.name",
            &format!("{name:?}"),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errors.push(required("spec.group"));
    } else if !group.contains('.') {
        errors.push(invalid("spec.group", &format!("{group:?}"), "should be a domain with at least one dot"));
    }
    match scope {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(required("spec.scope")),
        other => errors.push(FieldError {
            reason: "FieldValueNotSupported",
            path: "spec.scope".into(),
            message: format!("Unsupported value: {other:?}: supported values: \"Cluster\", \"Namespaced\""),
        }),
    }
    versions(crd, &mut errors);
    for field in ["plural", "singular", "kind", "listKind"] {
        if at(crd, &format!("/spec/names/{field}")).is_empty() {
            errors.push(required(&format!("spec.names.{field}")));
        }
    }
    let kind = at(crd, "/spec/names/kind");
    if !kind.is_empty() && kind == at(crd, "/spec/names/listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(invalid("spec.names.listKind", &format!("{kind:?}"), why));
    }
    stored(crd, &mut errors);
    if let Some(before) = before {
        let established = condition(before, "Established") == Some("True");
        for (field, pointer) in [
            ("spec.group", "/spec/group"),
            ("spec.scope", "/spec/scope"),
            ("spec.names.kind", "/spec/names/kind"),
            ("spec.names.plural", "/spec/names/plural"),
        ] {
            let fixed = established || matches!(field, "spec.group" | "spec.names.plural");
            if fixed && at(before, pointer) != at(crd, pointer) {
                errors.push(invalid(field, &format!("{:?}", at(crd, pointer)), "field is immutable"));
            }
        }
    }
    errors
}

fn versions(crd: &Value, errors: &mut Vec<FieldError>) {
    let versions: Vec<&Value> =
        crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().collect();
    let mut names: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
        if names.contains(&name) {
            let why = "must contain unique version names";
            errors.push(invalid("spec.versions", &go(&versions), why));
        }
        names.push(name);
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        // Inside, a server keeps what all versions share in one place.
        let shared = if versions.len() == 1 { "spec.validation.openAPIV3Schema" } else { &path };
        match version.pointer("/schema/openAPIV3Schema") {
            None => errors.push(required(&path)),
            Some(schema) => structural(schema, shared, true, errors),
        }
    }
    let storage = |v: &&&Value| v.get("storage").and_then(Value::as_bool) == Some(true);
    if versions.iter().filter(storage).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(invalid("spec.versions", &go(&versions), why));
    }
}

/// Versions as a server prints them in errors: by the fields of its own type, in their order.
fn go(versions: &[&Value]) -> String {
    let one = |v: &&Value| {
        let field = |name: &str| v.get(name).unwrap_or(&Value::Null).to_string();
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":{},\"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":null}}",
            field("name"),
            field("served"),
            field("storage"),
            field("schema"),
            field("subresources"),
            field("additionalPrinterColumns")
        )
    };
    format!("[{}]", versions.iter().map(one).collect::<Vec<_>>().join(","))
}

/// What a structural schema needs: types everywhere.
fn structural(schema: &Value, path: &str, root: bool, errors: &mut Vec<FieldError>) {
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
    let free = flag("x-kubernetes-int-or-string") || (flag("x-kubernetes-preserve-unknown-fields") && !root);
    let ty = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        structural(inner, &format!("{path}.properties[{name}]"), false, errors);
    }
    if let Some(items) = schema.get("items").filter(|i| i.is_object()) {
        structural(items, &format!("{path}.items"), false, errors);
    }
    if let Some(more) = schema.get("additionalProperties").filter(|i| i.is_object()) {
        structural(more, &format!("{path}.additionalProperties"), false, errors);
    }
    if ty.is_empty() && !free {
        let why = if root {
            "must not be empty at the root"
        } else {
            "must not be empty for specified object fields"
        };
        let message = format!("Required value: {why}");
        errors.push(FieldError { reason: "FieldValueRequired", path: format!("{path}.type"), message });
    }
}

fn stored(crd: &Value, errors: &mut Vec<FieldError>) {
    let stored = crd.pointer("/status/storedVersions").and_then(Value::as_array);
    let names: Vec<&str> = stored.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        errors.push(invalid("status.storedVersions", "null", "must have at least one stored version"));
        return;
    }
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let known: Vec<&str> = versions.filter_map(|v| v.get("name")?.as_str()).collect();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(name)) {
        let why = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.push(invalid(&format!("status.storedVersions[{index}]"), &format!("{name:?}"), &why));
    }
}

pub(crate) fn condition<'a>(crd: &'a Value, ty: &str) -> Option<&'a str> {
    let conditions = crd.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| c["type"] == ty)?.get("status")?.as_str()
}

/// A condition of a CRD, without its time.
pub(crate) struct Condition<'a> {
    pub ty: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

/// Sets a condition; its time changes with its status alone.
pub(crate) fn set_condition(crd: &mut Value, condition: &Condition<'_>, time: &str) {
    let Condition { ty, status, reason, message } = *condition;
    if !crd["status"]["conditions"].is_array() {
        crd["status"]["conditions"] = json!([]);
    }
    let Some(Value::Array(all)) = crd.pointer_mut("/status/conditions") else { return };
    let mut new = json!({"type": ty, "status": status, "lastTransitionTime": time, "reason": reason, "message": message});
    match all.iter_mut().find(|c| c["type"] == ty) {
        Some(old) => {
            if old["status"] == status {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = new;
        }
        None => all.push(new),
    }
}

/// Accepts the names that no other CRD of the group has.
pub(crate) fn accept_names<'a>(crd: &mut Value, others: impl Iterator<Item = &'a Value>, time: &str) {
    let (mut resources, mut kinds): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let short = |names: &Value| -> Vec<String> {
        let all = names.get("shortNames").and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    let word =
        |names: &Value, field: &str| names.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    for names in others.filter_map(|o| o.pointer("/status/acceptedNames")) {
        resources.extend([word(names, "plural"), word(names, "singular")]);
        resources.extend(short(names));
        kinds.extend([word(names, "kind"), word(names, "listKind")]);
    }
    let wanted = crd.pointer("/spec/names").cloned().unwrap_or_default();
    let mut accepted = crd.pointer("/status/acceptedNames").cloned().unwrap_or_else(|| json!({}));
    let mut trouble: Option<(&str, String)> = None;
    let used = |name: &str| format!("{name:?} is already in use");
    for (field, reason, taken) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        let names = if field == "shortNames" { short(&wanted) } else { vec![word(&wanted, field)] };
        match names.iter().find(|name| !name.is_empty() && taken.contains(name)) {
            Some(name) => trouble = Some((reason, used(name))),
            None => match wanted.get(field) {
                Some(value) => accepted[field] = value.clone(),
                None => drop(accepted.as_object_mut().map(|a| a.remove(field))),
            },
        }
    }
    if let Some(categories) = wanted.get("categories") {
        accepted["categories"] = categories.clone();
    }
    crd["status"]["acceptedNames"] = accepted;
    let established = condition(crd, "Established") == Some("True");
    match trouble {
        None => {
            let condition = Condition {
                ty: "NamesAccepted",
                status: "True",
                reason: "NoConflicts",
                message: "no conflicts found",
            };
            set_condition(crd, &condition, time);
            if !established {
                let text = "the initial names have been accepted";
                let condition =
                    Condition { ty: "Established", status: "False", reason: "Installing", message: text };
                set_condition(crd, &condition, time);
            }
        }
        Some((reason, message)) => {
            let condition = Condition { ty: "NamesAccepted", status: "False", reason, message: &message };
            set_condition(crd, &condition, time);
            if !established {
                let message = "not all names are accepted";
                let condition =
                    Condition { ty: "Established", status: "False", reason: "NotAccepted", message };
                set_condition(crd, &condition, time);
            }
        }
    }
}
