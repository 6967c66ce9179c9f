//! `kro-hub cluster remove`

use super::{Both, confirm, print};
use crate::access::{Account, warnings};
use crate::api::Object;
use crate::edge::Failure;
use crate::edge::clusters::{Leaving, clean, remove, status_of, unwarn};
use clap::{Args as ClapArgs, ValueEnum};
use std::process::ExitCode;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The Cluster
    #[arg(value_name = "NAME")]
    name: String,
    /// What happens to what runs there
    #[arg(long, value_enum, default_value = "keep")]
    workloads: Workloads,
    /// Delete on the cluster all that registering made there, not only what warns of edits: roles, account, tokens, the claim; needs --context
    #[arg(long, requires = "context")]
    clean: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    both: Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workloads {
    Keep,
    Delete,
}

pub fn run(args: Args) -> ExitCode {
    args.both.connecting().run(move || async move { args.go().await })
}

impl Args {
    async fn go(&self) -> Result<ExitCode, Failure> {
        let person = self.both.connecting().person()?;
        let hub = self.both.hub(&person).await?;
        let cluster = hub.known(&self.name).await?;
        // What cannot be cleaned is known before anything goes.
        let spoke = if self.both.context.is_some() { Some(self.both.spoke(&person).await?) } else { None };
        if let Some(spoke) = &spoke {
            let (known, uid) =
                (cluster.str_at("/status/kubeSystemUID"), spoke.system_uid().await?.unwrap_or_default());
            if !known.is_empty() && known != uid {
                return Err(Failure::usage(format!(
                    "context {} is another cluster than Cluster {}; give its own context",
                    spoke.name, self.name
                )));
            }
        }
        let count = hub.instances_on(&self.name).await?;
        eprint!("{}", self.stays(&cluster, count));
        if !confirm(self.yes)? {
            eprintln!("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
        let leaving = match self.workloads {
            Workloads::Keep => Leaving::Keep,
            Workloads::Delete => Leaving::Delete,
        };
        let hub_id = hub.id().await?;
        let took = remove(&hub, &cluster, leaving).await?;
        let fine = if super::plain() { "+" } else { "✓" };
        let secret = cluster.str_at("/spec/credentials/secretRef/name");
        let secret =
            if secret.is_empty() { String::new() } else { format!("{fine} Secret {secret} deleted   ") };
        print(&format!("{secret}{fine} Cluster {} gone after {} s\n", self.name, took.as_secs()));
        match &spoke {
            Some(spoke) if self.clean => {
                let gone = clean(spoke, &Account::on_spoke(), hub_id.as_deref()).await?;
                print(&format!("{fine} deleted on {}: {}\n", spoke.name, gone.join(", ")));
                return Ok(ExitCode::SUCCESS);
            }
            Some(spoke) if unwarn(spoke).await? => {
                print(&format!("{fine} {} warns of edits no more\n", spoke.name));
            }
            Some(_) | None => {}
        }
        if cluster.0.pointer("/spec/local").is_none() {
            print(&self.left_there(spoke.is_some()));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What of registering is still on the cluster. `unwarned`: nothing warns of edits there.
    fn left_there(&self, unwarned: bool) -> String {
        let context = match &self.both.context {
            Some(context) => context.clone(),
            None => format!("CONTEXT-OF-{}", self.name),
        };
        let access = format!(
            "access on the cluster stays: kro-hub rbac --for spoke | kubectl --context {context} delete -f -\n"
        );
        if unwarned {
            return access;
        }
        let policy = warnings::POLICY;
        format!(
            "{access}so do warnings of edits (--warn-on-edit), untrue from now on: kubectl --context {context} delete \
             validatingadmissionpolicybinding,validatingadmissionpolicy {policy} --ignore-not-found\n"
        )
    }

    fn stays(&self, cluster: &Object, count: usize) -> String {
        let id = status_of(cluster).cluster_id;
        match self.workloads {
            Workloads::Delete => format!("{count} instances are deleted there first; that needs contact\n"),
            Workloads::Keep if count == 0 => "no instance is there\n".to_owned(),
            Workloads::Keep => format!(
                "stays there: {count} instances with all that they made; left-{id} on the hub remembers them \
                 (--workloads=delete takes them with it; needs contact)\n"
            ),
        }
    }
}
