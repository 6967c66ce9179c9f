//! Whose a kind is. Several definitions may claim one; one of them has it, and the CRD on the hub says which.

use super::revisions::Revisions;
use super::{DefinitionEntry, Definitions, Effect, is_in_use};
use crate::api::keys::kro;
use crate::api::names::GroupKind;
use crate::api::{Object, hash};
use std::collections::BTreeMap;

/// Whether a CRD is labelled as that of the definition of this name.
pub(super) fn is_labelled(crd: &Object, definition: &str) -> bool {
    crd.label(kro::RGD_NAME) == Some(&hash::label_value(definition))
}

/// Whether a CRD is for this kind.
pub(super) fn is_for(crd: &Object, gk: &GroupKind) -> bool {
    crd.str_at("/spec/names/kind") == &*gk.kind && crd.str_at("/spec/group") == &*gk.group
}

/// Whether what becomes of a CRD concerns the definition of this name, which claims this kind.
pub(super) fn concerns(crd: &Object, definition: &str, claimed: &GroupKind) -> bool {
    is_labelled(crd, definition) || is_for(crd, claimed)
}

/// What is new of a generated CRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrdNews {
    None,
    /// It can be counted on, or no more.
    Use,
    /// It is there, or reads, otherwise than before.
    Otherwise,
}

impl CrdNews {
    pub fn of(before: Option<&Object>, after: Option<&Object>) -> Self {
        let reads = |crd: &Object| (crd.uid().to_owned(), crd.generation(), crd.labels(), crd.annotations());
        if before.map(reads) != after.map(reads) {
            Self::Otherwise
        } else if before.map(is_in_use) != after.map(is_in_use) {
            Self::Use
        } else {
            Self::None
        }
    }
}

impl Definitions {
    /// The definition of a kind. Where several claim it, one has it: the CRD says whose it is.
    pub(super) fn name_of(&self, gk: &GroupKind) -> Option<&String> {
        let owner = |name: &str| self.crds_of(gk).any(|crd| is_labelled(crd, name));
        let claims = self.entries.iter().filter(|(_, entry)| entry.gvk().group_kind() == *gk);
        claims.min_by_key(|(name, e)| (!owner(name), !e.is_watching())).map(|(name, _)| name)
    }

    /// Whether another definition has the kind of this one, and cares for its instances.
    pub(super) fn is_given_away(&self, name: &str) -> bool {
        let Some(gk) = self.entries.get(name).map(|entry| entry.gvk().group_kind()) else { return false };
        let has_it =
            self.name_of(&gk).filter(|owner| *owner != name).and_then(|owner| self.entries.get(owner));
        has_it.is_some_and(DefinitionEntry::is_watching)
    }

    /// A definition that cared for the kind is gone: nobody does, unless another one has taken it over.
    pub(super) fn stop(&self, gk: GroupKind) -> Option<Effect> {
        let cares = |e: &DefinitionEntry| e.is_watching() && e.gvk().group_kind() == gk;
        (!self.entries.values().any(cares)).then_some(Effect::Stop(gk))
    }

