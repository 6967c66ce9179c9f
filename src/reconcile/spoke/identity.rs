//! What an object on a cluster is: a mirror, a child, an instance that another one made there.
//!
//! A label can be copied, taken off or written by anybody, so none decides alone. What decides is who wrote what, which
//! the API server records (`managedFields`), and the uids and names that a machine knows of its own writes.

use super::{Home, Machine, Task, owner_of};
use crate::api::PackedObject;
use crate::api::applyset::Inventory;
use crate::api::keys::{hub, kro};
use crate::api::names::{InstanceKey, ObjectRef};
use crate::reconcile::world::Stored;

/// Whose an object is that has the name of a mirror.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The mirror of this instance.
    This,
    /// The mirror of another instance of this name on this hub: an earlier or a later one.
    Namesake,
    /// Not a mirror of this hub; says whose it is.
    Other(String),
    /// Everything that would tell was taken off.
    Untold,
}

/// The value of a label of a mirror as a hub wrote it. What somebody else wrote over it says nothing; where no record of
/// our own manager is left, the label is all there is.
fn said<'a>(found: &'a Stored, label: &str) -> Option<&'a str> {
    let value = found.object.label(label)?;
    let recorded = found.fields(kro::MANAGER_LABELLER).is_some();
    let ours = || found.covers(kro::MANAGER_LABELLER, &["f:metadata", "f:labels", &format!("f:{label}")]);
    (!recorded || ours()).then_some(value)
}

/// The id of the hub that a mirror belongs to. Ours counts whoever wrote it: so a person can hand a mirror back.
fn hub_said<'a>(found: &'a Stored, hub_id: &str) -> Option<&'a str> {
    found.object.label(hub::HUB_ID).filter(|id| *id == hub_id).or_else(|| said(found, hub::HUB_ID))
}

/// Whether a hub wrote it as the mirror of an instance. kro's own labeller never applies a spec, nor do we to an instance
/// that is at home on a spoke.
pub(super) fn is_mirror(found: &Stored) -> bool {
    let uid = format!("f:{}", hub::INSTANCE_UID);
    found.covers(kro::MANAGER_LABELLER, &["f:spec"])
        || found.covers(kro::MANAGER_LABELLER, &["f:metadata", "f:labels", &uid])
}

/// Whether it was made as a resource of some instance.
fn is_made(found: &Stored) -> bool {
    let labelled = found.object.label(kro::APPLYSET_PART_OF).is_some()
        && found.object.label(hub::INSTANCE_UID).is_none();
    !is_mirror(found) && (labelled || found.fields(kro::MANAGER_APPLYSET).is_some())
}

/// The uid of the hub instance that an object mirrors, if it is a mirror of this hub.
pub fn mirrored_uid<'a>(found: &'a Stored, hub_id: &str) -> Option<&'a str> {
    let of_this_hub = match hub_said(found, hub_id) {
        Some(id) => id == hub_id,
        // Somebody took that label off, and left the other.
        None => is_mirror(found),
    };
    said(found, hub::INSTANCE_UID).filter(|_| of_this_hub && !is_made(found))
}

/// `known`: the mirror that the machine wrote last, and for which instance.
pub(super) fn whose(task: &Task, known: Option<&(String, String)>, found: &Stored) -> Whose {
    if known.is_some_and(|(uid, hub_uid)| uid == found.object.uid() && *hub_uid == task.hub_uid) {
        return Whose::This;
    }
    if is_made(found) {
        return Whose::Other(owner_of(&found.object.unpack()));
    }
    match (hub_said(found, task.hub_id.as_str()), said(found, hub::INSTANCE_UID)) {
        (Some(id), _) if id != task.hub_id.as_str() => Whose::Other(format!("another hub ({id})")),
        (_, Some(uid)) if uid == task.hub_uid => Whose::This,
        (Some(_), Some(_)) => Whose::Namesake,
        // Without a uid it cannot be another instance's: somebody took the label off.
        (Some(_), None) => Whose::This,
        (None, None) if is_mirror(found) => Whose::This,
        (None, None) if is_perhaps_mirror(task, found) => Whose::Untold,
        _ => Whose::Other("somebody on that cluster; it does not carry this hub's label".into()),
    }
}

