//! Changes as a comment under a pull request.

use super::{Changes, Diff, Group};
use crate::view::Look;
use std::fmt::Write;

/// Forges take 65,536 characters, and bots add words of their own.
pub const MOST_BYTES: usize = 60_000;
/// Room for the words about what is left out.
const RESERVED: usize = 400;

const PLAIN: Look = Look { colour: false, utf8: true, width: None };

/// What stands around the changes.
pub(super) struct Frame {
    /// By this a bot finds its comment, to write it anew.
    pub mark: &'static str,
    /// Where nothing changes.
    pub nothing: String,
    /// What begins it.
    pub head: String,
    /// Lines that stand with the definitions.
    pub lines: Vec<String>,
    /// What shows all of it.
    pub command: &'static str,
}

impl Diff {
    pub fn markdown(&self) -> String {
        let (from, to) = (code(&self.spec.from), code(&self.spec.to));
        self.changes.markdown(Frame {
            mark: "<!-- kro-hub diff -->",
            nothing: format!("**No change** from {from} to {to}."),
            head: format!("**{}** from {from} to {to}.", self.changes.summary.text()),
            lines: Vec::new(),
            command: "kro-hub diff",
        })
    }
}

impl Changes {
    pub(super) fn markdown(&self, frame: Frame) -> String {
        let Frame { mark, nothing, head: begin, lines: more, command } = frame;
        let mut out = format!("{mark}\n");
        if self.is_empty() && more.is_empty() {
            let _ = writeln!(out, "{nothing}");
            return out;
        }
        let _ = writeln!(out, "{begin}\n");
        let clusters = self.clusters.iter().map(|cluster| cluster.line(&PLAIN));
        let lines = clusters.chain(self.definitions.iter().map(|definition| definition.line(&PLAIN)));
        let (mut hidden, mut head) = (0, String::new());
        for line in lines.chain(more) {
            if out.len() + head.len() + line.len() + RESERVED > MOST_BYTES / 2 {
                hidden += 1;
            } else {
                head.push_str(&line);
            }
        }
        if !head.is_empty() {
            let _ = write!(out, "{}", fenced(&head));
        }
        let mut left = Left { lines: hidden, ..Left::default() };
        for group in &self.groups {
            group.markdown(&mut out, &mut left);
        }
        out.push_str(&left.text(command));
        out
    }
}

/// What there was no room for.
#[derive(Default)]
struct Left {
    lines: usize,
    groups: usize,
    instances: usize,
}

impl Left {
    fn text(&self, command: &str) -> String {
        let Self { lines, groups, instances } = *self;
        let parts =
            [(groups, "groups of clusters"), (instances, "instances"), (lines, "definitions and clusters")];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if parts.is_empty() {
            return String::new();
        }
        format!("\nLeft out here, for want of room: {}. `{command}` shows them all.\n", parts.join(", "))
    }
}

impl Group {
    fn markdown(&self, out: &mut String, left: &mut Left) {
        let title = format!("\n<details><summary>{}</summary>\n\n", escaped(&self.title()));
        let end = "\n</details>\n";
        let room = |used: usize| used + RESERVED <= MOST_BYTES;
        let (mut body, mut fitted) = (String::new(), 0);
        for instance in &self.instances {
            let text = instance.text(&PLAIN);
            // The sign of a change begins its line, so that it is coloured.
            let text: String =
                text.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
            let fences = 2 * (longest_run(&body).max(longest_run(&text)) + 16);
            if !room(out.len() + title.len() + body.len() + text.len() + fences + end.len()) {
                break;
            }
            body.push_str(&text);
            fitted += 1;
        }
        if fitted == 0 {
            left.groups += 1;
            left.instances += self.instances.len();
            return;
        }
        left.instances += self.instances.len() - fitted;
        let _ = write!(out, "{title}{}{end}", fenced(&body));
    }
}

/// What is in it cannot end the block.
fn fenced(text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}diff\n{text}{fence}\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
