//! The suite that holds the model to the truth: scripts of requests, played against any server, and what is compared of the
//! answers.
//!
//! Of an answer, ids, times and the numbers of versions are left out; which ids are the same and the order of versions
//! are not. What a real kube-apiserver answered is kept beside the scripts, in the folder `truth`.

use regex::{Captures, Regex};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// A topic: its name, its script, and what a real server answered.
pub struct Topic {
    pub name: &'static str,
    pub script: &'static str,
    pub truth: &'static str,
}

macro_rules! topics {
    ($($name:literal),*) => {
        &[$(Topic {
            name: $name,
            script: include_str!(concat!("../truth/", $name, ".script")),
            truth: include_str!(concat!("../truth/", $name, ".json")),
        }),*]
    };
}

pub const TOPICS: &[Topic] = topics![
    "apply",
    "crud",
    "customs",
    "discovery",
    "errors",
    "events",
    "lease",
    "leaving",
    "lists",
    "patches",
    "watches"
];

/// One request, or an end of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub method: String,
    pub path: String,
    /// Content type and text.
    pub body: Option<(String, String)>,
    pub accept: String,
    /// A name that stands for a bearer token: `admin`, `bob` who may do nothing, `nobody` whom no server knows.
    pub user: String,
}

/// What a server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    pub content: String,
    pub warnings: Vec<String>,
    pub body: String,
}

/// A server that a script is played against.
pub trait Subject {
    /// Why it failed to answer at all.
    type Error: std::fmt::Display;
    /// # Errors
    /// No answer.
    fn ask(&mut self, ask: &Ask) -> Result<Said, Self::Error>;
    /// # Errors
    /// The watch is refused.
    fn watch(&mut self, name: &str, ask: &Ask) -> Result<(), Self::Error>;
    /// The lines that a watch told by now.
    ///
    /// # Errors
    /// There is no such watch.
    fn events(&mut self, name: &str) -> Result<Vec<String>, Self::Error>;
    fn sleep(&mut self, pause: Duration);
}

fn media(word: &str) -> Option<&'static str> {
    Some(match word {
        "merge" => "application/merge-patch+json",
        "json" => "application/json-patch+json",
        "apply" => "application/apply-patch+yaml",
        "strategic" => "application/strategic-merge-patch+json",
        "plain" => "text/plain",
        _ => return None,
    })
}

fn accept(word: &str) -> Option<&'static str> {
    Some(match word {
        "metadata" => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "metadatalist" => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "html" => "text/html",
        _ => return None,
    })
}

fn parse(line: &str) -> Ask {
    let (method, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut ask = Ask {
        method: method.into(),
        path: path.into(),
        accept: "application/json".into(),
        user: "admin".into(),
        body: None,
    };
    let mut rest = rest.to_owned();
    // What follows a body: `?more=query` and `as=user`.
    if let Some((before, user)) =
        rest.clone().rsplit_once("as=").filter(|(b, _)| b.is_empty() || b.ends_with(' '))
    {
        ask.user = user.to_owned();
        rest = before.trim_end().to_owned();
    }
    if let Some((before, query)) = rest.clone().rsplit_once(" ?") {
        ask.path = format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' });
        rest = before.to_owned();
    }
    let (word, text) = rest.split_once(' ').unwrap_or((&rest, ""));
    if let Some(media) = media(word) {
        ask.body = Some((media.into(), text.into()));
    } else if let Some(format) = accept(word) {
        ask.accept = format.into();
    } else if !rest.is_empty() {
        ask.body = Some(("application/json".into(), rest));
    }
    ask
}

/// Plays a script; the answers, one for each line that has one.
///
/// # Errors
/// The server did not answer.
pub fn play<S: Subject>(script: &str, subject: &mut S) -> Result<Vec<Value>, String> {
    let mut answers = Vec::new();
    let (mut version, mut next) = (String::new(), String::new());
    for line in script.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let filled = line.replace("$version", &version).replace("$continue", &next);
        let failed = |error: S::Error| format!("{line}: {error}");
        let mut words = filled.splitn(3, ' ');
        match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            ("SLEEP", millis) => subject.sleep(Duration::from_millis(millis.parse().unwrap_or_default())),
            ("WATCH", name) => {
                let ask = parse(&format!("GET {}", words.next().unwrap_or_default()));
                let glue = if ask.path.contains('?') { '&' } else { '?' };
                let path = format!("{}{glue}watch=true&timeoutSeconds=30", ask.path);
                subject.watch(name, &Ask { path, ..ask }).map_err(failed)?;
            }
            ("EVENTS", name) => {
                let events = subject.events(name).map_err(failed)?;
                let events: Vec<Value> =
                    events.iter().map(|e| serde_json::from_str(e).unwrap_or_else(|_| json!(e))).collect();
                answers.push(json!({"ask": line, "events": events}));
            }
            _ => {
                let said = subject.ask(&parse(&filled)).map_err(failed)?;
                let body: Value = serde_json::from_str(&said.body).unwrap_or_else(|_| json!(said.body));
                let found = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
                if let Some(found) = found("/metadata/resourceVersion").filter(|v| !v.is_empty()) {
                    version = found;
                }
                if let Some(found) = found("/metadata/continue") {
                    next = found;
                }
                let mut answer =
                    json!({"ask": line, "status": said.status, "content": said.content, "body": body});
                if !said.warnings.is_empty() {
                    answer["warnings"] = json!(said.warnings);
                }
                answers.push(answer);
            }
        }
    }
    Ok(without_chance(answers))
}

