//! One definition that an API server asks about, judged by kinds that somebody else knows.

use super::bundle;
use super::check::{self, Checked, Judge, Read};
use super::finding::{Finding, Severity};
use super::kinds::Known;
use super::of_hub::Definitions;
use crate::api::Gvk;
use crate::graph;
use crate::schema::crd::for_hub;
use crate::schema::kinds::{Kinds, Served};
use crate::spoke::schemas::ClusterKinds;
use crate::webhook::{Judgement, Reading, Said};
use serde_json::Value;

/// The version of Kubernetes whose kinds are built in.
///
/// # Errors
/// The built-in kinds are broken.
pub fn builtin_version() -> anyhow::Result<&'static str> {
    Ok(&bundle::read()?.version)
}

/// Judges a definition by the kinds of the hub, or only by those that are Kubernetes' own; what is not known is believed.
///
/// # Errors
/// The definition cannot be written as text, or the built-in kinds are broken.
pub fn judge(
    definition: &Value,
    kinds: &ClusterKinds,
    reading: Reading,
    omit: bool,
) -> anyhow::Result<Judgement> {
    let builtin = &bundle::read()?.document;
    let (files, objects, refusals) = Definitions::read(vec![definition.clone()], &[])?.parts();
    let mut known = Known::new(Vec::new(), reading != Reading::Nothing, true)?;
    known.remedy = "where it is served, each cluster judges them";
    let is_builtin = |gvk: &Gvk| builtin.kinds().any(|kind| kind == gvk);
    for (gvk, kind) in kinds.served() {
        let counts = match reading {
            Reading::Hub => true,
            Reading::HubKubernetes => is_builtin(gvk),
            Reading::BuiltIn | Reading::Nothing => false,
        };
        if counts {
            known.add_kind(gvk.clone(), kind.clone());
        }
    }
    // Of what the hub could not be asked for, nobody can say that it is not served.
    let unheard = |gvk: &Gvk| kinds.find(gvk) == Served::Unknown && !is_builtin(gvk);
    check::named_kinds(&objects).into_iter().filter(unheard).for_each(|gvk| known.add_broken(gvk));
    let options = graph::Options { omit, ..graph::Options::default() };
    let read = Read { files: &files, objects: &objects, refusals, ignored: 0 };
    let Checked { findings, graphs, .. } = check::check(read, known, &Judge { options, portable: false });
    let of = |severity: Severity| {
        let all = findings.iter().filter(move |finding| finding.severity == severity);
        all.map(said).collect::<Vec<_>>()
    };
    Ok(Judgement {
        errors: of(Severity::Error),
        warnings: of(Severity::Warning),
        crd: graphs.first().map(|(_, graph)| for_hub(&graph.crd, false)),
    })
}

fn said(finding: &Finding) -> Said {
    Said { path: finding.path.clone(), message: finding.message.clone(), help: finding.help.clone() }
}
