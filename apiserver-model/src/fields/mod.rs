//! Sets of fields: what a field manager owns, as `fieldsV1` of `metadata.managedFields` writes it.

mod element;
#[cfg(test)]
mod tests;

pub(crate) use element::step;
pub use element::{Element, print};

use crate::schema::{At, Schema, Shape};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub type Path = Vec<Element>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    below: BTreeMap<Element, Branch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Branch {
    /// Is the path itself in the set?
    member: bool,
    fields: Fields,
}

impl Fields {
    /// The leaves of an object, as a server takes those of what is applied.
    #[must_use]
    pub fn of(object: &Value, schema: &Schema) -> Self {
        Self::at(object, schema.top())
    }

    pub(crate) fn at(object: &Value, at: At<'_>) -> Self {
        let mut set = Self::default();
        set.leaves(object, at);
        set
    }

    /// A set of fields by name alone: `["status"]`, `["metadata", "labels"]`.
    #[must_use]
    pub fn named(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.iter().map(|name| Element::Field((*name).to_owned())));
        }
        set
    }

    /// What no manager ever owns.
    #[must_use]
    pub fn never_owned() -> Self {
        Self::named(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.below.is_empty()
    }

    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut at = self;
        let mut path = path.into_iter().peekable();
        while let Some(step) = path.next() {
            let branch = at.below.entry(step).or_default();
            branch.member |= path.peek().is_none();
            at = &mut branch.fields;
        }
    }

    #[must_use]
    pub fn contains(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has(last),
            [first, rest @ ..] => self.under(first).is_some_and(|f| f.contains(rest)),
        }
    }

    pub(crate) fn has(&self, step: &Element) -> bool {
        self.below.get(step).is_some_and(|b| b.member)
    }

    pub(crate) fn under(&self, step: &Element) -> Option<&Self> {
        self.below.get(step).map(|b| &b.fields).filter(|f| !f.is_empty())
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.join(other);
        all
    }

    fn join(&mut self, other: &Self) {
        for (step, branch) in &other.below {
            match self.below.get_mut(step) {
                Some(mine) => {
                    mine.member |= branch.member;
                    mine.fields.join(&branch.fields);
                }
                None => {
                    self.below.insert(step.clone(), branch.clone());
                }
            }
        }
    }

    /// What of this set is not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| {
                let Some(theirs) = theirs else { return mine.clone() };
                Branch {
                    member: mine.member && !theirs.member,
                    fields: mine.fields.difference(&theirs.fields),
                }
            },
            other,
        )
    }

    /// As [`Self::difference`], and without all that is below a member of the other.
    #[must_use]
    pub fn difference_below(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| match theirs {
                None => mine.clone(),
                Some(theirs) if theirs.member => Branch::default(),
                Some(theirs) => {
                    Branch { member: mine.member, fields: mine.fields.difference_below(&theirs.fields) }
                }
            },
            other,
        )
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.keep(
            |mine, theirs| {
                let Some(theirs) = theirs else { return Branch::default() };
                Branch {
                    member: mine.member && theirs.member,
                    fields: mine.fields.intersection(&theirs.fields),
                }
            },
            other,
        )
    }

    fn keep(&self, keep: impl Fn(&Branch, Option<&Branch>) -> Branch, other: &Self) -> Self {
        let kept = self.below.iter().map(|(step, mine)| (step, keep(mine, other.below.get(step))));
        let kept = kept.filter(|(_, b)| b.member || !b.fields.is_empty());
        Self { below: kept.map(|(step, b)| (step.clone(), b)).collect() }
    }

    /// All paths of the set; those at a place come before those below it.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.walk(&mut Vec::new(), &mut found);
        found
    }

    fn walk(&self, path: &mut Path, found: &mut Vec<Path>) {
        for (step, _) in self.below.iter().filter(|(_, b)| b.member) {
            found.push(path.iter().chain([step]).cloned().collect());
        }
        for (step, branch) in &self.below {
            path.push(step.clone());
            branch.fields.walk(path, found);
            path.pop();
        }
    }

    /// Adds the fields that the schema names and that the set holds something below of.
    pub(crate) fn with_named(&self, at: At<'_>) -> Self {
        let mut set = Self::default();
        for (step, branch) in &self.below {
            let inner = match step {
                Element::Field(name) => at.field(name),
                _ => Some(at.item()),
            };
            let named = matches!(step, Element::Field(name) if at.names(name)) && !branch.fields.is_empty();
            let fields = inner.map_or_else(|| branch.fields.clone(), |inner| branch.fields.with_named(inner));
            set.below.insert(step.clone(), Branch { member: branch.member || named, fields });
        }
        set
    }

    /// As `fieldsV1`. What is no set of fields is left out.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let mut set = Self::default();
        for (key, inner) in value.as_object().into_iter().flatten() {
            let Some(step) = Element::from_key(key) else { continue };
            let fields = Self::from_json(inner);
            let member = inner.get(".").is_some() || fields.is_empty();
            set.below.insert(step, Branch { member, fields });
        }
        set
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (step, branch) in &self.below {
            let mut inner = branch.fields.to_json();
            if let Some(inner) = inner.as_object_mut().filter(|i| branch.member && !i.is_empty()) {
                inner.insert(".".to_owned(), json!({}));
            }
            object.insert(step.to_key(), inner);
        }
        Value::Object(object)
    }

    fn leaves(&mut self, value: &Value, at: At<'_>) {
        match (at.shape(value), value) {
            (Shape::Map, Value::Object(fields)) => {
                for (name, inner) in fields {
                    let Some(place) = at.field(name) else { continue };
                    let mut branch = Branch::default();
                    branch.fields.leaves(inner, place);
                    let empty = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                    branch.member = empty || !at.names(name) || leaf(place, inner);
                    self.put(Element::Field(name.clone()), branch);
                }
            }
            (Shape::Set | Shape::Keyed, Value::Array(items)) => {
                for item in items {
                    let Ok(step) = step(at, item) else { continue };
                    let mut branch = Branch { member: true, ..Branch::default() };
                    branch.fields.leaves(item, at.item());
                    self.put(step, branch);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, step: Element, branch: Branch) {
        if branch.member || !branch.fields.is_empty() {
            self.below.insert(step, branch);
        }
    }
}

fn leaf(at: At<'_>, value: &Value) -> bool {
    at.shape(value) == Shape::Leaf
}
