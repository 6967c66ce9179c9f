//! What holds at every request of a controller.

use super::network::HUB;
use super::process::{HUB_NAMESPACE, ProcessId, TIMES};
use super::wishes::{self, Child, KIND};
use crate::api::Object;
use crate::api::keys::{hub, kro};
use crate::api::names::ClusterName;
use crate::reconcile::fleet::Fleet;
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
