//! `kro-hub rbac`: the least rights that definitions need, each with its reason.

use super::connection::Connecting;
use super::validate::{self, Definitions, Judged, Judging, OfHub};
use crate::access::{self, Access, Account, Definition, Granted, Source};
use crate::api::Gvk;
use crate::edge::{Connection, Failure};
use crate::hub::resources;
use crate::schema::openapi::{self, Document};
use crate::spoke::discovery;
use crate::spoke::lists::Which;
use anyhow::{Context, anyhow, bail};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Files, or folders, with ResourceGraphDefinitions; - is standard input. Without any: the definitions of the hub
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    judging: Judging,
    #[command(flatten)]
    whose: Whose,
    /// Say what the cluster of this context lacks of the rights instead
    #[arg(long, value_name = "CONTEXT")]
    check: Option<String>,
    /// yaml for kubectl apply, or a table
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    #[command(flatten)]
    connecting: Connecting,
}

/// For whom the rights are.
#[derive(Debug, ClapArgs)]
pub struct Whose {
    /// The hub on its spokes, the controller on the hub, or people with the generated kinds
    #[arg(long = "for", value_enum, default_value = "spoke", value_name = "WHOM")]
    whom: Whom,
    /// The ServiceAccount that gets the rights on a spoke
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account)]
    service_account: Option<Account>,
    /// Children may live on the hub itself, as with a local Cluster
    #[arg(long)]
    local: bool,
    /// Roles whose rules are added: what templates grant and do not write out
    #[arg(long, value_name = "FILE")]
    grants: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Whom {
    Spoke,
    Hub,
    Tenant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Table,
}

fn account(text: &str) -> Result<Account, String> {
    Account::parse(text).ok_or_else(|| format!("{text:?}: write NAMESPACE/NAME"))
}

impl Whose {
    /// The rights for these definitions.
    pub fn access(
        &self,
        definitions: &[Definition<'_>],
        plural: &dyn Fn(&Gvk) -> Option<String>,
        local: bool,
    ) -> anyhow::Result<Access> {
        let mut granted = Vec::new();
        for path in &self.grants {
            granted.extend(grants(path)?);
        }
        let source = Source { definitions, plural, granted: &granted, local: self.local || local };
        Ok(match self.whom {
            Whom::Spoke => access::spoke(&source, &self.account()),
            Whom::Hub => access::hub(&source),
            Whom::Tenant => access::tenant(&source),
        })
    }

    /// Who has the rights.
    pub fn account(&self) -> Account {
        let usual = match self.whom {
            Whom::Spoke | Whom::Tenant => Account::on_spoke(),
            Whom::Hub => Account::of_controller(),
        };
        self.service_account.clone().unwrap_or(usual)
    }
}

fn grants(path: &Path) -> anyhow::Result<Vec<Granted>> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("--grants {shown}"))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|e| anyhow!("--grants {shown}: {e}"))?;
    let mut out = Vec::new();
    for document in documents.iter().filter(|d| !d.is_null()) {
        out.extend(Granted::read(document, &format!("--grants {shown}")).map_err(|e| anyhow!(e))?);
    }
    if out.is_empty() {
        bail!("--grants {shown}: there is no rule in it");
    }
    Ok(out)
}

/// Prints the roles, or what a cluster lacks of them. A definition that does not compile is told on standard error, the rest
/// is printed, and the exit code is 1.
pub fn run(args: Args) -> ExitCode {
    args.connecting.clone().run(move || async move { args.go().await })
}

