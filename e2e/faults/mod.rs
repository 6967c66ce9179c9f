//! A proxy between a hub and a server that spoils what passes: the line, single requests, or who stands behind.
//!
//! ```text
//! let proxy = Proxy::before(&env, "us")?;                     TLS ends at the proxy: use a token
//! let kubeconfig = proxy.leading(&kubeconfig)?;
//! proxy.line(Line::BlackHole)?;                              for everybody
//! proxy.half_open();                                         for connections that are open
//! proxy.rule(Rule::new(When::watches(), Fault::HeadHeld));   for requests
//! proxy.lead_to(another);                                    another cluster
//! ```

mod bodies;
mod front;
mod line;
mod script;
mod trials;

use crate::env::Environment;
use crate::env::api::{Task, runtime, spawn};
use crate::env::ports;
use anyhow::Result;
use front::{Front, Identity};
use line::{Fate, Way, carry};
pub use line::{Line, Weather};
use script::{Asked, Log, Script, Seen};
pub use script::{Chance, Fault, Rule, When};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
pub use trials::trials;

/// Where a request or a connection goes on to.
#[derive(Clone, Debug)]
struct Target {
    port: u16,
    /// Instead of what the client sent, as of a gateway with credentials of its own.
    token: Option<String>,
}

struct Shared {
    port: u16,
    /// Where it leads when nobody says otherwise.
    home: u16,
    line: watch::Sender<Line>,
    target: Mutex<Target>,
    script: Mutex<Script>,
    chance: Arc<Mutex<Chance>>,
    log: Mutex<Log>,
    open: Mutex<BTreeMap<u64, (watch::Sender<Fate>, Task)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
    fn target(&self) -> Target {
        lock(&self.target).clone()
    }
    fn decide(&self, asked: &Asked) -> Option<Fault> {
        lock(&self.script).decide(asked)
    }
    fn reset(&self, connection: u64) {
        if let Some((fate, _)) = lock(&self.open).get(&connection) {
            fate.send_replace(Fate::Reset);
        }
    }
}

/// It ends when it is dropped, with all that is open.
pub struct Proxy {
    shared: Arc<Shared>,
    /// The line as it is listened on.
    applied: watch::Receiver<Line>,
    _listens: Task,
}

