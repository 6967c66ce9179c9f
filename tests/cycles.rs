//! Folders of one layer that import each other are one room with two doors: each is read only with the other.

use super::layering::{code, entries, name, product, sources};
use std::collections::{BTreeMap, BTreeSet};

/// Layers in which no circle of imports goes through two folders.
const LAYERS: [&str; 2] = ["reconcile", "spoke"];
/// Layers of which the folders do not import each other in a circle. What stands above them knows all of them and is known by
/// all: of the hub, the events and the context.
const LAYERS_BELOW: [&str; 1] = ["hub"];

type Module = Vec<String>;

#[test]
fn no_circle_of_imports_goes_through_two_folders() {
    let texts = modules(&LAYERS);
    let imports: BTreeMap<&Module, BTreeSet<Module>> = texts
        .iter()
        .map(|(module, text)| (module, imported(module, text, |path| texts.contains_key(path))))
        .collect();
    let folder = |module: &Module| {
        let has_children =
            texts.keys().any(|other| other.split_last().is_some_and(|(_, above)| above == *module));
        if has_children { module.clone() } else { module[..module.len() - 1].to_vec() }
    };
    let reaches: BTreeMap<&Module, BTreeSet<Module>> =
        imports.keys().map(|module| (*module, reached(module, &imports))).collect();
    let mut bad = Vec::new();
    for (module, direct) in &imports {
        for other in direct.iter().filter(|other| folder(other) != folder(module)) {
            if reaches.get(other).is_some_and(|back| back.contains(*module)) {
                bad.push(format!(
                    "{} imports {}, and by others the reverse",
                    module.join("::"),
                    other.join("::")
                ));
            }
        }
    }
    assert!(imports.len() > 30 && bad.is_empty(), "{} modules\n{}", imports.len(), bad.join("\n"));
}

#[test]
fn no_folders_of_a_layer_import_each_other_in_a_circle() {
    let texts = modules(&LAYERS_BELOW);
    let folder = |module: &Module| {
        let folder = module.get(..2)?.to_vec();
        texts.keys().any(|other| other.len() > 2 && other.starts_with(&folder)).then_some(folder)
    };
    let mut imports: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, text) in &texts {
        let Some(own) = folder(module) else { continue };
        let used = imported(module, text, |path| texts.contains_key(path));
        let others = used.iter().filter_map(folder).filter(|other| *other != own);
        imports.entry(own.clone()).or_default().extend(others);
    }
    let imports: BTreeMap<&Module, BTreeSet<Module>> =
        imports.iter().map(|(from, to)| (from, to.clone())).collect();
    let circles: Vec<String> = imports
        .keys()
        .filter(|folder| reached(folder, &imports).contains(**folder))
        .map(|folder| format!("{} imports {:?}", folder.join("::"), imports[folder]))
        .collect();
    assert!(imports.len() > 2 && circles.is_empty(), "{} folders\n{}", imports.len(), circles.join("\n"));
}

#[test]
fn a_circle_would_be_seen() {
    let known = |path: &[String]| ["a", "a::b", "a::c"].contains(&path.join("::").as_str());
    let module = |text: &str| text.split("::").map(str::to_owned).collect::<Module>();
    let found = |text: &str| {
        imported(&module("a::b"), text, known).into_iter().map(|m| m.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::a::{c::{X, Y}, Z};"), ["a", "a::c"]);
    assert_eq!(found("use super::{\n    c::X,\n};"), ["a::c"]);
    assert_eq!(found("fn f() { super::c::g() } // crate::a::X"), ["a::c"]);
    assert_eq!(found("use self::X;\nmod d;"), [""; 0]);
}

/// All that a module imports, directly or by others.
fn reached(from: &Module, imports: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = next.pop() {
        for other in imports.get(&module).into_iter().flatten() {
            if seen.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    seen
}

/// The product's modules of these layers, with their code.
fn modules(layers: &[&str]) -> BTreeMap<Module, String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of = |path: &std::path::Path| {
        let path = path.strip_prefix(&root).unwrap_or(path).with_extension("");
        let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        module
    };
    let own = sources().into_iter().filter(|(layer, ..)| layers.contains(&layer.as_str()));
    own.map(|(_, path, text)| {
        let lines = product(&text).into_iter().map(|(_, line)| format!("{}\n", code(line)));
        (of(&path), lines.collect())
    })
    .collect()
}

/// The modules that a module names by `crate::` or `super::`, as far as they are `known`.
fn imported(module: &Module, text: &str, known: impl Fn(&[String]) -> bool) -> BTreeSet<Module> {
    let mut out = BTreeSet::new();
    let text: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            // The rest of `super::super::` is no path of its own.
            if text[..at].ends_with("::") {
                continue;
            }
            let mut base = if start == "super::" { module.clone() } else { Vec::new() };
            let mut rest = &text[at..];
            while let Some(above) = rest.strip_prefix("super::") {
                base.pop();
                rest = above;
            }
            paths(&base, rest.strip_prefix("crate::").unwrap_or(rest), &mut out);
        }
    }
    let longest = |path: Module| (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|path| known(path));
    out.into_iter().filter_map(longest).filter(|found| found != module).collect()
}

/// The paths that a text begins with, below a base; groups in braces name many.
fn paths(base: &Module, text: &str, out: &mut BTreeSet<Module>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return entries(group).into_iter().for_each(|entry| paths(base, entry, out));
    }
    let first = name(text);
    let below = [base.clone(), vec![first.clone()]].concat();
    match text[first.len()..].strip_prefix("::") {
        Some(rest) => paths(&below, rest, out),
        None => drop(out.insert(below)),
    }
}
