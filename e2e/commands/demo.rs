//! `demo`: the whole journey in front of your eyes. It succeeds only if all of it was observed.

use super::screen::Screen;
use super::table::{self, columns, placed};
use crate::env::controller::{Controller, Options};
use crate::env::registration::condition;
use crate::env::{Environment, Scratch, eventually};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const SPOKES: [(&str, &str); 2] = [("eu", "region=eu"), ("us", "region=us")];
const NAMESPACE: &str = "demo";
const INSTANCES: &str = "/apis/kro.run/v1alpha1/namespaces/demo/hellos";
const CRD: &str = "hellos.kro.run";
const HUB_ID: &str = "hub.kro.run/hub-id";
const CLAIM: &str = "kube-system/ConfigMap/kro-hub-claim";
const PATIENCE: Duration = Duration::from_secs(60);

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: kro.run/v1alpha1
kind: Hello
metadata:
  name: everywhere
  namespace: demo
  annotations: {hub.kro.run/clusters: "eu,us"}
spec: {greeting: Hello everybody, replicas: 2}
---
apiVersion: kro.run/v1alpha1
kind: Hello
metadata:
  name: europe
  namespace: demo
  annotations: {hub.kro.run/cluster-selector: region=eu}
spec: {greeting: Hello Europe}
"#;

const ROLLOUT: &str = r#"
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {name: hello, namespace: demo}
spec:
  instances: {kind: Hello, names: [everywhere]}
  rollout:
    stages:
    - {name: canary, clusters: {labelSelector: {matchLabels: {region: eu}}}}
    - {name: prod, approval: true}
"#;

const APPROVAL: &str = r#"
apiVersion: hub.kro.run/v1alpha1
kind: RolloutApproval
metadata: {name: everywhere-2-prod, namespace: demo}
spec: {instance: {kind: Hello, name: everywhere}, version: 2, stage: prod}
"#;

/// # Errors
/// What was not observed; logs are kept then.
pub fn demo() -> Result<()> {
    let mut screen = Screen::stdout();
    println!("{}\n", screen.bold("kro-hub: one definition, one hub, many clusters"));
    crate::env::controller::binary()?;
    crate::env::assets::Assets::ensure()?;
    let folder = std::env::temp_dir().join(format!("kro-hub-demo-{}", std::process::id()));
    let scratch = Scratch::new(folder)?;
    let start = Instant::now();
    match journey(&mut screen, scratch.path()) {
        Ok(()) => {
            let seconds = start.elapsed().as_secs_f32();
            println!("\n{} in {seconds:.0} s.", screen.green("All of it was observed"));
            println!("Nothing is left running. To play with such a fleet yourself: make up SPOKES=2");
            Ok(())
        }
        Err(error) => {
            println!("\nLogs: {}", scratch.keep().display());
            Err(error.context("the demo did not go as it must"))
        }
    }
}

fn journey(screen: &mut Screen, dir: &Path) -> Result<()> {
    let env = screen.timed("1. Clusters hub, eu and us: real API servers on this machine", || {
        Environment::start(dir, &["hub", "eu", "us"])
    })?;
    let controller = screen.timed("2. kro-hub on the hub", || Controller::start(&env, Options::default()))?;
    let result = fleet(screen, &env);
    if result.is_err() {
        println!("\nThe controller's log ends with:\n{}", controller.log_tail(20));
    }
    result?;
    controller.terminate()
}

fn fleet(screen: &mut Screen, env: &Environment) -> Result<()> {
    register(screen, env)?;
    define(screen, env)?;
    create(screen, env)?;
    show_children(env)?;
    repair(screen, env)?;
    roll_out(screen, env)?;
    delete(screen, env)
}

fn register(screen: &mut Screen, env: &Environment) -> Result<()> {
    screen.timed("3. Spokes eu and us registered: a labelled kubeconfig Secret each", || {
        for (name, label) in SPOKES {
            let (key, value) = label.split_once('=').unwrap_or_default();
            env.register("hub", name, &[(key, value)])?;
        }
        SPOKES.iter().try_for_each(|(name, _)| env.wait_cluster_ready("hub", name, PATIENCE))
    })?;
    print_indented("hub", &["get", "clusters.hub.kro.run", "--show-labels"], env)
}

fn define(screen: &mut Screen, env: &Environment) -> Result<()> {
    screen.timed("4. Kind Hello (ConfigMap, Deployment, Service): examples/hello/rgd.yaml", || {
        let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello/rgd.yaml");
        env.kubectl("hub", &["apply", "-f", &definition.display().to_string()])?;
        eventually(PATIENCE, "ResourceGraphDefinition hello Active", || {
            let rgd = env.api("hub").get("/apis/kro.run/v1alpha1/resourcegraphdefinitions/hello")?;
            let status = rgd.context("there is no such object")?["status"].take();
            ensure!(status["state"] == "Active", "status {status}");
            Ok(())
        })
    })
}

