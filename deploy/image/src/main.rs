//! `make image`: an image in the layout of OCI, packed without a container daemon, and beside it an SBOM in the format of
//! CycloneDX. The same binary gives the same bytes.

mod oci;
mod sbom;

use anyhow::{Context, Result};
use clap::Parser;
use std::fs;
use std::path::PathBuf;

/// Pack a static binary of kro-hub into an image, and list what it is made of
#[derive(Parser)]
struct Args {
    /// The binary, for Linux, linked statically
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// The target that it was built for
    #[arg(long, value_name = "TRIPLE")]
    target: String,
    /// Name and tag that the image gets where it is loaded
    #[arg(long, value_name = "NAME:TAG")]
    name: String,
    /// Folder of the two files
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let binary = fs::read(&args.binary).with_context(|| format!("cannot read {}", args.binary.display()))?;
    let image =
        oci::Image { binary: &binary, name: &args.name, architecture: oci::architecture(&args.target)? };
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let stem = args.name.replace([':', '/'], "-");
    let archive = args.out.join(format!("{stem}.tar"));
    let packed = image.pack()?;
    fs::write(&archive, &packed.archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let list = args.out.join(format!("{stem}.cdx.json"));
    let text = serde_json::to_string_pretty(&sbom::of("kro-hub", &args.target)?)?;
    fs::write(&list, text + "\n").with_context(|| format!("cannot write {}", list.display()))?;
    println!("{}\n  {} bytes, digest {}", archive.display(), packed.archive.len(), packed.digest);
    println!(
        "  docker load < {0}   or   skopeo copy oci-archive:{0} docker://registry.example.org/{1}",
        archive.display(),
        args.name
    );
    println!("{}", list.display());
    Ok(())
}
