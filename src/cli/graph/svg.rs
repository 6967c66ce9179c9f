//! The picture as SVG, in lines and colours of our own: no program is needed to draw it.

use super::layout::{self, Item, Layout};
use super::picture::{self, Part, Picture};
use petgraph::graph::EdgeIndex;
use petgraph::visit::EdgeRef;

const MARGIN: f64 = 28.0;
const HEAD: f64 = 44.0;
const HEIGHT: f64 = 52.0;
const GAP: f64 = 74.0;
/// The width of a letter, on the safe side.
const LETTER: f64 = 7.6;

const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
.title{font-size:16px;font-weight:600;fill:#1f2937}.id{font-size:14px;font-weight:600;fill:#111827}\
.kind{font-size:12px;fill:#4b5563}.label{font-size:10.5px;fill:#6b7280;paint-order:stroke;stroke:#fff;stroke-width:4px}\
.box{fill:#eef4ff;stroke:#3b6fd4;stroke-width:1.4}.external{fill:#f3f4f6;stroke:#6b7280}.hub{fill:#fff4e5;stroke:#c77700}\
.conditional{stroke-dasharray:6 4}.ready{stroke:#1a7f37;fill:#effaf2}.moving{stroke:#9a6700;fill:#fff8e5}\
.failed{stroke:#cf222e;fill:#fff0f0;stroke-width:2.4}.silent,.absent,.unplaced{stroke:#6b7280;fill:#f3f4f6}.edge{fill:none;stroke:#8a94a6;stroke-width:1.4}";

pub fn draw(picture: &Picture) -> String {
    let widths: Vec<f64> = picture.graph.node_weights().map(width).collect();
    let layout = layout::of(&picture.graph, &widths);
    let title = picture.title.chars().count() as f64 * 9.0;
    let total_width = layout.width.max(title) + 2.0 * MARGIN;
    let left = (total_width - layout.width) / 2.0;
    let layers = layout.layers.len() as f64;
    let total_height = HEAD + layers * HEIGHT + (layers - 1.0).max(0.0) * GAP + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total_width:.0}\" height=\"{total_height:.0}\" \
         viewBox=\"0 0 {total_width:.0} {total_height:.0}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0,0.6 L8,4 L0,7.4 z\" fill=\"#8a94a6\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text class=\"title\" x=\"{MARGIN}\" y=\"28\">{0}</text>\n",
        escape(&picture.title)
    );
    let ports = Ports::new(picture, &layout, &widths);
    let mut labels = String::new();
    let drawing = Drawing { picture, layout: &layout, ports: &ports, left };
    for (position, route) in layout.routes.iter().enumerate() {
        out.push_str(&drawing.edge(position, route, &mut labels));
    }
    for (row, layer) in layout.layers.iter().enumerate() {
        for item in layer {
            if let (Item::Part(i), Some(x)) = (item, layout.x.get(item))
                && let (Some(part), Some(width)) = (picture.part(*i), widths.get(*i))
            {
                out.push_str(&part_box(part, left + x, top(row), *width));
            }
        }
    }
    out.push_str(&labels);
    out.push_str("</svg>\n");
    out
}

fn width(part: &Part) -> f64 {
    let letters = part.id.chars().count().max(part.subtitle().chars().count());
    (letters as f64 * LETTER + 28.0).max(96.0)
}

fn top(row: usize) -> f64 {
    HEAD + row as f64 * (HEIGHT + GAP)
}

fn part_box(part: &Part, x: f64, y: f64, width: f64) -> String {
    let mut class = "box".to_owned();
    for (is, name) in
        [(part.external, " external"), (part.on_hub, " hub"), (part.conditional, " conditional")]
    {
        if is {
            class.push_str(name);
        }
    }
    if let Some(mark) = part.mark {
        class.push(' ');
        class.push_str(picture::class(mark));
    }
    let left = x - width / 2.0;
    let round = if part.external { HEIGHT / 2.0 } else { 8.0 };
    let mut out = String::new();
    // Several frames behind one another stand for many objects.
    let behind: &[f64] = if part.collection { &[6.0, 0.0] } else { &[0.0] };
    for shift in behind {
        out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" rx=\"{round}\"/>\n",
            left + shift,
            y - shift
        ));
    }
    out.push_str(&format!(
        "<text class=\"id\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text class=\"kind\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        y + 22.0,
        escape(&part.id),
        y + 40.0,
        escape(&part.subtitle())
    ));
    out
}

/// Where edges leave and reach a part: side by side, in the order of what they lead to.
struct Ports {
    out: Vec<f64>,
    into: Vec<f64>,
    /// The position of each edge among those that reach the same part.
    rank: Vec<usize>,
}

impl Ports {
    fn new(picture: &Picture, layout: &Layout, widths: &[f64]) -> Self {
        let count = picture.graph.edge_count();
        let mut ports = Self { out: vec![0.0; count], into: vec![0.0; count], rank: vec![0; count] };
        let x = |item: Option<&Item>| item.and_then(|i| layout.x.get(i)).copied().unwrap_or(0.0);
        for (part, width) in widths.iter().enumerate() {
            for leaving in [true, false] {
                let mut edges: Vec<(f64, usize)> = Vec::new();
                for (position, edge) in picture.graph.edge_references().enumerate() {
                    let route = layout.routes.get(position).map(Vec::as_slice).unwrap_or_default();
                    if leaving && edge.source().index() == part {
                        edges.push((x(route.get(1)), position));
                    } else if !leaving && edge.target().index() == part {
                        edges.push((x(route.iter().rev().nth(1)), position));
                    }
                }
                edges.sort_by(|a, b| a.0.total_cmp(&b.0));
                let step = (width - 24.0).min(edges.len() as f64 * 34.0) / edges.len().max(1) as f64;
                let middle = (edges.len() as f64 - 1.0) / 2.0;
                for (rank, (_, position)) in edges.into_iter().enumerate() {
                    let shift = (rank as f64 - middle) * step;
                    let side = if leaving { &mut ports.out } else { &mut ports.into };
                    if let Some(slot) = side.get_mut(position) {
                        *slot = shift;
                    }
                    if let (false, Some(slot)) = (leaving, ports.rank.get_mut(position)) {
                        *slot = rank;
                    }
                }
            }
        }
        ports
    }
}

/// What edges are drawn by.
struct Drawing<'a> {
    picture: &'a Picture,
    layout: &'a Layout,
    ports: &'a Ports,
    /// Where the layout begins.
    left: f64,
}

