//! InstanceReports as they stand on the hub, and whose they are.

use super::{InstanceKind, Instances, Slot};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::maps::HashMap;
use crate::api::names::{GroupKind, InstanceKey};
use crate::hub::instances::Target;
use crate::hub::resources;
use crate::hub::view::{Key, View};
use crate::reconcile::fleet::Fleet;
use crate::reconcile::fleet::reports::Write;
use crate::reconcile::world::Stored;
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::watch::Listed;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Reported {
    view: View<Stored>,
    /// Those beside each instance of a name, by its uid and their number. What stands in another namespace is of nobody.
    of: HashMap<InstanceKey, BTreeMap<(String, usize), Key>>,
}

/// Whose a report is.
struct Owner {
    uid: String,
    key: InstanceKey,
    index: usize,
}

impl Owner {
    fn of(report: &Object) -> Option<Self> {
        let reference = report.0.pointer("/metadata/ownerReferences/0")?;
        let text = |field: &str| reference.get(field).and_then(Value::as_str);
        let group = text("apiVersion")?.rsplit_once('/').map_or("", |(group, _)| group);
        let gk = GroupKind::new(group, text("kind")?);
        let index = usize::try_from(report.0.pointer("/report/index")?.as_u64()?).ok()?;
        Some(Self {
            uid: text("uid")?.to_owned(),
            key: InstanceKey::new(gk, report.namespace(), text("name")?),
            index,
        })
    }
}

impl Reported {
    /// Tells a new machine what stands in the reports of its instance. `beside`: the name that they go by.
    pub fn tell(&self, beside: &InstanceKey, uid: &str, fleet: &mut Fleet) {
        let all = self.of.get(beside).into_iter().flatten();
        for ((_, index), key) in all.filter(|((of, _), _)| of == uid) {
            if let Some(stored) = self.view.get(key) {
                let report = stored.object.unpack();
                fleet.report_stands(*index, report.0.get("report"));
            }
        }
    }

    fn forget(&mut self, owner: &Owner) {
        if let Some(all) = self.of.get_mut(&owner.key) {
            all.remove(&(owner.uid.clone(), owner.index));
            if all.is_empty() {
                self.of.remove(&owner.key);
            }
        }
    }

    #[cfg(test)]
    pub fn remembered(&self) -> impl Iterator<Item = String> {
        self.of.iter().map(|(key, all)| format!("{} reports of {key}", all.len()))
    }
}

impl Instances {
    /// Whether all reports were seen.
    pub fn knows_reports(&self) -> bool {
        self.reported.view.is_synced()
    }

    pub fn seen_report(&mut self, listed: Listed) {
        for change in self.reported.view.take(listed) {
            let owner = |stored: &Stored| {
                let report = stored.object.unpack();
                Owner::of(&report).map(|owner| (owner, report))
            };
            let after = change.after.as_deref().and_then(owner);
            if let Some((before, _)) = change.before.as_deref().and_then(owner) {
                self.reported.forget(&before);
                let same = after.as_ref().is_some_and(|(o, _)| {
                    o.key == before.key && o.uid == before.uid && o.index == before.index
                });
                if !same {
                    self.tell_report(&before, None);
                }
            }
            if let Some((owner, report)) = after {
                let all = self.reported.of.entry(owner.key.clone()).or_default();
                all.insert((owner.uid.clone(), owner.index), change.key);
                self.tell_report(&owner, report.0.get("report"));
            }
        }
    }

    fn tell_report(&mut self, owner: &Owner, report: Option<&Value>) {
        // One that has no namespace is reported in that of the controller.
        let of_cluster = InstanceKey::new(owner.key.gk.clone(), "", &owner.key.name);
        let of_cluster = Some(of_cluster).filter(|_| *owner.key.namespace == *self.rollouts.home);
        let Some(kind) = self.kinds.get_mut(&owner.key.gk) else { return };
        for key in std::iter::once(owner.key.clone()).chain(of_cluster) {
            let slot = own_slot(kind, &key, &owner.uid);
            if slot.is_some_and(|slot| slot.fleet.report_stands(owner.index, report)) {
                self.lanes.push(&key);
            }
        }
    }
}

fn own_slot<'k>(kind: &'k mut InstanceKind, key: &InstanceKey, uid: &str) -> Option<&'k mut Box<Slot>> {
    kind.slots.get_mut(key).filter(|slot| slot.uid == uid)
}

/// Writes a report, or deletes it; what stands there then. `namespace` is that of the controller.
pub(in crate::hub) async fn write_report(
    client: &Verbs,
    namespace: &str,
    target: &Target,
    write: &Write,
) -> Result<Option<Value>, ApiError> {
    let own = &*target.key.namespace;
    let namespace = if own.is_empty() { namespace } else { own };
    let resource = resources::reports();
    let at = || client.at(&resource, namespace, &write.name);
    let uid = target.object.uid();
    let Some(report) = &write.report else {
        let known = at().get().await?.map(Object);
        return match known.filter(|known| Owner::of(known).is_some_and(|owner| owner.uid == uid)) {
            Some(known) => at().delete(known.uid()).await.map(|_| None),
            None => Ok(None),
        };
    };
    let owner = json!({
        "apiVersion": target.resource.api_version, "kind": target.resource.kind, "name": *target.key.name,
        "uid": uid, "controller": true, "blockOwnerDeletion": false,
    });
    let body = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {
            "name": write.name, "namespace": namespace, "ownerReferences": [owner],
            "labels": {hub::INSTANCE_UID: uid},
        },
        "report": report,
    });
    let written = at().apply(kro::MANAGER_LABELLER, &body).await?;
    Ok(written.get("report").cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::HubId;
    use crate::reconcile::fleet::placement::DefaultPlacement;

    fn report(namespace: &str) -> Listed {
        let owner = json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "name": "web", "uid": "u"});
        Listed::Object(json!({
            "metadata": {"name": "web-0", "namespace": namespace, "uid": namespace, "resourceVersion": "1",
                "ownerReferences": [owner]},
            "report": {"index": 0},
        }))
    }

    #[test]
    fn a_report_in_another_namespace_is_nobodys_whatever_uid_it_names() {
        let mut instances = Instances::new(HubId::new("h"), DefaultPlacement::Local);
        for namespace in ["shop", "tenant"] {
            instances.seen_report(report(namespace));
        }
        let key = InstanceKey::new(GroupKind::new("kro.run", "App"), "shop", "web");
        let of_shop: Vec<&Key> = instances.reported.of[&key].values().collect();
        assert_eq!(of_shop, [&Key::new("shop", "web-0")]);
    }
}
