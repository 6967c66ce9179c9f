//! The table: for people, for docs/performance.md, and what of the budgets is met.

use super::crds;
use super::results::{Results, machine};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// A value of one variant, itself or as a part of another's.
enum Measure {
    Is(&'static str, String),
    /// The value divided by that of the variant named last.
    PartOf(&'static str, String, &'static str),
}

struct Budget {
    what: String,
    measure: Measure,
    most: f64,
}

fn budgets(results: &Results) -> Vec<Budget> {
    let plan = |key: &str| results.plan[key].as_u64().unwrap_or_default();
    let largest = results.plan["batches"].as_array().and_then(|b| b.iter().filter_map(Value::as_u64).max());
    let batch = format!("batch_{}_s", largest.unwrap_or_default());
    let many = plan("definitions");
    let is = |what: &str, variant, value: &str, most| Budget {
        what: what.to_owned(),
        measure: Measure::Is(variant, value.to_owned()),
        most,
    };
    let part = |what: &str, variant, value: &str, other, most| Budget {
        what: what.to_owned(),
        measure: Measure::PartOf(variant, value.to_owned(), other),
        most,
    };
    let mut all = vec![
        is("requests an instance, local", "local", "requests_per_instance", 8.0),
        is("requests an instance, hub and spoke, Fail", "fail", "requests_per_instance", 13.0),
        is("requests an instance, hub and spoke, Adopt", "adopt", "requests_per_instance", 9.0),
        part("time of the largest batch, as a part of tuned kro's", "local", &batch, "kro-tuned", 0.25),
        part("the same, as a multiple of the replay's", "local", &batch, "replay", 1.3),
        is("create to ACTIVE when idle, p50 in ms", "local", "create_p50_ms", 40.0),
        is("create to ACTIVE when idle, p95 in ms", "local", "create_p95_ms", 80.0),
        part("create to ACTIVE, p50 as a part of kro's", "local", "create_p50_ms", "kro", 1.0),
        is("drift repaired, p50 in ms", "local", "drift_p50_ms", 15.0),
        part("drift repaired, p50 as a part of kro's", "local", "drift_p50_ms", "kro", 1.0),
        is("definition to Active, s", "local", "rgd_1_s", 0.3),
        is(&format!("{many} definitions to Active, s"), "local", &format!("rgd_{many}_s"), 3.0),
    ];
    for variant in ["local", "fail", "adopt"] {
        all.push(is(&format!("writes at rest, {variant}"), variant, "rest_writes", 0.0));
        all.push(is(&format!("writes over a restart, {variant}"), variant, "restart_writes", 0.0));
    }
    let documents = "documents of OpenAPI for each definition, 700 CRDs";
    all.push(is(documents, "crds", "schema_documents_per_definition", crds::DOCUMENTS_EACH));
    let rest = "requests a second at rest, 60 definitions on two spokes";
    all.push(is(rest, "crds", "rest_requests_per_s", crds::AT_REST));
    all
}

impl Budget {
    fn value(&self, results: &Results) -> Option<f64> {
        match &self.measure {
            Measure::Is(variant, value) => results.median(variant, value),
            Measure::PartOf(variant, value, other) => {
                let whole = results.median(other, value).filter(|whole| *whole > 0.0)?;
                Some(results.median(variant, value)? / whole)
            }
        }
    }
}

/// Each budget with what was measured, for the JSON.
pub fn judged(results: &Results) -> Value {
    let one = |budget: &Budget| {
        let value = budget.value(results);
        json!({"what": budget.what, "most": budget.most, "measured": value,
            "met": value.map(|value| met(value, budget.most))})
    };
    budgets(results).iter().map(one).collect()
}

/// Counts are means, which rounding must not judge.
fn met(value: f64, most: f64) -> bool {
    value <= most + 0.005
}

/// Everything as Markdown, which reads well on a terminal too.
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    let profile = if cfg!(debug_assertions) { "debug build: times say nothing" } else { "release build" };
    let runs = results.runs.iter().map(|run| run.run).max().unwrap_or_default();
    let _ = writeln!(out, "{}; {profile}; medians of {runs} run(s).\n", machine());
    values(&mut out, results);
    requests(&mut out, results);
    let _ = writeln!(out, "### Budgets\n");
    let mut rows = Vec::new();
    for budget in budgets(results) {
        let value = budget.value(results);
        let verdict = match value {
            None => "not measured",
            Some(value) if met(value, budget.most) => "met",
            Some(_) => "**missed**",
        };
        let measured = value.map_or_else(String::new, number);
        rows.push(vec![budget.what.clone(), number(budget.most), measured, verdict.to_owned()]);
    }
    table(&mut out, &["", "at most", "measured", ""], &rows);
    if !results.failures.is_empty() {
        let _ = writeln!(out, "Left out:\n");
        for failure in &results.failures {
            let first = failure.lines().next().unwrap_or_default();
            let _ = writeln!(out, "- {first}");
        }
    }
    out.trim_end().to_owned()
}

