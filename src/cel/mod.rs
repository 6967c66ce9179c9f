//! Expressions.
//!
//! [`template`] finds the expressions of a text, [`Program`] is one of them: parsed, limited, its references known.
//! [`Program::eval`] evaluates it over a [`Scope`] within a [`Budget`].
//!
//! The crate `cel` parses, and only this module knows it. Evaluation is ours, over a tree of our own. So there can be
//! a budget that nothing escapes, sorted maps, positions, and errors that name types instead of values.
//!
//! Where kro is mended on purpose:
//! - every kind of string hides braces and `${` ([`template`]);
//! - each expression of a mixed text must give a string: `${a}${b}` of two integers is an error, not their sum;
//! - maps iterate in the order of their keys, so a rendering does not change by itself;
//! - bytes, or base64 text, may be written to a base64 field such as `Secret.data` ([`Program::eval_into`]).

mod advice;
mod budget;
pub(crate) mod check;
pub mod docs;
mod error;
mod eval;
mod inspect;
pub(crate) mod library;
mod messages;
mod re2;
mod scope;
mod shown;
mod suggest;
mod syntax;
pub mod template;
mod time;
mod typed;
pub(crate) mod types;
mod value;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod differential;
#[cfg(test)]
#[allow(clippy::too_many_lines)] // Tables.
mod laws;
#[cfg(test)]
mod tests;

pub use budget::{Budget, EXPRESSION_STEPS, MAX_SIZE, TOTAL_STEPS};
pub use check::{Decls, Problem};
pub use error::{CompileError, EvalError};
pub use inspect::{Condition, FieldPath};
pub use library::{Libraries, same_quantity};
pub use scope::{Bound, Scope};
pub use syntax::MAX_SOURCE;
pub use types::Type;
pub use value::{escape_field, unescape_field};

use error::Fault;
use inspect::References;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use syntax::Node;
use value::Val;

/// An expression, or a text with expressions, ready to be evaluated.
#[derive(Debug)]
pub struct Program {
    source: String,
    body: Body,
    references: References,
}

#[derive(Debug)]
enum Body {
    Expression(Node),
    /// Pieces of a text; a source goes with each expression.
    Mixed(Vec<Piece>),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Expression(Node, String),
}

impl Program {
    /// Parses, checks the limits, refuses unknown functions.
    pub fn compile(source: &str) -> Result<Self, CompileError> {
        Self::compile_with(source, Libraries::default())
    }

    /// As [`Self::compile`], with more libraries than kro's.
    pub fn compile_with(source: &str, libraries: Libraries) -> Result<Self, CompileError> {
        let node = syntax::parse(source, libraries)?;
        Ok(Self::new(source.to_owned(), Body::Expression(node)))
    }

    /// Parses a mixed text, whose value is the concatenation of its parts. Each expression must give a string.
    pub fn compile_mixed(parts: &[template::Part]) -> Result<Self, CompileError> {
        Self::compile_mixed_with(parts, Libraries::default())
    }

