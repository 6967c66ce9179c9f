//! The expressions of a definition, each compiled once however often its text occurs.

use super::diagnostic::{Path, Problems, backslash};
use super::template::Template;
use crate::api::maps::HashMap;
use crate::cel::template::{Part, Text, split};
use crate::cel::{Libraries, Program};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A compiled expression, or a text with expressions in it.
pub struct Expression {
    /// As the author wrote it, with `${` and `}`.
    pub text: String,
    pub program: Program,
    /// The whole text is one expression, so that its result keeps its type.
    pub standalone: bool,
    /// Where a pass keeps the result. Equal texts of one graph have one slot.
    pub slot: usize,
}

impl Expression {
    pub fn reads(&self, variable: &str) -> bool {
        self.program.variables().contains(variable)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An expression at a place.
#[derive(Clone, Debug)]
pub struct Use {
    pub path: Path,
    pub expression: Arc<Expression>,
}

/// All expressions of one definition.
pub struct Expressions {
    known: HashMap<String, Arc<Expression>>,
    libraries: Libraries,
}

impl Expressions {
    /// No expressions yet. They may use these libraries beside kro's.
    pub fn new(libraries: Libraries) -> Self {
        Self { known: HashMap::default(), libraries }
    }

    /// How many different expressions there are; slots are below this.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Expression>> {
        self.known.values()
    }

    /// Compiles all that is in a JSON value.
    pub fn read(&mut self, value: &Value, path: &Path, problems: &mut Problems) -> (Template, Vec<Use>) {
        let mut uses = Vec::new();
        let template = Template::read(value, path, problems, &mut |text, path, problems| {
            let expression = self.text(text, path, problems)?;
            uses.push(Use { path: path.clone(), expression: expression.clone() });
            Some(expression)
        });
        (template, uses)
    }

    /// Compiles a text that must be one expression, as conditions and forEach need.
    pub fn standalone(&mut self, text: &str, path: &Path, problems: &mut Problems) -> Option<Use> {
        let expression = self.text(text, path, problems);
        match expression {
            Some(expression) if expression.standalone => Some(Use { path: path.clone(), expression }),
            // A text that failed to compile was reported already.
            None if !matches!(split(text), Ok(Text::Literal(_))) => None,
            _ => {
                let one = self.as_one(text).map(|one| format!("write one expression: {one}"));
                let help = backslash(text, None).or(one);
                let message = format!("only standalone expressions are allowed, got {text:?}");
                problems.add_with_help(path, message, help);
                None
            }
        }
    }

    /// The text as one expression, if it is meant as one: `a > 1`, `${a} && ${b}`.
    fn as_one(&self, text: &str) -> Option<String> {
        let source = match split(text).ok()? {
            Text::Literal(source) | Text::Standalone(source) => source.trim().to_owned(),
            Text::Mixed(parts) => {
                let pieces = parts.iter().map(|p| match p {
                    Part::Literal(text) | Part::Expr(text) => text.as_str(),
                });
                pieces.collect::<String>().trim().to_owned()
            }
        };
        let one = format!("${{{source}}}");
        let whole = split(&one) == Ok(Text::Standalone(source.clone()));
        (whole && Program::compile_with(&source, self.libraries).is_ok()).then_some(one)
    }

    /// Compiles a text; `None` if it has no expressions, or has a problem.
    fn text(&mut self, text: &str, path: &Path, problems: &mut Problems) -> Option<Arc<Expression>> {
        let split = match split(text) {
            Ok(split) => split,
            Err(error) => {
                problems.add(path, format!("{text:?}: {error}"));
                return None;
            }
        };
        if let Text::Literal(_) = split {
            return None;
        }
        if let Some(known) = self.known.get(text) {
            return Some(known.clone());
        }
        let compiled = match &split {
            Text::Literal(_) => return None,
            Text::Standalone(source) => Program::compile_with(source, self.libraries),
            Text::Mixed(parts) => Program::compile_mixed_with(parts, self.libraries),
        };
        match compiled {
            Ok(program) => {
                let standalone = matches!(split, Text::Standalone(_));
                let slot = self.known.len();
                let expression = Arc::new(Expression { text: text.to_owned(), program, standalone, slot });
                self.known.insert(text.to_owned(), expression.clone());
                Some(expression)
            }
            Err(error) => {
                let help = backslash(text, Some(&error.source_text)).or_else(|| error.help.clone());
                problems.in_expression(path, &format!("failed to compile {text}"), &error.with_help(help));
                None
            }
        }
    }
}
