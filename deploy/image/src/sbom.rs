//! What the binary is made of: the packages that are built into it, with versions, licences and checksums, in the format of
//! CycloneDX 1.5. <https://cyclonedx.org/docs/1.5/json/>

use anyhow::{Context, Result};
use cargo_lock::Lockfile;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// # Errors
/// Cargo cannot say what the workspace is made of, or there is no such package in it.
pub fn of(package: &str, target: &str) -> Result<Value> {
    let options = ["--locked", "--filter-platform", target].map(str::to_owned);
    let metadata = MetadataCommand::new().other_options(options).exec().context("cargo metadata")?;
    let lock = metadata.workspace_root.join("Cargo.lock");
    let lock = Lockfile::load(&lock).with_context(|| format!("cannot read {lock}"))?;
    let root = metadata.workspace_packages().into_iter().find(|p| p.name == package);
    let root = root.with_context(|| format!("the workspace has no package {package}"))?;
    Ok(list(&metadata, root, &checksums(&lock)))
}

type Checksums = BTreeMap<(String, String), String>;

fn checksums(lock: &Lockfile) -> Checksums {
    let known = lock.packages.iter().filter_map(|p| {
        Some(((p.name.to_string(), p.version.to_string()), p.checksum.as_ref()?.to_string()))
    });
    known.collect()
}

fn list(metadata: &Metadata, root: &Package, checksums: &Checksums) -> Value {
    let reads = built_in(metadata, root);
    let packages: BTreeMap<&PackageId, &Package> = metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let reference = |id: &PackageId| packages.get(id).map(|p| purl(p));
    let mut components: Vec<Value> = reads
        .keys()
        .filter(|id| **id != root.id)
        .filter_map(|id| Some(component(packages.get(id)?, checksums)))
        .collect();
    components.sort_by_key(|c| c["purl"].to_string());
    let mut dependencies: Vec<Value> = reads
        .iter()
        .filter_map(|(id, on)| {
            let on: BTreeSet<String> = on.iter().filter_map(reference).collect();
            Some(json!({"ref": reference(id)?, "dependsOn": on}))
        })
        .collect();
    dependencies.sort_by_key(|d| d["ref"].to_string());
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, checksums)},
        "components": components,
        "dependencies": dependencies,
    })
}

/// The packages that the binary links, each with those that it needs. What only tests and build scripts use is not in it.
fn built_in(metadata: &Metadata, root: &Package) -> BTreeMap<PackageId, BTreeSet<PackageId>> {
    let nodes: BTreeMap<_, _> =
        metadata.resolve.iter().flat_map(|r| &r.nodes).map(|n| (n.id.clone(), n)).collect();
    let mut found = BTreeMap::new();
    let mut open = vec![root.id.clone()];
    while let Some(id) = open.pop() {
        let Some(node) = nodes.get(&id).filter(|_| !found.contains_key(&id)) else { continue };
        let linked =
            |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|k| k.kind == DependencyKind::Normal);
        let on: BTreeSet<PackageId> =
            node.deps.iter().filter(|d| linked(&d.dep_kinds)).map(|d| d.pkg.clone()).collect();
        open.extend(on.iter().cloned());
        found.insert(id, on);
    }
    found
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, checksums: &Checksums) -> Value {
    let purl = purl(package);
    let mut component = json!({
        "type": if package.source.is_some() { "library" } else { "application" },
        "bom-ref": purl,
        "name": package.name,
        "version": package.version.to_string(),
        "purl": purl,
    });
    if let Some(licence) = &package.license {
        // Cargo once allowed a slash for `or`.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(sum) = checksums.get(&(package.name.to_string(), package.version.to_string())) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_with_licence_and_checksum_and_what_tests_use_is_not() {
        let list = of("kro-hub", "x86_64-unknown-linux-musl").unwrap();
        assert_eq!(list["metadata"]["component"]["name"], "kro-hub");
        let named =
            |name: &str| list["components"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned();
        for part in ["kube", "ring", "serde_json"] {
            let part = named(part).unwrap();
            assert!(part["licenses"][0]["expression"].is_string(), "{part}");
            assert_eq!(part["hashes"][0]["content"].as_str().unwrap().len(), 64, "{part}");
        }
        for part in ["proptest", "apiserver-model", "windows-sys", "cc"] {
            assert!(named(part).is_none(), "{part}");
        }
        let all = list["dependencies"].as_array().unwrap();
        let known: BTreeSet<&str> = all.iter().map(|d| d["ref"].as_str().unwrap()).collect();
        for on in all.iter().flat_map(|d| d["dependsOn"].as_array().unwrap()) {
            assert!(known.contains(on.as_str().unwrap()), "{on}");
        }
    }
}
