//! The oldest updates are joined when there are many.

use super::entry::{Entry, Operation, seconds};
use std::collections::BTreeMap;

/// Beyond so many entries of updates, the oldest are joined.
pub(super) const MAX_UPDATERS: usize = 10;
/// Who holds the fields of updates that were joined.
const ANCIENT: &str = "ancient-changes";

/// Joins the oldest updates, version by version, until few enough are left.
pub(super) fn cap(all: &mut Vec<Entry>) {
    let mut old: Vec<Entry> = all.iter().filter(|e| e.operation == Operation::Update).cloned().collect();
    let mut left = old.len();
    if left <= MAX_UPDATERS {
        return;
    }
    old.sort_by(|a, b| seconds(a).cmp(&seconds(b)).then_with(|| a.manager.cmp(&b.manager)));
    let mut first: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in old {
        if left <= MAX_UPDATERS {
            return;
        }
        let Some(start) = first.get(&entry.api_version) else {
            first.insert(entry.api_version.clone(), entry);
            continue;
        };
        let bucket = Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..start.clone() };
        if !all.iter().any(|e| e.is(&bucket)) {
            all.retain(|e| !e.is(start));
            all.push(bucket.clone());
        }
        all.retain(|e| !e.is(&entry) || e.is(&bucket));
        if let Some(bucket) = all.iter_mut().find(|e| e.is(&bucket)) {
            bucket.fields = bucket.fields.union(&entry.fields);
            bucket.time = entry.time;
        }
        left -= 1;
    }
}
