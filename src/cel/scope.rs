//! Variables for an evaluation.

use super::typed;
use super::types::Type;
use super::value::Val;
use serde_json::Value as Json;
use std::collections::HashMap;

/// A value that has been converted, to be bound in many scopes without being converted again.
#[derive(Clone, Debug)]
pub struct Bound(pub(super) Val);

impl Bound {
    /// Converts by the JSON alone.
    pub fn new(value: &Json) -> Self {
        Self(Val::from_json(value))
    }

    /// Converts by the schema's type: base64 becomes bytes where the schema says so, RFC 3339 a timestamp, 3.0 an
    /// `int`. A field that is null is absent. As a result, a whole object has the JSON that it came from.
    pub fn typed(value: &Json, t: &Type) -> Self {
        Self(typed::convert(value, t).value)
    }
}

/// Variables by name. A value is converted once, when it is bound.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    parent: Option<&'a Scope<'a>>,
    variables: HashMap<String, Val>,
}

impl Scope<'static> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<'a> Scope<'a> {
    /// Sets a variable.
    pub fn bind(&mut self, name: &str, value: &Json) {
        self.bind_shared(name, &Bound::new(value));
    }

    /// Sets a variable whose type is known.
    pub fn bind_typed(&mut self, name: &str, value: &Json, t: &Type) {
        self.bind_shared(name, &Bound::typed(value, t));
    }

    /// Sets a variable to a value that is already converted.
    pub fn bind_shared(&mut self, name: &str, value: &Bound) {
        self.variables.insert(name.to_owned(), value.0.clone());
    }

    /// A scope that sees everything here and may add to it, as the items of a collection do.
    pub fn child(&'a self) -> Scope<'a> {
        Scope { parent: Some(self), variables: HashMap::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Val> {
        let mut scope = self;
        loop {
            match (scope.variables.get(name), scope.parent) {
                (Some(value), _) => return Some(value),
                (None, Some(parent)) => scope = parent,
                (None, None) => return None,
            }
        }
    }
}
