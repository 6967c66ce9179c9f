//! A step of the machine of one hub instance that is at rest on many clusters, after one of them reported: time,
//! allocations, and what it keeps of a cluster.

use criterion::{BenchmarkId, Criterion};
use kro_hub::measured::AtRest;
use std::hint::black_box;
use std::time::Duration;

const CLUSTERS: [usize; 3] = [10, 100, 1_000];

/// What the next report says, in turn of all clusters.
struct Turns {
    instance: AtRest,
    clusters: usize,
    turn: usize,
}

impl Turns {
    /// `news`: each cluster in turn is under way, and ready again; else it says what it said before.
    fn report(&mut self, news: bool) {
        self.instance.passes(Duration::from_millis(10));
        let (cluster, ready) = (self.turn / 2 % self.clusters, self.turn % 2 == 1);
        self.instance.reports(cluster, ready || !news);
        self.turn += 1;
    }
}

/// Bytes that are kept of each cluster: all that the instance holds, less what it holds on one, over the others.
fn bytes_a_cluster(clusters: usize, made: fn(usize) -> Option<AtRest>) -> Option<u64> {
    let held = |clusters: usize| {
        let mut instance = None;
        let counted = allocation_counter::measure(|| instance = made(clusters));
        instance.map(|_| u64::try_from(counted.bytes_current).unwrap_or_default())
    };
    let others = u64::try_from(clusters - 1).ok().filter(|others| *others > 0)?;
    Some(held(clusters)?.saturating_sub(held(1)?) / others)
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("fleet-step");
    for clusters in CLUSTERS {
        for (what, news, rolling) in [
            ("a report that changes a line", true, false),
            ("a report that changes nothing", false, false),
            ("a report that changes a line under a rollout", true, true),
        ] {
            let instance = if rolling { AtRest::rolling(clusters) } else { AtRest::on(clusters) };
            let Some(instance) = instance else {
                eprintln!("an instance on {clusters} clusters does not come to rest");
                std::process::exit(1);
            };
            let mut turns = Turns { instance, clusters, turn: 0 };
            group.bench_function(BenchmarkId::new(what, clusters), |b| {
                b.iter(|| {
                    turns.report(news);
                    black_box(turns.instance.step())
                });
            });
            let steps = 100;
            let counted = allocation_counter::measure(|| {
                for _ in 0..steps {
                    turns.report(news);
                    black_box(turns.instance.step());
                }
            });
            println!("fleet-step/{what}/{clusters}: {} allocations a step", counted.count_total / steps);
        }
    }
    group.finish();
    let of = |made| bytes_a_cluster(1_000, made).map_or("not known".to_owned(), |bytes| bytes.to_string());
    println!("fleet-step/bytes a cluster of 1000: {}", of(AtRest::on));
    println!("fleet-step/bytes a cluster of 1000 under a rollout: {}", of(AtRest::rolling));
    criterion.final_summary();
}
