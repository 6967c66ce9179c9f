//! What is taken away: L8 and L9.

use super::pairs::Marks;
use crate::api::Object;
use crate::hub::simulation::ground::Ground;
use crate::hub::simulation::history::History;
use crate::reconcile::fleet::placement::Then;

/// What was decided so long ago has landed, in milliseconds.
const LANDED: u64 = 20_000;

/// L8: a deleted instance gets removals only.
pub fn a_deleted_instance_gets_removals_only(
    history: &History,
    (now, site): (u64, &str),
    name: &str,
    mirror: &Object,
) -> Option<String> {
    let uid = Marks::of(mirror).uid;
    if history.is_troubled(site, now.saturating_sub(LANDED), now) {
        return None;
    }
    let wanted = |ground: &Ground| {
        ground.instances.get(name).is_some_and(|instance| instance.uid == uid && !instance.deleting)
    };
    let was = history.during(now.saturating_sub(LANDED), now).any(wanted);
    (!was).then(|| "L8: written, and there is no such instance any more".to_owned())
}

/// L9: nothing is taken away that is chosen, that a guard holds, whose grace is not over, or that a Placement leaves.
pub fn nothing_that_is_kept_is_taken_away(
    history: &History,
    (now, site): (u64, &str),
    name: &str,
) -> Option<String> {
    let from = now.saturating_sub(LANDED);
    if history.is_troubled(site, from, now) {
        return None;
    }
    let mut why = "";
    let may_go = history.during(from, now).any(|ground| {
        let Some(instance) = ground.instances.get(name).filter(|i| !i.deleting) else { return true };
        if ground.clusters.get(site).is_none_or(|cluster| cluster.leaving) {
            return true;
        }
        let chosen = ground.must(name).contains(site);
        let mut held = ground.selecting(name).filter(|policy| policy.held.contains(site));
        let at = i64::try_from(now / 1_000).unwrap() + 1_767_225_600;
        let unmatched = instance.record.unmatched.iter().find(|(n, _)| n.as_str() == site);
        let grace = unmatched.is_some_and(|(_, unmatched)| unmatched.at > at + 1);
        let guarded = instance.record.held.iter().any(|n| n.as_str() == site);
        let left = unmatched.is_some_and(|(_, unmatched)| unmatched.then == Then::Orphan)
            || ground.is_left(site, name);
        why = if chosen {
            "it is chosen"
        } else if grace {
            "its grace is not over"
        } else if left {
            "a Placement leaves it as it is"
        } else {
            "a guard holds it"
        };
        !(chosen || grace || guarded || left || held.next().is_some())
    });
    (!may_go).then(|| format!("L9: taken away, and {why}"))
}
