//! Goldens, and what must hold of any roles.

use super::{Access, Account, Definition, Granted, Source, hub, spoke, tenant};
use crate::api::Gvk;
use crate::api::rgd::ResourceGraphDefinition;
use crate::graph::{self, Graph, Options};
use crate::schema::kinds::Anywhere;
use serde_json::{Value, json};

fn compiled(yaml: &str) -> Graph {
    let rgd: ResourceGraphDefinition = serde_saphyr::from_str(yaml).unwrap();
    graph::compile(&rgd, &Options::default(), &Anywhere).unwrap_or_else(|e| panic!("{e:?}"))
}

fn definition(name: &str, schema: &str, resources: &str) -> Graph {
    compiled(&format!(
        "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {{name: {name}}}\n\
         spec:\n  schema: {schema}\n  resources:\n{resources}"
    ))
}

fn webapp() -> Graph {
    definition(
        "webapp",
        "{apiVersion: v1alpha1, kind: WebApp, spec: {size: integer}}",
        "
  - id: deployment
    template: {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 1}}
  - id: service
    template: {apiVersion: v1, kind: Service, metadata: {name: a}}
  - id: defaults
    externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: defaults}}
  - id: ingress
    template: {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}}
  - id: database
    template:
      apiVersion: cloud.example.org/v1
      kind: Database
      metadata: {name: a, annotations: {hub.kro.run/target: hub}}
",
    )
}

fn api() -> Graph {
    definition(
        "api",
        "{apiVersion: v1, kind: Api, group: shop.io, spec: {size: integer}}",
        "
  - id: web
    template: {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 1}}
  - id: front
    template: {apiVersion: kro.run/v1alpha1, kind: WebApp, metadata: {name: a}, spec: {size: 1}}
  - id: credentials
    template: {apiVersion: v1, kind: Secret, metadata: {name: a}}
  - id: role
    template:
      apiVersion: rbac.authorization.k8s.io/v1
      kind: Role
      metadata: {name: a}
      rules:
      - {apiGroups: [''], resources: [pods, pods/log], verbs: [get]}
      - {apiGroups: [''], resources: [secrets], resourceNames: ['${credentials.metadata.name}'], verbs: [get]}
  - id: own
    template:
      apiVersion: rbac.authorization.k8s.io/v1
      kind: RoleBinding
      metadata: {name: a}
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: '${role.metadata.name}'}
  - id: viewers
    template:
      apiVersion: rbac.authorization.k8s.io/v1
      kind: RoleBinding
      metadata: {name: b}
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
",
    )
}

/// What an API server would say.
fn plural(gvk: &Gvk) -> Option<String> {
    let known = ["deployments", "services", "configmaps", "ingresses", "secrets", "roles", "rolebindings"];
    let kind = gvk.kind.to_lowercase();
    let of = |plural: &&&str| **plural == format!("{kind}s") || **plural == format!("{kind}es");
    known.iter().find(of).map(|p| (*p).to_owned())
}

