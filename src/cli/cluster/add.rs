//! `kro-hub cluster add`

use super::{Both, confirm, print};
use crate::access::register::{self, Says, Way};
use crate::access::{Access, Account, Question, warnings};
use crate::api::cluster::ChildNamespaces;
use crate::cli::bounds::child_namespaces;
use crate::cli::rbac::{self, FromHub};
use crate::cli::validate::Judging;
use crate::edge::clusters::{Hub, Order, Surveyed, TokenKind, enrol, survey, warns};
use crate::edge::{Connection, Failure, Person};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Name of the Cluster on the hub
    #[arg(value_name = "NAME")]
    name: String,
    /// Labels of the Cluster
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// Rights of the hub there: least, admin, or a file with roles and bindings
    #[arg(long, value_name = "least|admin|FILE", default_value = "least")]
    access: String,
    /// Address that the hub reaches the cluster by [default: that of the context]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Certificates of the authority of that address [default: those of the context]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// secret lasts until it is deleted; bound ends by itself
    #[arg(long, value_enum, default_value = "secret")]
    token: Token,
    /// Let the cluster warn people who change there what the hub keeps
    #[arg(long)]
    warn_on_edit: bool,
    /// Only instances of these namespaces may be placed there
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    allowed_namespaces: Vec<String>,
    /// Into which namespaces instances may write their resources there: Any, Own, or Own and more, as `Own,logs`
    #[arg(long, value_name = "POLICY", value_parser = child_namespaces)]
    child_namespaces: Option<ChildNamespaces>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what belongs into Git instead, without any secret
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do not wait until the controller has connected
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    both: Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Token {
    Secret,
    Bound,
}

