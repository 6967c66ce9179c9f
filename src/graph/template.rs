//! A JSON value with expressions in it. A tree, so that no key can be mistaken for a path.

use super::diagnostic::{Path, Problems};
use super::expression::Expression;
use crate::cel::EvalError;
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
    Map(BTreeMap<String, Template>),
    List(Vec<Template>),
}

/// An expression that gave no value, and where in the template it stands.
#[derive(Debug)]
pub struct Failure {
    /// Below the template's root, e.g. `metadata.name`.
    pub path: String,
    pub text: String,
    pub error: EvalError,
}

/// Compiles one text; `None` leaves it as it is.
pub type ReadText<'a> = dyn FnMut(&str, &Path, &mut Problems) -> Option<Arc<Expression>> + 'a;

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

    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// The value with every expression replaced by what it gives.
    ///
    /// # Errors
    /// The first expression that gave nothing.
    pub fn render(
        &self,
        eval: &mut dyn FnMut(&Expression) -> Result<Value, EvalError>,
    ) -> Result<Value, Failure> {
        self.render_below(&Path::default(), eval)
    }

    fn render_below(
        &self,
        path: &Path,
        eval: &mut dyn FnMut(&Expression) -> Result<Value, EvalError>,
    ) -> Result<Value, Failure> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => eval(expression).map_err(|error| Failure {
                path: path.to_string(),
                text: expression.text.clone(),
                error,
            }),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    list.push(item.render_below(&path.index(i), eval)?);
                }
                Ok(Value::Array(list))
            }
            Self::Map(fields) => {
                let mut map = Map::new();
                for (key, field) in fields {
                    map.insert(key.clone(), field.render_below(&path.key(key), eval)?);
                }
                Ok(Value::Object(map))
            }
        }
    }
}
