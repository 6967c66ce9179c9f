//! Whether a cluster can be talked to.

#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClusterHealth {
    Ready,
    /// It was ready and has an actor; there is no contact now.
    Unreachable {
        since: String,
        message: String,
    },
    /// It was ready and has an actor; its API server answers, and does not accept the credentials. That says nothing of what
    /// runs there.
    Unauthorized {
        since: String,
        message: String,
    },
    /// Not asked yet.
    #[default]
    Connecting,
    /// Nothing may be written there: refused, frozen, a duplicate, paused.
    NotReady {
        reason: String,
        message: String,
    },
}

impl ClusterHealth {
    /// Whether somebody is there to take messages.
    pub fn has_actor(&self) -> bool {
        matches!(self, Self::Ready | Self::Unreachable { .. } | Self::Unauthorized { .. })
    }
}