impl From<Token> for TokenKind {
    fn from(token: Token) -> Self {
        match token {
            Token::Secret => Self::Secret,
            Token::Bound => Self::Bound,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write KEY=VALUE"))?;
    if key.is_empty() {
        return Err(format!("{text:?}: write KEY=VALUE"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub fn run(args: Args) -> ExitCode {
    args.both.connecting().run(move || async move { args.go().await })
}

impl Args {
    async fn go(&self) -> Result<ExitCode, Failure> {
        let person = self.both.connecting().person()?;
        let hub = self.both.hub(&person).await?;
        let spoke = self.both.spoke(&person).await?;
        let way = self.way(&person, &spoke.name)?;
        let account = Account::on_spoke();
        let from_hub = rbac::of_hub(&hub.connection, &Judging::default()).await?;
        let (roles, access) = self.roles(&from_hub, &account)?;
        let questions = access.as_ref().map(Access::questions).unwrap_or_default();
        if self.output == Some(Format::Yaml) {
            print(&self.manifests(&hub, &way, &account, &roles));
            return Ok(ExitCode::SUCCESS);
        }
        let found = survey(&self.name, &hub, &spoke, &self.needs(&account, &questions)).await?;
        let missing = from_hub.not_served(&spoke).await?;
        let sides = Sides {
            found: &found,
            hub: &hub,
            spoke: &spoke,
            way: &way,
            from_hub: &from_hub,
            missing: &missing,
        };
        eprint!("{}", self.summary(&sides));
        if let Some(why) = register::refusal(&found.survey) {
            return Err(Failure::usage(format!("{why}; nothing was written")));
        }
        allowed(&found)?;
        if self.warn_on_edit {
            warns(&spoke).await?;
        }
        let granted = match &access {
            Some(access) => format!("roles of {} rules (kro-hub rbac shows them)", access.rules()),
            None => format!("{} objects of {}", roles.len(), self.access),
        };
        eprint!("{}", self.writes(&sides, &account, &granted));
        if self.dry_run {
            eprintln!("nothing was written: --dry-run");
            return Ok(ExitCode::SUCCESS);
        }
        if !confirm(self.yes)? {
            eprintln!("nothing was written");
            return Ok(ExitCode::FAILURE);
        }
        let order = Order {
            way,
            labels: self.labels.clone(),
            says: self.says(),
            account,
            roles,
            warnings: self.warnings(),
            questions,
            token: self.token.into(),
        };
        let tried = enrol(&hub, &spoke, &found.survey, &order).await?;
        let (fine, dubious) = if super::plain() { ("+", "!") } else { ("✓", "‼") };
        let tried = tried.err().map(|why| format!("   {dubious} {why}")).unwrap_or_default();
        print(&format!("{fine} access   {fine} Secret{tried}"));
        if self.no_wait {
            print("\n");
            return Ok(ExitCode::SUCCESS);
        }
        match hub.wait_ready(&self.name, None).await {
            Ok(took) => {
                print(&format!("   {fine} Cluster {} Ready after {} s\n", self.name, took.as_secs()));
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => {
                print("\n");
                Err(failure)
            }
        }
    }

    /// How the hub will reach it.
    fn way(&self, person: &Person, context: &str) -> Result<Way, Failure> {
        let mut way = match (person.way(context), &self.server, &self.ca_file) {
            // What the context says of the server does not matter then.
            (Err(_), Some(server), Some(_)) if person.has_context(context) => {
                Way { server: server.clone(), authority: None, tls_server_name: None }
            }
            (way, ..) => way?,
        };
        if let Some(server) = &self.server {
            way.server = server.trim_end_matches('/').to_owned();
            way.tls_server_name = None;
        } else if register::is_loopback(&way.server) {
            return Err(Failure::usage(format!(
                "context {}: {} is reached from this machine alone; give the address that the hub reaches it by with --server",
                context, way.server
            )));
        }
        if let Some(path) = &self.ca_file {
            let read = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("--ca-file {}: {error}", path.display())))?;
            way.authority = Some(read);
        }
        Ok(way)
    }

    /// What is applied on the spoke, and where we know what it allows: that.
    fn roles(&self, from_hub: &FromHub, account: &Account) -> Result<(Vec<Value>, Option<Access>), Failure> {
        let known = match self.access.as_str() {
            "least" => from_hub.access(account),
            "admin" => register::admin(account),
            path => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::usage(format!("--access {path}: {error}; write least, admin or a file"))
                })?;
                let all: Vec<Value> = serde_saphyr::from_multiple(&text)
                    .map_err(|error| Failure::usage(format!("--access {path}: {error}")))?;
                let roles: Vec<Value> = all.into_iter().filter(|d| !d.is_null()).collect();
                let foreign = roles.iter().find(|r| {
                    let version = r.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
                    !version.starts_with("rbac.authorization.k8s.io/")
                });
                if foreign.is_some() || roles.is_empty() {
                    return Err(Failure::usage(format!(
                        "--access {path}: it must hold roles and bindings, and nothing else"
                    )));
                }
                return Ok((roles, None));
            }
        };
        Ok((known.objects(), Some(known)))
    }

    /// What the Cluster is to say.
    fn says(&self) -> Says {
        Says {
            allowed_namespaces: self.allowed_namespaces.clone(),
            child_namespaces: self.child_namespaces.clone(),
        }
    }

    /// What warns of edits there, where that is wanted.
    fn warnings(&self) -> Vec<Value> {
        if self.warn_on_edit { warnings::of_edits() } else { Vec::new() }
    }

    fn summary(&self, sides: &Sides<'_>) -> String {
        let Sides { found, hub, spoke, way, from_hub, missing } = sides;
        let survey = &found.survey;
        let claim = match &survey.claim {
            None => "not claimed".to_owned(),
            Some(id) if Some(id) == survey.hub_id.as_ref() => "claimed by this hub".to_owned(),
            Some(id) => format!("claimed by hub {id}"),
        };
        let is_registered = survey
            .clusters
            .iter()
            .any(|c| c.pointer("/metadata/name").and_then(Value::as_str) == Some(&self.name));
        let registered = if is_registered { "registered" } else { "not registered" };
        let mut out =
            format!("spoke  {}   {}   id {}   {claim}, {registered}\n", way.server, found.version, survey.id);
        let id = survey.hub_id.clone().unwrap_or_else(|| "not known: no controller ran yet".into());
        let (definitions, kinds) = from_hub.counts();
        let _ = writeln!(
            out,
            "hub    {}   id {id}   {definitions} definitions need {kinds} kinds",
            hub.connection.name
        );
        let (fine, dubious) = if super::plain() { ("+", "!") } else { ("✓", "‼") };
        if found.denied.is_empty() {
            let _ = writeln!(
                out,
                "  {fine} your rights on {}: account, roles without escalation, bindings",
                spoke.name
            );
        }
        for (what, definition) in *missing {
            let _ = writeln!(
                out,
                "  {dubious} not served there: {what} (instances of {definition} will be Incompatible)"
            );
        }
        for note in from_hub.access(&Account::on_spoke()).notes {
            let _ = writeln!(out, "  {dubious} {note}");
        }
        out
    }

    fn writes(&self, sides: &Sides<'_>, account: &Account, roles: &str) -> String {
        let (spoke, hub) = (sides.spoke, sides.hub);
        let labels: Vec<String> = self.labels.iter().map(|(k, v)| format!(" {k}={v}")).collect();
        let warned = if self.warn_on_edit {
            format!(", ValidatingAdmissionPolicy {}", warnings::POLICY)
        } else {
            String::new()
        };
        let cluster = match register::said(&self.says()).as_str() {
            "" => String::new(),
            said => format!(", Cluster {} with {said}", self.name),
        };
        format!(
            "creates on {}: namespace {}, ServiceAccount {}, token, {roles}{warned}\n\
             creates on the hub: Secret {}/{}, labels hub.kro.run/cluster=true{}{cluster}\n",
            spoke.name,
            account.namespace,
            account.name,
            hub.namespace,
            self.name,
            labels.concat()
        )
    }

    /// What the person has to be allowed on the spoke: to make the account, and to hold what is granted to it.
    fn needs(&self, account: &Account, granted: &[Question]) -> Vec<Question> {
        let question = |verb: &str, group: &str, resource: &str, namespace: &str, why: &str| Question {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: String::new(),
            name: String::new(),
            namespace: namespace.into(),
            url: String::new(),
            why: why.into(),
        };
        let rbac = "rbac.authorization.k8s.io";
        let mut all = Vec::new();
        for verb in ["create", "patch"] {
            all.push(question(verb, "", "namespaces", "", "the namespace of the account"));
            for resource in ["serviceaccounts", "secrets"] {
                all.push(question(verb, "", resource, &account.namespace, "the account of the hub"));
            }
            for (resource, namespace) in [
                ("clusterroles", ""),
                ("clusterrolebindings", ""),
                ("roles", "kube-system"),
                ("rolebindings", "kube-system"),
            ] {
                all.push(question(verb, rbac, resource, namespace, "the rights of the hub"));
            }
        }
        for resource in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
            for verb in ["get", "create", "patch"].into_iter().filter(|_| self.warn_on_edit) {
                all.push(question(verb, warnings::ADMISSION, resource, "", "--warn-on-edit"));
            }
        }
        all.extend(
            granted.iter().map(|q| Question {
                why: format!("who grants a right must hold it; {}", q.why),
                ..q.clone()
            }),
        );
        all
    }

    /// What belongs into Git: one part for the spoke, one for the hub. The token does not.
    fn manifests(&self, hub: &Hub, way: &Way, account: &Account, roles: &[Value]) -> String {
        let survey = crate::access::register::Survey {
            name: self.name.clone(),
            hub_namespace: hub.namespace.clone(),
            ..Default::default()
        };
        let mut out = format!("# For {}: apply it there.\n", self.name);
        let secret = register::token_secret(account, "kro-hub-token");
        let on_spoke = register::account(account)
            .into_iter()
            .chain([secret])
            .chain(roles.iter().cloned())
            .chain(self.warnings());
        let yaml = |object: &Value| serde_saphyr::to_string(object).unwrap_or_default();
        for object in on_spoke {
            let _ = write!(out, "---\n{}\n", yaml(&object).trim_end());
        }
        let cluster = register::cluster(&survey, &self.labels, &self.says());
        let _ = write!(out, "---\n# For the hub.\n{}\n", yaml(&cluster).trim_end());
        let mut secret = register::secret(&survey, &self.labels, way, "");
        if let Some(fields) = secret.as_object_mut() {
            fields.remove("data");
            fields.insert(
                "stringData".into(),
                serde_json::json!({"kubeconfig": register::kubeconfig(way, "TOKEN")}),
            );
        }
        let _ = write!(
            out,
            "---\n# TOKEN is data.token of Secret {}/kro-hub-token of {}, decoded. Encrypt this document before it goes into Git\n\
             # (sops --encrypt --encrypted-regex '^stringData$'), or let an ExternalSecret make it.\n{}\n",
            account.namespace,
            self.name,
            yaml(&secret).trim_end()
        );
        out
    }
}

/// Whether the person may do all that is needed.
fn allowed(found: &Surveyed) -> Result<(), Failure> {
    let Some(first) = found.denied.first() else { return Ok(()) };
    let more = found.denied.len() - 1;
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(Failure::usage(format!(
        "you may not {} {}{others} ({}); nothing was written. Use a context of an administrator",
        first.verb,
        first.what(),
        first.why
    )))
}

/// What was found before anything is written.
struct Sides<'a> {
    found: &'a Surveyed,
    hub: &'a Hub,
    spoke: &'a Connection,
    way: &'a Way,
    from_hub: &'a FromHub,
    /// Kinds that are not served there, with their definitions.
    missing: &'a [(String, String)],
}