/// Repeats what is by chance; `KRO_HUB_SEED` sets it.
fn seed() -> u64 {
    std::env::var("KRO_HUB_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

impl Proxy {
    /// Before a cluster of an environment.
    pub fn before(env: &Environment, cluster: &str) -> Result<Self> {
        Self::http(Identity::of(env), env.port(cluster))
    }

    /// Bytes are carried as they are: certificates of clients work, and rules see nothing.
    pub fn tcp(port: u16) -> Result<Self> {
        Self::start(port, None)
    }

    /// Requests are seen one by one, HTTP/2 and HTTP/1.1 as the client likes.
    pub fn http(identity: Identity<'_>, port: u16) -> Result<Self> {
        Self::start(port, Some(Arc::new(Front::new(identity)?)))
    }

    fn start(target: u16, front: Option<Arc<Front>>) -> Result<Self> {
        let port = ports::free()?;
        let seed = seed();
        let shared = Arc::new(Shared {
            port,
            home: target,
            line: watch::Sender::new(Line::Clear),
            target: Mutex::new(Target { port: target, token: None }),
            script: Mutex::new(Script::new(seed)),
            chance: Arc::new(Mutex::new(Chance::new(seed))),
            log: Mutex::new(Log::new()),
            open: Mutex::default(),
        });
        shared.log().act(format!("listens on {port}, leads to {target}, KRO_HUB_SEED={seed}"));
        // What is listened on at first is none of these.
        let (applying, applied) = watch::channel(Line::Refused);
        let listens = spawn(listen(shared.clone(), front, applying))?;
        let proxy = Self { shared, applied, _listens: listens };
        proxy.line(Line::Clear)?;
        Ok(proxy)
    }

    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// The kubeconfig, leading through the proxy.
    pub fn leading(&self, kubeconfig: &str) -> Result<String> {
        front::leading_to(kubeconfig, self.port())
    }

    /// Changes the line, and returns when it is so.
    pub fn line(&self, line: Line) -> Result<()> {
        self.shared.log().act(format!("the line: {line:?}"));
        self.shared.line.send_replace(line.clone());
        let mut applied = self.applied.clone();
        runtime()?.block_on(async {
            let done = applied.wait_for(|applied| *applied == line);
            tokio::time::timeout(Duration::from_secs(10), done).await
        })??;
        Ok(())
    }

    fn all(&self, fate: Fate) {
        for (sender, _) in lock(&self.shared.open).values() {
            sender.send_replace(fate);
        }
    }

    /// Resets what is open.
    pub fn cut(&self) {
        self.shared.log().act("what is open is reset".to_owned());
        self.all(Fate::Reset);
    }

    /// What is open carries nothing any more, for ever, and does not end; what comes is carried.
    pub fn half_open(&self) {
        self.shared.log().act("what is open is half-open from now on".to_owned());
        self.all(Fate::HalfOpen);
    }

    /// Resets what is half-open: whoever had it has given it up.
    pub fn sweep(&self) {
        for (sender, _) in lock(&self.shared.open).values() {
            sender.send_if_modified(|fate| {
                *fate == Fate::HalfOpen && std::mem::replace(fate, Fate::Reset) != Fate::Reset
            });
        }
    }

    /// Leads to another server from now on: each new request, and of bytes each new connection. Nobody sees that but who
    /// asks; see [`Self::cut`].
    pub fn lead_to(&self, port: u16) {
        self.shared.log().act(format!("leads to {port}"));
        *lock(&self.shared.target) = Target { port, token: None };
    }

    /// The same with this token, whatever clients send.
    pub fn lead_to_with(&self, port: u16, token: &str) {
        self.lead_to(port);
        lock(&self.shared.target).token = Some(token.to_owned());
    }

    pub fn rule(&self, rule: Rule) {
        self.shared.log().act(format!("{rule:?}"));
        lock(&self.shared.script).add(rule);
    }

    /// This rule, and no other.
    pub fn only(&self, rule: Rule) {
        self.shared.log().act(format!("only {rule:?}"));
        let mut script = lock(&self.shared.script);
        script.clear();
        script.add(rule);
    }

    /// No rule any more, a clear line, and the way to the server that it was made for.
    pub fn heal(&self) -> Result<()> {
        self.shared.log().act("no rules".to_owned());
        lock(&self.shared.script).clear();
        self.lead_to(self.shared.home);
        self.line(Line::Clear)
    }

    /// Requests since a moment.
    pub fn seen(&self, since: Instant, when: &When) -> Vec<Seen> {
        let log = self.shared.log();
        log.seen.iter().filter(|seen| seen.at >= since && when.fits(&seen.asked)).cloned().collect()
    }

    /// Numbers of the connections that are open.
    pub fn open(&self) -> Vec<u64> {
        lock(&self.shared.open).keys().copied().collect()
    }

    /// The end of its log, for failures.
    pub fn told(&self) -> String {
        format!("the proxy on {}:\n{}", self.port(), self.shared.log().told())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Each holds what is shared, which holds them.
        lock(&self.shared.open).clear();
    }
}

/// Listens as the line is.
async fn listen(shared: Arc<Shared>, front: Option<Arc<Front>>, applied: watch::Sender<Line>) {
    let mut line = shared.line.subscribe();
    let mut number = 0;
    loop {
        let now = line.borrow_and_update().clone();
        let listener = match now {
            Line::Refused => Ok(Listening::Not),
            Line::BlackHole => dig(shared.port).await,
            _ => bind(shared.port, 1024).await.map(Listening::Open),
        };
        if let Err(error) = &listener {
            // Whoever waits for the line sees this in the log.
            shared.log().act(format!("cannot listen: {error}"));
            return;
        }
        applied.send_replace(now);
        loop {
            let accepted = async {
                match &listener {
                    Ok(Listening::Open(listener)) => listener.accept().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok((stream, _)) = accepted => {
                    number += 1;
                    take(&shared, front.as_ref(), stream, number);
                }
                changed = line.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let next = line.borrow().clone();
                    let open = |line: &Line| !matches!(line, Line::Refused | Line::BlackHole);
                    if open(&next) && open(&applied.borrow()) {
                        applied.send_replace(next);
                        continue;
                    }
                    break;
                }
            }
        }
    }
}

enum Listening {
    Not,
    Open(TcpListener),
    /// Whoever knocks gets no answer.
    Hole {
        _listener: TcpListener,
        _plugs: Vec<TcpStream>,
    },
}

/// The port was just in use, by connections that are ending.
async fn bind(port: u16, backlog: u32) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        match socket.bind(([127, 0, 0, 1], port).into()).and_then(|()| socket.listen(backlog)) {
            Err(error) if tries < 100 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                if tries == 100 {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
}

/// A listener whose backlog is full: the system drops the SYN of whoever connects.
async fn dig(port: u16) -> io::Result<Listening> {
    let listener = bind(port, 0).await?;
    let mut plugs = Vec::new();
    while let Ok(plug) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(("127.0.0.1", port))).await
    {
        plugs.push(plug?);
    }
    Ok(Listening::Hole { _listener: listener, _plugs: plugs })
}

/// Carries a connection beside the others.
fn take(shared: &Arc<Shared>, front: Option<&Arc<Front>>, near: TcpStream, number: u64) {
    let (fate, told) = watch::channel(Fate::Open);
    let way = Way { line: shared.line.subscribe(), fate: told, chance: shared.chance.clone() };
    let (of_task, front) = (shared.clone(), front.cloned());
    // Small pieces are sent at once, as they came.
    let _ = near.set_nodelay(true);
    // Held until the connection is known to be open, lest it ends before.
    let mut open = lock(&shared.open);
    let task = spawn(async move {
        connection(&of_task, front, near, way, number).await;
        lock(&of_task.open).remove(&number);
    });
    if let Ok(task) = task {
        open.insert(number, (fate, task));
    }
}

async fn connection(shared: &Arc<Shared>, front: Option<Arc<Front>>, near: TcpStream, way: Way, number: u64) {
    match front {
        None => {
            let port = shared.target().port;
            shared.log().act(format!("#{number} opens to {port}"));
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(far) => carry(near, far, way).await,
                Err(_) => drop(near.set_zero_linger()),
            }
            shared.log().act(format!("#{number} ended"));
        }
        Some(front) => {
            let (far, server) = tokio::io::duplex(64 * 1024);
            // Both end together: what is asked behind ends with the connection.
            let served = async {
                front::serve(shared.clone(), front, server, number).await;
                // Its last bytes are on their way.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = carry(near, far, way) => {}
                () = served => {}
            }
        }
    }
}
