//! In which order nodes are made, in which they go, and what is said when there is no order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For each node, by its position in the definition: the positions of the nodes that it depends on.
pub type Dependencies = [BTreeSet<usize>];

/// Positions in topological order. Of the nodes whose dependencies are done, the one that stands first in the
/// definition comes next.
///
/// # Errors
/// The cycles, each as the positions along it, every node depending on the next and the last on the first.
pub fn topological(dependencies: &Dependencies) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut waiting: BTreeMap<usize, usize> =
        dependencies.iter().enumerate().map(|(node, needs)| (node, needs.len())).collect();
    let mut dependents: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (node, needs) in dependencies.iter().enumerate() {
        for need in needs {
            dependents.entry(*need).or_default().push(node);
        }
    }
    let mut free: BTreeSet<usize> = waiting.iter().filter(|(_, n)| **n == 0).map(|(node, _)| *node).collect();
    let mut order = Vec::with_capacity(dependencies.len());
    while let Some(node) = free.pop_first() {
        waiting.remove(&node);
        order.push(node);
        for dependent in dependents.get(&node).into_iter().flatten() {
            if let Some(left) = waiting.get_mut(dependent) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    free.insert(*dependent);
                }
            }
        }
    }
    if waiting.is_empty() { Ok(order) } else { Err(cycles(dependencies, waiting.into_keys().collect())) }
}

/// The shortest cycle through each of the nodes that no reported cycle shows yet.
fn cycles(dependencies: &Dependencies, stuck: BTreeSet<usize>) -> Vec<Vec<usize>> {
    let mut shown: BTreeSet<usize> = BTreeSet::new();
    let mut found = Vec::new();
    for start in &stuck {
        if shown.contains(start) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(dependencies, &stuck, *start) {
            shown.extend(cycle.iter().copied());
            found.push(cycle);
        }
    }
    found
}

fn shortest_cycle(dependencies: &Dependencies, within: &BTreeSet<usize>, start: usize) -> Option<Vec<usize>> {
    let mut reached_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for need in dependencies.get(node).into_iter().flatten().filter(|n| within.contains(n)) {
            if *need == start {
                let mut cycle = vec![node];
                while let Some(before) = cycle.last().and_then(|n| reached_from.get(n)) {
                    cycle.push(*before);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !reached_from.contains_key(need) {
                reached_from.insert(*need, node);
                queue.push_back(*need);
            }
        }
    }
    None
}

/// The order in which children are deleted, highest first: layers peeled from the side of the dependents.
pub fn apply_order(dependencies: &Dependencies, topological: &[usize]) -> BTreeMap<usize, u32> {
    let mut layer: BTreeMap<usize, u32> = BTreeMap::new();
    for node in topological.iter().rev() {
        let own = *layer.entry(*node).or_insert(0);
        for need in dependencies.get(*node).into_iter().flatten() {
            let below = layer.entry(*need).or_insert(0);
            *below = (*below).max(own + 1);
        }
    }
    let layers = layer.values().max().map_or(0, |deepest| deepest + 1);
    layer.into_iter().map(|(node, layer)| (node, layers - layer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deps(edges: &[(usize, &[usize])], count: usize) -> Vec<BTreeSet<usize>> {
        let mut all = vec![BTreeSet::new(); count];
        for (node, needs) in edges {
            all[*node] = needs.iter().copied().collect();
        }
        all
    }

    #[test]
    fn order_is_that_of_the_definition_where_dependencies_allow() {
        // svc(needs cm), dep(needs svc), cm, sec
        let graph = deps(&[(0, &[2]), (1, &[0])], 4);
        let order = topological(&graph).unwrap();
        assert_eq!(order, [2, 0, 1, 3]);
        let apply: Vec<u32> = apply_order(&graph, &order).into_values().collect();
        assert_eq!(apply, [2, 3, 1, 3], "svc, dep, cm, sec");
        // exts, one, ns, cm(needs ns)
        let graph = deps(&[(3, &[2])], 4);
        let order = topological(&graph).unwrap();
        assert_eq!(order, [0, 1, 2, 3]);
        assert_eq!(apply_order(&graph, &order).into_values().collect::<Vec<_>>(), [2, 2, 1, 2]);
        let alone = deps(&[], 1);
        assert_eq!(apply_order(&alone, &topological(&alone).unwrap())[&0], 1);
    }

    #[test]
    fn each_cycle_is_shown_whole_and_what_only_hangs_on_it_is_not() {
        let graph = deps(&[(0, &[1]), (1, &[2]), (2, &[0]), (3, &[0]), (4, &[5]), (5, &[4])], 6);
        assert_eq!(topological(&graph), Err(vec![vec![0, 1, 2], vec![4, 5]]));
    }

    proptest! {
        #[test]
        fn every_node_follows_its_dependencies(edges in prop::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let mut graph = vec![BTreeSet::new(); 12];
            for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
                graph[a].insert(b);
            }
            match topological(&graph) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), 12);
                    let place = |n: usize| order.iter().position(|o| *o == n).unwrap();
                    let apply = apply_order(&graph, &order);
                    for (node, needs) in graph.iter().enumerate() {
                        for need in needs {
                            prop_assert!(place(*need) < place(node));
                            prop_assert!(apply[need] < apply[&node]);
                        }
                    }
                }
                Err(cycles) => {
                    prop_assert!(!cycles.is_empty());
                    for cycle in cycles {
                        for (i, node) in cycle.iter().enumerate() {
                            prop_assert!(graph[*node].contains(&cycle[(i + 1) % cycle.len()]));
                        }
                    }
                }
            }
        }
    }
}
