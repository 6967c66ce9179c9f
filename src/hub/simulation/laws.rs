//! What holds at every request of a controller.

mod admission;
mod choice;
mod content;
pub mod pairs;
mod removal;
mod tests;

use super::ground::{Ground, Unit};
use super::history::History;
use super::network::HUB;
use super::process::{HUB_NAMESPACE, ProcessId, TIMES};
use super::wishes::{self, Child, KIND};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::ClusterName;
use crate::reconcile::fleet::Fleet;
use admission::Case;
use apiserver_model::server::Server;
use pairs::{Pair, Pairs};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What was wanted for so long, in milliseconds, is not deleted by a controller.
const SETTLED: u64 = 120_000;

/// Requests of one process to one server in a second. Four instances with some children each need far less.
const MOST: u64 = 300;

/// A request of a controller, as a server takes it.
pub struct Seen<'a> {
    pub now: u64,
    pub process: ProcessId,
    pub site: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a Value,
    pub success: bool,
    /// The object was not there before.
    pub created: bool,
}

#[derive(Debug, Default)]
pub struct Laws {
    pub breaches: Vec<String>,
    /// The process that renewed the lease last, and when.
    lease: Option<(ProcessId, u64)>,
    /// Since when each child is wanted at a site.
    wanted: BTreeMap<(String, Child), u64>,
    /// How long the machine of a process was suspended, and when it went on, in milliseconds.
    pub slept: Vec<(ProcessId, u64, u64)>,
    /// Sites where another cluster answers than the one that was registered.
    pub strangers: BTreeSet<String>,
    /// By process and site: the requests of this second.
    rate: BTreeMap<(ProcessId, String), (u64, u64)>,
    /// The hub was restored: what it forgot, it cannot keep to.
    pub amnesia: bool,
    pub writes: u64,
    pub last_write: u64,
    /// What it was.
    pub last_written: String,
    pub history: History,
    pub pairs: Pairs,
    pub fields: content::Fields,
    /// Instances, by uid, with the clusters that they were put on.
    there: BTreeSet<(String, String)>,
    /// Instances with the clusters that were read anew for them, and when.
    read: BTreeSet<(String, String, u64)>,
}

impl Laws {
    fn breach(&mut self, seen: &Seen, what: &str) {
        self.breaches.push(format!(
            "{:.3} {} {} {} {}: {what}",
            seen.now as f64 / 1_000.0,
            seen.process,
            seen.site,
            seen.method,
            seen.path
        ));
    }

    /// Users changed something: what is wanted from now on. `places` are the sites that each instance chooses.
    pub fn wants(&mut self, now: u64, wanted: impl IntoIterator<Item = (String, Child)>) {
        let before = std::mem::take(&mut self.wanted);
        self.wanted = wanted
            .into_iter()
            .map(|key| {
                let since = before.get(&key).copied().unwrap_or(now);
                (key, since)
            })
            .collect();
    }

    /// Somebody else did something to the children of a site: what is wanted there begins anew.
    pub fn disturbed(&mut self, now: u64, site: Option<&str>) {
        for ((at, _), since) in &mut self.wanted {
            if site.is_none_or(|site| site == at) {
                *since = now;
            }
        }
    }

    /// What is wanted at a site changes once the controller has brought a label there: until users change something, nothing is
    /// held against it.
    pub fn relabelled(&mut self, site: &str) {
        self.wanted.retain(|(at, _), _| at != site);
    }

    /// `holders`: the instance on the hub, by its name.
    pub fn at(&mut self, seen: &Seen, instance: impl Fn(&str) -> Option<Value>) {
        self.never_too_many(seen);
        let is_lease = seen.path.contains("/leases");
        if is_lease && seen.site == HUB {
            if seen.success && seen.method != "GET" {
                let holder = seen.body.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or("");
                self.lease = (!holder.is_empty()).then_some((seen.process, seen.now));
            }
            return;
        }
        if seen.method == "GET" {
            return;
        }
        self.writes += 1;
        self.last_write = seen.now;
        self.last_written = format!("{} {} {}", seen.method, seen.path, seen.body);
        self.only_with_the_lease(seen);
        if self.strangers.contains(seen.site) {
            self.breach(seen, "a write to another cluster than the one that was registered");
        }
        let preconditions = seen.body.pointer("/preconditions/uid").and_then(Value::as_str);
        if seen.method == "DELETE" && preconditions.is_none_or(str::is_empty) {
            self.breach(seen, "a deletion of whatever has this name");
        }
        self.only_where_it_is_recorded(seen, instance);
        self.nothing_that_is_wanted_goes(seen);
    }

