//! The files that the arguments name, and the objects in them.

use super::exclude::Excluded;
use super::yaml::{self, Content, Node, Refusal};
use crate::api::Gvk;
use crate::api::keys::{hub, kro};
use crate::api::text::decode;
use anyhow::{Context, anyhow};
use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Larger files hold no definitions.
const MAX_BYTES: u64 = 64 << 20;
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

pub struct File {
    /// As the user would write it.
    pub name: String,
    pub text: String,
}

/// The files, and how many were none for us: no text, too large, a link that leads nowhere.
pub struct Files {
    pub files: Vec<File>,
    pub ignored: usize,
}

/// An object of a file.
pub struct Object {
    /// Which file.
    pub file: usize,
    pub node: Node,
    pub gvk: Gvk,
}

impl Object {
    pub fn text(&self, keys: &[&str]) -> &str {
        self.node.at(keys).and_then(Node::text).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `Kind name` or `Kind namespace/name`.
    pub fn shown(&self) -> String {
        match (self.text(&["metadata", "namespace"]), self.name()) {
            (_, "") => self.gvk.kind.to_string(),
            ("", name) => format!("{} {name}", self.gvk.kind),
            (namespace, name) => format!("{} {namespace}/{name}", self.gvk.kind),
        }
    }
}

/// Reads all files; folders with all below them, in the order of their names.
///
/// # Errors
/// A path cannot be read.
pub fn files(paths: &[PathBuf], excluded: &Excluded) -> anyhow::Result<Files> {
    let mut found = Walk { excluded, names: Vec::new(), ignored: 0 };
    for path in paths {
        found.collect(path, path)?;
    }
    let Walk { names, mut ignored, .. } = found;
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for (path, named) in names {
        if !seen.insert(path.clone()) {
            continue;
        }
        match file(&path)? {
            Ok(file) => files.push(file),
            // A tree holds what others need; who names a file means it.
            Err(why) if named => return Err(why),
            Err(_) => ignored += 1,
        }
    }
    Ok(Files { files, ignored })
}

/// Whether a folder is read down to this file below it.
pub fn is_read(path: &Path, excluded: &Excluded) -> bool {
    let known = path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e));
    let hidden = path.iter().any(|part| part.to_string_lossy().starts_with('.'));
    known && !hidden && !excluded.leaves_out(path, Path::new(""))
}

struct Walk<'e> {
    excluded: &'e Excluded,
    /// The paths, and whether an argument names each.
    names: Vec<(PathBuf, bool)>,
    ignored: usize,
}

impl Walk<'_> {
    fn collect(&mut self, path: &Path, root: &Path) -> anyhow::Result<()> {
        let named = path == root;
        if path.as_os_str() == "-" {
            self.names.push((path.to_owned(), true));
            return Ok(());
        }
        if self.excluded.leaves_out(path, root) {
            return Ok(());
        }
        let shown = path.display();
        let known = path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e));
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            // A link that leads nowhere.
            Err(_) if !named && std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) => {
                self.ignored += usize::from(known);
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| shown.to_string()),
        };
        if !meta.is_dir() {
            // What is named and no file is a pipe that the shell made.
            if named || (known && meta.is_file()) {
                self.names.push((path.to_owned(), named));
            }
            return Ok(());
        }
        let entries = std::fs::read_dir(path).with_context(|| shown.to_string())?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(|| shown.to_string())?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // A link to a folder may lead back up.
            let link = entry.file_type().is_ok_and(|t| t.is_symlink()) && entry.path().is_dir();
            if !hidden && !link {
                self.collect(&entry.path(), root)?;
            }
        }
        Ok(())
    }
}

/// The inner error: it was read, and holds nothing for us.
fn file(path: &Path) -> anyhow::Result<anyhow::Result<File>> {
    let mut bytes = Vec::new();
    let (name, read) = if path.as_os_str() == "-" {
        ("<stdin>".to_owned(), std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes))
    } else {
        let name = path.display().to_string();
        let opened = std::fs::File::open(path).with_context(|| name.clone())?;
        (name, opened.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| name.clone())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err(anyhow!("{name}: larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(match decode(&bytes) {
        Some(text) => Ok(File { name, text }),
        None => Err(anyhow!("{name}: neither UTF-8 nor UTF-16 text")),
    })
}

/// What is in a file.
#[derive(Default)]
pub struct Contents {
    /// The objects; those of a list each on its own.
    pub objects: Vec<Object>,
    pub refusals: Vec<Refused>,
    /// Documents that are no objects of Kubernetes.
    pub others: usize,
}

/// A document that cannot be read.
pub struct Refused {
    pub refusal: Refusal,
    pub document: Range<usize>,
}

pub fn objects(file: usize, text: &str) -> Contents {
    let mut found = Contents::default();
    for document in documents(text) {
        match yaml::read(text, document.clone()) {
            Ok(None) => {}
            Ok(Some(node)) => {
                Splitting { file, text, document: &document, found: &mut found }.split(node, 0);
            }
            Err(refusal) => found.refusals.push(Refused { refusal: *refusal, document }),
        }
    }
    found
}

/// A template of Helm: no YAML before `helm template` made it so. `${{` begins a map in an expression.
pub fn is_helm_template(text: &str) -> bool {
    text.match_indices("{{").any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        !matches!(before, Some('$' | '{'))
    })
}

