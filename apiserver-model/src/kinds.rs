//! The kinds that a server has: a few of Kubernetes itself, and those of CRDs.

use crate::fields::Fields;
use crate::managed;
use crate::schema::{Components, Schema};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static FILE: &[u8] = include_bytes!("../../src/cli/validate/kubernetes.json.zlib");
const MAX_BYTES: usize = 64 << 20;

/// A kind in one version.
pub struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Served by a CRD.
    pub custom: bool,
    /// Has a status subresource.
    pub status: bool,
    /// A PUT may leave out the version.
    pub unconditional: bool,
    /// A PUT creates what is not there.
    pub created_by_update: bool,
    /// Counts changes of its spec.
    pub generation: bool,
    pub schema: Schema,
    /// Another for every schema that a CRD had.
    pub stamp: u64,
    /// The version that objects are kept in.
    pub storage: String,
    pub(crate) zero: Value,
    reset_main: Fields,
    reset_status: Fields,
}

impl Kind {
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `things.x.example`.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn reset(&self, subresource: &str) -> &Fields {
        if subresource == "status" { &self.reset_status } else { &self.reset_main }
    }

    #[must_use]
    pub fn resource(&self) -> Resource {
        Resource { group: self.group.clone(), plural: self.plural.clone() }
    }

    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        if self.custom {
            return vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
        }
        all.into_iter().filter(|v| self.plural != "namespaces" || *v != "deletecollection").collect()
    }
}

/// Where objects of a kind are kept, whatever the version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    pub group: String,
    pub plural: String,
}

impl Resource {
    #[must_use]
    pub fn new(group: &str, plural: &str) -> Self {
        Self { group: group.to_owned(), plural: plural.to_owned() }
    }
}

/// Of Kubernetes' own documents: what its kinds look like.
pub(crate) struct BuiltIn {
    pub version: String,
    pub schemas: Map<String, Value>,
    pub kinds: Vec<Arc<Kind>>,
}

pub(crate) static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(read);

