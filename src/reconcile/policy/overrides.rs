//! Overrides: what an instance says otherwise on some clusters. They are merge patches of its spec, judged against the newest
//! revision of its kind when they are read, and evaluated for each cluster against what it is.

use super::filter::{Filter, Match};
use crate::api::condition::ConditionStatus;
use crate::api::hash;
use crate::api::names::ClusterName;
use crate::api::placement::Override;
use crate::graph::Graph;
use crate::graph::patch::{self, Patch, Subject, Unpatched};
use crate::reconcile::rollout::facts::Reads;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The overrides of one Placement.
#[derive(Debug)]
pub struct Overrides {
    /// Whose they are: `Placement shop/web`.
    pub by: Arc<str>,
    rules: Vec<Rule>,
}

/// One entry of `spec.overrides`.
#[derive(Debug)]
pub struct Rule {
    index: usize,
    by: Arc<str>,
    filter: Filter,
    patch: Patch,
    paths: Vec<String>,
    print: u64,
}

/// Something that cannot be read: where in the object, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub path: String,
    pub message: String,
}

/// A cluster as overrides see it.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    pub name: &'a ClusterName,
    pub labels: &'a BTreeMap<String, String>,
    pub local: bool,
    /// What `cluster` is in expressions; `None` while not all of it is known.
    pub facts: Option<&'a Value>,
}

/// What the overrides make of an instance on one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Overridden {
    pub spec: Value,
    /// What was set or taken out, sorted: `spec.replicas`.
    pub paths: Vec<String>,
}

/// Why the overrides make nothing of it. No value is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// They read what is not known of the cluster yet.
    Unknown,
    /// Whose override, where, and why.
    Because(String),
}

/// A path that two set on the same clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layered {
    pub path: String,
    pub winner: Arc<str>,
    pub loser: Arc<str>,
    pub clusters: BTreeSet<ClusterName>,
}

impl Overrides {
    /// Reads `spec.overrides` for instances of this kind.
    ///
    /// # Errors
    /// Everything that is wrong with them, in order.
    pub fn read(by: &str, overrides: &[Override], graph: &Graph) -> Result<Self, Vec<Unreadable>> {
        let (by, mut rules, mut problems): (Arc<str>, _, _) = (by.into(), Vec::new(), Vec::new());
        for (index, entry) in overrides.iter().enumerate() {
            let place = format!("spec.overrides[{index}]");
            let filter = Filter::read(entry.clusters.as_ref(), &format!("{place}.clusters"));
            let patch = Patch::compile(graph, &entry.spec, &format!("{place}.spec"));
            match (filter, patch) {
                (Ok(filter), Ok(patch)) => {
                    let print =
                        hash::json(&json!([&*by, index, serde_json::to_value(entry).unwrap_or_default()]));
                    let paths = patch.paths().iter().map(ToString::to_string).collect();
                    rules.push(Rule { index, by: by.clone(), filter, patch, paths, print });
                }
                (filter, patch) => {
                    problems.extend(filter.err().map(|sentence| Unreadable::of(&sentence)));
                    let found = patch.err().unwrap_or_default().into_iter();
                    problems.extend(found.map(|d| {
                        let help = d.help.map(|help| format!("; {help}")).unwrap_or_default();
                        Unreadable { path: d.path, message: format!("{}{help}", d.message) }
                    }));
                }
            }
        }
        if problems.is_empty() { Ok(Self { by, rules }) } else { Err(problems) }
    }

    /// What they read of a cluster.
    pub fn reads(&self) -> Reads {
        self.rules.iter().fold(Reads::default(), |reads, rule| {
            reads.and(rule.filter.reads()).and(Reads::of(rule.patch.cluster_reads()))
        })
    }

    /// Those that hold on a cluster, in order.
    ///
    /// # Errors
    /// One of them does not say whether it does.
    pub fn on<'o>(&'o self, cluster: Cluster<'_>, into: &mut Vec<&'o Rule>) -> Result<(), Failed> {
        let Cluster { name, labels, local, facts } = cluster;
        for rule in &self.rules {
            match rule.filter.matches(name, labels, local, facts) {
                Match::Yes => into.push(rule),
                Match::No => {}
                Match::Unsure(_) if facts.is_none() => return Err(Failed::Unknown),
                Match::Unsure(why) => {
                    let Rule { index, by, .. } = rule;
                    let place = format!("spec.overrides[{index}].clusters.expression");
                    return Err(Failed::Because(format!("{by} {place}: {why}")));
                }
            }
        }
        Ok(())
    }
}

