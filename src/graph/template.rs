//! A JSON value with expressions in it. A tree, so that no key can be mistaken for a path.

use super::diagnostic::{Path, Problems};
use super::expression::Expression;
use crate::cel::{EvalError, Type};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deeper templates are refused: reading and rendering go down recursively.
const MAX_DEPTH: usize = 100;

#[derive(Clone, Debug)]
pub enum Template {
    /// No expression anywhere below.
    Literal(Value),
    Expression(Arc<Expression>),
    /// An expression in a field that holds base64 somewhere: bytes are written encoded.
    Encoded(Arc<Expression>, Arc<Type>),
    Map(BTreeMap<String, Template>),
    List(Vec<Template>),
}

/// An expression that gave no value, and where in the template it stands.
#[derive(Debug)]
pub struct Failure {
    /// The path from the template's root, e.g. `metadata.name`.
    pub path: String,
    pub text: String,
    pub error: EvalError,
}

/// Compiles one text; `None` leaves it as it is.
pub type ReadText<'a> = dyn FnMut(&str, &Path, &mut Problems) -> Option<Arc<Expression>> + 'a;

/// Evaluates an expression, for a field of this type if that matters; `None` takes the field or element away.
pub type Eval<'a> = dyn FnMut(&Expression, Option<&Type>) -> Result<Option<Value>, EvalError> + 'a;

/// The same, and where in the value the result is to stand: keys and positions from its root.
pub type EvalAt<'a> =
    dyn FnMut(&[String], &Expression, Option<&Type>) -> Result<Option<Value>, EvalError> + 'a;

impl Template {
    pub fn read(value: &Value, path: &Path, problems: &mut Problems, text: &mut ReadText<'_>) -> Self {
        Self::read_below(value, path, problems, text, MAX_DEPTH)
    }

    fn read_below(
        value: &Value,
        path: &Path,
        problems: &mut Problems,
        text: &mut ReadText<'_>,
        depth: usize,
    ) -> Self {
        let Some(depth) = depth.checked_sub(1) else {
            problems.add(path, format!("nested deeper than {MAX_DEPTH} levels"));
            return Self::Literal(Value::Null);
        };
        match value {
            Value::String(s) => match text(s, path, problems) {
                Some(expression) => Self::Expression(expression),
                None => Self::Literal(value.clone()),
            },
            Value::Array(items) => {
                let items: Vec<Self> = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Self::read_below(item, &path.index(i), problems, text, depth))
                    .collect();
                if items.iter().all(Self::is_literal) {
                    Self::Literal(value.clone())
                } else {
                    Self::List(items)
                }
            }
            Value::Object(fields) => {
                let fields: BTreeMap<String, Self> = fields
                    .iter()
                    .map(|(k, v)| (k.clone(), Self::read_below(v, &path.key(k), problems, text, depth)))
                    .collect();
                if fields.values().all(Self::is_literal) {
                    Self::Literal(value.clone())
                } else {
                    Self::Map(fields)
                }
            }
            _ => Self::Literal(value.clone()),
        }
    }

    /// Whether this holds for one of its expressions.
    pub fn any(&self, holds: &dyn Fn(&Expression) -> bool) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Expression(expression) | Self::Encoded(expression, _) => holds(expression),
            Self::List(items) => items.iter().any(|item| item.any(holds)),
            Self::Map(fields) => fields.iter().any(|(_, field)| field.any(holds)),
        }
    }

    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Marks the expressions whose fields hold base64.
    pub fn encode(&mut self, path: &Path, type_of: &dyn Fn(&Path) -> Option<Arc<Type>>) {
        match self {
            Self::Expression(expression) => {
                if let Some(t) = type_of(path) {
                    *self = Self::Encoded(expression.clone(), t);
                }
            }
            Self::Map(fields) => {
                fields.iter_mut().for_each(|(key, field)| field.encode(&path.key(key), type_of))
            }
            Self::List(items) => {
                items.iter_mut().enumerate().for_each(|(i, item)| item.encode(&path.index(i), type_of));
            }
            Self::Literal(_) | Self::Encoded(..) => {}
        }
    }

    /// The value with every expression replaced by what it gives.
    ///
    /// # Errors
    /// The first expression that gave nothing.
    pub fn render(&self, eval: &mut Eval<'_>) -> Result<Value, Failure> {
        Ok(self.render_below(&Path::default(), eval)?.unwrap_or(Value::Null))
    }

    /// As [`Self::render`], where each expression is told the place of what it gives.
    ///
    /// # Errors
    /// The first expression that gave nothing.
    pub fn render_at(&self, eval: &mut EvalAt<'_>) -> Result<Value, Failure> {
        Ok(self.at_below(&mut Vec::new(), eval)?.unwrap_or(Value::Null))
    }

    fn at_below(&self, steps: &mut Vec<String>, eval: &mut EvalAt<'_>) -> Result<Option<Value>, Failure> {
        let (expression, field) = match self {
            Self::Literal(value) => return Ok(Some(value.clone())),
            Self::Expression(expression) => (expression, None),
            Self::Encoded(expression, field) => (expression, Some(&**field)),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    // What is omitted moves those behind it.
                    steps.push(list.len().to_string());
                    let value = item.at_below(steps, eval);
                    steps.pop();
                    list.extend(value?);
                }
                return Ok(Some(Value::Array(list)));
            }
            Self::Map(fields) => {
                let mut map = Map::new();
                for (key, field) in fields {
                    steps.push(key.clone());
                    let value = field.at_below(steps, eval);
                    steps.pop();
                    if let Some(value) = value? {
                        map.insert(key.clone(), value);
                    }
                }
                return Ok(Some(Value::Object(map)));
            }
        };
        eval(steps, expression, field).map_err(|error| Failure {
            path: Path::of(&steps.iter().map(String::as_str).collect::<Vec<_>>()).to_string(),
            text: expression.text.clone(),
            error,
        })
    }

    fn render_below(&self, path: &Path, eval: &mut Eval<'_>) -> Result<Option<Value>, Failure> {
        let (expression, field) = match self {
            Self::Literal(value) => return Ok(Some(value.clone())),
            Self::Expression(expression) => (expression, None),
            Self::Encoded(expression, field) => (expression, Some(&**field)),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    list.extend(item.render_below(&path.index(i), eval)?);
                }
                return Ok(Some(Value::Array(list)));
            }
            Self::Map(fields) => {
                let mut map = Map::new();
                for (key, field) in fields {
                    if let Some(value) = field.render_below(&path.key(key), eval)? {
                        map.insert(key.clone(), value);
                    }
                }
                return Ok(Some(Value::Object(map)));
            }
        };
        eval(expression, field).map_err(|error| Failure {
            path: path.to_string(),
            text: expression.text.clone(),
            error,
        })
    }
}
