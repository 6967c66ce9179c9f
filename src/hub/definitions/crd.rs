//! The generated CRD on the hub: created, or changed where that breaks no instance, never taken from somebody else.

use crate::api::Object;
use crate::api::keys::kro;
use crate::hub::context::Context;
use crate::schema::compat::{self, Conclusion, Look};
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::crd::{Told, crd_resource, is_established, look, names_refused, take_away};
use serde_json::{Map, Value, json};
use std::time::Duration;

const ESTABLISH_POLL: Duration = Duration::from_millis(20);
const ESTABLISH_POLLS: u32 = 3_000;

/// Why the kind is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    pub mends: Mends,
}

/// What makes another try succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mends {
    /// It passes.
    Itself,
    Somebody,
    /// An edit of what instances carry, or of the definition.
    Instances,
}

impl Failure {
    fn passing(message: String) -> Self {
        Self { message, mends: Mends::Itself }
    }
    fn lasting(message: String) -> Self {
        Self { message, mends: Mends::Somebody }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::passing(format!("CustomResourceDefinition: {error}"))
    }
}

/// What a definition may do to its CRD.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct May {
    /// A definition that is being deleted brings nothing back.
    pub create: bool,
    pub break_stored: bool,
}

/// Makes the hub serve the kind; answers the kind as the API server accepted it.
pub(in crate::hub) async fn ensure(
    ctx: &Context,
    wanted: &Value,
    rgd_name: &str,
    may: May,
) -> Result<String, Failure> {
    let (client, resource) = (&ctx.client, crd_resource());
    let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let found = client.at(&resource, "", name).get().await?;
    let mut live = match found {
        None if !may.create => {
            let message = format!("CustomResourceDefinition {name} is gone; the definition is being deleted");
            return Err(Failure::lasting(message));
        }
        None => client.create(&resource, "", wanted).await?,
        Some(live) => {
            owned_by(&live, name, rgd_name)?;
            if Object(live.clone()).is_deleting() {
                return Err(Failure::passing(format!("CustomResourceDefinition {name} is being deleted")));
            }
            let changes = compat::compare(&live, wanted);
            if changes.is_empty() {
                live
            } else {
                let found = match changes.breaking.is_empty() {
                    true => Look::new(&[]),
                    false => look(client, &live, &changes.breaking, &Told::default()).await?,
                };
                match found.conclude(name, may.break_stored) {
                    Conclusion::Update => client.at(&resource, "", name).merge_patch(&patch(wanted)).await?,
                    Conclusion::Replace if may.create => {
                        take_away(client, &Object(live)).await?;
                        client.create(&resource, "", wanted).await?
                    }
                    Conclusion::Replace => {
                        let message = format!(
                            "CustomResourceDefinition {name} is of another API; the definition is being deleted"
                        );
                        return Err(Failure::lasting(message));
                    }
                    Conclusion::Refused(message) => {
                        return Err(Failure { message, mends: Mends::Instances });
                    }
                }
            }
        }
    };
    for _ in 0..ESTABLISH_POLLS {
        if let Some(why) = names_refused(&live) {
            return Err(Failure::passing(format!("CustomResourceDefinition {name}: {why}")));
        }
        if is_established(&live) {
            let kind = live.pointer("/status/acceptedNames/kind").and_then(Value::as_str);
            return Ok(kind.unwrap_or_default().to_owned());
        }
        tokio::time::sleep(ESTABLISH_POLL).await;
        live = client.at(&resource, "", name).get().await?.unwrap_or_default();
    }
    Err(Failure::passing(format!("CustomResourceDefinition {name} did not become Established in time")))
}

/// What becomes of the CRD that is there, should a definition be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Nothing hinders it.
    Fine,
    /// It is somebody else's: said in these words.
    Anothers(String),
    /// What is stored would break: refused in these words.
    Refused(String),
}

