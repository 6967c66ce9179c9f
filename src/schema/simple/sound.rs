//! Whether a default keeps the rules of its own field. If not, the API server refuses the CRD.

use super::Fault;
use super::types::quote;
use crate::schema::unmet;
use serde_json::{Map, Value};

/// What is wrong with the default of a finished field.
pub fn default(schema: &Map<String, Value>) -> Option<Fault> {
    let default = schema.get("default").filter(|d| !d.is_null())?;
    let unmet::Unmet { path, why } = unmet::all(schema, default).into_iter().next()?;
    let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
    let shown = match default {
        Value::String(text) => quote(text),
        other => quote(&other.to_string()),
    };
    Some(Fault::new(format!("the default {shown}{place} {why}")).help("change the default, or the rule"))
}
