//! Compiling against what the hub serves.

use super::compilation::Print;
use super::deeds::{OfHub, Teller};
use super::{Outcome, revisions};
use crate::api::Object;
use crate::api::names::{ClusterName, Gvk};
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::{self, Diagnostic, Graph, Options};
use crate::hub::Event;
use crate::hub::context::Context;
use crate::schema::compat;
use crate::schema::crd::for_hub;
use crate::schema::kinds::{Kinds, Served};
use crate::spoke::health::backoff;
use crate::spoke::schemas::{ClusterKinds, without_generated};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Schemas that were read longer ago are asked for anew.
const FRESH: Duration = Duration::from_secs(1);

/// What the compiler said.
#[derive(Debug)]
pub(in crate::hub) struct Compiled {
    /// `None`: the compiler panicked.
    pub result: Option<Result<Arc<Graph>, Vec<Diagnostic>>>,
    /// The hub does not serve all kinds that the definition names: that may change.
    pub lacking: bool,
    /// Groups of the hub of which nobody knows what they serve, a sentence for each.
    pub silent: Vec<String>,
}

/// The hub's kinds. What it does not serve may live on the clusters, where it is judged: here it is what those say that
/// serve it, if they agree. Where there are none, it is missing.
struct OnHub {
    kinds: ClusterKinds,
    elsewhere: ClusterKinds,
    alone: bool,
}

impl Kinds for OnHub {
    fn find(&self, gvk: &Gvk) -> Served {
        match self.kinds.find(gvk) {
            Served::No if !self.alone => self.elsewhere.find(gvk),
            other => other,
        }
    }
}

/// Asks the hub for the schemas of these definitions, for as long as it takes. `own`: CRDs on the hub that are written for
/// definitions; nobody needs to ask for those.
async fn on_hub(ctx: &Context, rgds: &[ResourceGraphDefinition], alone: bool, own: &[Arc<Object>]) -> OnHub {
    let mut wanted = rgds.iter().flat_map(graph::kinds_named_by).collect();
    without_generated(&mut wanted, own.iter().map(|crd| &crd.0));
    let this_hub = ClusterName::new("hub");
    let mut attempt = 0;
    loop {
        ctx.reader.forget_older(FRESH).await;
        match ctx.reader.kinds(&ctx.client, &wanted).await {
            Ok(mut kinds) => {
                let missing = kinds.missing();
                let elsewhere = match missing.is_empty() || alone {
                    true => ClusterKinds::default(),
                    false => ClusterKinds::agreed(&ctx.neighbours.kinds(&missing).await),
                };
                kinds.add_generated(own.iter().map(|crd| &crd.0));
                return OnHub { kinds, elsewhere, alone };
            }
            Err(error) => tracing::warn!(%error, "reading the hub's schemas failed"),
        }
        tokio::time::sleep(backoff(attempt, this_hub.as_str())).await;
        attempt += 1;
    }
}

/// A definition to compile.
pub(super) struct Job {
    pub rgd: ResourceGraphDefinition,
    /// What its snapshot says of its status.
    pub stored: Option<Value>,
    pub print: Print,
    pub of_hub: OfHub,
}

/// Compiles a definition; says [`Outcome::Compiled`].
pub(super) fn start(ctx: &Context, job: Job, teller: Teller) {
    let this = ctx.clone();
    let options = Options { status_schema: job.stored, ..ctx.settings.compile.clone() };
    ctx.spawn(async move {
        let (rgd, own) = (job.rgd, job.of_hub.own);
        let kinds = on_hub(&this, std::slice::from_ref(&rgd), job.of_hub.alone, &own).await;
        let lacking = !kinds.kinds.missing().is_empty();
        let silent = kinds.kinds.silent().collect();
        let print_here = kinds.kinds.print();
        let (on_hub, of_hub) = (rgd.clone(), options.clone());
        let mut result = this.pool.run(move || graph::compile(&on_hub, &of_hub, &kinds).map(Arc::new)).await;
        if matches!(result, Some(Err(_))) {
            // The hub may serve an older version of a kind than the clusters where the instances go.
            if let Some(graph) = fits_elsewhere(&this, &rgd, &options, &own, print_here).await {
                result = Some(Ok(graph));
            }
        }
        teller.tell(Outcome::Compiled(job.print, Compiled { result, lacking, silent }));
    });
}

