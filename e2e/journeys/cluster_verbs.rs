//! `kro-hub cluster …`, `rbac` and `check` on real API servers, as an administrator types them, with their exit codes.

use super::stand::{CLUSTERS, PATIENCE, parse};
use crate::env::controller::{Controller, NAMESPACE, Options, binary};
use crate::env::registration::condition;
use crate::env::wait::eventually;
use crate::env::{Environment, Programs};
use crate::lanes::CLUSTERS as CLUSTERS_LANE;
use crate::scratch_folder;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const DEFINITION: &str = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: verbs}
spec:
  schema: {apiVersion: v1alpha1, kind: Verb, spec: {text: string}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: '${schema.metadata.name}'}
      data: {text: '${schema.spec.text}'}
";

/// One trial: each verb needs what the one before made.
pub fn trial() -> Trial {
    Trial::test("cluster_verbs::from_two_contexts_to_ready_and_back", || {
        CLUSTERS_LANE.run("cluster_verbs", || there_and_back().map_err(|error| format!("{error:#}").into()))
    })
}

/// What an administrator has: one kubeconfig with all contexts.
struct Admin<'a> {
    env: &'a Environment,
    kubeconfig: PathBuf,
}

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Admin<'_> {
    fn new<'a>(env: &'a Environment, names: &[&str]) -> Result<Admin<'a>> {
        let mut all = json!({"apiVersion": "v1", "kind": "Config", "current-context": "hub",
            "clusters": [], "users": [], "contexts": []});
        for name in names {
            let one: Value = serde_json::from_str(&fs::read_to_string(env.kubeconfig(name))?)?;
            for (list, field) in [("clusters", "cluster"), ("users", "user")] {
                let entry = json!({"name": name, field: one[list][0][field]});
                all[list].as_array_mut().context("a list")?.push(entry);
            }
            let context = json!({"name": name, "context": {"cluster": name, "user": name}});
            all["contexts"].as_array_mut().context("a list")?.push(context);
        }
        let kubeconfig = env.dir().join("admin.kubeconfig");
        fs::write(&kubeconfig, all.to_string())?;
        Ok(Admin { env, kubeconfig })
    }

    fn run(&self, args: &[&str]) -> Result<Said> {
        let output = Command::new(binary()?)
            .args(args)
            .args(["--kubeconfig", self.kubeconfig.to_str().context("a path")?])
            .stdin(Stdio::null())
            .env("LC_ALL", "C.UTF-8")
            .output()?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command that has to end with `code` and say all of `words`.
    fn says(&self, args: &[&str], code: i32, words: &[&str]) -> Result<Said> {
        let said = self.run(args)?;
        let all = format!("{}{}", said.out, said.err);
        let missing: Vec<&&str> = words.iter().filter(|word| !all.contains(**word)).collect();
        ensure!(
            said.code == code && missing.is_empty(),
            "kro-hub {}: exit {}, wanted {code}; it lacks {missing:?}:\n{all}",
            args.join(" "),
            said.code
        );
        Ok(said)
    }
}

fn there_and_back() -> Result<()> {
    let env =
        Environment::start_with(&scratch_folder().join("verbs"), &["hub", "eu", "us"], Programs::ServerOnly)?;
    let admin = Admin::new(&env, &["hub", "eu", "us"])?;
    admin.says(&["check", "--pre"], 0, &["answers", "you may install it", "no kro runs"])?;
    admin.says(
        &["cluster", "list"],
        1,
        &["context hub serves no clusters.hub.kro.run; kro-hub check --pre"],
    )?;
    let controller = Controller::start(&env, Options::default())?;
    let done = verbs(&admin)
        .with_context(|| format!("the controller's log ends with:\n{}", controller.log_tail(12)));
    done?;
    controller.terminate()
}

