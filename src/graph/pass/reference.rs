//! What an external reference reads.

use super::{EvalError, Pass, fatal};
use crate::api::naming;
use crate::graph::{External, Reference, Target};
use serde_json::Value;

impl Pass<'_> {
    /// What an external reference reads now.
    ///
    /// # Errors
    /// Pending while a dependency is not ready or lacks data; fatal if waiting can not help.
    pub fn reference(&mut self, index: usize) -> Result<Reference, EvalError> {
        let Some((node, external)) = self.graph.nodes.get(index).and_then(|n| Some((n, n.external?))) else {
            return Err(fatal("externalRef", "there is none"));
        };
        self.may_read(node)?;
        let metadata = self.object(node, &[])?;
        let refuse = |field: &str, why: &str| fatal(&format!("{}: metadata.{field}", node.id), why);
        let text = |field: &str| match metadata.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(refuse(field, "must give a string")),
        };
        let target = match external {
            External::Named => match text("name")?.filter(|name| !name.is_empty()) {
                Some(name) => {
                    naming::object(&node.gvk.group_kind(), &name).map_err(|why| refuse("name", why))?;
                    Target::Name(name)
                }
                None => return Err(refuse("name", "gives no name")),
            },
            External::Selected => {
                let selector = selector(metadata.get("selector").unwrap_or(&Value::Null));
                Target::Selector(selector.map_err(|why| refuse("selector", &why))?)
            }
        };
        let namespace = text("namespace")?.filter(|n| !n.is_empty());
        if let Some(namespace) = &namespace {
            naming::namespace(namespace).map_err(|why| refuse("namespace", why))?;
        }
        Ok(Reference { namespace, target })
    }
}

/// A label selector in the form of the API's query parameter. A result of the wrong form is an error: left out, it
/// would make the selector wider.
fn selector(selector: &Value) -> Result<String, String> {
    let unknown = |field: &&String| !matches!(field.as_str(), "key" | "operator" | "values");
    let mut requirements = Vec::new();
    let Some(fields) = selector.as_object() else { return Err("must give a map".to_owned()) };
    if let Some(field) = fields.keys().find(|f| !matches!(f.as_str(), "matchLabels" | "matchExpressions")) {
        return Err(format!("{field} is unknown; a label selector has matchLabels, matchExpressions"));
    }
    match selector.get("matchLabels") {
        None | Some(Value::Null) => {}
        Some(Value::Object(labels)) => {
            for (key, value) in labels {
                label_key(key, "matchLabels")?;
                requirements.push(format!("{key}={}", label(value)?));
            }
        }
        Some(_) => return Err("matchLabels must give a map".to_owned()),
    }
    let expressions = match selector.get("matchExpressions") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) => return Err("matchExpressions must give a list".to_owned()),
    };
    for expression in expressions {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let (key, operator) = (text("key"), text("operator"));
        if let Some(field) =
            expression.as_object().into_iter().flatten().map(|(field, _)| field).find(unknown)
        {
            return Err(format!("{field} is unknown in matchExpressions; there are key, operator, values"));
        }
        if key.is_empty() {
            return Err("key is missing in matchExpressions".to_owned());
        }
        label_key(key, "matchExpressions")?;
        let given = match expression.get("values") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) => values.as_slice(),
            Some(_) => return Err(format!("values of {key} must give a list")),
        };
        let values: Vec<String> = given.iter().map(label).collect::<Result<_, _>>()?;
        if operator.ends_with("In") && values.is_empty() {
            return Err(format!("operator {operator} of {key} has no values"));
        }
        if matches!(operator, "Exists" | "DoesNotExist") && !values.is_empty() {
            return Err(format!("operator {operator} of {key} takes no values"));
        }
        let values = values.join(",");
        requirements.push(match operator {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            other => return Err(format!("operator {other:?} is unknown")),
        });
    }
    requirements.sort();
    Ok(requirements.join(","))
}

/// A key of a label. Any other text would change what the requirement says, or make the API server refuse the whole
/// list.
fn label_key(key: &str, place: &str) -> Result<(), String> {
    naming::label_key(key).map_err(|why| format!("a key in {place} is no key of a label: {why}"))
}

/// A value of a label. Any other text would change what the requirement says.
fn label(value: &Value) -> Result<String, String> {
    let Some(text) = value.as_str() else { return Err("a value is not a string".to_owned()) };
    naming::label_value(text).map_err(|why| format!("a value is no value of a label: {why}"))?;
    Ok(text.to_owned())
}
