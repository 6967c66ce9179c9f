//! `kro-hub cel` as it is used, and its page.

#![allow(clippy::unwrap_used, clippy::panic)] // What cannot be had fails the test.

use super::binary;
use serde_json::Value as Json;
use std::fs;
use std::path::{Path, PathBuf};

struct Said {
    good: bool,
    out: String,
    err: String,
}

/// Runs the command with a text as standard input.
fn cel(args: &[&str], input: &[u8]) -> Said {
    let done = binary::run_in(Path::new("."), &[&["cel"], args].concat(), input);
    Said { good: done.code == 0, out: done.out, err: done.err }
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cel-{name}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const SCHEMA: &str = "
schema:
  type: object
  properties:
    spec:
      type: object
      properties:
        name: {type: string}
        replicas: {type: integer}
        port: {x-kubernetes-int-or-string: true}
";
const DATA: &str = "
schema:
  spec: {name: web, replicas: 3, port: 80}
other: {a: [1, 2]}
";

#[test]
fn the_page_is_what_the_binary_prints() {
    let said = cel(&["--docs"], b"");
    assert!(said.good);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cel.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == said.out, "docs/cel.md differs from what `kro-hub cel --docs` prints; write it anew");
}

#[test]
fn one_expression() {
    let folder = folder("one");
    let (data, schema) = (file(&folder, "d.yaml", DATA), file(&folder, "s.yaml", SCHEMA));
    let args = |expr| ["--data", data.as_str(), "--schema", schema.as_str(), expr];
    let rows = [
        ("schema.spec.name + '-' + string(schema.spec.replicas)", true, "\"web-3\" : string\n", ""),
        ("-1", true, "-1 : int\n", ""),
        ("other.a.map(x, x * 2)", true, "[2,4] : list(int)\n", ""),
        ("schema.spec.port", true, "80 : dyn\n", ""),
        ("other.b", false, "", "not there yet: no such key: b\n"),
        ("schema.spec.replicas / 0", false, "", "error: division by zero\n"),
    ];
    for (expr, good, out, err) in rows {
        let said = cel(&args(expr), b"");
        assert_eq!((said.good, said.out.as_str(), said.err.as_str()), (good, out, err), "{expr}");
    }
    let said = cel(&args("schema.spec.nam"), b"");
    assert!(!said.good && said.err.starts_with("ERROR: <input>:1:12: undefined field 'nam'"), "{}", said.err);
    assert!(said.err.contains("name"), "a suggestion: {}", said.err);
}

#[test]
fn many_expressions() {
    let folder = folder("many");
    let (data, schema) = (file(&folder, "d.yaml", DATA), file(&folder, "s.yaml", SCHEMA));
    let text = "schema.spec.name\n\nother.b\nschema.spec.nam\n1u\n";
    let exprs = file(&folder, "e.txt", text);
    let shared = ["--data", &data, "--schema", &schema];
    let said = cel(&[&shared[..], &["--file", &exprs]].concat(), b"");
    assert!(!said.good);
    assert_eq!(said.out, format!("{exprs}:1: \"web\" : string\n{exprs}:5: 1 : uint\n"));
    assert!(said.err.contains(&format!("{exprs}:3: not there yet")), "{}", said.err);
    assert!(said.err.contains(&format!("ERROR: {exprs}:4:12: undefined field 'nam'")), "{}", said.err);

    for input in [&["--file", "-"][..], &[]] {
        let said = cel(&[&shared[..], &["-o", "json"], input].concat(), text.as_bytes());
        let rows: Vec<Json> = said.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let keys = |row: &Json| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let keys: Vec<_> = rows.iter().map(keys).collect();
        assert_eq!(
            keys,
            [
                vec!["expr", "type", "value"],
                vec!["error", "expr", "type"],
                vec!["check_error", "expr"],
                vec!["expr", "type", "value"]
            ]
        );
        assert!(!said.good && said.err.is_empty());
    }
    assert!(cel(&["--file", "-"], b"1\n2\n").good);
}

#[test]
fn templates_and_the_gate() {
    let said = cel(&["--template", "a-${string(1)}"], b"");
    assert_eq!((said.good, said.out.as_str()), (true, "\"a-1\" : string\n"));
    let said = cel(&["{'a': omit()}"], b"");
    assert!(!said.good && said.err.contains("CELOmitFunction"));
    let said = cel(&["--feature-gates", "CELOmitFunction=true", "{'a': omit()}"], b"");
    assert_eq!((said.good, said.out.as_str()), (true, "{} : map(string, dyn)\n"));
    assert!(!cel(&["--feature-gates", "Nope=true", "1"], b"").good);
}

#[test]
fn files_that_are_wrong() {
    let folder = folder("wrong");
    let broken = file(&folder, "broken.yaml", "a: 1\nb: [1, 2\n");
    let said = cel(&["1", "--data", &broken], b"");
    assert!(!said.good && said.err.contains(&format!("--data {broken}:")), "{}", said.err);
    let broken = file(&folder, "broken.json", "{\n\"a\": }");
    let said = cel(&["1", "--data", &broken], b"");
    assert!(!said.good && said.err.contains(&format!("--data {broken}:2:6")), "{}", said.err);
    let list = file(&folder, "list.yaml", "[1]");
    let said = cel(&["1", "--data", &list], b"");
    assert!(!said.good && said.err.contains("a map of variable names is needed"), "{}", said.err);
    let schema = file(&folder, "schema.yaml", "a: string");
    let said = cel(&["1", "--schema", &schema], b"");
    assert!(!said.good && said.err.contains("--schema"), "{}", said.err);
    let said = cel(&["1", "--data", "/nowhere"], b"");
    assert!(!said.good && said.err.contains("/nowhere"), "{}", said.err);
}

#[test]
fn nothing_ends_it_by_force() {
    let deep = |open: &str, close: &str| format!("{}1{}\n", open.repeat(100_000), close.repeat(100_000));
    let mut input = String::new();
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("-", ""),
        ("!", ""),
        ("f(", ")"),
        ("a.b(", ")"),
        ("1+", ""),
        ("1?1:", ""),
    ] {
        input.push_str(&deep(open, close));
        // As deep as the longest source lets it be.
        let n = 8000 / (open.len() + close.len());
        input.push_str(&format!("{}1{}\n", open.repeat(n), close.repeat(n)));
    }
    input.push_str(&"a".repeat(3 << 20));
    input.push_str(
        "\n[1].map(a, lists.range(1000000).map(b, lists.range(1000000)))\n'x'.matches('(x{900}){900}')\n",
    );
    let said = cel(&["-o", "json"], input.as_bytes());
    assert!(!said.good && said.out.lines().count() == input.lines().count(), "{}", said.err);
    let folder = folder("deep");
    let nested = format!("{}{}", "{\"a\":".repeat(20_000), "1".to_owned() + &"}".repeat(20_000));
    for name in ["deep.json", "deep.yaml"] {
        let path = file(&folder, name, &nested);
        for flag in ["--data", "--schema"] {
            let said = cel(&["1", flag, &path], b"");
            assert!(!said.good && said.err.contains(&path), "{}", said.err);
        }
    }
}
