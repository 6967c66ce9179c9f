//! Roles as questions to an API server: may this user do that?

use super::{Access, Account, Role, Rule};
use serde_json::{Value, json};

/// One thing that somebody needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub namespace: String,
    /// A path that is of no resource; the fields above but the verb are empty then.
    pub url: String,
    /// Why it is needed.
    pub why: String,
}

impl Access {
    /// Everything that the roles allow, one by one.
    pub fn questions(&self) -> Vec<Question> {
        let of_role = |role: &Role| {
            let namespace = role.namespace.clone().unwrap_or_default();
            role.rules.iter().flat_map(|rule| rule.questions(&namespace)).collect::<Vec<_>>()
        };
        self.roles.iter().flat_map(of_role).collect()
    }
}

impl Rule {
    /// A rule of a role, as questions. `namespace`: that of the role.
    pub fn questions(&self, namespace: &str) -> Vec<Question> {
        let mut out = Vec::new();
        let blank = Question {
            verb: String::new(),
            group: String::new(),
            resource: String::new(),
            subresource: String::new(),
            name: String::new(),
            namespace: namespace.to_owned(),
            url: String::new(),
            why: self.why.clone(),
        };
        let all = vec![String::new()];
        let names = if self.names.is_empty() { &all } else { &self.names };
        for verb in &self.verbs {
            out.extend(self.urls.iter().map(|url| Question {
                verb: verb.clone(),
                url: url.clone(),
                namespace: String::new(),
                ..blank.clone()
            }));
            for group in &self.groups {
                for (resource, subresource) in
                    self.resources.iter().map(|r| r.split_once('/').unwrap_or((r, "")))
                {
                    out.extend(names.iter().map(|name| Question {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.to_owned(),
                        subresource: subresource.to_owned(),
                        name: name.clone(),
                        ..blank.clone()
                    }));
                }
            }
        }
        out
    }
}

impl Question {
    /// `deployments.apps`, `apps.kro.run/status`, `configmaps kro-hub-claim in kube-system`.
    pub fn what(&self) -> String {
        if !self.url.is_empty() {
            return self.url.clone();
        }
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let sub = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        let place = if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        format!("{}{group}{sub}{name}{place}", self.resource)
    }

    /// The review that asks for this ServiceAccount; without one, for whoever asks.
    pub fn review(&self, account: Option<&Account>) -> Value {
        let mut spec = if self.url.is_empty() {
            let set = [
                ("verb", &self.verb),
                ("group", &self.group),
                ("resource", &self.resource),
                ("subresource", &self.subresource),
                ("name", &self.name),
                ("namespace", &self.namespace),
            ];
            let said = set.into_iter().filter(|(_, text)| !text.is_empty());
            json!({"resourceAttributes": said.map(|(k, v)| (k.to_owned(), json!(v))).collect::<serde_json::Map<_, _>>()})
        } else {
            json!({"nonResourceAttributes": {"verb": self.verb, "path": self.url}})
        };
        let kind = match account {
            Some(account) => {
                spec["user"] = json!(account.user());
                spec["groups"] = json!(account.groups());
                "SubjectAccessReview"
            }
            None => "SelfSubjectAccessReview",
        };
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec})
    }
}
