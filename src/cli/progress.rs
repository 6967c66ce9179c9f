//! How far a command got that waits for clusters, on standard error.

use super::show::Showing;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is quicker needs no word.
const QUIET: Duration = Duration::from_millis(500);
/// How often a terminal is written to.
const REDRAW: Duration = Duration::from_millis(500);
/// How often what is no terminal gets a line.
const LINE: Duration = Duration::from_secs(15);
/// So many clusters are named.
const MOST_NAMED: usize = 3;

/// Clusters that are waited for.
pub struct Progress {
    total: usize,
    waiting: Mutex<BTreeSet<String>>,
}

impl Progress {
    pub fn of(clusters: impl IntoIterator<Item = String>) -> Self {
        let waiting: BTreeSet<String> = clusters.into_iter().collect();
        Self { total: waiting.len(), waiting: Mutex::new(waiting) }
    }

    /// Nobody waits for this one any more.
    pub fn done(&self, cluster: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }

    /// `37/40 clusters, waiting for eu-3, us-9`
    fn line(&self) -> String {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = waiting.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = match waiting.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let noun = if self.total == 1 { "cluster" } else { "clusters" };
        format!(
            "{}/{} {noun}, waiting for {}{more}",
            self.total - waiting.len(),
            self.total,
            names.join(", ")
        )
    }

    /// Does the work, and says on the way how far it is.
    pub async fn during<T>(&self, showing: &Showing, work: impl Future<Output = T>) -> T {
        if showing.is_quiet() {
            return work.await;
        }
        let terminal = std::io::stderr().is_terminal();
        let mut work = std::pin::pin!(work);
        let mut drawn = false;
        let mut pause = if terminal { QUIET } else { LINE };
        let out = loop {
            match tokio::time::timeout(pause, &mut work).await {
                Ok(out) => break out,
                Err(_) if terminal => {
                    draw(&self.line());
                    (drawn, pause) = (true, REDRAW);
                }
                Err(_) => showing.note(&self.line()),
            }
        };
        if drawn {
            draw("");
        }
        out
    }
}

/// In place of what stood on the line.
fn draw(text: &str) {
    let mut err = std::io::stderr().lock();
    let _drawn = write!(err, "\r\u{1b}[K{text}").and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_a_line() {
        let all = Progress::of(["a", "b", "c", "d", "e"].map(str::to_owned));
        assert_eq!(all.line(), "0/5 clusters, waiting for a, b, c and 2 more");
        ["a", "b", "d"].iter().for_each(|name| all.done(name));
        all.done("unknown");
        assert_eq!(all.line(), "3/5 clusters, waiting for c, e");
        assert_eq!(Progress::of(["eu".to_owned()]).line(), "0/1 cluster, waiting for eu");
    }
}