fn verbs(admin: &Admin<'_>) -> Result<()> {
    let env = admin.env;
    let hub = env.api("hub");
    let (definitions, definition) = ("/apis/kro.run/v1alpha1/resourcegraphdefinitions", parse(DEFINITION)?);
    // A kind is served a moment after the controller installed it.
    eventually(PATIENCE, "the definition is taken", || hub.post(definitions, &definition))?;
    eventually(PATIENCE, "the definition is Active", || {
        let found = hub.get(&format!("{definitions}/verbs"))?.context("gone")?;
        ensure!(found["status"]["state"] == "Active", "{}", found["status"]);
        Ok(())
    })?;
    let server = env.server_url("eu");
    // The address is the machine's own, which the hub reaches here because it is the same machine.
    let add = |name, more: &[&'static str]| {
        let mut args = vec!["cluster", "add", name, "--context", "eu", "--token", "bound"];
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let run = |args: &[String], code, words: &[&str]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        admin.says(&args, code, words)
    };
    let at = |mut args: Vec<String>| {
        args.extend(["--server".to_owned(), server.clone()]);
        args
    };
    let nothing_there = || -> Result<()> {
        ensure!(
            env.api("eu").get("/api/v1/namespaces/kro-hub-access")?.is_none(),
            "something was written on the spoke"
        );
        ensure!(hub.list(CLUSTERS)?.is_empty(), "a Cluster was made");
        Ok(())
    };
    run(&add("eu", &["--yes"]), 1, &["reached from this machine alone", "--server"])?;
    run(&at(add("eu", &[])), 1, &["no terminal", "--yes"])?;
    run(
        &at(add("eu", &["--dry-run"])),
        0,
        &["not claimed, not registered", "1 definitions need 1 kinds", "creates on eu"],
    )?;
    run(&at(add("eu", &["-o", "yaml"])), 0, &["kind: ClusterRole", "kind: Cluster", "TOKEN"])?;
    run(
        &at(add("eu", &["-o", "yaml", "--warn-on-edit"])),
        0,
        &["kind: ValidatingAdmissionPolicyBinding", "kind: Cluster"],
    )?;
    nothing_there()?;
    let claim = "/api/v1/namespaces/kube-system/configmaps";
    env.api("eu").post(claim, &json!({"metadata": {"name": "kro-hub-claim"}, "data": {"hub-id": "them"}}))?;
    run(&at(add("eu", &["--yes"])), 1, &["claimed by another hub (them)", "nothing was written"])?;
    nothing_there()?;
    env.api("eu").delete(&format!("{claim}/kro-hub-claim"))?;

    run(&at(add("eu", &["--yes", "--labels", "region=eu,tier=prod"])), 0, &["✓ Cluster eu Ready after"])?;
    let cluster = hub.get(&format!("{CLUSTERS}/eu"))?.context("no Cluster")?;
    ensure!(cluster["metadata"]["labels"]["tier"] == "prod", "{}", cluster["metadata"]["labels"]);
    let credentials = &cluster["status"]["credentials"];
    ensure!(
        credentials["subject"] == "system:serviceaccount:kro-hub-access:kro-hub"
            && credentials["expiresAt"].is_string(),
        "{credentials}"
    );
    let policy = "ValidatingAdmissionPolicy edits.hub.kro.run";
    run(
        &at(add("eu", &["--yes", "--warn-on-edit", "--child-namespaces", "Own,logs"])),
        0,
        &["claimed by this hub, registered", policy, "childNamespaces Own,logs", "Ready after"],
    )?;
    let bounds =
        hub.get(&format!("{CLUSTERS}/eu"))?.context("no Cluster")?["spec"]["childNamespaces"].clone();
    ensure!(bounds == json!({"policy": "Own", "also": ["logs"]}), "{bounds}");
    run(&at(add("again", &["--yes"])), 1, &["registered already, as eu", "nothing was written"])?;
    admin.says(
        &["cluster", "add", "hub", "--context", "hub", "--server", "https://hub.example", "--yes"],
        1,
        &["spec.local: true"],
    )?;

    admin.says(&["cluster", "list"], 0, &["NAME", "eu", "True", &server, "Token"])?;
    admin.says(&["cluster", "facts"], 0, &["clusters:", "eu:", "id:", "version: v1."])?;
    admin.says(&["cluster", "check"], 0, &["✓ taken", "not asked"])?;
    admin.says(
        &["cluster", "check", "eu", "--context", "eu"],
        0,
        &["✓ same id", "✓ claimed by this hub", "all kinds of 1 definitions"],
    )?;
    admin.says(&["cluster", "check", "eu", "--hub-credentials"], 0, &["✓ same id"])?;
    admin.says(&["cluster", "check", "eu", "--context", "us"], 1, &["✗ another cluster"])?;
    admin.says(&["rbac", "--check", "eu"], 0, &["system:serviceaccount:kro-hub-access:kro-hub has"])?;
    ran_with_these_rights(admin)?;
    edits_are_warned_of(admin)?;
    a_missing_right(admin)?;
    admin.says(&["check"], 0, &["leads", "hub id", "1 of 1 Active", "1 of 1 Ready"])?;

    let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/eu");
    let before = hub.get(&secret)?.context("no Secret")?["data"]["kubeconfig"].clone();
    admin.says(
        &["cluster", "rotate", "eu", "--context", "us", "--token", "bound"],
        1,
        &["another cluster than Cluster eu"],
    )?;
    admin.says(&["cluster", "rotate", "eu", "--context", "eu", "--token", "bound"], 0, &["✓ new token"])?;
    ensure!(hub.get(&secret)?.context("no Secret")?["data"]["kubeconfig"] != before, "the token is the same");

    admin.says(
        &["cluster", "remove", "nobody", "--yes"],
        1,
        &["there is no Cluster nobody", "there are: eu"],
    )?;
    admin.says(&["cluster", "remove", "eu"], 1, &["--yes"])?;
    admin.says(
        &["cluster", "remove", "eu", "--clean", "--context", "eu", "--yes"],
        0,
        &["stays there: 1 instances", "✓ Cluster eu gone", "ClusterRole kro-hub-spoke", policy],
    )?;
    for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/edits.hub.kro.run");
        ensure!(env.api("eu").get(&path)?.is_none(), "{path} stays");
    }
    ensure!(hub.list(CLUSTERS)?.is_empty(), "the Cluster is there");
    let kept = env.api("eu").get("/api/v1/namespaces/default/configmaps/first")?;
    ensure!(kept.is_some(), "the workload went with its cluster");
    ensure!(env.api("eu").get(&format!("{claim}/kro-hub-claim"))?.is_none(), "the claim stays");
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kro-hub-spoke";
    ensure!(env.api("eu").get(roles)?.is_none(), "the role stays");
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/kro-hub-claim";
    ensure!(env.api("eu").get(roles)?.is_none(), "the role of the claim stays");

    // What is kept no more warns nobody, also where access stays.
    let us = env.server_url("us");
    admin.says(
        &[
            "cluster",
            "add",
            "us",
            "--context",
            "us",
            "--token",
            "bound",
            "--server",
            &us,
            "--warn-on-edit",
            "--yes",
        ],
        0,
        &["Ready after"],
    )?;
    admin.says(
        &["cluster", "remove", "us", "--context", "us", "--yes"],
        0,
        &[
            "us warns of edits no more",
            "access on the cluster stays: kro-hub rbac --for spoke | kubectl --context us",
        ],
    )?;
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    ensure!(env.api("us").get(&format!("{policies}/edits.hub.kro.run"))?.is_none(), "it warns on");
    Ok(())
}

