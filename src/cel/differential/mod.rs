//! Generated expressions, answered by kro's own environment and by us.
//!
//! Not part of an ordinary run: it needs two programs built from kro's sources, which print what kro makes of a file of
//! expressions. `KRO_HUB_CEL_ORACLE=values-program,types-program cargo test --lib cel::differential -- --ignored
//! --nocapture`; `KRO_HUB_CEL_EXPRESSIONS` and `KRO_HUB_CEL_SEED` say how many and which. `KRO_HUB_CEL_FILE` names a file
//! of expressions, one a line, to be asked instead.

mod grammar;

use super::conformance::{folder, same_text};
use super::*;
use grammar::{Dice, Generator, TYPED, UNTYPED};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Differences that are wanted: part of the class that [`Tally`] gives them, part of the expression, why.
/// docs/cel-differences.md says more.
const DECIDED: [(&str, &str, &str); 33] = [
    ("kro gives a value: bytes can not be written", "", "the program prints bytes, kro itself refuses them"),
    (
        "kro gives a value: uint value does not fit",
        "",
        "the program prints uints, kro itself refuses large ones",
    ),
    ("syntax error in other words", "", "the parsers expect different tokens"),
    ("refusal: ours ERROR: <input>:#:#: error during formatting", "", "all mistakes at once, in order"),
    ("refusal: ours ERROR: <input>:#:#: too many arguments supplied", "", "all mistakes at once, in order"),
    ("invalid character class range", "OldItalic", "found without the `_` that Go misses"),
    ("value", "f + [x]", "a list that is bound stays as it is"),
    ("value", "double('NaN'): 2", "as a key, what is no number is one"),
    ("value", "('EST", "another edition of the time zones"),
    ("value", "('CET')", "another edition of the time zones"),
    ("value", "('MST')", "another edition of the time zones"),
    ("unknown time zone", "'posixrules'", "a file, but no zone"),
    ("unsupported key type", "", "as keys, kro never finds them again"),
    ("value, kro fails: internal error", "b'a' in", "no error of Go's maps"),
    ("quantity is too large", "'1e100'", "sums of more than 38 digits"),
    ("timestamp overflow", "google.protobuf.Timestamp", "years from 1 to 9999"),
    ("integer overflow", "18446744073709551615.0.0", "kro's numbers begin anew"),
    ("is not a message type", "kro.run.Condition", "kro refuses it when it is evaluated"),
    ("cannot convert value to integer", "-9223372036854775808", "kro's numbers begin anew"),
    ("invalid argument to has() macro", "", "a syntax error is told before what the macro makes of it"),
    ("kro ERROR: <input>:#:#: argument must be a simple name", "", "the words of one-variable macros"),
    (
        "kro ERROR: <input>:#:#: undeclared reference to _ (in container _)",
        "type",
        "types are known everywhere",
    ),
    ("taken, refused by kro: ERROR: <input>:#:#: error during formatting: string", "", "text of any value"),
    ("unexpected failed resolution", "", "says what is wrong instead"),
    ("kro's answers vary", "", "Go's maps have no order, ours are sorted"),
    ("value, kro fails: no such overload", "quantity(", "quantities that were computed can be compared"),
    ("value, kro fails: no such overload", "ip(", "values of different types are not equal"),
    ("value, kro fails: no such overload", "cidr(", "values of different types are not equal"),
    ("value, kro fails: no such overload", "url(", "values of different types are not equal"),
    ("value, kro fails: no such overload", "semver(", "values of different types are not equal"),
    ("refusal: ours ERROR: <input>:#:#: unexpected end of string", "'%'", "all mistakes at once, in order"),
    ("refusal: ours ERROR: <input>:#:#: argument is not an identifier", "(.", "kro forgets the dot"),
    (
        "taken, refused by kro: ERROR: <input>:#:#: undeclared reference",
        "type",
        "`type` is a type everywhere",
    ),
];

/// A question is asked again as often before an answer counts as the only one: Go's maps have no order.
const ASKED_AGAIN: usize = 40;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn oracles() -> Option<(PathBuf, PathBuf)> {
    let Ok(paths) = std::env::var("KRO_HUB_CEL_ORACLE") else {
        eprintln!("skipped: KRO_HUB_CEL_ORACLE does not name the programs to compare with");
        return None;
    };
    let (values, types) = paths.split_once(',').expect("KRO_HUB_CEL_ORACLE=values-program,types-program");
    Some((values.into(), types.into()))
}

