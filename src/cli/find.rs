//! What all commands about an instance do first: find its kind and the instance itself.

use crate::api::Object;
use crate::edge::{Failure, Hub, Scope};
use crate::view::kinds::{self, Generated};

/// Instances of one kind, and what the hub has beside them.
pub struct Found {
    pub kind: Generated,
    /// All kinds of the hub.
    pub kinds: Vec<Generated>,
    pub objects: Vec<Object>,
}

/// Finds what the words of a command line name.
///
/// # Errors
/// There is no such kind or instance.
pub async fn find(hub: &Hub, words: &[String], all_namespaces: bool) -> Result<Found, Failure> {
    let asked = kinds::asked(words).map_err(Failure::usage)?;
    let definitions = hub.definitions().await?;
    let all: Vec<Generated> = definitions.iter().filter_map(Generated::of).collect();
    let kind = kinds::named(&all, &asked.kind).map_err(Failure::usage)?.clone();
    let namespace = (!all_namespaces).then(|| hub.connection.namespace.clone());
    let scope = Scope { namespace, selector: None, names: asked.names };
    let objects = hub.instances(&kind.resource(), kind.namespaced, &scope).await?;
    Ok(Found { kind, kinds: all, objects })
}

/// The one instance that the words name.
///
/// # Errors
/// As [`find`], or they name none or several.
pub async fn one(hub: &Hub, words: &[String]) -> Result<(Found, Object), Failure> {
    let asked = kinds::asked(words).map_err(Failure::usage)?;
    if asked.names.len() != 1 {
        return Err(Failure::usage(format!("name one instance: {}/NAME", asked.kind)));
    }
    let found = find(hub, words, false).await?;
    match found.objects.first().cloned() {
        Some(object) => Ok((found, object)),
        None => Err(Failure::usage(format!("there is no {}/{}", asked.kind, asked.names.join(" ")))),
    }
}
