//! What the controller takes from the machine that it runs on: clocks, chance, threads, connections. Whoever runs it may
//! put another machine in the place of the real one, and then nothing else comes from host.

use crate::reconcile::Moment;
use crate::reconcile::Now;
use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The machine that the controller runs on.
pub trait Host: Debug + Send + Sync {
    /// The time of day.
    fn wall(&self) -> Timestamp;
    /// Milliseconds of a clock that goes on while the process, or all of the machine, is paused.
    fn uptime(&self) -> u64;
    /// 64 bits that another machine would not have drawn.
    fn random(&self) -> u64;
    /// The name of the machine or the pod.
    fn name(&self) -> String;
    /// Whether what computes runs on threads of its own. Otherwise it runs where it is asked for.
    fn has_threads(&self) -> bool {
        true
    }
    /// A way to this server that is not the network's; `None`: by TCP and TLS.
    fn connect(&self, to: &Uri) -> Option<Connecting> {
        let _ = to;
        None
    }
}

/// A machine, whichever it is.
pub type AnyHost = Arc<dyn Host>;

/// A connection that is being made.
pub type Connecting = BoxFuture<'static, std::io::Result<Stream>>;

/// The machine that this process really runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisHost;

impl Host for ThisHost {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> u64 {
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let now = clock_gettime(CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
    }

    /// The standard library seeds its hashers from the operating system, which is random enough for a name that nobody
    /// has to keep secret.
    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        let random = std::hash::RandomState::new().build_hasher().finish();
        let pid = u64::from(std::process::id());
        let nanos =
            u64::try_from(Timestamp::now().as_nanosecond() & i128::from(u64::MAX)).unwrap_or_default();
        random ^ nanos.rotate_left(17) ^ (pid << 48)
    }

    fn name(&self) -> String {
        let name = std::env::var("HOSTNAME").ok().filter(|n| !n.is_empty());
        name.or_else(|| std::fs::read_to_string("/etc/hostname").ok())
            .map(|n| n.trim().to_owned())
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "kro-hub".into())
    }
}

/// Monotonic and wall time for steps.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// How much of a second of the day had passed then. Counted in, moments and the time of day turn over at once, and what
    /// is due at a time of day is due at one moment, whenever that is asked.
    begun: Duration,
    host: AnyHost,
}

impl Clock {
    /// A clock that counts from the second of the day that has begun.
    pub fn start(host: AnyHost) -> Self {
        let nanos = u32::try_from(host.wall().subsec_nanosecond()).unwrap_or_default();
        Self { started: Instant::now(), begun: Duration::from_nanos(nanos.into()), host }
    }

    /// Milliseconds since that second, and the time of day in whole seconds.
    pub fn now(&self) -> Now {
        Now {
            at: Moment::START.after(self.begun + self.started.elapsed()),
            rfc3339: self.wall().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }

    /// The time of day.
    pub fn wall(&self) -> Timestamp {
        self.host.wall()
    }
}

/// What bytes flow over.
pub trait Io: Read + Write + Connection + Send + Unpin {}
impl<T: Read + Write + Connection + Send + Unpin> Io for T {}

/// A connection of any sort.
pub struct Stream(Box<dyn Io>);

impl Stream {
    /// Over anything that carries bytes.
    pub fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_differs() {
        assert_ne!(ThisHost.random(), ThisHost.random());
    }

    /// It is started in the middle of a second of the day.
    #[derive(Debug)]
    struct Started(Instant);

    impl Host for Started {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millisecond(1_000_700).unwrap() + self.0.elapsed()
        }
        fn uptime(&self) -> u64 {
            0
        }
        fn random(&self) -> u64 {
            0
        }
        fn name(&self) -> String {
            String::new()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_at_a_time_of_day_is_due_at_one_moment_and_not_before_that_time() {
        let host = Arc::new(Started(Instant::now()));
        let clock = Clock::start(host.clone());
        let due = clock.now().moment_of(1_010);
        for _ in 0..85 {
            assert_eq!(clock.now().moment_of(1_010), due, "asked at {:?}", host.wall());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        tokio::time::advance(due.since(clock.now().at)).await;
        assert_eq!(clock.now().unix(), 1_010);
    }
}
