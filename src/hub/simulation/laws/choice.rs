//! Where instances go: L10 and L13.

use crate::hub::simulation::ground::{Ground, Instance, Policy};
use crate::hub::simulation::history::History;
use std::collections::BTreeSet;

/// What was decided so long ago was written, in milliseconds.
const WRITTEN: u64 = 60_000;

/// Everything that a choice follows from, as text.
fn words(ground: &Ground, name: &str) -> String {
    let clusters: Vec<_> =
        ground.clusters.iter().map(|(n, c)| (n, &c.labels, &c.taints, &c.allowed, c.leaving)).collect();
    let policies: Vec<_> = ground.policies.iter().map(|p| (&p.name, &p.spec)).collect();
    let instance = ground.instances.get(name).map(|i| (&i.uid, &i.labels, &i.words, i.deleting));
    format!("{clusters:?} {policies:?} {instance:?}")
}

fn placed(instance: &Instance) -> BTreeSet<&str> {
    instance.record.placed.iter().map(|n| n.as_str()).collect()
}

/// L10: a choice of some clusters changes only by an edit, by loss, or by failover.
pub fn a_choice_stands(history: &History, now: u64, name: &str) -> Option<String> {
    let (before, after) = (history.before()?, history.now()?);
    let (old, new) = (before.instances.get(name)?, after.instances.get(name)?);
    let lost: Vec<&str> = placed(old).difference(&placed(new)).copied().collect();
    let fails_over =
        after.selecting(name).any(|p| p.spec.clusters.as_ref().is_some_and(|words| words.failover.is_some()));
    // Of a deleted instance the record goes with what is held, as each cluster says that nothing is left.
    if lost.is_empty() || old.uid != new.uid || new.deleting || fails_over {
        return None;
    }
    let now_said = words(after, name);
    let edited = history.during(now.saturating_sub(WRITTEN), now).any(|g| words(g, name) != now_said);
    (!edited).then(|| format!("L10: {name} leaves {lost:?}, and nobody changed a word"))
}

/// L13: nobody is placed where no word takes it: against namespaces, taints, or without being meant.
pub fn nobody_is_where_no_word_takes_it(
    history: &History,
    now: u64,
    site: &str,
    name: &str,
) -> Option<String> {
    let holds = |ground: &Ground| {
        ground.instances.get(name).is_some_and(|i| i.holds.iter().any(|n| n.as_str() == site))
    };
    let held_since = history.since(holds).unwrap_or(now);
    let instance = history.now().and_then(|ground| ground.instances.get(name));
    let taken = history.during(held_since.min(now), now).any(|ground| {
        // What a Placement keeps for others is kept for those who come, too: what it took before an edit, until its status says so.
        let kept = ground.selecting(name).any(|policy| policy.held.contains(site));
        let took = |policy: &Policy| ground.candidates(policy, false).contains(site);
        let new = instance.is_some_and(|instance| ground.named(instance, false).contains(site));
        kept || new || ground.may(name, false).contains(site) || ground.policies.iter().any(took)
    });
    (!taken).then(|| format!("L13: {name} is put there, and no word takes it"))
}
