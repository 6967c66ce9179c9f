//! `kro-hub validate`: definitions, instances, clusters and placements in files, judged before anybody applies them.

mod asked;
mod bundle;
mod check;
mod exclude;
mod expressions;
mod finding;
mod kinds;
mod live;
mod locate;
mod of_hub;
mod policies;
mod portable;
mod report;
mod report_to;
mod scalar;
pub(crate) mod source;
mod structural;
mod tenancy;
pub(crate) mod yaml;

use super::gates::Gates;
use crate::api::Gvk;
use crate::graph::{self, Graph};
use crate::schema::openapi::Document;
use anyhow::{Context, anyhow, bail};
pub use asked::{builtin_version, judge};
use check::{Checked, Judge, Read};
use clap::Args as ClapArgs;
use exclude::Excluded;
pub use expressions::within as expressions_within;
use finding::Severity;
use kinds::Known;
use live::Live;
pub use of_hub::{Definitions, OfHub};
pub use report::Format;
use report::Report;
use source::{File, Files, Object, Refused};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
pub use yaml::Node;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files, or folders with *.yaml, *.yml and *.json anywhere below; - is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    world: World,
    /// Refuse what kro itself would not take, or take differently
    #[arg(long)]
    portable: bool,
    /// text, json, sarif for code scanners, or github for annotations in a workflow
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// What definitions are judged by.
#[derive(Debug, ClapArgs)]
pub struct World {
    #[command(flatten)]
    judging: Judging,
    /// Take the kinds from the cluster of this kubeconfig instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; takes the kinds from its cluster
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// The same without a cluster.
#[derive(Debug, Default, ClapArgs)]
pub struct Judging {
    /// Kinds beside the built-in ones: a file or folder of CRDs or OpenAPI v3 documents
    #[arg(long, value_name = "PATH")]
    schemas: Vec<PathBuf>,
    /// Leave out files and folders: a name, or a path as in a .gitignore; may be given more than once
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Only warn of a kind that is not known
    #[arg(long)]
    allow_unknown_kinds: bool,
    /// As kro's flag: CELOmitFunction=true allows omit()
    #[arg(long, value_name = "NAME=BOOL,…", default_value = "", hide_default_value = true)]
    feature_gates: Gates,
}

/// Files, read and judged.
pub struct Judged {
    files: Vec<File>,
    objects: Vec<Object>,
    checked: Checked,
}

impl Judged {
    /// The definitions that compile, in the order of the files.
    pub fn definitions(&self) -> Vec<(&Object, &Graph)> {
        let graphs = self.checked.graphs.iter();
        graphs.filter_map(|(position, graph)| Some((self.objects.get(*position)?, &**graph))).collect()
    }

    /// The same, to be kept.
    pub fn graphs(&self) -> Vec<Arc<Graph>> {
        self.checked.graphs.iter().map(|(_, graph)| graph.clone()).collect()
    }

    /// The same files, with what was found in some of them alone.
    #[must_use]
    pub fn found_in(mut self, is: impl Fn(&str) -> bool) -> Self {
        let files = &self.files;
        self.checked.findings.retain(|finding| files.get(finding.file).is_some_and(|file| is(&file.name)));
        self
    }

    /// The one definition that is meant.
    ///
    /// # Errors
    /// There is none, or there are several and nobody says which.
    pub fn definition(&self, name: Option<&str>) -> anyhow::Result<(&Object, &Graph)> {
        let mut all = self.definitions();
        all.retain(|(_, graph)| name.is_none_or(|name| graph.rgd_name == name));
        match all.as_slice() {
            [one] => Ok(*one),
            [] if name.is_some() => bail!("there is no ResourceGraphDefinition of that name"),
            [] => bail!("there is no ResourceGraphDefinition"),
            several => {
                let names: Vec<&str> = several.iter().map(|(_, g)| g.rgd_name.as_str()).collect();
                bail!("there are several definitions; choose with --name: {}", names.join(", "))
            }
        }
    }

    /// The objects of a kind, in any version, in the order of the files.
    pub fn objects_of(&self, group: &str, kind: &str) -> Vec<crate::api::Object> {
        let of_kind = self.objects.iter().filter(|o| *o.gvk.group == *group && *o.gvk.kind == *kind);
        of_kind.map(|o| crate::api::Object(o.node.value())).collect()
    }

    /// What a kind is called in paths, where anybody knows it.
    pub fn plural(&self, gvk: &Gvk) -> Option<String> {
        self.checked.known.plural(gvk)
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.checked.findings.iter().filter(|f| f.severity == Severity::Error).count()
    }

