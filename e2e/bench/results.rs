//! What was measured, as it is written to `bench.json`.

use super::counts::Counts;
use super::stages::Plan;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Of all runs so far.
pub struct Results {
    path: PathBuf,
    pub quick: bool,
    wanted_runs: usize,
    pub plan: Value,
    pub runs: Vec<Run>,
    pub failures: Vec<String>,
}

/// One variant in one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub variant: &'static str,
    pub run: usize,
    /// By name; the name ends with the unit.
    pub values: BTreeMap<String, f64>,
    /// By stage: requests by cluster, verb and resource.
    pub requests: BTreeMap<&'static str, BTreeMap<String, f64>>,
}

impl Run {
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    pub fn requests(&mut self, stage: &'static str, counts: &Counts) {
        self.requests.insert(stage, counts.0.clone());
    }
}

impl Results {
    pub fn new(path: PathBuf, quick: bool, wanted_runs: usize, plan: &Plan) -> Self {
        let plan = serde_json::to_value(plan).unwrap_or_default();
        Self { path, quick, wanted_runs, plan, runs: Vec::new(), failures: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run of a variant, made at the first call; the file shows it after each stage.
    pub fn run(&mut self, variant: &'static str, run: usize) -> &mut Run {
        let place = self.runs.iter().position(|r| r.variant == variant && r.run == run);
        let place = place.unwrap_or_else(|| {
            self.runs.push(Run { variant, run, ..Run::default() });
            self.runs.len() - 1
        });
        &mut self.runs[place]
    }

    /// Median of a value over the runs of a variant.
    pub fn median(&self, variant: &str, value: &str) -> Option<f64> {
        median(self.of(variant).filter_map(|run| run.values.get(value).copied()).collect())
    }

    /// Medians of the requests of a stage.
    pub fn requests(&self, variant: &str, stage: &str) -> BTreeMap<String, f64> {
        let stages: Vec<_> = self.of(variant).filter_map(|run| run.requests.get(stage)).collect();
        let keys: Vec<&String> = stages.iter().flat_map(|counts| counts.keys()).collect();
        let of_all = |key: &String| {
            let values = stages.iter().map(|counts| counts.get(key).copied().unwrap_or_default());
            median(values.collect()).unwrap_or_default()
        };
        keys.into_iter().map(|key| (key.clone(), of_all(key))).collect()
    }

    fn of(&self, variant: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.variant == variant)
    }

    /// Names of variants that have results, in the order of their first run.
    pub fn variants(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for run in &self.runs {
            if !names.contains(&run.variant) {
                names.push(run.variant);
            }
        }
        names
    }

    /// What the table says, so that no reader has to compute it again.
    fn medians(&self) -> Value {
        let of = |variant: &'static str| {
            let names: Vec<String> = self.of(variant).flat_map(|run| run.values.keys().cloned()).collect();
            let values: BTreeMap<String, Option<f64>> =
                names.into_iter().map(|name| (name.clone(), self.median(variant, &name))).collect();
            let requests = self.requests(variant, "per_instance");
            (variant.to_owned(), json!({"values": values, "requestsPerInstance": requests}))
        };
        Value::Object(self.variants().into_iter().map(of).collect())
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        let text = json!({
            "machine": machine(), "quick": self.quick, "wantedRuns": self.wanted_runs, "plan": self.plan,
            "release": !cfg!(debug_assertions),
            "medians": self.medians(),
            "budgets": super::report::judged(self),
            "failures": self.failures, "runs": self.runs,
        });
        // Whole or not at all: a reader may look at any time.
        let unfinished = self.path.with_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec_pretty(&text)?)?;
        fs::rename(&unfinished, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{cores} cores {model}").trim_end().to_owned()
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let lower = if values.len().is_multiple_of(2) { values.get(middle - 1).copied()? } else { upper };
    Some(f64::midpoint(lower, upper))
}

/// The value that so many of a hundred do not exceed.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied()
}
