//! A list, then what changes, for ever: pages as small as their objects need, and a watch that is opened again ever more
//! slowly when it does not last.
//!
//! Where nothing comes of a watch, lists take its place until one works: a proxy may hold back the head of an answer until
//! its first byte, or for good.

use super::client::{ApiError, Lines, Verbs};
use super::flow::Flow;
use super::health::backoff;
use super::watch::{LONG_TIMEOUT_SECONDS, Listed, SERVER_TIMEOUT_SECONDS};
use super::weight::{KEPT, Weights};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Objects asked for in one page, at first.
const PAGE: u32 = 500;
/// A watch without a head for this long is held back.
const HELD: Duration = Duration::from_secs(12);
/// The pause between two lists where watches are held back; for costly lists so many times their duration.
const POLL: Duration = Duration::from_secs(5);
const POLL_TIMES: u32 = 20;
/// A watch that lasted so long has worked.
const LASTED: Duration = Duration::from_secs(20);
/// One that was ended after so long is opened again at once, while there is credit: an API server ends the watches of a
/// kind whose CRD changes.
const SOME: Duration = Duration::from_secs(1);
/// Credit comes with time, up to the most; to open a watch at once costs so much.
const CREDIT: Duration = Duration::from_secs(100);
const COST: Duration = Duration::from_secs(10);
/// The pause without credit.
const SHORT: Duration = Duration::from_secs(2);
/// So many watches in a row that end at once are said.
const SAID: u32 = 3;
/// What did not fit is read again after so many times the duration of the try.
const REST: u32 = 20;
const LONGEST_REST: Duration = Duration::from_secs(120);
/// So many heads in time end polling.
const PROMPT: u32 = 2;

/// What a watch may last beyond the time that it was asked for.
const MORE: Duration = Duration::from_secs(15);

/// What is listed and watched.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Of the collection.
    pub path: String,
    /// For people.
    pub kind: String,
    /// Names and values in the query.
    pub selectors: Vec<(&'static str, String)>,
    /// Metadata is enough.
    pub metadata: bool,
}

impl Wanted {
    /// Seconds of one watch. That of metadata alone, of the CRDs, tells whether there is contact.
    fn lasts(&self, shares_connections: bool) -> u32 {
        if shares_connections && !self.metadata { LONG_TIMEOUT_SECONDS } else { SERVER_TIMEOUT_SECONDS }
    }

    fn accept(&self, list: bool) -> &'static str {
        match (self.metadata, list) {
            (false, _) => "application/json",
            (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        }
    }

    fn path_with(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.selectors).extend_pairs(more);
        format!("{}?{}", self.path, query.finish())
    }
}

/// When to try again, and how.
#[derive(Debug)]
struct WatchPace {
    /// A watch without a head for this long is held back.
    held: Duration,
    /// The least pause between two lists where watches are held back.
    poll: Duration,
    /// Watches in a row that did not last.
    attempt: u32,
    /// The last one worked.
    worked: bool,
    credit: Duration,
    /// Lists take the place of the watch.
    polling: bool,
    /// Heads in a row that came in time.
    prompt: u32,
    /// What the last list took.
    list: Duration,
}

impl Default for WatchPace {
    fn default() -> Self {
        Self {
            held: HELD,
            poll: POLL,
            attempt: 0,
            worked: false,
            credit: CREDIT,
            polling: false,
            prompt: 0,
            list: Duration::ZERO,
        }
    }
}

impl WatchPace {
    fn patience(&self) -> Duration {
        if self.polling { self.poll.max(self.list * POLL_TIMES) } else { self.held }
    }

    /// The head of a watch came in time; says whether this ends polling.
    fn opened(&mut self) -> bool {
        self.prompt += 1;
        let ends = self.polling && self.prompt >= PROMPT;
        self.polling &= !ends;
        ends
    }

    /// No head came in time, and lists are answered; says whether this begins polling.
    fn held(&mut self) -> bool {
        self.prompt = 0;
        !std::mem::replace(&mut self.polling, true)
    }

