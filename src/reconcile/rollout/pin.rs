//! Which revision of a definition is the highest that may be run, where somebody pins it.

use crate::graph::Graph;
use crate::schema::compat;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The revisions of a definition, as far as they are known.
#[derive(Clone, Copy)]
pub struct Revisions<'a> {
    /// The newest graph that serves.
    pub newest: &'a Arc<Graph>,
    /// Graphs of earlier ones, by hash.
    pub former: &'a BTreeMap<String, Arc<Graph>>,
    /// Hashes of the graphs of all of them, by number.
    pub numbers: &'a BTreeMap<u64, String>,
    /// Why graphs cannot be at hand, by hash.
    pub unfit: &'a Unfit,
}

/// Why graphs of earlier revisions cannot be made any more, by hash.
pub type Unfit = BTreeMap<String, Arc<str>>;

/// A revision, with the hash of its graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub number: u64,
    pub graph: Arc<str>,
}

/// Why a pin cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// That is not known yet.
    Unknown,
    /// A sentence.
    Because(String),
    /// It is there, and cannot be made.
    Unfit { number: u64, why: String },
}

impl<'a> Revisions<'a> {
    pub fn graph(self, hash: &str) -> Option<&'a Arc<Graph>> {
        if self.newest.hash == hash { Some(self.newest) } else { self.former.get(hash) }
    }

    fn newest(self) -> Option<Numbered> {
        let own = self.numbers.iter().rev().find(|(_, graph)| **graph == self.newest.hash);
        own.map(|(number, graph)| Numbered { number: *number, graph: graph.as_str().into() })
    }

    /// The revision to run: the newest, or the one that is pinned. A pin to what is not older than the newest pins nothing.
    ///
    /// # Errors
    /// It is not known which one that is, or it cannot be run.
    pub fn pinned(self, pin: Option<i64>) -> Result<Numbered, Refused> {
        let newest = self.newest().ok_or(Refused::Unknown)?;
        let pin = pin.and_then(|pin| u64::try_from(pin).ok()).filter(|pin| *pin < newest.number);
        let Some(number) = pin else { return Ok(newest) };
        let Some(graph) = self.numbers.get(&number) else {
            let first = self.numbers.keys().next().copied().unwrap_or(newest.number);
            let name = &self.newest.rgd_name;
            let why =
                format!("there is no revision {number} of {name}; there are {first} to {}", newest.number);
            return Err(Refused::Because(why));
        };
        if let (None, Some(why)) = (self.graph(graph), self.unfit.get(graph)) {
            return Err(Refused::Unfit { number, why: format!("revision {number} {why}") });
        }
        if let Some(pinned) = self.graph(graph)
            && let Some(first) = compat::compare(&pinned.crd, &self.newest.crd).breaking.first()
        {
            let why = format!(
                "revision {number} does not accept what revision {} stores: {}",
                newest.number, first.text
            );
            return Err(Refused::Because(why));
        }
        Ok(Numbered { number, graph: graph.as_str().into() })
    }

    /// What an instance may run that all of these pin.
    pub fn ceiling(self, pins: impl Iterator<Item = i64>) -> Ceiling<'a> {
        let (mut lowest, mut refused): (Option<Numbered>, bool) = (None, false);
        let mut unfit: Option<(u64, String)> = None;
        for pin in pins {
            match self.pinned(Some(pin)) {
                Ok(numbered) if lowest.as_ref().is_none_or(|lowest| numbered.number < lowest.number) => {
                    lowest = Some(numbered);
                }
                Ok(_) => {}
                Err(Refused::Unknown) => return Ceiling::Unknown,
                Err(Refused::Because(_)) => refused = true,
                Err(Refused::Unfit { number, why }) => {
                    unfit = unfit.filter(|(known, _)| *known < number).or(Some((number, why)));
                }
            }
        }
        if let Some((number, why)) = unfit
            && lowest.as_ref().is_none_or(|lowest| number <= lowest.number)
        {
            return Ceiling::Unfit(why);
        }
        match lowest {
            None if refused => Ceiling::Refused,
            Some(lowest) if *lowest.graph != *self.newest.hash => match self.graph(&lowest.graph) {
                Some(graph) => Ceiling::At(lowest.number, graph),
                None => Ceiling::Wanted(lowest.graph),
            },
            _ => Ceiling::None,
        }
    }
}

