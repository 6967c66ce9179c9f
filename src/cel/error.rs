//! What can go wrong, before and during evaluation.
//!
//! Texts name types, fields and functions, never values: a value may come from a Secret, and these texts end in
//! conditions, events and logs.

use super::value::Val;
use std::fmt;

/// Why a source is not a valid expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    /// What is wrong, without a value.
    pub message: String,
    /// Byte offset in `source`.
    pub offset: usize,
    /// The expression, for the caret line.
    pub source_text: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl CompileError {
    pub(super) fn new(source: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset, source_text: source.to_owned(), help: None }
    }
    pub(super) fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
    /// This error with other help.
    #[must_use]
    pub fn with_help(self, help: Option<String>) -> Self {
        self.help(help)
    }
    /// Line and column, from 1, in characters.
    pub fn position(&self) -> (usize, usize) {
        let before: String =
            self.source_text.char_indices().take_while(|(i, _)| *i < self.offset).map(|(_, c)| c).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// cel-go's form: `ERROR: <input>:1:5: message`, the source line, a caret.
impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "ERROR: <input>:{line}:{column}: {}", self.message)?;
        if let Some(text) = self.source_text.split('\n').nth(line - 1).filter(|t| !t.is_empty()) {
            write!(f, "\n | {text}\n | {}^", ".".repeat(column - 1))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n {help}")?;
        }
        Ok(())
    }
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Some data is not there yet: a field, a key, a list element, a whole object. It may come.
    #[error("{message}")]
    Pending {
        /// What is missing, without a value.
        message: String,
    },
    /// The expression is wrong for this data.
    #[error("{message}")]
    Fatal {
        /// What is wrong, without a value.
        message: String,
    },
}

impl EvalError {
    /// Whether the data may come.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending { .. })
    }
    /// The text, without a value.
    pub fn message(&self) -> &str {
        match self {
            Self::Pending { message } | Self::Fatal { message } => message,
        }
    }
}

/// A fault inside an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// A key is absent from a map. `None` stands for a computed key, which may be a secret and is not shown.
    NoSuchKey(Option<String>),
    /// A variable has no value.
    NoSuchAttribute(String),
    /// A list is shorter than the index asks. `None`: the index was computed.
    IndexOutOfBounds(Option<i64>),
    /// No function of this name takes arguments of these types.
    NoSuchOverload { function: String, types: Vec<String> },
    /// Anything else that is wrong with the data.
    Invalid(String),
    /// The budget is used up. No operator absorbs this fault.
    Exhausted(&'static str),
}

impl Fault {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
    pub(super) fn overload<'a>(function: &str, args: impl IntoIterator<Item = &'a Val>) -> Self {
        let types = args.into_iter().map(|v| v.type_name().to_owned()).collect();
        Self::NoSuchOverload { function: function.to_owned(), types }
    }
}

impl From<Fault> for EvalError {
    fn from(fault: Fault) -> Self {
        let pending = |message| Self::Pending { message };
        let fatal = |message| Self::Fatal { message };
        match fault {
            Fault::NoSuchKey(Some(key)) => pending(format!("no such key: {key}")),
            Fault::NoSuchKey(None) => pending("no such key".to_owned()),
            Fault::NoSuchAttribute(name) => pending(format!("no such attribute(s): {name}")),
            Fault::IndexOutOfBounds(Some(index)) => pending(format!("index out of bounds: {index}")),
            Fault::IndexOutOfBounds(None) => pending("index out of bounds".to_owned()),
            Fault::NoSuchOverload { function, types } => {
                fatal(format!("no such overload: {function}({})", types.join(", ")))
            }
            Fault::Invalid(message) => fatal(message),
            Fault::Exhausted(what) => fatal(format!("expression needs too much {what}")),
        }
    }
}