    /// The pause after a watch, by the time that it lasted and how it ended.
    fn ended(&mut self, lasted: Duration, how: How, cluster: &str) -> Duration {
        self.earn(lasted);
        let after_one_that_worked = std::mem::replace(&mut self.worked, how == How::Worked);
        if lasted >= LASTED || how == How::Worked {
            self.attempt = 0;
        }
        match how {
            _ if lasted >= LASTED => Duration::ZERO,
            How::Worked if self.credit >= COST => {
                self.credit -= COST;
                Duration::ZERO
            }
            How::Worked => SHORT,
            How::Outdated if after_one_that_worked => Duration::ZERO,
            How::Outdated | How::Failed => {
                let pause = backoff(self.attempt, cluster);
                self.attempt = self.attempt.saturating_add(1);
                self.earn(pause);
                pause
            }
        }
    }

    fn earn(&mut self, time: Duration) {
        self.credit = (self.credit + time).min(CREDIT);
    }
}

/// What came of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Something, and the server ended it.
    Worked,
    /// The server forgot the version to begin with; it does when the CRD of the kind changes.
    Outdated,
    Failed,
}

/// How a watch ended.
enum End {
    /// Nobody wants to hear more.
    Stop,
    /// No head came in time.
    Held,
    /// The server ended it; whether anything came.
    Closed(bool),
    /// It does not know the version any more.
    Outdated,
    Failed(ApiError),
}

/// Lists and watches until `listed` or `trouble` says to stop. `trouble` hears the HTTP code, where there was one, and a
/// text for people.
pub(super) async fn follow(
    client: &Verbs,
    wanted: &Wanted,
    listed: impl FnMut(Listed) -> bool,
    trouble: impl FnMut(Option<u16>, &str) -> bool,
) {
    follow_at(WatchPace::default(), client, wanted, listed, trouble).await;
}

async fn follow_at(
    mut pace: WatchPace,
    client: &Verbs,
    wanted: &Wanted,
    mut listed: impl FnMut(Listed) -> bool,
    mut trouble: impl FnMut(Option<u16>, &str) -> bool,
) {
    let (mut page, mut held) = (PAGE, false);
    let mut weights = client.kept().cloned().map(Weights::new);
    let cluster = client.cluster().to_owned();
    'list: loop {
        let begun = Instant::now();
        let mut version = match list(client, wanted, &mut page, &mut weights, &mut listed).await {
            Ok(Some(version)) => version,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(kind = wanted.kind, %error, "a list failed");
                if !trouble(code(&error), &error.to_string()) {
                    return;
                }
                let pause = pace.ended(Duration::ZERO, How::Failed, &cluster);
                tokio::time::sleep(pause.max(rest(&error, begun))).await;
                continue;
            }
        };
        pace.list = begun.elapsed();
        if std::mem::take(&mut held) {
            if pace.held() {
                tracing::warn!(
                    kind = wanted.kind,
                    "no answer to a watch begins, though lists are answered: lists are read instead"
                );
            }
            let text = "it holds back the beginning of watches: lists are read every few seconds instead";
            client.note("watch", text);
        }
        loop {
            let begun = Instant::now();
            let end = watch(client, wanted, &mut version, &mut pace, &mut weights, &mut listed).await;
            let mut pause = match &end {
                End::Stop => return,
                End::Held => {
                    held = true;
                    continue 'list;
                }
                end => {
                    let lasted = begun.elapsed();
                    let how = match end {
                        End::Closed(seen) if *seen || lasted >= SOME => How::Worked,
                        End::Outdated => How::Outdated,
                        _ => How::Failed,
                    };
                    pace.ended(lasted, how, &cluster)
                }
            };
            if let End::Failed(error) = &end {
                tracing::debug!(kind = wanted.kind, %error, "a watch failed");
                if !trouble(code(error), &error.to_string()) {
                    return;
                }
                pause = pause.max(rest(error, begun));
            }
            let contact = matches!(&end, End::Failed(error)
                if error.is_contact_problem() && !matches!(error, ApiError::NotAnApi { .. }));
            if pace.attempt > SAID && !contact {
                client.note("watch", "watches end at once: lists are read now and then instead");
            }
            tokio::time::sleep(pause).await;
            // What showed nothing and did not last may have missed something.
            let anew = match end {
                End::Closed(seen) => !seen && !pause.is_zero(),
                End::Failed(ApiError::Connect { .. } | ApiError::Timeout) => false,
                _ => true,
            };
            if anew {
                continue 'list;
            }
        }
    }
}

