//! The table: for people, for docs/performance.md, and what of the budgets is met.

use super::crds;
use super::people;
use super::results::{Results, machine};
use super::site::Variant;
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
    let largest_fleet =
        results.plan["large_spokes"].as_array().and_then(|s| s.iter().filter_map(Value::as_u64).max());
    let largest_fleet = largest_fleet.unwrap_or_default();
    let large = |value: &str| format!("spokes_{largest_fleet}_{value}");
    // 1.5 GiB for 100,000 pairs, and in proportion what smaller fleets may take.
    let pairs = largest_fleet * plan("large_instances");
    let fleet_mib = 36.0 + 1500.0 * pairs as f64 / 100_000.0;
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
        part("the same, as a multiple of the replay's", "local", &batch, "replay", 1.12),
        is("controller CPU an instance, local, ms", "local", "controller_cpu_ms_per_instance", 2.5),
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
    all.extend([
        is("memory a pair of four children, local, KiB", "memory", "local_pair_kib", 12.0),
        is("memory a pair of four children, on a spoke, KiB", "memory", "spoke_pair_kib", 12.0),
        is("idle controller with two spokes, MiB", "memory", "idle_spoke_mib", 25.0),
        is(
            &format!("{} spokes with 10 instances each, MiB in all", plan("idle_spokes")),
            "idle-spokes",
            "all_mib",
            25.0 + plan("idle_spokes") as f64 / 4.0,
        ),
        is(
            "status writes on the hub an instance, overloaded",
            "overloaded",
            "hub_status_writes_per_instance",
            3.0,
        ),
        is("hub write to child on every spoke, p50 in ms", "fleet", "hub_to_spoke_p50_ms", 40.0),
        is("hub write to child on every spoke, p99 in ms", "fleet", "hub_to_spoke_p99_ms", 120.0),
        is(
            "a third silent, simulated: repairs, p99 as a part of that without",
            "isolation",
            "simulated_p99_ratio",
            1.1,
        ),
        is(
            "a third silent, real: repairs, p50 as a part of that without",
            "isolation",
            "real_p50_ratio",
            1.25,
        ),
        is(
            &format!("{pairs} pairs on {largest_fleet} spokes: controller at rest, MiB"),
            "fleet-1000",
            &large("mib"),
            fleet_mib,
        ),
        is(
            &format!("{pairs} pairs on {largest_fleet} spokes: the largest parent, kB"),
            "fleet-1000",
            &large("parent_kb"),
            100.0,
        ),
        is(
            &format!("{pairs} pairs on {largest_fleet} spokes: writes over a restart"),
            "fleet-1000",
            &large("restart_writes"),
            0.0,
        ),
        is(
            &format!("{pairs} pairs on {largest_fleet} spokes: ready after a restart, s"),
            "fleet-1000",
            &large("restart_ready_s"),
            60.0,
        ),
    ]);
    let documents = "documents of OpenAPI for each definition, 900 CRDs";
    all.push(is(documents, "crds", "schema_documents_per_definition", crds::DOCUMENTS_EACH));
    let rest = "requests a second at rest, 60 definitions on two spokes";
    all.push(is(rest, "crds", "rest_requests_per_s", crds::AT_REST));
    let waits = people::BUDGETS.iter().map(|(what, value, most)| is(what, "people", value, *most));
    all.extend(waits);
    all
}

impl Budget {
    fn variant(&self) -> &'static str {
        match self.measure {
            Measure::Is(variant, _) | Measure::PartOf(variant, ..) => variant,
        }
    }

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
    for part in PARTS.iter().filter(|part| part.has_results(results)) {
        out.push_str(&part.text(results));
        out.push_str("\n\n");
    }
    if !results.failures.is_empty() {
        let _ = writeln!(out, "Left out:\n");
        for failure in &results.failures {
            let first = failure.lines().next().unwrap_or_default();
            let _ = writeln!(out, "- {first}");
        }
    }
    out.trim_end().to_owned()
}

/// What is measured together and stands together in the document.
struct Part {
    name: &'static str,
    variants: &'static [Variant],
}