impl Unreadable {
    /// From a sentence that begins with a path.
    fn of(sentence: &str) -> Self {
        let (path, message) = sentence.split_once(": ").unwrap_or(("spec", sentence));
        Self { path: path.to_owned(), message: message.to_owned() }
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Rule {
    fn failed(&self, found: &Unpatched) -> Failed {
        let Self { index, by, .. } = self;
        Failed::Because(format!("{by} spec.overrides[{index}].spec{}: {}", found.path, found.why))
    }

    /// Whether it sets or takes out something at, above or below a place of the spec.
    fn touches(&self, path: &str) -> bool {
        self.paths.iter().any(|own| overlap(own, path))
    }
}

/// Whether any of these reads anything of a cluster: if not, they make the same of an instance everywhere.
pub fn read_clusters(rules: &[&Rule]) -> bool {
    rules.iter().any(|rule| !rule.patch.cluster_reads().is_empty())
}

/// What these read of a cluster, as paths below it.
pub fn cluster_reads(rules: &[&Rule]) -> Vec<Vec<String>> {
    let reads: BTreeSet<&Vec<String>> = rules.iter().flat_map(|rule| rule.patch.cluster_reads()).collect();
    reads.into_iter().cloned().collect()
}

/// Changes when these may make something else of the same instance. `None` while they read what is not known yet.
pub fn print_of(rules: &[&Rule], facts: Option<&Value>) -> Option<u64> {
    let prints: Vec<u64> = rules.iter().map(|rule| rule.print).collect();
    let reads: BTreeSet<&Vec<String>> = rules.iter().flat_map(|rule| rule.patch.cluster_reads()).collect();
    if reads.is_empty() {
        return Some(hash::json(&json!(prints)));
    }
    let facts = facts?;
    let read = |path: &&Vec<String>| path.iter().try_fold(facts, |value, key| value.get(key));
    let read: Vec<Option<&Value>> = reads.iter().map(read).collect();
    Some(hash::json(&json!([prints, read])))
}

/// What these make of an instance on a cluster, each on top of those before. `graph` is what the cluster runs.
///
/// # Errors
/// An expression gives nothing, or what comes of it breaks a rule of the schema.
pub fn apply(
    rules: &[&Rule],
    subject: &Subject,
    graph: &Graph,
    facts: Option<&Value>,
) -> Result<Overridden, Failed> {
    let mut spec = subject.spec().clone();
    let mut paths = BTreeSet::new();
    for rule in rules {
        let facts = match facts {
            Some(facts) => facts,
            None if rule.patch.cluster_reads().is_empty() => &Value::Null,
            None => return Err(Failed::Unknown),
        };
        let patch = rule.patch.render(subject, facts).map_err(|found| rule.failed(&found))?;
        patch::merge(&mut spec, &patch);
        paths.extend(rule.paths.iter().cloned());
    }
    let spec = graph.spec_as_served(spec);
    if let Some(found) = graph.unfit(&spec, subject.spec()) {
        let place = format!("spec{}", found.path);
        let to_blame = rules.iter().rev().find(|rule| rule.touches(&place)).or(rules.last());
        return Err(to_blame.map_or(Failed::Unknown, |rule| rule.failed(&found)));
    }
    Ok(Overridden { spec, paths: paths.into_iter().collect() })
}

/// Paths that a later one of these takes from an earlier one, with the clusters where it does. `reach`: whether
/// the overrides at this place of the list reach a cluster.
pub fn layered<'c>(
    list: &[&Overrides],
    reach: impl Fn(usize, Cluster<'_>) -> bool,
    clusters: impl Iterator<Item = Cluster<'c>>,
) -> Vec<Layered> {
    let mut found: BTreeMap<(String, usize, usize), BTreeSet<ClusterName>> = BTreeMap::new();
    for cluster in clusters {
        let mut set: Vec<(usize, &str)> = Vec::new();
        let mut here: BTreeSet<(String, usize, usize)> = BTreeSet::new();
        for (place, overrides) in list.iter().enumerate().filter(|(place, _)| reach(*place, cluster)) {
            let mut rules = Vec::new();
            // Where one does not say whether it holds, nothing is overridden.
            if overrides.on(cluster, &mut rules).is_err() {
                break;
            }
            let own: Vec<&str> =
                rules.iter().flat_map(|rule| rule.paths.iter().map(String::as_str)).collect();
            for path in &own {
                let others = set.iter().filter(|(other, known)| *other != place && overlap(known, path));
                here.extend(others.map(|(other, known)| {
                    let longer = if known.len() > path.len() { known } else { path };
                    ((*longer).to_owned(), place, *other)
                }));
            }
            set.extend(own.into_iter().map(|path| (place, path)));
        }
        for key in here {
            found.entry(key).or_default().insert(cluster.name.clone());
        }
    }
    let by = |place: usize| list.get(place).map(|o| o.by.clone()).unwrap_or_default();
    let entry =
        |((path, winner, loser), clusters)| Layered { path, winner: by(winner), loser: by(loser), clusters };
    found.into_iter().map(entry).collect()
}

/// What the condition `OverridesValid` of a Placement says: status, reason, message.
pub fn verdict(
    read: &Result<Overrides, Vec<Unreadable>>,
    layered: &[Layered],
) -> (ConditionStatus, String, String) {
    const SHOWN: usize = 5;
    let list = |all: Vec<String>| {
        let rest = all.len().saturating_sub(SHOWN);
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        format!("{}{more}", all.into_iter().take(SHOWN).collect::<Vec<_>>().join("; "))
    };
    match read {
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect();
            (ConditionStatus::False, "InvalidOverride".into(), list(problems))
        }
        Ok(own) => {
            let with_it = layered.iter().filter(|l| l.winner == own.by || l.loser == own.by);
            let said: Vec<String> = with_it.map(ToString::to_string).collect();
            let reason = if said.is_empty() { "Valid" } else { "Layered" };
            (ConditionStatus::True, reason.into(), list(said))
        }
    }
}

impl std::fmt::Display for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, winner, loser, clusters } = self;
        let count = clusters.len();
        let many = if count == 1 { "" } else { "s" };
        write!(f, "{path}: {winner} wins over {loser} on {count} cluster{many}")
    }
}