/// The pause after what was too large, by the time that it took.
fn rest(error: &ApiError, begun: Instant) -> Duration {
    let large = matches!(error, ApiError::TooLarge { .. });
    if large { (begun.elapsed() * REST).min(LONGEST_REST) } else { Duration::ZERO }
}

/// The cluster shows more than is kept of it.
fn too_much(client: &Verbs, wanted: &Wanted) -> ApiError {
    let message = format!(
        "with {} the cluster shows more than {} MiB; the rest is not read",
        wanted.kind,
        KEPT / 1024 / 1024
    );
    client.note("size", &message);
    ApiError::TooLarge { message }
}

/// Reads all pages; `None` when nobody wants to hear more. Returns the version to watch from.
async fn list(
    client: &Verbs,
    wanted: &Wanted,
    page: &mut u32,
    weights: &mut Option<Weights>,
    listed: &mut impl FnMut(Listed) -> bool,
) -> Result<Option<String>, ApiError> {
    let mut next = String::new();
    weights.iter_mut().for_each(Weights::list_started);
    if !listed(Listed::Started) {
        return Ok(None);
    }
    loop {
        let limit = page.to_string();
        let mut query = vec![("limit", limit.as_str())];
        if !next.is_empty() {
            query.push(("continue", next.as_str()));
        }
        let read = match client.page(&wanted.path_with(&query), wanted.accept(true)).await {
            Err(ApiError::TooLarge { .. }) if *page > 1 => {
                *page = (*page / 4).max(1);
                continue;
            }
            read => read?,
        };
        let each = read.size / read.items.len().max(1);
        for object in read.items.into_iter().filter(is_named) {
            if weights.as_mut().is_some_and(|weights| !weights.shown(&object, each)) {
                return Err(too_much(client, wanted));
            }
            if !listed(Listed::Object(object)) {
                return Ok(None);
            }
        }
        if read.next.is_empty() {
            weights.iter_mut().for_each(Weights::list_done);
            let version = read.version.parse().unwrap_or_default();
            return Ok(listed(Listed::Done(version)).then_some(read.version));
        }
        if read.next == next {
            return Err(ApiError::NotAnApi {
                message: "its list goes on with the same page for ever".into(),
            });
        }
        next = read.next;
    }
}

async fn watch(
    client: &Verbs,
    wanted: &Wanted,
    version: &mut String,
    pace: &mut WatchPace,
    weights: &mut Option<Weights>,
    listed: &mut impl FnMut(Listed) -> bool,
) -> End {
    let lasts = wanted.lasts(client.shares_connections());
    // Whatever is said meanwhile: a server that does not end it may have forgotten it.
    let over = Instant::now() + Duration::from_secs(lasts.into()) + MORE;
    let timeout = lasts.to_string();
    let path = wanted.path_with(&[
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", &timeout),
        ("resourceVersion", version),
    ]);
    let opening = client.watch(&path, wanted.accept(false));
    let mut lines: Lines = match tokio::time::timeout(pace.patience(), opening).await {
        Err(_) => return End::Held,
        Ok(Err(ApiError::Other { code: 410, .. })) => return End::Outdated,
        Ok(Err(error)) => return End::Failed(error),
        Ok(Ok(lines)) => lines,
    };
    if pace.opened() {
        tracing::info!(kind = wanted.kind, "watches work again");
    }
    let (mut seen, mut flow) = (false, Flow::new(Instant::now()));
    loop {
        let mut event = match tokio::time::timeout_at(over, lines.next()).await {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => return End::Closed(seen),
            Ok(Err(error)) => return End::Failed(error),
            Err(_) => return End::Failed(ApiError::Timeout),
        };
        seen = true;
        let pause = flow.read(lines.size, Instant::now());
        if client.kept().is_some() && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        if kind == "ERROR" {
            let code = object.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
            let message = object.get("message").and_then(Value::as_str).unwrap_or_default();
            return match code.unwrap_or_default() {
                410 => End::Outdated,
                code => End::Failed(ApiError::Other { code, message: crate::api::text::cut(message, 1_000) }),
            };
        }
        if let Some(now) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            *version = now.to_owned();
        }
        let go_on = match kind.as_str() {
            "ADDED" | "MODIFIED" if is_named(&object) => {
                let size = lines.size;
                if weights.as_mut().is_some_and(|weights| !weights.shown(&object, size)) {
                    return End::Failed(too_much(client, wanted));
                }
                listed(Listed::Object(object))
            }
            "DELETED" if is_named(&object) => {
                weights.iter_mut().for_each(|weights| weights.left(&object));
                listed(Listed::Left(object))
            }
            _ => true,
        };
        if !go_on {
            return End::Stop;
        }
    }
}