/// Splits at the lines that begin with `---`, as kubectl does: a document that cannot be read spoils no other.
fn documents(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches('\u{feff}');
        if bare.starts_with("---") {
            out.push(start..at.max(start));
            // `--- # words` and `--- {a: 1}`: what follows belongs to the document.
            start = at + (line.len() - bare.len()) + 3;
        }
        at += line.len();
    }
    out.push(start..text.len());
    out
}

/// One document on its way into objects.
struct Splitting<'a> {
    file: usize,
    text: &'a str,
    document: &'a Range<usize>,
    found: &'a mut Contents,
}

impl Splitting<'_> {
    fn split(&mut self, node: Node, depth: usize) {
        let (file, text) = (self.file, self.text);
        // A single document may be no object at all: a tool's values, a patch, a list of packages. In a list of objects
        // every item is meant as one.
        let mut other = |message: &str, is_meant: bool| {
            if !is_meant {
                self.found.others += 1;
                return;
            }
            let refusal = Refusal {
                span: node.mark(text),
                message: message.to_owned(),
                help: Some("an object is a map with apiVersion, kind and metadata".to_owned()),
                related: None,
            };
            self.found.refusals.push(Refused { refusal, document: self.document.clone() });
        };
        if !matches!(node.content, Content::Map(_)) {
            other("this is no Kubernetes object", depth > 0);
            return;
        }
        let string = |key: &str| node.get(key).and_then(Node::text).filter(|t| !t.is_empty());
        let (Some(api_version), Some(kind)) = (string("apiVersion"), string("kind")) else {
            let missing = if string("kind").is_none() { "kind" } else { "apiVersion" };
            let message = format!("this is no Kubernetes object: {missing} is missing");
            other(&message, depth > 0 || is_ours(&node));
            return;
        };
        let gvk = Gvk::from_api(api_version, kind);
        if kind.ends_with("List") && node.get("items").is_some() && depth < 8 {
            for item in node.items_of("items") {
                self.split(item, depth + 1);
            }
            return;
        }
        if is_encrypted(&node) {
            self.found.others += 1;
            return;
        }
        self.found.objects.push(Object { file, node, gvk });
    }
}

/// One half of what names a kind is missing, and the other half names one of ours.
fn is_ours(node: &Node) -> bool {
    let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
    let group = text("apiVersion").split('/').next().unwrap_or_default();
    [kro::GROUP, hub::GROUP].contains(&group)
        || text("kind") == "ResourceGraphDefinition"
        || (node.at(&["spec", "schema"]).is_some() && node.at(&["spec", "resources"]).is_some())
}

/// sops has written over its values.
fn is_encrypted(node: &Node) -> bool {
    node.get("sops")
        .is_some_and(|sops| ["mac", "lastmodified", "version"].iter().any(|key| sops.get(key).is_some()))
}

impl Node {
    fn items_of(&self, key: &str) -> Vec<Node> {
        self.get(key).map(|list| list.items().to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_as_kubectl_does() {
        let text = "# only words\n---\napiVersion: v1\nkind: A\n--- # more\n---\na: [\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: x/v1\n  kind: B\n- 3\n";
        let Contents { objects, refusals, .. } = objects(0, text);
        let kinds: Vec<&str> = objects.iter().map(|o| &*o.gvk.kind).collect();
        assert_eq!(kinds, ["A", "B"]);
        let told: Vec<&str> = refusals.iter().map(|r| r.refusal.message.get(..8).unwrap()).collect();
        assert_eq!(told, ["not YAML", "this is "]);
    }

    #[test]
    fn templates_of_helm() {
        for (text, want) in [
            ("{{- if .Values.x }}", true),
            ("name: {{ .Release.Name }}", true),
            ("a: ${{'k': 1}}", false),
            ("a: \"${{{'k': 1}: 2}}\"", false),
            ("a: {b: 1}", false),
            ("a: ${{'k': 1}}\nb: {{ .x }}", true),
        ] {
            assert_eq!(is_helm_template(text), want, "{text}");
        }
    }

    #[test]
    fn what_others_need_is_no_mistake() {
        for (text, want) in [
            ("- op: replace\n  path: /spec\n", (0, 0, 1)),
            ("{\"name\": \"x\", \"version\": \"1.0.0\"}", (0, 0, 1)),
            ("{\n\t\"name\": \"x\",\n\t\"a\": [1]\n}\n", (0, 0, 1)),
            ("hello\n", (0, 0, 1)),
            ("# words\n---\n# more\n---\n", (0, 0, 0)),
            ("", (0, 0, 0)),
            ("kind: ResourceGraphDefinition\n", (0, 1, 0)),
            ("apiVersion: kro.run/v1alpha1\n", (0, 1, 0)),
            ("spec: {schema: {}, resources: []}\n", (0, 1, 0)),
            ("kind: Kustomization\n", (0, 0, 1)),
            ("apiVersion: v1\nkind: List\nitems: [3]\n", (0, 1, 0)),
            ("apiVersion: v1\nkind: Secret\nsops: {version: 3.9.0}\n", (0, 0, 1)),
            ("apiVersion: v1\nkind: Secret\n", (1, 0, 0)),
        ] {
            let found = objects(0, text);
            assert_eq!((found.objects.len(), found.refusals.len(), found.others), want, "{text}");
        }
    }
}
