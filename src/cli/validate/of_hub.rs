//! The definitions of a hub, read from it and judged by what it serves.

use super::Judged;
use super::check::{self, Judge, Read};
use super::kinds::Known;
use super::source::{self, File, Object, Refused};
use crate::api::rgd::{Metadata, ResourceGraphDefinition, RgdSpec};
use crate::graph::{self, Graph};
use crate::schema::openapi::{self, Document};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a hub has.
pub struct OfHub {
    /// The definitions as they are now.
    pub judged: Judged,
    /// Older revisions that some cluster may run by, with their numbers.
    pub older: Vec<(i64, Graph)>,
    /// Revisions that do not compile any more: the definition, the number and the first problem.
    pub unfit: Vec<(String, i64, String)>,
}

/// What was read of a hub.
pub struct Definitions {
    files: Vec<File>,
    objects: Vec<Object>,
    refusals: Vec<(usize, Refused)>,
    snapshots: Vec<(i64, ResourceGraphDefinition)>,
}

impl Definitions {
    /// Of definitions and GraphRevisions as an API server shows them.
    ///
    /// # Errors
    /// One cannot be written as text.
    pub fn read(definitions: Vec<Value>, revisions: &[Value]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for mut definition in definitions {
            let name = text(&definition, "/metadata/name").to_owned();
            if let Some(fields) = definition.as_object_mut() {
                fields.remove("status");
                fields.insert("apiVersion".into(), "kro.run/v1alpha1".into());
                fields.insert("kind".into(), "ResourceGraphDefinition".into());
            }
            if let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            // As YAML, so that findings name lines that people can read.
            files.push(File {
                name: format!("ResourceGraphDefinition {name}"),
                text: serde_saphyr::to_string(&definition)?,
            });
        }
        let mut objects = Vec::new();
        let mut refusals = Vec::new();
        for (position, file) in files.iter().enumerate() {
            let found = source::objects(position, &file.text);
            objects.extend(found.objects);
            refusals.extend(found.refusals.into_iter().map(|r| (position, r)));
        }
        Ok(Self { files, objects, refusals, snapshots: revisions.iter().filter_map(snapshot).collect() })
    }

    /// The texts, the objects in them, and what cannot be read.
    pub fn parts(self) -> (Vec<File>, Vec<Object>, Vec<(usize, Refused)>) {
        (self.files, self.objects, self.refusals)
    }

    /// The documents that hold the kinds which they name.
    pub fn documents(&self) -> BTreeSet<String> {
        let mut kinds = check::named_kinds(&self.objects);
        kinds.extend(self.snapshots.iter().flat_map(|(_, rgd)| graph::kinds_named_by(rgd)));
        kinds.iter().map(openapi::document_of).collect()
    }

    /// Judges them by the kinds in these documents.
    ///
    /// # Errors
    /// The built-in kinds are broken.
    pub fn judge(self, documents: Vec<Document>, omit: bool) -> anyhow::Result<OfHub> {
        let Self { files, objects, refusals, snapshots } = self;
        // A kind that only spokes serve is believed, as the controller believes it.
        let known = Known::new(documents, false, true)?;
        let options = graph::Options { omit, ..graph::Options::default() };
        let read = Read { files: &files, objects: &objects, refusals, ignored: 0 };
        let checked = check::check(read, known, &Judge { options: options.clone(), portable: false });
        let judged = Judged { files, objects, checked };

        let present: BTreeSet<String> = judged.definitions().iter().map(|(_, g)| g.hash.clone()).collect();
        let (mut older, mut unfit) = (Vec::new(), Vec::new());
        for (number, rgd) in
            snapshots.into_iter().filter(|(_, rgd)| !present.contains(&graph::spec_hash(&rgd.spec)))
        {
            match graph::compile(&rgd, &options, &judged.checked.known) {
                Ok(graph) => older.push((number, graph)),
                Err(problems) => {
                    let first = problems.first().map(ToString::to_string).unwrap_or_default();
                    unfit.push((rgd.metadata.name, number, first));
                }
            }
        }
        Ok(OfHub { judged, older, unfit })
    }
}

/// The definition that a revision keeps, and its number.
fn snapshot(revision: &Value) -> Option<(i64, ResourceGraphDefinition)> {
    let kept = revision.pointer("/spec/snapshot")?;
    let spec: RgdSpec = serde_json::from_value(kept.get("spec")?.clone()).ok()?;
    let annotations = revision.pointer("/metadata/annotations").cloned().unwrap_or_default();
    let metadata = Metadata {
        name: kept.get("name")?.as_str()?.to_owned(),
        annotations: serde_json::from_value(annotations).unwrap_or_default(),
        ..Metadata::default()
    };
    let number = revision.pointer("/spec/revision").and_then(Value::as_i64)?;
    Some((number, ResourceGraphDefinition { metadata, spec, status: None }))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