fn with<T>(
    graphs: &[(&Graph, Option<i64>)],
    granted: &[Granted],
    local: bool,
    ask: impl Fn(&Source<'_>) -> T,
) -> T {
    let definitions: Vec<Definition<'_>> =
        graphs.iter().map(|(graph, older)| Definition { graph, older: *older }).collect();
    ask(&Source { definitions: &definitions, plural: &plural, granted, local })
}

fn on_spoke(graphs: &[(&Graph, Option<i64>)]) -> Access {
    with(graphs, &[], false, |source| spoke(source, &Account::on_spoke()))
}

#[test]
fn the_least_rights_of_a_spoke() {
    let (webapp, api) = (webapp(), api());
    insta::assert_snapshot!("spoke", on_spoke(&[(&webapp, None), (&api, None)]).yaml());
    insta::assert_snapshot!("spoke_table", on_spoke(&[(&webapp, None)]).table());
}

#[test]
fn rights_on_the_hub() {
    let (webapp, api) = (webapp(), api());
    let all = [(&webapp, None), (&api, None)];
    insta::assert_snapshot!("hub", with(&all, &[], false, hub).yaml());
    insta::assert_snapshot!("hub_local", with(&all, &[], true, hub).table());
    let only = with(
        &[(
            &definition(
                "d",
                "{apiVersion: v1, kind: D}",
                "  - id: a\n    template: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
            ),
            None,
        )],
        &[],
        false,
        hub,
    );
    assert_eq!(only.rules(), 0);
    assert!(only.yaml().contains("rules: []"), "{}", only.yaml());
}

#[test]
fn rights_of_people() {
    let (webapp, api) = (webapp(), api());
    insta::assert_snapshot!("tenant", with(&[(&webapp, None), (&api, None)], &[], false, tenant).yaml());
}

/// What a cluster still runs by needs rights until it is gone: else its children could not be pruned.
#[test]
fn an_older_revision_keeps_its_rights() {
    let old = definition(
        "webapp",
        "{apiVersion: v1alpha1, kind: WebApp, spec: {size: integer}}",
        "  - id: legacy\n    template: {apiVersion: batch/v1, kind: CronJob, metadata: {name: a}}\n",
    );
    let new = webapp();
    let why = |access: &Access| {
        let rules = &access.roles[0].rules;
        rules.iter().find(|r| r.groups == ["batch"]).map(|r| r.why.clone())
    };
    assert_eq!(why(&on_spoke(&[(&new, None)])), None);
    assert_eq!(
        why(&on_spoke(&[(&new, None), (&old, Some(6))])).as_deref(),
        Some("webapp revision 6: legacy")
    );
    let people = with(&[(&new, None), (&old, Some(6))], &[], false, tenant);
    assert!(!people.yaml().contains("revision 6"), "people see the kind, whatever its revision");
}

#[test]
fn the_text_says_what_the_objects_say() {
    let (webapp, api) = (webapp(), api());
    let role = json!({"kind": "ClusterRole", "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let granted = Granted::read(&role, "--grants g.yaml").unwrap();
    let all = [(&webapp, None), (&api, Some(3))];
    for access in [
        with(&all, &granted, false, |s| spoke(s, &Account::parse("a/b").unwrap())),
        with(&all, &granted, true, hub),
        with(&all, &[], false, tenant),
        with(&[], &[], false, hub),
    ] {
        let read: Vec<Value> = serde_saphyr::from_multiple(&access.yaml()).unwrap();
        let objects: Vec<Value> = read.into_iter().filter(|d| !d.is_null()).collect();
        assert_eq!(objects, access.objects(), "{}", access.yaml());
        for rule in access.roles.iter().flat_map(|r| &r.rules) {
            assert!(!rule.why.is_empty() && !rule.why.contains('\n') && !rule.verbs.is_empty(), "{rule:?}");
        }
    }
}

#[test]
fn what_is_granted_is_held_or_told() {
    let text = on_spoke(&[(&webapp(), None), (&api(), None)]);
    let notes = text.notes.join("\n");
    assert!(notes.contains("api, node role: rules[1] is no literal"), "{notes}");
    assert!(!notes.contains("node own"), "its role is made beside it: {notes}");
    for (role, what) in [
        (
            "apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, aggregationRule: {clusterRoleSelectors: []}",
            "aggregationRule",
        ),
        (
            "apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}, rules: '${schema.spec.rules}'",
            "its rules is no literal",
        ),
        (
            "apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {kind: Role, name: '${schema.spec.role}'}",
            "which Role it binds is no literal",
        ),
    ] {
        let graph = definition(
            "d",
            "{apiVersion: v1, kind: D, spec: {role: string, rules: object}}",
            &format!("  - id: n\n    template: {{{role}}}\n"),
        );
        let notes = on_spoke(&[(&graph, None)]).notes.join("\n");
        assert!(notes.contains(what), "{what}: {notes}");
    }
    for (wrong, why) in [
        (json!({"kind": "Pod"}), "neither"),
        (json!({"kind": "Role", "rules": [{"verbs": ["${x}"]}]}), "rules[0]"),
        (json!({"kind": "Role", "rules": [{"resources": ["pods"]}]}), "rules[0]"),
    ] {
        assert!(Granted::read(&wrong, "f").unwrap_err().contains(why));
    }
}

#[test]
fn each_right_is_a_question() {
    let access = on_spoke(&[(&webapp(), None)]);
    let questions = access.questions();
    let shown: Vec<String> = questions.iter().map(|q| format!("{} {}", q.verb, q.what())).collect();
    for wanted in [
        "get namespaces kube-system",
        "patch webapps.kro.run/status",
        "watch configmaps",
        "create ingresses.networking.k8s.io",
        "get configmaps kro-hub-claim in kube-system",
        "delete customresourcedefinitions.apiextensions.k8s.io webapps.kro.run",
    ] {
        assert!(shown.contains(&wanted.to_owned()), "{wanted}: {shown:#?}");
    }
    let status = questions.iter().find(|q| q.subresource == "status").unwrap();
    assert_eq!(
        status.review(Some(&Account::on_spoke())),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": "system:serviceaccount:kro-hub-access:kro-hub",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kro-hub-access", "system:authenticated"],
            "resourceAttributes": {"verb": "patch", "group": "kro.run", "resource": "webapps", "subresource": "status"}}})
    );
    assert_eq!(status.review(None)["kind"], "SelfSubjectAccessReview");
    let rules: usize =
        access.roles.iter().flat_map(|r| &r.rules).map(|r| r.verbs.len() * r.names.len().max(1)).sum();
    assert_eq!(questions.len(), rules);
}
