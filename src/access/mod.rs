//! The rights that somebody needs so that definitions work: the hub on its spokes, the controller on the hub, and people with
//! the kinds that definitions generate. The least that does, from the definitions alone, each rule with its reason.
//!
//! Pure: compiled graphs in, roles out. What RBAC cannot say is a note beside the roles.

mod book;
pub mod check;
mod grants;
mod manifest;
mod question;
pub mod register;
mod roles;
#[cfg(test)]
mod tests;
pub mod warnings;

pub use grants::Granted;
pub use question::Question;
pub use roles::{CLAIM_ROLE, SPOKE_ROLE, hub, spoke, tenant};

use crate::api::Gvk;
use crate::graph::Graph;

/// A definition that somebody's rights follow from.
#[derive(Clone, Copy)]
pub struct Definition<'a> {
    pub graph: &'a Graph,
    /// An older revision, which some cluster may still run by.
    pub older: Option<i64>,
}

impl Definition<'_> {
    /// What it is called in reasons.
    fn label(&self) -> String {
        match self.older {
            Some(number) => format!("{} revision {number}", self.graph.rgd_name),
            None => self.graph.rgd_name.clone(),
        }
    }
}

/// What rights follow from.
pub struct Source<'a> {
    pub definitions: &'a [Definition<'a>],
    /// The plural of a kind, where anybody knows it.
    pub plural: &'a dyn Fn(&Gvk) -> Option<String>,
    /// Rules that templates grant and do not write out.
    pub granted: &'a [Granted],
    /// Whether a Cluster stands for the hub itself, so that all children may live there.
    pub local: bool,
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub namespace: String,
    pub name: String,
}

impl Account {
    /// The one that the hub uses on a spoke.
    pub fn on_spoke() -> Self {
        Self { namespace: "kro-hub-access".into(), name: "kro-hub".into() }
    }
    /// The one that the controller runs as.
    pub fn of_controller() -> Self {
        Self { namespace: "kro-hub".into(), name: "kro-hub".into() }
    }
    /// `NAMESPACE/NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let whole = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        whole.then(|| Self { namespace: namespace.into(), name: name.into() })
    }
    /// How API servers call it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
    /// The groups that API servers put it in.
    pub fn groups(&self) -> [String; 3] {
        [
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{}", self.namespace),
            "system:authenticated".into(),
        ]
    }
}

/// One rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    /// Empty: all.
    pub names: Vec<String>,
    /// Paths that are of no resource.
    pub urls: Vec<String>,
    pub verbs: Vec<String>,
    /// Who needs it, and what for.
    pub why: String,
}

/// A ClusterRole, or a Role where it has a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub namespace: Option<String>,
    pub labels: Vec<(String, String)>,
    pub rules: Vec<Rule>,
    /// Who gets it. None where a label adds it to another role.
    pub bound_to: Option<Account>,
}

/// Roles, and what they cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What it is, in a sentence.
    pub title: String,
    pub roles: Vec<Role>,
    pub notes: Vec<String>,
}

impl Access {
    /// How many rules there are in all.
    pub fn rules(&self) -> usize {
        self.roles.iter().map(|role| role.rules.len()).sum()
    }
}
