//! Processes that end with their owner, however it ends.
//!
//! A [`Process`] is killed by its pid when it is dropped: on success, failure and panic. A guardian (a small shell) is
//! told every pid and kills them when the pipe to it closes, so that Ctrl-C, `kill -9` and `exit` leave nothing behind
//! either. Pid files record when a process started: a pid that was given to another program since is never touched.

use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A running program with a log file and a pid file, in a process group of its own.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    born: String,
    /// None for one that an earlier run started and left running.
    child: Option<Child>,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output is appended to `dir/name.log`.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn spawn(mut command: Command, dir: &Path, name: &str) -> Result<Self> {
        let log_path = dir.join(format!("{name}.log"));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        // Its own group: Ctrl-C reaches the owner alone, which ends its processes in its own order.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let pid = child.id();
        guard('+', &pid.to_string())?;
        let mut process = Self {
            name: name.to_owned(),
            pid,
            born: String::new(),
            child: Some(child),
            pid_file: dir.join(format!("{name}.pid")),
            log: log_path,
        };
        process.born = birth(pid).with_context(|| format!("{name} ended at once"))?;
        fs::write(&process.pid_file, format!("{pid}\n{}\n", process.born))?;
        Ok(process)
    }

    /// The process of a pid file that an earlier run left, if it still runs.
    pub fn open(dir: &Path, name: &str) -> Option<Self> {
        let pid_file = dir.join(format!("{name}.pid"));
        let text = fs::read_to_string(&pid_file).ok()?;
        let (pid, born) = text.trim_end().split_once('\n')?;
        let pid = pid.parse().ok()?;
        let process = Self {
            name: name.to_owned(),
            pid,
            born: born.to_owned(),
            child: None,
            pid_file,
            log: dir.join(format!("{name}.log")),
        };
        process.is_alive().then_some(process)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn is_alive(&self) -> bool {
        birth(self.pid).is_some_and(|born| born == self.born)
    }

    /// # Errors
    /// It has ended; with the end of its log.
    pub fn check(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        bail!("{} has ended; the end of {}:\n{}", self.name, self.log.display(), tail(&self.log, 15))
    }

    /// Leaves it running when this value is dropped.
    pub fn release(mut self) {
        let _ = guard('-', &self.pid.to_string());
        self.child = None;
        self.pid_file = PathBuf::new();
    }

    /// `SIGKILL`, and waits until it is gone.
    pub fn kill9(mut self) {
        self.end();
    }

    /// `SIGTERM`, and `SIGKILL` after `patience`.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn terminate(mut self, patience: Duration) -> Result<()> {
        self.signal("TERM")?;
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > patience {
                self.end();
                bail!("{} did not end within {} s of SIGTERM", self.name, patience.as_secs_f32());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
        Ok(())
    }

    /// Sends `STOP`, `CONT`, `TERM` and the like.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.check()?;
        send(signal, self.pid)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn rss(&self) -> Result<u64> {
        let from_proc = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        let from_ps = || {
            let output =
                Command::new("ps").args(["-o", "rss=", "-p", &self.pid.to_string()]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u64>().ok()
        };
        let kib = from_proc.or_else(from_ps).with_context(|| format!("{} has ended", self.name))?;
        Ok(kib * 1024)
    }

    fn end(&mut self) {
        if self.pid_file.as_os_str().is_empty() {
            return;
        }
        if let Some(child) = self.child.as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        } else if self.is_alive() {
            let _ = send("KILL", self.pid);
            let start = Instant::now();
            while self.is_alive() && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = guard('-', &self.pid.to_string());
        let _ = fs::remove_file(&self.pid_file);
        self.pid_file = PathBuf::new();
    }
}

impl Drop for Process {
    /// One that an earlier run left is left again.
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end();
        }
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, count: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// Kills a child of this process as well should this process be killed, until [`forget`].
///
/// # Errors
/// There is no guardian.
pub fn remember(child: &Child) -> Result<()> {
    guard('+', &child.id().to_string())
}

/// # Errors
/// There is no guardian.
pub fn forget(child: &Child) -> Result<()> {
    guard('-', &child.id().to_string())
}

/// Removes `dir` should this process end without removing it itself.
///
/// # Errors
/// There is no guardian.
pub fn remove_at_end(dir: &Path) -> Result<()> {
    guard('d', &dir.display().to_string())
}

/// Keeps a folder that [`remove_at_end`] named.
///
/// # Errors
/// There is no guardian.
pub fn keep_at_end() -> Result<()> {
    guard('k', "")
}

/// The shell's own `kill`: the system may have no program of that name.
fn send(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .context("cannot run sh")?;
    if status.success() { Ok(()) } else { Err(anyhow!("cannot send SIG{signal} to process {pid}")) }
}

/// When a process started, in words that no other process of that pid has; None once it has ended.
fn birth(pid: u32) -> Option<String> {
    if !Path::new("/proc/self/stat").exists() {
        let output =
            Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (state, start) = text.trim().split_once(char::is_whitespace)?;
        return (!state.starts_with('Z')).then(|| start.trim().to_owned());
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; state is the first field after it, start time the twentieth.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    (!matches!(state, "Z" | "X")).then(|| format!("{start} {}", boot.trim()))
}

const GUARDIAN: &str = r#"
pids= dir=
while read -r what rest; do
  case $what in
    +) pids="$pids $rest" ;;
    -) kept=; for pid in $pids; do [ "$pid" = "$rest" ] || kept="$kept $pid"; done; pids=$kept ;;
    d) dir=$rest ;;
    k) dir= ;;
  esac
done
[ -z "$pids" ] || kill -s KILL $pids 2>/dev/null
[ -z "$dir" ] || rm -rf -- "$dir"
"#;

/// Tells the guardian: `+ pid`, `- pid`, `d folder` (remove at the end), `k folder` (keep).
fn guard(what: char, rest: &str) -> Result<()> {
    static PIPE: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Mutex::new(guardian.ok().and_then(|mut child| child.stdin.take()))
    });
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = pipe.as_mut().context("cannot run sh")?;
    writeln!(pipe, "{what} {rest}").context("the guardian of processes has ended")
}
