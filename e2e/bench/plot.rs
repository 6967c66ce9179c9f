//! Plots as SVG: bars of requests an instance and of times, and lines over the size of a fleet.

use super::results::Results;
use super::site::Variant;
use serde_json::Value;
use std::fmt::Write;

const ROW: usize = 26;
const LABELS: usize = 110;
const BAR: f64 = 420.0;

const STYLE: &str = "<style>text{font:13px sans-serif;fill:#24292f}.title{font-weight:600}.kro{fill:#8c959f}\
    .hub{fill:#1f6feb}.line{fill:none;stroke:#1f6feb;stroke-width:2}.axis{stroke:#8c959f}</style>\n\
    <rect x=\"-10\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>";

fn document(label: &str, (width, height): (usize, usize), body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-10 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{label}\">\n{STYLE}\n{body}</svg>\n"
    )
}

/// The plots that these results have something for: names of files, and what is in them.
pub fn all(results: &Results) -> Vec<(&'static str, String)> {
    let known = results.variants();
    let compared = Variant::COMPARED.iter().any(|variant| known.contains(&variant.name()));
    let bars = compared.then(|| ("performance.svg", bars(results)));
    let lines = [("performance-memory.svg", memory(results)), ("performance-fleet.svg", fleet(results))];
    bars.into_iter().chain(lines.into_iter().filter_map(|(file, svg)| Some((file, svg?)))).collect()
}

/// Groups of bars, each on a scale of its own.
fn bars(results: &Results) -> String {
    let batches = results.plan["batches"].as_array();
    let largest = batches.and_then(|b| b.iter().filter_map(Value::as_u64).max()).unwrap_or_default();
    let groups = [
        ("API requests an instance (four children)".to_owned(), "requests_per_instance".to_owned()),
        (format!("Seconds for {largest} instances"), format!("batch_{largest}_s")),
        ("Milliseconds from create to ACTIVE, p50".to_owned(), "create_p50_ms".to_owned()),
    ];
    let mut body = String::new();
    let mut y = 0;
    for (title, value) in groups {
        let bars: Vec<(&str, f64)> = Variant::COMPARED
            .iter()
            .filter_map(|variant| Some((variant.name(), results.median(variant.name(), &value)?)))
            .collect();
        let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        y += 30;
        let _ = writeln!(body, r#"<text x="0" y="{y}" class="title">{title}</text>"#);
        y += 10;
        for (variant, value) in bars {
            let width = value / most * BAR;
            let class = if variant.starts_with("kro") { "kro" } else { "hub" };
            let (text, end) = (y + 17, LABELS as f64 + width + 6.0);
            let _ = writeln!(body, r#"<text x="0" y="{text}">{variant}</text>"#);
            let _ = writeln!(
                body,
                r#"<rect x="{LABELS}" y="{}" width="{width:.1}" height="18" rx="2" class="{class}"/>"#,
                y + 4
            );
            let _ = writeln!(body, r#"<text x="{end:.1}" y="{text}">{value:.1}</text>"#);
            y += ROW;
        }
    }
    document("kro-hub beside kro", (LABELS + 500, y + 10), &body)
}

/// Memory of the controller over settled pairs, of all stages that settled some.
fn memory(results: &Results) -> Option<String> {
    let sizes = results.plan["memory"].as_array()?;
    let of = |place: &str| -> Vec<(f64, f64)> {
        let median = |value: &str| results.median(Variant::Memory.name(), value);
        let idle = median(&format!("idle_{place}_mib")).map(|mib| (0.0, mib));
        let settled = sizes.iter().filter_map(Value::as_u64);
        let settled = settled.filter_map(|size| Some((size as f64, median(&format!("{place}_{size}_mib"))?)));
        idle.into_iter().chain(settled).collect()
    };
    let lines = [("local", of("local")), ("on a spoke", of("spoke"))];
    curves("MiB of the controller at rest over settled pairs, each of four children", &lines)
}

/// Of the simulated fleets.
fn fleet(results: &Results) -> Option<String> {
    let sizes = results.plan["large_spokes"].as_array()?;
    let of = |value: &str| -> Vec<(f64, f64)> {
        let median = |size: u64| results.median(Variant::Large.name(), &format!("spokes_{size}_{value}"));
        sizes.iter().filter_map(Value::as_u64).filter_map(|n| Some((n as f64, median(n)?))).collect()
    };
    let lines = [
        ("seconds to converge", of("converged_s")),
        ("MiB of the controller", of("mib")),
        ("seconds to connect after a restart", of("restart_connected_s")),
    ];
    curves("A fleet over the number of its spokes, with as many instances on each", &lines)
}

/// Lines over a common axis, each with the value at each point; none where there is nothing to draw.
fn curves(title: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> Option<String> {
    const HEIGHT: f64 = 150.0;
    let widest = lines.iter().flat_map(|(_, points)| points).map(|(x, _)| *x).fold(0.0, f64::max);
    if widest <= 0.0 {
        return None;
    }
    let mut body = format!("<text x=\"0\" y=\"30\" class=\"title\">{title}</text>\n");
    let mut top = 50.0;
    for (name, points) in lines.iter().filter(|(_, points)| points.len() > 1) {
        let most = points.iter().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
        let place = |(x, y): &(f64, f64)| (40.0 + x / widest * BAR, top + 30.0 + HEIGHT * (1.0 - y / most));
        let floor = top + 30.0 + HEIGHT;
        let _ = writeln!(body, r#"<text x="0" y="{:.0}">{name}</text>"#, top + 6.0);
        let _ =
            writeln!(body, r#"<line x1="40" y1="{floor}" x2="{}" y2="{floor}" class="axis"/>"#, 40.0 + BAR);
        let path: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(body, r#"<polyline points="{}" class="line"/>"#, path.join(" "));
        for point in points {
            let (x, y) = place(point);
            let _ = writeln!(body, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" class="hub"/>"#);
            let value = if point.1 < 10.0 { format!("{:.1}", point.1) } else { format!("{:.0}", point.1) };
            let _ = writeln!(body, r#"<text x="{:.1}" y="{:.1}">{value}</text>"#, x + 6.0, y - 6.0);
            let _ = writeln!(
                body,
                r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{:.0}</text>"#,
                floor + 17.0,
                point.0
            );
        }
        top = floor + 45.0;
    }
    Some(document(title, (LABELS + 500, top as usize), &body))
}
