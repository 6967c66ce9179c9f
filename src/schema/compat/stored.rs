//! Whether a change that may break instances breaks one that exists. A field that no instance carries is missed by
//! nobody.

use super::{has_default, object, refused, same};
use crate::api::text;
use serde_json::{Value, json};

/// A path into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Items,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

impl Place {
    pub fn to(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// All values that an object has there.
    fn values<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![root], |values, step| {
            let below = values.into_iter().flat_map(|value| match step {
                Step::Field(name) => value.get(name).into_iter().collect::<Vec<_>>(),
                Step::Items => value.as_array().into_iter().flatten().collect(),
            });
            below.filter(|value| !value.is_null()).collect()
        })
    }

    /// Values in the status are computed anew by controllers, so none is lost.
    fn is_computed(&self) -> bool {
        self.0.first() == Some(&Step::Field("status".to_owned()))
    }
}

/// Which instances a change breaks.
#[derive(Clone, Debug, PartialEq)]
pub enum Matters {
    /// Instances that have a value there.
    Has(Place),
    /// Instances whose value there is another one than this schema's defaults make. A read shows the defaults on
    /// every instance.
    Says(Place, Value),
    /// Instances whose objects there lack the field.
    Lacks(Place, String),
    /// Instances that have this value there.
    Equals(Place, Value),
    /// Instances whose values are beyond this bound.
    Beyond(Place, String, f64),
    /// Every instance.
    Always,
    /// No instance.
    Never,
    /// Every instance, since it becomes another API. The API server takes no such update.
    Api,
}

/// A change that may break instances.
#[derive(Clone, Debug, PartialEq)]
pub struct Break {
    pub text: String,
    pub matters: Matters,
}

impl Break {
    pub fn new(text: String, matters: Matters) -> Self {
        Self { text, matters }
    }

    fn breaks(&self, instance: &Value) -> bool {
        match &self.matters {
            Matters::Has(place) => !place.values(instance).is_empty() && is_said(instance, place),
            Matters::Says(place, _) if place.is_computed() => false,
            Matters::Says(place, schema) => {
                let says = |v: &&Value| !says_nothing(v, schema);
                place.values(instance).iter().any(says) && is_said(instance, place)
            }
            Matters::Lacks(place, name) => {
                place.values(instance).iter().any(|v| v.is_object() && v.get(name).is_none_or(Value::is_null))
            }
            Matters::Equals(place, value) => place.values(instance).iter().any(|v| same(v, value)),
            Matters::Beyond(place, bound, limit) => {
                place.values(instance).iter().any(|v| is_beyond(v, bound, *limit))
            }
            Matters::Always | Matters::Api => true,
            Matters::Never => false,
        }
    }
}

/// Whether a value is what the schema's defaults make of nothing.
fn says_nothing(value: &Value, schema: &Value) -> bool {
    if has_default(schema) && schema.get("default").is_some_and(|default| same(default, value)) {
        return true;
    }
    let known = object(schema, "properties");
    match value {
        Value::Null => true,
        Value::Object(fields) if !known.is_empty() => {
            fields.iter().all(|(name, v)| known.get(name).is_some_and(|schema| says_nothing(v, schema)))
        }
        _ => false,
    }
}

/// Whether somebody set what an instance has there. What nobody owns was stored by the default of an earlier schema, also
/// where that schema is gone: a write may still be served by it a moment after the CRD was changed.
fn is_said(instance: &Value, place: &Place) -> bool {
    let Some((Step::Field(top), _)) = place.0.split_first() else { return true };
    let records = instance.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let records: Vec<&Value> = records.filter_map(|record| record.get("fieldsV1")).collect();
    // Who took the record off left no word of whose anything is.
    let is_recorded = records.iter().any(|fields| fields.get(format!("f:{top}")).is_some());
    !is_recorded || records.iter().any(|fields| owns(fields, &place.0))
}

