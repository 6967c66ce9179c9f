//! One watch, from its opening to its end.

use super::ListWatch;
use super::wanted::{Listed, is_named};
use crate::spoke::client::{ApiError, Lines};
use crate::spoke::flow::Flow;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// What a watch may last beyond the time that it was asked for.
const MORE: Duration = Duration::from_secs(15);

/// How a watch ended.
pub(super) enum End {
    /// Nobody wants to hear more.
    Stop,
    /// No head came in time.
    Held,
    /// The server ended it; whether anything came.
    Closed(bool),
    /// It does not know the version any more, or not yet.
    Outdated,
    Failed(ApiError),
}

impl<L: FnMut(Listed) -> bool> ListWatch<'_, L> {
    /// Tells what changes after `version`, which moves on with what is told.
    pub(super) async fn watch(&mut self, version: &mut String) -> End {
        match self.went_back(version).await {
            Ok(false) => {}
            Ok(true) => return End::Outdated,
            Err(error) => return End::Failed(error),
        }
        let lasts = self.wanted.lasts(self.client.shares_connections());
        // Whatever is said meanwhile: a server that does not end it may have forgotten it.
        let over = Instant::now() + Duration::from_secs(lasts.into()) + MORE;
        let mut lines = match self.open(version, lasts).await {
            Ok(lines) => lines,
            Err(end) => return end,
        };
        let (mut seen, mut flow) = (false, Flow::new(Instant::now()));
        loop {
            let event = match tokio::time::timeout_at(over, lines.next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) => return End::Closed(seen),
                Ok(Err(error)) => return End::Failed(error),
                Err(_) => return End::Failed(ApiError::Timeout),
            };
            seen = true;
            let pause = flow.read(lines.size, Instant::now());
            if self.client.kept().is_some() && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if let Err(end) = self.tell(event, lines.size, version) {
                return end;
            }
        }
    }

    async fn open(&mut self, version: &str, lasts: u32) -> Result<Lines, End> {
        let timeout = lasts.to_string();
        let path = self.wanted.path_with(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &timeout),
            ("resourceVersion", version),
        ]);
        let opening = self.client.watch(&path, self.wanted.accept(false));
        let lines = match tokio::time::timeout(self.pace.patience(), opening).await {
            Err(_) => return Err(End::Held),
            Ok(Err(ApiError::Other { code: 410, .. } | ApiError::YetToCome { .. })) => {
                return Err(End::Outdated);
            }
            Ok(Err(error)) => return Err(End::Failed(error)),
            Ok(Ok(lines)) => lines,
        };
        if self.pace.opened() {
            tracing::info!(kind = self.wanted.kind, "watches work again");
        }
        Ok(lines)
    }

    /// Tells one event, whose line was so long.
    fn tell(&mut self, event: Value, size: usize, version: &mut String) -> Result<(), End> {
        let (now, heard) = decode(event);
        if let Some(now) = now {
            *version = now;
        }
        let go_on = match heard {
            Heard::Shown(object) => {
                if self.weights.as_mut().is_some_and(|weights| !weights.shown(&object, size)) {
                    return Err(End::Failed(self.too_much()));
                }
                (self.listed)(Listed::Object(object))
            }
            Heard::Gone(object) => {
                self.weights.iter_mut().for_each(|weights| weights.left(&object));
                (self.listed)(Listed::Left(object))
            }
            Heard::Nothing => true,
            Heard::Error(end) => return Err(end),
        };
        if go_on { Ok(()) } else { Err(End::Stop) }
    }
}

/// What an event says.
pub(super) enum Heard {
    Shown(Value),
    Gone(Value),
    Error(End),
    /// A bookmark, or nothing that is known.
    Nothing,
}

/// The version from which a watch would go on after an event, and what it says.
pub(super) fn decode(mut event: Value) -> (Option<String>, Heard) {
    let object = event.get_mut("object").map(Value::take).unwrap_or_default();
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "ERROR" {
        let code = object.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
        let message = object.get("message").and_then(Value::as_str).unwrap_or_default();
        let end = match code.unwrap_or_default() {
            410 => End::Outdated,
            code => End::Failed(ApiError::Other { code, message: crate::api::text::cut(message, 1_000) }),
        };
        return (None, Heard::Error(end));
    }
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
    let heard = match kind {
        "ADDED" | "MODIFIED" if is_named(&object) => Heard::Shown(object),
        "DELETED" if is_named(&object) => Heard::Gone(object),
        _ => Heard::Nothing,
    };
    (version, heard)
}