impl Drawing<'_> {
    fn edge(&self, position: usize, route: &[Item], labels: &mut String) -> String {
        let Self { picture, layout, ports, left } = self;
        let shift = |side: &[f64]| side.get(position).copied().unwrap_or(0.0);
        let row = |item: &Item| layout.layers.iter().position(|l| l.contains(item)).unwrap_or(0);
        let last = route.len().saturating_sub(1);
        // Each item is entered at its top and left at its bottom.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (i, item) in route.iter().enumerate() {
            let x = left + layout.x.get(item).copied().unwrap_or(0.0);
            let y = top(row(item));
            if i > 0 {
                points.push((
                    if i == last { x + shift(&ports.into) } else { x },
                    if i == last { y - 2.0 } else { y },
                ));
            }
            if i < last {
                points.push((if i == 0 { x + shift(&ports.out) } else { x }, y + HEIGHT));
            }
        }
        let mut path = String::new();
        for pair in points.chunks(2) {
            let [(x1, y1), (x2, y2)] = pair else { continue };
            let bow = (y2 - y1) * 0.45;
            let start =
                if path.is_empty() { format!("M{x1:.1},{y1:.1}") } else { format!(" L{x1:.1},{y1:.1}") };
            path.push_str(&format!(
                "{start} C{x1:.1},{:.1} {x2:.1},{:.1} {x2:.1},{y2:.1}",
                y1 + bow,
                y2 - bow
            ));
        }
        if let (Some(edge), [.., (x1, y1), (x2, y2)]) =
            (picture.graph.edge_weight(EdgeIndex::new(position)), points.as_slice())
        {
            // Labels of neighbouring edges stand at different heights, so that they do not meet.
            let rank = ports.rank.get(position).copied().unwrap_or(0);
            let along = [0.5, 0.72, 0.3].get(rank % 3).copied().unwrap_or(0.5);
            // The curve is close to a smooth step, so the label stands on it.
            let across = along * along * (3.0 - 2.0 * along);
            labels.push_str(&format!(
                "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                x1 + (x2 - x1) * across,
                y1 + (y2 - y1) * along + 3.0,
                escape(&edge.label())
            ));
        }
        format!("<path class=\"edge\" d=\"{path}\" marker-end=\"url(#tip)\"/>\n")
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
