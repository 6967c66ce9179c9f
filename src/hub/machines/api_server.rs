//! A model of an API server: objects with uid, resourceVersion and generation; server-side apply, merge patches and
//! updates with managed fields; deletion with preconditions and finalizers; a log that watches read at their own pace.

use super::fields::{self, Fields};
use crate::api::Object;
use crate::api::names::{GroupKind, ObjectRef};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the server says no to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NotFound,
    NamespaceMissing(String),
    KindUnknown,
    Conflict,
    AlreadyExists,
}

#[derive(Clone, Debug)]
pub struct Kind {
    pub namespaced: bool,
}

#[derive(Clone, Debug)]
struct Manager {
    name: String,
    apply: bool,
    status: bool,
    written: u64,
    fields: Fields,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Without managedFields.
    value: Value,
    managers: Vec<Manager>,
    shown: Arc<Value>,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    pub object: ObjectRef,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
    pub version: u64,
}

/// What a restore brings back.
#[derive(Clone)]
pub struct Snapshot {
    version: u64,
    objects: BTreeMap<ObjectRef, Entry>,
}

pub struct Server {
    name: String,
    version: u64,
    uids: u64,
    kinds: BTreeMap<GroupKind, Kind>,
    objects: BTreeMap<ObjectRef, Entry>,
    pub log: Vec<Change>,
    /// Objects of the operator's kind whose status is not as it will be.
    unfinished: BTreeSet<ObjectRef>,
    /// A kind whose schema lacks the field `spec.x`.
    narrow: Option<GroupKind>,
}

pub fn namespace_kind() -> GroupKind {
    GroupKind::new("", "Namespace")
}
pub fn crd_kind() -> GroupKind {
    GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition")
}

impl Server {
    pub fn new(name: &str) -> Self {
        let mut out = Self {
            name: name.to_owned(),
            version: 100,
            uids: 0,
            kinds: BTreeMap::new(),
            objects: BTreeMap::new(),
            log: Vec::new(),
            unfinished: BTreeSet::new(),
            narrow: None,
        };
        out.serve(namespace_kind(), Kind { namespaced: false });
        out.serve(crd_kind(), Kind { namespaced: false });
        out
    }

    pub fn serve(&mut self, gk: GroupKind, kind: Kind) {
        self.kinds.insert(gk, kind);
    }
    pub fn kinds(&self) -> impl Iterator<Item = &GroupKind> {
        self.kinds.keys()
    }
    pub fn kind(&self, gk: &GroupKind) -> Option<&Kind> {
        self.kinds.get(gk)
    }