    /// Somebody wrote to the hub.
    pub fn note(&mut self, now: u64, hub: &Server) {
        self.history.note(now, Ground::read(hub));
    }

    /// What holds of placements and rollouts. `runs`: what stands on the cluster of a pair.
    pub fn of_the_fleet(&mut self, seen: &Seen, server: &Server, runs: impl Fn(&Pair) -> Option<Object>) {
        if !seen.success || seen.method == "GET" || self.amnesia {
            return;
        }
        let broken = if seen.site == HUB {
            self.on_the_hub(seen, server, runs)
        } else if self.strangers.contains(seen.site) {
            Vec::new()
        } else {
            self.on_a_spoke(seen, server)
        };
        broken.into_iter().for_each(|what| self.breach(seen, &what));
    }

    fn on_the_hub(
        &mut self,
        seen: &Seen,
        server: &Server,
        runs: impl Fn(&Pair) -> Option<Object>,
    ) -> Vec<String> {
        let of = |kinds: &[&str]| kinds.iter().any(|kind| seen.path.contains(kind));
        let all = ["/clusters/", "placements/", "/shops/", "/controllerrevisions", "/graphrevisions"];
        if !of(&all) || (seen.path.ends_with("/status") && of(&["/shops/", "/graphrevisions"])) {
            return Vec::new();
        }
        let before = self.history.changes();
        self.note(seen.now, server);
        if self.history.changes() == before {
            return Vec::new();
        }
        let (history, pairs, now) = (&self.history, &self.pairs, seen.now);
        if of(&["/controllerrevisions"]) && seen.method == "DELETE" {
            content::no_version_is_deleted_that_a_pair_runs(history, pairs, now, runs).into_iter().collect()
        } else if of(&["/graphrevisions"]) && seen.method == "DELETE" {
            content::no_revision_is_deleted_that_a_pair_runs_by(history, pairs, now, runs)
                .into_iter()
                .collect()
        } else if let Some(name) = pairs::instance_at(seen.path) {
            choice::a_choice_stands(history, now, name).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn on_a_spoke(&mut self, seen: &Seen, server: &Server) -> Vec<String> {
        let mut broken = Vec::new();
        let (at, now) = ((seen.now, seen.site), seen.now);
        if seen.path.contains("/customresourcedefinitions") {
            broken.extend(self.fields.never_go_back(seen.site, server));
        }
        if let Some(name) = pairs::instance_at(seen.path) {
            let mirror = pairs::mirror(server, name);
            if seen.method == "DELETE" {
                broken.extend(removal::nothing_that_is_kept_is_taken_away(&self.history, at, name));
                self.there.retain(|(of, site)| of != name || site != seen.site);
            } else if let Some(mirror) = mirror {
                broken.extend(removal::a_deleted_instance_gets_removals_only(
                    &self.history,
                    at,
                    name,
                    &mirror,
                ));
                broken.extend(content::a_mirror_has_the_content_of_its_version(
                    &self.history,
                    now,
                    seen.site,
                    &mirror,
                ));
                let marks = pairs::Marks::of(&mirror);
                if let Some(since) = marks.facts.and_then(|facts| facts.since)
                    && self.read.insert((name.to_owned(), seen.site.to_owned(), since))
                {
                    let of = (&Unit::Instance(marks.uid), name);
                    let since = pairs::millis(since);
                    broken.extend(admission::nobody_is_read_anew_while_it_is_paused(
                        &self.history,
                        of,
                        since,
                    ));
                }
                if seen.created && self.there.insert((name.to_owned(), seen.site.to_owned())) {
                    broken.extend(choice::nobody_is_where_no_word_takes_it(
                        &self.history,
                        now,
                        seen.site,
                        name,
                    ));
                }
                let Some(ground) = self.history.now() else { return broken };
                for pair in self.pairs.landed(ground, seen.site, name, &mirror) {
                    broken.extend(self.admitted(now, &pair, &mirror));
                }
            }
        }
        self.pairs.look(now, seen.site, server);
        broken
    }

    /// A version came to a pair for the first time.
    fn admitted(&self, now: u64, pair: &Pair, mirror: &Object) -> Vec<String> {
        let case = Case { history: &self.history, pairs: &self.pairs, now, pair };
        let revision = pairs::Marks::of(mirror).admitted.map(|a| a.revision);
        [
            admission::no_more_at_a_time_than_the_stage_allows(&case),
            admission::nothing_goes_on_after_too_many_failures(&case),
            admission::what_comes_is_on_record(&case),
            admission::nobody_is_moved_without_leave(&case),
            admission::no_revision_is_above_the_ceiling(&case, revision.filter(|_| pair.unit == Unit::Kind)),
            admission::stages_are_begun_in_order(&case),
            content::nothing_older_comes(&case),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn never_too_many(&mut self, seen: &Seen) {
        let (second, count) = self.rate.entry((seen.process, seen.site.to_owned())).or_default();
        if *second != seen.now / 1_000 {
            (*second, *count) = (seen.now / 1_000, 0);
        }
        *count += 1;
        if *count == MOST {
            self.breach(seen, &format!("{MOST} requests in a second"));
        }
    }

    /// Whether a process asked a site more in this second than it may.
    pub fn is_overrun(&self, now: u64, process: ProcessId, site: &str) -> bool {
        let rate = self.rate.get(&(process, site.to_owned()));
        rate.is_some_and(|(second, count)| *second == now / 1_000 && *count >= MOST)
    }

    fn only_with_the_lease(&mut self, seen: &Seen) {
        // The lease stands in it.
        let namespace = format!("/api/v1/namespaces/{HUB_NAMESPACE}");
        if seen.site == HUB && (seen.path == "/api/v1/namespaces" || seen.path == namespace) {
            return;
        }
        // By the clock of that machine, which went on while it slept.
        let slept = |at: u64| -> u64 {
            let since =
                self.slept.iter().filter(|(process, when, _)| *process == seen.process && *when >= at);
            since.map(|(_, _, millis)| millis).sum()
        };
        let until = |at: u64| at + u64::try_from(TIMES.renew_deadline.as_millis()).unwrap();
        match self.lease {
            Some((holder, at)) if holder == seen.process && seen.now + slept(at) <= until(at) => {}
            lease => self.breach(seen, &format!("a write without the lease, which {lease:?} holds")),
        }
    }

    /// No content is written to a spoke that the record on the hub does not name.
    fn only_where_it_is_recorded(&mut self, seen: &Seen, instance: impl Fn(&str) -> Option<Value>) {
        // To what is there already something may be said, as long as its cleanup is recorded elsewhere.
        if seen.site == HUB || !seen.created || self.amnesia {
            return;
        }
        let body = Object(seen.body.clone());
        let name = if seen.path.starts_with(wishes::SHOPS) {
            seen.path[wishes::SHOPS.len()..]
                .trim_start_matches('/')
                .split('/')
                .next()
                .unwrap_or("")
                .to_owned()
        } else {
            match (body.label(kro::INSTANCE_NAME), body.label(kro::INSTANCE_KIND)) {
                (Some(name), Some(KIND)) => name.to_owned(),
                // Its maker is on record, not itself.
                (Some(name), Some("Sign")) => name.trim_end_matches(wishes::SIGN).to_owned(),
                _ => return,
            }
        };
        let holds = instance(&name).map(|i| Fleet::holds(&Object(i))).unwrap_or_default();
        if !holds.contains(&ClusterName::new(seen.site)) {
            self.breach(seen, &format!("{} says that {name} is held on {holds:?}", hub::HOLDS));
        }
    }

    fn nothing_that_is_wanted_goes(&mut self, seen: &Seen) {
        if seen.method != "DELETE" || !seen.success {
            return;
        }
        let mut parts = seen.path.rsplit('/');
        let (Some(name), Some(plural)) = (parts.next(), parts.next()) else { return };
        let plural = match plural {
            "configmaps" => "configmaps",
            "secrets" => "secrets",
            "signs" => "signs",
            _ => return,
        };
        let key = (seen.site.to_owned(), (plural, name.to_owned()));
        if let Some(since) = self.wanted.get(&key).copied()
            && since + SETTLED < seen.now
        {
            self.breach(seen, &format!("deleted, though wanted since {:.3}", since as f64 / 1_000.0));
        }
    }
}