static UID: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").ok());
/// Numbers of versions, times, and where a server keeps things, in texts.
static CHANCE: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let all = [
        ("gen-[a-z0-9]{5}", "gen-<letters>"),
        (r"current: \d+", "current: <version>"),
        (r"in record \(\d+\)", "in record (<version>)"),
        (r"too old resource version: \d+ \(\d+\)", "too old resource version: <version>"),
        (r"Key: /[a-z]+/", "Key: /<prefix>/"),
        (r#"User "[^"]*""#, r#"User "<user>""#),
        (r#""resourceVersion\\?":\\?"\d+\\?""#, "<version>"),
        (r#"Invalid value: "\{.*\}": "#, r#"Invalid value: "<object>": "#),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    ];
    all.iter().filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, *with))).collect()
});

/// Leaves out what is different each time.
fn without_chance(mut answers: Vec<Value>) -> Vec<Value> {
    let mut versions: Vec<u64> = Vec::new();
    answers.iter().for_each(|answer| numbers(answer, &mut versions));
    versions.sort_unstable();
    versions.dedup();
    let mut ids = BTreeMap::new();
    answers.iter_mut().for_each(|answer| clean(answer, "", &versions, &mut ids));
    answers
}

/// Whether the version of a list or a bookmark is meant, which other writes move on.
fn moves(object: &Value) -> bool {
    object.get("items").is_some_and(Value::is_array)
}

fn is_bookmark(event: &Value) -> bool {
    event["type"] == "BOOKMARK"
}

