//! The network between processes and servers, and what goes wrong in it.

use super::laws::pairs::{self, Pair};
use super::laws::{Laws, Seen};
use super::process::ProcessId;
use super::trace::Trace;
use super::weather::Weather;
use super::wishes;
use crate::hub::machines::random::Random;
use crate::spoke::host::{Connecting, Stream};
use apiserver_model::kinds::Resource;
use apiserver_model::serve::{self, Boxed, Front, Http, Shared, Verdict, WatchFault};
use apiserver_model::server::Server;
use futures::FutureExt;
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The clock of a run. It begins on a day that every run has.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }
    pub fn millis(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
    pub fn wall(&self) -> Timestamp {
        let day: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        day + SignedDuration::from_millis(i64::try_from(self.millis()).unwrap())
    }
}

/// A server at its address.
#[derive(Clone)]
pub struct Place {
    pub shared: Shared,
    pub weather: Weather,
}

/// What comes to an end at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doom {
    /// So many writes are still answered.
    pub after: u64,
    /// At those alone whose path has this in it.
    pub at: &'static str,
    /// Whether the last one is done before the process dies.
    pub done: bool,
}

#[derive(Default)]
struct State {
    places: BTreeMap<String, Place>,
    dead: BTreeSet<ProcessId>,
    /// Who waits for the end of a silence.
    asleep: Vec<Waker>,
    /// Processes that the hub is cut off from.
    cut_off: BTreeSet<ProcessId>,
    lines: Vec<Line>,
    /// How often there was silence somewhere: what was under way then says nothing of its limit.
    silences: u64,
    doom: Option<Doom>,
    /// Processes that are to be buried: they died at a write.
    fallen: Vec<ProcessId>,
    streams: u64,
    longest: BTreeMap<&'static str, Duration>,
}

