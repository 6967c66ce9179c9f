//! How a command shows what it found: which form, which colours, how wide.

use crate::view::Look;
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    /// With more columns
    Wide,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colours {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, Args)]
pub struct Showing {
    /// Colours: auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Colours,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
}

/// What the environment says, apart from this process.
struct Environment {
    terminal: bool,
    variable: fn(&str) -> Option<String>,
}

impl Showing {
    /// What standard output can do.
    pub fn look(&self) -> Look {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        let environment = Environment { terminal, variable };
        Look {
            colour: environment.colours(self.color),
            utf8: environment.utf8(),
            width: if terminal { width() } else { None },
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line on standard error.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    pub fn notes(&self, texts: Vec<String>) {
        texts.iter().for_each(|text| self.note(&format!("note: {text}")));
    }
}

impl Environment {
    fn colours(&self, wish: Colours) -> bool {
        let is = |name: &str| (self.variable)(name);
        match wish {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto if is("NO_COLOR").is_some() => false,
            Colours::Auto if is("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
            Colours::Auto => self.terminal && is("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    fn utf8(&self) -> bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(self.variable);
        locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
    }
}

fn width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col.into());
    said.or_else(asked).filter(|width| *width > 0)
}

/// Prints; a reader that has seen enough is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _seen = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours(terminal: bool, variable: fn(&str) -> Option<String>) -> bool {
        Environment { terminal, variable }.colours(Colours::Auto)
    }

    #[test]
    fn colours_go_by_the_terminal_and_by_what_is_asked_for() {
        fn set(name: &str, wanted: &str, value: &str) -> Option<String> {
            (name == wanted).then(|| value.to_owned())
        }
        assert!(colours(true, |_| None) && !colours(false, |_| None));
        assert!(!colours(true, |n| set(n, "NO_COLOR", "1")));
        assert!(colours(false, |n| set(n, "CLICOLOR_FORCE", "1")));
        assert!(!colours(false, |n| set(n, "CLICOLOR_FORCE", "0")));
        assert!(!colours(true, |n| set(n, "TERM", "dumb")));
        let all = Environment { terminal: false, variable: |n| set(n, "NO_COLOR", "1") };
        assert!(all.colours(Colours::Always) && !all.colours(Colours::Never));
    }

    #[test]
    fn signs_go_by_the_locale() {
        let utf8 = |variable| Environment { terminal: true, variable }.utf8();
        assert!(utf8(|n| (n == "LANG").then(|| "de_DE.UTF-8".into())));
        assert!(utf8(|n| (n == "LC_ALL").then(|| "C.utf8".into())));
        assert!(!utf8(|n| Some(if n == "LC_ALL" { "C" } else { "de_DE.UTF-8" }.into())));
        assert!(!utf8(|_| None));
    }
}
