//! Data that is not there, and never will be unless somebody edits the instance.
//!
//! A field that another object lacks may come any moment, so waiting is right. A field that the instance itself lacks
//! does not come by waiting. kro waits for it for ever; here it is an error that says how to write the expression.

use super::EvalError;
use crate::cel::{FieldPath, Type, escape_field};
use crate::graph::expression::Expression;
use serde_json::Value;

/// The value of an iterator.
pub struct Item<'a> {
    pub name: &'a str,
    pub value: &'a Value,
    pub t: &'a Type,
    /// The list that it walks over reads nothing but the instance.
    pub of_instance: bool,
}

/// Turns a pending error into a fatal one, where waiting can not help.
pub fn judge(expression: &Expression, error: EvalError, instance: &Value, items: &[Item<'_>]) -> EvalError {
    let EvalError::Pending { message } = error else { return error };
    let value_of = |variable: &str| match variable {
        "schema" => Some(instance),
        other => items.iter().find(|i| i.name == other && i.of_instance).map(|i| i.value),
    };
    let nothing_else = expression.program.variables().iter().all(|v| value_of(v).is_some());
    let paths = expression.program.paths();
    for path in paths.iter().filter(|p| !p.optional) {
        let Some(missing) = missing_part(path, &value_of) else { continue };
        // Where the expression reads other variables too, a field that the author tests somewhere is probably not the
        // one that is missing.
        let guarded = paths.iter().any(|p| (p.optional || p.tested) && p.steps.starts_with(missing));
        let key = missing.last();
        let named = key.is_some_and(|key| message.ends_with(&format!(": {key}")));
        // Another object may lack a field of that name, which is yet to come.
        let is_others = |p: &FieldPath| {
            p.steps
                .split_first()
                .is_some_and(|(of, steps)| value_of(of).is_none() && steps.iter().any(|s| Some(s) == key))
        };
        if nothing_else || (named && !guarded && !paths.iter().any(is_others)) {
            return EvalError::Fatal { message: advice(path, missing.len(), expression.program.source()) };
        }
    }
    if nothing_else {
        let message = format!("{message}; the instance does not have it, and waiting will not bring it");
        return EvalError::Fatal { message };
    }
    EvalError::Pending { message }
}

/// The path up to its first step that is absent. `has(a.b)` asks for `a` alone.
fn missing_part<'p>(
    path: &'p FieldPath,
    value_of: &dyn Fn(&str) -> Option<&'p Value>,
) -> Option<&'p [String]>
where
{
    let asked = if path.tested { path.steps.split_last()?.1 } else { path.steps.as_slice() };
    let (variable, steps) = asked.split_first()?;
    let mut at = value_of(variable)?;
    for (depth, step) in steps.iter().enumerate() {
        match at.as_object()?.get(step) {
            Some(value) if !value.is_null() => at = value,
            _ => return asked.get(..depth + 2),
        }
    }
    None
}

/// `depth`: how many steps of the path lead to what is absent.
fn advice(path: &FieldPath, depth: usize, source: &str) -> String {
    let steps = path.steps.as_slice();
    let (absent, rest) = steps.split_at(depth.min(steps.len()));
    let default = match absent.get(1).map(String::as_str) {
        Some("spec") => ", or give it a default in the schema",
        _ => "",
    };
    let Some((last, parent)) = absent.split_last() else { return String::new() };
    let parent: String = code(parent, source);
    let whole = code(absent, source);
    let has = if whole.ends_with(']') { format!("{last:?} in {parent}") } else { format!("has({whole})") };
    let how = if path.tested {
        format!("write {has} && has({})", code(steps, source))
    } else {
        let after: String = rest.iter().map(|s| step(s, "", source)).collect();
        format!("write {parent}{}{after}.orValue(…) or test {has}", step(last, "?", source))
    };
    format!("{} is not set on the instance; {how}{default}", absent.join("."))
}

fn code(steps: &[String], source: &str) -> String {
    let Some((variable, steps)) = steps.split_first() else { return String::new() };
    steps.iter().fold(variable.clone(), |path, s| path + &step(s, "", source))
}

/// A step as the author wrote it: a field, by its escaped name if it needs one, or a key.
fn step(name: &str, optional: &str, source: &str) -> String {
    let field = escape_field(name).unwrap_or_else(|| name.to_owned());
    let word = field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if word && (field == name || source.contains(&field)) && !RESERVED.contains(&name) {
        format!(".{optional}{field}")
    } else {
        format!("[{optional}{name:?}]")
    }
}

/// Words of CEL's grammar, which are no names of fields.
const RESERVED: [&str; 4] = ["true", "false", "null", "in"];