pub struct Network {
    pub clock: Clock,
    state: Mutex<State>,
    random: Mutex<Random>,
    pub trace: Mutex<Trace>,
    pub laws: Mutex<Laws>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

pub const HUB: &str = "hub";

fn host_of(uri: &Uri) -> String {
    uri.host().unwrap_or_default().trim_end_matches(".sim").to_owned()
}

pub fn address(site: &str) -> String {
    format!("https://{site}.sim:6443")
}

impl Network {
    pub fn new(seed: u64, trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::start(),
            state: Mutex::default(),
            random: Mutex::new(Random::new(seed)),
            trace: Mutex::new(trace),
            laws: Mutex::new(Laws::default()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn hub_uri(&self) -> Uri {
        address(HUB).parse().unwrap()
    }

    pub fn say(&self, text: &str) {
        self.trace.lock().unwrap().line(self.clock.millis(), text);
    }

    /// Puts a server at an address. Whoever was connected to the one before is cut off.
    pub fn place(&self, site: &str, shared: Shared) {
        let mut state = self.state();
        let weather = state.places.get(site).map_or(Weather::Fair, |p| p.weather);
        state.places.insert(site.into(), Place { shared, weather });
        state.cut(|line| line.site == site);
    }

    pub fn weather(&self, site: &str, weather: Weather) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(site) {
            place.weather = weather;
        }
        if weather == Weather::Refused {
            state.cut(|line| line.site == site);
        }
        state.silences += u64::from(weather == Weather::Silent);
        state.asleep.drain(..).for_each(Waker::wake);
    }

    /// The hub does not hear a process any more, or hears it again.
    pub fn cut_off(&self, process: ProcessId, on: bool) {
        let mut state = self.state();
        if on {
            state.cut_off.insert(process)
        } else {
            state.cut_off.remove(&process)
        };
        state.silences += 1;
        state.asleep.drain(..).for_each(Waker::wake);
    }

    pub fn reconnect_all(&self) {
        let mut state = self.state();
        state.cut_off.clear();
        state.asleep.drain(..).for_each(Waker::wake);
    }

    pub fn cut_lines(&self, site: &str) {
        self.state().cut(|line| line.site == site);
    }

    pub fn die(&self, process: ProcessId) {
        let mut state = self.state();
        state.dead.insert(process);
        state.cut(|line| line.process == process);
    }

    pub fn doom(&self, doom: Option<Doom>) {
        self.state().doom = doom;
    }

    pub fn take_fallen(&self) -> Vec<ProcessId> {
        std::mem::take(&mut self.state().fallen)
    }

    pub fn shared(&self, site: &str) -> Shared {
        self.state().places[site].shared.clone()
    }

    /// Requests and watches that are under way.
    pub fn streams(&self) -> u64 {
        self.state().streams
    }

    /// The longest that a request, or a watch, was under way.
    pub fn longest(&self, what: &str) -> Duration {
        self.state().longest.get(what).copied().unwrap_or_default()
    }

    /// Where there is no server, connections are refused.
    fn weather_of(&self, site: &str) -> Weather {
        self.state().places.get(site).map_or(Weather::Refused, |place| place.weather)
    }

    pub fn is_fair(&self, site: &str) -> bool {
        self.weather_of(site) == Weather::Fair
    }

    pub fn connect(self: &Arc<Self>, process: ProcessId, to: &Uri) -> Connecting {
        let (this, site) = (self.clone(), host_of(to));
        async move {
            let refused = || Error::from(ErrorKind::ConnectionRefused);
            let shared = {
                let mut state = this.state();
                let place = state.places.get(&site).ok_or_else(refused)?.clone();
                if state.dead.contains(&process) || place.weather == Weather::Refused {
                    return Err(refused());
                }
                state.lines.retain(|line| !line.serving.is_finished());
                place.shared
            };
            if this.is_silent(process, &site) {
                std::future::pending::<()>().await;
            }
            let (ours, theirs) = tokio::io::duplex(256 * 1024);
            let front = Arc::new(Door { network: this.clone(), process, site: site.clone() });
            let gate = Gate { network: this.clone(), process, site: site.clone() };
            let theirs = End { io: theirs, gate: Some(gate) };
            let serving = tokio::spawn(serve::connection(theirs, shared, front, Http::Two));
            let line = Line { process, site, serving: serving.abort_handle() };
            this.state().lines.push(line);
            Ok(Stream::new(TokioIo::new(End { io: ours, gate: None })))
        }
        .boxed()
    }

    fn is_silent(&self, process: ProcessId, site: &str) -> bool {
        let state = self.state();
        let silent = state.places.get(site).is_some_and(|p| p.weather == Weather::Silent);
        silent || (site == HUB && state.cut_off.contains(&process))
    }
}

impl State {
    fn cut(&mut self, which: impl Fn(&Line) -> bool) {
        self.lines.retain(|line| {
            let cut = which(line);
            if cut {
                line.serving.abort();
            }
            !cut
        });
    }
}

/// A connection, on the server's side.
struct Line {
    process: ProcessId,
    site: String,
    serving: AbortHandle,
}

/// An end of a connection. Over a gated one nothing comes or goes while there is silence.
struct End {
    io: DuplexStream,
    gate: Option<Gate>,
}

struct Gate {
    network: Arc<Network>,
    process: ProcessId,
    site: String,
}

impl Gate {
    fn is_closed(&self, cx: &Context<'_>) -> bool {
        let silent = self.network.is_silent(self.process, &self.site);
        if silent {
            self.network.state().asleep.push(cx.waker().clone());
        }
        silent
    }
}

impl End {
    fn waits(&self, cx: &Context<'_>) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_closed(cx))
    }
}

impl Connection for End {
    fn connected(&self) -> Connected {
        Connected::new().negotiated_h2()
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.waits(cx) { Poll::Pending } else { Pin::new(&mut self.io).poll_read(cx, buf) }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.waits(cx) { Poll::Pending } else { Pin::new(&mut self.io).poll_write(cx, buf) }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What stands before a server, on one connection.
struct Door {
    network: Arc<Network>,
    process: ProcessId,
    site: String,
}

/// A request that is under way.
struct UnderWay {
    network: Arc<Network>,
    what: &'static str,
    begun: Instant,
    silences: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.network.state();
        state.streams -= 1;
        if state.silences != self.silences {
            return;
        }
        let longest = state.longest.entry(self.what).or_default();
        *longest = (*longest).max(self.begun.elapsed());
    }
}

impl Front for Door {
    fn on(&self, request: &Parts, body: &Bytes) -> Boxed<Verdict> {
        let network = &self.network;
        let writes = request.method != Method::GET;
        let (weather, watch) = (network.weather_of(&self.site), is_watch(request));
        let chance = |percent: u64| network.random.lock().unwrap().chance(percent);
        let now = network.clock.millis();
        let verdict = if network.laws.lock().unwrap().is_overrun(now, self.process, &self.site) {
            // Who asks without a pause would keep the clock from going on.
            Verdict::After(Duration::from_secs(1))
        } else if network.is_silent(self.process, &self.site) {
            Verdict::Hang
        } else if writes && let Some(done) = network.doomed(self.process, request.uri.path()) {
            if done { Verdict::Lose } else { Verdict::Cut }
        } else {
            match weather {
                Weather::Slow(millis) if !watch => {
                    let times = if chance(20) { 2 } else { 1 };
                    Verdict::After(Duration::from_millis(millis * times))
                }
                Weather::Refuses { percent, code, retry_after } if chance(percent) => {
                    refusal(code, retry_after)
                }
                Weather::ReadOnly(code) if writes => refusal(code, None),
                Weather::Loses(percent) if chance(percent) => Verdict::Lose,
                Weather::Cuts(percent) if chance(percent) => Verdict::Cut,
                Weather::Hangs(percent) if !watch && chance(percent) => {
                    if chance(50) {
                        Verdict::Hang
                    } else {
                        Verdict::HangAfter
                    }
                }
                _ => Verdict::Pass,
            }
        };
        if !matches!(verdict, Verdict::Pass) {
            network.say(&format!(
                "{} {} {} {} ({} bytes): {}",
                self.process,
                self.site,
                request.method,
                named_uri(request),
                if is_event(request) { 0 } else { body.len() },
                named(&verdict)
            ));
        }
        Box::pin(std::future::ready(verdict))
    }

