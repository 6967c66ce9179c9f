//! What is kept of a cluster that a rollout moves.

use crate::reconcile::rollout::{Facts, Mark};
use std::sync::Arc;

/// Which version a cluster is told to have. Only the turn of the cluster changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assigned {
    /// Nobody knows yet what is there.
    #[default]
    Unknown,
    Nothing,
    /// What stands there says no version; this one, where that is known.
    Unmarked(Option<u64>),
    Marked(Mark),
}

impl Assigned {
    pub fn version(self) -> Option<u64> {
        match self {
            Self::Unmarked(number) => number,
            Self::Marked(mark) => Some(mark.version),
            Self::Unknown | Self::Nothing => None,
        }
    }
}

/// What is kept of a cluster that a rollout moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub assigned: Assigned,
    /// In seconds: since when it does well with that version.
    pub well_since: Option<u64>,
    /// Since when there is contact.
    pub contact_since: Option<u64>,
    /// What is read of the cluster there, until its turn comes to be read anew.
    pub facts: Option<Arc<Facts>>,
}
