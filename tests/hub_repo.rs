//! The repository that users copy is sound, and `kro-hub diff` says of a change in it what its page shows.

#![allow(clippy::unwrap_used)] // What cannot be had fails the test.

use super::binary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn kro_hub(folder: &Path, args: &[&str]) -> (i32, String) {
    let said = binary::run_in(folder, args, b"");
    (said.code, said.out + &said.err)
}

#[test]
fn the_repository_is_sound_and_its_printed_files_are_what_is_printed() {
    let folder = root().join("examples/hub-repo");
    let (code, said) = kro_hub(&folder, &["validate", "."]);
    assert!(code == 0 && said.contains("0 errors, 0 warnings"), "{said}");
    assert!(said.contains("1 definition, 2 instances, 3 clusters"), "{said}");
    for (file, args) in [
        ("hub/roles.yaml", ["rbac", "definitions", "--for", "hub"].as_slice()),
        ("argocd/argocd-cm.yaml", &["argocd", "definitions"]),
    ] {
        let (code, printed) = kro_hub(&folder, args);
        assert_eq!(code, 0, "{printed}");
        if std::env::var_os("KRO_HUB_GOLDEN").is_some() {
            fs::write(folder.join(file), &printed).unwrap();
        }
        assert_eq!(
            fs::read_to_string(folder.join(file)).unwrap_or_default(),
            printed,
            "{file}; see KRO_HUB_GOLDEN"
        );
    }
}

/// What `facts.yaml` is there for: no API server serves its kind, so nobody may apply it.
#[test]
fn what_is_applied_of_the_clusters_is_all_but_the_facts() {
    let folder = root().join("examples/hub-repo/clusters");
    let listed: serde_json::Value =
        serde_saphyr::from_str(&fs::read_to_string(folder.join("kustomization.yaml")).unwrap()).unwrap();
    let mut listed: Vec<String> =
        listed["resources"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect();
    listed.sort();
    let names = |of: &Path| -> Vec<String> {
        let all = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
        let files = all.filter(|path| path.is_file());
        files.map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect()
    };
    let mut there = [names(&folder), names(&folder.join("secrets"))].concat();
    there.retain(|name| !["facts.yaml", "kustomization.yaml"].contains(&name.as_str()));
    there.sort();
    assert_eq!(listed, there);
}

/// A copy of the repository, under git, and gone at the end.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Copy {
    fn new(name: &str) -> Self {
        let to = std::env::temp_dir().join(format!("kro-hub-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&to);
        copy(&root().join("examples/hub-repo"), &to);
        let copy = Self(to);
        copy.git(&["init", "-q", "-b", "main"]);
        copy.commit();
        copy
    }

    fn git(&self, args: &[&str]) {
        let done = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"])
            .args(args)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "a change"]);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn diff(&self, args: &[&str]) -> (i32, String) {
        kro_hub(&self.0, &[&["diff"], args].concat())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn a_change_is_shown_as_on_its_page() {
    let repository = Copy::new("diff-page");
    assert_eq!(repository.diff(&["HEAD", "."]).0, 0);
    repository.edit("instances/shop/storefront.yaml", "1.4.0", "1.5.0");
    repository.edit("definitions/website.yaml", "labels: {app:", "labels: {tier: web, app:");
    let (code, said) = repository.diff(&["HEAD", "."]);
    assert_eq!(code, 2, "{said}");
    let page = fs::read_to_string(root().join("docs/cli/diff.md")).unwrap();
    let shown = format!("```\n$ kro-hub diff origin/main .\n{said}```\n");
    assert!(page.contains(&shown), "docs/cli/diff.md does not show\n{shown}");
}

#[test]
fn revisions_and_mistakes() {
    let repository = Copy::new("diff-revisions");
    repository.edit("instances/shop/storefront.yaml", "1.4.0", "1.5.0");
    repository.commit();
    fs::remove_file(repository.0.join("instances/blog/blog.yaml")).unwrap();
    // Between two commits, what is in the work tree does not matter.
    let (code, said) = repository.diff(&["HEAD~1", "HEAD", "."]);
    assert!(code == 2 && said.contains("1.5.0") && !said.contains("blog"), "{said}");
    let (code, said) = repository.diff(&["HEAD", "."]);
    assert!(code == 2 && said.contains("Website blog/blog   deleted") && !said.contains("1.5.0"), "{said}");
    let (code, said) = repository.diff(&["HEAD~1", "HEAD", "instances"]);
    assert!(code == 0, "a folder without definitions has no instances: {said}");
    let (code, said) = repository.diff(&["HEAD~1", "HEAD", ".", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, document["kind"].as_str()), (2, Some("Diff")));
    assert!(document["spec"]["from"].as_str().unwrap().starts_with("HEAD~1 ("), "{document}");
    let (code, said) =
        repository.diff(&["HEAD~1", "HEAD", ".", "-o", "markdown", "--clusters", "tier=stage"]);
    assert!(code == 2 && said.starts_with("<!-- kro-hub diff -->\n") && !said.contains("prod"), "{said}");

    for (args, want) in [
        (["no-such-branch", "."].as_slice(), "error: . has no revision \"no-such-branch\""),
        (&["--output=text", "--", "-x", "."], "error: . has no revision \"-x\""),
        (&["HEAD", "no-such-folder"], "error: no-such-folder is no folder"),
        (&["HEAD", "/"], "error: / is in no git repository"),
        (&["HEAD", ".", "--clusters", "prod-eu-7"], "error: --clusters: there is no cluster \"prod-eu-7\""),
        (&["HEAD", ".", "--facts", "nothing.yaml"], "error: nothing.yaml: "),
        (&["HEAD"], "error: "),
    ] {
        let (code, said) = repository.diff(args);
        assert!(code == 1 && said.starts_with(want), "{args:?}: {code} {said}");
    }
    repository.edit("definitions/website.yaml", "schema.spec.title", "schema.spec.titel");
    let (code, said) = repository.diff(&["HEAD", "."]);
    assert!(code == 1 && said.contains("titel"), "an error of the later revision ends it: {said}");
}

/// What `example` prints is what `validate` takes, beside the definition.
#[test]
fn examples_of_definitions_are_valid() {
    for folder in [
        "examples/hello",
        "examples/webapp",
        "examples/hub-repo/definitions",
        "examples/gitops/fleet/definitions",
    ] {
        let folder = root().join(folder);
        let own = folder.join("crds.yaml").exists();
        let schemas: &[&str] = if own { &["--schemas", "crds.yaml"] } else { &[] };
        let (code, printed) = kro_hub(&folder, &[&["example", "."], schemas].concat());
        assert_eq!(code, 0, "{printed}");
        let said = binary::run_in(
            &folder,
            &[&["validate", "-", "."], schemas, &["--exclude", "instance.yaml"]].concat(),
            printed.as_bytes(),
        );
        assert!(said.code == 0 && said.out.contains("1 instance"), "{}{}\n{printed}", said.out, said.err);
    }
    let (code, said) = kro_hub(&root(), &["example", "examples/fleet"]);
    assert_eq!((code, said.as_str()), (1, "error: there is no ResourceGraphDefinition\n"));
}
