//! How an answer shows that another cluster may have given it, without any question: an API server names in each answer the
//! flow schema that let the request in, by a uid that no other cluster has. One that was not seen yet says little, since each
//! sort of request has its own; so it is time to ask who answers.

use http::HeaderMap;
use std::collections::BTreeSet;

const HEADER: &str = "x-kubernetes-pf-flowschema-uid";
/// A uid is shorter.
const LONGEST: usize = 64;
/// A cluster has some ten; one that shows ever new ones is not asked each time.
const MOST: usize = 64;

/// The uids that a cluster showed which had said who it is.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeSet<Box<str>>);

impl Marks {
    /// Those that answers have which were given by the cluster that is known.
    pub fn learn(&mut self, headers: &HeaderMap) {
        if self.0.len() < MOST
            && let Some(mark) = mark(headers)
            && !self.0.contains(mark)
        {
            self.0.insert(mark.into());
        }
    }

    /// Whether an answer may be another cluster's.
    pub fn doubt(&self, headers: &HeaderMap) -> bool {
        self.0.len() < MOST && mark(headers).is_some_and(|mark| !self.0.contains(mark))
    }
}

fn mark(headers: &HeaderMap) -> Option<&str> {
    let mark = headers.get(HEADER)?.to_str().ok()?;
    (!mark.is_empty() && mark.len() <= LONGEST).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(mark: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, mark.parse().unwrap());
        headers
    }

    #[test]
    fn what_was_not_seen_yet_is_doubted_once_and_not_without_end() {
        let mut marks = Marks::default();
        assert!(!marks.doubt(&HeaderMap::new()), "a gateway may take it out");
        for n in 0..MOST {
            let headers = with(&n.to_string());
            assert!(marks.doubt(&headers));
            marks.learn(&headers);
            assert!(!marks.doubt(&headers));
        }
        assert!(!marks.doubt(&with("ever new")));
    }
}
