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

/// Layers whose folders do not import each other in a circle.
const WITHOUT_CYCLES: [&str; 1] = ["hub"];

#[test]
fn no_folders_of_a_layer_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for layer in WITHOUT_CYCLES {
        let mut folders: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
        for (_, file, text) in sources().into_iter().filter(|(l, ..)| l == layer) {
            let module = module(file.strip_prefix(&root).unwrap());
            let Some(own) = module.get(1).filter(|name| root.join(layer).join(name).is_dir()) else {
                continue;
            };
            let lines: Vec<&str> = product(&text).into_iter().map(|(_, line)| line).collect();
            let used = folders.entry(own.clone()).or_default();
            for path in paths(&lines.join("\n"), &module) {
                let folder = path.get(1).filter(|f| path[0] == layer && root.join(layer).join(f).is_dir());
                if let Some(folder) = folder.filter(|f| *f != own) {
                    used.entry(folder.clone()).or_insert_with(|| file.clone());
                }
            }
        }
        assert!(folders.len() > 1, "{layer} has folders");
        assert_eq!(circle(&folders), None, "folders of src/{layer} import each other");
    }
}

#[test]
fn a_circle_of_folders_would_be_seen() {
    let module: Vec<String> = ["hub", "clusters", "entry"].map(str::to_owned).into();
    let text = "use super::super::instances::Recorded;\nuse crate::hub::{Event, definitions::{self, a}};\n\
                fn f() { super::g(); crate::api::h(); wassuper::i(); }\n";
    let joined: Vec<String> = paths(text, &module).iter().map(|path| path.join("::")).collect();
    let want = [
        "hub::instances::Recorded",
        "hub::Event",
        "hub::definitions::self",
        "hub::definitions::a",
        "hub::clusters::g",
        "api::h",
    ];
    assert_eq!(joined, want);
    let of = |edges: &[(&str, &str)]| {
        let mut folders: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
        for (from, to) in edges {
            folders.entry((*from).into()).or_default().insert((*to).into(), PathBuf::new());
        }
        circle(&folders).is_some()
    };
    assert!(of(&[("a", "b"), ("b", "c"), ("c", "a")]) && of(&[("x", "a"), ("a", "b"), ("b", "a")]));
    assert!(!of(&[("a", "b"), ("a", "c"), ("b", "c")]));
}

/// Folders that import each other in a circle, with a file of each that does it.
fn circle(folders: &BTreeMap<String, BTreeMap<String, PathBuf>>) -> Option<Vec<String>> {
    let nothing = BTreeMap::new();
    let mut left: Vec<&String> = folders.keys().collect();
    // Who imports none of those that are left is in no circle.
    loop {
        let before = left.len();
        let kept = left.clone();
        left.retain(|folder| folders.get(*folder).unwrap_or(&nothing).keys().any(|to| kept.contains(&to)));
        if left.len() == before {
            break;
        }
    }
    let told = |from: &&String| {
        let to = folders.get(*from)?.iter().find(|(to, _)| left.contains(to))?;
        Some(format!("{from} imports {}: {}", to.0, to.1.display()))
    };
    (!left.is_empty()).then(|| left.iter().filter_map(told).collect())
}

/// The names of the module that a file is, from the top.
fn module(relative: &Path) -> Vec<String> {
    let names = relative.with_extension("");
    let names = names.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
    names.filter(|name| name != "mod").collect()
}

/// What a module names by `crate::` or `super::`, from the top.
fn paths(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let text: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("crate::").into_iter().chain(text[at..].find("super::")).min() {
        let begin = at + found;
        let within_name = text[..begin].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let mut base = module.to_vec();
        let mut rest = &text[begin..];
        if let Some(after) = rest.strip_prefix("crate::") {
            (base, rest) = (Vec::new(), after);
        }
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        at = text.len() - rest.len();
        if !within_name {
            expand(rest, &base, &mut out);
        }
    }
    out
}

/// The paths of a name, or of a group of them, behind what was read of it.
fn expand(text: &str, base: &[String], out: &mut Vec<Vec<String>>) {
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    let part = group[begin..at].trim();
                    if !part.is_empty() {
                        expand(part, base, out);
                    }
                    begin = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let first = name(text);
    let mut path = base.to_vec();
    path.push(first.clone());
    match text[first.len()..].strip_prefix("::") {
        Some(rest) if rest.starts_with(|c: char| c == '{' || c.is_alphanumeric() || c == '_') => {
            expand(rest, &path, out);
        }
        _ => out.push(path),
    }
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
            Some(group) => out.extend(first_names(group)),
            None => out.push(name(after)),
        }
        rest = after;
    }
    out
}

/// The first name of each path of a group, which begins behind its brace and may hold groups itself.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut out, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && depth == 0 && !c.is_whitespace() => {
                out.push(name(&group[at..]));
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
                if line == "#[cfg(test)]" && lines.next().is_some_and(declared) {
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
