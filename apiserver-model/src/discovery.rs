//! What a server says of its kinds: discovery, and OpenAPI v3 by group and version.

use crate::kinds::{BUILT_IN, CRDS, Kind, LIST_META, META, priority, reachable, reference};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// Kinds by group, version and plural.
pub(crate) type Kinds = BTreeMap<(String, String, String), Arc<Kind>>;

fn name_of(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

pub(crate) fn core() -> Value {
    let address = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:443"});
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]})
}

fn versions(kinds: &Kinds, group: &str) -> Vec<String> {
    let mut found: Vec<String> = kinds
        .keys()
        .filter(|(g, ..)| g == group)
        .map(|(_, v, _)| v.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    found.sort_by(|a, b| priority(b).cmp(&priority(a)).then(a.cmp(b)));
    found
}

/// `None` where nothing of the group is served.
pub(crate) fn group(kinds: &Kinds, group: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(kinds, group)
        .iter()
        .map(|v| json!({"groupVersion": name_of(group, v), "version": v}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": versions, "preferredVersion": preferred,
    }))
}

pub(crate) fn groups(kinds: &Kinds) -> Value {
    let own = ["events.k8s.io", "rbac.authorization.k8s.io", CRDS, "coordination.k8s.io"];
    let names: BTreeSet<&str> = kinds.keys().map(|(g, ..)| g.as_str()).filter(|g| !g.is_empty()).collect();
    let custom = names.iter().copied().filter(|name| !own.contains(name));
    let all: Vec<Value> = own
        .into_iter()
        .chain(custom)
        .filter_map(|name| group(kinds, name))
        .map(|mut group| {
            if let Some(fields) = group.as_object_mut() {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            group
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})
}

/// The kinds of a version; `None` where there is none.
pub(crate) fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut all = Vec::new();
    for kind in kinds.values().filter(|k| k.group == group && k.version == version) {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": kind.verbs(), "storageVersionHash": storage_hash(kind),
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        all.push(resource);
        if kind.status {
            all.push(json!({"name": format!("{}/status", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": kind.kind, "verbs": ["get", "patch", "update"]}));
        }
    }
    if all.is_empty() {
        return None;
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name_of(group, version), "resources": all}),
    )
}

fn storage_hash(kind: &Kind) -> String {
    use base64::Engine;
    let text = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
    let hash = Sha256::digest(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

pub(crate) fn version() -> Value {
    let full = BUILT_IN.version.as_str();
    let mut numbers = full.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let before = minor.parse::<u32>().map_or_else(|_| String::new(), |m| m.saturating_sub(1).to_string());
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": before, "gitVersion": full, "gitCommit": "model",
        "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "model", "compiler": "model",
        "platform": "linux/amd64",
    })
}

/// An OpenAPI document, and its hash.
#[derive(Clone)]
pub(crate) struct Document {
    pub text: Arc<str>,
    pub hash: Arc<str>,
}

/// Documents of Kubernetes' own kinds, one for all servers of a process.
static OWN: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let mut kinds: BTreeMap<String, Vec<&Kind>> = BTreeMap::new();
    for kind in &BUILT_IN.kinds {
        kinds.entry(path_of(&kind.group, &kind.version)).or_default().push(kind);
    }
    kinds.into_iter().map(|(path, kinds)| (path, own_document(&kinds))).collect()
});

/// `api/v1`, `apis/apps/v1`.
pub(crate) fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn own_document(kinds: &[&Kind]) -> Document {
    let mark = |kind: &Kind| json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
    let is_of = |schema: &Value| {
        let marks = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        marks.is_some_and(|all| kinds.iter().any(|k| all.contains(&mark(k))))
    };
    let roots: Vec<&str> =
        BUILT_IN.schemas.iter().filter(|(_, schema)| is_of(schema)).map(|(name, _)| name.as_str()).collect();
    document(kinds, reachable(&BUILT_IN.schemas, roots))
}

