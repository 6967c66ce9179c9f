//! The layers of docs/architecture.md hold: imports point only downwards, and the lower layers do no I/O and know no clock.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may import from this crate, besides itself.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    ("api", &[]),
    ("metrics", &[]),
    ("cel", &["api"]),
    ("schema", &["api"]),
    ("graph", &["api", "cel", "schema"]),
    ("access", &["api", "schema", "graph"]),
    ("reconcile", &["api", "cel", "schema", "graph"]),
    ("spoke", &["api", "schema", "graph", "reconcile", "metrics"]),
    ("hub", &["api", "schema", "graph", "reconcile", "spoke", "metrics"]),
    ("view", &["api", "cel", "schema", "graph", "reconcile"]),
    ("edge", &["api", "cel", "schema", "graph", "access", "reconcile", "spoke", "hub", "view", "metrics"]),
    ("webhook", &["api", "schema", "graph", "spoke", "hub", "metrics"]),
    (
        "cli",
        &[
            "api",
            "cel",
            "schema",
            "graph",
            "access",
            "reconcile",
            "spoke",
            "hub",
            "view",
            "edge",
            "webhook",
            "metrics",
        ],
    ),
    ("main", &["cli"]),
    // For tests alone.
    ("fuzzing", &["api", "reconcile", "spoke", "hub", "cli"]),
];

/// Layers without I/O, clock or threads.
const PURE: [&str; 7] = ["api", "cel", "schema", "graph", "access", "reconcile", "view"];
const IMPURE: [&str; 16] = [
    "tokio",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "kube::Client",
    "kube::Api",
    "kube::runtime",
    "hyper",
];

/// Only this layer knows the expression engine.
const ENGINE: &str = "cel";

/// Only this file knows the crate `dashmap`: what borrows from it is a lock, and no lint sees one held over an await.
const SHARED: &str = "spoke/shared_map.rs";

#[test]
fn imports_point_only_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into();
    let mut bad = Vec::new();
    for (layer, file, text) in sources() {
        let may = allowed
            .get(layer.as_str())
            .unwrap_or_else(|| panic!("{layer} is no known layer; add it to the table"));
        for used in imports(&text) {
            let known = allowed.contains_key(used.as_str());
            if known && used != layer && !may.contains(&used.as_str()) {
                bad.push(format!("{}: {layer} imports {used}", file.display()));
            }
        }
        if layer != ENGINE
            && text.lines().any(|l| code(l).contains("use cel::") || code(l).contains(" cel::Value"))
        {
            bad.push(format!("{}: only src/cel may use the crate `cel`", file.display()));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn one_file_knows_the_maps_whose_entries_are_locks() {
    let knows = |text: &str| text.lines().any(|line| code(line).contains("dashmap"));
    let files: Vec<PathBuf> =
        sources().into_iter().filter(|(_, _, text)| knows(text)).map(|(_, file, _)| file).collect();
    assert!(matches!(files.as_slice(), [one] if one.ends_with(SHARED)), "{files:?}");
}

#[test]
fn the_lower_layers_do_no_io_and_know_no_clock() {
    let mut bad = Vec::new();
    for (layer, file, text) in sources() {
        if !PURE.contains(&layer.as_str()) {
            continue;
        }
        for (number, line) in product(&text) {
            for word in IMPURE {
                if code(line).contains(word) {
                    bad.push(format!("{}:{number}: {word}", file.display()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn an_upward_import_would_be_seen() {
    let text = "use crate::hub::run;\nfn f() { crate::spoke::actor::start(); }\n// crate::cli is only named\n\
                use crate::{api, graph::{Graph, pass::Pass},\n    metrics::{self, Metrics}, hub::{a::{b}, c}, cli};\n";
    assert_eq!(imports(text), ["hub", "spoke", "api", "graph", "metrics", "hub", "cli"]);
}

#[test]
fn what_follows_a_test_module_is_seen() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if c { } }\n}\nfn d() {}\n#[cfg(test)]\nmod far;\n\
                #[cfg(test)]\nuse e;\nfn f() {}\n";
    let seen: Vec<_> = product(text).into_iter().collect();
    assert_eq!(seen, [(1, "fn a() {}"), (6, "fn d() {}"), (11, "fn f() {}")]);
}

/// The lines that are compiled for the product, with their numbers from one: tests inside may read files and clocks. The
/// sources are formatted, so an item ends where a line stands as far to the left as it began.
pub(super) fn product(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            out.push((number + 1, line));
            continue;
        }
        let left = line.len() - line.trim_start().len();
        let is_end = |line: &str| {
            let at = line.len() - line.trim_start().len();
            at == left
                && !line.trim().is_empty()
                && (line.ends_with('}') || line.ends_with(';') || line.ends_with(','))
        };
        // More attributes may stand before the item.
        for (_, line) in lines.by_ref() {
            if is_end(line) {
                break;
            }
        }
    }
    out
}

/// The line without its comment.
pub(super) fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The top-level modules that a source names by `crate::`.
fn imports(text: &str) -> Vec<String> {
    let text: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
    let mut out = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("crate::") {
        match after.strip_prefix('{') {
            Some(group) => out.extend(entries(group).into_iter().map(name)),
            None => out.push(name(after)),
        }
        rest = after;
    }
    out
}

/// Where each path of a group begins, which begins behind its brace and may hold groups itself.
pub(super) fn entries(group: &str) -> Vec<&str> {
    let (mut depth, mut out, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && depth == 0 && !c.is_whitespace() => {
                out.push(&group[at..]);
                begins = false;
            }
            _ => {}
        }
    }
    out
}

pub(super) fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Files that are compiled for tests alone: declared under `#[cfg(test)]` by the module above them.
fn is_test_only(relative: &Path) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut path = relative.to_owned();
    while let Some(folder) = path.parent().map(Path::to_owned) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let above = [root.join(&folder).join("mod.rs"), root.join(&folder).with_extension("rs")];
        for text in above.iter().filter_map(|p| fs::read_to_string(p).ok()) {
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                let declared = |line: &str| line.ends_with(&format!("mod {name};"));
                // More attributes may stand before the module.
                if line == "#[cfg(test)]" && lines.find(|line| !line.starts_with("#[")).is_some_and(declared)
                {
                    return true;
                }
            }
        }
        path = folder;
    }
    false
}

/// Layer, path and text of every source file.
#[allow(clippy::unwrap_used)] // A test helper: what cannot be read fails the test.
pub(super) fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(&root).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
                let layer = first.trim_end_matches(".rs").to_owned();
                if layer != "lib" && !is_test_only(relative) {
                    out.push((layer, path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    assert!(out.len() > 30, "the sources were found");
    out
}
