//! Which resources of a definition one home of an instance makes.

use crate::graph::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// All of them, on one cluster.
    Whole,
    /// Those that live on the hub.
    Hub,
    /// The others, on a cluster that is not the hub.
    Rest,
}

impl Side {
    pub fn has(self, node: &Node) -> bool {
        match self {
            Self::Whole => true,
            Self::Hub => node.on_hub,
            Self::Rest => !node.on_hub,
        }
    }
}
