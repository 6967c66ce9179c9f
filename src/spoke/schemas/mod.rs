//! The schemas of what one cluster serves, and each definition judged by them.
//!
//! Documents are fetched by the hash in the server's index and kept once for all clusters ([`Book`]); clusters that serve
//! the same kinds share one compiled graph.

mod book;
mod graphs;
mod reader;

pub use book::Book;
pub use graphs::{Graphs, Key, Verdict};
pub use reader::{ClusterKinds, Reader, without_generated};
