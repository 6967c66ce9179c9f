//! What happens by itself: CRDs become Established, namespaces and dependents go.

use crate::delete::{finalizers_of, key_of};
use crate::kinds::Resource;
use crate::managed::{self, Writer};
use crate::metadata::text;
use crate::server::{Server, crd_resource, seconds};
use crate::store::Stored;
use crate::{crds, store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What could not be ended is looked at again after this.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Names of a CRD are judged.
    Accept(String),
    Establish(String),
    /// A changed CRD is served.
    Serve(String),
    /// A CRD and its objects go.
    Unmake(String),
    /// A namespace goes, with all in it.
    Empty(String),
    /// The owner of this uid is gone.
    Collect(String),
    /// An object with a finalizer of the garbage collector goes.
    Release(Resource, String),
}

#[derive(Clone, Default)]
pub(crate) struct Tasks {
    due: BTreeMap<(Timestamp, u64), Task>,
    number: u64,
}

impl Tasks {
    pub fn after(&mut self, now: Timestamp, delay: Duration, task: Task) {
        if self.due.values().any(|known| *known == task) {
            return;
        }
        let delay = SignedDuration::try_from(delay).unwrap_or_default();
        self.number += 1;
        self.due.insert((now.checked_add(delay).unwrap_or(now), self.number), task);
    }

    fn take(&mut self, now: Timestamp) -> Option<(Timestamp, Task)> {
        let (&(at, number), _) = self.due.first_key_value().filter(|((at, _), _)| *at <= now)?;
        self.due.remove(&(at, number)).map(|task| (at, task))
    }
}

