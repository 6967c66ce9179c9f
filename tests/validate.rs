//! `kro-hub validate`, `graph` and `crd` as they are used.

#![allow(clippy::unwrap_used, clippy::panic)] // What cannot be had fails the test.

use super::binary::{self, Said};
use proptest::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn run_in(folder: &Path, args: &[&str], input: &str) -> Said {
    binary::run_in(folder, args, input.as_bytes())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(args: &[&str], input: &str) -> Said {
    run_in(root(), args, input)
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("validate-{name}"));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

const APP: &str = "\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata:
  name: app
spec:
  schema:
    apiVersion: v1alpha1
    kind: App
    spec:
      replicas: integer | default=1 minimum=1 maximum=5
      size: string | enum=\"small,large\" default=\"small\"
  resources:
  - id: settings
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: ${schema.metadata.name}
      data:
        text: |
          size is ${schema.spec.size}
  - id: deployment
    includeWhen:
    - ${schema.spec.replicas > 1}
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: ${schema.metadata.name}
      spec:
        replicas: ${schema.spec.replicas}
        selector:
          matchLabels: {app: '${settings.metadata.name}'}
        template:
          metadata:
            labels: {app: '${settings.metadata.name}'}
          spec:
            containers:
            - {name: web, image: nginx}
";

#[test]
fn a_clean_definition() {
    let said = run(&["validate", "-"], APP);
    assert_eq!(
        said.out,
        "1 file, 1 definition, 0 instances, 0 clusters, 0 CRDs, 0 ignored: 0 errors, 0 warnings\n"
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn the_examples_are_clean() {
    for example in fs::read_dir(root().join("examples")).unwrap() {
        let path = example.unwrap().path();
        let said = run(&["validate", path.to_str().unwrap()], "");
        assert!(said.code == 0 && said.out.ends_with("0 errors, 0 warnings\n"), "{}", said.out);
    }
}

/// Each an edit of the clean one: what is to be underlined, and what is said.
#[test]
fn one_mistake_is_shown_at_its_place() {
    for (from, to, underlined, said_of_it) in [
        ("name: app", "name: App_1", "App_1", "error[shape]: \"App_1\" is no name for an object"),
        (
            "    kind: App",
            "    kind: App\n    sekope: Cluster",
            "sekope",
            "error[shape]: unknown field \"sekope\"",
        ),
        (
            "  schema:\n    apiVersion: v1alpha1",
            "  schema:\n    apiVersion: one",
            "one",
            "error[shape]: \"one\" does not match",
        ),
        ("minimum=1", "minimun=1", "integer | default=1 minimun=1 maximum=5", "error[definition]"),
        ("schema.spec.size}", "schema.spec.sise}", "sise", "error[definition]: undefined field 'sise'"),
        (
            "replicas: ${schema.spec.replicas}",
            "replicaz: 3",
            "replicaz",
            "error[definition]: schema not found for field replicaz",
        ),
        ("apps/v1", "apps/v7", "Deployment", "error[unknown-kind]"),
        ("${schema.spec.replicas > 1}", "${schema.spec.replicas >}", "}", "error[definition]"),
        (
            "- id: settings",
            "- id: settings\n    id: more",
            "id",
            "error[yaml]: the key \"id\" is there twice",
        ),
        ("{name: web, image: nginx}", "{name: web, image: 7}", "7", "error[definition]"),
    ] {
        assert!(APP.contains(from), "{from}");
        let text = APP.replacen(from, to, 1);
        let said = run(&["validate", "-"], &text);
        assert_eq!(said.code, 1, "{to}: {}", said.out);
        assert!(said.out.contains("1 error, 0 warnings"), "{to}: {}", said.out);
        assert!(said.out.starts_with(said_of_it), "{to}: {}", said.out);
        let json: Value = serde_json::from_str(&run(&["validate", "-o", "json", "-"], &text).out).unwrap();
        let found = &json["findings"][0];
        let number = |key: &str| usize::try_from(found[key].as_u64().unwrap()).unwrap();
        let line = text.lines().nth(number("line") - 1).unwrap();
        let end = number("endColumn").max(number("column") + 1);
        let shown: String = line.chars().skip(number("column") - 1).take(end - number("column")).collect();
        assert_eq!(shown, underlined, "{to}: {}", said.out);
        assert!(
            said.out.contains(&format!("<stdin>:{}:{}\n", number("line"), number("column"))),
            "{}",
            said.out
        );
    }
}

#[test]
fn a_picture_of_a_mistake() {
    let text = APP.replace("schema.spec.size}", "schema.spec.sise}");
    insta::assert_snapshot!(run(&["validate", "-"], &text).out, @r"
    error[definition]: undefined field 'sise'
      --> <stdin>:21:33
       |
    21 |           size is ${schema.spec.sise}
       |                                 ^^^^
       |
       = note: in ResourceGraphDefinition app, spec.resources[0].template.data.text
       = help: did you mean 'size'?

    1 file, 1 definition, 0 instances, 0 clusters, 0 CRDs, 0 ignored: 1 error, 0 warnings
    ");
}

const INSTANCE: &str = "---
apiVersion: kro.run/v1alpha1
kind: App
metadata:
  name: shop
  annotations:
    hub.kro.run/cluster-selector: region ~ eu
spec:
  replicas: 9
  size: smal
  colour: red
---
apiVersion: hub.kro.run/v1alpha1
kind: Cluster
metadata:
  name: a
spec: {}
---
apiVersion: v1
kind: Namespace
metadata:
  name: x
";

#[test]
fn instances_and_clusters_beside_their_definitions() {
    let said = run(&["validate", "-o", "github", "-"], &format!("{APP}{INSTANCE}"));
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(said.out, @r#"
    ::error file=<stdin>,line=46,col=35,endColumn=46,title=placement::cannot read "region ~ eu"; write `key=value`, `key!=value`, `key`, `!key`, `key in (a,b)` or `key notin (a,b)`
    ::error file=<stdin>,line=48,col=13,endColumn=14,title=instance::9 is too large: at most 5 is allowed
    ::error file=<stdin>,line=49,col=9,endColumn=13,title=instance::"smal" is none of the allowed values%0Adid you mean "small"?
    ::warning file=<stdin>,line=50,col=3,endColumn=9,title=instance::unknown field "colour"%0Afields here are replicas, size
    ::error file=<stdin>,line=56,col=1,endColumn=5,title=cluster::a cluster needs credentials, or local: true%0Acredentials.secretRef names the Secret that holds the kubeconfig
    1 file, 1 definition, 1 instance, 1 cluster, 0 CRDs, 1 ignored: 4 errors, 1 warning
    "#);
    let sarif: Value =
        serde_json::from_str(&run(&["validate", "-o", "sarif", "-"], &format!("{APP}{INSTANCE}")).out)
            .unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(results[1]["locations"][0]["physicalLocation"]["region"]["startLine"], 48);
}

const WIDGET: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

fn user(kind: &str, api: &str, field: &str) -> String {
    format!(
        "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {{name: user}}\nspec:\n  schema: {{apiVersion: v1alpha1, kind: User}}\n  resources:\n  - id: one\n    template:\n      apiVersion: {api}\n      kind: {kind}\n      metadata: {{name: '${{schema.metadata.name}}'}}\n      spec:\n        {field}\n"
    )
}

#[test]
fn kinds_come_from_many_places() {
    let folder = folder("kinds");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir_all(folder.join("schemas")).unwrap();
    fs::create_dir_all(folder.join("all/.hidden")).unwrap();
    write("schemas/crd.yaml", WIDGET);
    write("widget.yaml", &user("Widget", "example.org/v1", "size: 3"));
    write("wrong.yaml", &user("Widget", "example.org/v1", "sise: 3"));
    write("all/.hidden/broken.yaml", "[");
    write("all/notes.txt", "[");
    // The user stands before what it uses.
    write("all/a.yaml", &user("App", "kro.run/v1alpha1", "replicas: 3"));
    write("all/b.yml", APP);
    let code = |args: &[&str]| {
        let said = run_in(&folder, args, "");
        (said.code, said.out + &said.err)
    };
    let (unknown, text) = code(&["validate", "widget.yaml"]);
    assert!(
        unknown == 1 && text.contains("error[unknown-kind]") && text.contains("Kubernetes v1."),
        "{text}"
    );
    let (believed, text) = code(&["validate", "--allow-unknown-kinds", "widget.yaml"]);
    assert!(
        believed == 0 && text.contains("warning[unknown-kind]") && text.contains("0 errors, 1 warning"),
        "{text}"
    );
    assert_eq!(code(&["validate", "--schemas", "schemas", "widget.yaml"]).0, 0);
    assert_eq!(code(&["validate", "schemas/crd.yaml", "widget.yaml"]).0, 0);
    let (wrong, text) = code(&["validate", "--schemas", "schemas", "wrong.yaml"]);
    assert!(wrong == 1 && text.contains("did you mean \"size\"?"), "{text}");
    let (generated, text) = code(&["validate", "all"]);
    assert!(generated == 0 && text.contains("2 files, 2 definitions"), "{text}");
    write("all/a.yaml", &user("App", "kro.run/v1alpha1", "replikas: 3"));
    let (wrong, text) = code(&["validate", "all"]);
    assert!(wrong == 1 && text.contains("did you mean \"replicas\"?"), "{text}");
    let (empty, text) = code(&["validate", "--schemas", "all/notes.txt", "widget.yaml"]);
    assert!(empty == 2 && text.contains("--schemas"), "{text}");
}

#[test]
fn what_only_the_hub_takes() {
    let text = APP
        .replace("  name: app\n", "  name: app\n  annotations:\n    hub.kro.run/cel-libraries: json\n")
        .replace("size is ${schema.spec.size}", "size is ${schema.spec.size} on ${kro.cluster.name}");
    let said = run(&["validate", "--portable", "-"], &text);
    assert_eq!(said.code, 1);
    assert_eq!(said.out.matches("error[portable]").count(), 2, "{}", said.out);
    assert_eq!(run(&["validate", "--portable", "-"], APP).code, 0);
}

#[test]
fn gates_and_wrong_arguments() {
    let text = APP.replace("replicas: ${schema.spec.replicas}", "replicas: ${omit()}");
    assert_eq!(run(&["validate", "-"], &text).code, 1);
    let said = run(&["validate", "--feature-gates", "CELOmitFunction=true", "-"], &text);
    assert_eq!(said.code, 0, "{}", said.out);
    let said = run(&["validate", "--feature-gates", "Nope=true", "-"], APP);
    assert!(said.code == 2 && said.err.contains("CELOmitFunction"), "{}", said.err);
    assert_eq!(run(&["validate"], "").code, 2);
    let said = run(&["validate", "no/such/file.yaml"], "");
    assert!(said.code == 2 && said.err.contains("no/such/file.yaml"), "{}", said.err);
    // Nobody listens there.
    let folder = folder("dead");
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n";
    fs::write(folder.join("config"), config).unwrap();
    let said = run_in(&folder, &["validate", "--kubeconfig", "config", "-"], APP);
    assert!(said.code == 2 && said.err.contains("127.0.0.1:1"), "{}", said.err);
    let said = run(&["validate", "--kubeconfig", "no/such/file", "-"], APP);
    assert!(said.code == 2 && said.err.contains("no/such/file"), "{}", said.err);
}

#[test]
fn the_generated_crd() {
    let said = run(&["crd", "-"], &format!("{APP}{INSTANCE}"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let crd: Value = serde_saphyr::from_str(said.out.strip_prefix("---\n").unwrap()).unwrap();
    assert_eq!(crd["metadata"]["name"], "apps.kro.run");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(schema["replicas"]["maximum"], 5);
    let said = run(&["crd", "-"], &APP.replace("spec.size}", "spec.sise}"));
    assert!(said.code == 1 && said.out.is_empty() && said.err.contains("undefined field"), "{}", said.err);
}

#[test]
fn pictures() {
    insta::assert_snapshot!(run(&["graph", "-"], APP).out, @r#"
    ---
    title: App (app)
    ---
    flowchart TD
      n0["settings<br/>ConfigMap"]
      n1["deployment<br/>Deployment · conditional"]
      n0 -->|"matchLabels.app +1"| n1
      classDef conditional stroke-dasharray: 5 4
      class n1 conditional
    "#);
    insta::assert_snapshot!(run(&["graph", "-o", "dot", "-"], APP).out, @r#"
    digraph "App (app)" {
      node [shape=box, style=rounded, fontname="sans-serif"];
      edge [fontname="sans-serif", fontsize=10];
      "settings" [label="settings\nConfigMap", style="rounded"];
      "deployment" [label="deployment\nDeployment · conditional", style="rounded,dashed"];
      "settings" -> "deployment" [label="matchLabels.app +1"];
    }
    "#);
    let json: Value = serde_json::from_str(&run(&["graph", "-o", "json", "-"], APP).out).unwrap();
    assert_eq!(json["edges"][0]["fields"][1], "spec.template.metadata.labels.app");
    let svg = run(&["graph", "-o", "svg", "-"], APP).out;
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!((svg.matches("class=\"box").count(), svg.matches("class=\"edge\"").count()), (2, 1));
    assert_eq!(
        run(
            &["graph", "-"],
            &format!("{APP}---\n{}", APP.replace("name: app", "name: b").replace("kind: App", "kind: B"))
        )
        .code,
        2
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens to a file: an answer, never a panic.
    #[test]
    fn a_spoilt_file_is_answered(at in 0..APP.len(), cut in 0_usize..12, put in "[-:{}\\[\\]$|>'\"#&*! \\n\\ta-z0-9é]{0,6}") {
        let mut text = APP.to_owned();
        text.replace_range(at..(at + cut).min(APP.len()), &put);
        text.push_str(INSTANCE);
        let said = run(&["validate", "-o", "sarif", "-"], &text);
        prop_assert!((said.code == 0 || said.code == 1) && said.err.is_empty(), "{}\n{}", text, said.err);
        prop_assert!(serde_json::from_str::<Value>(&said.out).is_ok());
        let said = run(&["validate", "-"], &text);
        prop_assert!(said.code == 0 || said.code == 1, "{}", said.err);
    }
}
