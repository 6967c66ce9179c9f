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
        let mut files = vec![path.clone()];
        // It steers the kind of another example.
        if path.ends_with("fleet") {
            files.push(root().join("examples/hello"));
        }
        let args = std::iter::once("validate").chain(files.iter().map(|file| file.to_str().unwrap()));
        let said = run(&args.collect::<Vec<_>>(), "");
        assert!(said.code == 0 && said.out.ends_with("0 errors, 0 warnings\n"), "{}", said.out);
    }
}

/// Where the namespace of the first resource comes from, and which word of it is whose.
#[test]
fn a_namespace_that_the_instance_chooses_is_warned_of() {
    let cases = [
        ("", "namespace: shared", None),
        ("", "namespace: '${schema.metadata.namespace}'", None),
        ("", "namespace: '${schema.spec.home}'", Some("schema.spec.home is the word of")),
        ("", "namespace: 'team-${schema.metadata.name}'", Some("schema.metadata.name is the word of")),
        ("forEach: [{spot: '${schema.spec.homes}'}]", "namespace: '${spot}'", Some("spot is the word of")),
        ("forEach: [{spot: '${[\"a\", \"b\"]}'}]", "namespace: '${spot}'", None),
    ];
    for (each, namespace, want) in cases {
        let text = APP
            .replace("      size:", "      home: string\n      homes: '[]string'\n      size:")
            .replace("  - id: settings\n", &format!("  - id: settings\n    {each}\n"))
            .replace(
                "name: ${schema.metadata.name}\n      data",
                &format!("name: ${{schema.metadata.name}}\n        {namespace}\n      data"),
            )
            .replace("'${settings.metadata.name}'", "x");
        let said = run(&["validate", "-"], &text);
        assert_eq!(said.code, 0, "{namespace}: {}", said.out);
        assert_eq!(said.out.contains("warning[namespace]"), want.is_some(), "{namespace}: {}", said.out);
        assert!(want.is_none_or(|want| said.out.contains(want)), "{namespace}: {}", said.out);
        let of_cluster = text.replace("    kind: App", "    kind: App\n    scope: Cluster");
        assert!(!run(&["validate", "-"], &of_cluster).out.contains("warning[namespace]"), "{namespace}");
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

/// What the help says to write, written: then nothing is wrong any more.
#[test]
fn help_that_says_what_to_write_is_right() {
    let instance = "---\napiVersion: kro.run/v1alpha1\nkind: App\nmetadata:\n  name: one\n  annotations:\n    hub.kro.run/clusters: '*'\nspec:\n  replicas: 2\n";
    let whole = format!("{APP}{instance}");
    // The clean text, an edit that spoils it, and what of the help stands in its place.
    for (clean, spoilt, before, after) in [
        (
            "apiVersion: kro.run/v1alpha1\nkind: Res",
            "apiVersion: kro.run/v1beta1\nkind: Res",
            "write apiVersion: ",
            "",
        ),
        (
            "apiVersion: kro.run/v1alpha1\nkind: App\nmeta",
            "apiVersion: kro.run/v1beta1\nkind: App\nmeta",
            "write apiVersion: ",
            "",
        ),
        ("\n  replicas: 2", "\n  replicaz: 2", "did you mean \"", "\"?"),
        ("${schema.spec.replicas > 1}", "schema.spec.replicas > 1", "write one expression: ", ""),
        ("'${settings.metadata.name}'", "'${setings.metadata.name}'", "did you mean \"", "\"?"),
        (
            "text: |\n          size is ${schema.spec.size}",
            "text: x-${schema.spec.replicas}",
            "write ${",
            "}",
        ),
        ("clusters: '*'", "clusters: ''", "write hub.kro.run/clusters: ", " for all"),
    ] {
        assert!(whole.contains(clean), "{clean}");
        let text = whole.replacen(clean, spoilt, 1);
        let said = run(&["validate", "-"], &text);
        let help = said
            .out
            .lines()
            .find_map(|l| l.trim().strip_prefix("= help: "))
            .unwrap_or_else(|| panic!("{spoilt}: {}", said.out));
        let written = help.split_once(before).map(|(_, w)| w.strip_suffix(after).unwrap_or(w));
        // Of two ways the one that names all clusters.
        let written = written.or_else(|| help.contains("name clusters, or * for all").then_some("'*'"));
        let written = written.unwrap_or_else(|| panic!("{spoilt}: {help}"));
        let word = match spoilt {
            s if s.starts_with("apiVersion") => "kro.run/v1beta1",
            "\n  replicaz: 2" => "replicaz",
            "'${setings.metadata.name}'" => "setings",
            "clusters: ''" => "''",
            "text: x-${schema.spec.replicas}" => "schema.spec.replicas",
            other => other,
        };
        let mended = text.replacen(spoilt, &spoilt.replacen(word, written, 1), 1);
        let said = run(&["validate", "-"], &mended);
        assert!(said.out.ends_with("0 errors, 0 warnings\n"), "{spoilt} -> {written}: {}", said.out);
    }
}

/// A repository as teams have it: charts, patches, values, files of other editors.
fn a_repository(name: &str) -> PathBuf {
    let folder = folder(name);
    let app = |kind: &str, name: &str| {
        APP.replace("kind: App\n", &format!("kind: {kind}\n"))
            .replace("  name: app\n", &format!("  name: {name}\n"))
    };
    let utf16 =
        |text: &str, unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let item = |kind: &str, name: &str| {
        let text = app(kind, name);
        format!("- {}\n", text.trim_end().replace('\n', "\n  "))
    };
    let list =
        format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item("ListA", "list-a"), item("ListB", "list-b"));
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("plain.yaml", app("Plain", "plain").into()),
        ("bom.yaml", [b"\xef\xbb\xbf", app("Bom", "bom").as_bytes()].concat()),
        ("crlf.yaml", app("Crlf", "crlf").replace('\n', "\r\n").into()),
        ("le.yaml", [b"\xff\xfe".to_vec(), utf16(&app("Le", "le"), u16::to_le_bytes)].concat()),
        ("be.yaml", [b"\xfe\xff".to_vec(), utf16(&app("Be", "be"), u16::to_be_bytes)].concat()),
        ("le-bare.yaml", utf16(&app("LeBare", "le-bare"), u16::to_le_bytes)),
        ("be-bare.yaml", utf16(&app("BeBare", "be-bare"), u16::to_be_bytes)),
        ("list.yaml", list.into()),
        ("several.yaml", format!("# first\n---\n{}---\n\n---\n{}...\n", app("One", "one"), app("Two", "two")).into()),
        (
            "merge.yaml",
            "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {name: merge}\nspec:\n  schema: {apiVersion: v1alpha1, kind: Merge, spec: {text: string}}\n  resources:\n  - id: a\n    template: &t\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: &m {name: '${schema.metadata.name}-a', labels: {team: a}}\n      data: {text: '${schema.spec.text}'}\n  - id: b\n    template:\n      <<: *t\n      metadata:\n        <<: *m\n        name: ${schema.metadata.name}-b\n".into(),
        ),
        ("patch.yaml", "- op: replace\n  path: /spec/replicas\n  value: 3\n".into()),
        ("kustomization.yaml", "kind: Kustomization\nresources: [plain.yaml]\n".into()),
        ("values.yaml", "replicaCount: 2\nimage: {tag: latest}\n".into()),
        ("package.json", "{\n\t\"name\": \"x\",\n\t\"version\": \"1.0.0\"\n}\n".into()),
        ("list.json", "[1, 2, 3]\n".into()),
        ("tsconfig.json", "{ // words\n  \"a\": 1,\n}\n".into()),
        ("scalar.yaml", "hello\n".into()),
        ("empty.yaml", Vec::new()),
        ("comments.yaml", "# nothing here\n---\n# nor here\n---\n".into()),
        ("binary.yaml", vec![0x1f, 0x8b, 8, 0, 0xff, 0xfe]),
        ("sops.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 'ENC[AES256_GCM,data:x]'}\nsops: {version: 3.9.0}\n".into()),
        ("chart/Chart.yaml", "apiVersion: v2\nname: x\nversion: 0.1.0\n".into()),
        ("chart/templates/web.yaml", "{{- if .Values.on }}\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n{{- end }}\n".into()),
    ];
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    std::os::unix::fs::symlink("nowhere.yaml", folder.join("dangling.yaml")).unwrap();
    folder
}

