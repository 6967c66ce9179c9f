//! The programs of a Kubernetes control plane, built once from Go modules and kept in the user's cache.
//!
//! `e2e/assets/go.mod` names them as tools and `go.sum` pins every byte, so its hash is the key of the cache: a second
//! clone builds nothing, and a changed version builds everything anew. Programs found in `KUBEBUILDER_ASSETS` are used
//! as they are.

use super::process;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Assets {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub kube_scheduler: PathBuf,
    pub kubectl: PathBuf,
    pub kwok: PathBuf,
}

pub(super) struct Program {
    pub name: &'static str,
    pub package: &'static str,
    /// Of a first build on two cores, so that nobody thinks it hangs.
    pub usual_seconds: u32,
}

const PROGRAMS: [Program; 6] = [
    Program { name: "etcd", package: "go.etcd.io/etcd/server/v3", usual_seconds: 50 },
    Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", usual_seconds: 280 },
    Program {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        usual_seconds: 90,
    },
    Program { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler", usual_seconds: 95 },
    Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", usual_seconds: 25 },
    Program { name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", usual_seconds: 55 },
];

impl Assets {
    /// Finds the programs, and builds those that are missing: about nine minutes the first time on two cores.
    ///
    /// # Errors
    /// Go is missing, or a build fails; the text says what to do.
    pub fn ensure() -> Result<Self> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/assets");
        let folder = cache_folder(&module)?;
        let given = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let place = |program: &Program| {
            let ready_made = given.as_ref().map(|dir| dir.join(program.name)).filter(|path| path.is_file());
            ready_made.unwrap_or_else(|| folder.join(program.name))
        };
        let missing = || PROGRAMS.iter().filter(|p| !place(p).is_file()).collect::<Vec<_>>();
        if !missing().is_empty() {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let _lock = lock(&folder)?;
            // Another run may have built them while this one waited.
            build_all(&module, &folder, &missing())?;
        }
        let [etcd, apiserver, controller_manager, scheduler, kubectl, kwok] = PROGRAMS.each_ref().map(place);
        Ok(Self {
            etcd,
            kube_apiserver: apiserver,
            kube_controller_manager: controller_manager,
            kube_scheduler: scheduler,
            kubectl,
            kwok,
        })
    }
}

/// The real kro, for comparison and for the way there and back. Built only for who asks.
#[derive(Clone, Debug)]
pub struct Kro {
    pub controller: PathBuf,
    /// Its own CRDs, as YAML.
    pub crds: Vec<PathBuf>,
}

impl Kro {
    /// Finds kro of the version in `e2e/assets/kro/go.mod`, or builds it: some two minutes the first time.
    ///
    /// # Errors
    /// Go or its modules cannot be had, or the build fails.
    pub fn ensure() -> Result<Self> {
        let program = Program {
            name: "kro",
            package: "github.com/kubernetes-sigs/kro/cmd/controller",
            usual_seconds: 120,
        };
        let crds: Crds<'_> = &[("github.com/kubernetes-sigs/kro", "helm/crds")];
        let folder = programs_of("kro", &[program], Some(crds))?;
        Ok(Self { controller: folder.join("kro"), crds: files_in(&crds_beside(&folder))? })
    }
}

/// Finds helm of the version in `e2e/assets/helm/go.mod`, or builds it: some four minutes the first time.
///
/// # Errors
/// Go or its modules cannot be had, or the build fails.
pub fn helm() -> Result<PathBuf> {
    let program = Program { name: "helm", package: "helm.sh/helm/v3/cmd/helm", usual_seconds: 240 };
    programs_of("helm", &[program], None).map(|folder| folder.join("helm"))
}

/// Finds what runs Lua as Argo CD does, or builds it from `e2e/assets/argocd`: some seconds.
///
/// # Errors
/// Go or its modules cannot be had, or the build fails.
pub fn argocd_lua() -> Result<PathBuf> {
    let program = Program { name: "argocd-lua", package: ".", usual_seconds: 10 };
    programs_of("argocd", &[program], None).map(|folder| folder.join("argocd-lua"))
}

/// CRDs that stand in Go modules: in these folders of these modules.
pub(super) type Crds<'a> = &'a [(&'a str, &'a str)];

/// Builds what is missing of the programs of `e2e/assets/<name>`, and copies the CRDs that their modules bring into `crds`
/// beside them. The folder of the programs.
pub(super) fn programs_of(name: &str, programs: &[Program], crds: Option<Crds<'_>>) -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/assets").join(name);
    let folder = cache_folder(&module)?;
    let place = crds_beside(&folder);
    let complete =
        || programs.iter().all(|p| folder.join(p.name).is_file()) && (crds.is_none() || place.is_dir());
    if !complete() {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let _lock = lock(&folder)?;
        // Another run may have built them while this one waited.
        let missing: Vec<&Program> = programs.iter().filter(|p| !folder.join(p.name).is_file()).collect();
        ensure_go(&programs.iter().collect::<Vec<_>>())?;
        if let Some(crds) = crds.filter(|_| !place.is_dir()) {
            copy_crds(&module, crds, &place)?;
        }
        for program in missing {
            build(&module, &folder, program, "-s -w", program.name)?;
        }
    }
    Ok(folder)
}

/// Where the CRDs of programs in this folder are.
pub(super) fn crds_beside(folder: &Path) -> PathBuf {
    folder.with_file_name("crds")
}

/// The files of a folder, sorted.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    found.sort();
    Ok(found)
}

