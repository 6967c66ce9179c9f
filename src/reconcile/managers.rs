//! Who applied which field of an object, as its API server keeps record of it (`managedFields`, format FieldsV1).
//!
//! Objects that were made alike have the same record but for its times, so it is kept once for all of them.

use super::ownership;
use super::rivals::{self, Rival};
use crate::api::keys::kro;
use crate::api::packed::{At, Packer};
use crate::api::shared;
use serde_json::Value;
use std::sync::Arc;

/// What is kept of the record: our own field managers, and what others own.
#[derive(Clone)]
pub struct Managers(Arc<[u8]>);

const OURS: &str = "ours";
const OTHERS: &str = "others";
const OUR_MANAGERS: [&str; 3] = [kro::MANAGER_APPLYSET, kro::MANAGER_PARENT, kro::MANAGER_LABELLER];

impl Managers {
    /// Reads the record of an object.
    pub fn of(object: &Value) -> Self {
        let mut packer = Packer::default();
        packer.map(|packer| {
            packer.text(OTHERS);
            packer.list(|packer| {
                for Rival { manager, fields } in rivals::rivals(object, &OUR_MANAGERS) {
                    packer.text(&manager);
                    packer.value(&fields);
                }
            });
            packer.text(OURS);
            packer.map(|packer| {
                for manager in OUR_MANAGERS {
                    if let Some(fields) = ownership::applied_fields(object, manager) {
                        packer.text(manager);
                        packer.value(fields);
                    }
                }
            });
        });
        Self(shared::bytes(packer.packed().root().bytes()))
    }

    fn root(&self) -> At<'_> {
        At::of(&self.0)
    }

    /// What one of our own managers applied, as FieldsV1.
    pub fn fields(&self, manager: &str) -> Option<At<'_>> {
        self.root().at(&[OURS, manager])
    }

    /// What other managers own, the last writer first.
    pub fn rivals(&self) -> Vec<Rival> {
        let mut parts = self.root().get(OTHERS).into_iter().flat_map(At::items);
        let mut found = Vec::new();
        while let (Some(manager), Some(fields)) = (parts.next().and_then(At::as_str), parts.next()) {
            found.push(Rival { manager: manager.to_owned(), fields: fields.unpack() });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_made_alike_share_the_record_of_who_made_them() {
        let object = |time: &str, field: &str| {
            json!({"metadata": {"managedFields": [
                {"manager": "kro.run/applyset", "operation": "Apply", "time": time, "fieldsV1": {field: {}}},
                {"manager": "them", "operation": "Update", "time": time, "fieldsV1": {"f:spec": {}}}]}})
        };
        let one = Managers::of(&object("2026-01-01T00:00:00Z", "f:data"));
        let same = Managers::of(&object("2026-01-02T00:00:00Z", "f:data"));
        let other = Managers::of(&object("2026-01-01T00:00:00Z", "f:other"));
        assert!(Arc::ptr_eq(&one.0, &same.0) && !Arc::ptr_eq(&one.0, &other.0));
        assert_eq!(one.fields("kro.run/applyset").map(At::unpack), Some(json!({"f:data": {}})));
        assert!(one.fields("kro.run/labeller").is_none() && one.fields("them").is_none());
        let rivals: Vec<(String, Value)> = one.rivals().into_iter().map(|r| (r.manager, r.fields)).collect();
        assert_eq!(rivals, [("them".to_owned(), json!({"f:spec": {}}))]);
        assert!(Managers::of(&json!({})).rivals().is_empty());
    }
}
