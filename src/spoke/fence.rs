//! Whether anything may be sent at all, asked where bytes leave: a process that was paused may wake up in the middle of a
//! request, long after its right to write has ended. What is cut off here never reached the server.

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tower::Service;

/// Whether a write may be sent now.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// Open until it is given a right, then as long as that lasts.
#[derive(Clone, Default)]
pub(super) struct Fence(Arc<OnceLock<MayWrite>>);

/// The right has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this process does not hold the lease")]
pub(super) struct Closed;

/// Whether this lies behind an error.
pub(super) fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source()).any(|e| {
        // An I/O error hides what it was made of from its sources.
        let inner = e.downcast_ref::<Error>().and_then(Error::get_ref);
        e.is::<Closed>() || inner.is_some_and(|inner| is_closed(inner))
    })
}

impl Fence {
    /// The first one counts: a client belongs to one term.
    pub fn set(&self, right: MayWrite) {
        drop(self.0.set(right));
    }

    pub fn check(&self) -> Result<(), Closed> {
        if self.0.get().is_none_or(|right| right()) { Ok(()) } else { Err(Closed) }
    }
}

/// Makes connections over which nothing is sent that the fence does not let through.
#[derive(Clone)]
pub(super) struct Fenced<C> {
    connector: C,
    fence: Fence,
}

impl<C> Fenced<C> {
    pub fn new(connector: C, fence: Fence) -> Self {
        Self { connector, fence }
    }
}

impl<C: Service<Uri>> Service<Uri> for Fenced<C>
where
    C::Future: Send + 'static,
{
    type Response = FencedStream<C::Response>;
    type Error = C::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, C::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, fence) = (self.connector.call(uri), self.fence.clone());
        Box::pin(async move { Ok(FencedStream::new(connecting.await?, fence)) })
    }
}

/// A connection behind the fence.
pub(super) struct FencedStream<T> {
    io: T,
    fence: Fence,
}

impl<T> FencedStream<T> {
    pub fn new(io: T, fence: Fence) -> Self {
        Self { io, fence }
    }
}

impl<T: Connection> Connection for FencedStream<T> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl<T: Read + Unpin> Read for FencedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for FencedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Error>> {
        self.fence.check().map_err(Error::other)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        self.fence.check().map_err(Error::other)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::client::legacy::connect::HttpConnector;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn no_byte_leaves_an_open_connection_once_the_right_has_ended() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", server.local_addr().unwrap()).parse().unwrap();
        let (fence, held) = (Fence::default(), Arc::new(AtomicBool::new(true)));
        let right = held.clone();
        fence.set(Arc::new(move || right.load(Ordering::SeqCst)));
        let mut connector = Fenced::new(HttpConnector::new(), fence.clone());
        let (mut line, (mut peer, _)) = {
            let (line, peer) = tokio::join!(connector.call(uri), server.accept());
            (line.unwrap(), peer.unwrap())
        };
        let mut write = async |text: &'static [u8]| {
            std::future::poll_fn(|cx| Pin::new(&mut line).poll_write(cx, text)).await
        };
        assert_eq!(write(b"in time").await.unwrap(), 7);
        held.store(false, Ordering::SeqCst);
        assert!(fence.check().is_err());
        assert!(is_closed(&write(b"too late").await.unwrap_err()));
        drop(line);
        let mut received = String::new();
        peer.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "in time");
    }
}
