//! What every example becomes: the CRD, the graph, and what is said of a slip in it. `KRO_HUB_GOLDEN=write` writes the
//! files anew; the difference is for the reader of the change to judge.

#![allow(clippy::unwrap_used)] // What cannot be had fails the test.

use super::binary;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Both streams of a run over an example's folder, `input` at its standard input.
fn run(folder: &str, args: &[&str], input: &str) -> String {
    let said = binary::run_in(&root().join("examples").join(folder), args, input.as_bytes());
    said.out + &said.err
}

fn check(folder: &str, name: &str, got: &str) {
    let path = root().join("tests/golden").join(folder).join(name);
    if std::env::var_os("KRO_HUB_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(path, got).unwrap();
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(got == want, "{} differs; see KRO_HUB_GOLDEN\n{got}", path.display());
}

fn examples() -> Vec<String> {
    let folders = fs::read_dir(root().join("examples")).unwrap().map(|f| f.unwrap().path());
    let with_definition = folders.filter(|f| f.join("rgd.yaml").exists());
    let mut names: Vec<String> =
        with_definition.map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    assert!(names.len() > 1, "{names:?}");
    names
}

/// The flag for the example's own kinds, if it has any.
fn schemas(folder: &str) -> Vec<&'static str> {
    let own = Path::new("examples").join(folder).join("crds.yaml");
    if root().join(own).exists() { vec!["--schemas", "crds.yaml"] } else { Vec::new() }
}

#[test]
fn crds_and_graphs_of_the_examples() {
    for folder in examples() {
        let with = |args: &[&'static str]| [args, &schemas(&folder)].concat();
        check(&folder, "crd.yaml", &run(&folder, &with(&["crd", "rgd.yaml"]), ""));
        check(&folder, "graph.mmd", &run(&folder, &with(&["graph", "rgd.yaml"]), ""));
    }
}

#[test]
fn the_hub_repository_is_sound() {
    let said = binary::run_in(
        &root().join("examples/gitops"),
        &["validate", "fleet", "rollout", "flux", "argocd"],
        b"",
    );
    assert!(said.code == 0 && said.out.contains("0 errors, 0 warnings"), "{}{}", said.out, said.err);
    assert!(said.out.contains("3 instances, 2 clusters"), "{}", said.out);
}

#[test]
fn slips_in_the_examples_are_shown_in_their_place() {
    for folder in examples() {
        let definition = fs::read_to_string(root().join("examples").join(&folder).join("rgd.yaml")).unwrap();
        let slips = [
            ("field", definition.replacen("schema.spec.", "schema.spce.", 1)),
            (
                "type",
                definition.replacen(
                    "replicas: '${schema.spec.replicas}'",
                    "replicas: '${schema.metadata.name}'",
                    1,
                ),
            ),
            ("key", definition.replacen("metadata:\n        name:", "metadata:\n        nmae:", 1)),
        ];
        for (name, text) in slips {
            if text != definition {
                let args = [&["validate", "-"], schemas(&folder).as_slice()].concat();
                check(&folder, &format!("{name}.txt"), &run(&folder, &args, &text));
            }
        }
    }
}