fn document(kinds: &[&Kind], schemas: Map<String, Value>) -> Document {
    let mut paths = Map::new();
    for kind in kinds {
        let base = format!("/{}", path_of(&kind.group, &kind.version));
        let space = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let one = |action: &str| json!({"get": {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk}});
        let collection = format!("{base}{space}/{}", kind.plural);
        paths.insert(format!("{collection}/{{name}}"), one("get"));
        if kind.status {
            paths.insert(format!("{collection}/{{name}}/status"), one("get"));
        }
        paths.insert(collection, one("list"));
        if kind.namespaced {
            paths.insert(format!("{base}/{}", kind.plural), one("list"));
        }
    }
    let info = json!({"title": "Kubernetes", "version": BUILT_IN.version});
    let value = json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}});
    let text: Arc<str> = value.to_string().into();
    let mut hash = String::new();
    for byte in Sha512::digest(text.as_bytes()) {
        let _ = write!(hash, "{byte:02X}");
    }
    Document { text, hash: hash.into() }
}

/// The document of what CRDs serve in one version: `(kind, openAPIV3Schema)`.
fn custom_document(served: &[(Arc<Kind>, Value)]) -> Document {
    let mut schemas =
        reachable(&BUILT_IN.schemas, [META, LIST_META, "io.k8s.apimachinery.pkg.apis.meta.v1.Status"]);
    let kinds: Vec<&Kind> = served.iter().map(|(kind, _)| &**kind).collect();
    let text = |what: &str| json!({"type": "string", "description": what});
    for (kind, schema) in served {
        let mut group: Vec<&str> = kind.group.split('.').collect();
        group.reverse();
        let name = format!("{}.{}.{}", group.join("."), kind.version, kind.kind);
        let mut schema = schema.clone();
        let gvk = |k: &str| json!([{"group": kind.group, "kind": k, "version": kind.version}]);
        let meta = json!({"description": "Standard object's metadata.", "allOf": [reference(META)]});
        if !schema.get("properties").is_some_and(Value::is_object) {
            schema["properties"] = json!({});
        }
        schema["properties"]["apiVersion"] = text("The version of the schema of this object.");
        schema["properties"]["kind"] = text("The kind of this object.");
        schema["properties"]["metadata"] = meta;
        schema["x-kubernetes-group-version-kind"] = gvk(&kind.kind);
        let list = json!({
            "type": "object", "required": ["items"], "x-kubernetes-group-version-kind": gvk(&kind.list_kind),
            "properties": {
                "apiVersion": text("The version of the schema of this list."), "kind": text("The kind of this list."),
                "items": {"type": "array", "items": {"allOf": [reference(&name)]}},
                "metadata": {"allOf": [reference(LIST_META)]},
            },
        });
        schemas.insert(format!("{name}List"), list);
        schemas.insert(name, schema);
    }
    document(&kinds, schemas)
}

/// All documents of a server.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    /// Of CRDs, by path; made when somebody asks.
    custom: BTreeMap<String, Document>,
}

impl Documents {
    /// What CRDs serve changed.
    pub fn forget(&mut self) {
        self.custom.clear();
    }

    /// `served` are all kinds of CRDs with their schemas.
    pub fn all(&mut self, served: impl Fn() -> Vec<(Arc<Kind>, Value)>) -> BTreeMap<String, Document> {
        if self.custom.is_empty() {
            let mut by_path: BTreeMap<String, Vec<(Arc<Kind>, Value)>> = BTreeMap::new();
            for (kind, schema) in served() {
                by_path.entry(path_of(&kind.group, &kind.version)).or_default().push((kind, schema));
            }
            self.custom = by_path.into_iter().map(|(path, kinds)| (path, custom_document(&kinds))).collect();
        }
        let mut all = OWN.clone();
        all.extend(self.custom.iter().map(|(p, d)| (p.clone(), d.clone())));
        all
    }
}

pub(crate) fn index(documents: &BTreeMap<String, Document>) -> Value {
    let paths: Map<String, Value> = documents
        .iter()
        .map(|(path, d)| {
            (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", d.hash)}))
        })
        .collect();
    json!({"paths": paths})
}
