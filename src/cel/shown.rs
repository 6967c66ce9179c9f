//! Results for people and tools, where no object is written.

use super::budget::Budget;
use super::error::{EvalError, Fault};
use super::value::Val;
use super::{Program, Scope};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

impl Program {
    /// Evaluates and converts the result by kro's rules, except the rule for values that objects do not take. Here
    /// bytes are base64, an unsigned number may be large, and `omit()` is `{}`.
    ///
    /// # Errors
    /// As [`Program::eval`].
    pub fn show(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Json, EvalError> {
        budget.start();
        let result = self.run(scope, budget).and_then(|value| shown(&value, budget));
        let result = result.map(|json| json.unwrap_or_else(|| Json::Object(serde_json::Map::new())));
        result.map_err(EvalError::from)
    }
}

fn shown(value: &Val, budget: &Budget) -> Result<Option<Json>, Fault> {
    match value {
        Val::Bytes(bytes) => {
            budget.text(bytes.len())?;
            Ok(Some(Json::String(STANDARD.encode(bytes))))
        }
        Val::Uint(u) => Ok(Some(Json::from(*u))),
        Val::Optional(Some(inner)) => shown(inner, budget),
        Val::List(items) => {
            budget.step()?;
            let mut out = Vec::with_capacity(items.len());
            for item in items.iter() {
                out.extend(shown(item, budget)?);
            }
            Ok(Some(Json::Array(out)))
        }
        // A whole object of known type is shown by the JSON that it came from. Keys that are no strings are an error
        // there.
        Val::Map(map) if map.origin.is_none() && map.others.is_empty() => {
            budget.step()?;
            let mut out = serde_json::Map::new();
            for (key, value) in &map.strings {
                if let Some(value) = shown(value, budget)? {
                    out.insert(key.as_ref().to_owned(), value);
                }
            }
            Ok(Some(Json::Object(out)))
        }
        other => other.clone().into_field(budget),
    }
}