const PARTS: [Part; 9] = [
    Part { name: "compared", variants: &Variant::COMPARED },
    Part { name: "fleet", variants: &[Variant::Fleet] },
    Part { name: "memory", variants: &[Variant::Memory, Variant::IdleSpokes] },
    Part { name: "overloaded", variants: &[Variant::Overloaded] },
    Part { name: "isolation", variants: &[Variant::Isolation] },
    Part { name: "large", variants: &[Variant::Large] },
    Part { name: "rollout", variants: &[Variant::Rollout] },
    Part { name: "crds", variants: &[Variant::Crds] },
    Part { name: "people", variants: &[Variant::People] },
];

impl Part {
    fn variants(&self, results: &Results) -> Vec<&'static str> {
        let known = results.variants();
        self.variants.iter().map(|v| v.name()).filter(|name| known.contains(name)).collect()
    }

    fn has_results(&self, results: &Results) -> bool {
        !self.variants(results).is_empty()
    }

    fn text(&self, results: &Results) -> String {
        let mut out = String::new();
        let profile = if cfg!(debug_assertions) { "debug build: times say nothing" } else { "release build" };
        let variants = self.variants(results);
        let of = results.runs.iter().filter(|run| variants.contains(&run.variant));
        let runs = of.map(|run| run.run).max().unwrap_or_default();
        let quick = if results.quick { ", quick" } else { "" };
        let _ = writeln!(out, "{}; {profile}; medians of {runs} run(s){quick}.\n", machine());
        values(&mut out, results, &variants);
        requests(&mut out, results, &variants);
        verdicts(&mut out, results, &variants);
        out.trim_end().to_owned()
    }
}

fn verdicts(out: &mut String, results: &Results, variants: &[&str]) {
    let mut rows = Vec::new();
    for budget in budgets(results).iter().filter(|budget| variants.contains(&budget.variant())) {
        let value = budget.value(results);
        let verdict = match value {
            None => "not measured",
            Some(value) if met(value, budget.most) => "met",
            Some(_) => "**missed**",
        };
        let measured = value.map_or_else(String::new, number);
        rows.push(vec![budget.what.clone(), number(budget.most), measured, verdict.to_owned()]);
    }
    if !rows.is_empty() {
        table(out, &["budget", "at most", "measured", ""], &rows);
    }
}

/// One row a value, one column a variant.
fn values(out: &mut String, results: &Results, variants: &[&str]) {
    let of = results.runs.iter().filter(|run| variants.contains(&run.variant));
    let names: BTreeSet<&String> = of.flat_map(|run| run.values.keys()).collect();
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let cells = variants.iter().map(|v| results.median(v, name).map_or_else(String::new, number));
            std::iter::once(words(name)).chain(cells).collect()
        })
        .collect();
    let head: Vec<&str> = std::iter::once("").chain(variants.iter().copied()).collect();
    table(out, &head, &rows);
}

/// Requests an instance, by verb and resource.
fn requests(out: &mut String, results: &Results, variants: &[&'static str]) {
    let of: BTreeMap<&str, BTreeMap<String, f64>> =
        variants.iter().map(|v| (*v, results.requests(v, "per_instance"))).collect();
    let of: BTreeMap<_, _> = of.into_iter().filter(|(_, counts)| !counts.is_empty()).collect();
    if of.is_empty() {
        return;
    }
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
    let head: Vec<&str> = std::iter::once("API requests an instance").chain(of.keys().copied()).collect();
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

/// Replaces what earlier runs wrote into the document of the parts that were measured now.
///
/// # Errors
/// The document has no place for one.
pub fn into_document(path: &Path, results: &Results) -> Result<()> {
    let mut document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for part in PARTS.iter().filter(|part| part.has_results(results)) {
        let (start, end) = (
            format!("<!-- bench {}: written by `make bench DOCS=1` -->", part.name),
            format!("<!-- /bench {} -->", part.name),
        );
        let parts =
            document.split_once(&start).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
        let (head, tail) = parts.with_context(|| format!("{} lacks {start} or {end}", path.display()))?;
        document = format!("{head}{start}\n\n{}\n\n{end}{tail}", part.text(results));
    }
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}