/// They stand in the modules themselves.
fn copy_crds(module: &Path, crds: Crds<'_>, to: &Path) -> Result<()> {
    let unfinished = to.with_extension(std::process::id().to_string());
    fs::create_dir_all(&unfinished)?;
    for (of, folder) in crds {
        for path in files_in(&source_of(module, of)?.join(folder))? {
            // Beside CRDs there may be what kustomize reads. What is in the module cache is read-only; a copy of the text is not.
            let name = path.file_name().unwrap_or_default();
            let text = fs::read_to_string(&path)?;
            if text.lines().any(|line| line == "kind: CustomResourceDefinition") {
                fs::write(unfinished.join(name), text)?;
            }
        }
    }
    fs::rename(&unfinished, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Folder of the source of a module that `module` requires; known once it has been fetched.
fn source_of(module: &Path, required: &str) -> Result<PathBuf> {
    let output =
        go(module)?.args(["mod", "download", "-json", required]).output().context("cannot run go")?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let Some(folder) = told["Dir"].as_str().filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("go mod download {required}: {} {}", said.trim(), told["Error"].as_str().unwrap_or_default());
    };
    Ok(PathBuf::from(folder))
}

/// `go` in a module, as pinned there.
fn go(module: &Path) -> Result<Command> {
    let mut command = Command::new("go");
    command.current_dir(module).stdin(Stdio::null());
    command.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off");
    // Where Go is told to stay as it is, a newer one has to be asked for; it comes as a module.
    let text = fs::read_to_string(module.join("go.mod"))?;
    if let Some(toolchain) = text.lines().find_map(|line| line.strip_prefix("toolchain ")) {
        command.env("GOTOOLCHAIN", toolchain.trim());
    }
    Ok(command)
}

/// `~/.cache/kro-hub/assets/<hash of go.sum, and of our own source>/bin`.
fn cache_folder(module: &Path) -> Result<PathBuf> {
    let sums = module.join("go.sum");
    let mut bytes = fs::read(&sums).with_context(|| format!("cannot read {}", sums.display()))?;
    // A program of our own is another one when its source is.
    bytes.extend(fs::read(module.join("main.go")).unwrap_or_default());
    let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither HOME nor XDG_CACHE_HOME is set: there is no place to keep the built programs"),
    };
    Ok(cache.join("kro-hub/assets").join(hash).join("bin"))
}

/// Held until dropped; the system lets it go when this process ends in whatever way.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.with_file_name("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("Another run builds the Kubernetes programs; waiting for it.");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

fn build_all(module: &Path, folder: &Path, programs: &[&Program]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    ensure_go(programs)?;
    let flags = linker_flags(&fs::read_to_string(module.join("go.mod"))?)?;
    eprintln!(
        "Building {} Kubernetes program(s) into {} (once; kept for later runs).",
        programs.len(),
        folder.display()
    );
    for (index, program) in programs.iter().enumerate() {
        let step = format!("[{}/{}] {}", index + 1, programs.len(), program.name);
        build(module, folder, program, &flags, &step)?;
    }
    Ok(())
}

fn ensure_go(programs: &[&Program]) -> Result<()> {
    let go = Command::new("go").arg("version").stdin(Stdio::null()).output();
    ensure!(
        go.is_ok_and(|output| output.status.success()),
        "Go is needed once, to build {}; install Go 1.26 or newer (https://go.dev/dl), \
         or set KUBEBUILDER_ASSETS to a folder that holds the Kubernetes programs",
        programs.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// Without a version of its own, the API server reports one that kubectl cannot parse.
fn linker_flags(go_mod: &str) -> Result<String> {
    let version = go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .and_then(|rest| rest.split_whitespace().next())
        .context("go.mod does not require k8s.io/kubernetes")?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let base = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {base}.gitVersion={version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion={version}"
    ))
}

fn build(module: &Path, folder: &Path, program: &Program, flags: &str, step: &str) -> Result<()> {
    let log_path = folder.with_file_name(format!("build-{}.log", program.name));
    let log = File::create(&log_path).with_context(|| format!("cannot create {}", log_path.display()))?;
    let unfinished = folder.join(format!(".{}.{}", program.name, std::process::id()));
    let mut child = go(module)?
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o"])
        .arg(&unfinished)
        .arg(program.package)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run go")?;
    process::remember(&child)?;
    let mut progress = Progress::new(step, program.usual_seconds);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.tick();
        std::thread::sleep(Duration::from_millis(200));
    };
    process::forget(&child)?;
    progress.finish(status.success());
    if !status.success() {
        let _ = fs::remove_file(&unfinished);
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n");
        bail!("go build {} failed ({status}); the end of {}:\n{tail}", program.package, log_path.display());
    }
    let place = folder.join(program.name);
    fs::rename(&unfinished, &place).with_context(|| format!("cannot write {}", place.display()))
}

/// One line that counts seconds on a terminal, a line every half minute elsewhere.
struct Progress<'a> {
    step: &'a str,
    usual_seconds: u32,
    start: Instant,
    shown: u64,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(step: &'a str, usual_seconds: u32) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("  {step}: started (about {usual_seconds} s on two cores)");
        }
        Self { step, usual_seconds, start: Instant::now(), shown: 0, terminal }
    }

    fn tick(&mut self) {
        let seconds = self.start.elapsed().as_secs();
        let every = if self.terminal { 1 } else { 30 };
        if seconds < self.shown + every {
            return;
        }
        self.shown = seconds;
        if self.terminal {
            eprint!("\r  {}: {seconds} s (about {} s on two cores)", self.step, self.usual_seconds);
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("  {}: {seconds} s", self.step);
        }
    }

    fn finish(&self, success: bool) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let end = if success { "built" } else { "failed" };
        eprintln!("{start}  {}: {end} after {} s", self.step, self.start.elapsed().as_secs());
    }
}
