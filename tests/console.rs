//! What the pages show as a console is what the binary prints: blocks marked `console` need no cluster, and are run.

use std::path::Path;
use std::process::Command;

/// `? 1` under a command is its exit code; without it the code is 0.
#[test]
fn consoles_of_the_pages_are_what_is_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli");
    let (mut run, mut bad) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let page = std::fs::read_to_string(&path).unwrap();
        for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for shown in block.split("$ ").skip(1) {
                let (line, expect) = shown.split_once('\n').unwrap_or((shown, ""));
                run += 1;
                let got = printed(line);
                if got != expect {
                    bad.push(format!("{}: $ {line}\n{got}--- instead of\n{expect}", path.display()));
                }
            }
        }
    }
    assert!(run > 4 && bad.is_empty(), "{run} commands\n{}", bad.join("\n"));
}

#[allow(clippy::unwrap_used)] // What cannot be run fails the test.
fn printed(line: &str) -> String {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("kro-hub"), "{line}");
    let output = Command::new(env!("CARGO_BIN_EXE_kro-hub"))
        .args(words)
        .env_remove("NO_COLOR")
        .env("KUBECONFIG", "/no/such/kubeconfig")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let code = match output.status.code() {
        Some(0) => String::new(),
        Some(code) => format!("? {code}\n"),
        None => "? killed\n".into(),
    };
    code + &String::from_utf8_lossy(&output.stdout) + &String::from_utf8_lossy(&output.stderr)
}

/// A table of what each verb says where it cannot do what it was asked, and its exit code.
#[test]
fn mistakes_are_one_sentence_and_one() {
    for (line, expect) in [
        (
            "get webapps",
            "? 1\nerror: there is no kubeconfig /no/such/kubeconfig; give --kubeconfig, or set KUBECONFIG\n",
        ),
        (
            "trace webapp/a",
            "? 1\nerror: there is no kubeconfig /no/such/kubeconfig; give --kubeconfig, or set KUBECONFIG\n",
        ),
        (
            "plan -f a.yaml",
            "? 1\nerror: there is no kubeconfig /no/such/kubeconfig; give --kubeconfig, or set KUBECONFIG\n",
        ),
        (
            "approve webapp/a",
            "? 1\nerror: there is no kubeconfig /no/such/kubeconfig; give --kubeconfig, or set KUBECONFIG\n",
        ),
    ] {
        assert_eq!(printed(&format!("kro-hub {line}")), expect, "{line}");
    }
    for line in ["get --nonsense", "trace", "wait webapp/a --for a.b", "completion tcsh", "plan", "nonsense"]
    {
        assert!(printed(&format!("kro-hub {line}")).starts_with("? 1\n"), "{line}");
    }
    assert!(printed("kro-hub validate").starts_with("? 2\n"), "as its page says");
    assert!(!printed("kro-hub get --help").starts_with('?'));
}
