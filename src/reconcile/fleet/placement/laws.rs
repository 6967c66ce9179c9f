//! What holds whatever is done to the labels of clusters, in any order, with pauses or without, over restarts.

use super::tests::decide;
use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// Somebody labels a cluster, or takes the label off.
    Label(usize, bool),
    /// The instance is looked at; its record is written, or the controller ends before.
    Look { written: bool },
    /// Time passes without an edit, until nothing more is to be decided.
    Rest,
    /// A cluster confirms that nothing is left there.
    Cleaned(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_usize, any::<bool>()).prop_map(|(n, on)| Act::Label(n, on)),
        3 => any::<bool>().prop_map(|written| Act::Look { written }),
        2 => Just(Act::Rest),
        1 => (0..6_usize).prop_map(Act::Cleaned),
    ]
}

/// One instance whose selector is never edited.
struct Model {
    words: Words,
    clusters: BTreeMap<ClusterName, ClusterView>,
    past: Past,
    /// Held by the guard, and not chosen since.
    held: BTreeSet<ClusterName>,
    /// Told to take it away since the start.
    removed: BTreeSet<ClusterName>,
    /// Chosen since the start.
    ever: BTreeSet<ClusterName>,
}

impl Model {
    fn new(labelled: &[bool], local: bool) -> Self {
        let views = labelled.iter().enumerate().map(|(n, on)| (name(n), view(*on, local && n == 0)));
        let words = Words { clusters: None, selector: Some("env=prod".into()) };
        let past = Past::default();
        let [held, removed, ever] = [(); 3].map(|()| BTreeSet::new());
        let mut model = Self { words, clusters: views.collect(), past, held, removed, ever };
        model.look(true);
        model
    }

    fn chosen(&self) -> BTreeSet<ClusterName> {
        self.clusters.iter().filter(|(_, c)| !c.labels.is_empty()).map(|(n, _)| n.clone()).collect()
    }

    fn label(&mut self, n: usize, on: bool) {
        if let Some(cluster) = self.clusters.get_mut(&name(n)) {
            cluster.labels = view(on, false).labels;
        }
    }

    fn look(&mut self, written: bool) -> Decision {
        let out = decide(&self.words, "n", &self.clusters, &self.past, DefaultPlacement::None);
        let chosen = self.chosen();
        self.held = &self.held - &chosen;
        self.ever.extend(chosen.iter().cloned());
        let mut placed = out.spokes.clone();
        placed.extend(out.local.clone());
        assert!(chosen.is_subset(&placed), "what is chosen is placed");
        let goes: BTreeSet<ClusterName> = &self.content() - &placed;
        let broken: Vec<&ClusterName> = goes.intersection(&self.held).collect();
        assert!(broken.is_empty(), "{broken:?} is taken away, was held, and nobody said so: {:?}", self.past);
        self.removed = &(&self.removed | &goes) - &chosen;
        let (gone, all) = (self.removed.len(), self.ever.len());
        assert!(gone == 0 || gone * 2 < all, "{:?} of {:?} are taken away", self.removed, self.ever);
        if written {
            // What is not on record is said to nobody.
            self.held.extend(out.held.iter().flat_map(|h| h.kept.clone()));
            self.past.record = Record::read(Some(&out.record.text(&BTreeSet::new())), &BTreeSet::new());
            self.past.holds.extend(out.spokes.iter().cloned());
        }
        self.past.waited = BTreeSet::new();
        out
    }

    /// Where content is, as far as anybody knows.
    fn content(&self) -> BTreeSet<ClusterName> {
        let mut content = self.past.holds.clone();
        let own = self.clusters.iter().find(|(_, c)| c.local).map(|(n, _)| n.clone());
        content.extend(own.filter(|_| self.past.record.local));
        content
    }

    fn rest(&mut self) -> Decision {
        for _ in 0..10 {
            let before = self.past.record.clone();
            let out = self.look(true);
            self.past.waited = out.waiting.clone();
            if out.waiting.is_empty() && before == self.past.record {
                return out;
            }
        }
        panic!("there is no end to it: {:?}", self.past);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Label(n, on) => self.label(*n, *on),
            Act::Look { written } => drop(self.look(*written)),
            Act::Rest => drop(self.rest()),
            Act::Cleaned(n) => {
                let out = self.look(true);
                if !out.spokes.contains(&name(*n)) {
                    self.past.holds.remove(&name(*n));
                }
            }
        }
    }
}

fn name(n: usize) -> ClusterName {
    ClusterName::new(&format!("c{n}"))
}

fn view(on: bool, local: bool) -> ClusterView {
    let labels = on.then(|| ("env".to_owned(), "prod".to_owned())).into_iter().collect();
    ClusterView { labels, local, ..ClusterView::default() }
}

proptest! {
    #[test]
    fn labels_that_end_where_they_began_take_nothing_away_that_was_held(
        labelled in proptest::collection::vec(any::<bool>(), 1..6),
        local in any::<bool>(),
        acts in proptest::collection::vec(act(), 0..24),
    ) {
        let mut model = Model::new(&labelled, local);
        for act in &acts {
            model.act(act);
        }
        for (n, on) in labelled.iter().enumerate() {
            model.label(n, *on);
        }
        let chosen = model.chosen();
        let out = model.rest();
        let mut placed = out.spokes.clone();
        placed.extend(out.local);
        // What was labelled for a while may stay, until somebody says that it may go.
        prop_assert!(chosen.is_subset(&placed));
        let extra = &placed - &chosen;
        prop_assert_eq!(&extra, &out.held.as_ref().map(|h| h.kept.clone()).unwrap_or_default());
        // Settled: the same again.
        let record = model.past.record.clone();
        model.rest();
        prop_assert_eq!(record, model.past.record.clone());
        if let Some(held) = out.held {
            model.past.allow_shrink = Some(held.token);
            model.held.clear();
            model.removed.clear();
            model.ever.clear();
            let out = decide(&model.words, "n", &model.clusters, &model.past, DefaultPlacement::None);
            let mut placed = out.spokes.clone();
            placed.extend(out.local);
            prop_assert_eq!(placed, model.chosen());
        }
    }

    #[test]
    fn what_happens_within_a_pause_takes_nothing_away(
        labelled in proptest::collection::vec(any::<bool>(), 1..6),
        edits in proptest::collection::vec((0..6_usize, any::<bool>(), any::<bool>()), 0..12),
    ) {
        let mut model = Model::new(&labelled, false);
        model.rest();
        for (n, on, written) in edits {
            model.label(n, on);
            model.look(written);
            prop_assert!(model.removed.is_empty());
        }
    }
}
