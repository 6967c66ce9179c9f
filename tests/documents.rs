//! What the documents say of the repository is so: the cases by number, the paths, the crates, the records of decisions.

#![allow(clippy::unwrap_used, clippy::panic)] // Test helpers: what fails, fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Files below a folder whose names end so, by their paths from the root of the repository.
fn files(folder: &str, end: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The numbers in the name of a test: `case_101_102_in_every_namespace`.
fn numbers(name: &str) -> Vec<u32> {
    let rest = name.strip_prefix("case_").or_else(|| name.strip_prefix("cases_")).unwrap_or_default();
    let number = |part: &str| part.parse().ok().filter(|_| matches!(part.len(), 2 | 3));
    rest.split('_').map_while(number).collect()
}

/// Names of the functions of a file.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next())
}

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Rows of all tables of a page, without those of lines and of names.
fn rows(page: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.replace("\\|", "\0");
        Some(cells.split(" | ").map(|cell| cell.replace('\0', "|")).collect())
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_numbers_of_a_test_are_read_from_its_name() {
    assert_eq!(numbers("case_001_kinds"), [1]);
    assert_eq!(numbers("cases_010_011_every_kind_has_1_plural"), [10, 11]);
    assert_eq!(numbers("case_93_94_what"), [93, 94]);
    assert!(numbers("cases").is_empty());
    let row = rows("| a | b \\| c |\n|---|---|\ntext");
    assert_eq!(row, [["a", "b | c"]]);
}

#[test]
fn every_case_has_a_line_that_says_where_it_is_tested() {
    const UNTESTED: &str = "not by a test of its own";
    let mut tested: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for file in ["src", "tests", "e2e"].iter().flat_map(|folder| files(folder, ".rs")) {
        for number in functions(&read(&file)).flat_map(numbers) {
            tested.entry(number).or_default().insert(file.clone());
        }
    }
    assert!(tested.len() > 100, "the tests were read");
    let rows = rows(&read("docs/kro-cases.md"));
    let name = |row: &Vec<String>| Some((row.first()?.clone(), spans(row.get(1)?).next()?.to_owned()));
    let names: BTreeMap<String, String> = rows.iter().filter(|row| row.len() == 2).filter_map(name).collect();

    let (mut wrong, mut lines) = (Vec::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| row.len() == 4 && row[0] != "case") {
        let number: u32 = row[0].parse().unwrap_or_else(|_| panic!("no number: {row:?}"));
        let said = &row[3];
        if !lines.insert(number) {
            wrong.push(format!("{number}: two lines"));
        }
        match tested.remove(&number) {
            Some(files) => {
                let told = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
                let told: BTreeSet<String> = said.split(", ").map(told).collect();
                if told != files {
                    wrong.push(format!("{number}: said to be tested in {told:?}, and is in {files:?}"));
                }
            }
            None if said == UNTESTED => {}
            None => {
                let mut parts = spans(said);
                let (file, test) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                if test.is_empty() || !functions(&text).any(|name| name == test) {
                    wrong.push(format!("{number}: {file:?} has no {test:?}"));
                }
            }
        }
    }
    wrong.extend(tested.into_iter().map(|(number, files)| format!("{number}: no line; tested in {files:?}")));
    assert!(wrong.is_empty(), "docs/kro-cases.md:\n{}", wrong.join("\n"));
}

/// A path in a document, of what the repository has: `spoke/fence`, `src/api`, `hub/lease.rs`.
fn path(span: &str) -> Option<Vec<PathBuf>> {
    const FOLDERS: [&str; 15] = [
        "api",
        "cel",
        "cli",
        "graph",
        "hub",
        "reconcile",
        "schema",
        "spoke",
        "src",
        "tests",
        "docs",
        "deploy",
        "e2e",
        "benches",
        "fuzz",
    ];
    let (first, rest) = span.split_once('/')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '/' | '.');
    if !FOLDERS.contains(&first) || rest.is_empty() || !rest.chars().all(plain) {
        return None;
    }
    let places = [root().to_owned(), root().join("src")];
    Some(places.iter().flat_map(|place| [place.join(span), place.join(format!("{span}.rs"))]).collect())
}

#[test]
fn documents_name_files_that_are_there() {
    let (mut missing, mut named) = (Vec::new(), 0);
    let pages = files("docs", ".md").into_iter().chain(["README.md".into(), "CONTRIBUTING.md".into()]);
    for page in pages {
        for span in spans(&read(&page)) {
            let Some(places) = path(span) else { continue };
            named += 1;
            if !places.iter().any(|place| place.exists()) {
                missing.push(format!("{page}: {span}"));
            }
        }
    }
    assert!(named > 50, "the documents were read");
    assert!(missing.is_empty(), "not there any more:\n{}", missing.join("\n"));
}

/// A name in the code, in a document: `Fleet::step`, `ensure_crd`, `Action::VerifyGone`.
fn name(span: &str) -> Option<&str> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let last = span.rsplit("::").next().filter(|_| span.split("::").all(part))?;
    let shouted = !last.contains(|c: char| c.is_ascii_lowercase());
    ((span.contains("::") || last.contains('_')) && !shouted).then_some(last)
}

#[test]
fn documents_name_functions_and_types_that_are_there() {
    let source: Vec<String> = files("src", ".rs").iter().map(|file| read(file)).collect();
    let words: BTreeSet<&str> = source
        .iter()
        .flat_map(|text| text.lines().filter(|line| !line.trim_start().starts_with("//")))
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .collect();
    let (mut missing, mut named) = (Vec::new(), 0);
    for page in files("docs/adr", ".md").into_iter().chain(["docs/architecture.md".into()]) {
        for name in spans(&read(&page)).filter_map(name) {
            named += 1;
            if !words.contains(name) {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(named > 50, "the documents were read");
    assert!(missing.is_empty(), "not there any more:\n{}", missing.join("\n"));
}

#[test]
fn every_crate_has_its_reason() {
    let manifest = read("Cargo.toml");
    let page = read("docs/dependencies.md");
    let words: BTreeSet<&str> =
        page.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).collect();
    let mut section = "";
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if matches!(section, "[dependencies]" | "[dev-dependencies]")
            && let Some((name, _)) = line.split_once(" = ")
            && !words.contains(name)
        {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "docs/dependencies.md does not say what these are for: {missing:?}");
}

#[test]
fn every_record_of_a_decision_is_in_the_index_under_its_title() {
    let index = read("docs/adr/README.md");
    let records: Vec<String> =
        files("docs/adr", ".md").into_iter().filter(|f| !f.ends_with("README.md")).collect();
    assert!(records.len() >= 10, "the records were read");
    for (n, record) in records.iter().enumerate() {
        let file = record.rsplit('/').next().unwrap();
        let number = format!("{:04}", n + 1);
        let text = read(record);
        let title = text.lines().next().unwrap().strip_prefix(&format!("# {number} "));
        let title = title.unwrap_or_else(|| panic!("{record} does not begin with # {number}"));
        assert!(
            index.contains(&format!("| [{number}]({file}) | {title} |")),
            "the index lacks {record}: {title}"
        );
        for part in ["## Context", "## Decision", "## What it costs", "## Turned down"] {
            assert!(text.lines().any(|line| line == part), "{record} has no {part}");
        }
    }
}
