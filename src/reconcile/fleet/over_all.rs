//! The author's fields that read `kro.clusters`. What they cost is up to the author, so the machine only asks for them: they
//! are evaluated elsewhere, one question of an instance at a time, and remembered until something that they read changes.

use crate::api::{Object, hash};
use crate::graph::Graph;
use crate::reconcile::Moment;
use crate::reconcile::Now;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A status is held back for so long by fields that are being evaluated. After that it says what they were before.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is to be evaluated.
#[derive(Clone, Debug)]
pub struct Question {
    print: u64,
    graph: Arc<Graph>,
    instance: Arc<Object>,
    clusters: Value,
}

impl Question {
    /// May take as long as the limits of expressions allow.
    pub fn evaluate(&self) -> Answer {
        let shown = self.graph.as_served(&self.instance);
        let instance = shown.as_ref().unwrap_or(&self.instance);
        let (fields, problems) = self.graph.over_clusters(&instance.0, &self.clusters);
        Answer { print: self.print, said: Some(OverClusters { fields, problems }) }
    }

    /// There is no answer, and asking again would give none either.
    pub fn unanswered(&self) -> Answer {
        Answer { print: self.print, said: None }
    }
}

#[cfg(test)]
impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.print)
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    print: u64,
    said: Option<OverClusters>,
}

/// What the author's expressions over all clusters give.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OverClusters {
    pub fields: Map<String, Value>,
    /// Of those that give nothing, however long one waits.
    pub problems: Vec<String>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Known {
    print: u64,
    graph: String,
    said: OverClusters,
}

/// What is known of these fields for one instance.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct OverAll {
    known: Option<Known>,
    /// The question that is under way, and the graph that it is about.
    asked: Option<(u64, String)>,
    /// Since when what is known is not what is asked for.
    stale_since: Option<Moment>,
    /// The print of what was read last, and when that was.
    read: Option<(Read, u64)>,
}

/// Whose fields they are.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub graph: &'a Arc<Graph>,
    pub instance: &'a Arc<Object>,
}

/// Stands for all that the fields read: while it is the same, they read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Counts the plans: instance and definition.
    pub plan: u64,
    pub lines: u64,
    pub clusters: u64,
}

/// What the status may say now.
pub(super) enum Said {
    This(OverClusters),
    /// Nothing before the answer, or before this time.
    Wait(Option<Moment>),
}

impl OverAll {
    /// The fields for what the clusters show, and what is to be evaluated first, if anything is.
    pub fn of(
        &mut self,
        read: Read,
        subject: Subject,
        clusters: impl Fn() -> Vec<Value>,
        now: &Now,
    ) -> (Said, Option<Question>) {
        let Subject { graph, instance } = subject;
        if !graph.reads_clusters() {
            return (Said::This(OverClusters::default()), None);
        }
        let mut shown = None;
        let known = self.read.filter(|(known, _)| *known == read).map(|(_, print)| print);
        let print = known.unwrap_or_else(|| {
            let clusters = shown.insert(Value::Array(clusters()));
            hash::json(&json!([graph.hash, read_of(instance), clusters]))
        });
        self.read = Some((read, print));
        if let Some(known) = self.known.as_ref().filter(|known| known.print == print) {
            self.stale_since = None;
            return (Said::This(known.said.clone()), None);
        }
        let since = *self.stale_since.get_or_insert(now.at);
        let question = self.asked.is_none().then(|| {
            self.asked = Some((print, graph.hash.clone()));
            let clusters = shown.unwrap_or_else(|| Value::Array(clusters()));
            Question { print, graph: graph.clone(), instance: instance.clone(), clusters }
        });
        let known = self.known.as_ref().filter(|known| known.graph == graph.hash);
        let said = match known {
            Some(known) if now.at >= since.after(PATIENCE) => Said::This(known.said.clone()),
            known => Said::Wait(known.map(|_| since.after(PATIENCE))),
        };
        (said, question)
    }

    pub fn answered(&mut self, answer: Answer) {
        let Some((_, graph)) = self.asked.take_if(|(print, _)| *print == answer.print) else { return };
        let before = self.known.take().filter(|known| known.graph == graph).map(|known| known.said);
        let said = answer.said.or(before).unwrap_or_default();
        self.known = Some(Known { print: answer.print, graph, said });
    }
}

