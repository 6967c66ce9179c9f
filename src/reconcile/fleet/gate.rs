//! What each cluster may run of one instance, where the revision of the whole kind moves as one.

use super::aggregate::LineKind;
use super::on_hub::may_be_local;
use super::pairs::Pair;
use super::{Fleet, Inputs};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::graph::Graph;
use crate::reconcile::rollout::Admitted;
use crate::reconcile::spoke::{MirrorContent, Report, Stands, has_hub_part};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The revision that a cluster may run.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub revision: u64,
    /// Hash of its graph.
    pub graph: Arc<str>,
    /// What the mirror says of it; `None`: it says nothing until its turn comes.
    pub admitted: Option<Admitted>,
}

/// What a cluster is to the rollout of the kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Gated {
    pub stage: Arc<str>,
    /// The version of that rollout that it is at; `None` where nobody knows of any.
    pub version: Option<u64>,
    /// `None`: nothing is there yet, or nobody knows what is. It goes on as it is.
    pub gate: Option<Gate>,
}

/// Of one instance, by cluster. A cluster that is not in it goes on as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gates(pub BTreeMap<ClusterName, Gated>);

impl Gates {
    pub fn gate(&self, name: &ClusterName) -> Option<&Gate> {
        self.0.get(name)?.gate.as_ref()
    }

    /// The graph that the cluster may run, where it is at hand.
    pub fn graph<'i>(&self, inputs: &'i Inputs, name: &ClusterName) -> Option<(&Gate, &'i Arc<Graph>)> {
        let gate = self.gate(name)?;
        // Whatever the kind may run, the instance stays below what is pinned for it.
        let is_capped = inputs.rolled.ceiling.is_some_and(|ceiling| gate.revision > ceiling);
        let graph = if is_capped { inputs.graph } else { inputs.graph_of(&gate.graph) };
        Some((gate, graph?))
    }
}

/// The Cluster that stands for the hub, and what an instance that runs there as a whole says of itself.
#[derive(Clone, Debug)]
pub struct Itself {
    pub name: ClusterName,
    /// The revision that it was let run by.
    pub admitted: Option<Admitted>,
    /// Something of it may be there.
    pub runs: bool,
}

/// The content as the revision knows it: what only others know waits.
pub fn known_to(graph: &Graph, content: &Arc<MirrorContent>) -> Arc<MirrorContent> {
    let shown = graph.as_served(&Object(json!({"spec": content.spec()})));
    let Some(shown) = shown else { return content.clone() };
    let spec = shown.0.get("spec").cloned().unwrap_or_default();
    Arc::new(MirrorContent::new(&content.labels(), &content.annotations(), &spec, content.generation))
}

impl Fleet {
    /// What the cluster said last of the instance with this uid.
    pub fn heard(&self, name: &ClusterName, uid: &str) -> Option<&Arc<Report>> {
        self.pairs.report(name).filter(|report| report.hub_uid == uid)
    }

    /// The Cluster that stands for the hub, where the instance runs there as a whole: not where something of it lives there
    /// once for all, which goes by the newest revision.
    pub fn runs_on_hub(&self, instance: &Object, newest: &Graph) -> Option<Itself> {
        let plan = self.plan.as_ref().filter(|plan| !plan.deleting && !has_hub_part(newest))?;
        let admitted = instance.annotation(hub::REVISION).and_then(Admitted::read);
        let name = plan.decision.local.clone()?;
        Some(Itself { name, admitted, runs: may_be_local(instance) })
    }

    /// Whether what the cluster said is no word about how the instance does there.
    pub(super) fn only_looked(&self, inputs: &Inputs, report: &Report) -> bool {
        let looked = report.revision.is_empty() && !report.is_unseen();
        looked && inputs.rolled.gates.is_some() && self.rolling.is_none()
    }

    /// What the line of a cluster shows of the rollout of the kind.
    pub(super) fn line_kind(&self, inputs: &Inputs, name: &ClusterName) -> Option<LineKind> {
        let gated = inputs.rolled.gates?.0.get(name)?;
        let report = self.heard(name, inputs.instance.uid());
        let is_empty = report.is_some_and(|report| report.stands == Stands::Nothing);
        Some(LineKind {
            stage: gated.stage.clone(),
            version: gated.version,
            waits: gated.gate.is_none() && is_empty,
        })
    }

    /// It runs there by an earlier word.
    pub(super) fn goes_on(&self, name: &ClusterName) -> bool {
        self.pairs.is(name, |pair: &Pair| pair.sent.is_some_and(|sent| !sent.removal))
    }
}