type Row = (&'static str, &'static str, &'static str, bool, &'static [&'static str], &'static str);

/// Group, kind, plural, namespaced, short names, name of the schema.
const ROWS: [Row; 12] = [
    ("", "ConfigMap", "configmaps", true, &["cm"], "io.k8s.api.core.v1.ConfigMap"),
    ("", "Namespace", "namespaces", false, &["ns"], "io.k8s.api.core.v1.Namespace"),
    ("", "Secret", "secrets", true, &[], "io.k8s.api.core.v1.Secret"),
    ("", "ServiceAccount", "serviceaccounts", true, &["sa"], "io.k8s.api.core.v1.ServiceAccount"),
    (RBAC, "ClusterRoleBinding", "clusterrolebindings", false, &[], "io.k8s.api.rbac.v1.ClusterRoleBinding"),
    (RBAC, "ClusterRole", "clusterroles", false, &[], "io.k8s.api.rbac.v1.ClusterRole"),
    (RBAC, "RoleBinding", "rolebindings", true, &[], "io.k8s.api.rbac.v1.RoleBinding"),
    (RBAC, "Role", "roles", true, &[], "io.k8s.api.rbac.v1.Role"),
    (
        CRDS,
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
        &["crd", "crds"],
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    ),
    ("apps", "ControllerRevision", "controllerrevisions", true, &[], "io.k8s.api.apps.v1.ControllerRevision"),
    ("events.k8s.io", "Event", "events", true, &["ev"], "io.k8s.api.events.v1.Event"),
    ("coordination.k8s.io", "Lease", "leases", true, &[], "io.k8s.api.coordination.v1.Lease"),
];

const RBAC: &str = "rbac.authorization.k8s.io";
pub(crate) const CRDS: &str = "apiextensions.k8s.io";

fn read() -> BuiltIn {
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(FILE, MAX_BYTES).unwrap_or_default();
    let mut file: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let version = file.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(Value::Object(all)) = file.pointer_mut("/document/components/schemas").map(Value::take) else {
        return BuiltIn { version, schemas: Map::new(), kinds: Vec::new() };
    };
    let roots =
        ROWS.iter().map(|row| row.5).chain([META, LIST_META, "io.k8s.apimachinery.pkg.apis.meta.v1.Status"]);
    let schemas = reachable(&all, roots);
    let components = Components::read(&Value::Object(schemas.clone()));
    let kinds =
        ROWS.iter().filter_map(|row| Some(Arc::new(built_in(row, components.schema(row.5)?)))).collect();
    BuiltIn { version, schemas, kinds }
}

pub(crate) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(crate) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

fn built_in(row: &Row, schema: Schema) -> Kind {
    let (group, kind, plural, namespaced, short_names, _) = *row;
    let status = matches!(kind, "Namespace" | "CustomResourceDefinition");
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let reset = |sub: &str| if status { managed::resets(false, sub) } else { Fields::default() };
    Kind {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: short_names.iter().map(|s| (*s).to_owned()).collect(),
        categories: if group == CRDS { vec!["api-extensions".into()] } else { Vec::new() },
        namespaced,
        custom: false,
        status,
        unconditional: !matches!(kind, "Lease" | "CustomResourceDefinition"),
        created_by_update: matches!(kind, "Lease" | "Event") || group == RBAC,
        generation: group == CRDS,
        schema,
        stamp: 0,
        storage: "v1".into(),
        zero: managed::zero(&api_version, kind),
        reset_main: reset(""),
        reset_status: reset("status"),
    }
}

/// The kinds that a CRD serves, one a version, in the order of preference.
pub(crate) fn of_crd(crd: &Value, stamp: u64) -> Vec<Arc<Kind>> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |pointer: &str| -> Vec<String> {
        let all = crd.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let mut kinds: Vec<Arc<Kind>> = versions
        .filter(|v| v.get("served").and_then(Value::as_bool) == Some(true))
        .filter_map(|version| {
            let name = version.get("name")?.as_str()?.to_owned();
            let group = text("/spec/group");
            let status = version.pointer("/subresources/status").is_some();
            let reset = |sub: &str| if status { managed::resets(true, sub) } else { Fields::default() };
            let schema = version.pointer("/schema/openAPIV3Schema");
            Some(Arc::new(Kind {
                zero: managed::zero(&format!("{group}/{name}"), &text("/spec/names/kind")),
                group,
                version: name,
                kind: text("/spec/names/kind"),
                list_kind: text("/spec/names/listKind"),
                plural: text("/spec/names/plural"),
                singular: text("/spec/names/singular"),
                short_names: texts("/spec/names/shortNames"),
                categories: texts("/spec/names/categories"),
                namespaced: text("/spec/scope") == "Namespaced",
                custom: true,
                status,
                unconditional: false,
                created_by_update: false,
                generation: true,
                schema: schema.map_or_else(Schema::any, Schema::of_crd),
                stamp,
                storage: crate::crds::storage_version(crd).unwrap_or_default(),
                reset_main: reset(""),
                reset_status: reset("status"),
            }))
        })
        .collect();
    kinds.sort_by(|a, b| priority(&b.version).cmp(&priority(&a.version)).then(a.version.cmp(&b.version)));
    kinds
}

/// v2 before v1 before v2beta1 before v1alpha1 before anything else.
pub(crate) fn priority(version: &str) -> (u8, u64, u64) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = rest.split_at(end);
        let major: u64 = major.parse().ok()?;
        let of = |rank, minor: &str| Some((rank, major, minor.parse().ok()?));
        match rest {
            "" => Some((3, major, 0)),
            _ if rest.starts_with("beta") => of(2, rest.strip_prefix("beta")?),
            _ => of(1, rest.strip_prefix("alpha")?),
        }
    };
    parse().unwrap_or((0, 0, 0))
}

/// The schemas that these need.
pub(crate) fn reachable<'a>(
    all: &Map<String, Value>,
    roots: impl IntoIterator<Item = &'a str>,
) -> Map<String, Value> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<String> = roots.into_iter().map(str::to_owned).collect();
    while let Some(name) = waiting.pop() {
        let Some(schema) = all.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
        references(schema, &mut waiting);
        found.insert(name, schema.clone());
    }
    found.into_iter().collect()
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                found.extend(name.rsplit('/').next().map(str::to_owned));
            }
            fields.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
