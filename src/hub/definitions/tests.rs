//! One definition from its first look on, by what it is told.

use super::compile::Compiled;
use super::deeds::Deed;
use super::entry::{DefinitionEntry, Situation};
use super::wakes::Wakes;
use super::{Effect, Revisions, crd};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::{self, Graph, Options};
use crate::hub::writes::Part;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use crate::schema::kinds::Anywhere;
use crate::spoke::client::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// A definition, and a hub on which nothing else is.
struct Driver {
    entry: DefinitionEntry,
    wakes: Wakes,
    now: Moment,
}

fn read(object: &Value) -> ResourceGraphDefinition {
    serde_json::from_value(object.clone()).unwrap()
}

fn definition(size: &str, finalizers: &[&str]) -> Value {
    let template = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}"},
        "data": {"size": "${string(schema.spec.size)}"}});
    json!({
        "metadata": {"name": "app", "uid": "u", "generation": 1, "finalizers": finalizers},
        "spec": {
            "schema": {"apiVersion": "v1alpha1", "kind": "App", "spec": {"size": size}},
            "resources": [{"id": "config", "template": template}],
        },
    })
}

fn forbidden() -> ApiError {
    ApiError::Forbidden { message: "you may not".into() }
}

impl Driver {
    fn new(object: Value) -> Self {
        let rgd = read(&object);
        Self {
            entry: DefinitionEntry::new(Arc::new(Object(object)), rgd),
            wakes: Wakes::default(),
            now: Moment::START,
        }
    }

    fn edit(&mut self, object: Value) {
        self.entry.rgd = read(&object);
        self.entry.object = Arc::new(Object(object));
    }

    fn look(&mut self) -> Vec<Deed> {
        let at = Situation {
            now: Now { at: self.now, rfc3339: "2026-01-01T00:00:00Z".into() },
            served: None,
            snapshots: Revisions::default(),
            column: Some(false),
            clusters: Some(0),
            limit: 5,
        };
        self.entry.look(&at, &mut self.wakes)
    }

    /// Time goes by until something is due.
    fn wait(&mut self) {
        self.now = self.wakes.next().unwrap();
        for wake in self.wakes.due(self.now) {
            self.entry.due(wake.subject);
        }
    }

    /// Compiles what is there.
    fn compile(&mut self, deeds: &[Deed]) {
        let Some(Deed::Compile { print, .. }) = deeds.iter().find(|d| matches!(d, Deed::Compile { .. }))
        else {
            panic!("{deeds:?}");
        };
        let result = graph::compile(&self.entry.rgd, &Options::default(), &Anywhere).map(Arc::new);
        let compiled = Compiled { result: Some(result), lacking: false, silent: Vec::new() };
        self.entry.compiled(*print, compiled, &mut self.wakes, self.now);
    }

    fn issue(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            if let Deed::Issue { issue, .. } = deed {
                self.entry.issued(issue, Ok(()), &mut self.wakes, self.now);
            }
        }
    }

    fn crd(&mut self, graph: &Arc<Graph>, result: Result<String, crd::Failure>) -> Vec<Effect> {
        self.entry.crd_ensured(graph, result, &mut self.wakes, self.now)
    }

    fn refuse(&mut self, part: Part) {
        self.entry.not_written(part, &forbidden(), &mut self.wakes, self.now);
    }

    /// Up to the question for its CRD.
    fn bring_to_its_crd(&mut self) -> Arc<Graph> {
        let deeds = self.look();
        self.compile(&deeds);
        let deeds = self.look();
        self.issue(deeds);
        let deeds = self.look();
        wanted_crd(&deeds).unwrap_or_else(|| panic!("{deeds:?}"))
    }
}

fn wanted_crd(deeds: &[Deed]) -> Option<Arc<Graph>> {
    deeds.iter().find_map(|deed| match deed {
        Deed::EnsureCrd { graph, .. } => Some(graph.clone()),
        _ => None,
    })
}
fn served(effects: &[Effect]) -> Option<&Arc<Graph>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Serve { graph, .. } => Some(graph),
        Effect::Watch { .. } | Effect::Stop(_) => None,
    })
}
fn is_compile(deed: &Deed) -> bool {
    matches!(deed, Deed::Compile { .. })
}

#[test]
fn a_definition_is_guarded_compiled_issued_and_served_each_once() {
    let mut driver = Driver::new(definition("integer", &[]));
    let deeds = driver.look();
    assert!(matches!(&deeds[0], Deed::WriteFinalizers { finalizers, .. } if finalizers == &[kro::FINALIZER]));
    driver.compile(&deeds);
    assert!(driver.look().is_empty(), "the finalizer comes before all that changes something");
    driver.entry.writes.answered(Part::Finalizers);
    driver.edit(definition("integer", &[kro::FINALIZER]));
    let deeds = driver.look();
    assert!(matches!(&deeds[..], [Deed::Issue { .. }, Deed::WriteStatus { .. }]), "{deeds:?}");
    driver.issue(deeds);
    let deeds = driver.look();
    let graph = wanted_crd(&deeds).unwrap();
    assert!(driver.look().is_empty());
    let effects = driver.crd(&graph, Ok("App".into()));
    assert!(matches!(&effects[..], [Effect::Watch { .. }, Effect::Serve { .. }]), "{effects:?}");
    driver.entry.writes.answered(Part::Status);
    let deeds = driver.look();
    assert!(
        matches!(&deeds[..], [Deed::WriteStatus { patch, .. }] if patch["state"] == "Active"),
        "{deeds:?}"
    );
    assert!(driver.look().is_empty());
}