fn numbers(value: &Value, found: &mut Vec<u64>) {
    match value {
        Value::Object(fields) => {
            let skip = moves(value) || is_bookmark(value);
            for (name, inner) in fields {
                match inner.as_str().filter(|_| name == "resourceVersion") {
                    Some(text) => found.extend(text.parse::<u64>().ok()),
                    None if skip && matches!(name.as_str(), "metadata" | "object") => {}
                    None if name == "ask" => {}
                    None => numbers(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        _ => {}
    }
}

fn clean(value: &mut Value, name: &str, versions: &[u64], ids: &mut BTreeMap<String, usize>) {
    let moving = [
        ("/metadata/resourceVersion", moves(value)),
        ("/object/metadata/resourceVersion", is_bookmark(value)),
    ];
    for (pointer, _) in moving.into_iter().filter(|(_, moves)| *moves) {
        if let Some(version) = value.pointer_mut(pointer) {
            *version = json!("<now>");
        }
    }
    match value {
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "ask").for_each(|(name, inner)| {
                clean(inner, name, versions, ids);
            })
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| clean(item, name, versions, ids));
            // They stand in the order of their seconds, and two writes may fall into one or into two.
            if name == "managedFields" {
                items.sort_by_cached_key(Value::to_string);
            }
        }
        Value::String(text) => {
            let rank = |text: &str| versions.binary_search(&text.parse().ok()?).ok();
            *text = match name {
                "resourceVersion" if rank(text).is_some() => {
                    format!("<version {}>", rank(text).unwrap_or_default())
                }
                "continue" if !text.is_empty() => "<continue>".into(),
                "serverAddress" | "storageVersionHash" => format!("<{name}>"),
                _ => plain(text, ids),
            };
        }
        _ => {}
    }
}

fn plain(text: &str, ids: &mut BTreeMap<String, usize>) -> String {
    let mut text = text.to_owned();
    if let Some(uid) = &*UID {
        let numbered = |found: &Captures<'_>| {
            let next = ids.len();
            format!("<uid {}>", ids.entry(found[0].to_owned()).or_insert(next))
        };
        text = uid.replace_all(&text, numbered).into_owned();
    }
    for (pattern, with) in CHANCE.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

/// The model as a subject, on a clock of its own.
pub mod model {
    use super::{Ask, Said, Subject};
    use crate::access::Denial;
    use crate::server::{Answer, Options, Server};
    use crate::watch::Watch;
    use http::{Request, header};
    use hyper::body::Bytes;
    use jiff::{SignedDuration, Timestamp};
    use std::collections::BTreeMap;
    use std::time::Duration;

    pub struct Model {
        server: Server,
        now: Timestamp,
        watches: BTreeMap<String, Watch>,
    }

    impl Default for Model {
        fn default() -> Self {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 60);
            // A bare API server: nobody collects what is left behind.
            let options = Options { collect_after: None, ..Options::default() };
            let mut server = Server::new(options, now);
            server.allow_token("admin", "admin");
            server.allow_token("bob", "bob");
            let all = |verb: &str| Denial { user: "bob".into(), verb: verb.into(), ..Denial::default() };
            server.deny(vec![all("")]);
            Self { server, now, watches: BTreeMap::new() }
        }
    }

    impl Model {
        fn request(ask: &Ask) -> Result<Request<Bytes>, String> {
            let mut builder = Request::builder()
                .method(ask.method.as_str())
                .uri(&ask.path)
                .header(header::ACCEPT, &ask.accept)
                .header(header::USER_AGENT, "suite/1")
                .header(header::AUTHORIZATION, format!("Bearer {}", ask.user));
            if let Some((media, _)) = &ask.body {
                builder = builder.header(header::CONTENT_TYPE, media);
            }
            let text = ask.body.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
            builder.body(text.into()).map_err(|e| e.to_string())
        }

        fn tick(&mut self) {
            self.now += SignedDuration::from_millis(3);
        }
    }

    impl Subject for Model {
        type Error = String;

        fn ask(&mut self, ask: &Ask) -> Result<Said, String> {
            self.tick();
            match self.server.handle(self.now, &Self::request(ask)?) {
                Answer::Reply(reply) => {
                    let text = |name: header::HeaderName| -> Vec<String> {
                        let all = reply.headers().get_all(name).iter();
                        all.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect()
                    };
                    Ok(Said {
                        status: reply.status().as_u16(),
                        content: text(header::CONTENT_TYPE).concat(),
                        warnings: text(header::WARNING),
                        body: String::from_utf8_lossy(reply.body()).into_owned(),
                    })
                }
                Answer::Watch(mut watch) => {
                    let lines = self.server.read(&mut watch, self.now).concat();
                    let body = String::from_utf8_lossy(&lines).into_owned();
                    Ok(Said { status: 200, content: "application/json".into(), warnings: Vec::new(), body })
                }
            }
        }

        fn watch(&mut self, name: &str, ask: &Ask) -> Result<(), String> {
            self.tick();
            match self.server.handle(self.now, &Self::request(ask)?) {
                Answer::Watch(watch) => {
                    self.watches.insert(name.to_owned(), *watch);
                    Ok(())
                }
                Answer::Reply(reply) => Err(format!("refused with {}", reply.status())),
            }
        }

        fn events(&mut self, name: &str) -> Result<Vec<String>, String> {
            let watch = self.watches.get_mut(name).ok_or("no such watch")?;
            let lines = self.server.read(watch, self.now);
            Ok(lines.iter().map(|l| String::from_utf8_lossy(l).trim_end().to_owned()).collect())
        }

        fn sleep(&mut self, pause: Duration) {
            self.now += SignedDuration::try_from(pause).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_answers_as_a_real_server_did() {
        let mut wrong = Vec::new();
        let mut asked = 0;
        for topic in TOPICS {
            let truth: Vec<Value> = serde_json::from_str(topic.truth).unwrap();
            let found = play(topic.script, &mut model::Model::default()).unwrap();
            assert_eq!(found.len(), truth.len(), "{}", topic.name);
            asked += found.len();
            for (found, truth) in found.iter().zip(&truth).filter(|(a, b)| a != b) {
                wrong
                    .push(format!("{}: {}\n  is      {truth}\n  modelled {found}", topic.name, truth["ask"]));
            }
        }
        assert!(asked > 250, "{asked}");
        assert!(wrong.is_empty(), "{} of {asked} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn the_same_requests_give_the_same_bytes() {
        for topic in TOPICS {
            let again = || play(topic.script, &mut model::Model::default()).unwrap();
            assert_eq!(again(), again(), "{}", topic.name);
        }
    }
}