/// What expressions may read of the instance: all but what every write of ours changes.
fn read_of(instance: &Object) -> Value {
    let mut metadata = instance.0.get("metadata").cloned().unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|key, _| key != "managedFields" && key != "resourceVersion");
    }
    json!([metadata, instance.0.get("spec")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ResourceGraphDefinition;
    use crate::graph::{Options, compile};
    use crate::schema::kinds::Anywhere;

    fn graph(field: &str) -> Arc<Graph> {
        let definition: ResourceGraphDefinition = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "1", "generation": 1},
            "spec": {
                "schema": {"kind": "App", "apiVersion": "v1alpha1", "spec": {"x": "string"}, "status": {"n": field}},
                "resources": [{"id": "c", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "${schema.spec.x}"}}}],
            },
        }))
        .unwrap();
        Arc::new(compile(&definition, &Options::default(), &Anywhere).unwrap())
    }

    fn instance(version: u64, x: &str) -> Arc<Object> {
        Arc::new(Object(json!({"apiVersion": "kro.run/v1alpha1", "kind": "App", "spec": {"x": x},
            "metadata": {"name": "a", "resourceVersion": version.to_string()}})))
    }

    /// What is asked for when so many clusters are there: `n` of the fields that may be told, or until when to wait; and
    /// the question.
    fn ask(
        over: &mut OverAll,
        graph: &Arc<Graph>,
        instance: &Arc<Object>,
        clusters: usize,
        millis: u64,
    ) -> (Result<Option<Value>, Option<Moment>>, Option<Question>) {
        let cluster = |n| json!({"name": format!("c{n}"), "state": "ACTIVE", "status": {}});
        let now = Now { at: Moment::from_millis(millis), rfc3339: String::new() };
        let read = Read { plan: instance.version(), lines: clusters as u64, clusters: millis };
        let (said, question) =
            over.of(read, Subject { graph, instance }, || (0..clusters).map(cluster).collect(), &now);
        let said = match said {
            Said::This(said) => Ok(said.fields.get("n").cloned()),
            Said::Wait(until) => Err(until),
        };
        (said, question)
    }

    #[test]
    fn fields_are_asked_for_once_and_again_when_what_they_read_changes() {
        let (mut over, size) = (OverAll::default(), graph("${kro.clusters.size()}"));
        let (said, question) = ask(&mut over, &size, &instance(1, "x"), 2, 0);
        assert_eq!(said, Err(None), "nothing is told before");
        assert!(ask(&mut over, &size, &instance(1, "x"), 2, 9_000).1.is_none(), "it is under way");
        over.answered(question.unwrap().evaluate());
        let (said, question) = ask(&mut over, &size, &instance(2, "x"), 2, 9_001);
        assert_eq!((said, question.is_none()), (Ok(Some(json!(2))), true), "our own write changes nothing");
        for (instance, clusters) in [(instance(2, "y"), 2), (instance(2, "x"), 3)] {
            let (said, question) = ask(&mut over, &size, &instance, clusters, 9_002);
            assert_eq!(said, Err(Some(Moment::from_millis(11_002))));
            over.answered(question.unwrap().evaluate());
            assert_eq!(ask(&mut over, &size, &instance, clusters, 9_003).0, Ok(Some(json!(clusters))));
        }
    }

    #[test]
    fn what_never_ends_changing_is_told_as_it_was() {
        let (mut over, size) = (OverAll::default(), graph("${kro.clusters.size()}"));
        let first = ask(&mut over, &size, &instance(1, "x"), 1, 0).1.unwrap();
        over.answered(first.evaluate());
        assert_eq!(ask(&mut over, &size, &instance(1, "x"), 1, 1).0, Ok(Some(json!(1))));
        // Each answer is about what was before.
        let (said, question) = ask(&mut over, &size, &instance(1, "x"), 2, 1_000);
        assert_eq!(said, Err(Some(Moment::from_millis(3_000))));
        let (said, second) = ask(&mut over, &size, &instance(1, "x"), 3, 2_000);
        assert_eq!((said, second.is_none()), (Err(Some(Moment::from_millis(3_000))), true), "one at a time");
        over.answered(question.unwrap().evaluate());
        let (said, question) = ask(&mut over, &size, &instance(1, "x"), 4, 3_000);
        assert_eq!(said, Ok(Some(json!(2))));
        over.answered(question.unwrap().evaluate());
        assert_eq!(ask(&mut over, &size, &instance(1, "x"), 4, 3_001).0, Ok(Some(json!(4))));
        // Fields of another definition are nobody's word.
        let other = graph("${kro.clusters.size() + 10}");
        let (said, question) = ask(&mut over, &other, &instance(1, "x"), 4, 9_000);
        assert_eq!(said, Err(None));
        over.answered(question.unwrap().unanswered());
        assert_eq!(ask(&mut over, &other, &instance(1, "x"), 4, 9_001).0, Ok(None));
    }

    #[test]
    fn who_reads_no_clusters_asks_for_nothing() {
        let plain = graph("${c.metadata.name}");
        let (said, question) = ask(&mut OverAll::default(), &plain, &instance(1, "x"), 2, 0);
        assert_eq!((said, question.is_none()), (Ok(None), true));
    }
}
