//! The layers of docs/architecture.md hold: imports point only downwards, and the lower layers do no I/O and know no clock.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may import from this crate, besides itself.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("api", &[]),
    ("metrics", &[]),
    ("cel", &["api"]),
    ("schema", &["api"]),
    ("graph", &["api", "cel", "schema"]),
    ("reconcile", &["api", "cel", "schema", "graph"]),
    ("spoke", &["api", "schema", "graph", "reconcile", "metrics"]),
    ("hub", &["api", "schema", "graph", "reconcile", "spoke", "metrics"]),
    ("cli", &["api", "cel", "schema", "graph", "reconcile", "spoke", "hub", "metrics"]),
    ("main", &["cli"]),
];

/// Layers without I/O, clock or threads.
const PURE: [&str; 5] = ["api", "cel", "schema", "graph", "reconcile"];
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
fn the_lower_layers_do_no_io_and_know_no_clock() {
    let mut bad = Vec::new();
    for (layer, file, text) in sources() {
        if !PURE.contains(&layer.as_str()) {
            continue;
        }
        // Tests inside may read files and clocks.
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            for word in IMPURE {
                if code(line).contains(word) {
                    bad.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn an_upward_import_would_be_seen() {
    let text = "use crate::hub::run;\nfn f() { crate::spoke::actor::start(); }\n// crate::cli is only named\nuse crate::{api, graph::Graph};";
    assert_eq!(imports(text), ["hub", "spoke", "api", "graph"]);
}

/// The line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The top-level modules that a source names by `crate::`.
fn imports(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut rest = code(line);
        while let Some((_, after)) = rest.split_once("crate::") {
            if let Some(group) = after.strip_prefix('{') {
                let inner = group.split('}').next().unwrap_or_default();
                let names = inner.split(',').map(|p| p.trim().split("::").next().unwrap_or_default());
                out.extend(names.filter(|n| !n.is_empty()).map(str::to_owned));
            } else {
                let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                out.push(name);
            }
            rest = after;
        }
    }
    out
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
                if line == "#[cfg(test)]" && lines.next() == Some(&format!("mod {name};")) {
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
fn sources() -> Vec<(String, PathBuf, String)> {
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
