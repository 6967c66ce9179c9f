//! Where the parts of a picture go: layers from top to bottom, each part below all that it reads. An edge over several
//! layers has a place of its own in each between, so that it goes around what stands there.

use super::picture::{Part, Reading};
use petgraph::Direction::Incoming;
use petgraph::graph::DiGraph;
use petgraph::visit::EdgeRef;
use std::collections::BTreeMap;

const GAP: f64 = 36.0;
const EDGE_WIDTH: f64 = 16.0;

/// What has a place in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Part(usize),
    /// An edge on its way, by its position and the layer.
    Bend(usize, usize),
}

pub struct Layout {
    pub layers: Vec<Vec<Item>>,
    /// The centre of each item.
    pub x: BTreeMap<Item, f64>,
    pub width: f64,
    /// For each edge, the items on its way from one end to the other.
    pub routes: Vec<Vec<Item>>,
}

/// `widths` are those of the parts.
pub fn of(graph: &DiGraph<Part, Reading>, widths: &[f64]) -> Layout {
    let depth = depths(graph);
    let count = depth.iter().max().map_or(0, |d| d + 1);
    let mut layers: Vec<Vec<Item>> = vec![Vec::new(); count];
    let mut put = |layer: usize, item: Item| {
        if let Some(layer) = layers.get_mut(layer) {
            layer.push(item);
        }
    };
    for (part, layer) in depth.iter().enumerate() {
        put(*layer, Item::Part(part));
    }
    let mut routes = Vec::new();
    for (position, edge) in graph.edge_references().enumerate() {
        let (from, to) = (edge.source().index(), edge.target().index());
        let at = |i: usize| depth.get(i).copied().unwrap_or(0);
        let mut route = vec![Item::Part(from)];
        for layer in at(from) + 1..at(to) {
            put(layer, Item::Bend(position, layer));
            route.push(Item::Bend(position, layer));
        }
        route.push(Item::Part(to));
        routes.push(route);
    }
    untangle(&mut layers, &routes);
    let width_of = |item: &Item| match item {
        Item::Part(i) => widths.get(*i).copied().unwrap_or(0.0),
        Item::Bend(..) => EDGE_WIDTH,
    };
    let width_of_layer = |layer: &Vec<Item>| {
        layer.iter().map(width_of).sum::<f64>() + GAP * layer.len().saturating_sub(1) as f64
    };
    let width = layers.iter().map(width_of_layer).fold(0.0, f64::max);
    let mut x = BTreeMap::new();
    for layer in &layers {
        let mut left = (width - width_of_layer(layer)) / 2.0;
        for item in layer {
            x.insert(*item, left + width_of(item) / 2.0);
            left += width_of(item) + GAP;
        }
    }
    Layout { layers, x, width, routes }
}

/// The layer of a part: one below the lowest part that it reads. Parts stand after all that they read.
fn depths(graph: &DiGraph<Part, Reading>) -> Vec<usize> {
    let mut depth: Vec<usize> = Vec::new();
    for part in graph.node_indices() {
        let read = graph.neighbors_directed(part, Incoming);
        depth.push(read.filter_map(|p| depth.get(p.index())).max().map_or(0, |above| above + 1));
    }
    depth
}

/// Sorts each layer by the mean place of its neighbours, downwards and upwards a few times.
fn untangle(layers: &mut [Vec<Item>], routes: &[Vec<Item>]) {
    let pairs: Vec<(Item, Item)> = routes
        .iter()
        .flat_map(|r| r.windows(2))
        .filter_map(|w| match w {
            [a, b] => Some((*a, *b)),
            _ => None,
        })
        .collect();
    let places = |layer: &[Item]| -> BTreeMap<Item, f64> {
        let middle = (layer.len() as f64 - 1.0) / 2.0;
        layer.iter().enumerate().map(|(i, item)| (*item, i as f64 - middle)).collect()
    };
    for round in 0..8 {
        let down = round % 2 == 0;
        let order: Vec<usize> = if down {
            (1..layers.len()).collect()
        } else {
            (0..layers.len().saturating_sub(1)).rev().collect()
        };
        for position in order {
            let beside = if down { position.checked_sub(1) } else { position.checked_add(1) };
            let Some(there) = beside.and_then(|b| layers.get(b)).map(|l| places(l)) else { continue };
            let Some(layer) = layers.get_mut(position) else { continue };
            let here = places(layer);
            let wish = |item: &Item| {
                let others = pairs.iter().filter_map(|(a, b)| match down {
                    true => (b == item).then(|| there.get(a)).flatten(),
                    false => (a == item).then(|| there.get(b)).flatten(),
                });
                let all: Vec<f64> = others.copied().collect();
                match all.len() {
                    0 => here.get(item).copied().unwrap_or(0.0),
                    n => all.iter().sum::<f64>() / n as f64,
                }
            };
            layer.sort_by(|a, b| wish(a).total_cmp(&wish(b)));
        }
    }
}
