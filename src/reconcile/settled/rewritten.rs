//! A value that we own and that is another one than we applied, in the very answer to the apply: the API server itself
//! changes what is written, by an admission policy, a webhook or a converter. No field manager stands for that.
//!
//! Unlike [`super::Rules::settled`] this is said to people, so it says only what is certain: of values that both have. What the
//! server fills in, where nothing or something empty was applied, is no change of what was applied.

use super::{ListKey, Rules, Schema, is_ignored, of_field, of_items, same};
use crate::reconcile::rivals::{item_path, join};
use crate::schema::kept::is_zero;
use serde_json::{Map, Value};

impl Rules<'_> {
    /// The first such field. Nothing is said of kinds whose schema is not known: a quantity reads back in another form.
    /// `fields`: what our manager owns of `live`, as FieldsV1.
    pub fn rewritten(self, desired: &Value, live: &Value, fields: &Value) -> Option<String> {
        self.schema?;
        first(desired, live, fields, self.schema, "")
    }
}

fn is_whole(fields: &Value) -> bool {
    fields.as_object().is_none_or(|fields| fields.keys().all(|key| key == "."))
}

fn first(desired: &Value, live: &Value, fields: &Value, schema: Schema, path: &str) -> Option<String> {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.iter().filter(|(name, _)| !is_ignored(name)).find_map(|(name, value)| {
                let inner = if is_whole(fields) { fields } else { fields.get(format!("f:{name}"))? };
                first(value, live.get(name)?, inner, of_field(schema, name), &join(path, name))
            })
        }
        (Value::Array(desired), Value::Array(live)) if is_whole(fields) => {
            // Of a list that became longer it is not known what stands for what.
            let pairs = desired.iter().zip(live).filter(|_| desired.len() == live.len());
            pairs.enumerate().find_map(|(index, (wanted, there))| {
                first(wanted, there, fields, of_items(schema), &format!("{path}[{index}]"))
            })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.iter().find_map(|wanted| of_item(wanted, live, fields.as_object()?, schema, path))
        }
        (_, Value::Null) => None,
        (Value::Bool(wanted), Value::Bool(there)) => (wanted != there).then(|| path.to_owned()),
        // It may have been left for the server to fill in.
        (wanted, _) if is_zero(wanted) => None,
        (wanted, there) => (!same(wanted, there, schema)).then(|| path.to_owned()),
    }
}

/// Of one item of a list whose items our entry tells apart.
fn of_item(
    wanted: &Value,
    live: &[Value],
    fields: &Map<String, Value>,
    schema: Schema,
    path: &str,
) -> Option<String> {
    let entries = fields.iter().filter_map(|(key, inner)| Some((ListKey::parse(key)?, inner)));
    let (key, inner) = entries.into_iter().find(|(key, _)| key.may_mean(wanted))?;
    let (_, there) = live.iter().enumerate().find(|(index, item)| key.matches(*index, item))?;
    first(wanted, there, inner, of_items(schema), &item_path(path, wanted, &key))
}
