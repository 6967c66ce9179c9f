//! One layer with one file, its configuration and manifest, as an archive that `skopeo` (oci-archive), `podman load` and
//! `docker load` read. <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use anyhow::{Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

/// The user that the Deployment runs it as.
const USER: &str = "65532:65532";

/// Where the binary stands in the image.
const PLACE: &str = "kro-hub";

pub struct Image<'a> {
    pub binary: &'a [u8],
    /// `name:tag`.
    pub name: &'a str,
    pub architecture: &'static str,
}

pub struct Packed {
    pub archive: Vec<u8>,
    /// Of the manifest: what a registry calls the image.
    pub digest: String,
}

/// What images call the processor of a target.
///
/// # Errors
/// The target is none that the image is made for.
pub fn architecture(target: &str) -> Result<&'static str> {
    match target {
        "x86_64-unknown-linux-musl" => Ok("amd64"),
        "aarch64-unknown-linux-musl" => Ok("arm64"),
        other => bail!(
            "target {other}: an image from scratch needs x86_64-unknown-linux-musl or aarch64-unknown-linux-musl"
        ),
    }
}

impl Image<'_> {
    /// # Errors
    /// Memory cannot be written to.
    pub fn pack(&self) -> Result<Packed> {
        let mut files = tar::Builder::new(Vec::new());
        append(&mut files, PLACE, 0o755, self.binary)?;
        let plain = files.into_inner()?;
        // Without a time, so that the same binary gives the same bytes.
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        gzip.write_all(&plain)?;
        let layer = gzip.finish()?;

        let config = serde_json::to_vec(&json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {"User": USER, "Entrypoint": [format!("/{PLACE}")], "Cmd": ["controller"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&plain)]},
        }))?;
        let media = |kind: &str| format!("application/vnd.oci.image.{kind}");
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": media("manifest.v1+json"),
            "config": descriptor(&media("config.v1+json"), &config),
            "layers": [descriptor(&media("layer.v1.tar+gzip"), &layer)],
        }))?;
        let mut named = descriptor(&media("manifest.v1+json"), &manifest);
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        named["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        named["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag,
            "io.containerd.image.name": format!("docker.io/library/{}", self.name),
        });
        let index = json!({"schemaVersion": 2, "mediaType": media("index.v1+json"), "manifests": [named]});
        // What `docker load` of a daemon without containerd's store reads.
        let for_docker = json!([{
            "Config": blob(&config), "RepoTags": [self.name], "Layers": [blob(&layer)],
        }]);

        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for bytes in [&config, &layer, &manifest] {
            append(&mut archive, &blob(bytes), 0o644, bytes)?;
        }
        append(&mut archive, "index.json", 0o644, &serde_json::to_vec(&index)?)?;
        append(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&for_docker)?)?;
        Ok(Packed { archive: archive.into_inner()?, digest: digest(&manifest) })
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, path, bytes)?;
    Ok(())
}

fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/{}", digest(bytes).replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn packed() -> Packed {
        Image { binary: b"#!a binary", name: "kro-hub:1.2.3", architecture: "amd64" }.pack().unwrap()
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut all = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            all.insert(path, (mode, bytes));
        }
        all
    }

    #[test]
    fn from_the_index_every_digest_leads_to_its_bytes() {
        let packed = packed();
        let files = entries(&packed.archive);
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path].1).unwrap() };
        let follow = |descriptor: &Value| {
            let name = descriptor["digest"].as_str().unwrap();
            let bytes = files[&format!("blobs/{}", name.replace(':', "/"))].1.clone();
            assert_eq!(
                (digest(&bytes).as_str(), bytes.len() as u64),
                (name, descriptor["size"].as_u64().unwrap())
            );
            bytes
        };
        let named = &json("index.json")["manifests"][0];
        assert_eq!(named["digest"], packed.digest);
        assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        let manifest: Value = serde_json::from_slice(&follow(named)).unwrap();
        let config: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        let mut plain = Vec::new();
        let layer = follow(&manifest["layers"][0]);
        flate2::read::GzDecoder::new(layer.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&plain));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(entries(&plain), BTreeMap::from([("kro-hub".into(), (0o755, b"#!a binary".to_vec()))]));
        let docker = &json("manifest.json")[0];
        assert_eq!(docker["RepoTags"][0], "kro-hub:1.2.3");
        assert!(files.contains_key(docker["Config"].as_str().unwrap()));
        assert!(files.contains_key(docker["Layers"][0].as_str().unwrap()));
    }

    #[test]
    fn the_same_binary_gives_the_same_bytes() {
        assert_eq!(packed().archive, packed().archive);
    }

    #[test]
    fn only_targets_that_need_no_libraries_are_taken() {
        assert_eq!(architecture("aarch64-unknown-linux-musl").unwrap(), "arm64");
        assert!(architecture("x86_64-unknown-linux-gnu").unwrap_err().to_string().contains("musl"));
    }
}
