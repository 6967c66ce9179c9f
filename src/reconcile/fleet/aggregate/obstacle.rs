//! What outweighs the words of the clusters: nothing goes on before somebody does something.

use super::Aggregate;
use super::line::Standing;
use super::messages::{MAX_NAMED, MAX_SAID};
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::api::text;

/// What `Ready` says instead of what it is made of.
pub(super) struct Obstacle {
    pub reason: ObstacleReason,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObstacleReason {
    ShrinkHeld,
    InvalidPlacement,
    StatusRefused,
    StatusUnresolved,
    NotPlaced,
}

impl ObstacleReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShrinkHeld => "ShrinkHeld",
            Self::InvalidPlacement => "InvalidPlacement",
            Self::StatusRefused => "StatusRefused",
            Self::StatusUnresolved => "StatusUnresolved",
            Self::NotPlaced => "NotPlaced",
        }
    }
}

impl Aggregate<'_> {
    /// The first of them.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        let found = |reason, message| Some(Obstacle { reason, message });
        if let Some(held) = &self.held {
            let names: Vec<&str> = held.kept.iter().map(ClusterName::as_str).collect();
            let gone: Vec<String> = held.gone.iter().map(ToString::to_string).collect();
            let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
            let gone = match gone.len() {
                0 => String::new(),
                1 => format!("{} is gone, and ", gone.concat()),
                _ => format!("{} are gone, and ", text::few(&gone, MAX_NAMED)),
            };
            let message = format!(
                "{gone}the placement would lose {} without an edit of this instance; kept until chosen again. To let go: annotate {}={}",
                text::few(&names, MAX_NAMED),
                hub::ALLOW_SHRINK,
                held.token
            );
            return found(ObstacleReason::ShrinkHeld, message);
        }
        if let Some(invalid) = &self.invalid {
            return found(ObstacleReason::InvalidPlacement, invalid.clone());
        }
        if self.deleting {
            return None;
        }
        if let Some(why) = &self.refused {
            let message = format!("the hub refuses the fields of the status: {why}");
            return found(ObstacleReason::StatusRefused, message);
        }
        let all_is_well = self.lines.count(Standing::Ready) == self.lines.counted();
        if !self.unresolved.is_empty() && all_is_well {
            let message = text::cut(&self.unresolved.join("; "), MAX_SAID);
            return found(ObstacleReason::StatusUnresolved, message);
        }
        (self.lines.counted() == 0)
            .then(|| Obstacle { reason: ObstacleReason::NotPlaced, message: self.not_placed_message() })
    }

    fn not_placed_message(&self) -> String {
        let aside = self.lines.iter().map(|line| format!("{} ({})", line.name, line.message));
        let aside: Vec<String> = aside.collect();
        if !aside.is_empty() {
            let aside: Vec<&str> = aside.iter().map(String::as_str).collect();
            return format!("no cluster that is chosen can be taken: {}", text::few(&aside, MAX_NAMED));
        }
        let local = if self.has_local {
            ""
        } else {
            ", or register the hub itself as a Cluster with spec.local: true"
        };
        format!(
            "no cluster is chosen; annotate {}=\"name,name\" (or \"*\") or {}=\"key=value\"{local}",
            hub::CLUSTERS,
            hub::CLUSTER_SELECTOR
        )
    }
}
