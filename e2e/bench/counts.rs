//! Requests that API servers have answered, by verb and resource, from their own metrics.

use super::site::Site;
use anyhow::Result;
use std::collections::BTreeMap;

/// The API server creates one for each Service, by a request to itself; no client sends any.
const OF_THE_SERVER: &str = "ipaddresses";

/// `cluster VERB resource/subresource` and how many.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub BTreeMap<String, f64>);

impl Counts {
    /// All so far, of all clusters of a site.
    pub fn read(site: &Site) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for cluster in site.variant.clusters() {
            let text = site.env.api(cluster).text("/metrics")?;
            for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
                let Some((labels, value)) = line.rsplit_once("} ") else { continue };
                let (resource, sub) = (label(labels, "resource"), label(labels, "subresource"));
                if resource == OF_THE_SERVER {
                    continue;
                }
                let of = match (resource.is_empty(), sub.is_empty()) {
                    (true, _) => "(no resource)".to_owned(),
                    (false, true) => resource.to_owned(),
                    (false, false) => format!("{resource}/{sub}"),
                };
                let key = format!("{cluster} {} {of}", label(labels, "verb"));
                *counts.entry(key).or_insert(0.0) += value.trim().parse::<f64>().unwrap_or_default();
            }
        }
        Ok(Self(counts))
    }

    /// What came since.
    pub fn since(&self, before: &Self) -> Self {
        let less = |(key, now): (&String, &f64)| {
            let count = now - before.0.get(key).copied().unwrap_or_default();
            (count != 0.0).then(|| (key.clone(), count))
        };
        Self(self.0.iter().filter_map(less).collect())
    }

    /// Every count times a number.
    pub fn times(&self, by: f64) -> Self {
        Self(self.0.iter().map(|(key, count)| (key.clone(), count * by)).collect())
    }

    /// Less what would have come anyway, and what the bench itself has sent; what is left of a count is never negative.
    pub fn without(&self, other: &Self) -> Self {
        let rest = |(key, count): (&String, &f64)| {
            let left = count - other.0.get(key).copied().unwrap_or_default();
            (left > 0.0).then(|| (key.clone(), left))
        };
        Self(self.0.iter().filter_map(rest).collect())
    }

    pub fn one(key: &str, count: f64) -> Self {
        Self(BTreeMap::from([(key.to_owned(), count)]))
    }

    pub fn sum(&self) -> f64 {
        // An empty sum of floats is a negative zero.
        self.0.values().sum::<f64>() + 0.0
    }

    /// Those that change something; leases aside, which tell who leads.
    pub fn writes(&self) -> f64 {
        let write = |key: &str| {
            let mut words = key.split(' ').skip(1);
            let verb = words.next().unwrap_or_default();
            matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION")
                && words.next() != Some("leases")
        };
        self.0.iter().filter(|(key, _)| write(key)).map(|(_, count)| count).sum::<f64>() + 0.0
    }
}

fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let start = [format!("{{{name}=\""), format!(",{name}=\"")]
        .iter()
        .find_map(|mark| labels.find(mark.as_str()).map(|at| at + mark.len()));
    start.and_then(|at| labels.get(at..)?.split('"').next()).unwrap_or_default()
}
