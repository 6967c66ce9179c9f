//! Watches: a cursor on the changes of a server.

use crate::kinds::{Kind, Resource};
use crate::list::{options_invalid, version_of};
use crate::request::Format;
use crate::selectors::Selectors;
use crate::server::{Context, Server, formatted};
use crate::status::Refusal;
use crate::store::Stored;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// A watch without a time limit of its own lasts so long.
const LASTS: SignedDuration = SignedDuration::from_mins(30);
const BOOKMARK: SignedDuration = SignedDuration::from_mins(1);
/// The last bookmark comes so long before the end.
const LAST_BOOKMARK: SignedDuration = SignedDuration::from_secs(2);

/// An open watch. It holds no server: [`Server::read`] moves it on.
pub struct Watch {
    kind: Arc<Kind>,
    resource: Resource,
    prefix: String,
    selectors: Selectors,
    format: Format,
    bookmarks: bool,
    /// All up to this version was told.
    version: u64,
    next_bookmark: Option<Timestamp>,
    deadline: Timestamp,
    ready: VecDeque<Bytes>,
    epoch: u64,
    ended: bool,
}

impl Watch {
    /// Nothing more will come.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// When something happens to it by itself: a bookmark, or its end.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        self.next_bookmark.map_or(self.deadline, |at| at.min(self.deadline))
    }

    fn event(&self, ty: &str, object: &Value) -> Bytes {
        let mut line = json!({"type": ty, "object": formatted(object, self.format)}).to_string();
        line.push('\n');
        line.into()
    }

    /// The event of an object that was written, from its text where that is what this watch shows.
    fn written(&self, ty: &str, shown: &Value, stored: Option<&Stored>) -> Bytes {
        let text = stored.filter(|s| self.format == Format::Full && s.stamp == self.kind.stamp);
        let own = shown.get("apiVersion").and_then(Value::as_str) == Some(&*self.kind.api_version());
        match text.and_then(Stored::text).filter(|_| own) {
            Some(text) => {
                [br#"{"object":"#, &text[..], br#","type":""#, ty.as_bytes(), b"\"}\n"].concat().into()
            }
            None => self.event(ty, shown),
        }
    }

    /// What it has to go on from is forgotten.
    fn outdated(&mut self, oldest: u64) {
        let message = format!("too old resource version: {} ({oldest})", self.version);
        let status = Refusal::new(410, "Expired", &message, None).status();
        let mut line = json!({"type": "ERROR", "object": status}).to_string();
        line.push('\n');
        self.ready.push_back(line.into());
        self.ended = true;
    }

    fn bookmark(&mut self, initial: bool) {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object =
            json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata});
        let line = self.event("BOOKMARK", &object);
        self.ready.push_back(line);
    }
}

impl Server {
    pub(crate) fn open(&self, context: &Context<'_>) -> Result<Watch, Refusal> {
        let query = &context.query;
        let mut fields = query.get("fieldSelector").to_owned();
        if !context.name.is_empty() {
            fields = format!("metadata.name={}", context.name);
        }
        let selectors = Selectors::parse(context.kind.custom, query.get("labelSelector"), &fields)?;
        let rule = query.get("resourceVersionMatch");
        let initial = query.is("sendInitialEvents");
        if query.has("sendInitialEvents") && rule != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(options_invalid("resourceVersionMatch", why));
        }
        if !query.has("sendInitialEvents") && !rule.is_empty() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(options_invalid("resourceVersionMatch", why));
        }
        let wanted = query.get("resourceVersion");
        let version = version_of(wanted).map_err(|_| {
            let why = format!("resourceVersion: Invalid value: {wanted:?}: strconv.ParseUint: parsing {wanted:?}: invalid syntax");
            Refusal::internal(&why)
        })?;
        let seconds = query.number("timeoutSeconds")?;
        let lasts = if seconds == 0 {
            LASTS
        } else {
            SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(3600))
        };
        let deadline = context.now.checked_add(lasts).unwrap_or(context.now);
        let bookmarks = query.is("allowWatchBookmarks");
        let mut watch = Watch {
            kind: Arc::clone(&context.kind),
            resource: context.kind.resource(),
            prefix: if context.namespace.is_empty() {
                String::new()
            } else {
                format!("{}/", context.namespace)
            },
            selectors,
            format: context.format,
            bookmarks,
            version,
            next_bookmark: None,
            deadline,
            ready: VecDeque::new(),
            epoch: self.epoch,
            ended: false,
        };
        watch.next_bookmark = next_bookmark(&watch, context.now);
        if initial || version == 0 {
            watch.version = self.store.version;
            for (_, stored) in
                self.store.of(&watch.resource).filter(|(key, _)| key.starts_with(&watch.prefix))
            {
                let object = self.shown(&watch.kind, stored);
                if watch.selectors.match_object(&object) {
                    let line = watch.event("ADDED", &object);
                    watch.ready.push_back(line);
                }
            }
            if bookmarks && (initial || wanted == "0") {
                watch.bookmark(true);
            }
        } else if version < self.store.forgotten {
            watch.outdated(self.store.forgotten);
        }
        Ok(watch)
    }

    /// The lines that are due, each one event. After [`Watch::ended`] the stream is to be closed.
    pub fn read(&mut self, watch: &mut Watch, now: Timestamp) -> Vec<Bytes> {
        self.advance(now);
        if !watch.ended && watch.epoch == self.epoch {
            self.follow(watch);
        }
        let kind = &watch.kind;
        let served = self.kinds.get(&(kind.group.clone(), kind.version.clone(), kind.plural.clone()));
        let outdated = served.is_none_or(|served| served.stamp != kind.stamp) || watch.epoch != self.epoch;
        if watch.next_bookmark.is_some_and(|at| at <= now) && !outdated && !watch.ended {
            watch.bookmark(false);
            watch.next_bookmark = next_bookmark(watch, now);
        }
        watch.ended |= outdated || watch.deadline <= now;
        watch.ready.drain(..).collect()
    }

    fn follow(&self, watch: &mut Watch) {
        if watch.version < self.store.forgotten {
            return watch.outdated(self.store.forgotten);
        }
        let mut lines = Vec::new();
        for change in self.store.since(watch.version) {
            if change.resource != watch.resource || !change.key.starts_with(&watch.prefix) {
                continue;
            }
            let show = |stored: &Option<Stored>| stored.as_ref().map(|s| self.shown(&watch.kind, s));
            let fits = |object: &Option<Arc<Value>>| {
                object.as_ref().is_some_and(|o| watch.selectors.match_object(o))
            };
            let (before, after) = (show(&change.before), show(&change.after));
            let line = match (fits(&before), fits(&after), before, after) {
                (false, true, _, Some(after)) => watch.written("ADDED", &after, change.after.as_ref()),
                (true, true, _, Some(after)) => watch.written("MODIFIED", &after, change.after.as_ref()),
                (true, false, Some(before), _) => {
                    let mut object = (*before).clone();
                    object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                    watch.event("DELETED", &object)
                }
                _ => continue,
            };
            lines.push(line);
        }
        watch.ready.extend(lines);
        watch.version = watch.version.max(self.store.version);
    }
}

/// About once a minute, and shortly before the end.
fn next_bookmark(watch: &Watch, now: Timestamp) -> Option<Timestamp> {
    if !watch.bookmarks {
        return None;
    }
    let minute = now.checked_add(BOOKMARK).ok()?;
    let last = watch.deadline.checked_sub(LAST_BOOKMARK).ok()?;
    Some(if last > now { minute.min(last) } else { minute })
}