/// Whether the fields of a manager have one there.
fn owns(fields: &Value, place: &[Step]) -> bool {
    let Some((step, rest)) = place.split_first() else { return true };
    let below = || fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".");
    // What is owned as a whole has all that is below.
    if below().next().is_none() {
        return true;
    }
    match step {
        Step::Field(name) => fields.get(format!("f:{name}")).is_some_and(|below| owns(below, rest)),
        Step::Items => below().any(|(_, item)| owns(item, rest)),
    }
}

fn is_beyond(value: &Value, bound: &str, limit: f64) -> bool {
    // Exact as long as nobody counts to 2^53.
    let count = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
    let measured = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => Some(count(text.chars().count())),
        Value::Array(items) => Some(count(items.len())),
        _ => None,
    };
    measured.is_some_and(|n| if bound.starts_with("min") { n < limit } else { n > limit })
}

/// Collects which instances the changes of a CRD would break.
#[derive(Debug)]
pub struct Look<'a> {
    breaks: Vec<(&'a Break, Vec<String>, usize)>,
    any: bool,
    /// Instances could not be read, for this reason.
    blind: bool,
}

/// What to do with the CRD.
#[derive(Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Update it.
    Update,
    /// Delete it and create it anew: it has no instances.
    Replace,
    /// Leave it; the reason.
    Refused(String),
}

/// How many instances are named.
const NAMED: usize = 3;

impl<'a> Look<'a> {
    pub fn new(breaks: &'a [Break]) -> Self {
        Self { breaks: breaks.iter().map(|b| (b, Vec::new(), 0)).collect(), any: false, blind: false }
    }

    /// Notes that the instances cannot be read. They may carry anything then.
    pub fn blind(breaks: &'a [Break]) -> Self {
        Self { blind: true, ..Self::new(breaks) }
    }

    /// An instance as it is, and the spec that it is told to have, where that is known: what it does not carry any more goes with
    /// the next write.
    pub fn at(&mut self, instance: &Value, spec: Option<&Value>) {
        self.any = true;
        let told = spec.map(|spec| json!({"spec": spec}));
        let name = |field: &str| instance.pointer(field).and_then(Value::as_str).unwrap_or_default();
        for (change, names, count) in &mut self.breaks {
            if change.breaks(instance) && told.as_ref().is_none_or(|told| change.breaks(told)) {
                *count += 1;
                if names.len() < NAMED {
                    let whole = [name("/metadata/namespace"), name("/metadata/name")];
                    names.push(whole.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join("/"));
                }
            }
        }
    }

    /// Concludes the same without naming an instance.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        self.breaks.iter_mut().for_each(|(_, names, _)| names.clear());
        self
    }

    /// Whether more instances would change nothing.
    pub fn is_decided(&self) -> bool {
        self.any && self.breaks.iter().all(|(_, _, count)| *count > NAMED)
    }

    /// Concludes what to do. `crd` is the CRD's name; `allowed` says that its author accepts what breaks.
    pub fn conclude(self, crd: &str, allowed: bool) -> Conclusion {
        let other_api = || self.breaks.iter().filter(|(change, ..)| change.matters == Matters::Api);
        if other_api().next().is_some() {
            if !self.any && !self.blind {
                return Conclusion::Replace;
            }
            let changes: Vec<&str> = other_api().map(|(change, ..)| change.text.as_str()).collect();
            return Conclusion::Refused(format!(
                "CRD {crd} is of another API: {}. It cannot be updated to this one, and instances of it are left: delete them, or \
                 choose another kind or group",
                changes.join("; ")
            ));
        }
        let matter = self.breaks.iter().filter(|(_, _, count)| self.blind || *count > 0);
        let texts: Vec<String> = matter.map(|(change, names, count)| told(change, names, *count)).collect();
        match texts.is_empty() || allowed {
            true => Conclusion::Update,
            false => Conclusion::Refused(refused(crd, &texts)),
        }
    }
}

fn told(change: &Break, names: &[String], count: usize) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match count {
        _ if names.is_empty() => change.text.clone(),
        count if count > names.len() => format!("{} (concerns {} and others)", change.text, names.join(", ")),
        _ => format!("{} (concerns {})", change.text, text::few(&names, NAMED)),
    }
}