    pub fn get(&self, target: &ObjectRef) -> Option<&Arc<Value>> {
        self.objects.get(target).map(|e| &e.shown)
    }
    pub fn object(&self, target: &ObjectRef) -> Option<Object> {
        self.get(target).map(|v| Object((**v).clone()))
    }
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Arc<Value>)> {
        self.objects.iter().map(|(r, e)| (r, &e.shown))
    }
    pub fn list<'a>(
        &'a self,
        gk: &'a GroupKind,
        selector: Option<&'a (String, String)>,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.iter().filter(move |(r, v)| r.gk == *gk && selects(selector, v)).map(|(_, v)| v)
    }

    pub fn version(&self) -> u64 {
        self.version
    }
    pub fn unfinished(&self) -> &BTreeSet<ObjectRef> {
        &self.unfinished
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { version: self.version, objects: self.objects.clone() }
    }
    /// What was, is; nobody is told. Uids are random in real servers, so they are never given twice. With `bump`, later
    /// versions are higher than any that was given, as a restore of etcd under running clients has to see to.
    pub fn restore(&mut self, snapshot: Snapshot, bump: bool) {
        self.version = if bump { self.version + 1_000 } else { snapshot.version };
        self.objects = snapshot.objects;
        let unfinished = self.objects.iter().filter(|(target, entry)| is_unfinished(target, &entry.value));
        self.unfinished = unfinished.map(|(target, _)| target.clone()).collect();
    }

    pub fn is_narrow(&self) -> bool {
        self.narrow.is_some()
    }
    /// Another schema of a kind, with `spec.x` or without; told by its CustomResourceDefinition.
    pub fn narrow(&mut self, gk: &GroupKind, on: bool) {
        self.narrow = on.then(|| gk.clone());
        let name = format!("{}s.{}", gk.kind.to_lowercase(), gk.group);
        let body = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "annotations": {"hub.kro.run/kind": *gk.kind}},
            "spec": {"group": *gk.group, "names": {"kind": *gk.kind}, "scope": "Namespaced", "narrow": on}});
        self.apply(&ObjectRef::new(crd_kind(), "", &name), "vendor", &body).unwrap();
    }

    /// Server-side apply with force. Creates what is not there.
    pub fn apply(&mut self, target: &ObjectRef, manager: &str, body: &Value) -> Result<Arc<Value>, Refused> {
        let kind = self.kinds.get(&target.gk).ok_or(Refused::KindUnknown)?.clone();
        let meant = body.pointer("/metadata/uid").and_then(Value::as_str);
        let live = self.objects.get(target);
        if meant.is_some_and(|u| live.is_none_or(|e| e.value["metadata"]["uid"] != u)) {
            return Err(Refused::Conflict);
        }
        let mut entry = match live {
            Some(entry) => entry.clone(),
            None => self.blank(target, body, &kind)?,
        };
        let before = entry.value.clone();
        let mut wanted = fields::leaves(body, false);
        if self.narrow.as_ref() == Some(&target.gk) {
            let dropped: fields::Path = ["f:spec", "f:x"].map(str::to_owned).into();
            wanted.remove(&dropped);
            fields::remove(&mut entry.value, &dropped);
        }
        let old = entry.managers.iter().find(|m| m.name == manager && m.apply && !m.status);
        let dropped: Vec<fields::Path> =
            old.map(|m| m.fields.difference(&wanted).cloned().collect()).unwrap_or_default();
        for path in &wanted {
            if let Some(value) = fields::get(body, path) {
                fields::set(&mut entry.value, path, value);
            }
        }
        for path in &dropped {
            let other = |m: &Manager| (m.name != manager || !m.apply) && m.fields.contains(path);
            if !entry.managers.iter().any(other) {
                fields::remove(&mut entry.value, path);
            }
        }
        settle_owners(&mut entry, &before, manager, true, false);
        match entry.managers.iter_mut().find(|m| m.name == manager && m.apply && !m.status) {
            Some(m) if m.fields == wanted => {}
            Some(m) => {
                m.fields = wanted;
                m.written = self.version + 1;
            }
            None => entry.managers.push(Manager {
                name: manager.into(),
                apply: true,
                status: false,
                written: self.version + 1,
                fields: wanted,
            }),
        }
        self.store(target, entry)
    }

    /// Reads, changes and writes back; with `status`, only the status.
    pub fn change(
        &mut self,
        target: &ObjectRef,
        manager: &str,
        status: bool,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Refused> {
        self.kinds.get(&target.gk).ok_or(Refused::KindUnknown)?;
        let mut entry = self.objects.get(target).ok_or(Refused::NotFound)?.clone();
        let before = entry.value.clone();
        change(&mut entry.value);
        let (read_only, taken) = if status {
            (before.clone(), entry.value.get("status").cloned())
        } else {
            (entry.value.clone(), before.get("status").cloned())
        };
        entry.value = read_only;
        match taken {
            Some(value) => entry.value["status"] = value,
            None => {
                entry.value.as_object_mut().unwrap().remove("status");
            }
        }
        let changed: Fields = fields::leaves(&entry.value, status)
            .into_iter()
            .filter(|p| fields::get(&before, p) != fields::get(&entry.value, p))
            .collect();
        settle_owners(&mut entry, &before, manager, false, status);
        if !changed.is_empty() {
            let written = self.version + 1;
            match entry.managers.iter_mut().find(|m| m.name == manager && !m.apply && m.status == status) {
                Some(m) => {
                    m.fields.extend(changed);
                    m.written = written;
                }
                None => entry.managers.push(Manager {
                    name: manager.into(),
                    apply: false,
                    status,
                    written,
                    fields: changed,
                }),
            }
        }
        self.store(target, entry)
    }

    /// JSON merge patch; uid and resourceVersion in it are preconditions.
    pub fn merge_patch(
        &mut self,
        target: &ObjectRef,
        manager: &str,
        status: bool,
        patch: &Value,
    ) -> Result<Arc<Value>, Refused> {
        let live = self.objects.get(target).ok_or(Refused::NotFound)?;
        for field in ["uid", "resourceVersion"] {
            let meant = patch.pointer(&format!("/metadata/{field}"));
            if meant.is_some_and(|m| live.value["metadata"][field] != *m) {
                return Err(Refused::Conflict);
            }
        }
        self.change(target, manager, status, |value| merge(value, patch))
    }

    pub fn create(&mut self, target: &ObjectRef, manager: &str, body: &Value) -> Result<Arc<Value>, Refused> {
        if self.objects.contains_key(target) {
            return Err(Refused::AlreadyExists);
        }
        let kind = self.kinds.get(&target.gk).ok_or(Refused::KindUnknown)?.clone();
        let mut entry = self.blank(target, body, &kind)?;
        let fields = fields::leaves(body, false);
        for path in &fields {
            if let Some(value) = fields::get(body, path) {
                fields::set(&mut entry.value, path, value);
            }
        }
        let written = self.version + 1;
        entry.managers.push(Manager { name: manager.into(), apply: false, status: false, written, fields });
        self.store(target, entry)
    }

    /// With `uid` as a precondition. The object that is left, if finalizers hold it.
    pub fn delete(&mut self, target: &ObjectRef, uid: Option<&str>) -> Result<Option<Arc<Value>>, Refused> {
        let Some(entry) = self.objects.get(target) else { return Err(Refused::NotFound) };
        if uid.is_some_and(|u| entry.value["metadata"]["uid"] != u) {
            return Err(Refused::Conflict);
        }
        let mut entry = entry.clone();
        if entry.value["metadata"].get("deletionTimestamp").is_none() {
            entry.value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        self.store(target, entry)?;
        Ok(self.objects.get(target).map(|e| e.shown.clone()))
    }

    fn blank(&mut self, target: &ObjectRef, body: &Value, kind: &Kind) -> Result<Entry, Refused> {
        if kind.namespaced
            && !self.objects.contains_key(&ObjectRef::new(namespace_kind(), "", &target.namespace))
        {
            return Err(Refused::NamespaceMissing(target.namespace.to_string()));
        }
        self.uids += 1;
        let mut value = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {
            "name": *target.name, "uid": format!("{}-{}", self.name, self.uids), "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z"}});
        if kind.namespaced {
            value["metadata"]["namespace"] = json!(*target.namespace);
        }
        Ok(Entry { value, managers: Vec::new(), shown: Arc::new(Value::Null) })
    }

    /// The kind of a CustomResourceDefinition is served from now on.
    fn serve_generated(&mut self, crd: &Value) {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let gk = GroupKind::new(text("/spec/group"), text("/spec/names/kind"));
        self.serve(gk, Kind { namespaced: text("/spec/scope") == "Namespaced" });
    }

    /// Commits an entry; a write that changes nothing leaves the version as it is.
    fn store(&mut self, target: &ObjectRef, mut entry: Entry) -> Result<Arc<Value>, Refused> {
        let before = self.objects.get(target).cloned();
        if target.gk == crd_kind() {
            entry.value["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        }
        entry.managers.retain(|m| !m.fields.is_empty());
        if let Some(old) = &before {
            let same_managers = old.managers.len() == entry.managers.len()
                && old
                    .managers
                    .iter()
                    .zip(&entry.managers)
                    .all(|(a, b)| a.name == b.name && a.fields == b.fields);
            if old.value == entry.value && same_managers {
                return Ok(old.shown.clone());
            }
            let essence = |v: &Value| {
                let mut v = v.clone();
                let deleting = v["metadata"].get("deletionTimestamp").is_some();
                v.as_object_mut().unwrap().remove("metadata");
                v.as_object_mut().unwrap().remove("status");
                (v, deleting)
            };
            if essence(&old.value) != essence(&entry.value) {
                let generation = old.value["metadata"]["generation"].as_i64().unwrap_or_default();
                entry.value["metadata"]["generation"] = json!(generation + 1);
            }
        }
        self.version += 1;
        entry.value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let mut shown = entry.value.clone();
        shown["metadata"]["managedFields"] = entry
            .managers
            .iter()
            .map(|m| {
                let mut out = json!({"manager": m.name, "operation": if m.apply { "Apply" } else { "Update" },
                    "fieldsType": "FieldsV1", "fieldsV1": fields::to_v1(&m.fields),
                    "time": moment(m.written)});
                if m.status {
                    out["subresource"] = json!("status");
                }
                out
            })
            .collect();
        entry.shown = Arc::new(shown);
        let shown = entry.shown.clone();
        if target.gk == crd_kind() {
            self.serve_generated(&entry.value);
        }
        let before = before.map(|e| e.shown);
        let meta = &entry.value["metadata"];
        let held = meta.get("finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
        let deleting = meta.get("deletionTimestamp").is_some();
        if is_unfinished(target, &entry.value) {
            self.unfinished.insert(target.clone());
        } else {
            self.unfinished.remove(target);
        }
        if deleting && !held {
            self.objects.remove(target);
            self.log.push(Change { object: target.clone(), before, after: None, version: self.version });
        } else {
            self.objects.insert(target.clone(), entry);
            self.log.push(Change {
                object: target.clone(),
                before,
                after: Some(shown.clone()),
                version: self.version,
            });
        }
        Ok(shown)
    }
}

/// A time of day that later writes have a later one of.
fn moment(version: u64) -> String {
    const BEGINNING: i64 = 1_767_225_600;
    let seconds = BEGINNING + i64::try_from(version).unwrap();
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// Whether an operator has something to do.
fn is_unfinished(target: &ObjectRef, object: &Value) -> bool {
    let deleting = object["metadata"].get("deletionTimestamp").is_some();
    *target.gk.kind == *"Widget" && !deleting && object.pointer("/status/ready") != Some(&json!(true))
}

/// Whoever owned a value that another writer changed or removed owns it no more.
fn settle_owners(entry: &mut Entry, before: &Value, writer: &str, apply: bool, status: bool) {
    let after = &entry.value;
    for manager in &mut entry.managers {
        let own = manager.name == writer && manager.apply == apply && manager.status == status;
        manager.fields.retain(|path| match fields::get(after, path) {
            None => false,
            Some(value) => own || fields::get(before, path) == Some(value),
        });
    }
}

pub fn selects(selector: Option<&(String, String)>, object: &Value) -> bool {
    selector.is_none_or(|(key, value)| {
        object["metadata"].get("labels").and_then(|l| l.get(key)).and_then(Value::as_str) == Some(value)
    })
}

/// JSON merge patch, RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> (Server, ObjectRef) {
        let mut server = Server::new("a");
        let gk = GroupKind::new("", "ConfigMap");
        server.serve(gk.clone(), Kind { namespaced: true });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        server.create(&ObjectRef::new(namespace_kind(), "", "n"), "test", &namespace).unwrap();
        (server, ObjectRef::new(gk, "n", "c"))
    }
    fn body(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data})
    }
    fn owned(value: &Value, manager: &str) -> Value {
        let entries = value["metadata"]["managedFields"].as_array().unwrap();
        entries.iter().find(|e| e["manager"] == manager).map_or(Value::Null, |e| e["fieldsV1"].clone())
    }

    #[test]
    fn an_apply_takes_fields_by_force_and_drops_what_it_names_no_more() {
        let (mut server, c) = server();
        server.apply(&c, "us", &body(json!({"a": "1", "b": "2"}))).unwrap();
        let seen = server.change(&c, "them", false, |v| v["data"]["a"] = json!("9")).unwrap();
        assert_eq!(owned(&seen, "us"), json!({"f:data": {"f:b": {}}}));
        let seen = server.apply(&c, "us", &body(json!({"a": "1"}))).unwrap();
        assert_eq!(seen["data"], json!({"a": "1"}));
        assert_eq!(owned(&seen, "them"), Value::Null);
        let again = server.apply(&c, "us", &body(json!({"a": "1"}))).unwrap();
        assert_eq!(again["metadata"]["resourceVersion"], seen["metadata"]["resourceVersion"]);
    }

    #[test]
    fn preconditions_and_finalizers_hold() {
        let (mut server, c) = server();
        assert_eq!(server.delete(&c, None).unwrap_err(), Refused::NotFound);
        let mut held = body(json!({"a": "1"}));
        held["metadata"]["finalizers"] = json!(["x/y"]);
        let made = server.apply(&c, "us", &held).unwrap();
        let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
        assert_eq!(server.delete(&c, Some("other")).unwrap_err(), Refused::Conflict);
        assert!(server.delete(&c, Some(&uid)).unwrap().is_some());
        server.merge_patch(&c, "them", false, &json!({"metadata": {"finalizers": null}})).unwrap();
        assert!(server.get(&c).is_none());
        let mut meant = body(json!({}));
        meant["metadata"]["uid"] = json!(uid);
        assert_eq!(server.apply(&c, "us", &meant).unwrap_err(), Refused::Conflict);
    }
}
