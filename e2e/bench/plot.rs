//! A plot as SVG: bars of requests an instance, and of seconds for the largest batch.

use super::results::Results;
use serde_json::Value;
use std::fmt::Write;

const ROW: usize = 26;
const LABELS: usize = 110;
const BAR: f64 = 420.0;

/// Two groups of bars, each on a scale of its own.
pub fn svg(results: &Results) -> String {
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
        let bars: Vec<(&str, f64)> = results
            .variants()
            .into_iter()
            .filter_map(|variant| Some((variant, results.median(variant, &value)?)))
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
    let (width, height) = (LABELS + 500, y + 10);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-10 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"kro-hub beside kro\">\n\
         <style>text{{font:13px sans-serif;fill:#24292f}}.title{{font-weight:600}}.kro{{fill:#8c959f}}\
         .hub{{fill:#1f6feb}}</style>\n<rect x=\"-10\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}