    pub fn has_errors(&self) -> bool {
        self.checked.findings.iter().any(|f| f.severity == Severity::Error)
    }
}

impl World {
    /// Reads and judges all that is in the files.
    ///
    /// # Errors
    /// A file, a folder or the cluster cannot be read.
    pub fn judge(&self, paths: &[PathBuf], portable: bool) -> anyhow::Result<Judged> {
        self.judging.judge_those(paths, portable, self.live()?.as_ref(), |_| true)
    }

    /// Reads and judges the definitions alone.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_definitions(&self, paths: &[PathBuf]) -> anyhow::Result<Judged> {
        self.judging.judge_those(paths, false, self.live()?.as_ref(), is_of_definitions)
    }

    /// All objects of files, unjudged.
    ///
    /// # Errors
    /// A file or folder cannot be read, or a document in it.
    pub fn objects(&self, paths: &[PathBuf]) -> anyhow::Result<Vec<crate::api::Object>> {
        let mut all = Vec::new();
        for file in source::files(paths, &Excluded::new(&self.judging.exclude)?)?.files {
            let found = source::objects(0, &file.text);
            if let Some(refused) = found.refusals.first() {
                bail!("{}: {}", file.name, refused.refusal.message);
            }
            all.extend(found.objects.iter().map(|o| crate::api::Object(o.node.value())));
        }
        Ok(all)
    }

    fn live(&self) -> anyhow::Result<Option<Live>> {
        let asked = self.kubeconfig.is_some() || self.context.is_some();
        asked.then(|| Live::connect(self.kubeconfig.as_deref(), self.context.as_deref())).transpose()
    }
}

fn is_of_definitions(object: &Object) -> bool {
    check::is_definition(object) || kinds::is_crd(object)
}

impl Judging {
    /// Whether `omit()` may be used.
    pub fn omit(&self) -> bool {
        self.feature_gates.omit
    }

    /// Reads and judges the definitions alone, by the built-in kinds and those that are given.
    ///
    /// # Errors
    /// A file or a folder cannot be read.
    pub fn judge_definitions(&self, paths: &[PathBuf]) -> anyhow::Result<Judged> {
        self.judge_those(paths, false, None, is_of_definitions)
    }

    fn judge_those(
        &self,
        paths: &[PathBuf],
        portable: bool,
        live: Option<&Live>,
        wanted: impl Fn(&Object) -> bool,
    ) -> anyhow::Result<Judged> {
        self.judge_files(source::files(paths, &Excluded::new(&self.exclude)?)?, portable, live, wanted)
    }

    /// Reads and judges files that were read elsewhere, each with its name.
    ///
    /// # Errors
    /// What is given beside them cannot be read.
    pub fn judge_texts(&self, texts: Vec<(String, String)>) -> anyhow::Result<Judged> {
        let files = texts.into_iter().map(|(name, text)| File { name, text }).collect();
        self.judge_files(Files { files, ignored: 0 }, false, None, |_| true)
    }

    /// All objects of files, each with the name of its file, unjudged.
    ///
    /// # Errors
    /// A file or folder cannot be read, or a document in it.
    pub fn read(&self, paths: &[PathBuf]) -> anyhow::Result<Vec<(String, crate::api::Object)>> {
        let mut all = Vec::new();
        for file in source::files(paths, &Excluded::new(&self.exclude)?)?.files {
            let found = source::objects(0, &file.text);
            if let Some(refused) = found.refusals.first() {
                bail!("{}: {}", file.name, refused.refusal.message);
            }
            let objects = found.objects.iter().map(|o| crate::api::Object(o.node.value()));
            all.extend(objects.map(|object| (file.name.clone(), object)));
        }
        Ok(all)
    }

    /// Judges texts by what a hub serves: a kind that it does not serve is believed, since a cluster may.
    ///
    /// # Errors
    /// What is given beside them cannot be read.
    pub fn judge_served(
        &self,
        texts: Vec<(String, String)>,
        mut documents: Vec<Document>,
    ) -> anyhow::Result<Judged> {
        let files: Vec<File> = texts.into_iter().map(|(name, text)| File { name, text }).collect();
        let (mut objects, mut refusals): (Vec<Object>, Vec<(usize, Refused)>) = (Vec::new(), Vec::new());
        for (position, file) in files.iter().enumerate() {
            let found = source::objects(position, &file.text);
            objects.extend(found.objects);
            refusals.extend(found.refusals.into_iter().map(|refused| (position, refused)));
        }
        let mut crds = Vec::new();
        for path in &self.schemas {
            self.read_schemas(path, &mut documents, &mut crds)?;
        }
        let mut known = Known::new(documents, true, true)?;
        crds.iter().for_each(|crd: &Node| known.add_crd(&crd.value()));
        let options = graph::Options { omit: self.feature_gates.omit, ..graph::Options::default() };
        let read = Read { files: &files, objects: &objects, refusals, ignored: 0 };
        let checked = check::check(read, known, &Judge { options, portable: false });
        Ok(Judged { files, objects, checked })
    }

