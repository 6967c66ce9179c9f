//! One definition, and what is started for it: each answer comes back as an [`Outcome`].

use super::revision_writes::issue_revision;
use super::revisions::{Revisions, Standing};
use super::{Effect, Outcome, Written, compile, crd};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{ClusterName, Gvk};
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::Graph;
use crate::hub::Event;
use crate::hub::context::Context;
use crate::hub::resources::definitions;
use crate::schema::crd::for_hub;
use crate::spoke::crd::crd_resource;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct DefinitionEntry {
    pub object: Arc<Object>,
    pub rgd: ResourceGraphDefinition,
    /// Of the spec that was compiled, or is being compiled.
    pub compiled_print: Option<u64>,
    pub compiled: Option<Result<Arc<Graph>, String>>,
    /// The graph whose CRD is being ensured, or was; and the column that it had.
    pub crd_for: Option<(String, bool, bool)>,
    /// That request is under way; the next one waits for its answer.
    pub crd_busy: bool,
    pub kind: Option<Result<String, String>>,
    /// What instances run with, and whether its CRD may break what is stored.
    pub serving: Option<(Arc<Graph>, bool)>,
    pub compiling: bool,
    /// Hash and number of the newest snapshot.
    pub issued: Option<(String, i64)>,
    pub issuing: Option<i64>,
    /// Older snapshots were looked at.
    pub fallback_tried: bool,
    pub watching: bool,
    pub writing: bool,
    /// The `status.observedGeneration` that was written last: a CRD of kro's own may not keep it.
    pub observed: Option<i64>,
    /// Names of instances, while it is being deleted.
    pub held_by: Option<(usize, Vec<String>)>,
    /// By cluster: of which graph, and whether it fits there.
    pub verdicts: BTreeMap<ClusterName, (String, Result<(), String>)>,
    /// When it was compiled last, the hub did not serve all kinds that it names.
    pub lacking: bool,
    /// What the hub serves changed while it is being compiled.
    pub outdated: bool,
}

impl DefinitionEntry {
    pub fn new(object: Arc<Object>, rgd: ResourceGraphDefinition) -> Self {
        Self {
            object,
            rgd,
            compiled_print: None,
            compiled: None,
            crd_for: None,
            crd_busy: false,
            kind: None,
            serving: None,
            compiling: false,
            issued: None,
            issuing: None,
            fallback_tried: false,
            watching: false,
            writing: false,
            observed: None,
            held_by: None,
            verdicts: BTreeMap::new(),
            lacking: false,
            outdated: false,
        }
    }

    pub fn gvk(&self) -> Gvk {
        self.rgd.spec.schema.gvk()
    }
    pub fn allow_breaking(&self) -> bool {
        self.object.annotation(kro::ALLOW_BREAKING) == Some("true")
    }
    pub fn has_finalizer(&self) -> bool {
        self.object.has_finalizer(kro::FINALIZER)
    }

    /// Whether a write is under way that has to be answered first. `waiting`: it was refused, and not now.
    pub fn add_finalizer(&mut self, ctx: &Context, waiting: bool) -> bool {
        if self.has_finalizer() || self.object.is_deleting() {
            return false;
        }
        if !self.writing && !waiting {
            self.writing = true;
            let mut finalizers = self.object.finalizers();
            finalizers.push(kro::FINALIZER.to_owned());
            let version = self.object.resource_version();
            let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
            write(ctx, self.object.name(), Written::Finalizers, patch, None);
        }
        true
    }

    /// Whether the graph has its snapshot; issues one where it has none, unless that was refused and it is `waiting`.
    pub fn ensure_revision(
        &mut self,
        ctx: &Context,
        graph: &Arc<Graph>,
        snapshots: &Revisions,
        waiting: bool,
    ) -> bool {
        if self.object.is_deleting() {
            return true;
        }
        if self.issued.as_ref().is_some_and(|(hash, _)| *hash == graph.hash) {
            return true;
        }
        let written = self.rgd.status.as_ref().map_or(0, |s| s.last_issued_revision);
        let last = written.max(self.issued.as_ref().map_or(0, |(_, n)| *n));
        match snapshots.standing(&graph.hash, last) {
            Standing::Issued(number) => {
                self.issued = Some((graph.hash.clone(), number));
                true
            }
            Standing::Missing(_) if self.issuing.is_some() || waiting => false,
            Standing::Missing(number) => {
                self.issuing = Some(number);
                issue_revision(ctx, &self.rgd, &self.object, graph.clone(), number);
                false
            }
        }
    }

    pub fn ensure_crd(&mut self, ctx: &Context, graph: Arc<Graph>, column: bool) {
        let want = (graph.hash.clone(), column, self.allow_breaking());
        if self.crd_busy || self.crd_for.as_ref() == Some(&want) {
            return;
        }
        self.crd_for = Some(want);
        self.crd_busy = true;
        let (this, name) = (ctx.clone(), self.object.name().to_owned());
        let may = crd::May { create: !self.object.is_deleting(), break_stored: self.allow_breaking() };
        let rgd_name = self.rgd.metadata.name.clone();
        ctx.spawn(async move {
            let result = crd::ensure(&this, &for_hub(&graph.crd, column), &rgd_name, may).await;
            this.tell(Event::Definition(name, Outcome::Crd(graph, result)));
        });
    }

    /// What the hub serves can change what is said of it.
    pub fn is_unsettled(&self) -> bool {
        self.lacking || matches!(self.compiled, Some(Err(_)))
    }

    /// It does not compile, or its CRD cannot be what it has to be.
    pub fn is_refused(&self) -> bool {
        matches!(self.compiled, Some(Err(_))) || matches!(self.kind, Some(Err(_)))
    }

    /// After a restart, a definition that is refused is served by its newest snapshot that fits the CRD on the hub.
    pub fn fall_back(
        &mut self,
        ctx: &Context,
        snapshots: &Revisions,
        own: Vec<Arc<Object>>,
        live: Arc<Object>,
    ) {
        if self.serving.is_some() || self.fallback_tried {
            return;
        }
        self.fallback_tried = true;
        let older = snapshots.snapshots(&self.rgd.metadata.uid);
        compile::fall_back(ctx, self.object.name(), older, own, live.0.clone());
    }

    /// Watches the kind as this CRD serves it.
    pub fn watch(&mut self, crd: &Value) -> Option<Effect> {
        if self.watching {
            return None;
        }
        self.watching = true;
        let text = |p: &str| crd.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        let gvk = Gvk::new(&text("/spec/group"), &text("/spec/versions/0/name"), &text("/spec/names/kind"));
        Some(Effect::Watch { gvk, plural: text("/spec/names/plural") })
    }
}

/// Writes a definition, and deletes its CRD before that where one is given.
pub(super) fn write(ctx: &Context, name: &str, what: Written, patch: Value, delete_crd: Option<Arc<Object>>) {
    let (this, name) = (ctx.clone(), name.to_owned());
    ctx.spawn(async move {
        let result = if what == Written::Status {
            this.client.merge_status(&definitions(), "", &name, &patch).await
        } else {
            let deleted = match &delete_crd {
                Some(crd) => this.client.delete(&crd_resource(), "", crd.name(), crd.uid()).await.map(|_| ()),
                None => Ok(()),
            };
            match deleted {
                Ok(()) => this.client.merge_patch(&definitions(), "", &name, &patch).await,
                Err(error) => Err(error),
            }
        };
        this.tell(Event::Definition(name, Outcome::Written(what, result)));
    });
}