/// The lines of the file that the caller wants to be asked.
fn written() -> Option<Vec<String>> {
    let path = std::env::var("KRO_HUB_CEL_FILE").ok()?;
    let text = std::fs::read_to_string(&path).expect("KRO_HUB_CEL_FILE can be read");
    Some(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn ask(program: &Path, args: &[&Path]) -> Vec<String> {
    let out = Command::new(program).args(args).output().expect("the oracle runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

fn file(name: &str, lines: impl Iterator<Item = String>) -> PathBuf {
    let path = std::env::temp_dir().join(format!("kro-hub-{}-{name}", std::process::id()));
    std::fs::write(&path, lines.map(|l| l + "\n").collect::<String>()).unwrap();
    path
}

/// What is wrong with two answers: a class, and the answers.
type Difference = (String, String);

/// What differs, and the decision that covers it.
type Class = (String, Option<&'static str>);

#[derive(Default)]
struct Tally {
    compared: usize,
    answers: BTreeMap<&'static str, usize>,
    classes: BTreeMap<Class, (usize, Vec<String>)>,
}

impl Tally {
    fn add(&mut self, expr: &str, difference: Difference) {
        let decided = DECIDED.iter().find(|(c, e, _)| difference.0.contains(c) && expr.contains(e));
        let class = (difference.0, decided.map(|(.., reason)| *reason));
        let (count, examples) = self.classes.entry(class).or_default();
        *count += 1;
        if examples.len() < number("KRO_HUB_CEL_EXAMPLES", 3) as usize {
            examples.push(format!("{expr}\n        {}", difference.1));
        }
    }

    fn report(self) {
        eprintln!("{} compared: {:?}", self.compared, self.answers);
        let mut classes: Vec<_> = self.classes.into_iter().collect();
        classes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let mut undecided = 0;
        for ((class, decided), (count, examples)) in &classes {
            match decided {
                Some(reason) => eprintln!("{count:6} {class}: decided, {reason}"),
                None => {
                    undecided += count;
                    eprintln!("{count:6} {class}\n      {}", examples.join("\n      "));
                }
            }
        }
        assert_eq!(undecided, 0, "differences that nobody decided");
    }
}

/// A text with names and numbers taken out, so that equal mistakes look equal.
fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut quoted = None;
    for c in text.chars().take(400) {
        match quoted {
            Some(q) if c == q => quoted = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => {
                quoted = Some(c);
                out.push('_');
            }
            None if c.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            None => out.push(c),
        }
    }
    out.chars().take(120).collect()
}

fn first_line(problems: &[Problem]) -> String {
    let text = problems.first().map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

const SYNTAX: &str = "Syntax error";

/// Compares the first lines of two refusals.
fn refusals(ours: &str, kro: &str) -> Option<Difference> {
    // The programs put a blank or a slash for the end of a line.
    let first = kro.split("  | ").next().unwrap_or_default().trim_end_matches(" /");
    // Open types are numbered as they come, which depends on what the macros become.
    let open = |text: &str| -> String {
        let mut parts = text.split("_var");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| out + "_var" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    if open(ours) == open(first) {
        return None;
    }
    let class = match (ours.contains(SYNTAX), first.contains(SYNTAX)) {
        (true, true) => "syntax error in other words".to_owned(),
        _ => format!("refusal: ours {} | kro {}", shape(ours), shape(first)),
    };
    Some((class, format!("ours {ours}\n        kro  {first}")))
}

/// What we make of an expression.
enum Ours {
    Refused(String),
    Value(Json, String),
    Failed(EvalError, String),
}

fn ours(expr: &str, decls: &Decls, scope: &Scope<'_>) -> Ours {
    match Program::compile_typed(expr, decls) {
        Err(problems) => Ours::Refused(first_line(&problems)),
        Ok((program, t)) => match program.eval_or_omit(scope, &Budget::default()) {
            Ok(value) => Ours::Value(value.unwrap_or(Json::Null), t.to_string()),
            Err(error) => Ours::Failed(error, t.to_string()),
        },
    }
}

/// Compares with a line of the values program.
fn answers(ours: &Ours, kro: &str, kind: &mut &'static str) -> Option<Difference> {
    let shown = |text: &str| -> String {
        let ours = match ours {
            Ours::Refused(text) => format!("refused {text}"),
            Ours::Value(value, t) => format!("{value} : {t}"),
            Ours::Failed(error, t) => format!("{error:?} : {t}"),
        };
        format!("ours {ours}\n        kro  {text}")
    };
    if let Some(text) = kro.strip_prefix("CHECK-ERR ") {
        *kind = "refused";
        return match ours {
            Ours::Refused(mine) => refusals(mine, text),
            _ => Some((format!("taken, refused by kro: {}", shape(text.split("  | ").next()?)), shown(text))),
        };
    }
    if let Some(text) = kro.strip_prefix("PROG-ERR ") {
        *kind = "refused before evaluation";
        return match ours {
            Ours::Refused(_) | Ours::Failed(..) => None,
            Ours::Value(..) => Some((format!("value, no program: {}", shape(text)), shown(text))),
        };
    }
    let Some((answer, t)) = kro.rsplit_once(" : ") else {
        return Some(("unreadable answer".to_owned(), shown(kro)));
    };
    let mine = match ours {
        Ours::Refused(text) => {
            return Some((format!("refused, taken by kro: {}", shape(text)), shown(kro)));
        }
        Ours::Value(_, t) | Ours::Failed(_, t) => t,
    };
    if mine != t {
        return Some(("type".to_owned(), shown(kro)));
    }
    if let Some(text) = answer.strip_prefix("EVAL-ERR ") {
        *kind = "failed";
        let waits = ["no such key", "no such field", "no such attribute", "index out of bounds"];
        let pending = waits.iter().any(|p| text.contains(p));
        return match ours {
            Ours::Failed(error, _) if error.is_pending() == pending => None,
            Ours::Failed(error, _) => Some((
                format!("pending or fatal: ours {} | kro {}", shape(error.message()), shape(text)),
                shown(kro),
            )),
            _ => Some((format!("value, kro fails: {}", shape(text)), shown(kro))),
        };
    }
    if answer.starts_with("CONV-ERR ") || answer.is_empty() {
        *kind = "not writable";
        return match ours {
            Ours::Failed(error, _) if !error.is_pending() => None,
            _ => Some((format!("written, kro can not: {}", shape(answer)), shown(kro))),
        };
    }
    *kind = "value";
    match ours {
        Ours::Value(value, _) if same_text(value, answer) => None,
        Ours::Value(..) => Some(("value".to_owned(), shown(kro))),
        Ours::Failed(error, _) => {
            Some((format!("fails, kro gives a value: {}", shape(error.message())), shown(kro)))
        }
        Ours::Refused(_) => None,
    }
}

/// Recursion on the main thread of a test would be short of stack in a build without optimization.
fn on_large_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(16 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
#[ignore = "needs programs built from kro's sources"]
fn values() {
    let (Some(folder), Some((program, _))) = (folder(), oracles()) else { return };
    on_large_stack(move || {
        let path = folder.join("../oracle/data.json");
        let data: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let (mut scope, mut decls) = (Scope::new(), Decls::new());
        for (name, value) in data.as_object().unwrap() {
            scope.bind(name, value);
            decls.declare(name, Type::Dyn);
        }
        let dice = Dice(number("KRO_HUB_CEL_SEED", 1));
        let mut generator = Generator { dice, variables: UNTYPED };
        let count = number("KRO_HUB_CEL_EXPRESSIONS", 10_000) as usize;
        let made = || std::iter::repeat_with(|| generator.next()).take(count).collect();
        let exprs: Vec<String> = written().unwrap_or_else(made);
        let count = exprs.len();
        let kro = |exprs: &[&str]| -> Vec<String> {
            let asked = file("values", exprs.iter().map(|e| format!("x\t{e}")));
            // An answer may have several lines; those of a failure do.
            let mut lines: Vec<String> = Vec::new();
            for line in ask(&program, &[&asked, &path]) {
                match lines.last_mut() {
                    Some(before) if !(line.starts_with("DIFF\tx\t") || line.starts_with("    \tx\t")) => {
                        before.push(' ');
                        before.push_str(&line);
                    }
                    _ => lines.push(line),
                }
            }
            assert_eq!(lines.len(), exprs.len());
            let answer = |line: &String| {
                let (_, answer) = line.rsplit_once("\t=> ").unwrap();
                answer.strip_suffix("\t(table )").unwrap().to_owned()
            };
            lines.iter().map(answer).collect()
        };
        let asked: Vec<&str> = exprs.iter().map(String::as_str).collect();
        let theirs = kro(&asked);
        let mut tally = Tally { compared: count, ..Tally::default() };
        let mut doubtful = Vec::new();
        for (expr, answer) in exprs.iter().zip(&theirs) {
            let mine = ours(expr, &decls, &scope);
            let mut kind = "";
            if let Some(difference) = answers(&mine, answer, &mut kind) {
                doubtful.push((expr.as_str(), mine, difference));
            }
            *tally.answers.entry(kind).or_default() += 1;
        }
        let again: Vec<&str> = doubtful.iter().flat_map(|(e, ..)| [*e; ASKED_AGAIN]).collect();
        let again = kro(&again);
        for ((expr, mine, difference), theirs) in doubtful.into_iter().zip(again.chunks(ASKED_AGAIN)) {
            if theirs.iter().any(|answer| answers(&mine, answer, &mut "").is_none()) {
                *tally.answers.entry("one of several answers of kro").or_default() += 1;
            } else if theirs.iter().any(|answer| *answer != theirs[0]) {
                tally.add(expr, ("kro's answers vary".to_owned(), difference.1));
            } else {
                tally.add(expr, difference);
            }
        }
        tally.report();
    });
}

#[test]
#[ignore = "needs programs built from kro's sources"]
fn types() {
    let (Some(folder), Some((_, program))) = (folder(), oracles()) else { return };
    on_large_stack(move || {
        let text = std::fs::read_to_string(folder.join("kro-cel-typed.json")).unwrap();
        let data: Json = serde_json::from_str(&text).unwrap();
        let mut decls = Decls::new();
        decls.declare_schema("schema", &data["schema"]);
        let dice = Dice(number("KRO_HUB_CEL_SEED", 1) ^ 0x5eed);
        let mut generator = Generator { dice, variables: TYPED };
        let count = number("KRO_HUB_CEL_EXPRESSIONS", 10_000) as usize;
        // The types program trims its file, and pads each expression.
        let wanted = |e: &String| e.trim() == e && !e.is_empty();
        let made = || std::iter::repeat_with(|| generator.next()).filter(wanted).take(count).collect();
        let exprs: Vec<String> = written().unwrap_or_else(made);
        let count = exprs.len();
        let lines = ask(&program, &[&file("types", exprs.iter().cloned())]);
        assert_eq!(lines.len(), exprs.len());
        let mut tally = Tally { compared: count, ..Tally::default() };
        for (expr, line) in exprs.iter().zip(&lines) {
            let answer = line.strip_prefix(expr.as_str()).unwrap().trim_start();
            let mine = Program::compile_typed(expr, &decls);
            let shown = |mine: &str| format!("ours {mine}\n        kro  {answer}");
            let difference = match (mine, answer.split_at(2)) {
                (Err(problems), ("! ", text)) => refusals(&first_line(&problems), text),
                (Ok((_, t)), (": ", want)) if t.to_string() == want => None,
                (Ok((_, t)), (": ", _)) => Some(("type".to_owned(), shown(&t.to_string()))),
                (Ok((_, t)), (_, text)) => {
                    let class =
                        format!("taken, refused by kro: {}", shape(text.split(" / ").next().unwrap()));
                    Some((class, shown(&t.to_string())))
                }
                (Err(problems), _) => {
                    let mine = first_line(&problems);
                    Some((format!("refused, taken by kro: {}", shape(&mine)), shown(&mine)))
                }
            };
            *tally.answers.entry(if answer.starts_with('!') { "refused" } else { "typed" }).or_default() += 1;
            if let Some(difference) = difference {
                tally.add(expr, difference);
            }
        }
        tally.report();
    });
}
