//! The way of bytes between a client and what it wants to reach: open, closed, silent, slow, or cut.

use super::script::Chance;
use std::io::{Error, ErrorKind, Result};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How the line is for everybody, connections that are open included.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Line {
    #[default]
    Clear,
    /// Nobody listens, and what was open is broken.
    Refused,
    /// Packets vanish: a connection is neither made nor refused, and what was open is silent.
    BlackHole,
    /// Connections are made, and not one byte passes.
    Silent,
    Bad(Weather),
}

/// What a bad line does to bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weather {
    /// Each way.
    pub delay: Duration,
    /// Up to so much more, by chance; the order stays.
    pub jitter: Duration,
    /// Each way, of each connection.
    pub bytes_a_second: Option<u64>,
    /// A connection breaks when so many bytes have come to the client.
    pub cut_after: Option<u64>,
}

impl Line {
    fn passes(&self) -> bool {
        matches!(self, Self::Clear | Self::Bad(_))
    }
    fn weather(&self) -> Weather {
        match self {
            Self::Bad(weather) => weather.clone(),
            _ => Weather::default(),
        }
    }
}

/// What becomes of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Open,
    /// Whoever forwarded its packets has forgotten it: both ends believe that it is open.
    HalfOpen,
    /// It is reset.
    Reset,
}

/// What a connection goes by.
#[derive(Clone)]
pub struct Way {
    pub line: watch::Receiver<Line>,
    pub fate: watch::Receiver<Fate>,
    pub chance: Arc<Mutex<Chance>>,
}

/// Bytes in a piece, and pieces that are under way at most in one direction.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

impl Way {
    /// Waits until bytes pass.
    async fn open(&self) {
        let (mut line, mut fate) = (self.line.clone(), self.fate.clone());
        // Whoever changes them has ended, and so has the proxy.
        let forgotten = async { _ = fate.wait_for(|fate| *fate == Fate::Open).await };
        let silent = async { _ = line.wait_for(Line::passes).await };
        tokio::join!(forgotten, silent);
    }

    fn weather(&self) -> Weather {
        self.line.borrow().weather()
    }

    fn delay(&self, weather: &Weather) -> Duration {
        let part = self.chance.lock().unwrap_or_else(PoisonError::into_inner).part();
        weather.delay + weather.jitter.mul_f64(part)
    }

    async fn ends(&self) {
        let (mut line, mut fate) = (self.line.clone(), self.fate.clone());
        tokio::select! {
            _ = fate.wait_for(|fate| *fate == Fate::Reset) => {}
            _ = line.wait_for(|line| *line == Line::Refused) => {}
        }
    }
}

/// Carries bytes both ways until both sides have ended, or the connection is broken: `near` is reset then.
pub async fn carry<F: AsyncRead + AsyncWrite>(mut near: TcpStream, far: F, way: Way) {
    let broken = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = tokio::io::split(far);
        let up = one_way(near_read, far_write, &way, false);
        let down = one_way(far_read, near_write, &way, true);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
            () = way.ends() => true,
        }
    };
    if broken {
        // Without a pause for what is unsent: the other side sees a reset, not an end.
        let _ = near.set_zero_linger();
    }
}

async fn one_way<R: AsyncRead, W: AsyncWrite>(from: R, to: W, way: &Way, to_client: bool) -> Result<()> {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let mut from = pin!(from);
    let mut to = pin!(to);
    let take = async {
        let mut buffer = vec![0; PIECE];
        let mut due = Instant::now();
        loop {
            way.open().await;
            let read = from.read(&mut buffer).await?;
            due = due.max(Instant::now() + way.delay(&way.weather()));
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            if sender.send((due, piece)).await.is_err() || read == 0 {
                break;
            }
        }
        drop(sender);
        Ok::<(), Error>(())
    };
    let give = async {
        let mut carried: u64 = 0;
        while let Some((due, mut piece)) = pieces.recv().await {
            sleep_until(due).await;
            way.open().await;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            let weather = way.weather();
            let left = weather.cut_after.filter(|_| to_client).map(|limit| limit.saturating_sub(carried));
            let cut = left.is_some_and(|left| piece.len() as u64 > left);
            if let Some(left) = left.filter(|_| cut) {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            pour(to.as_mut(), &piece, weather.bytes_a_second).await?;
            carried += piece.len() as u64;
            if cut {
                to.flush().await?;
                return Err(Error::from(ErrorKind::ConnectionReset));
            }
        }
        Ok(())
    };
    tokio::try_join!(take, give).map(drop)
}

async fn pour<W: AsyncWrite + Unpin>(mut to: W, piece: &[u8], rate: Option<u64>) -> Result<()> {
    let Some(rate) = rate else {
        return to.write_all(piece).await;
    };
    // Ten times a second, so that a slow line is slow and not in bursts.
    let step = usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1);
    for part in piece.chunks(step) {
        // The last byte has arrived when all were carried.
        sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
        to.write_all(part).await?;
        to.flush().await?;
    }
    Ok(())
}
