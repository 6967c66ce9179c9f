//! Label selectors, from their text form and from their fields.

use crate::api::text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Bytes of a selector: what is judged against every cluster has to be short.
const LONGEST: usize = 4_096;

/// A Kubernetes label selector. Empty selects nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// # Errors
    /// A sentence that names the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("the selector has {} bytes, and at most {LONGEST} may be", text.len()));
        }
        let mut list = Vec::new();
        for part in split_outside_parens(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            list.push(Requirement::parse(part).ok_or_else(|| {
                format!(
                    "cannot read {:?}; write `key=value`, `key!=value`, `key`, `!key`, `key in (a,b)` or `key notin (a,b)`",
                    text::cut(part, super::matches::SHOWN)
                )
            })?);
        }
        Ok(Self(list))
    }

    /// # Errors
    /// A sentence that names the requirement that means nothing.
    pub fn of(fields: &LabelSelector) -> Result<Self, String> {
        let equal = fields.match_labels.iter().flatten();
        let mut list: Vec<Requirement> =
            equal.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
        for (index, one) in fields.match_expressions.iter().flatten().enumerate() {
            let (key, values) = (one.key.clone(), one.values.clone().unwrap_or_default());
            let at = || format!("matchExpressions[{index}]");
            list.push(match (one.operator.as_str(), values.is_empty()) {
                ("In", false) => Requirement::In(key, values),
                ("NotIn", false) => Requirement::NotIn(key, values),
                ("Exists", true) => Requirement::Exists(key),
                ("DoesNotExist", true) => Requirement::Absent(key),
                ("In" | "NotIn", true) => return Err(format!("{}: {} needs values", at(), one.operator)),
                ("Exists" | "DoesNotExist", false) => {
                    return Err(format!("{}: {} takes no values", at(), one.operator));
                }
                (other, _) => {
                    let other = text::cut(other, super::matches::SHOWN);
                    return Err(format!(
                        "{}: operator {other:?} is none of In, NotIn, Exists, DoesNotExist",
                        at()
                    ));
                }
            });
        }
        Ok(Self(list))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.0.is_empty() && self.0.iter().all(|r| r.matches(labels))
    }
}

fn split_outside_parens(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Requirement {
    fn parse(part: &str) -> Option<Self> {
        let key_ok =
            |k: &str| !k.is_empty() && k.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        let value_ok = |v: &str| v.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let pair = |op: &str| {
            let (k, v) = part.split_once(op)?;
            let (k, v) = (k.trim(), v.trim());
            (key_ok(k) && value_ok(v)).then(|| (k.to_owned(), vec![v.to_owned()]))
        };
        if let Some((key, rest)) = part.split_once(char::is_whitespace)
            && let Some((op, list)) = rest.trim().split_once('(')
        {
            let values: Vec<String> =
                list.strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
            if !key_ok(key) || !values.iter().all(|v| value_ok(v)) {
                return None;
            }
            return match op.trim() {
                "in" => Some(Self::In(key.into(), values)),
                "notin" => Some(Self::NotIn(key.into(), values)),
                _ => None,
            };
        }
        if part.contains("!=") {
            return pair("!=").map(|(k, v)| Self::NotIn(k, v));
        }
        if part.contains("==") {
            return pair("==").map(|(k, v)| Self::In(k, v));
        }
        if part.contains('=') {
            return pair("=").map(|(k, v)| Self::In(k, v));
        }
        match part.strip_prefix('!') {
            Some(key) => key_ok(key.trim()).then(|| Self::Absent(key.trim().to_owned())),
            None => key_ok(part).then(|| Self::Exists(part.to_owned())),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(k, values) => labels.get(k).is_some_and(|v| values.contains(v)),
            Self::NotIn(k, values) => labels.get(k).is_none_or(|v| !values.contains(v)),
            Self::Exists(k) => labels.contains_key(k),
            Self::Absent(k) => !labels.contains_key(k),
        }
    }
}