    fn answered(&self, request: &Parts, body: &Bytes, status: StatusCode, server: &Server) {
        let network = &self.network;
        network.say(&format!(
            "{} {} {} {} {} v{} {:08x}",
            self.process,
            self.site,
            request.method,
            named_uri(request),
            status.as_u16(),
            server.version(),
            if is_event(request) { 0 } else { crate::api::hash::fnv32(&String::from_utf8_lossy(body)) },
        ));
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if !body.is_null() && !request.uri.path().contains("/leases/") {
            network.trace.lock().unwrap().body(&body);
        }
        let seen = Seen {
            now: network.clock.millis(),
            process: self.process,
            site: &self.site,
            method: request.method.as_str(),
            path: request.uri.path(),
            body: &body,
            success: status.is_success(),
            created: status == StatusCode::CREATED,
        };
        let hub = if self.site == HUB { None } else { Some(network.shared(HUB)) };
        let instance = |name: &str| {
            let hub = hub.as_ref()?;
            let shops = Resource::new(wishes::GROUP, "shops");
            hub.with(|server| server.get(&shops, wishes::NAMESPACE, name).map(|object| (*object).clone()))
        };
        let runs = |pair: &Pair| network.shared(&pair.site).with(|site| pairs::mirror(site, &pair.instance));
        let mut laws = network.laws.lock().unwrap();
        laws.at(&seen, instance);
        laws.of_the_fleet(&seen, server, runs);
    }

    fn begun(&self, request: &Parts) -> Box<dyn Send> {
        let silences = {
            let mut state = self.network.state();
            state.streams += 1;
            state.silences
        };
        let what = if is_watch(request) { "watch" } else { "call" };
        Box::new(UnderWay { network: self.network.clone(), what, begun: Instant::now(), silences })
    }

    fn watch(&self, _: &Parts) -> WatchFault {
        match self.network.weather_of(&self.site) {
            Weather::Watches { cut, late, twice, silent } => WatchFault {
                cut_after: (cut > 0).then_some(cut),
                delay: Duration::from_millis(late),
                double_each: u64::from(twice),
                silent_after: silent,
            },
            _ => WatchFault::default(),
        }
    }
}

impl Network {
    /// Whether the process dies at this write, and whether that is done before.
    fn doomed(&self, process: ProcessId, path: &str) -> Option<bool> {
        let mut state = self.state();
        let doom = state.doom.as_mut().filter(|doom| path.contains(doom.at))?;
        if doom.after > 0 {
            doom.after -= 1;
            return None;
        }
        let done = doom.done;
        state.doom = None;
        // From here on nothing of it is heard.
        state.dead.insert(process);
        state.fallen.push(process);
        Some(done)
    }
}

/// The library that publishes Events names them by the time of day.
fn named_uri(request: &Parts) -> String {
    let uri = request.uri.to_string();
    if is_event(request) { uri.split("/events/").next().unwrap_or_default().to_owned() } else { uri }
}

fn is_watch(request: &Parts) -> bool {
    request.uri.query().is_some_and(|query| query.contains("watch="))
}

fn is_event(request: &Parts) -> bool {
    request.uri.path().contains("/events")
}

fn named(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Answer(response) => response.status().as_u16().to_string(),
        Verdict::After(time) => format!("after {time:?}"),
        Verdict::Pass => "passes".into(),
        Verdict::Cut => "cut".into(),
        Verdict::Lose => "done, the answer is lost".into(),
        Verdict::Hang => "hangs".into(),
        Verdict::HangAfter => "done, hangs".into(),
    }
}

fn refusal(code: u16, retry_after: Option<u64>) -> Verdict {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the weather is bad", "reason": reason, "code": code});
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.into());
    }
    Verdict::Answer(response)
}
