//! What deploy/ says is what the binary says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Regenerate with `kro-hub crds`; docs/operations.md has the line.
#[test]
fn the_crds_in_deploy_are_those_that_the_binary_prints() {
    let folder = deploy().join("crds");
    let mut expected: Vec<String> = Vec::new();
    for crd in printed_crds() {
        let name = crd.lines().find_map(|l| l.strip_prefix("  name: ")).expect("a CRD has a name");
        let path = folder.join(format!("{name}.yaml"));
        let live = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(live == crd, "{} differs from what `kro-hub crds` prints; write it anew", path.display());
        expected.push(format!("{name}.yaml"));
    }
    expected.sort();
    let mut found: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    found.sort();
    assert_eq!(found, expected, "files in deploy/crds");
    let list = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
    for name in &expected {
        assert!(list.contains(&format!("- {name}\n")), "deploy/crds/kustomization.yaml does not list {name}");
    }
}

/// Links do not survive every way that a repository travels, so the chart has copies.
#[test]
fn the_chart_has_what_it_shares_with_the_manifests() {
    let files = |folder: &str, suffix: &str| -> Vec<PathBuf> {
        let found = fs::read_dir(deploy().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
    };
    let crds = files("crds", ".kro.run.yaml");
    assert_eq!(files("chart/files/crds", "").len(), crds.len(), "deploy/chart/files/crds; `make chart`");
    let crds = crds.into_iter().map(|path| (path, "chart/files/crds"));
    let roles = ["cluster-role.yaml", "user-roles.yaml"];
    let roles = roles.map(|name| (deploy().join("base").join(name), "chart/files"));
    for (path, folder) in crds.chain(roles) {
        let copy = deploy().join(folder).join(path.file_name().unwrap());
        let text =
            |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(text(&path) == text(&copy), "{} is not {}; `make chart`", copy.display(), path.display());
    }
}

/// A flag that the Deployment sets by an environment variable must exist, or it would be ignored in silence.
#[test]
fn the_deployment_sets_variables_that_the_binary_reads() {
    let help = run(&["controller", "--help"]);
    let text = fs::read_to_string(deploy().join("base/deployment.yaml")).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("- name: KRO_HUB_")).collect();
    assert!(!names.is_empty(), "the Deployment was read");
    for name in names {
        assert!(help.contains(&format!("[env: KRO_HUB_{name}=")), "no flag reads KRO_HUB_{name}");
    }
}

/// A flag that nobody finds is of no use.
#[test]
fn the_operations_page_names_every_flag() {
    let help = run(&["controller", "--help"]);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|l| l.split_whitespace().find(|word| word.starts_with("--")))
        .filter(|flag| *flag != "--help")
        .collect();
    assert!(flags.len() > 10, "the help was read");
    let missing: Vec<&&str> = flags.iter().filter(|flag| !page.contains(&format!("`{flag}`"))).collect();
    assert!(missing.is_empty(), "docs/operations.md does not name {missing:?}");
    let variables = help.lines().filter_map(|l| l.trim().strip_prefix("[env: KRO_HUB_")?.split('=').next());
    let missing: Vec<&str> = variables.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/operations.md does not name KRO_HUB_{missing:?}");
}

#[test]
fn the_page_of_the_webhook_and_the_chart_know_its_flags() {
    let help = run(&["webhook", "--help"]);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli/webhook.md")).unwrap();
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|l| l.split_whitespace().find(|word| word.starts_with("--")))
        .filter(|flag| *flag != "--help")
        .collect();
    assert!(flags.len() > 10, "the help was read");
    let missing: Vec<&&str> = flags.iter().filter(|flag| !page.contains(&format!("`{flag}`"))).collect();
    assert!(missing.is_empty(), "docs/cli/webhook.md does not name {missing:?}");

    let template = fs::read_to_string(deploy().join("chart/templates/webhook.yaml")).unwrap();
    let given: Vec<&str> =
        template.lines().filter_map(|l| l.trim().strip_prefix("- --")?.split('=').next()).collect();
    assert!(given.len() > 5, "the template was read");
    for flag in given {
        assert!(flags.contains(&format!("--{flag}").as_str()), "the webhook has no flag --{flag}");
    }
    for name in template.lines().filter_map(|l| l.trim().strip_prefix("- name: KRO_HUB_")) {
        assert!(help.contains(&format!("[env: KRO_HUB_{name}=")), "no flag reads KRO_HUB_{name}");
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn printed_crds() -> Vec<String> {
    let all = run(&["crds"]);
    all.split("---\n").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[allow(clippy::unwrap_used)] // A test helper: what fails, fails the test.
fn run(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kro-hub"));
    // Values set where the tests run would show in the help.
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("KRO_HUB_")) {
        command.env_remove(key);
    }
    let out = command.args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
