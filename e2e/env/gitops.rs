//! The programs of Flux and of Argo CD, and what they need beside them.

use super::assets::{Program, crds_beside, files_in, programs_of};
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Flux: what fetches, and what applies.
#[derive(Clone, Debug)]
pub struct Flux {
    pub source_controller: PathBuf,
    pub kustomize_controller: PathBuf,
    /// Its own CRDs, as YAML.
    pub crds: Vec<PathBuf>,
}

impl Flux {
    /// Finds those of the version in `e2e/assets/flux/go.mod`, or builds them: a quarter of an hour the first time.
    ///
    /// # Errors
    /// Go or its modules cannot be had, or a build fails.
    pub fn ensure() -> Result<Self> {
        let programs = [
            Program {
                name: "source-controller",
                package: "github.com/fluxcd/source-controller",
                usual_seconds: 830,
            },
            Program {
                name: "kustomize-controller",
                package: "github.com/fluxcd/kustomize-controller",
                usual_seconds: 70,
            },
        ];
        let crds = [
            ("github.com/fluxcd/source-controller", "config/crd/bases"),
            ("github.com/fluxcd/kustomize-controller", "config/crd/bases"),
        ];
        let folder = programs_of("flux", &programs, Some(&crds))?;
        Ok(Self {
            source_controller: folder.join("source-controller"),
            kustomize_controller: folder.join("kustomize-controller"),
            crds: files_in(&crds_beside(&folder))?,
        })
    }
}

/// Argo CD: one program that is all of its servers.
#[derive(Clone, Debug)]
pub struct ArgoCd {
    pub program: PathBuf,
    /// Its own CRDs, as YAML.
    pub crds: Vec<PathBuf>,
}

impl ArgoCd {
    /// Finds that of the version in `e2e/assets/argocd-server/go.mod`, or builds it: some twenty minutes the first time.
    ///
    /// # Errors
    /// Go or its modules cannot be had, or the build fails.
    pub fn ensure() -> Result<Self> {
        let program =
            Program { name: "argocd", package: "github.com/argoproj/argo-cd/v3/cmd", usual_seconds: 1200 };
        let crds = [("github.com/argoproj/argo-cd/v3", "manifests/crds")];
        let folder = programs_of("argocd-server", &[program], Some(&crds))?;
        Ok(Self { program: folder.join("argocd"), crds: files_in(&crds_beside(&folder))? })
    }
}

/// A program that the machine has to have.
///
/// # Errors
/// It has not; with what to do.
pub fn installed(program: &str, package: &str) -> Result<()> {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    ensure!(
        found.is_ok_and(|output| output.status.success()),
        "{program} is needed for trials with GitOps tools: install it, for example with `apt-get install {package}`"
    );
    Ok(())
}
