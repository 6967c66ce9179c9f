//! How much of an answer is read, by what was asked for: no server may fill the hub's memory.

use super::health::Contact;
use super::transport::Trouble;
use http::{HeaderMap, StatusCode, header};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc::UnboundedSender;

const MIB: usize = 1024 * 1024;
/// Answers of one cluster that are being received at the same time.
pub(super) const TOGETHER: usize = 64 * MIB;

/// What kind of answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Each line is one event.
    Watch,
    /// One page of a list.
    Page,
    Object,
    /// The OpenAPI document of one group, or their index.
    Document,
    /// The version, or which kinds there are.
    Discovery,
    /// Whatever was asked for, it is refused.
    Refusal,
}

impl Asked {
    pub fn of(verb: &str, path: &str) -> Self {
        let parts = path.split('/').filter(|p| !p.is_empty()).count();
        match verb {
            "watch" => Self::Watch,
            "list" => Self::Page,
            _ if path.starts_with("/openapi/") => Self::Document,
            _ if path.starts_with("/api/") && parts > 2 || path.starts_with("/apis/") && parts > 3 => {
                Self::Object
            }
            _ => Self::Discovery,
        }
    }

    /// In bytes. An API server takes no object over 3 MiB.
    pub fn limit(self) -> usize {
        match self {
            Self::Watch | Self::Object => 4 * MIB,
            Self::Page => 8 * MIB,
            Self::Document => 16 * MIB,
            Self::Discovery => 2 * MIB,
            Self::Refusal => MIB / 4,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Watch => "an event of the watch",
            Self::Page => "a page of the list",
            Self::Object => "the object",
            Self::Document => "the OpenAPI document",
            Self::Discovery => "the answer",
            Self::Refusal => "the refusal",
        }
    }
}

/// Why an answer cannot come from a Kubernetes API server, whatever its status code says.
pub(super) fn not_an_api(
    status: StatusCode,
    headers: &HeaderMap,
    empty: bool,
    reads: bool,
    path: &str,
) -> Option<String> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if status.is_redirection() {
        // An OpenAPI document that is no more is answered with the address of the present one.
        return (!path.starts_with("/openapi/")).then(|| format!("it redirects ({status})"));
    }
    if !status.is_success() {
        return None;
    }
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != "identity" {
        return Some("it sends compressed answers that nobody asked for".into());
    }
    let kind = text(header::CONTENT_TYPE);
    // The index of OpenAPI documents has no type of its own: an API server guesses one from its first bytes.
    let guessed = path.starts_with("/openapi/") && kind.starts_with("text/plain");
    if !kind.is_empty() && !kind.contains("json") && !guessed {
        let kind: String = kind.chars().filter(|c| !c.is_control()).take(60).collect();
        return Some(format!("it answers with {kind}, not with JSON"));
    }
    (reads && (empty || status == StatusCode::NO_CONTENT))
        .then(|| format!("it answers with nothing ({status})"))
}

/// Bytes that are being received from one cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<AtomicUsize>);

/// Where the end of the patience with an answer is told.
pub(super) type Ear = Option<UnboundedSender<Contact>>;

/// An answer that ends with an error when it becomes too long.
pub(super) struct Bounded<B> {
    body: B,
    asked: Asked,
    /// What was asked for; for people.
    path: Arc<str>,
    /// Received so far; of a watch, of the present line.
    received: usize,
    under_way: UnderWay,
    ear: Ear,
    broken: bool,
}

impl<B> Bounded<B> {
    pub fn new(body: B, asked: Asked, path: Arc<str>, under_way: UnderWay, ear: Ear) -> Self {
        Self { body, asked, path, received: 0, under_way, ear, broken: false }
    }

    /// Counts what came in; `Err` with the text that says what is too large.
    fn count(&mut self, data: &[u8]) -> Result<(), String> {
        let (mut longest, mut now) = (self.received + data.len(), self.received + data.len());
        if self.asked == Asked::Watch
            && let Some(last) = data.iter().rposition(|b| *b == b'\n')
        {
            now = data.len() - last - 1;
            let first = data.iter().position(|b| *b == b'\n').unwrap_or(last);
            // What lies between two line ends is as long as one piece at most.
            longest = (self.received + first).max(now);
        }
        let grown = now.saturating_sub(self.received);
        let before = self.under_way.0.fetch_add(grown, Ordering::Relaxed);
        self.under_way.0.fetch_sub(self.received.saturating_sub(now), Ordering::Relaxed);
        self.received = now;
        let limit = self.asked.limit();
        if longest > limit {
            return Err(format!("{} is larger than {}", self.asked.what(), size(limit)));
        }
        if before + grown > TOGETHER {
            return Err(format!(
                "the answers that are under way are larger than {} together",
                size(TOGETHER)
            ));
        }
        Ok(())
    }
}

fn size(bytes: usize) -> String {
    if bytes >= MIB { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / 1024) }
}

