//! Expressions one after the other, with history and completion.

use super::answer::Mode;
use super::complete;
use super::world::World;
use anyhow::Context as _;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::path::PathBuf;

const HELP: &str = "\
An expression is checked and evaluated. Tab completes variables, fields and functions.
  :type EXPR  only check it
  :vars       the variables and their types
  :help       this
  :quit       end (also Ctrl-D)
All functions: kro-hub cel --docs";

struct Completion {
    world: World,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = complete::candidates(line.get(..at).unwrap_or_default(), &self.world);
        let pairs = found.into_iter().map(|(replacement, display)| Pair { display, replacement });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

pub(super) fn run(world: World, mode: Mode) -> anyhow::Result<()> {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config).context("the terminal")?;
    editor.set_helper(Some(Completion { world }));
    let history = history_file();
    if let Some(file) = &history {
        // There is no history the first time.
        drop(editor.load_history(file));
    }
    println!(":help says what there is");
    loop {
        let line = match editor.readline("cel> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        drop(editor.add_history_entry(line));
        let Some(Completion { world }) = editor.helper() else { break };
        match respond(line, world, mode) {
            Some(text) => println!("{text}"),
            None => break,
        }
    }
    if let Some(file) = &history {
        // History is a comfort: without a place for it the shell works too.
        drop(editor.save_history(file));
    }
    Ok(())
}

/// The answer to a line; `None` ends the shell.
fn respond(line: &str, world: &World, mode: Mode) -> Option<String> {
    let Some(command) = line.strip_prefix(':') else { return Some(world.answer(line, mode).text(None)) };
    let (command, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    Some(match command {
        "quit" | "q" | "exit" => return None,
        "help" | "h" | "?" => HELP.to_owned(),
        "vars" if world.variables.is_empty() => "none; start with --data FILE or --schema FILE".to_owned(),
        "vars" => {
            let rows = world.variables.iter().map(|(name, t)| format!("{name} : {t}"));
            rows.collect::<Vec<_>>().join("\n")
        }
        "type" if rest.trim().is_empty() => ":type needs an expression".to_owned(),
        "type" => match world.checked(rest.trim(), mode) {
            Ok((_, t)) => t.to_string(),
            Err(answer) => answer.text(None),
        },
        other => format!("no command :{other}; :help says what there is"),
    })
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let folder = state.join("kro-hub");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("cel-history"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands() {
        let data = json!({"a": {"b": 1}}).as_object().unwrap().clone();
        let world = World::new(data, serde_json::Map::new());
        let say = |line: &str| respond(line, &world, Mode { template: false, omit: false });
        assert_eq!(say("a.b + 1").as_deref(), Some("2 : int"));
        assert_eq!(say(":type a.b + 1").as_deref(), Some("int"));
        assert_eq!(say(":type").as_deref(), Some(":type needs an expression"));
        assert_eq!(say(":vars").as_deref(), Some("a : dyn"));
        assert!(say(":type 1 + 'a'").unwrap().contains("no matching overload"));
        assert!(say(":nope").unwrap().contains(":help"));
        assert_eq!(say(":quit"), None);
    }
}
