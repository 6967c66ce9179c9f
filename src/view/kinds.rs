//! What people call kinds and instances. Kinds come from the definitions alone: nobody waits for all that a hub serves.

use crate::api::rgd::{ResourceGraphDefinition, Scope};
use crate::api::{Gvk, Object};
use crate::graph;
use crate::schema::plural;
use kube::core::ApiResource;
use std::fmt::Write;

/// A kind that a definition of the hub generates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    pub definition: String,
    pub gvk: Gvk,
    pub plural: String,
    pub short_names: Vec<String>,
    pub namespaced: bool,
    /// The revision that the hub issued last.
    pub revision: i64,
}

impl Generated {
    /// `None`: it cannot be read as a definition.
    pub fn of(definition: &Object) -> Option<Self> {
        let read: ResourceGraphDefinition = serde_json::from_value(definition.0.clone()).ok()?;
        let schema = &read.spec.schema;
        Some(Self {
            definition: read.metadata.name,
            gvk: schema.gvk(),
            plural: plural::of(&schema.kind.to_lowercase()),
            short_names: schema.short_names.clone(),
            namespaced: schema.scope == Scope::Namespaced,
            revision: read.status.map_or(0, |status| status.last_issued_revision),
        })
    }

    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.gvk.group.to_string(),
            version: self.gvk.version.to_string(),
            api_version: self.gvk.api_version(),
            kind: self.gvk.kind.to_string(),
            plural: self.plural.clone(),
        }
    }

    /// `webapp`, as instances are named: `webapp/shop`.
    pub fn lower(&self) -> String {
        self.gvk.kind.to_lowercase()
    }

    /// `WebApp.kro.run`.
    pub fn full(&self) -> String {
        self.gvk.group_kind().to_string()
    }

    fn is_called(&self, name: &str) -> bool {
        let (word, group) = name.split_once('.').map_or((name, None), |(word, group)| (word, Some(group)));
        let word = word.to_lowercase();
        let own = word == self.lower() || word == self.plural || self.short_names.contains(&word);
        own && group.is_none_or(|group| *self.gvk.group == *group)
    }
}

/// The kind of this name.
///
/// # Errors
/// None or several have it: a sentence.
pub fn named<'k>(all: &'k [Generated], name: &str) -> Result<&'k Generated, String> {
    let found: Vec<&Generated> = all.iter().filter(|kind| kind.is_called(name)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(unknown(all, name)),
        several => {
            let names: Vec<String> = several.iter().map(|kind| kind.full()).collect();
            let last = names.last().map(|n| n.to_lowercase()).unwrap_or_default();
            let (_, group) = last.split_once('.').unwrap_or_default();
            Err(format!("{name:?} is {}: write {name}.{group}/NAME", names.join(" and ")))
        }
    }
}

fn unknown(all: &[Generated], name: &str) -> String {
    let mut text = format!("no definition generates {name:?}");
    let word = name.split('.').next().unwrap_or_default().to_lowercase();
    let near = all.iter().find(|kind| {
        let words = [kind.lower(), kind.plural.clone()];
        graph::suggestion(&word, words.iter().map(String::as_str)).is_some()
    });
    let _written = match near {
        Some(kind) => write!(text, "; did you mean {} ({})?", kind.plural, kind.full()),
        None if all.is_empty() => write!(text, "; the hub has no definitions yet"),
        None => {
            let names: Vec<&str> = all.iter().map(|kind| kind.plural.as_str()).collect();
            write!(text, "; there are: {}", names.join(", "))
        }
    };
    text
}

/// A kind and what names of it, as the command line says them: `KIND NAME…`, `KIND/NAME`, `KIND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: String,
    pub names: Vec<String>,
}

/// # Errors
/// The words are no instance: a sentence.
pub fn asked(words: &[String]) -> Result<Asked, String> {
    let Some((first, rest)) = words.split_first() else { return Err("name a kind".into()) };
    if let Some((kind, name)) = first.split_once('/') {
        let mut names = vec![name.to_owned()];
        for word in rest {
            match word.split_once('/') {
                Some((other, name)) if other == kind => names.push(name.to_owned()),
                _ => return Err(format!("{word:?}: after {first} write {kind}/NAME")),
            }
        }
        if kind.is_empty() || names.iter().any(String::is_empty) {
            return Err(format!("{first:?} is no KIND/NAME"));
        }
        return Ok(Asked { kind: kind.to_owned(), names });
    }
    if let Some(word) = rest.iter().find(|word| word.contains('/')) {
        return Err(format!("{word:?}: write KIND NAME, or KIND/NAME"));
    }
    Ok(Asked { kind: first.clone(), names: rest.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(definition: &str, group: &str, kind: &str, short: &[&str]) -> Generated {
        let object = json!({"metadata": {"name": definition},
            "spec": {"schema": {"group": group, "kind": kind, "apiVersion": "v1", "shortNames": short}}});
        Generated::of(&Object(object)).unwrap()
    }

    fn check(name: &str, expect: &str) {
        let all = [
            kind("webapp", "kro.run", "WebApp", &["wa"]),
            kind("a", "kro.run", "App", &[]),
            kind("b", "shop.io", "App", &[]),
        ];
        let got = named(&all, name).map_or_else(|why| why, Generated::full);
        assert_eq!(got, expect);
    }

    #[test]
    fn kinds_are_called_as_kubectl_calls_them() {
        for name in ["webapp", "WebApp", "webapps", "wa", "webapps.kro.run", "WebApp.kro.run"] {
            check(name, "WebApp.kro.run");
        }
        check("app.shop.io", "App.shop.io");
        check("webap", "no definition generates \"webap\"; did you mean webapps (WebApp.kro.run)?");
        check("apps", "\"apps\" is App.kro.run and App.shop.io: write apps.shop.io/NAME");
        check("databases", "no definition generates \"databases\"; there are: webapps, apps, apps");
    }

    #[test]
    fn instances_are_named_in_two_ways() {
        let words = |text: &str| asked(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let ok = |kind: &str, names: &[&str]| {
            Ok(Asked { kind: kind.into(), names: names.iter().map(|n| (*n).to_owned()).collect() })
        };
        assert_eq!(words("webapp"), ok("webapp", &[]));
        assert_eq!(words("webapp a b"), ok("webapp", &["a", "b"]));
        assert_eq!(words("webapp/a"), ok("webapp", &["a"]));
        assert_eq!(words("webapp/a webapp/b"), ok("webapp", &["a", "b"]));
        for wrong in ["webapp/", "/a", "webapp a/b", "webapp/a b", "webapp/a other/b"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