impl<B> Drop for Bounded<B> {
    fn drop(&mut self) {
        self.under_way.0.fetch_sub(self.received, Ordering::Relaxed);
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.broken {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let counted = frame.data_ref().map_or(Ok(()), |data| self.count(data));
        if let Err(why) = counted {
            self.broken = true;
            let text = format!("{}: {why}; the rest is not read", self.path);
            if let Some(ear) = &self.ear {
                // Nobody listens any more while an actor ends.
                let _ = ear.send(Contact::Note("size", text.as_str().into()));
            }
            return Poll::Ready(Some(Err(Trouble::TooLarge(text).into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.broken || self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_request_has_its_limit() {
        let cases = [
            ("watch", "/api/v1/configmaps", Asked::Watch),
            ("list", "/apis/apps/v1/deployments", Asked::Page),
            ("get", "/apis/apps/v1/namespaces/n/deployments/x", Asked::Object),
            ("get", "/api/v1/namespaces/kube-system", Asked::Object),
            ("apply", "/api/v1/namespaces/n/secrets/x", Asked::Object),
            ("get", "/apis/apps/v1", Asked::Discovery),
            ("get", "/apis/apps", Asked::Discovery),
            ("get", "/api/v1", Asked::Discovery),
            ("get", "/version", Asked::Discovery),
            ("get", "/openapi/v3/apis/apps/v1", Asked::Document),
        ];
        for (verb, path, want) in cases {
            assert_eq!(Asked::of(verb, path), want, "{verb} {path}");
        }
    }

    fn bounded(asked: Asked, under_way: &UnderWay) -> Bounded<()> {
        Bounded::new((), asked, "/x".into(), under_way.clone(), None)
    }

    #[test]
    fn a_watch_is_bounded_by_line_and_the_rest_by_its_whole() {
        let under_way = UnderWay::default();
        let limit = Asked::Watch.limit();
        let piece = vec![b'x'; 1024 * 1024 - 1];
        let mut watch = bounded(Asked::Watch, &under_way);
        for _ in 0..100 {
            let line = [piece.as_slice(), b"\n"].concat();
            assert!(watch.count(&line).is_ok(), "many lines are no long line");
        }
        assert_eq!(under_way.0.load(Ordering::Relaxed), 0);
        let pieces = limit / piece.len();
        let endless: Vec<bool> = (0..=pieces).map(|_| watch.count(&piece).is_ok()).collect();
        assert_eq!(endless, (0..=pieces).map(|n| n < pieces).collect::<Vec<_>>());
        let mut watch = bounded(Asked::Watch, &under_way);
        assert!(watch.count(&vec![b'x'; limit]).is_ok());
        assert!(watch.count(b"x\n").is_err(), "its end does not make it shorter");
        let mut page = bounded(Asked::Page, &under_way);
        let lines = [vec![b'x'; Asked::Page.limit() / 2], vec![b'\n']].concat();
        assert!(page.count(&lines).is_ok() && page.count(&lines).is_err());
    }

    #[test]
    fn what_is_under_way_is_bounded_together_and_given_back() {
        let under_way = UnderWay::default();
        let full = vec![b'x'; Asked::Page.limit()];
        let mut open = Vec::new();
        while open.len() * full.len() < TOGETHER {
            let mut page = bounded(Asked::Page, &under_way);
            assert!(page.count(&full).is_ok());
            open.push(page);
        }
        assert!(bounded(Asked::Object, &under_way).count(b"x").unwrap_err().contains("together"));
        drop(open);
        assert!(bounded(Asked::Object, &under_way).count(b"x").is_ok());
        assert_eq!(under_way.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_no_api_server_is_told_by_its_answer() {
        let case = |status: u16, kind: &str, empty: bool, path: &str| {
            let mut headers = HeaderMap::new();
            if !kind.is_empty() {
                headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            }
            not_an_api(StatusCode::from_u16(status).unwrap(), &headers, empty, true, path)
        };
        assert_eq!(case(200, "application/json", false, "/version"), None);
        assert_eq!(case(200, "application/json;stream=watch", false, "/api/v1/pods"), None);
        assert_eq!(case(404, "text/html", false, "/version"), None, "what is refused says so by itself");
        assert_eq!(case(301, "", true, "/openapi/v3/api/v1"), None);
        assert_eq!(case(404, "text/plain; charset=utf-8", false, "/apis/none.example/v1"), None);
        assert_eq!(
            case(200, "text/plain; charset=utf-8", false, "/openapi/v3"),
            None,
            "a real server's index"
        );
        assert!(case(200, "text/html", false, "/openapi/v3").is_some());
        for (status, kind, empty) in [
            (200, "text/html; charset=utf-8", false),
            (200, "text/plain", false),
            (200, "", true),
            (204, "", true),
            (302, "", true),
        ] {
            assert!(case(status, kind, empty, "/api/v1/pods").is_some(), "{status} {kind}");
        }
    }
}