/// One row a value, one column a variant.
fn values(out: &mut String, results: &Results) {
    let variants = results.variants();
    let names: BTreeSet<&String> = results.runs.iter().flat_map(|run| run.values.keys()).collect();
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let cells = variants.iter().map(|v| results.median(v, name).map_or_else(String::new, number));
            std::iter::once(words(name)).chain(cells).collect()
        })
        .collect();
    let head: Vec<&str> = std::iter::once("").chain(variants).collect();
    let _ = writeln!(out, "### Values\n");
    table(out, &head, &rows);
}

/// Requests an instance, by verb and resource.
fn requests(out: &mut String, results: &Results) {
    let of: BTreeMap<&str, BTreeMap<String, f64>> =
        results.variants().into_iter().map(|v| (v, results.requests(v, "per_instance"))).collect();
    let of: BTreeMap<_, _> = of.into_iter().filter(|(_, counts)| !counts.is_empty()).collect();
    let keys: BTreeSet<&String> = of.values().flat_map(|counts| counts.keys()).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for key in keys {
        let counts: Vec<f64> = of.values().map(|c| c.get(key).copied().unwrap_or_default()).collect();
        // A watch that was renewed meanwhile, or the lease, is no request of an instance, but is in the sum.
        if counts.iter().any(|count| *count >= 0.05) {
            let cells = counts.iter().map(|c| if *c == 0.0 { String::new() } else { format!("{c:.2}") });
            rows.push(std::iter::once(key.clone()).chain(cells).collect());
        }
    }
    let sums = of.values().map(|counts| format!("{:.2}", counts.values().sum::<f64>()));
    rows.push(std::iter::once("all, also those too rare to show".to_owned()).chain(sums).collect());
    let head: Vec<&str> = std::iter::once("").chain(of.keys().copied()).collect();
    let _ = writeln!(out, "### API requests an instance\n");
    table(out, &head, &rows);
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head.get(column).map_or(0, |h| h.len())]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |", padded.join(" | "))
    };
    let _ = writeln!(out, "{}", line(head));
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat((*width).max(1))).collect();
    let _ = writeln!(out, "| {} |", rule.join(" | "));
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        let _ = writeln!(out, "{}", line(&cells));
    }
    let _ = writeln!(out);
}

const START: &str = "<!-- bench: written by `make bench DOCS=1` -->";
const END: &str = "<!-- /bench -->";

/// Replaces what an earlier run wrote into the document.
///
/// # Errors
/// The document has no place for it.
pub fn into_document(path: &Path, results: &Results) -> Result<()> {
    let document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parts = document.split_once(START).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.with_context(|| format!("{} lacks {START} or {END}", path.display()))?;
    let text = text(results);
    fs::write(path, format!("{head}{START}\n\n{text}\n\n{END}{tail}"))
        .with_context(|| format!("cannot write {}", path.display()))
}
