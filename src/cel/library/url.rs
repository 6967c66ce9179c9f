//! URLs, read as Go's `net/url` reads them: lenient about hosts and paths, nothing is normalised but the scheme.

use super::{Row, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Map, Opaque, Val};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global(
        "url",
        "string -> kubernetes.URL",
        url,
        "Reads an absolute URL, or a path that begins with a slash.",
    ),
    global("isURL", "string -> bool", is_url, "Whether a text is an absolute URL or path."),
    member("getScheme", "kubernetes.URL -> string", scheme, "The scheme, in lower case."),
    member("getHost", "kubernetes.URL -> string", host, "Host and port."),
    member("getHostname", "kubernetes.URL -> string", hostname, "The host without port and brackets."),
    member("getPort", "kubernetes.URL -> string", port, "The port, if it is written."),
    member(
        "getEscapedPath",
        "kubernetes.URL -> string",
        escaped_path,
        "The path, with special characters escaped.",
    ),
    member(
        "getQuery",
        "kubernetes.URL -> map(string, list(string))",
        query,
        "The parameters after the question mark.",
    ),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cel) struct Url {
    scheme: String,
    /// What follows a scheme without slash: `mailto:a@b`.
    opaque: String,
    user: String,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    Query,
    Host,
    User,
    Fragment,
}

impl Url {
    /// Kubernetes first asks whether the whole text is a request URI, then reads it again with its fragment.
    pub(in crate::cel) fn parse(text: &str) -> Option<Self> {
        Self::read(text, true)?;
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = Self::read(text, false)?;
        unescape(fragment, Part::Fragment)?;
        fragment.clone_into(&mut url.fragment);
        Some(url)
    }

    fn read(text: &str, request: bool) -> Option<Self> {
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) || (text.is_empty() && request) {
            return None;
        }
        let (scheme, rest) = split_scheme(text)?;
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            opaque: String::new(),
            user: String::new(),
            host: String::new(),
            path: String::new(),
            query: String::new(),
            fragment: String::new(),
        };
        if text == "*" {
            url.path = "*".to_owned();
            return Some(url);
        }
        let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        query.clone_into(&mut url.query);
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Some(url);
            }
            let first = rest.split('/').next().unwrap_or_default();
            if request || first.contains(':') {
                return None;
            }
        }
        if let Some(after) = rest.strip_prefix("//")
            && (!scheme.is_empty() || (!request && !after.starts_with('/')))
        {
            let (authority, path) = after.split_at_checked(after.find('/').unwrap_or(after.len()))?;
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (user, host),
                None => ("", authority),
            };
            if !user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)) {
                return None;
            }
            unescape(user, Part::User)?;
            user.clone_into(&mut url.user);
            url.host = parse_host(host)?;
            rest = path;
        }
        unescape(rest, Part::Path)?;
        rest.clone_into(&mut url.path);
        Some(url)
    }

    /// The path as written if that is a valid encoding; else it is encoded anew.
    fn escaped_path(&self) -> String {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&b);
        if self.path.bytes().all(valid) {
            return self.path.clone();
        }
        let raw = unescape(&self.path, Part::Path).unwrap_or_default();
        raw.iter().fold(String::new(), |mut out, b| {
            if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(b) {
                out.push(char::from(*b));
            } else {
                let _ = write!(out, "%{b:02X}");
            }
            out
        })
    }

    fn hostname(&self) -> &str {
        let without_port = match self.port() {
            "" => self.host.strip_suffix(':').unwrap_or(&self.host),
            port => self.host.get(..self.host.len() - port.len() - 1).unwrap_or_default(),
        };
        without_port.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(without_port)
    }

    fn port(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => port,
            _ => "",
        }
    }
}

/// The scheme before a colon; `None` when the text begins with a colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return None,
            ':' => return Some((text.get(..i)?, text.get(i + 1..)?)),
            _ => break,
        }
    }
    Some(("", text))
}

fn parse_host(host: &str) -> Option<String> {
    let port_ok = |port: &str| {
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
    };
    if host.starts_with('[') {
        let end = host.rfind(']')?;
        if !port_ok(host.get(end + 1..)?) {
            return None;
        }
    } else if let Some(colon) = host.rfind(':')
        && !port_ok(host.get(colon..)?)
    {
        return None;
    }
    String::from_utf8(unescape(host, Part::Host)?).ok()
}

/// Decodes `%xx`; `None` where that is malformed or a character may not stand there.
fn unescape(text: &str, part: Part) -> Option<Vec<u8>> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        match b {
            b'%' => {
                let value = hex(bytes.get(i + 1))? * 16 + hex(bytes.get(i + 2))?;
                let value = u8::try_from(value).ok()?;
                // In a host only characters beyond ASCII may be escaped, and the percent sign of a zone.
                if part == Part::Host && value < 0x80 && value != b'%' {
                    return None;
                }
                out.push(value);
                i += 3;
                continue;
            }
            b'+' if part == Part::Query => out.push(b' '),
            b if part == Part::Host && b < 0x80 && !host_byte(b) => return None,
            b => out.push(b),
        }
        i += 1;
    }
    Some(out)
}

fn host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&b)
}

fn parse(budget: &Budget, args: &[Val]) -> Result<Option<Url>, Fault> {
    let [Val::String(text)] = args else { return Err(mismatch(args)) };
    budget.text(text.len())?;
    Ok(Url::parse(text))
}

fn url(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match parse(budget, args)? {
        Some(url) => Ok(Val::Opaque(Arc::new(Opaque::Url(url)))),
        None => Err(Fault::invalid("URL parse error during conversion from string")),
    }
}

fn is_url(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(parse(budget, args)?.is_some()))
}

fn of(args: &[Val]) -> Result<&Url, Fault> {
    match args {
        [Val::Opaque(o)] => match o.as_ref() {
            Opaque::Url(url) => Ok(url),
            _ => Err(mismatch(args)),
        },
        _ => Err(mismatch(args)),
    }
}

fn scheme(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::string(&of(args)?.scheme))
}
fn host(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::string(&of(args)?.host))
}
fn hostname(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::string(of(args)?.hostname()))
}
fn port(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::string(of(args)?.port()))
}
fn escaped_path(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let url = of(args)?;
    budget.text(url.path.len() * 3)?;
    Ok(Val::string(url.escaped_path()))
}

/// Parameters that are malformed are left out, as Go does.
fn query(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let url = of(args)?;
    budget.text(url.query.len())?;
    let decode = |s: &str| unescape(s, Part::Query).map(|b| String::from_utf8_lossy(&b).into_owned());
    let mut found: BTreeMap<String, Vec<Val>> = BTreeMap::new();
    for pair in url.query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        budget.step()?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some((key, value)) = decode(key).zip(decode(value)) {
            found.entry(key).or_default().push(Val::string(value));
        }
    }
    let strings = found.into_iter().map(|(k, v)| (Arc::from(k), Val::list(v))).collect();
    Ok(Val::map(Map { strings, ..Map::default() }))
}
