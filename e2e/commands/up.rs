//! `up`: a hub, spokes and the controller in the background.

use super::screen::Screen;
use super::table::columns;
use crate::env::Environment;
use crate::env::controller::{self, Controller, Options};
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

const HUB: &str = "hub";
const LOCAL: &str = r#"
apiVersion: hub.kro.run/v1alpha1
kind: Cluster
metadata:
  name: local
spec:
  local: true
"#;

/// Brings `dir` to at least that many spokes. What runs already stays as it is, except a controller whose binary has
/// been built anew since.
///
/// # Errors
/// Something does not start, or a spoke does not become Ready.
pub fn up(dir: &Path, spokes: u16, local: bool) -> Result<()> {
    let start = Instant::now();
    let mut screen = Screen::stdout();
    let binary = controller::binary()?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let _lock = lock(dir)?;
    // Programs may have to be built first, which prints lines of its own.
    crate::env::assets::Assets::ensure()?;

    let spokes = spoke_names(dir, spokes);
    let names: Vec<&str> = std::iter::once(HUB).chain(spokes.iter().map(String::as_str)).collect();
    let env = screen.timed(&format!("Clusters {}", summary(&names)), || Environment::start(dir, &names))?;
    link_kubectl(&env)?;
    let controller = screen.timed("Controller", || start_controller(&env, &binary))?;
    screen.timed("Clusters registered and Ready", || {
        for name in &spokes {
            env.register(HUB, name, &[("region", region(name))])?;
        }
        if local {
            env.apply(HUB, LOCAL)?;
        }
        let local = local.then_some("local");
        for name in spokes.iter().map(String::as_str).chain(local) {
            env.wait_cluster_ready(HUB, name, Duration::from_secs(60)).with_context(|| {
                let tail = controller.log_tail(10);
                format!("the controller's log ends with:\n{tail}\n")
            })?;
        }
        Ok(())
    })?;

    println!("\nUp after {:.1} s.\n", start.elapsed().as_secs_f32());
    print_clusters(&env, dir, &spokes);
    print_next(dir, spokes.first());
    controller.release();
    env.release();
    Ok(())
}

/// One `up` or `down` at a time in a folder.
///
/// # Errors
/// It cannot be locked.
pub fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("Another command works in {}; waiting for it.", dir.display());
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(file)
}

/// Those asked for, and those that an earlier call added.
fn spoke_names(dir: &Path, count: u16) -> Vec<String> {
    let known = (1..=100).filter(|n| dir.join(format!("spoke-{n}.kubeconfig")).is_file()).max().unwrap_or(0);
    (1..=count.max(known)).map(|n| format!("spoke-{n}")).collect()
}

fn summary(names: &[&str]) -> String {
    match names {
        [hub, first, .., last] if names.len() > 4 => format!("{hub}, {first} to {last}"),
        _ => names.join(", "),
    }
}

fn region(spoke: &str) -> &'static str {
    let number: u16 = spoke.trim_start_matches("spoke-").parse().unwrap_or_default();
    if number % 2 == 1 { "eu" } else { "us" }
}

fn start_controller(env: &Environment, binary: &Path) -> Result<Controller> {
    if let Some(running) = Controller::open(env, "controller")? {
        let built = fs::metadata(binary)?.modified()?;
        if fs::metadata(env.dir().join("controller.pid"))?.modified()? >= built {
            running.wait_ready()?;
            return Ok(running);
        }
        running.terminate()?;
    }
    Controller::start(env, Options::default())
}

/// A user's machine may have no kubectl, or an old one.
fn link_kubectl(env: &Environment) -> Result<()> {
    let bin = env.dir().join("bin");
    fs::create_dir_all(&bin)?;
    let link = bin.join("kubectl");
    if fs::read_link(&link).ok().as_deref() != Some(env.assets().kubectl.as_path()) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&env.assets().kubectl, &link)?;
    }
    Ok(())
}

fn print_clusters(env: &Environment, dir: &Path, spokes: &[String]) {
    let names = std::iter::once(HUB).chain(spokes.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = names
        .map(|name| {
            let labels = if name == HUB { String::new() } else { format!("region={}", region(name)) };
            let kubeconfig = dir.join(format!("{name}.kubeconfig")).display().to_string();
            vec![name.to_owned(), kubeconfig, env.server_url(name), labels]
        })
        .collect();
    for line in columns(&["CLUSTER", "KUBECONFIG", "ADDRESS", "LABELS"], &rows) {
        println!("  {line}");
    }
}

fn print_next(dir: &Path, spoke: Option<&String>) {
    let from_here = if dir.is_absolute() { "" } else { "$PWD/" };
    let dir = dir.display();
    println!("\nNext:\n");
    println!("  export PATH=\"{from_here}{dir}/bin:$PATH\" KUBECONFIG=\"{from_here}{dir}/hub.kubeconfig\"");
    println!("  kubectl get clusters.hub.kro.run");
    println!("  kubectl apply -f examples/hello/rgd.yaml");
    println!("  kubectl wait rgd hello --for=condition=Ready");
    println!("  kubectl apply -f examples/hello/instance.yaml");
    println!("  kubectl get hello hello -o yaml");
    if let Some(spoke) = spoke {
        println!("  kubectl --kubeconfig {dir}/{spoke}.kubeconfig get hello,deployment,service");
    }
    println!("\n  make logs    follows {dir}/controller.log");
    println!("  make down    ends all of it\n");
}
