//! The files that the arguments name, and the objects in them.

use super::yaml::{self, Content, Node, Refusal};
use crate::api::Gvk;
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
/// A path cannot be read, or holds no text.
pub fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        collect(path, true, &mut names)?;
    }
    names.retain(|name| seen.insert(name.clone()));
    names.iter().map(|path| file(path)).collect()
}

fn collect(path: &Path, named: bool, out: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        out.push(path.to_owned());
        return Ok(());
    }
    let shown = path.display();
    let meta = std::fs::metadata(path).with_context(|| shown.to_string())?;
    if meta.is_file() {
        let known = path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e));
        if named || known {
            out.push(path.to_owned());
        }
        return Ok(());
    }
    if !meta.is_dir() {
        // A pipe that the shell made.
        if named {
            out.push(path.to_owned());
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
            collect(&entry.path(), false, out)?;
        }
    }
    Ok(())
}

fn file(path: &Path) -> anyhow::Result<File> {
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
        return Err(anyhow!("{name}: larger than {} MiB", MAX_BYTES >> 20));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| anyhow!("{name}: not UTF-8 at byte {}", e.utf8_error().valid_up_to()))?;
    Ok(File { name, text })
}

/// The objects of a file, those of a list each on its own, and what cannot be read.
pub fn objects(file: usize, text: &str) -> (Vec<Object>, Vec<Refusal>) {
    let (mut objects, mut refusals) = (Vec::new(), Vec::new());
    for document in documents(text) {
        match yaml::read(text, document) {
            Ok(None) => {}
            Ok(Some(node)) => split(file, text, node, 0, &mut objects, &mut refusals),
            Err(refusal) => refusals.push(*refusal),
        }
    }
    (objects, refusals)
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

fn split(
    file: usize,
    text: &str,
    node: Node,
    depth: usize,
    objects: &mut Vec<Object>,
    refusals: &mut Vec<Refusal>,
) {
    let refuse = |node: &Node, message: &str, help: &str| Refusal {
        span: node.mark(text),
        message: message.to_owned(),
        help: Some(help.to_owned()),
        related: None,
    };
    if !matches!(node.content, Content::Map(_)) {
        refusals.push(refuse(
            &node,
            "this is no Kubernetes object",
            "an object is a map with apiVersion, kind and metadata",
        ));
        return;
    }
    let string = |key: &str| node.get(key).and_then(Node::text).filter(|t| !t.is_empty());
    let (Some(api_version), Some(kind)) = (string("apiVersion"), string("kind")) else {
        let missing = if string("kind").is_none() { "kind" } else { "apiVersion" };
        let message = format!("this is no Kubernetes object: {missing} is missing");
        refusals.push(refuse(&node, &message, "an object is a map with apiVersion, kind and metadata"));
        return;
    };
    let gvk = Gvk::from_api(api_version, kind);
    if kind.ends_with("List") && node.get("items").is_some() && depth < 8 {
        for item in node.items_of("items") {
            split(file, text, item, depth + 1, objects, refusals);
        }
        return;
    }
    objects.push(Object { file, node, gvk });
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
        let (objects, refusals) = objects(0, text);
        let kinds: Vec<&str> = objects.iter().map(|o| &*o.gvk.kind).collect();
        assert_eq!(kinds, ["A", "B"]);
        let told: Vec<&str> = refusals.iter().map(|r| r.message.get(..8).unwrap()).collect();
        assert_eq!(told, ["not YAML", "this is "]);
    }
}