/// Whether it has the record that our mirrors have, and no sign of upstream kro.
fn is_perhaps_mirror(task: &Task, found: &Stored) -> bool {
    let object = &found.object;
    let upstream = object.label(kro::OWNED).is_some() || object.has_finalizer(kro::FINALIZER);
    let recorded = object.label(kro::APPLYSET_ID) == Some(task.applyset().as_str())
        || object.annotation(kro::INVENTORY_HASH).is_some();
    recorded && !upstream
}

/// Whether an object that carries an ApplySet label was put there by this hub.
fn is_of_hub(found: &Stored, hub_id: &str) -> bool {
    match found.object.label(hub::HUB_ID) {
        Some(id) => id == hub_id,
        // Somebody took that label off.
        None => found.fields(kro::MANAGER_APPLYSET).is_some(),
    }
}

/// Whether this hub wrote an object that carries an ApplySet label and that nobody here knows: so its record says. A copy under
/// another name has the labels, and other writers. Where no record of anybody is left, the label is all there is.
fn is_written_by_hub(found: &Stored, hub_id: &str) -> bool {
    let recorded = || found.fields(kro::MANAGER_APPLYSET).is_some() || found.rivals().is_empty();
    is_of_hub(found, hub_id) && recorded()
}

/// What an instance knows of an object that may be one of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Yes,
    No,
    /// It cannot be told yet.
    Untold,
}

/// Whether an object of a generated kind is an instance at home here. One that somebody made by hand is not, whatever its
/// labels say; nor is a mirror. `maker` is what the instance says whose ApplySet label it carries, `None` if there is none
/// on this cluster.
pub fn nested(found: &Stored, hub_id: &str, maker: Option<Made>) -> Made {
    let object = &found.object;
    if is_mirror(found) || (object.is_deleting() && !object.has_finalizer(kro::FINALIZER)) {
        return Made::No;
    }
    let made = maker.filter(|_| is_of_hub(found, hub_id)).unwrap_or(Made::No);
    // Nobody else takes off the finalizer that we put there.
    let finalizer = format!("v:{:?}", kro::FINALIZER);
    let held = || found.covers(kro::MANAGER_LABELLER, &["f:metadata", "f:finalizers", &finalizer]);
    if made != Made::Yes && object.is_deleting() && object.label(hub::HUB_ID) == Some(hub_id) && held() {
        return Made::Yes;
    }
    made
}

/// Whether a record names the place of an object.
fn names(record: &Inventory, maker: &InstanceKey, object: &ObjectRef) -> bool {
    let namespace = &*object.namespace;
    let place =
        namespace.is_empty() || *namespace == *maker.namespace || record.namespaces.contains(namespace);
    place && record.group_kinds.contains(&object.gk)
}

impl Machine {
    /// Whose the object is that has the mirror's name.
    pub(super) fn whose(&self, found: &Stored) -> Whose {
        whose(&self.task, self.mirror_written.as_deref(), found)
    }

    /// Whether this instance made the object `target` of this uid here: it wants it, wrote it or found it settled; as long
    /// as it has not looked at all that it wants, its record tells.
    pub fn made(&self, target: &ObjectRef, uid: &str) -> Made {
        if *target == self.task.key.object() {
            return Made::No;
        }
        let known = self.objects.get(target).is_some_and(|t| t.wrote(uid));
        let yes = |is| if is { Made::Yes } else { Made::No };
        match (&self.makes, &self.record) {
            _ if known => Made::Yes,
            (Some(makes), _) => yes(makes.contains(target)),
            (None, Some(record)) if self.record_is_ours => yes(names(record, &self.task.key, target)),
            (None, _) => Made::Untold,
        }
    }

    /// Whether an object that carries this instance's ApplySet label is its child. On the hub the label decides, as with kro.
    pub(super) fn is_child(&self, target: &ObjectRef, found: &Stored) -> bool {
        *target != self.task.key.object()
            && (self.task.is_local()
                || self.is_known(target, &found.object)
                || (!is_mirror(found) && is_written_by_hub(found, self.task.hub_id.as_str())))
    }

