//! A Git repository, and a server of smart HTTP before it, on loopback.
//!
//! The server is `git http-backend` behind a few lines of HTTP: both tools clone from it as from any forge.

use crate::env::api::{Task, runtime, spawn};
use anyhow::{Context, Result, ensure};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const BRANCH: &str = "main";
/// Of the bare repository, below the folder that is served.
const NAME: &str = "hub.git";

/// Its files lie in a work tree; each commit is served at once.
pub struct Repository {
    served: PathBuf,
    tree: PathBuf,
    port: u16,
    /// Ends the server when it is dropped.
    _server: Task,
}

impl Repository {
    /// An empty one in `dir`.
    ///
    /// # Errors
    /// git fails, or no port can be had.
    pub fn create(dir: &Path) -> Result<Self> {
        let (served, tree) = (dir.join("git"), dir.join("tree"));
        for folder in [&served, &tree] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        run(git(&served)
            .args(["init", "--quiet", "--bare", "--initial-branch", BRANCH])
            .arg(served.join(NAME)))?;
        let (port, server) = serve(served.clone())?;
        Ok(Self { served, tree, port, _server: server })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{NAME}", self.port)
    }

    /// What a file says; None where there is none.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.tree.join(path)).ok()
    }

    /// Writes a file; it is served with the next commit.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.tree.join(path);
        fs::create_dir_all(path.parent().context("a file in no folder")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes a file or folder, if it is there; it is gone with the next commit.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, path: &str) -> Result<()> {
        let path = self.tree.join(path);
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Commits all that was written and removed; the commit's hash.
    ///
    /// # Errors
    /// git fails.
    pub fn commit(&self, message: &str) -> Result<String> {
        run(self.in_tree().args(["add", "--all"]))?;
        // One that changes nothing is a commit too: a tool has to look at it all the same.
        run(self.in_tree().args(["commit", "--quiet", "--allow-empty", "-m", message]))?;
        let hash = run(self.in_tree().args(["rev-parse", "HEAD"]))?;
        Ok(hash.trim().to_owned())
    }

    fn in_tree(&self) -> Command {
        let mut command = git(&self.tree);
        command.env("GIT_DIR", self.served.join(NAME)).env("GIT_WORK_TREE", &self.tree);
        command
    }
}

/// git that nothing but its arguments tells what to do.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(key);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "platform");
        command.env(format!("GIT_{who}_EMAIL"), "platform@example.org");
    }
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run git")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Serves the repositories of a folder on a port of loopback, until the task is dropped.
fn serve(folder: PathBuf) -> Result<(u16, Task)> {
    let listener = runtime()?.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let port = listener.local_addr()?.port();
    let folder = Arc::new(folder);
    let server = spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let folder = Arc::clone(&folder);
            let service = service_fn(move |request| answer(Arc::clone(&folder), request));
            tokio::spawn(async move {
                // A client that breaks off is its own affair.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    })?;
    Ok((port, server))
}

/// As a CGI program is called (RFC 3875).
async fn answer(folder: Arc<PathBuf>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut command = git(&folder);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder.as_path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", head.method.as_str())
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let feed = async move {
        // It may have seen enough before the end.
        drop(stdin.write_all(&body).await);
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    respond(&output?.stdout)
}

/// The head that a CGI program writes has the status as a header.
fn respond(said: &[u8]) -> Result<Response<Full<Bytes>>> {
    const END: &[u8] = b"\r\n\r\n";
    let end =
        said.windows(END.len()).position(|window| window == END).context("git http-backend said nothing")?;
    let (head, body) = said.split_at(end);
    let body = body.get(END.len()..).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body)));
    for line in std::str::from_utf8(head)?.lines() {
        let (name, value) = line.split_once(": ").context("a head that is none")?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes())?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response.headers_mut().append(name, HeaderValue::from_str(value)?);
        }
    }
    Ok(response)
}

/// What a tool does: it clones, and fetches what comes later.
pub fn served_as_by_any_forge(dir: &Path) -> Result<()> {
    let repository = Repository::create(dir)?;
    repository.write("fleet/a.yaml", "a: 1\n")?;
    repository.commit("first")?;
    run(git(dir).args(["clone", "--quiet", "--depth", "1", &repository.url(), "clone"]))?;
    let clone = dir.join("clone");
    ensure!(fs::read_to_string(clone.join("fleet/a.yaml"))? == "a: 1\n");
    repository.remove("fleet/a.yaml")?;
    // More than fits into a pipe.
    repository.write("fleet/b.yaml", &"b: 2\n".repeat(100_000))?;
    let second = repository.commit("second")?;
    run(git(&clone).args(["pull", "--quiet", "--ff-only"]))?;
    ensure!(run(git(&clone).args(["rev-parse", "HEAD"]))?.trim() == second);
    ensure!(!clone.join("fleet/a.yaml").exists() && clone.join("fleet/b.yaml").exists());
    let listed = run(git(dir).args(["ls-remote", &repository.url(), BRANCH]))?;
    ensure!(listed.starts_with(&second), "{listed}");
    Ok(())
}