impl Server {
    /// When something happens by itself the next time.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.tasks.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due by now.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, task)) = self.tasks.take(now) {
            match task {
                Task::Accept(name) => self.accept(at, &name),
                Task::Establish(name) => self.establish(at, &name),
                Task::Serve(name) => {
                    let crd = self.crd(&name).filter(|c| crds::condition(c, "Established") == Some("True"));
                    crd.iter().for_each(|crd| self.serve(crd));
                }
                Task::Unmake(name) => self.unmake(at, &name),
                Task::Empty(name) => self.empty(at, &name),
                Task::Collect(uid) => self.collect(at, &uid),
                Task::Release(resource, key) => self.release(at, &resource, &key),
            }
        }
    }

    fn crd(&self, name: &str) -> Option<Arc<Value>> {
        self.store.get(&crd_resource(), name).map(Stored::object)
    }

    /// An object was made.
    pub(crate) fn created(&mut self, now: Timestamp, resource: &Resource, object: &Value) {
        if crds::is(resource) {
            self.tasks.after(now, self.options.crd_delay / 2, Task::Accept(text(object, "name").to_owned()));
        }
    }

    /// An object was changed.
    pub(crate) fn changed(&mut self, now: Timestamp, resource: &Resource, before: &Value, after: &Value) {
        if !crds::is(resource) || before["spec"] == after["spec"] {
            return;
        }
        let name = text(after, "name").to_owned();
        if before["spec"]["names"] != after["spec"]["names"]
            || crds::condition(after, "Established") != Some("True")
        {
            self.tasks.after(now, self.options.crd_delay / 2, Task::Accept(name.clone()));
        }
        self.tasks.after(now, self.options.crd_delay, Task::Serve(name));
    }

    /// An object is to go, and something holds it.
    pub(crate) fn going(&mut self, now: Timestamp, resource: &Resource, key: &str, object: &Value) {
        if crds::is(resource) {
            self.tasks.after(now, self.options.crd_delay, Task::Unmake(key.to_owned()));
            return;
        }
        let Some(delay) = self.options.collect_after else { return };
        if resource == &Resource::new("", "namespaces") {
            self.tasks.after(now, delay, Task::Empty(key.to_owned()));
        } else if finalizers_of(object).iter().any(|f| f == "orphan" || f == "foregroundDeletion") {
            self.tasks.after(now, delay, Task::Release(resource.clone(), key.to_owned()));
        }
    }

    /// Goes on with what was under way.
    pub(crate) fn resume(&mut self, now: Timestamp) {
        let going = |o: &Value| !text(o, "deletionTimestamp").is_empty();
        let all: Vec<(Resource, String, Arc<Value>)> =
            self.store.all().map(|(r, k, s)| (r.clone(), k.clone(), s.object())).collect();
        for (resource, key, object) in all {
            if going(&object) {
                self.going(now, &resource, &key, &object);
            } else if crds::is(&resource) && crds::condition(&object, "Established") != Some("True") {
                self.created(now, &resource, &object);
            }
        }
    }

    /// Names may be free now.
    pub(crate) fn look_at_names(&mut self, now: Timestamp) {
        let waiting: Vec<String> = self
            .crds()
            .filter(|s| crds::condition(&s.object(), "NamesAccepted") == Some("False"))
            .map(|s| text(&s.object(), "name").to_owned())
            .collect();
        for name in waiting {
            self.tasks.after(now, self.options.crd_delay / 2, Task::Accept(name));
        }
    }

    /// Writes the status of a CRD as the server itself.
    fn write_status(&mut self, at: Timestamp, before: &Value, after: &Value) {
        let resource = crd_resource();
        let Some(kind) = self.kinds.values().find(|k| crds::is(&k.resource())).cloned() else { return };
        let time = seconds(at);
        let writer = Writer {
            schema: &kind.schema,
            manager: "kube-apiserver",
            subresource: "status",
            api_version: "apiextensions.k8s.io/v1",
            time: &time,
            reset: kind.reset("status"),
            zero: &kind.zero,
        };
        if before == after {
            return;
        }
        let object = managed::update(Some(before), after, &writer);
        self.store.put(&resource, text(before, "name"), object, 0);
    }

    fn accept(&mut self, at: Timestamp, name: &str) {
        let Some(crd) = self.crd(name) else { return };
        if !text(&crd, "deletionTimestamp").is_empty() {
            return;
        }
        let mut new = (*crd).clone();
        let group = crd["spec"]["group"].clone();
        let others: Vec<Arc<Value>> = self
            .crds()
            .map(Stored::object)
            .filter(|crd| crd["spec"]["group"] == group && text(crd, "name") != name)
            .collect();
        crds::accept_names(&mut new, others.iter().map(|o| &**o), &seconds(at));
        self.write_status(at, &crd, &new);
        if crds::condition(&new, "NamesAccepted") == Some("True")
            && crds::condition(&new, "Established") != Some("True")
        {
            self.tasks.after(at, self.options.crd_delay / 2, Task::Establish(name.to_owned()));
        }
    }

    fn establish(&mut self, at: Timestamp, name: &str) {
        let Some(crd) = self.crd(name) else { return };
        let accepted = crds::condition(&crd, "NamesAccepted") == Some("True");
        if !accepted || !text(&crd, "deletionTimestamp").is_empty() {
            return;
        }
        let mut new = (*crd).clone();
        let message = "the initial names have been accepted";
        let condition =
            crds::Condition { ty: "Established", status: "True", reason: "InitialNamesAccepted", message };
        crds::set_condition(&mut new, &condition, &seconds(at));
        self.write_status(at, &crd, &new);
        self.serve(&new);
    }

    fn unmake(&mut self, at: Timestamp, name: &str) {
        let Some(crd) = self.crd(name) else { return };
        let time = seconds(at);
        let mut new = (*crd).clone();
        let message = "CustomResource deletion is in progress";
        let condition = crds::Condition {
            ty: "Terminating",
            status: "True",
            reason: "InstanceDeletionInProgress",
            message,
        };
        crds::set_condition(&mut new, &condition, &time);
        self.write_status(at, &crd, &new);
        let part = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = Resource::new(part("/spec/group"), part("/spec/names/plural"));
        let served = crds::condition(&crd, "Established") == Some("True");
        let keys: Vec<String> =
            self.store.of(&resource).filter(|_| served).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(at, &resource, &key, "");
        }
        if served && self.store.of(&resource).next().is_some() {
            self.tasks.after(at, AGAIN, Task::Unmake(name.to_owned()));
            return;
        }
        let Some(now) = self.crd(name) else { return };
        let left: Vec<String> = finalizers_of(&now).into_iter().filter(|f| f != crds::FINALIZER).collect();
        if left.is_empty() {
            self.drop_object(at, &crd_resource(), name);
            return;
        }
        let mut new = (*now).clone();
        new["metadata"]["finalizers"] = json!(left);
        self.store.put(&crd_resource(), name, new, 0);
    }

    fn empty(&mut self, at: Timestamp, name: &str) {
        let namespaces = Resource::new("", "namespaces");
        if self.store.get(&namespaces, name).is_none() {
            return;
        }
        let prefix = store::key(name, "");
        let inside = |server: &Self| -> Vec<(Resource, String)> {
            let all = server.store.all().filter(|(_, key, _)| key.starts_with(&prefix));
            all.map(|(resource, key, _)| (resource.clone(), key.clone())).collect()
        };
        for (resource, key) in inside(self) {
            self.remove(at, &resource, &key, "");
        }
        if !inside(self).is_empty() {
            self.tasks.after(at, AGAIN, Task::Empty(name.to_owned()));
            return;
        }
        let Some(stored) = self.store.get(&namespaces, name) else { return };
        let mut object = (*stored.object()).clone();
        object["spec"] = json!({});
        if finalizers_of(&object).is_empty() {
            self.drop_object(at, &namespaces, name);
        } else {
            self.store.put(&namespaces, name, object, 0);
        }
    }

    fn dependents(&self, uid: &str) -> Vec<(Resource, String, Arc<Value>)> {
        let owned = |object: &Value| {
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            owners.into_iter().flatten().any(|o| o["uid"] == uid)
        };
        let all = self.store.all().filter(|(_, _, stored)| owned(&stored.object()));
        all.map(|(r, k, s)| (r.clone(), k.clone(), s.object())).collect()
    }

    /// Drops a reference to an owner.
    fn disown(&mut self, resource: &Resource, key: &str, object: &Value, uid: &str) {
        let mut object = object.clone();
        if let Some(Value::Array(owners)) = object.pointer_mut("/metadata/ownerReferences") {
            owners.retain(|o| o["uid"] != uid);
        }
        crate::metadata::tidy(&mut object);
        let stamp = self.store.get(resource, key).map_or(0, |s| s.stamp);
        self.store.put(resource, key, object, stamp);
    }

    fn collect(&mut self, at: Timestamp, uid: &str) {
        for (resource, key, object) in self.dependents(uid) {
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let lives = |uid: &str| self.store.all().any(|(_, _, s)| text(&s.object(), "uid") == uid);
            let others = owners.into_iter().flatten().filter_map(|o| o["uid"].as_str());
            if others.filter(|other| *other != uid).any(lives) {
                self.disown(&resource, &key, &object, uid);
            } else {
                self.remove(at, &resource, &key, "");
            }
        }
    }

    /// Does what the garbage collector's own finalizers are there for.
    fn release(&mut self, at: Timestamp, resource: &Resource, key: &str) {
        let Some(object) = self.store.get(resource, key).map(Stored::object) else { return };
        let finalizers = finalizers_of(&object);
        let uid = text(&object, "uid");
        let orphans = finalizers.iter().any(|f| f == "orphan");
        for (resource, key, dependent) in self.dependents(uid) {
            if orphans {
                self.disown(&resource, &key, &dependent, uid);
            } else {
                self.remove(at, &resource, &key, "Foreground");
            }
        }
        let blocks = |object: &Value| {
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            owners.into_iter().flatten().any(|o| o["uid"] == uid && o["blockOwnerDeletion"] == true)
        };
        if self.dependents(uid).iter().any(|(_, _, o)| blocks(o)) {
            self.tasks.after(at, AGAIN, Task::Release(resource.clone(), key.to_owned()));
            return;
        }
        let left: Vec<&String> =
            finalizers.iter().filter(|f| *f != "orphan" && *f != "foregroundDeletion").collect();
        if left.is_empty() {
            self.drop_object(at, resource, key);
            return;
        }
        let mut new = (*object).clone();
        new["metadata"]["finalizers"] = json!(left);
        let stamp = self.store.get(resource, &key_of(&object)).map_or(0, |s| s.stamp);
        self.store.put(resource, key, new, stamp);
    }
}