    /// Whether a path below a folder is one that [`Self::judge_definitions`] would read there.
    ///
    /// # Errors
    /// A pattern of `--exclude` cannot be read.
    pub fn reads(&self) -> anyhow::Result<impl Fn(&Path) -> bool> {
        let excluded = Excluded::new(&self.exclude)?;
        Ok(move |path: &Path| source::is_read(path, &excluded))
    }

    fn judge_files(
        &self,
        files: Files,
        portable: bool,
        live: Option<&Live>,
        wanted: impl Fn(&Object) -> bool,
    ) -> anyhow::Result<Judged> {
        let Files { files, mut ignored } = files;
        let (mut objects, mut refusals): (Vec<Object>, Vec<(usize, Refused)>) = (Vec::new(), Vec::new());
        for (position, file) in files.iter().enumerate() {
            let found = source::objects(position, &file.text);
            objects.extend(found.objects.into_iter().filter(|o| wanted(o)));
            refusals.extend(found.refusals.into_iter().map(|r| (position, r)));
            ignored += found.others;
        }
        let known = self.known(&objects, live)?;
        let options = graph::Options { omit: self.feature_gates.omit, ..graph::Options::default() };
        let read = Read { files: &files, objects: &objects, refusals, ignored };
        let checked = check::check(read, known, &Judge { options, portable });
        Ok(Judged { files, objects, checked })
    }

    fn known(&self, objects: &[Object], live: Option<&Live>) -> anyhow::Result<Known> {
        let (mut documents, mut crds) = (Vec::new(), Vec::new());
        for path in &self.schemas {
            self.read_schemas(path, &mut documents, &mut crds)?;
        }
        if let Some(live) = live {
            documents.extend(live.documents(&check::named_kinds(objects))?);
        }
        let mut known = Known::new(documents, live.is_none(), self.allow_unknown_kinds)?;
        crds.iter().for_each(|crd: &Node| known.add_crd(&crd.value()));
        Ok(known)
    }

    fn read_schemas(
        &self,
        path: &Path,
        documents: &mut Vec<Document>,
        crds: &mut Vec<Node>,
    ) -> anyhow::Result<()> {
        let before = documents.len() + crds.len();
        for file in source::files(&[path.to_owned()], &Excluded::default()).context("--schemas")?.files {
            if file.text.trim_start().starts_with('{') {
                let value: serde_json::Value =
                    serde_json::from_str(&file.text).with_context(|| format!("--schemas {}", file.name))?;
                if value.get("openapi").is_some() {
                    let document =
                        Document::new(value).map_err(|e| anyhow!("--schemas {}: {e}", file.name))?;
                    documents.push(document);
                    continue;
                }
            }
            let found = source::objects(0, &file.text);
            if let Some(refused) = found.refusals.first().filter(|_| found.objects.is_empty()) {
                bail!("--schemas {}: {}", file.name, refused.refusal.message);
            }
            crds.extend(found.objects.into_iter().filter(kinds::is_crd).map(|o| o.node));
        }
        if documents.len() + crds.len() == before {
            bail!(
                "--schemas {}: there is neither a CustomResourceDefinition nor an OpenAPI v3 document",
                path.display()
            );
        }
        Ok(())
    }
}

/// Runs the command: 0 without errors, 1 with errors, 2 if it could not look.
pub fn run(args: Args) -> ExitCode {
    on_large_stack(move || {
        let judged = args.world.judge(&args.paths, args.portable)?;
        Ok(shown(&judged, args.output, false))
    })
}

/// Shows what was found, on standard error if something else goes to standard output.
pub fn shown(judged: &Judged, format: Format, aside: bool) -> ExitCode {
    let Judged { files, checked, .. } = judged;
    let report = Report { files, findings: &checked.findings, counts: checked.counts };
    let terminal = if aside { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = report.text(format, colours);
    // A reader that has seen enough is no error.
    let _seen = if aside {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
    if report.count(Severity::Error) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Compiles as the controller does, and ends with 2 if that could not begin.
pub fn on_large_stack(work: impl FnOnce() -> anyhow::Result<ExitCode> + Send + 'static) -> ExitCode {
    super::on_large_stack(work).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[derive(Debug, ClapArgs)]
pub struct BundleArgs {
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The file to write
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

/// Writes the file of the built-in kinds.
///
/// # Errors
/// The cluster does not answer, or the file cannot be written.
pub fn write_bundle(args: &BundleArgs) -> anyhow::Result<()> {
    let bytes = Live::connect(args.kubeconfig.as_deref(), args.context.as_deref())?.bundle()?;
    std::fs::write(&args.to, bytes).with_context(|| args.to.display().to_string())
}