#[test]
fn what_others_keep_in_a_repository_is_read_or_counted() {
    let folder = a_repository("repository");
    let said = run_in(&folder, &["validate", "."], "");
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    // 13 that are none of Kubernetes or of no concern: patch, Kustomization, values, package, list, tsconfig, scalar,
    // binary, sops, dangling, Chart (no kind), the chart's template; and nothing for the empty ones.
    let last = said.out.lines().last().unwrap_or_default();
    assert!(
        last.contains("12 definitions") && last.ends_with("12 ignored: 0 errors, 0 warnings"),
        "{}",
        said.out
    );
    // By name, each is judged as in its folder.
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("binary.yaml") {
            let said = run_in(&folder, &["validate", path.to_str().unwrap()], "");
            assert_eq!(said.code, 0, "{}: {}{}", path.display(), said.out, said.err);
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_where_it_matters() {
    let folder = a_repository("repository-told");
    let code = |args: &[&str]| {
        let said = run_in(&folder, args, "");
        (said.code, said.out + &said.err)
    };
    // A broken manifest of others does not fail the run, and is not passed over in silence.
    fs::write(folder.join("tabs.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: tab\n").unwrap();
    let (tabs, text) = code(&["validate", "."]);
    assert!(
        tabs == 0 && text.contains("warning[yaml]") && text.contains("the document is ignored"),
        "{text}"
    );
    // A broken one of ours does, and all the rest is judged nevertheless.
    fs::write(
        folder.join("ours.yaml"),
        "apiVersion: kro.run/v1alpha1\nkind: Plain\nmetadata:\n\tname: tab\n",
    )
    .unwrap();
    let (ours, text) = code(&["validate", "."]);
    assert!(ours == 1 && text.contains("error[yaml]") && text.contains("12 definitions"), "{text}");
    let (left_out, text) = code(&["validate", "--exclude", "ours.yaml", "--exclude", "tabs.*", "."]);
    assert!(left_out == 0 && text.ends_with("0 warnings\n"), "{text}");
    // A definition that Helm is to make.
    let template = format!(
        "{{{{- if .Values.on }}}}\n{}{{{{- end }}}}\n",
        APP.replace("name: app", "name: {{ .Release.Name }}")
    );
    fs::write(folder.join("chart/templates/app.yaml"), template).unwrap();
    let (helm, text) = code(&["validate", "chart"]);
    assert!(
        helm == 1 && text.contains("a template of Helm") && text.contains("helm template CHART"),
        "{text}"
    );
    for glob in ["chart", "chart/templates", "chart/**", "templates/", "app.yaml"] {
        let (left_out, text) = code(&["validate", "--exclude", "ours.yaml", "--exclude", glob, "."]);
        assert_eq!(left_out, 0, "{glob}: {text}");
    }
    let (wrong, text) = code(&["validate", "--exclude", "a[", "."]);
    assert!(wrong == 2 && text.contains("--exclude a["), "{text}");
    let (named, text) = code(&["validate", "binary.yaml"]);
    assert!(named == 2 && text.contains("neither UTF-8 nor UTF-16"), "{text}");
}

#[test]
fn a_mistake_is_underlined_in_files_of_any_editor() {
    let folder = folder("encodings");
    let wrong = format!("# grüße 🚀\n{}", APP.replace("schema.spec.size", "schema.spec.siz"));
    let utf16 = |unit: fn(u16) -> [u8; 2]| wrong.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let files = [
        ("bom.yaml", [b"\xef\xbb\xbf", wrong.as_bytes()].concat()),
        ("crlf.yaml", wrong.replace('\n', "\r\n").into()),
        ("le.yaml", [b"\xff\xfe".to_vec(), utf16(u16::to_le_bytes)].concat()),
        ("be.yaml", utf16(u16::to_be_bytes)),
    ];
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
        let said = run_in(&folder, &["validate", name], "");
        assert!(said.out.contains(&format!("--> {name}:22:33")), "{name}: {}", said.out);
    }
}

#[test]
fn a_backslash_before_an_expression_is_named() {
    let text = APP.replace("        name: ${schema.metadata.name}\n      data:", "        name: ${schema.metadata.name}\n        labels: {app: '\\${schema.metadata.name}'}\n      data:");
    let said = run(&["validate", "-"], &text);
    assert!(said.code == 0 && said.out.contains("1 warning"), "{}", said.out);
    assert!(said.out.contains("a backslash before ${ is a part of the text"), "{}", said.out);
    let text = text.replace("\\${schema.metadata.name}", "\\${schema.metadata.?labels.?a}");
    let said = run(&["validate", "-"], &text);
    assert!(
        said.code == 1 && said.out.contains("write ${schema.metadata.?labels.?a} without it"),
        "{}",
        said.out
    );
    assert!(said.out.ends_with("1 error, 0 warnings\n"), "{}", said.out);
}

#[test]
fn what_the_api_server_would_refuse_of_a_schema_or_a_secret() {
    for (field, want) in [
        ("string | enum=\"a,b\" default=\"c\"", "is none of the enum"),
        ("integer | default=0 minimum=1", "is less than minimum=1"),
        ("string | validation=\"self.size( > 3\"", "does not compile"),
    ] {
        let text = APP.replace("      size: ", &format!("      bad: '{field}'\n      size: "));
        let said = run(&["validate", "-"], &text);
        assert!(
            said.code == 1 && said.out.contains(want) && said.out.contains("spec.schema.spec.bad"),
            "{}",
            said.out
        );
    }
    let secret = APP
        .replace("kind: ConfigMap", "kind: Secret")
        .replace("text: |\n          size is ${schema.spec.size}", "text: hello world");
    let said = run(&["validate", "-"], &secret);
    assert!(said.code == 1 && said.out.contains("write aGVsbG8gd29ybGQ="), "{}", said.out);
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
        0 [ label="settings\nConfigMap", style="rounded"]
        1 [ label="deployment\nDeployment · conditional", style="rounded,dashed"]
        0 -> 1 [ label="matchLabels.app +1"]
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

#[test]
fn a_reduced_picture_leaves_out_what_a_longer_way_shows() {
    let resource = |id: &str, reads: &[&str]| {
        let reads: String =
            reads.iter().map(|r| format!("          {r}: ${{{r}.metadata.name}}\n")).collect();
        format!(
            "  - id: {id}\n    template:\n      apiVersion: v1\n      kind: ConfigMap\n      metadata:\n        \
             name: {id}\n        annotations:\n          own: x\n{reads}"
        )
    };
    let definition = format!(
        "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {{name: app}}\nspec:\n  schema: \
         {{apiVersion: v1alpha1, kind: App, spec: {{x: string}}}}\n  resources:\n{}",
        [("a", &[][..]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &["a", "c", "b"]), ("e", &["a"])]
            .map(|(id, reads)| resource(id, reads))
            .concat()
    );
    let edges = |args: &[&str]| {
        let said = run(args, &definition);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let picture: Value = serde_json::from_str(&said.out).unwrap();
        let end = |edge: &Value, key: &str| edge[key].as_str().unwrap().to_owned();
        let all = picture["edges"].as_array().unwrap();
        all.iter().map(|e| end(e, "from") + &end(e, "to")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(edges(&["graph", "-o", "json", "-"]), "ab ac ad ae bc bd cd");
    assert_eq!(edges(&["graph", "-o", "json", "--reduce", "-"]), "ab ae bc cd");
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

const PLACEMENTS: &str = "\
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {name: app, namespace: shop}
spec:
  instances: {kind: App}
  clusters:
    expression: cluster.version.minor >= 30 && cluster.region == 'eu'
  overrides:
  - clusters: {expression: cluster.version.minor}
    spec:
      replicas: ${cluster.name}
      size: medium
      sise: small
  - clusters:
      labelSelector:
        matchExpressions:
        - {key: tier, operator: Like, values: [edge]}
    spec: {replicas: 9}
  - clusters: {names: [prod_eu]}
    spec: {replicas: 2}
  rollout:
    stages:
    - name: canary
      clusters: {names: [Prod-1]}
---
apiVersion: hub.kro.run/v1alpha1
kind: ClusterPlacement
metadata: {name: base}
spec:
  instances: {kind: Other}
  clusters: {names: [a], failover: {after: 10m}}
  overrides:
  - spec: {x: 1}
  rollout:
    scope: Kind
    stages:
    - name: prod
      instances: {labelSelector: {matchExpressions: [{key: tier, operator: Like, values: [web]}]}}
---
apiVersion: hub.kro.run/v1alpha1
kind: RolloutApproval
metadata: {name: app-8-prod, namespace: shop}
spec: {version: 8, stage: prod}
---
apiVersion: hub.kro.run/v1alpha1
kind: RolloutApproval
metadata: {name: app-9-prod, namespace: shop}
spec: {instance: {kind: App, name: a}, version: '9', stage: prod}
";

const APPROVALS: &str = "
apiVersion: hub.kro.run/v1alpha1
kind: Placement
metadata: {name: near, namespace: shop}
spec:
  instances: {kind: App, labelSelector: {matchLabels: {tier: web}}}
  rollout: {stages: [{name: canary}, {name: prod}]}
---
apiVersion: hub.kro.run/v1alpha1
kind: ClusterPlacement
metadata: {name: app}
spec:
  instances: {kind: App}
  rollout: {scope: Kind, stages: [{name: first}]}
---
apiVersion: hub.kro.run/v1alpha1
kind: ClusterPlacement
metadata: {name: each}
spec:
  instances: {kind: App}
  rollout: {stages: [{name: wide}]}
---
apiVersion: kro.run/v1alpha1
kind: App
metadata: {name: a, namespace: shop, labels: {tier: web}}
spec: {replicas: 1, size: small}
";

fn approval(of: &str, stage: &str) -> String {
    format!(
        "---
apiVersion: hub.kro.run/v1alpha1
kind: RolloutApproval
metadata: {{name: it, namespace: shop}}
spec: {{{of}, version: 8, stage: {stage}}}
"
    )
}

#[test]
fn an_approval_of_a_stage_that_its_rollout_has_not_is_refused() {
    let a = "instance: {kind: App, name: a}";
    for (of, stage, want) in [
        (a, "prod", ""),
        (a, "rest", ""),
        (a, "prdo", "spec.stage: there is no stage prdo; there are canary, prod, rest"),
        // What labels another instance has nobody knows here.
        ("instance: {kind: App, name: b}", "prdo", ""),
        ("instance: {kind: Other, name: a}", "prdo", ""),
        ("clusterPlacement: app", "first", ""),
        ("clusterPlacement: app", "prod", "spec.stage: there is no stage prod; there are first, rest"),
        ("clusterPlacement: elsewhere", "prod", ""),
        (
            "clusterPlacement: each",
            "wide",
            "spec.clusterPlacement: the rollout of ClusterPlacement each does not have the scope Kind",
        ),
    ] {
        let said =
            run(&["validate", "-o", "json", "-"], &format!("{APP}---\n{APPROVALS}{}", approval(of, stage)));
        let report: Value = serde_json::from_str(&said.out).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let told: Vec<String> = findings
            .map(|f| format!("{}: {}", f["path"].as_str().unwrap(), f["message"].as_str().unwrap()))
            .collect();
        assert_eq!(told.join("\n"), want, "{of} {stage}");
    }
}

#[test]
fn placements_are_judged_with_the_definition_that_makes_the_kind() {
    let said = run(&["validate", "-o", "json", "-"], &format!("{APP}---\n{PLACEMENTS}"));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let findings: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let line = &f["line"];
            format!("{} {line} {}: {}", text(f, "severity"), text(f, "path"), text(f, "message"))
        })
        .collect();
    let want = [
        "spec.clusters.expression: undefined field 'region'",
        "spec.overrides[0].clusters.expression: expected bool, got int",
        "spec.overrides[0].spec.replicas: ${cluster.name}: expected int, got string",
        "spec.overrides[0].spec.size: is none of the enum: `small`, `large`",
        "spec.overrides[0].spec.sise: schema not found for field sise",
        "spec.overrides[1].clusters.labelSelector.matchExpressions[0]: operator",
        "spec.overrides[1].spec.replicas: is more than maximum=5",
        "spec.overrides[2].clusters.names: \"prod_eu\" can be no Cluster's name",
        "spec.rollout.stages[0].clusters.names: \"Prod-1\" can be no Cluster's name",
        "spec.clusters: prefer, spread and failover need max",
        "spec.overrides: no definition among the files makes Other.kro.run: the overrides are not checked",
        "spec.rollout.stages[0].instances.labelSelector.matchExpressions[0]: operator",
        "spec: exactly one of instance and clusterPlacement says whose rollout is approved",
        "spec.version: an integer is needed, found a string",
    ];
    assert_eq!(findings.len(), want.len(), "{findings:#?}");
    for (found, want) in findings.iter().zip(want) {
        assert!(found.contains(want), "{found}, wanted {want}");
    }
    assert_eq!((report["summary"]["placements"].as_u64(), said.code), (Some(4), 1));
    let mended = PLACEMENTS
        .split("---\n")
        .next()
        .unwrap()
        .replace(" && cluster.region == 'eu'", "")
        .replace("expression: cluster.version.minor}", "expression: cluster.version.minor > 1}")
        .replace("${cluster.name}", "${cluster.version.minor}")
        .replace("      size: medium\n      sise: small\n", "      size: ${cluster.labels.size}\n")
        .replace("operator: Like", "operator: In")
        .replace("prod_eu", "prod-eu")
        .replace("Prod-1", "prod-1");
    let said = run(&["validate", "-"], &format!("{APP}---\n{mended}"));
    assert!(
        said.out.contains("spec.overrides[1].spec.replicas") || said.out.contains("maximum=5"),
        "{}",
        said.out
    );
    let said =
        run(&["validate", "-"], &format!("{APP}---\n{}", mended.replace("replicas: 9", "replicas: 5")));
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.ends_with("1 placement, 0 CRDs, 0 ignored: 0 errors, 0 warnings\n"), "{}", said.out);
}