fn is_named(object: &Value) -> bool {
    object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
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

#[cfg(test)]
mod tests {
    use super::super::client::{Answered, in_memory};
    use super::*;
    use futures::StreamExt;
    use futures::future::BoxFuture;
    use http::Response;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    type Served = Arc<dyn Fn(&str) -> BoxFuture<'static, Answered> + Send + Sync>;

    /// An answer that ends, or goes on without a word.
    fn answer(status: u16, text: String, ends: bool) -> BoxFuture<'static, Answered> {
        let first = futures::stream::iter([Ok(Frame::data(text.into()))]);
        let rest = if ends {
            futures::stream::empty().left_stream()
        } else {
            futures::stream::pending().right_stream()
        };
        let body = StreamBody::new(first.chain(rest)).boxed_unsync();
        Box::pin(async move { Response::builder().status(status).body(body).unwrap() })
    }
    fn said(status: u16, body: Value) -> BoxFuture<'static, Answered> {
        answer(status, if body.is_null() { String::new() } else { format!("{body}\n") }, true)
    }
    fn object(name: &str) -> Value {
        json!({"metadata": {"name": name, "resourceVersion": "7"}})
    }
    fn page(next: &str, names: &[&str]) -> BoxFuture<'static, Answered> {
        let items: Vec<Value> = names.iter().map(|name| object(name)).collect();
        said(200, json!({"metadata": {"resourceVersion": "5", "continue": next}, "items": items}))
    }

    fn pace() -> WatchPace {
        WatchPace {
            held: Duration::from_millis(100),
            poll: Duration::from_millis(20),
            ..WatchPace::default()
        }
    }

    /// What is asked and what is shown, by word, while the time goes by.
    async fn followed(served: Served, time: Duration) -> (Vec<String>, Vec<String>) {
        let (asked, shown) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let log = asked.clone();
        let client = in_memory(move |request| {
            let uri = request.uri().to_string();
            let answer = served(&uri);
            log.lock().unwrap().push(uri);
            answer
        });
        let wanted = Wanted {
            path: "/api/v1/configmaps".into(),
            kind: "ConfigMap".into(),
            selectors: vec![("labelSelector", "a=b,c".into())],
            metadata: false,
        };
        let named = |object: &Value| object.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned();
        let seen = |listed: Listed| {
            shown.lock().unwrap().push(match listed {
                Listed::Started => "[".into(),
                Listed::Done(_) => "]".into(),
                Listed::Object(object) => named(&object),
                Listed::Left(object) => format!("-{}", named(&object)),
            });
            true
        };
        let _ = tokio::time::timeout(time, follow_at(pace(), &client, &wanted, seen, |_, _| true)).await;
        let asked = asked.lock().unwrap().clone();
        let shown = shown.lock().unwrap().clone();
        (asked, shown)
    }
    fn watches(asked: &[String]) -> usize {
        asked.iter().filter(|uri| uri.contains("watch=true")).count()
    }
    const MOMENT: Duration = Duration::from_millis(2_500);

    #[test]
    fn what_does_not_last_costs_ever_less() {
        let mut pace = WatchPace::default();
        let mut tries_in = |minutes: u64, how: How| {
            let (mut spent, mut tries) = (Duration::ZERO, 0);
            while spent < Duration::from_secs(60 * minutes) {
                spent += Duration::from_millis(1) + pace.ended(Duration::from_millis(1), how, "c");
                tries += 1;
            }
            tries
        };
        for how in [How::Failed, How::Outdated] {
            let (first, then) = (tries_in(1, how), tries_in(10, how));
            assert!(
                first <= 11 && then <= 60,
                "{how:?}: {first} in the first minute, {then} in the next ten"
            );
            let begins_anew = tries_in(1, How::Worked);
            assert!(begins_anew <= 45, "{begins_anew}");
        }
        let (first, then) = (tries_in(1, How::Worked), tries_in(10, How::Worked));
        assert!(
            first <= 45 && then <= 310,
            "that show something: {first} in the first minute, {then} in ten"
        );
        assert_eq!(pace.ended(LASTED, How::Failed, "c"), Duration::ZERO);
        let pause = pace.ended(Duration::ZERO, How::Failed, "c");
        assert!(pause <= Duration::from_millis(500), "one that lasted begins anew");
    }

    #[test]
    fn a_watch_that_ends_now_and_then_is_opened_again_at_once() {
        let mut pace = WatchPace::default();
        // The CRD of its kind changes some times in a row, and then now and then.
        let after = [vec![Duration::from_millis(200); 8], vec![Duration::from_secs(12); 50]].concat();
        assert!(after.into_iter().all(|lasted| {
            // And the version from before is forgotten.
            pace.ended(lasted, How::Worked, "c").is_zero()
                && pace.ended(Duration::ZERO, How::Outdated, "c").is_zero()
        }));
        // It changes every other second, and some of the watches between see nothing.
        for _ in 0..100 {
            let pause = pace.ended(Duration::from_millis(1_200), How::Worked, "c")
                + pace.ended(Duration::ZERO, How::Outdated, "c")
                + pace.ended(Duration::from_millis(100), How::Failed, "c");
            assert!(pause <= Duration::from_millis(2_500), "{pause:?}");
        }
    }

    #[test]
    fn polling_begins_with_one_watch_that_is_held_back_and_ends_with_two_that_are_not() {
        let mut pace = WatchPace::default();
        assert!(!pace.opened());
        assert_eq!((pace.patience(), pace.held(), pace.held()), (HELD, true, false));
        assert_eq!(pace.patience(), POLL);
        pace.list = Duration::from_secs(3);
        assert_eq!(pace.patience(), Duration::from_secs(60), "costly lists are read less often");
        assert_eq!((pace.opened(), pace.held(), pace.opened(), pace.opened()), (false, false, false, true));
        assert_eq!(pace.patience(), HELD);
    }

    #[tokio::test]
    async fn a_watch_that_ends_at_once_is_opened_ever_more_slowly_and_lists_take_its_place() {
        for status in [200, 302, 204] {
            let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
                true => said(status, Value::Null),
                false => page("", &["a"]),
            });
            let (asked, shown) = followed(served, MOMENT).await;
            assert!(asked.len() <= 8, "{status}: {} requests", asked.len());
            assert!(shown.len() >= 6, "{status}: it goes on listing: {shown:?}");
        }
    }

    #[tokio::test]
    async fn what_fails_for_ever_costs_ever_less() {
        let failing: [(Served, &str); 3] = [
            (Arc::new(|_| said(400, json!({"code": 400, "message": "no selector"}))), "400"),
            (Arc::new(|_| said(200, json!({}))), "no list"),
            (
                Arc::new(
                    |uri| if uri.contains("watch=true") { said(410, Value::Null) } else { page("", &[]) },
                ),
                "410",
            ),
        ];
        for (served, case) in failing {
            let (asked, shown) = followed(served, MOMENT).await;
            assert!((2..=8).contains(&asked.len()), "{case}: {} requests", asked.len());
            assert!(case == "410" || !shown.contains(&"]".to_owned()), "{case}: that was no list");
        }
    }

    #[tokio::test]
    async fn a_watch_without_a_head_is_replaced_by_lists_until_one_has_it() {
        let begun = Instant::now();
        let served: Served = Arc::new(move |uri| {
            let held = begun.elapsed() < Duration::from_secs(1);
            match uri.contains("watch=true") {
                true if held => Box::pin(std::future::pending()),
                true => answer(200, format!("{}\n", json!({"type": "ADDED", "object": object("b")})), false),
                false => page("", &["a"]),
            }
        });
        let (asked, shown) = followed(served, Duration::from_secs(2)).await;
        let lists = shown.iter().filter(|word| *word == "]").count();
        assert!(
            (5..=50).contains(&lists),
            "{lists} lists in a second, every 20 ms at most, and none after that"
        );
        assert!(watches(&asked) <= lists + 3);
        assert_eq!(shown.last().map(String::as_str), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_its_server_does_not_end_is_ended_all_the_same() {
        let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
            true => {
                let events = futures::stream::unfold((), |()| async {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    let bookmark =
                        json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}});
                    Some((Ok(Frame::data(format!("{bookmark}\n").into())), ()))
                });
                let body = StreamBody::new(events).boxed_unsync();
                Box::pin(async move { Response::new(body) })
            }
            false => page("", &["a"]),
        });
        let (asked, _) = followed(served, Duration::from_secs(u64::from(SERVER_TIMEOUT_SECONDS) + 20)).await;
        assert_eq!(watches(&asked), 2, "{asked:?}");
    }

    #[tokio::test]
    async fn a_list_is_read_in_pages_and_begins_anew_when_its_middle_is_gone() {
        let gone = Arc::new(Mutex::new(1));
        let served: Served = Arc::new(move |uri| match uri {
            uri if uri.contains("watch=true") => Box::pin(std::future::pending()),
            uri if uri.contains("continue=x") => {
                let mut gone = gone.lock().unwrap();
                *gone -= 1;
                if *gone == 0 {
                    said(410, json!({"code": 410, "reason": "Expired"}))
                } else {
                    page("", &["b"])
                }
            }
            _ => page("x", &["a"]),
        });
        let (asked, shown) = followed(served, Duration::from_secs(5)).await;
        assert_eq!(shown.get(..6).unwrap(), ["[", "a", "[", "a", "b", "]"]);
        assert!(
            asked
                .iter()
                .take(4)
                .all(|uri| uri.contains("limit=500") && uri.contains("labelSelector=a%3Db%2Cc"))
        );
    }

    #[tokio::test]
    async fn events_without_end_are_given_up_and_looked_at_again_much_later() {
        let served: Served = Arc::new(move |uri| match uri.contains("watch=true") {
            true => {
                let large = "x".repeat(3 * 1024 * 1024);
                let events = futures::stream::iter(0..).map(move |n: u32| {
                    let object = json!({"metadata": {"name": n.to_string()}, "data": large});
                    Ok(Frame::data(format!("{}\n", json!({"type": "ADDED", "object": object})).into()))
                });
                let body = StreamBody::new(events).boxed_unsync();
                Box::pin(async move { Response::new(body) })
            }
            false => page("", &["a"]),
        });
        let (asked, shown) = followed(served, MOMENT * 3).await;
        // A slow machine may not come to the bound within this time.
        assert!((1..90).contains(&shown.len()), "{} objects of 3 MiB", shown.len());
        assert!(watches(&asked) <= 1, "{asked:?}");
    }

    #[tokio::test]
    async fn a_list_that_never_ends_is_given_up() {
        let served: Served = Arc::new(|_| page("x", &["a"]));
        let (asked, shown) = followed(served, Duration::from_secs(5)).await;
        assert!(asked.len() < 40 && !shown.contains(&"]".to_owned()));
    }
}
