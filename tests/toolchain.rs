//! The Rust that is promised is one that builds this.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Major and minor of a version.
#[allow(clippy::unwrap_used, clippy::panic)] // A test helper: what is no version fails the test.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("no version: {text}")));
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn the_least_rust_is_the_same_wherever_it_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let least = env!("CARGO_PKG_RUST_VERSION");
    let places = [
        ("apiserver-model/Cargo.toml", format!("rust-version = \"{least}\"")),
        ("deploy/image/Cargo.toml", format!("rust-version = \"{least}\"")),
        ("README.md", format!("Rust {least}** or newer")),
        ("CONTRIBUTING.md", format!("Rust {least} or newer")),
        (".ci/run", format!("Rust {least} or newer")),
    ];
    for (file, words) in places {
        assert!(
            fs::read_to_string(root.join(file)).unwrap().contains(&words),
            "{file} does not say {words:?}"
        );
    }
}

/// Clippy looks after the standard library; a dependency that was updated may need more than it did.
#[test]
fn no_dependency_needs_a_newer_rust() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let compiler = Command::new("rustc").arg("-vV").output().unwrap();
    let told = String::from_utf8(compiler.stdout).unwrap();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let args = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    let told = Command::new(cargo).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let packages = told["packages"].as_array().unwrap();
    let least = version(env!("CARGO_PKG_RUST_VERSION"));
    let newer = |package: &&serde_json::Value| {
        package["rust_version"].as_str().is_some_and(|needs| version(needs) > least)
    };
    let bad: Vec<_> =
        packages.iter().filter(newer).map(|p| format!("{} {}", p["name"], p["rust_version"])).collect();
    assert!(packages.len() > 100 && bad.is_empty(), "{} packages; newer: {bad:?}", packages.len());
}