    /// Hashes of the graphs of a kind's revisions, by number.
    pub fn numbers(&self, gk: &GroupKind) -> BTreeMap<u64, String> {
        let of = |name: &String| Revisions::of(name, self.revisions.iter().map(|(_, o)| o)).numbers();
        self.name_of(gk).map(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Care;
    use super::*;
    use crate::api::rgd::ResourceGraphDefinition;
    use crate::spoke::watch::Listed;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn claim(definitions: &mut Definitions, name: &str, care: Care) {
        let object = json!({"metadata": {"name": name, "uid": name},
            "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "App"}, "resources": []}});
        let rgd: ResourceGraphDefinition = serde_json::from_value(object.clone()).unwrap();
        let mut entry = DefinitionEntry::new(Arc::new(Object(object)), rgd);
        entry.care = care;
        definitions.entries.insert(name.to_owned(), entry);
        let number = if name == "app" { 1 } else { 2 };
        definitions.revisions.take(Listed::Object(
            json!({"metadata": {"name": format!("{name}-r"), "uid": name},
            "spec": {"revision": number, "snapshot": {"name": name, "generation": 1,
                "spec": {"schema": {"apiVersion": "v1alpha1", "kind": "App"}, "resources": []}}}}),
        ));
    }

    fn crd(owner: &str) -> Value {
        json!({"metadata": {"name": "apps.kro.run", "uid": "c", "resourceVersion": "1", "generation": 1,
                "labels": {"kro.run/owned": "true", "kro.run/resource-graph-definition-name": owner}},
            "spec": {"group": "kro.run", "names": {"kind": "App"}}})
    }

    #[test]
    fn of_several_definitions_that_claim_a_kind_the_one_that_has_it_counts() {
        let gk = GroupKind::new("kro.run", "App");
        for (what, app, web, owner, want) in [
            ("the second serves it", Care::None, Care::Watched, Some("web"), "web"),
            ("a restart: nobody watches yet", Care::None, Care::None, Some("web"), "web"),
            ("its CRD was removed a moment ago", Care::None, Care::Watched, None, "web"),
            ("nobody has it", Care::None, Care::None, None, "app"),
            ("somebody gave it to the first", Care::None, Care::Watched, Some("app"), "app"),
            ("the CRD is of one that is gone", Care::None, Care::None, Some("old"), "app"),
        ] {
            let mut definitions = Definitions::unseen();
            claim(&mut definitions, "app", app);
            claim(&mut definitions, "web", web);
            definitions.crds.take(Listed::Started);
            owner.map(|owner| definitions.crds.take(Listed::Object(crd(owner))));
            definitions.crds.take(Listed::Done(1));
            assert_eq!(definitions.name_of(&gk).map(String::as_str), Some(want), "{what}");
            let numbers: Vec<u64> = definitions.numbers(&gk).into_keys().collect();
            assert_eq!(numbers, [if want == "app" { 1 } else { 2 }], "{what}");
            assert_eq!(definitions.entry_of(&gk).map(|(name, _)| name).as_deref(), Some(want), "{what}");
        }
    }

    #[test]
    fn a_kind_that_another_definition_took_over_is_cared_for_when_the_first_one_goes() {
        let gk = || GroupKind::new("kro.run", "App");
        for (owner, web, given_away) in
            [("web", Care::Watched, true), ("web", Care::None, false), ("app", Care::Watched, false)]
        {
            let mut definitions = Definitions::unseen();
            claim(&mut definitions, "app", Care::Watched);
            claim(&mut definitions, "web", web);
            definitions.crds.take(Listed::Object(crd(owner)));
            let cared = definitions.entries["web"].is_watching();
            assert_eq!(definitions.is_given_away("app"), given_away, "{owner} {cared}");
            definitions.entries.remove("app");
            assert_eq!(definitions.stop(gk()).is_none(), cared, "{owner} {cared}");
        }
    }

    #[test]
    fn whatever_of_a_crd_somebody_changes_is_news_and_who_wrote_it_or_its_status_is_not() {
        let before = crd("a");
        let with = |pointer: &str, value: Value| {
            let mut after = before.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            after.pointer_mut(parent).unwrap()[key] = value;
            Some(after)
        };
        let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
        for (what, after, want) in [
            ("nothing", Some(before.clone()), CrdNews::None),
            ("another version alone", with("/metadata/resourceVersion", json!("2")), CrdNews::None),
            ("who wrote it", with("/metadata/managedFields", json!([{"manager": "x"}])), CrdNews::None),
            ("its names are not served yet", with("/status", json!({"conditions": []})), CrdNews::None),
            ("it is served", with("/status", established), CrdNews::Use),
            ("its spec", with("/metadata/generation", json!(2)), CrdNews::Otherwise),
            ("a label", with("/metadata/labels", json!({"kro.run/owned": "true"})), CrdNews::Otherwise),
            ("an annotation", with("/metadata/annotations", json!({"team": "x"})), CrdNews::Otherwise),
            ("another of that name", with("/metadata/uid", json!("d")), CrdNews::Otherwise),
            ("it went", None, CrdNews::Otherwise),
        ] {
            let after = after.map(Object);
            assert_eq!(CrdNews::of(Some(&Object(before.clone())), after.as_ref()), want, "{what}");
        }
        assert_eq!(CrdNews::of(None, Some(&Object(before.clone()))), CrdNews::Otherwise);
    }

    #[test]
    fn a_crd_concerns_the_definition_that_it_names_and_those_that_claim_its_kind() {
        let crd = Object(crd("a"));
        let kind = |kind: &str| GroupKind::new("kro.run", kind);
        assert!(concerns(&crd, "a", &kind("App")) && concerns(&crd, "b", &kind("App")));
        assert!(concerns(&crd, "a", &kind("Former")));
        assert!(!concerns(&crd, "b", &kind("Other")));
        assert!(!concerns(&crd, "b", &GroupKind::new("example.com", "App")));
    }
}