impl Args {
    async fn go(&self) -> Result<ExitCode, Failure> {
        let (access, whole) = if self.paths.is_empty() {
            let from_hub = of_hub(&self.connecting.person()?.hub().await?, &self.judging).await?;
            (from_hub.of(&self.whose).map_err(wrong)?, from_hub.is_whole())
        } else {
            self.of_files().map_err(wrong)?
        };
        if let Some(context) = &self.check {
            let cluster = self.connecting.person()?.connect(context).await?;
            return self.lacks(&cluster, &access, whole).await;
        }
        let text = match self.output {
            Format::Yaml => access.yaml(),
            Format::Table => access.table(),
        };
        // A reader that has seen enough is no error.
        let _seen = std::io::stdout().write_all(text.as_bytes());
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn of_files(&self) -> anyhow::Result<(Access, bool)> {
        let judged = self.judging.judge_definitions(&self.paths)?;
        let definitions = judged.definitions();
        if definitions.is_empty() && !judged.has_errors() {
            eprintln!(
                "warning: there is no ResourceGraphDefinition, so these are the rights that are always needed"
            );
        }
        tell(&judged);
        let definitions: Vec<Definition<'_>> =
            definitions.into_iter().map(|(_, graph)| Definition { graph, older: None }).collect();
        let access = self.whose.access(&definitions, &|gvk| judged.plural(gvk), false)?;
        Ok((access, !judged.has_errors()))
    }

    async fn lacks(&self, cluster: &Connection, access: &Access, whole: bool) -> Result<ExitCode, Failure> {
        let account = Some(self.whose.account()).filter(|_| self.whose.whom != Whom::Tenant);
        let questions = access.questions();
        let denied = cluster.denied(&questions, account.as_ref()).await?;
        let who = account.as_ref().map_or_else(|| "you".to_owned(), Account::user);
        let mut out = format!(
            "{}: {who} has {} of {} rights\n",
            cluster.name,
            questions.len() - denied.len(),
            questions.len()
        );
        for question in &denied {
            out.push_str(&format!("  {} {} ({})\n", question.verb, question.what(), question.why));
        }
        let _seen = std::io::stdout().write_all(out.as_bytes());
        Ok(if denied.is_empty() && whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn wrong(error: anyhow::Error) -> Failure {
    Failure::usage(format!("{error:#}"))
}

/// What the definitions of a hub need.
pub struct FromHub {
    hub: OfHub,
    local: bool,
}

/// Reads and judges the definitions of a hub; names those that do not compile on standard error.
///
/// # Errors
/// They cannot be read.
pub async fn of_hub(hub: &Connection, judging: &Judging) -> Result<FromHub, Failure> {
    let list = |resource| async move {
        let read: Vec<Value> =
            hub.list(&resource, Which::default()).await?.into_iter().map(|o| o.0).collect();
        Ok::<_, Failure>(read)
    };
    let definitions = list(resources::definitions()).await?;
    let revisions = list(resources::revisions()).await?;
    let clusters = list(resources::clusters()).await?;
    let local = clusters.iter().any(|c| c.pointer("/spec/local") == Some(&Value::Bool(true)));
    let definitions = Definitions::read(definitions, &revisions).map_err(wrong)?;
    let documents = documents(hub, &definitions.documents()).await?;
    let hub = definitions.judge(documents, judging.omit()).map_err(wrong)?;
    tell(&hub.judged);
    for (definition, number, problem) in &hub.unfit {
        eprintln!(
            "warning: revision {number} of {definition} does not compile any more, so nothing is said of it: {problem}"
        );
    }
    Ok(FromHub { hub, local })
}

/// What a hub says of the kinds in documents of these names.
///
/// # Errors
/// One cannot be read.
pub async fn documents(hub: &Connection, names: &BTreeSet<String>) -> Result<Vec<Document>, Failure> {
    let index = openapi::index(&path(hub, "/openapi/v3").await?);
    let mut documents = Vec::new();
    for url in names.iter().filter_map(|name| index.get(name)) {
        let document = Document::new(path(hub, url).await?);
        documents.push(document.map_err(|why| Failure::usage(format!("{url} of {}: {why}", hub.server)))?);
    }
    Ok(documents)
}

async fn path(hub: &Connection, path: &str) -> Result<Value, Failure> {
    let read = hub.within(&format!("get {path}"), hub.verbs().get_json(path)).await?;
    read.ok_or_else(|| Failure::usage(format!("{} has no {path}", hub.server)))
}

impl FromHub {
    fn definitions(&self) -> Vec<Definition<'_>> {
        let now =
            self.hub.judged.definitions().into_iter().map(|(_, graph)| Definition { graph, older: None });
        let older = self.hub.older.iter().map(|(number, graph)| Definition { graph, older: Some(*number) });
        now.chain(older).collect()
    }

    /// Whether all definitions compile.
    pub fn is_whole(&self) -> bool {
        !self.hub.judged.has_errors()
    }

    fn of(&self, whose: &Whose) -> anyhow::Result<Access> {
        whose.access(&self.definitions(), &|gvk| self.hub.judged.plural(gvk), self.local)
    }

    /// What the hub needs on a spoke.
    pub fn access(&self, account: &Account) -> Access {
        let plural = |gvk: &Gvk| self.hub.judged.plural(gvk);
        let source =
            Source { definitions: &self.definitions(), plural: &plural, granted: &[], local: self.local };
        access::spoke(&source, account)
    }

    /// What the controller needs on the hub for them.
    pub fn on_hub(&self) -> Access {
        let plural = |gvk: &Gvk| self.hub.judged.plural(gvk);
        access::hub(&Source {
            definitions: &self.definitions(),
            plural: &plural,
            granted: &[],
            local: self.local,
        })
    }

    /// How many definitions there are, and how many kinds they name.
    pub fn counts(&self) -> (usize, usize) {
        let definitions = self.hub.judged.definitions();
        let kinds: BTreeSet<&Gvk> =
            definitions.iter().flat_map(|(_, g)| g.nodes.iter().map(|n| &n.gvk)).collect();
        (definitions.len(), kinds.len())
    }

    /// The kinds that a cluster does not serve and definitions name there: the kind, and the definition.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn not_served(&self, cluster: &Connection) -> Result<Vec<(String, String)>, Failure> {
        let definitions = self.hub.judged.definitions();
        let generated: BTreeSet<&Gvk> = definitions.iter().map(|(_, g)| &g.gvk).collect();
        let mut wanted: BTreeMap<&Gvk, &str> = BTreeMap::new();
        for (_, graph) in &definitions {
            // A generated kind is brought there.
            let here = graph.nodes.iter().filter(|n| !n.on_hub && !generated.contains(&n.gvk));
            wanted.extend(here.map(|n| (&n.gvk, graph.rgd_name.as_str())));
        }
        let mut missing = Vec::new();
        for (gvk, definition) in wanted {
            let what = format!("read what {} serves", cluster.name);
            if !cluster.within(&what, discovery::is_served(cluster.verbs(), gvk)).await? {
                missing.push((gvk.to_string(), definition.to_owned()));
            }
        }
        Ok(missing)
    }
}

/// Definitions that do not compile are named on standard error.
fn tell(judged: &Judged) {
    if judged.has_errors() {
        let _told = validate::shown(judged, validate::Format::Text, true);
    }
}