/// The graph of a definition that compiles against the kinds of a cluster which serves others than the hub, whose kinds have
/// this print.
async fn fits_elsewhere(
    ctx: &Context,
    rgd: &ResourceGraphDefinition,
    options: &Options,
    own: &[Arc<Object>],
    print_here: u64,
) -> Option<Arc<Graph>> {
    let mut wanted = graph::kinds_named_by(rgd);
    without_generated(&mut wanted, own.iter().map(|crd| &crd.0));
    let said = ctx.neighbours.kinds(&wanted).await.into_iter().map(|mut kinds| {
        kinds.add_generated(own.iter().map(|crd| &crd.0));
        (kinds.print(), kinds)
    });
    let different: BTreeMap<u64, ClusterKinds> = said.collect();
    for (_, kinds) in different.into_iter().filter(|(print, _)| *print != print_here) {
        let (there, options) = (rgd.clone(), options.clone());
        let fits = ctx.pool.run(move || graph::compile(&there, &options, &kinds).map(Arc::new)).await;
        if let Some(Ok(graph)) = fits {
            return Some(graph);
        }
    }
    None
}

/// Snapshots of which one may serve.
pub(super) struct Search {
    /// The newest first.
    pub snapshots: Vec<ResourceGraphDefinition>,
    pub own: Vec<Arc<Object>>,
    /// The CRD on the hub.
    pub live: Value,
}

/// Looks for the newest snapshot that can serve; says [`Outcome::Fallback`].
pub(super) fn fall_back(ctx: &Context, search: Search, teller: Teller) {
    let (this, options) = (ctx.clone(), ctx.settings.compile.clone());
    ctx.spawn(async move {
        let Search { snapshots, own, live } = search;
        let kinds = on_hub(&this, &snapshots, false, &own).await;
        let found =
            this.pool.run(move || newest_that_fits(&snapshots, &options, &kinds, &live)).await.flatten();
        teller.tell(Outcome::Fallback(found));
    });
}

/// Compiles a snapshot that is not the newest, for instances that still run by it.
pub(super) fn former(ctx: &Context, rgd: ResourceGraphDefinition, own: Vec<Arc<Object>>) {
    let (this, gk) = (ctx.clone(), rgd.spec.schema.gvk().group_kind());
    let hash = graph::spec_hash(&rgd.spec);
    ctx.spawn(async move {
        let options =
            Options { status_schema: revisions::status_schema(&rgd), ..this.settings.compile.clone() };
        let kinds = on_hub(&this, std::slice::from_ref(&rgd), false, &own).await;
        let print_here = kinds.kinds.print();
        let (on_hub, of_hub) = (rgd.clone(), options.clone());
        let compiled = this.pool.run(move || graph::compile(&on_hub, &of_hub, &kinds).map(Arc::new)).await;
        let elsewhere = match &compiled {
            // As it was when it was the newest.
            Some(Err(_)) => fits_elsewhere(&this, &rgd, &options, &own, print_here).await,
            _ => None,
        };
        let made = match (compiled, elsewhere) {
            (Some(Ok(graph)), _) | (_, Some(graph)) => Ok(graph),
            (Some(Err(problems)), None) => {
                tracing::warn!(kind = %gk, "an earlier revision that instances are held at does not compile");
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                Err(format!("does not compile on the hub any more: {first}"))
            }
            (None, None) => Err("cannot be compiled: the compiler failed on it".into()),
        };
        this.tell(Event::Former { gk, hash, made });
    });
}

/// The first of `snapshots` that compiles and whose CRD breaks nothing in the live one. The newest snapshot may be that
/// of the very edit whose CRD was refused.
fn newest_that_fits(
    snapshots: &[ResourceGraphDefinition],
    options: &Options,
    kinds: &dyn Kinds,
    live: &Value,
) -> Option<Arc<Graph>> {
    let graphs = snapshots.iter().filter_map(|rgd| {
        let options = Options { status_schema: revisions::status_schema(rgd), ..options.clone() };
        graph::compile(rgd, &options, kinds).ok()
    });
    let mut fitting =
        graphs.filter(|graph| compat::compare(live, &for_hub(&graph.crd, false)).breaking.is_empty());
    fitting.next().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::kinds::Anywhere;
    use serde_json::json;

    fn snapshot(size: &str, data: &str) -> ResourceGraphDefinition {
        let template = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}"},
            "data": {"size": data}});
        serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": "u"},
            "spec": {
                "schema": {"apiVersion": "v1alpha1", "kind": "App", "spec": {"size": size}},
                "resources": [{"id": "config", "template": template}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_snapshot_whose_crd_breaks_nothing_serves_on() {
        let served = snapshot("string", "${schema.spec.size}");
        let live = for_hub(&graph::compile(&served, &Options::default(), &Anywhere).unwrap().crd, true);
        let refused = snapshot("integer", "${string(schema.spec.size)}");
        let broken = snapshot("string", "${nowhere.spec.size}");
        let oldest = snapshot("string", "fixed");
        let of = |older: &[ResourceGraphDefinition]| {
            newest_that_fits(older, &Options::default(), &Anywhere, &live).map(|g| g.hash.clone())
        };
        let hash = |rgd: &ResourceGraphDefinition| Some(graph::spec_hash(&rgd.spec));
        assert_eq!(of(&[refused.clone(), broken, served.clone(), oldest]), hash(&served));
        assert_eq!(of(&[refused]), None);
    }
}