    /// Whether it is the very object that this machine wrote or asked to go.
    pub(super) fn is_known(&self, target: &ObjectRef, found: &PackedObject) -> bool {
        let uid = self.objects.get(target).and_then(|t| t.uid());
        uid.is_some_and(|uid| uid == found.uid())
    }

    /// Whether the object that has the parent's name belongs to another instance, so that what hangs on it is not ours.
    pub(super) fn is_of_namesake(&self, parent: &Stored) -> bool {
        match self.task.home {
            Home::Local { .. } => false,
            Home::Nested => parent.object.uid() != self.task.hub_uid,
            Home::Mirror => self.whose(parent) == Whose::Namesake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{GroupKind, Gvk, HubId};
    use crate::reconcile::spoke::Goal;
    use serde_json::{Value, json};

    const UID: &str = hub::INSTANCE_UID;
    const ID: &str = hub::HUB_ID;

    /// An object of a generated kind: its labels, and per manager which labels it applied and whether a spec.
    fn object(labels: Value, managers: &[(&str, &[&str], bool)]) -> Stored {
        let entry = |(manager, labels, spec): &(&str, &[&str], bool)| {
            let labels: serde_json::Map<String, Value> =
                labels.iter().map(|l| (format!("f:{l}"), json!({}))).collect();
            let mut fields = json!({"f:metadata": {"f:labels": labels}});
            if *spec {
                fields["f:spec"] = json!({"f:x": {}});
            }
            json!({"manager": manager, "operation": "Apply", "fieldsV1": fields})
        };
        let managed: Vec<Value> = managers.iter().map(entry).collect();
        Stored::new(json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"x": 1},
            "metadata": {"name": "a", "namespace": "n", "uid": "m1", "labels": labels, "managedFields": managed}}))
    }

    fn task() -> Task {
        Task {
            key: InstanceKey::new(GroupKind::new("kro.run", "App"), "n", "a"),
            gvk: Gvk::new("kro.run", "v1alpha1", "App"),
            hub_uid: "u1".into(),
            hub_id: HubId::new("h1"),
            home: Home::Mirror,
            goal: Goal::Remove { group_kinds: Default::default() },
        }
    }

    #[test]
    fn whose_a_mirror_is_follows_from_who_wrote_it() {
        let labeller = kro::MANAGER_LABELLER;
        let both: &[&str] = &[ID, UID];
        let other = |what: &str| Whose::Other(what.into());
        let nobody = || other("somebody on that cluster; it does not carry this hub's label");
        let id = task().applyset();
        let cases = [
            ("as we wrote it", object(json!({ID: "h1", UID: "u1"}), &[(labeller, both, true)]), Whose::This),
            (
                "of an earlier one",
                object(json!({ID: "h1", UID: "u0"}), &[(labeller, both, true)]),
                Whose::Namesake,
            ),
            (
                "of another hub",
                object(json!({ID: "h2", UID: "x"}), &[(labeller, both, true)]),
                other("another hub (h2)"),
            ),
            ("hub id taken off", object(json!({UID: "u1"}), &[(labeller, &[UID], true)]), Whose::This),
            (
                "hub id changed",
                object(json!({ID: "h2", UID: "u1"}), &[(labeller, &[UID], true)]),
                Whose::This,
            ),
            ("uid taken off", object(json!({ID: "h1"}), &[(labeller, &[ID], true)]), Whose::This),
            ("uid changed", object(json!({ID: "h1", UID: "x"}), &[(labeller, &[ID], true)]), Whose::This),
            ("both taken off", object(json!({}), &[(labeller, &[], true)]), Whose::This),
            ("both changed", object(json!({ID: "x", UID: "y"}), &[(labeller, &[], true)]), Whose::This),
            ("no record of managers", object(json!({ID: "h1", UID: "u1"}), &[]), Whose::This),
            ("nothing left but the ApplySet", object(json!({kro::APPLYSET_ID: id}), &[]), Whose::Untold),
            ("handed back by a person", object(json!({ID: "h1"}), &[(labeller, &[], false)]), Whose::This),
            (
                "of upstream kro",
                object(
                    json!({kro::APPLYSET_ID: id, kro::OWNED: "true"}),
                    &[(labeller, &[kro::OWNED], false)],
                ),
                nobody(),
            ),
            ("made by hand", object(json!({}), &[]), nobody()),
            (
                "a resource of a definition",
                object(
                    json!({ID: "h1", kro::APPLYSET_PART_OF: "x"}),
                    &[(kro::MANAGER_APPLYSET, &[ID], true)],
                ),
                other("field manager kro.run/applyset"),
            ),
            (
                "a resource with labels copied from a mirror",
                object(json!({ID: "h1", UID: "u1"}), &[(kro::MANAGER_APPLYSET, both, true)]),
                other("field manager kro.run/applyset"),
            ),
        ];
        for (what, found, want) in cases {
            let got = match whose(&task(), None, &found) {
                // `managedFields` are not kept, so the owner cannot be named by them.
                Whose::Other(owner) if owner == "somebody else" => other("field manager kro.run/applyset"),
                got => got,
            };
            assert_eq!(got, want, "{what}");
        }
        let bare = object(json!({}), &[]);
        let known = |uid: &str, hub_uid: &str| (uid.to_owned(), hub_uid.to_owned());
        assert_eq!(whose(&task(), Some(&known("m1", "u1")), &bare), Whose::This);
        assert_eq!(whose(&task(), Some(&known("m1", "u0")), &bare), nobody());
        assert_eq!(whose(&task(), Some(&known("m0", "u1")), &bare), nobody());
    }

    #[test]
    fn a_label_that_was_copied_makes_no_child() {
        let (ours, part_of) = (kro::MANAGER_APPLYSET, kro::APPLYSET_PART_OF);
        let (both, labels): (&[&str], _) = (&[ID, part_of], json!({ID: "h1", part_of: "x"}));
        let cases = [
            ("as we wrote it", object(labels.clone(), &[(ours, both, true)]), true),
            (
                "others wrote to it",
                object(labels.clone(), &[("kubectl", &[ID], true), (ours, both, true)]),
                true,
            ),
            ("hub id taken off", object(json!({part_of: "x"}), &[(ours, &[part_of], true)]), true),
            ("a copy", object(labels.clone(), &[("kubectl-create", both, true)]), false),
            (
                "a copy without the hub id",
                object(json!({part_of: "x"}), &[("kubectl-create", both, true)]),
                false,
            ),
            ("of another hub", object(json!({ID: "h2", part_of: "x"}), &[(ours, both, true)]), false),
            ("no record of managers", object(labels, &[]), true),
        ];
        for (what, found, want) in cases {
            assert_eq!(is_written_by_hub(&found, "h1"), want, "{what}");
        }
    }

    #[test]
    fn a_mirror_is_told_to_the_hub_also_where_the_hub_id_was_taken_off() {
        let labeller = kro::MANAGER_LABELLER;
        let both: &[&str] = &[ID, UID];
        let cases = [
            (object(json!({ID: "h1", UID: "u1"}), &[(labeller, both, true)]), Some("u1")),
            (object(json!({ID: "h1", UID: "u1"}), &[]), Some("u1")),
            (object(json!({ID: "h2", UID: "u1"}), &[(labeller, both, true)]), None),
            (object(json!({UID: "u1"}), &[(labeller, &[UID], true)]), Some("u1")),
            (object(json!({UID: "u1"}), &[]), None),
            (object(json!({ID: "h1", UID: "forged"}), &[(labeller, &[ID], true)]), None),
            // Labels that travelled with a copy.
            (object(json!({ID: "h1", UID: "u1"}), &[(kro::MANAGER_APPLYSET, both, true)]), None),
        ];
        for (found, want) in cases {
            assert_eq!(mirrored_uid(&found, "h1"), want, "{:?}", found.object.labels());
        }
    }
}