    /// As [`Self::compile_mixed`], with more libraries than kro's.
    pub fn compile_mixed_with(parts: &[template::Part], libraries: Libraries) -> Result<Self, CompileError> {
        let mut pieces = Vec::with_capacity(parts.len());
        let mut source = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                template::Part::Literal(text) => {
                    source.push(format!("{text:?}"));
                    pieces.push(Piece::Literal(text.clone()));
                }
                template::Part::Expr(text) => {
                    source.push(format!("({text})"));
                    pieces.push(Piece::Expression(syntax::parse(text, libraries)?, text.clone()));
                }
            }
        }
        Ok(Self::new(source.join(" + "), Body::Mixed(pieces)))
    }

    /// Parses and type-checks: the program and the type of its result, or everything that is wrong, in order.
    pub fn compile_typed(source: &str, decls: &Decls) -> Result<(Self, Type), Vec<Problem>> {
        Self::compile_typed_with(source, decls, Libraries::default())
    }

    /// As [`Self::compile_typed`], with more libraries than kro's.
    pub fn compile_typed_with(
        source: &str,
        decls: &Decls,
        libraries: Libraries,
    ) -> Result<(Self, Type), Vec<Problem>> {
        let (node, unknown) = syntax::parse_leniently(source, libraries).map_err(|e| vec![e])?;
        let found = check::check(source, &node, decls)?;
        if let Some(error) = unknown {
            return Err(vec![error]);
        }
        Ok((Self::new(source.to_owned(), Body::Expression(node)), found))
    }

    /// Parses and type-checks a mixed text. Every expression must give a string.
    pub fn compile_mixed_typed(parts: &[template::Part], decls: &Decls) -> Result<Self, Vec<Problem>> {
        Self::compile_mixed_typed_with(parts, decls, Libraries::default())
    }

    /// As [`Self::compile_mixed_typed`], with more libraries than kro's.
    pub fn compile_mixed_typed_with(
        parts: &[template::Part],
        decls: &Decls,
        libraries: Libraries,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        for part in parts {
            if let template::Part::Expr(source) = part {
                match Self::compile_typed_with(source, decls, libraries) {
                    Ok((_, t)) if matches!(t.plain(), Type::String | Type::Dyn) => {}
                    Ok((program, other)) => {
                        let message = format!("expected type 'string' but found '{}'", other.in_message());
                        let code = match &program.body {
                            Body::Expression(node) => advice::as_text(node, source, decls),
                            Body::Mixed(_) => None,
                        };
                        let help = code.map(|code| {
                            format!("an expression inside a text must be a string: write ${{{code}}}")
                        });
                        problems.push(Problem::new(source, 0, message).help(help));
                    }
                    Err(found) => problems.extend(found),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Self::compile_mixed_with(parts, libraries).map_err(|e| vec![e])
    }

    /// The type of the program's result where the variables have these types, or everything that is wrong, in order.
    ///
    /// # Errors
    /// In a mixed text every expression must give a string. The source of an error is then the expression that it is
    /// in.
    pub fn check(&self, decls: &Decls) -> Result<Type, Vec<Problem>> {
        let pieces = match &self.body {
            Body::Expression(node) => return check::check(&self.source, node, decls),
            Body::Mixed(pieces) => pieces,
        };
        let mut problems = Vec::new();
        for piece in pieces {
            let Piece::Expression(node, source) = piece else { continue };
            match check::check(source, node, decls) {
                Ok(t) if matches!(t.plain(), Type::String | Type::Dyn) => {}
                Ok(other) => {
                    let message = format!(
                        "found no matching overload for '_+_' applied to '(string, {})'",
                        other.in_message()
                    );
                    let help = advice::as_text(node, source, decls).map(|code| format!("write ${{{code}}}"));
                    problems.push(Problem::new(source, 0, message).help(help));
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(Type::String) } else { Err(problems) }
    }

    fn new(source: String, body: Body) -> Self {
        let roots: Vec<&Node> = match &body {
            Body::Expression(node) => vec![node],
            Body::Mixed(pieces) => pieces
                .iter()
                .filter_map(|p| match p {
                    Piece::Expression(node, _) => Some(node),
                    Piece::Literal(_) => None,
                })
                .collect(),
        };
        let references = inspect::references(&roots);
        Self { source, body, references }
    }

    /// The expression as written; for a mixed text, the concatenation that it stands for.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables it needs: no macro variables, no functions, no types.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.references.variables
    }

    /// The field chains that start at a variable.
    pub fn paths(&self) -> &[FieldPath] {
        &self.references.paths
    }

    /// The functions it calls, by name (`size`, `json.marshal`, `omit`); operators and macros are none.
    ///
    /// Where a function may stand is for the caller to decide: `omit` only in templates and behind its gate,
    /// `runtime.condition` and `runtime.newCondition` only in conditions.
    pub fn functions(&self) -> &BTreeSet<&'static str> {
        &self.references.functions
    }

    /// The conditions it makes and reads, where their types are written out.
    pub fn conditions(&self) -> &[Condition] {
        &self.references.conditions
    }

    /// Evaluates and converts the result by kro's rules.
    pub fn eval(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Json, EvalError> {
        let omitted = || EvalError::Fatal { message: "omit() has no field or element to remove here".into() };
        self.eval_or_omit(scope, budget)?.ok_or_else(omitted)
    }

    /// Evaluates as [`Self::eval`] does; `None` when the result is `omit()`. The field or element that has this value
    /// goes away.
    pub fn eval_or_omit(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Option<Json>, EvalError> {
        budget.start();
        let result = self.run(scope, budget).and_then(|value| value.into_field(budget));
        result.map_err(EvalError::from)
    }

    /// Evaluates for a field of this type: bytes become base64 where the field holds base64, as `Secret.data` does.
    pub fn eval_into(
        &self,
        scope: &Scope<'_>,
        budget: &Budget,
        field: &Type,
    ) -> Result<Option<Json>, EvalError> {
        budget.start();
        let result = self.run(scope, budget).and_then(|v| typed::for_field(v, field).into_field(budget));
        result.map_err(EvalError::from)
    }

    fn run(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Val, Fault> {
        let mut evaluation = eval::Evaluation::new(scope, budget);
        let pieces = match &self.body {
            Body::Expression(node) => return evaluation.eval(node),
            Body::Mixed(pieces) => pieces,
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression(node, source) => match evaluation.eval(node)? {
                    Val::String(part) => {
                        budget.text(text.len() + part.len())?;
                        text.push_str(&part);
                    }
                    other => {
                        let name = other.type_name();
                        return Err(Fault::invalid(format!(
                            "`{source}` gives {name} inside a text, which takes strings only: use string(…)"
                        )));
                    }
                },
            }
        }
        Ok(Val::string(text))
    }
}
