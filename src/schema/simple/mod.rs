//! SimpleSchema: one line for a field, and the OpenAPI it becomes.
//!
//! ```text
//! replicas: integer | default=3 minimum=1
//! ports:    "[]Port | listType=map listMapKey=name"
//! ```
//!
//! A field is a type and, after the first `|`, markers. [`types`] reads the type, [`markers`] splits the markers,
//! [`constraint`] says what each of them does to the schema, [`build`] puts fields, objects and custom types together.

mod build;
mod constraint;
mod markers;
mod number;
mod pattern;
mod sound;
mod suggest;
mod types;

use serde_json::Value;
use std::fmt;

/// Something wrong in a schema: where, what, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is wrong, as in `spec.schema.spec.ports[].name`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to repair it, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// OpenAPI v3 of an instance's `.spec`, from `spec.schema.spec` and `spec.schema.types`; all problems at once. Null
/// stands for a part that the author left out.
pub fn openapi(spec: &Value, types: &Value) -> Result<Value, Vec<Problem>> {
    build::openapi(spec, types)
}

/// What is wrong with one word, before it is known where the word stands.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    message: String,
    help: Option<String>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }
    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
    fn at(self, path: &str) -> Problem {
        Problem { path: path.to_owned(), message: self.message, help: self.help }
    }
}

#[cfg(test)]
mod tests;
