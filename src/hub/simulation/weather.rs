//! How a server is reached: well, badly, or not at all.

use crate::hub::machines::random::Random;
use std::time::Duration;

/// What befalls requests of one kind of trouble at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Connections are refused and those that stand are cut.
    Refused,
    /// Nothing comes back, over new and old connections.
    Silent,
    /// Every answer takes so many milliseconds, and some take twice as long.
    Slow(u64),
    /// Of 100 requests so many are answered with this code.
    Refuses {
        percent: u64,
        code: u16,
        retry_after: Option<u64>,
    },
    /// Every write is answered with this code.
    ReadOnly(u16),
    /// Of 100 requests so many are done, and the answer is lost with the connection.
    Loses(u64),
    /// Of 100 requests so many end with their connection before they were read.
    Cuts(u64),
    /// Of 100 requests so many are never answered, done or not.
    Hangs(u64),
    /// Watches are cut after so many events, are late by so many milliseconds, say things twice, or fall silent after so
    /// many events while their connection lives.
    Watches {
        cut: u64,
        late: u64,
        twice: bool,
        silent: Option<u64>,
    },
}

impl Weather {
    /// Some trouble.
    pub fn random(random: &mut Random) -> Self {
        match random.below(10) {
            0 => Self::Refused,
            1 | 2 => Self::Silent,
            3 => Self::Slow(random.pick(&[200, 900, 3_000, 9_000])),
            4 => Self::Refuses {
                percent: random.pick(&[20, 60, 100]),
                code: random.pick(&[500, 503, 429, 401, 403]),
                retry_after: random.pick(&[None, Some(1), Some(7)]),
            },
            5 | 6 => Self::Loses(random.pick(&[10, 40])),
            7 => Self::Cuts(random.pick(&[10, 40])),
            8 => Self::Hangs(random.pick(&[5, 25])),
            _ => Self::Watches {
                cut: random.pick(&[0, 1, 3]),
                late: random.pick(&[0, 800, 20_000]),
                twice: random.chance(50),
                silent: random.pick(&[None, None, Some(0), Some(2)]),
            },
        }
    }

    pub fn lasting(random: &mut Random) -> Duration {
        Duration::from_secs(random.pick(&[3, 15, 45, 120, 400]))
    }
}