/// Whether one of two paths is the other, or leads to it.
fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Object;
    use crate::graph::{Options, compile};

    fn kind() -> Graph {
        let yaml = "
metadata: {name: app, uid: r1, generation: 3}
spec:
  schema:
    kind: App
    apiVersion: v1alpha1
    spec:
      replicas: integer | default=3 minimum=1 maximum=9
      image: string
      tags: 'map[string]string'
      database: {size: integer | default=1, host: string | required=true}
  resources: []
";
        compile(&serde_saphyr::from_str(yaml).unwrap(), &Options::default(), &crate::schema::kinds::Anywhere)
            .unwrap()
    }

    fn overrides(by: &str, list: Value) -> Result<Overrides, Vec<Unreadable>> {
        Overrides::read(by, &serde_json::from_value::<Vec<Override>>(list).unwrap(), &kind())
    }

    struct Site {
        name: ClusterName,
        labels: BTreeMap<String, String>,
        facts: Value,
    }

    impl Site {
        fn new(name: &str, tier: &str) -> Self {
            let facts = json!({"name": name, "id": "u", "labels": {"tier": tier}, "properties": {"registry": "r.io"},
                "version": {"major": 1, "minor": 30}});
            Self {
                name: ClusterName::new(name),
                labels: [("tier".to_owned(), tier.to_owned())].into(),
                facts,
            }
        }
        fn cluster(&self) -> Cluster<'_> {
            Cluster { name: &self.name, labels: &self.labels, local: false, facts: Some(&self.facts) }
        }
    }

    fn made(list: &[Overrides], site: &Site) -> Result<Overridden, Failed> {
        let graph = kind();
        let spec = json!({"replicas": 5, "image": "web", "database": {"host": "h", "size": 2}});
        let subject =
            graph.subject(&Object(json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": spec})));
        let mut rules = Vec::new();
        list.iter().try_for_each(|overrides| overrides.on(site.cluster(), &mut rules))?;
        apply(&rules, &subject, &graph, Some(&site.facts))
    }

    #[test]
    fn later_ones_lie_on_top_of_earlier_ones() {
        let base = overrides(
            "ClusterPlacement base",
            json!([
                {"spec": {"replicas": 2, "tags": {"from": "base"}}},
                {"clusters": {"labelSelector": {"matchLabels": {"tier": "edge"}}}, "spec": {"replicas": 1}},
            ]),
        );
        let web = overrides(
            "Placement shop/web",
            json!([
                {"clusters": {"names": ["edge-1"]}, "spec": {"image": "${cluster.properties.registry + '/' + schema.spec.image}"}},
                {"clusters": {"names": ["edge-1"]}, "spec": {"tags": {"from": null, "n": "${string(schema.spec.replicas)}"}}},
            ]),
        );
        let list = [base.unwrap(), web.unwrap()];
        let edge = made(&list, &Site::new("edge-1", "edge")).unwrap();
        // Expressions read the instance as written, not what other overrides make of it.
        let want = json!({"replicas": 1, "image": "r.io/web", "tags": {"n": "5"}, "database": {"host": "h", "size": 2}});
        assert_eq!(edge.spec, want);
        assert_eq!(edge.paths, ["spec.image", "spec.replicas", "spec.tags.from", "spec.tags.n"]);
        let prod = made(&list, &Site::new("prod-1", "prod")).unwrap();
        assert_eq!((&prod.spec["replicas"], &prod.spec["tags"]), (&json!(2), &json!({"from": "base"})));
        let list: Vec<&Overrides> = list.iter().collect();
        let sites = [Site::new("edge-1", "edge"), Site::new("prod-1", "prod")];
        let said: Vec<String> = layered(&list, |_, _| true, sites.iter().map(Site::cluster))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(said, ["spec.tags.from: Placement shop/web wins over ClusterPlacement base on 1 cluster"]);
        let two = BTreeSet::from(["x", "y"].map(ClusterName::new));
        let verdict = |of: &str, list: Value| {
            let lies = Layered {
                path: "spec.x".into(),
                winner: "B".into(),
                loser: "A".into(),
                clusters: two.clone(),
            };
            let (status, reason, message) = verdict(&overrides(of, list), &[lies]);
            format!("{status:?} {reason}: {message}")
        };
        let good = json!([{"spec": {"replicas": 2}}]);
        assert_eq!(verdict("A", good.clone()), "True Layered: spec.x: B wins over A on 2 clusters");
        assert_eq!(verdict("B", good.clone()), "True Layered: spec.x: B wins over A on 2 clusters");
        assert_eq!(verdict("C", good), "True Valid: ");
        let bad = verdict("C", json!([{"spec": {"replicas": "two"}}]));
        assert_eq!(
            bad,
            "False InvalidOverride: spec.overrides[0].spec.replicas: expected integer type, got string"
        );
        assert!(layered(&list, |place, _| place == 0, sites.iter().map(Site::cluster)).is_empty());
    }

    #[test]
    fn what_fails_names_whose_it_is_where_and_why() {
        let edge = Site::new("edge-1", "edge");
        for (list, want) in [
            (
                json!([{"spec": {}}, {"spec": {"image": "${cluster.properties.region}"}}]),
                "spec.overrides[1].spec.image: no such key: region",
            ),
            (
                json!([{"clusters": {"expression": "cluster.labels.zone == 'a'"}, "spec": {}}]),
                "spec.overrides[0].clusters.expression: no such key: zone",
            ),
            (
                json!([{"spec": {"replicas": "${cluster.version.minor}"}}, {"spec": {"image": "x"}}]),
                "spec.overrides[0].spec.replicas: is more than maximum=9",
            ),
            (
                json!([{"spec": {"image": "x"}}, {"spec": {"database": {"host": null}}}]),
                "spec.overrides[1].spec.database: lacks host, which is required",
            ),
        ] {
            let one = overrides("Placement shop/web", list.clone()).unwrap();
            let failed = made(&[one], &edge).unwrap_err();
            assert_eq!(failed, Failed::Because(format!("Placement shop/web {want}")), "{list}");
        }
        let bad =
            json!([{"clusters": {"expression": "1"}, "spec": {"replicas": "x"}}, {"spec": {"imgae": "x"}}]);
        let said: Vec<String> = overrides("Placement shop/web", bad)
            .unwrap_err()
            .into_iter()
            .map(|u| format!("{}: {}", u.path, u.message))
            .collect();
        assert_eq!(
            said,
            [
                "spec.overrides[0].clusters.expression: expected bool, got int",
                "spec.overrides[0].spec.replicas: expected integer type, got string",
                "spec.overrides[1].spec.imgae: schema not found for field imgae; did you mean \"image\"?",
            ]
        );
    }

    #[test]
    fn a_print_changes_with_the_rules_and_with_what_they_read() {
        let list = overrides(
            "P",
            json!([
                {"clusters": {"names": ["a"]}, "spec": {"replicas": 1}},
                {"clusters": {"names": ["b", "c"]}, "spec": {"image": "${cluster.labels.tier}"}},
            ]),
        );
        let list = list.unwrap();
        let print = |name: &str, tier: &str| {
            let (site, mut rules) = (Site::new(name, tier), Vec::new());
            list.on(site.cluster(), &mut rules).unwrap();
            (
                print_of(&rules, Some(&site.facts)).unwrap(),
                read_clusters(&rules),
                print_of(&rules, None).is_some(),
            )
        };
        assert_eq!(print("a", "x"), print("a", "y"));
        assert_eq!(print("b", "x"), print("c", "x"));
        assert_ne!(print("b", "x"), print("b", "y"));
        assert_ne!(print("a", "x").0, print("d", "x").0);
        assert_eq!((print("a", "x").1, print("a", "x").2), (false, true));
        assert_eq!((print("b", "x").1, print("b", "x").2), (true, false));
    }
}