/// Cluster to state, for each instance.
fn states(instances: &[Value]) -> BTreeMap<String, BTreeMap<String, String>> {
    let name = |instance: &Value| instance["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let on = |instance: &Value| placed(instance).into_iter().map(|p| (p.cluster, p.state)).collect();
    instances.iter().map(|instance| (name(instance), on(instance))).collect()
}

fn create(screen: &mut Screen, env: &Environment) -> Result<()> {
    println!("\n5. Two instances: `everywhere` names clusters \"eu,us\", `europe` selects region=eu");
    let all_active = json!({"everywhere": {"eu": "ACTIVE", "us": "ACTIVE"}, "europe": {"eu": "ACTIVE"}});
    let start = Instant::now();
    env.apply("hub", MANIFESTS)?;
    watch(screen, env, start, "both instances ACTIVE on their clusters", |instances| {
        let on_hub = instances.iter().all(|instance| instance["status"]["state"] == "ACTIVE");
        on_hub && json!(states(instances)) == all_active
    })?;
    println!("   {} after {:.1} s", screen.green("ok"), start.elapsed().as_secs_f32());
    // The table is what the hub says; the spokes themselves must agree.
    let mirror = |spoke: &str, name: &str| env.api(spoke).get(&format!("{INSTANCES}/{name}"));
    ensure!(mirror("us", "europe")?.is_none(), "`europe` was placed on us");
    for (spoke, name) in [("eu", "everywhere"), ("us", "everywhere"), ("eu", "europe")] {
        eventually(PATIENCE, &format!("`{name}` ACTIVE on {spoke} itself"), || {
            let mirror = mirror(spoke, name)?.context("it is not there")?;
            ensure!(mirror["status"]["state"] == "ACTIVE", "status {}", mirror["status"]);
            Ok(())
        })?;
    }
    Ok(())
}

/// Shows the table until `done`.
fn watch(
    screen: &mut Screen,
    env: &Environment,
    start: Instant,
    what: &str,
    done: impl Fn(&[Value]) -> bool,
) -> Result<()> {
    loop {
        let instances = env.api("hub").list(INSTANCES)?;
        let lines = table::fleet(screen, &instances);
        if !instances.is_empty() {
            screen.show(start, lines.clone());
        }
        if done(&instances) {
            screen.settle();
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("{what}: not within {} s; last seen:\n{}", PATIENCE.as_secs(), lines.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn show_children(env: &Environment) -> Result<()> {
    println!("\n6. What is on the spokes");
    for (spoke, expected) in [("eu", &["everywhere", "europe"][..]), ("us", &["everywhere"][..])] {
        print_indented(
            spoke,
            &["get", "hello,configmap,deployment,service", "-n", NAMESPACE, "-l", HUB_ID],
            env,
        )?;
        for name in expected {
            for kind in ["deployment", "service"] {
                env.kubectl(spoke, &["get", kind, name, "-n", NAMESPACE]).with_context(|| missing(spoke))?;
            }
            let page = format!("{name}-page");
            env.kubectl(spoke, &["get", "configmap", &page, "-n", NAMESPACE])
                .with_context(|| missing(spoke))?;
        }
    }
    Ok(())
}

fn missing(spoke: &str) -> String {
    format!("a child is missing on {spoke}")
}

fn print_indented(cluster: &str, args: &[&str], env: &Environment) -> Result<()> {
    println!("   {cluster}$ kubectl {}", args.join(" "));
    for line in env.kubectl(cluster, args)?.lines() {
        let line = line.trim_end();
        let cut = line.char_indices().nth(94).map_or(line.len(), |(index, _)| index);
        println!("{}", format!("     {}", line.get(..cut).unwrap_or(line)).trim_end());
    }
    println!();
    Ok(())
}

fn repair(screen: &mut Screen, env: &Environment) -> Result<()> {
    println!("7. Somebody edits the page of `everywhere` on us");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/everywhere-page");
    let api = env.api("us");
    let page = |object: &Value| object.pointer("/data/index.html").cloned().unwrap_or_default();
    let before = page(&api.get(&path)?.context("the page is gone")?);
    let start = Instant::now();
    let edited = api.merge_patch(&path, &json!({"data": {"index.html": "<h1>hacked</h1>"}}))?;
    ensure!(page(&edited) == "<h1>hacked</h1>", "the edit was not taken: {edited}");
    let (after, time) = eventually(PATIENCE, "the page repaired", || {
        let now = page(&api.get(&path)?.context("the page is gone")?);
        ensure!(now == before, "the page says {now}");
        Ok((now, start.elapsed()))
    })?;
    println!("   edited to   {}", page(&edited));
    println!("   repaired to {after}");
    println!("   {} after {:.0} ms", screen.green("ok"), time.as_secs_f32() * 1000.0);
    Ok(())
}

fn roll_out(screen: &mut Screen, env: &Environment) -> Result<()> {
    println!("\n8. A Placement for `everywhere`: a change goes to eu first, and on once somebody approved");
    let hub = env.api("hub");
    let everywhere =
        || -> Result<Value> { hub.get(&format!("{INSTANCES}/everywhere"))?.context("the instance is gone") };
    let page = |spoke: &str| -> Result<String> {
        let page =
            env.api(spoke).get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/everywhere-page"))?;
        let text = page.context("the page is gone")?["data"]["index.html"].take();
        Ok(text.as_str().unwrap_or_default().to_owned())
    };
    env.apply("hub", ROLLOUT)?;
    eventually(PATIENCE, "what runs is version 1", || {
        let rollout = everywhere()?["status"]["fleet"]["rollout"].take();
        ensure!(rollout["stable"] == 1, "rollout {rollout}");
        Ok(())
    })?;
    let before = page("us")?;
    let start = Instant::now();
    let patch = json!({"spec": {"greeting": "Hello again"}}).to_string();
    env.kubectl("hub", &["patch", "hello", "everywhere", "-n", NAMESPACE, "--type=merge", "-p", &patch])?;
    let message = eventually(PATIENCE, "version 2 waits for approval", || {
        let ready = condition(&everywhere()?, "Ready").cloned().unwrap_or_default();
        ensure!(ready["reason"] == "RolloutAwaitingApproval", "{ready}");
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    })?;
    let (canary, other) = (page("eu")?, page("us")?);
    ensure!(canary.contains("Hello again") && other == before, "eu says {canary}, us {other}");
    println!("   eu says {canary}\n   us says {other}\n   {message}");
    println!("   {} after {:.1} s; somebody approves:", screen.green("ok"), start.elapsed().as_secs_f32());
    let start = Instant::now();
    env.apply("hub", APPROVAL)?;
    eventually(PATIENCE, "version 2 everywhere", || {
        let (text, instance) = (page("us")?, everywhere()?);
        let state = &instance["status"]["state"];
        ensure!(text == canary && state == "ACTIVE", "us says {text}, state {state}");
        Ok(())
    })?;
    println!("   us says {canary}\n   {} after {:.1} s", screen.green("ok"), start.elapsed().as_secs_f32());
    Ok(())
}

fn delete(screen: &mut Screen, env: &Environment) -> Result<()> {
    println!("\n9. Both instances deleted on the hub");
    let start = Instant::now();
    env.kubectl("hub", &["delete", "hello", "everywhere", "europe", "-n", NAMESPACE, "--wait=false"])?;
    watch(screen, env, start, "both instances gone from the hub", <[Value]>::is_empty)?;
    println!("   {} after {:.1} s", screen.green("ok"), start.elapsed().as_secs_f32());

    println!("\n10. What is left on the spokes");
    let mut rows = Vec::new();
    for (spoke, _) in SPOKES {
        let mirrors = env.api(spoke).list(INSTANCES)?;
        ensure!(mirrors.is_empty(), "a mirror is left on {spoke}: {}", mirrors[0]["metadata"]["name"]);
        // The kind, and the claim that says which hub this cluster belongs to, are not of any instance.
        let kept = [format!("CustomResourceDefinition.apiextensions.k8s.io/{CRD}"), CLAIM.to_owned()];
        let left = env.labelled(spoke, HUB_ID)?;
        let extra: Vec<&String> = left.iter().filter(|object| !kept.contains(object)).collect();
        ensure!(extra.is_empty(), "left on {spoke}: {extra:?}");
        let missing: Vec<&String> = kept.iter().filter(|object| !left.contains(object)).collect();
        ensure!(missing.is_empty(), "gone from {spoke}, and must not be: {missing:?}");
        let namespace = env.api(spoke).get(&format!("/api/v1/namespaces/{NAMESPACE}"))?;
        ensure!(namespace.is_some(), "the namespace {NAMESPACE} is gone from {spoke}");
        rows.push(vec![
            spoke.into(),
            "0".into(),
            "0".into(),
            CRD.into(),
            NAMESPACE.into(),
            "kro-hub-claim".into(),
        ]);
    }
    for line in columns(&["CLUSTER", "INSTANCES", "CHILDREN", "KIND", "NAMESPACE", "CLAIM"], &rows) {
        println!("     {line}");
    }
    println!(
        "   The kind and the namespace stay, others may use them; so does the claim, which says which hub"
    );
    println!("   this cluster belongs to. Nothing else carries this hub's label.");
    Ok(())
}
