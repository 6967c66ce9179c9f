//! A list, then what changes, for ever: pages as small as their objects need, and a watch that is opened again ever more
//! slowly when it does not last.
//!
//! Where nothing comes of a watch, lists take its place until one works: a proxy may hold back the head of an answer until
//! its first byte, or for good.

mod listing;
mod pace;
mod past;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod tests;
mod wanted;
mod watching;

use super::client::{self, ApiError, Verbs};
use super::weight::Weights;
use pace::{How, SOME, WatchPace};
pub(super) use past::Past;
use std::time::Duration;
use tokio::time::Instant;
pub use wanted::Listed;
pub(super) use wanted::Wanted;
use watching::{End, Heard};

/// Objects asked for in one page, at first.
const PAGE: u32 = 500;
/// So many watches in a row that end at once are said.
const SAID: u32 = 3;
/// What did not fit is read again after so many times the duration of the try.
const REST: u32 = 20;
const LONGEST_REST: Duration = Duration::from_secs(120);

/// Objects that a line of a watch tells of or a page of a list holds, and of a page each beside what is read of it where
/// nobody asks who applied what. For `fuzz/`.
pub(crate) fn heard(line: &[u8]) -> (Vec<serde_json::Value>, Vec<(serde_json::Value, serde_json::Value)>) {
    let event = serde_json::from_slice::<serde_json::Value>(line).map(|line| watching::decode(line).1);
    let told = match event {
        Ok(Heard::Shown(object) | Heard::Gone(object)) => Some(object),
        _ => None,
    };
    let pages = client::pages(line);
    (told.into_iter().chain(pages.iter().map(|(whole, _)| whole.clone())).collect(), pages)
}

/// Lists and watches until `listed` or `trouble` says to stop. `trouble` hears the HTTP code, where there was one, and a
/// text for people.
pub(super) async fn follow(
    client: &Verbs,
    wanted: &Wanted,
    listed: impl FnMut(Listed) -> bool,
    trouble: impl FnMut(Option<u16>, &str) -> bool,
) {
    ListWatch::new(client, wanted, WatchPace::default(), listed).follow(trouble).await;
}

/// What lasts from one list and watch to the next.
struct ListWatch<'a, L> {
    client: &'a Verbs,
    wanted: &'a Wanted,
    /// Objects asked for in one page.
    page: u32,
    pace: WatchPace,
    /// Where what is kept of the cluster is bounded.
    weights: Option<Weights>,
    /// When contact was lost, until it is known that the server did not go back meanwhile.
    lost: Option<Instant>,
    /// Hears what is listed and what changes; says whether to go on.
    listed: L,
}

/// What is to be done after a watch.
enum Next {
    List,
    Watch,
    Stop,
}

impl<'a, L: FnMut(Listed) -> bool> ListWatch<'a, L> {
    fn new(client: &'a Verbs, wanted: &'a Wanted, pace: WatchPace, listed: L) -> Self {
        let weights = client.kept().cloned().map(Weights::new);
        Self { client, wanted, page: PAGE, pace, weights, lost: None, listed }
    }

    async fn follow(mut self, mut trouble: impl FnMut(Option<u16>, &str) -> bool) {
        let mut held = false;
        loop {
            let begun = Instant::now();
            let mut version = match self.list().await {
                Ok(Some(version)) => version,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(kind = self.wanted.kind, %error, "a list failed");
                    let code = if error == ApiError::Timeout { Some(504) } else { code(&error) };
                    if !trouble(code, &error.to_string()) {
                        return;
                    }
                    let pause = self.pace.ended(Duration::ZERO, How::Failed, self.client.cluster());
                    tokio::time::sleep(pause.max(rest(&error, begun))).await;
                    continue;
                }
            };
            self.pace.list = begun.elapsed();
            self.lost = None;
            if std::mem::take(&mut held) {
                self.say_held();
            }
            loop {
                let begun = Instant::now();
                let end = self.watch(&mut version).await;
                held = matches!(end, End::Held);
                if matches!(&end, End::Failed(ApiError::Connect { .. } | ApiError::Timeout)) {
                    self.lose(&version);
                }
                match self.after(end, begun, &mut trouble).await {
                    Next::Watch => {}
                    Next::List => break,
                    Next::Stop => return,
                }
            }
        }
    }

    /// Lists are answered, and no watch begins. People are told the second time in a row: a busy start is nothing that they
    /// could do something about, and to say it of a thousand clusters would make it busier.
    fn say_held(&mut self) {
        if self.pace.held() {
            tracing::warn!(
                kind = self.wanted.kind,
                "no answer to a watch begins, though lists are answered: lists are read instead"
            );
            return;
        }
        let text = "it holds back the beginning of watches: lists are read every few seconds instead";
        self.client.note("watch", text);
    }

    /// Pauses after a watch that began at this time, as its end asks for.
    async fn after(
        &mut self,
        end: End,
        begun: Instant,
        trouble: &mut impl FnMut(Option<u16>, &str) -> bool,
    ) -> Next {
        let lasted = begun.elapsed();
        let how = match &end {
            End::Stop => return Next::Stop,
            End::Held => return Next::List,
            End::Closed(seen) if *seen || lasted >= SOME => How::Worked,
            End::Outdated => How::Outdated,
            End::Closed(_) | End::Failed(_) => How::Failed,
        };
        let mut pause = self.pace.ended(lasted, how, self.client.cluster());
        if let End::Failed(error) = &end {
            tracing::debug!(kind = self.wanted.kind, %error, "a watch failed");
            if !trouble(code(error), &error.to_string()) {
                return Next::Stop;
            }
            pause = pause.max(rest(error, begun));
        }
        let contact = matches!(&end, End::Failed(error)
            if error.is_contact_problem() && !matches!(error, ApiError::NotAnApi { .. }));
        if self.pace.attempt > SAID && !contact {
            self.client.note("watch", "watches end at once: lists are read now and then instead");
        }
        tokio::time::sleep(pause).await;
        match end {
            // What showed nothing and did not last may have missed something.
            End::Closed(seen) if seen || pause.is_zero() => Next::Watch,
            End::Failed(ApiError::Connect { .. } | ApiError::Timeout) => Next::Watch,
            _ => Next::List,
        }
    }
}

/// The pause after what was too large, by the time that it took.
fn rest(error: &ApiError, begun: Instant) -> Duration {
    let large = matches!(error, ApiError::TooLarge { .. });
    if large { (begun.elapsed() * REST).min(LONGEST_REST) } else { Duration::ZERO }
}

fn code(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::NotFound | ApiError::KindUnknown | ApiError::NamespaceMissing { .. } => Some(404),
        ApiError::Forbidden { .. } => Some(403),
        ApiError::Invalid { .. } => Some(400),
        ApiError::Unauthorized => Some(401),
        ApiError::Throttled => Some(429),
        ApiError::Unavailable { .. } | ApiError::GroupUnavailable { .. } => Some(503),
        ApiError::TooLarge { .. } => Some(413),
        ApiError::Other { code, .. } => Some(*code),
        _ => None,
    }
}