/// Foresees what [`ensure`] will say of a CRD; writes nothing, and names no instance, since it is told to whoever asks.
///
/// # Errors
/// The hub cannot be asked.
pub async fn foresee(
    client: &Verbs,
    wanted: &Value,
    rgd_name: &str,
    break_stored: bool,
) -> Result<Foreseen, ApiError> {
    let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let Some(live) = client.at(&crd_resource(), "", name).get().await? else { return Ok(Foreseen::Fine) };
    if let Err(failure) = owned_by(&live, name, rgd_name) {
        return Ok(Foreseen::Anothers(failure.message));
    }
    let breaking = compat::compare(&live, wanted).breaking;
    if breaking.is_empty() || Object(live.clone()).is_deleting() {
        return Ok(Foreseen::Fine);
    }
    match look(client, &live, &breaking, &Told::default()).await?.unnamed().conclude(name, break_stored) {
        Conclusion::Refused(message) => Ok(Foreseen::Refused(message)),
        Conclusion::Update | Conclusion::Replace => Ok(Foreseen::Fine),
    }
}

/// Whether a CRD may be changed for this definition.
fn owned_by(live: &Value, name: &str, rgd_name: &str) -> Result<(), Failure> {
    let live = Object(live.clone());
    let owned = match live.label(kro::OWNED) {
        Some(value) => value == "true",
        None => live.label(kro::MANAGED_BY) == Some(kro::MANAGED_BY_VALUE),
    };
    if !owned {
        return Err(Failure::lasting(format!(
            "CustomResourceDefinition {name} already exists and is not owned by kro; choose another kind or group, or delete it"
        )));
    }
    let owner = live.label(kro::RGD_NAME).unwrap_or_default();
    if owner != crate::api::hash::label_value(rgd_name) {
        return Err(Failure::lasting(format!(
            "CustomResourceDefinition {name} is owned by another ResourceGraphDefinition {owner}; one kind has one definition. If that one is gone for good, give \
             the CRD the label {}={}",
            kro::RGD_NAME,
            crate::api::hash::label_value(rgd_name),
        )));
    }
    Ok(())
}

/// What a JSON merge patch may set: the parts that the definition decides, names that were dropped included.
fn patch(wanted: &Value) -> Value {
    let part = |pointer: &str| wanted.pointer(pointer).cloned().unwrap_or(Value::Null);
    let mut names = wanted.pointer("/spec/names").and_then(Value::as_object).cloned().unwrap_or_default();
    for list in ["shortNames", "categories"] {
        names.entry(list).or_insert(Value::Null);
    }
    let mut metadata = Map::new();
    for map in ["labels", "annotations"] {
        let value = part(&format!("/metadata/{map}"));
        if !value.is_null() {
            metadata.insert(map.to_owned(), value);
        }
    }
    json!({
        "metadata": metadata,
        "spec": {
            "group": part("/spec/group"),
            "names": names,
            "scope": part("/spec/scope"),
            "versions": part("/spec/versions"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(labels: Value) -> Value {
        json!({"metadata": {"name": "apps.kro.run", "labels": labels}})
    }

    #[test]
    fn only_this_definitions_crd_is_changed() {
        let ours = json!({"kro.run/owned": "true", "kro.run/resource-graph-definition-name": "app"});
        assert!(owned_by(&crd(ours), "apps.kro.run", "app").is_ok());
        let cases = [
            (json!({}), "not owned by kro"),
            (json!({"kro.run/owned": "false", "app.kubernetes.io/managed-by": "kro"}), "not owned by kro"),
            (
                json!({"kro.run/owned": "true", "kro.run/resource-graph-definition-name": "other"}),
                "another ResourceGraphDefinition other",
            ),
        ];
        for (labels, part) in cases {
            let failure = owned_by(&crd(labels), "apps.kro.run", "app").unwrap_err();
            assert!(
                failure.message.contains(part) && failure.mends == Mends::Somebody,
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn a_patch_removes_short_names_that_were_dropped_and_leaves_conversion_alone() {
        let patch = patch(&json!({"spec": {"group": "g", "names": {"kind": "A"}, "versions": []}}));
        assert_eq!(patch["spec"]["names"]["shortNames"], Value::Null);
        assert!(patch["spec"]["names"].as_object().unwrap().contains_key("categories"));
        assert!(patch["spec"].get("conversion").is_none());
    }
}
