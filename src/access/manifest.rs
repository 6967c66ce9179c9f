//! Roles as text: manifests whose comments say why, a table, and the objects themselves.

use super::{Access, Account, Role, Rule, grants};
use serde_json::{Value, json};
use std::fmt::Write;

/// Where reasons begin, if a line is not longer.
const REASONS: usize = 34;

impl Access {
    /// Manifests for `kubectl apply`, with the reason of each rule beside it.
    pub fn yaml(&self) -> String {
        let mut out = format!("# {}\n", self.title);
        for note in &self.notes {
            let _ = writeln!(out, "# {note}");
        }
        for role in &self.roles {
            out.push_str("---\n");
            role.yaml(&mut out);
            if let Some(account) = &role.bound_to {
                out.push_str("---\n");
                role.binding_yaml(account, &mut out);
            }
        }
        out
    }

    /// A line a rule.
    pub fn table(&self) -> String {
        let mut rows = vec![["RESOURCE", "NAMES", "VERBS", "WHY"].map(str::to_owned)];
        for role in &self.roles {
            rows.extend(role.rules.iter().map(|rule| {
                let place = role.namespace.as_ref().map(|n| format!(" in {n}")).unwrap_or_default();
                let names = if rule.names.is_empty() { "*".to_owned() } else { rule.names.join(" ") };
                [format!("{}{place}", rule.what()), names, rule.verbs.join(" "), rule.why.clone()]
            }));
        }
        let wide =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (first, second, third) = (wide(0), wide(1), wide(2));
        let mut out = String::new();
        for [what, names, verbs, why] in &rows {
            let line = format!("{what:first$}  {names:second$}  {verbs:third$}  {why}");
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        out
    }

    /// What the manifests say, as objects.
    pub fn objects(&self) -> Vec<Value> {
        let both =
            |role: &Role| [Some(role.object()), role.bound_to.as_ref().map(|account| role.binding(account))];
        self.roles.iter().flat_map(both).flatten().collect()
    }
}

impl Role {
    fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "Role" } else { "ClusterRole" }
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({"name": self.name});
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = json!(namespace);
        }
        metadata
    }

    fn object(&self) -> Value {
        let mut metadata = self.metadata();
        for (key, value) in &self.labels {
            metadata["labels"][key] = json!(value);
        }
        let rules: Vec<Value> = self.rules.iter().map(Rule::object).collect();
        json!({"apiVersion": version(), "kind": self.kind(), "metadata": metadata, "rules": rules})
    }

    fn binding(&self, account: &Account) -> Value {
        json!({
            "apiVersion": version(),
            "kind": format!("{}Binding", self.kind()),
            "metadata": self.metadata(),
            "roleRef": {"apiGroup": grants::RBAC, "kind": self.kind(), "name": self.name},
            "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
        })
    }

    fn yaml(&self, out: &mut String) {
        let _ = write!(
            out,
            "apiVersion: {}\nkind: {}\nmetadata:\n  name: {}\n",
            version(),
            self.kind(),
            self.name
        );
        if let Some(namespace) = &self.namespace {
            let _ = writeln!(out, "  namespace: {namespace}");
        }
        if !self.labels.is_empty() {
            out.push_str("  labels:\n");
            for (key, value) in &self.labels {
                let _ = writeln!(out, "    {key}: {}", word(value));
            }
        }
        if self.rules.is_empty() {
            out.push_str("rules: []\n");
            return;
        }
        out.push_str("rules:\n");
        self.rules.iter().for_each(|rule| rule.yaml(out));
    }

    fn binding_yaml(&self, account: &Account, out: &mut String) {
        let kind = self.kind();
        let _ =
            write!(out, "apiVersion: {}\nkind: {kind}Binding\nmetadata:\n  name: {}\n", version(), self.name);
        if let Some(namespace) = &self.namespace {
            let _ = writeln!(out, "  namespace: {namespace}");
        }
        let _ = write!(
            out,
            "roleRef:\n  apiGroup: {}\n  kind: {kind}\n  name: {}\nsubjects:\n- kind: ServiceAccount\n  name: {}\n  namespace: {}\n",
            grants::RBAC,
            self.name,
            account.name,
            account.namespace
        );
    }
}

impl Rule {
    /// `deployments.apps`, `apps.kro.run/status`.
    fn what(&self) -> String {
        if !self.urls.is_empty() {
            return self.urls.join(" ");
        }
        let of = |resource: &String| {
            let (resource, sub) =
                resource.split_once('/').map_or((resource.as_str(), ""), |(r, _)| (r, &resource[r.len()..]));
            let groups = self.groups.iter().map(move |group| match group.as_str() {
                "" => format!("{resource}{sub}"),
                group => format!("{resource}.{group}{sub}"),
            });
            groups.collect::<Vec<String>>()
        };
        self.resources.iter().flat_map(of).collect::<Vec<String>>().join(" ")
    }

    /// The lists that are not empty, as the API calls them.
    fn lists(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        let all = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
            ("verbs", &self.verbs),
        ];
        all.into_iter().filter(|(_, list)| !list.is_empty())
    }

    fn object(&self) -> Value {
        self.lists()
            .map(|(key, list)| (key.to_owned(), json!(list)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn yaml(&self, out: &mut String) {
        for (at, (key, list)) in self.lists().enumerate() {
            let words: Vec<String> = list.iter().map(|text| word(text)).collect();
            let line = format!("{}{key}: [{}]", if at == 0 { "- " } else { "  " }, words.join(", "));
            let _ = match at {
                0 => writeln!(out, "{line:REASONS$} # {}", self.why),
                _ => writeln!(out, "{line}"),
            };
        }
    }
}

fn version() -> String {
    format!("{}/v1", grants::RBAC)
}

/// A text in YAML: in quotes where it would be read as something else.
fn word(text: &str) -> String {
    let mut letters = text.chars();
    let plain = letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_alphanumeric() || ['.', '-', '/', '_'].contains(&c));
    let means = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text);
    if plain && !means { text.to_owned() } else { json!(text).to_string() }
}
