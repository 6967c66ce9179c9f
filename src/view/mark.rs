//! How something stands, in one sign.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an instance stands on a cluster, or a resource of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    Failed,
    /// No contact.
    Silent,
    /// Under way.
    Moving,
    Ready,
    /// Not there, or going.
    Absent,
    Unplaced,
}

impl Mark {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Ready => "✓",
            Self::Moving => "~",
            Self::Failed => "✗",
            Self::Silent => "?",
            Self::Absent => "-",
            Self::Unplaced => "·",
        }
    }

    pub fn ascii(self) -> &'static str {
        match self {
            Self::Ready => "+",
            Self::Failed => "x",
            Self::Unplaced => ".",
            other => other.sign(),
        }
    }

    /// Of what stands in `state` of a cluster's line in `status.fleet`, as the hub counts it.
    pub fn of_line(state: &str) -> Self {
        match state {
            "ACTIVE" => Self::Ready,
            "IN_PROGRESS" | "Waiting" => Self::Moving,
            "DELETING" => Self::Absent,
            "ERROR" | "OverrideFailed" | "NotCompiled" | "NotAllowed" | "Tainted" | "Released" => {
                Self::Failed
            }
            // Whatever the Cluster says of itself: there is no contact.
            _ => Self::Silent,
        }
    }
}