/// The highest revision that an instance may run.
#[derive(Debug)]
pub enum Ceiling<'a> {
    None,
    At(u64, &'a Arc<Graph>),
    /// The graph of this hash has to be at hand first.
    Wanted(Arc<str>),
    /// The revisions are not known yet.
    Unknown,
    /// No pin can be obeyed.
    Refused,
    /// It is there and cannot be made: a sentence. Nothing newer may be run either.
    Unfit(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ResourceGraphDefinition;
    use crate::graph::{Options, compile};
    use crate::schema::kinds::Anywhere;
    use serde_json::{Value, json};

    fn graph(fields: Value) -> Arc<Graph> {
        let definition: ResourceGraphDefinition = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "1"},
            "spec": {"schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": fields}, "resources": [{"id": "c",
                "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}}]},
        }))
        .unwrap();
        Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
    }

    #[test]
    fn the_lowest_pin_holds_and_what_cannot_be_obeyed_is_told() {
        let graphs = [
            graph(json!({"a": "string"})),
            graph(json!({"a": "string", "b": "string"})),
            graph(json!({"a": "string", "b": "string", "c": "string"})),
            // It stores what the others do not accept.
            graph(json!({"a": "integer", "d": "string"})),
        ];
        let former: BTreeMap<_, _> = graphs.iter().map(|g| (g.hash.clone(), g.clone())).collect();
        let numbers = |from: u64, to: u64| -> BTreeMap<u64, String> {
            let hash = |n: &u64| graphs[usize::try_from(*n).unwrap() - 1].hash.clone();
            (from..=to).map(|n| (n, hash(&n))).collect()
        };
        let told = |numbers: &BTreeMap<u64, String>, newest: usize, pins: &[i64]| {
            let unfit = Unfit::new();
            let revisions =
                Revisions { newest: &graphs[newest - 1], former: &former, numbers, unfit: &unfit };
            match revisions.ceiling(pins.iter().copied()) {
                Ceiling::None => "none".to_owned(),
                Ceiling::At(number, graph) => {
                    assert_eq!(numbers[&number], graph.hash);
                    number.to_string()
                }
                Ceiling::Wanted(_) => "wanted".to_owned(),
                Ceiling::Unknown => "unknown".to_owned(),
                Ceiling::Unfit(why) => why,
                Ceiling::Refused => match revisions.pinned(Some(pins[0])) {
                    Err(Refused::Because(why)) => why,
                    other => panic!("{other:?}"),
                },
            }
        };
        let all = numbers(1, 3);
        for (pins, want) in [
            (&[][..], "none"),
            (&[9], "none"),
            (&[3], "none"),
            (&[2], "2"),
            (&[3, 1, 2], "1"),
            (&[0, 2], "2"),
        ] {
            assert_eq!(told(&all, 3, pins), want, "{pins:?}");
        }
        assert_eq!(told(&numbers(2, 3), 3, &[1]), "there is no revision 1 of app; there are 2 to 3");
        assert_eq!(told(&numbers(1, 2), 3, &[1]), "unknown");
        let breaks = told(&numbers(1, 4), 4, &[3]);
        assert!(breaks.starts_with("revision 3 does not accept what revision 4 stores: "), "{breaks}");
        let (nothing, fits) = (BTreeMap::new(), Unfit::new());
        let revisions = Revisions { newest: &graphs[2], former: &nothing, numbers: &all, unfit: &fits };
        assert!(
            matches!(revisions.ceiling([2].into_iter()), Ceiling::Wanted(hash) if *hash == graphs[1].hash)
        );
        // What cannot be made any more is no reason to run what is newer.
        let unfit = Unfit::from([(graphs[1].hash.clone(), "does not compile".into())]);
        let revisions = Revisions { unfit: &unfit, ..revisions };
        let told = |pins: &[i64]| match revisions.ceiling(pins.iter().copied()) {
            Ceiling::Unfit(why) => why,
            Ceiling::Wanted(hash) if *hash == graphs[0].hash => "the first".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(told(&[2]), "revision 2 does not compile");
        assert_eq!(told(&[3, 2]), "revision 2 does not compile");
        assert_eq!(told(&[1, 2]), "the first", "a lower pin holds");
        let revisions = Revisions { former: &former, ..revisions };
        assert!(
            matches!(revisions.ceiling([2].into_iter()), Ceiling::At(2, _)),
            "it is at hand all the same"
        );
    }
}