/// An instance runs with what `cluster add` gave.
fn ran_with_these_rights(admin: &Admin<'_>) -> Result<()> {
    let instances = "/apis/kro.run/v1alpha1/namespaces/default/verbs";
    let body = json!({"apiVersion": "kro.run/v1alpha1", "kind": "Verb",
        "metadata": {"name": "first", "annotations": {"hub.kro.run/clusters": "eu"}}, "spec": {"text": "one"}});
    let hub = admin.env.api("hub");
    eventually(PATIENCE, "the kind is served", || hub.post(instances, &body))?;
    eventually(PATIENCE, "the instance is ACTIVE", || {
        let found = hub.get(&format!("{instances}/first"))?.context("gone")?;
        let ready = condition(&found, "Ready").cloned().unwrap_or_default();
        ensure!(found["status"]["state"] == "ACTIVE", "{} {ready}", found["status"]["fleet"]);
        Ok(())
    })
}

/// Who edits on the spoke what the hub keeps reads that it will not last; the hub itself does not.
fn edits_are_warned_of(admin: &Admin<'_>) -> Result<()> {
    let on_eu = |args: &[&str]| Ok::<_, anyhow::Error>(admin.env.kubectl_says("eu", args, None)?.aside);
    let (change, kept) =
        (["annotate", "--overwrite", "configmap", "first"], "kept by kro-hub for default/first:");
    let with = |more| [&change[..], &[more]].concat();
    // A policy is in force a moment after it is there.
    eventually(PATIENCE, "an edit is warned of", || {
        let said = on_eu(&with("who=me"))?;
        ensure!(said.contains("Warning: ") && said.contains(kept), "{said:?}");
        Ok(())
    })?;
    let said = on_eu(&["delete", "configmap", "first", "--dry-run=server"])?;
    ensure!(said.contains(kept) && said.contains("change the instance on the hub"), "{said:?}");
    // The mirror has the name of its instance.
    let said = on_eu(&["annotate", "verbs.kro.run", "first", "who=me"])?;
    ensure!(said.contains(kept), "{said:?}");
    let said = on_eu(&["create", "configmap", "mine"])?;
    ensure!(said.is_empty(), "{said:?}");
    let said = on_eu(&["annotate", "configmap", "mine", "who=me"])?;
    ensure!(said.is_empty(), "what is nobody's: {said:?}");
    let said =
        on_eu(&[&with("who=you")[..], &["--as=system:serviceaccount:kro-hub-access:kro-hub"]].concat());
    // Impersonated, so with the rights of the account: whatever the answer, there is no warning.
    let said = said.unwrap_or_else(|error| format!("{error:#}"));
    ensure!(!said.contains("Warning"), "{said:?}");
    Ok(())
}

/// A right that is taken away is named with what mends it, and the mend helps.
fn a_missing_right(admin: &Admin<'_>) -> Result<()> {
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kro-hub-spoke";
    let api = admin.env.api("eu");
    let mut role = api.get(roles)?.context("no role")?;
    let rules = role["rules"].as_array_mut().context("no rules")?;
    rules.retain(|rule| rule["resources"] != json!(["configmaps"]));
    api.merge_patch(roles, &json!({"rules": role["rules"]}))?;
    eventually(PATIENCE, "the missing right is named", || {
        admin.says(
            &["cluster", "check", "eu", "--context", "eu", "-o", "short"],
            1,
            &["configmaps (verbs: config)", "kro-hub rbac | kubectl --context CONTEXT-OF-eu apply -f -"],
        )
    })?;
    admin.says(&["rbac", "--check", "eu"], 1, &["create configmaps (verbs: config)"])?;
    let printed = admin.says(&["rbac"], 0, &["# verbs: config"])?;
    admin.env.apply("eu", &printed.out)?;
    eventually(PATIENCE, "all rights are there again", || {
        admin.says(&["rbac", "--check", "eu"], 0, &[]).map(drop)
    })
}
