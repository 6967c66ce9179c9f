//! What each reason means and what to do about it: the tables of `docs/status.md`, which are compiled in.

use super::document::View;
use super::look::Look;
use crate::graph;
use schemars::JsonSchema;
use serde::Serialize;

const PAGE: &str = include_str!("../../docs/status.md");

/// All that is said of one reason.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    pub reason: String,
    pub entries: Vec<Entry>,
}

impl View for Explanation {
    const KIND: &'static str = "Explanation";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What kind of object says it.
    pub of: String,
    /// The condition, and what it is then.
    pub condition: String,
    pub means: String,
    pub mend: String,
    /// Pages that say more.
    pub pages: Vec<String>,
}

/// # Errors
/// Nobody gives such a reason: a sentence with the nearest one.
pub fn explain(reason: &str) -> Result<Explanation, String> {
    let all = rows(PAGE);
    let entries: Vec<Entry> = all
        .iter()
        .filter(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(reason)))
        .map(|(_, entry)| entry.clone())
        .collect();
    let names = || all.iter().flat_map(|(names, _)| names.iter().map(String::as_str));
    match names().find(|name| name.eq_ignore_ascii_case(reason)) {
        Some(name) => Ok(Explanation { reason: name.to_owned(), entries }),
        None => {
            let near = graph::suggestion(reason, names()).map(|near| format!("; {near}")).unwrap_or_default();
            Err(format!("no condition has the reason {reason:?}{near}"))
        }
    }
}

/// All reasons, as the page has them.
pub fn all() -> Vec<String> {
    let mut names: Vec<String> = rows(PAGE).into_iter().flat_map(|(names, _)| names).collect();
    names.sort();
    names.dedup();
    names
}

impl Explanation {
    pub fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            let title = look.bold(format!("{} {}", entry.condition, self.reason).trim());
            let lines = look.wrapped(&format!("{title} ({}): {}", entry.of, entry.means), 0);
            out.push_str(&lines.join("\n"));
            out.push('\n');
            if !entry.mend.is_empty() {
                out.push_str(&look.wrapped(&format!("Do: {}", entry.mend), 0).join("\n"));
                out.push('\n');
            }
            for page in &entry.pages {
                out.push_str(&format!("See docs/{page}\n"));
            }
        }
        out
    }
}

/// The rows of the page's tables of reasons.
fn rows(page: &str) -> Vec<(Vec<String>, Entry)> {
    let (mut section, mut is_table, mut out) = (String::new(), false, Vec::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let Some(inside) = line.strip_prefix("| ").and_then(|l| l.trim_end().strip_suffix('|')) else {
            is_table &= line.starts_with("|-");
            continue;
        };
        let cells: Vec<&str> = inside.split(" | ").map(str::trim).collect();
        if inside.starts_with("condition, reason") {
            is_table = true;
            continue;
        }
        let ([first, means, rest @ ..], true) = (cells.as_slice(), is_table) else { continue };
        let (names, condition) = reasons(first);
        if names.is_empty() {
            continue;
        }
        let mend = rest.first().copied().unwrap_or_default();
        let (means, mut pages) = without_links(means);
        let (mend, more) = without_links(mend);
        pages.extend(more);
        out.push((names, Entry { of: section.clone(), condition, means, mend, pages }));
    }
    out
}

/// The reasons of a cell, and the rest of it.
fn reasons(cell: &str) -> (Vec<String>, String) {
    let (mut names, mut rest) = (Vec::new(), String::new());
    for (at, part) in cell.split('`').enumerate() {
        let is_name = part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric());
        if at % 2 == 1 && is_name {
            names.push(part.to_owned());
        } else if names.is_empty() || part.contains('(') {
            rest.push_str(part);
        }
    }
    (names, rest.trim().trim_end_matches(',').to_owned())
}

/// Text without marks, and where its links lead.
fn without_links(text: &str) -> (String, Vec<String>) {
    let (mut out, mut pages, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        let Some((words, (target, behind))) =
            after.split_once("](").and_then(|(words, rest)| Some((words, rest.split_once(')')?)))
        else {
            break;
        };
        out.push_str(before);
        out.push_str(words);
        pages.push(if target.starts_with('#') { format!("status.md{target}") } else { target.to_owned() });
        rest = behind;
    }
    out.push_str(rest);
    (out.replace('`', ""), pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { colour: false, utf8: true, width: None };

    #[test]
    fn a_reason_is_explained_wherever_it_is_said() {
        let page = "## Cluster\n\n| condition, reason | what it means | what to do |\n|---|---|---|\n\
            | Reachable False `Unreachable` | three failures | look at the network |\n\
            | `Connecting` (Unknown) | awaited | [wait](clusters.md#a); or `b` |\n\n| x | y | z |\n|---|---|---|\n| `Not` | a | b |\n\
            ## Instance\n| condition, reason | what it means | what to do |\n|---|---|---|\n\
            | any, Unknown `Unreachable`, `Connecting`, or more | no contact | |\n";
        let got: Vec<String> = rows(page)
            .iter()
            .map(|(names, e)| {
                format!(
                    "{} | {} | {} | {} | {}",
                    names.join("+"),
                    e.of,
                    e.condition,
                    e.mend,
                    e.pages.join(" ")
                )
            })
            .collect();
        assert_eq!(
            got,
            [
                "Unreachable | Cluster | Reachable False | look at the network | ",
                "Connecting | Cluster | (Unknown) | wait; or b | clusters.md#a",
                "Unreachable+Connecting | Instance | any, Unknown |  | ",
            ]
        );
    }

    #[test]
    fn the_page_explains_what_instances_say() {
        let shown = explain("shrinkheld").unwrap();
        assert_eq!(crate::view::schemas::wrong(&shown), [""; 0]);
        assert_eq!(shown.reason, "ShrinkHeld");
        assert_eq!(shown.entries.len(), 2, "of a Placement and of an instance");
        let text = explain("NotRegistered").unwrap().text(&LOOK);
        assert_eq!(
            text,
            "Ready Unknown NotRegistered (Instance): a chosen cluster is not there (yet); the instance goes there once it is\n\
             Do: register it\n"
        );
        assert_eq!(
            explain("ShrinkHold"),
            Err("no condition has the reason \"ShrinkHold\"; did you mean \"ShrinkHeld\"?".into())
        );
        assert!(all().len() > 60, "{}", all().len());
    }
}
