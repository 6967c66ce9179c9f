//! In which order nodes are made, in which they go, and what is said when there is no order.
//!
//! The graph and the walks over it are petgraph's. Three things are decided here: which of the nodes that may come next
//! does, which cycle is shown of the many that a tangle may have, and in which order children are deleted.

use petgraph::Direction::Incoming;
use petgraph::algo::{dijkstra, kosaraju_scc};
use petgraph::graphmap::DiGraphMap;
use petgraph::visit::{Reversed, VisitMap, Visitable};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes by their position in the definition, with an edge from each to every one that it depends on.
#[derive(Debug)]
pub struct Dependencies(DiGraphMap<usize, ()>);

impl Dependencies {
    /// `needs` are, for each node by its position, the positions of the nodes that it depends on.
    pub fn new(needs: &[BTreeSet<usize>]) -> Self {
        let mut graph = DiGraphMap::new();
        for node in 0..needs.len() {
            graph.add_node(node);
        }
        for (node, needs) in needs.iter().enumerate() {
            for need in needs {
                graph.add_edge(node, *need, ());
            }
        }
        Self(graph)
    }

    /// The nodes that one depends on.
    pub fn of(&self, node: usize) -> impl Iterator<Item = usize> {
        self.0.neighbors(node)
    }

    /// Positions in topological order. Of the nodes whose dependencies are done, the one that stands first in the
    /// definition comes next.
    ///
    /// # Errors
    /// The cycles, each as the positions along it, every node depending on the next and the last on the first.
    pub fn topological(&self) -> Result<Vec<usize>, Vec<Vec<usize>>> {
        let mut done = self.0.visit_map();
        let mut free: BTreeSet<usize> = self.0.nodes().filter(|n| self.of(*n).next().is_none()).collect();
        let mut order = Vec::with_capacity(self.0.node_count());
        while let Some(node) = free.pop_first() {
            done.visit(node);
            order.push(node);
            let dependents = self.0.neighbors_directed(node, Incoming);
            free.extend(dependents.filter(|d| self.of(*d).all(|need| done.is_visited(&need))));
        }
        if order.len() == self.0.node_count() { Ok(order) } else { Err(self.cycles()) }
    }

    /// The shortest cycle through each of the nodes that no reported cycle shows yet.
    fn cycles(&self) -> Vec<Vec<usize>> {
        // petgraph's other search for components calls itself once a node of a path, and a path may be long.
        let components = kosaraju_scc(&self.0).into_iter();
        let tangled: BTreeSet<usize> = components
            .filter(|nodes| nodes.len() > 1 || nodes.iter().any(|n| self.0.contains_edge(*n, *n)))
            .flatten()
            .collect();
        let mut shown: BTreeSet<usize> = BTreeSet::new();
        let mut found = Vec::new();
        for start in tangled {
            if !shown.contains(&start) {
                let cycle = self.shortest_cycle(start);
                shown.extend(cycle.iter().copied());
                found.push(cycle);
            }
        }
        found
    }

    /// Of several that are equally short, the one whose first nodes stand first in the definition.
    fn shortest_cycle(&self, start: usize) -> Vec<usize> {
        let way_back = dijkstra(Reversed(&self.0), start, None, |_| 1_usize);
        let length = self.of(start).filter_map(|n| way_back.get(&n)).min().copied().unwrap_or(0);
        let mut cycle = vec![start];
        let mut at = start;
        for left in (1..=length).rev() {
            let Some(next) = self.of(at).filter(|n| way_back.get(n) == Some(&left)).min() else { break };
            cycle.push(next);
            at = next;
        }
        cycle
    }

    /// The order in which children are deleted, highest first: layers peeled from the side of the dependents.
    pub fn apply_order(&self, topological: &[usize]) -> BTreeMap<usize, u32> {
        let mut layer: BTreeMap<usize, u32> = BTreeMap::new();
        for node in topological.iter().rev() {
            let own = *layer.entry(*node).or_insert(0);
            for need in self.of(*node) {
                let below = layer.entry(need).or_insert(0);
                *below = (*below).max(own + 1);
            }
        }
        let layers = layer.values().max().map_or(0, |deepest| deepest + 1);
        layer.into_iter().map(|(node, layer)| (node, layers - layer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deps(edges: &[(usize, &[usize])], count: usize) -> Dependencies {
        let mut all = vec![BTreeSet::new(); count];
        for (node, needs) in edges {
            all[*node] = needs.iter().copied().collect();
        }
        Dependencies::new(&all)
    }

    #[test]
    fn order_is_that_of_the_definition_where_dependencies_allow() {
        // svc(needs cm), dep(needs svc), cm, sec
        let graph = deps(&[(0, &[2]), (1, &[0])], 4);
        let order = graph.topological().unwrap();
        assert_eq!(order, [2, 0, 1, 3]);
        let apply: Vec<u32> = graph.apply_order(&order).into_values().collect();
        assert_eq!(apply, [2, 3, 1, 3], "svc, dep, cm, sec");
        // exts, one, ns, cm(needs ns)
        let graph = deps(&[(3, &[2])], 4);
        let order = graph.topological().unwrap();
        assert_eq!(order, [0, 1, 2, 3]);
        assert_eq!(graph.apply_order(&order).into_values().collect::<Vec<_>>(), [2, 2, 1, 2]);
        let alone = deps(&[], 1);
        assert_eq!(alone.apply_order(&alone.topological().unwrap())[&0], 1);
    }

    #[test]
    fn each_cycle_is_shown_whole_and_what_only_hangs_on_it_is_not() {
        let graph = deps(&[(0, &[1]), (1, &[2]), (2, &[0]), (3, &[0]), (4, &[5]), (5, &[4])], 6);
        assert_eq!(graph.topological(), Err(vec![vec![0, 1, 2], vec![4, 5]]));
        // Of a tangle, the shortest one through each node, and of several the one that stands first.
        let tangle = deps(&[(0, &[1, 2, 3]), (1, &[3]), (2, &[0, 4]), (3, &[0]), (4, &[0]), (5, &[5])], 6);
        assert_eq!(tangle.topological(), Err(vec![vec![0, 2], vec![1, 3, 0], vec![4, 0, 2], vec![5]]));
    }

    #[test]
    fn a_long_path_takes_no_stack() {
        let many = 50_000;
        let line: Vec<BTreeSet<usize>> = (0..many).map(|n| (n + 1..many).take(1).collect()).collect();
        let order = Dependencies::new(&line).topological().unwrap();
        assert!(order.iter().copied().eq((0..many).rev()));
        let mut ring = line;
        ring[many - 1].insert(0);
        assert_eq!(Dependencies::new(&ring).topological(), Err(vec![(0..many).collect::<Vec<_>>()]));
    }

    proptest! {
        #[test]
        fn every_node_follows_its_dependencies(edges in prop::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let mut needs = vec![BTreeSet::new(); 12];
            for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
                needs[a].insert(b);
            }
            let graph = Dependencies::new(&needs);
            match graph.topological() {
                Ok(order) => {
                    prop_assert_eq!(order.len(), 12);
                    let place = |n: usize| order.iter().position(|o| *o == n).unwrap();
                    let apply = graph.apply_order(&order);
                    for (node, needs) in needs.iter().enumerate() {
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
                            prop_assert!(needs[*node].contains(&cycle[(i + 1) % cycle.len()]));
                        }
                    }
                }
            }
        }
    }
}