#[test]
fn the_crd_of_an_earlier_spec_does_not_count_for_the_present_one() {
    let mut driver = Driver::new(definition("integer", &[kro::FINALIZER]));
    let earlier = driver.bring_to_its_crd();
    driver.edit(definition("string", &[kro::FINALIZER]));
    let deeds = driver.look();
    driver.compile(&deeds);
    let deeds = driver.look();
    driver.issue(deeds);
    assert!(wanted_crd(&driver.look()).is_none(), "the earlier one is still under way");
    assert!(driver.crd(&earlier, Ok("App".into())).is_empty());
    assert_eq!(driver.entry.kind_said(), None);
    let present = wanted_crd(&driver.look()).unwrap();
    assert_ne!(present.hash, earlier.hash);
    assert_eq!(served(&driver.crd(&present, Ok("App".into()))).map(|g| &g.hash), Some(&present.hash));
}

#[test]
fn a_spec_that_went_and_came_back_is_brought_about_anew() {
    let mut driver = Driver::new(definition("integer", &[kro::FINALIZER]));
    let first = driver.bring_to_its_crd();
    driver.crd(&first, Ok("App".into()));
    driver.edit(definition("string", &[kro::FINALIZER]));
    let between = driver.bring_to_its_crd();
    driver.edit(definition("integer", &[kro::FINALIZER]));
    let deeds = driver.look();
    driver.compile(&deeds);
    let deeds = driver.look();
    driver.issue(deeds);
    assert!(driver.crd(&between, Ok("App".into())).is_empty());
    let again = wanted_crd(&driver.look()).unwrap();
    assert!(again.hash == first.hash && !Arc::ptr_eq(&again, &first));
}

#[test]
fn what_is_refused_is_tried_again_when_its_time_has_come_ever_less() {
    // The finalizer.
    let mut driver = Driver::new(definition("integer", &[]));
    let is_finalizer = |deed: &Deed| matches!(deed, Deed::WriteFinalizers { .. });
    let mut times = Vec::new();
    let mut deeds = driver.look();
    while driver.now < Moment::from_millis(60_000) {
        assert!(deeds.iter().any(is_finalizer), "{:?}: {deeds:?}", driver.now);
        driver.refuse(Part::Finalizers);
        assert!(!driver.look().iter().any(is_finalizer), "not before its time");
        driver.entry.writes.answered(Part::Status);
        driver.wait();
        times.push(driver.now);
        deeds = driver.look();
    }
    assert_eq!(times, [5_000, 15_000, 35_000, 75_000].map(Moment::from_millis));

    // The CRD, and the status that says so.
    let mut driver = Driver::new(definition("integer", &[kro::FINALIZER]));
    let graph = driver.bring_to_its_crd();
    driver.entry.writes.answered(Part::Status);
    let failure = crd::Failure { message: "no".into(), mends: crd::Mends::Itself };
    driver.crd(&graph, Err(failure));
    let deeds = driver.look();
    assert!(matches!(&deeds[..], [Deed::WriteStatus { .. }]), "{deeds:?}");
    driver.refuse(Part::Status);
    assert!(driver.look().is_empty());
    driver.wait();
    assert_eq!(driver.now, Moment::from_millis(5_000));
    let deeds = driver.look();
    assert!(wanted_crd(&deeds).is_some(), "{deeds:?}");
    assert!(deeds.iter().any(|d| matches!(d, Deed::WriteStatus { .. })), "{deeds:?}");
}

#[test]
fn a_finalizer_that_could_not_be_added_is_said_until_it_is_there() {
    let mut driver = Driver::new(definition("integer", &[kro::FINALIZER]));
    let graph = driver.bring_to_its_crd();
    driver.crd(&graph, Ok("App".into()));
    driver.entry.writes.answered(Part::Status);
    driver.edit(definition("integer", &[]));
    driver.look();
    driver.entry.writes.answered(Part::Status);
    driver.look();
    driver.refuse(Part::Finalizers);
    assert!(matches!(driver.entry.kind_said(), Some(Err(why)) if why.contains(kro::FINALIZER)));
    driver.wait();
    driver.look();
    driver.entry.writes.answered(Part::Finalizers);
    driver.edit(definition("integer", &[kro::FINALIZER]));
    assert_eq!(driver.entry.kind_said(), Some(Ok("App")));
}

#[test]
fn what_does_not_compile_serves_on_and_is_compiled_again_when_its_kinds_may_have_come() {
    let mut driver = Driver::new(definition("integer", &[kro::FINALIZER]));
    let graph = driver.bring_to_its_crd();
    driver.crd(&graph, Ok("App".into()));
    driver.edit(definition("no-such-type", &[kro::FINALIZER]));
    let deeds = driver.look();
    let Some(Deed::Compile { print, .. }) = deeds.iter().find(|d| is_compile(d)) else { panic!("{deeds:?}") };
    let refused = Compiled { result: None, lacking: true, silent: Vec::new() };
    driver.entry.compiled(*print, refused, &mut driver.wakes, driver.now);
    assert!(!driver.look().iter().any(is_compile));
    assert!(driver.entry.serving().is_some_and(|serving| Arc::ptr_eq(&serving.graph, &graph)));
    driver.wait();
    assert_eq!(driver.now, Moment::from_millis(5_000));
    assert!(driver.look().iter().any(is_compile));
}
