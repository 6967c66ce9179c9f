//! File descriptors: each cluster takes a few connections, so the soft limit of a shell or a container is too low.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors this process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    /// `None` is unlimited.
    before: Option<u64>,
    now: Option<u64>,
}

/// Descriptors that a cluster takes at most, one connection a watch where the API server speaks no HTTP/2.
const PER_CLUSTER: u64 = 40;

/// Raises the soft limit to the hard one, and says in the log what it is.
pub(super) fn raise() {
    let limit = raised(getrlimit(Resource::Nofile), |wanted| setrlimit(Resource::Nofile, wanted).is_ok());
    let show = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let clusters = show(limit.now.map(|n| n / PER_CLUSTER));
    tracing::info!(
        limit = show(limit.now),
        before = show(limit.before),
        "open files: enough for {clusters} clusters"
    );
}

fn raised(found: Rlimit, set: impl FnOnce(Rlimit) -> bool) -> Limit {
    let before = found.current;
    let wanted = Rlimit { current: found.maximum, maximum: found.maximum };
    let higher = before.is_some() && found.maximum.is_none_or(|hard| before.is_none_or(|soft| soft < hard));
    let now = if higher && set(wanted) { found.maximum } else { before };
    Limit { before, now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one_where_that_is_allowed() {
        let cases = [
            (Some(1_024), Some(4_096), true, Some(4_096)),
            (Some(1_024), None, true, None),
            (Some(1_024), Some(4_096), false, Some(1_024)),
            (Some(4_096), Some(4_096), true, Some(4_096)),
            (None, None, true, None),
        ];
        for (current, maximum, allowed, want) in cases {
            let limit = raised(Rlimit { current, maximum }, |_| allowed);
            assert_eq!((limit.before, limit.now), (current, want));
        }
    }

    #[test]
    fn this_process_gets_it() {
        raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
