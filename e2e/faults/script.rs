//! Which requests meet which fault, and what was asked so far.

use http::Method;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A request, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
}

impl Asked {
    pub fn watches(&self) -> bool {
        self.query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }

    /// A change of what the server keeps; a dry run is none, nor is what is told to people.
    pub fn writes(&self) -> bool {
        let path = self.path.as_str();
        let keeps = !path.starts_with("/apis/authorization.k8s.io/")
            && !path.starts_with("/apis/authentication.k8s.io/")
            && !path.ends_with("/events")
            && !path.contains("/events/");
        self.method != Method::GET && !self.query.contains("dryRun=All") && keeps
    }
}

/// Which requests are meant; by default all.
#[derive(Clone, Debug, Default)]
pub struct When {
    method: Option<Method>,
    at: Option<String>,
    under: Option<String>,
    not_under: Vec<String>,
    watches: Option<bool>,
    writes: Option<bool>,
}

impl When {
    pub fn any() -> Self {
        Self::default()
    }
    pub fn watches() -> Self {
        Self { watches: Some(true), ..Self::default() }
    }
    pub fn writes() -> Self {
        Self { writes: Some(true), ..Self::default() }
    }
    /// Reads that end.
    pub fn reads() -> Self {
        Self { writes: Some(false), watches: Some(false), ..Self::default() }
    }
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }
    /// Exactly this path.
    pub fn at(mut self, path: &str) -> Self {
        self.at = Some(path.to_owned());
        self
    }
    /// Paths that begin like this.
    pub fn under(mut self, prefix: &str) -> Self {
        self.under = Some(prefix.to_owned());
        self
    }

    /// But for paths that begin like this.
    pub fn not_under(mut self, prefix: &str) -> Self {
        self.not_under.push(prefix.to_owned());
        self
    }

    pub fn fits(&self, asked: &Asked) -> bool {
        self.method.as_ref().is_none_or(|method| *method == asked.method)
            && self.at.as_ref().is_none_or(|path| *path == asked.path)
            && self.under.as_ref().is_none_or(|prefix| asked.path.starts_with(prefix))
            && !self.not_under.iter().any(|prefix| asked.path.starts_with(prefix))
            && self.watches.is_none_or(|watches| watches == asked.watches())
            && self.writes.is_none_or(|writes| writes == asked.writes())
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It is answered with this status, by nobody but the proxy. With `Retry-After` where seconds are given.
    Answer(u16, Option<u64>),
    /// It is sent on only after this time.
    Late(Duration),
    /// It is never answered, nor sent on.
    Unanswered,
    /// It is sent on and done; the connection breaks before its answer.
    AnswerLost,
    /// The head of the answer comes with the first byte of its body, as of a proxy that buffers.
    HeadHeld,
    /// The body breaks off after so many bytes.
    Truncated(u64),
    /// The body ends after so many bytes as though that were all.
    Short(u64),
    /// The body is one line without end.
    Endless,
    /// A watch shows new objects without end.
    Flood,
    /// The body is small, and so large when it is unpacked.
    GzipBomb(u64),
    /// A web page, with status 200.
    Page,
    /// `items` of a list is null.
    NullItems,
    /// A list has no items.
    NoItems,
    /// The answer is to be had from this host.
    Redirect(String),
}

/// A fault, and the requests that meet it.
#[derive(Clone, Debug)]
pub struct Rule {
    when: When,
    fault: Fault,
    /// Of those that fit, the first that meets it, from 1, and the last.
    first: u64,
    last: u64,
    /// Of those, this part, by chance.
    share: f64,
    fitted: u64,
}

impl Rule {
    pub fn new(when: When, fault: Fault) -> Self {
        Self { when, fault, first: 1, last: u64::MAX, share: 1.0, fitted: 0 }
    }
    /// Only the n-th request that fits, from 1.
    pub fn nth(mut self, n: u64) -> Self {
        (self.first, self.last) = (n, n);
        self
    }
    /// Only the first so many requests that fit.
    pub fn times(mut self, n: u64) -> Self {
        self.last = n;
        self
    }
    /// By chance; 0.5 is every other.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }
}

/// A sequence of numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// From 0 up to 1.
    pub fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(high) / f64::from(u32::MAX)
    }
}

/// The rules in their order: the first that meets a request decides.
#[derive(Debug)]
pub struct Script {
    rules: Vec<Rule>,
    chance: Chance,
}

impl Script {
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), chance: Chance::new(seed) }
    }
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }
    pub fn clear(&mut self) {
        self.rules.clear();
    }
    pub fn decide(&mut self, asked: &Asked) -> Option<Fault> {
        for rule in &mut self.rules {
            if !rule.when.fits(asked) {
                continue;
            }
            rule.fitted += 1;
            let counted = (rule.first..=rule.last).contains(&rule.fitted);
            if counted && (rule.share >= 1.0 || self.chance.part() < rule.share) {
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub connection: u64,
    pub asked: Asked,
    /// Of the answer; none while there is none.
    pub status: Option<u16>,
    pub fault: Option<Fault>,
}

/// Everything that happened at a proxy.
#[derive(Debug)]
pub struct Log {
    begun: Instant,
    pub seen: Vec<Seen>,
    /// What trials did, and what befell connections.
    acts: Vec<(Instant, String)>,
}

/// Lines of a log that stand in a failure.
const TOLD: usize = 60;

impl Log {
    pub fn new() -> Self {
        Self { begun: Instant::now(), seen: Vec::new(), acts: Vec::new() }
    }

    pub fn act(&mut self, what: String) {
        self.acts.push((Instant::now(), what));
    }

    /// Takes a request in; what names it afterwards.
    pub fn ask(&mut self, connection: u64, asked: Asked) -> usize {
        self.seen.push(Seen { at: Instant::now(), connection, asked, status: None, fault: None });
        self.seen.len() - 1
    }

    /// The last lines, in the order of time.
    pub fn told(&self) -> String {
        let mut lines: Vec<(Instant, String)> = self.acts.clone();
        lines.extend(self.seen.iter().map(|seen| (seen.at, line(seen))));
        lines.sort_by_key(|(at, _)| *at);
        let left_out = lines.len().saturating_sub(TOLD);
        let mut text = if left_out > 0 { format!("({left_out} lines before)\n") } else { String::new() };
        for (at, line) in lines.iter().skip(left_out) {
            let _ = writeln!(text, "{:9.3} s  {line}", at.duration_since(self.begun).as_secs_f64());
        }
        text
    }
}

fn line(seen: &Seen) -> String {
    let asked = &seen.asked;
    let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
    let status = seen.status.map_or("no answer".to_owned(), |status| status.to_string());
    let fault = seen.fault.as_ref().map(|fault| format!(" ({fault:?})")).unwrap_or_default();
    format!("#{} {} {}{query} -> {status}{fault}", seen.connection, asked.method, asked.path)
}
