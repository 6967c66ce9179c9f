//! A place in a schema, and how a value there is merged and owned.

use super::{Arena, ListType, Node, Type};
use serde_json::Value;

/// How a value is merged and owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value in one piece: a scalar, an atomic list or an atomic map.
    Leaf,
    Map,
    Set,
    Keyed,
}

/// A place in a schema.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(super) arena: &'a Arena,
    /// None where the schema says nothing: the value tells its own shape.
    pub(super) node: Option<usize>,
    pub(super) atomic: bool,
}

impl<'a> At<'a> {
    pub(super) fn go(self, index: usize) -> Self {
        let mut atomic = false;
        let mut index = index;
        // A schema that only refers to another. Schemas that refer to each other in a circle end as unknown.
        for _ in 0..16 {
            let node = &self.arena.nodes[index];
            atomic |= node.atomic_map;
            match node.target {
                Some(target) => index = target,
                None => return Self { arena: self.arena, node: Some(index), atomic },
            }
        }
        self.unknown()
    }

    fn unknown(self) -> Self {
        Self { arena: self.arena, node: None, atomic: false }
    }

    pub(crate) fn node(self) -> Option<&'a Node> {
        self.node.map(|i| &self.arena.nodes[i])
    }

    /// Does the schema name the field (not just allow any)?
    pub(crate) fn names(self, field: &str) -> bool {
        self.node().is_some_and(|n| n.properties.contains_key(field))
    }

    /// What is known of a field; none where it is not declared.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let Some(node) = self.node() else { return Some(self.unknown()) };
        if let Some(&index) = node.properties.get(name).or(node.additional.as_ref()) {
            return Some(self.go(index));
        }
        let free = match node.additional_all {
            Some(all) => all,
            None => node.ty == Type::Any || node.preserve_below || node.properties.is_empty(),
        };
        free.then(|| self.unknown())
    }

    /// The schema of a named field or of the values of a map; nothing is deduced.
    pub(crate) fn declared(self, name: &str) -> Option<Self> {
        let node = self.node()?;
        node.properties.get(name).or(node.additional.as_ref()).map(|&i| self.go(i))
    }

    pub(crate) fn item(self) -> Self {
        self.node().and_then(|n| n.items).map_or(self.unknown(), |i| self.go(i))
    }

    pub(crate) fn has_items(self) -> bool {
        self.node().is_some_and(|n| n.items.is_some())
    }

    /// The default of a field of this object: as the field says, or what it refers to.
    pub(crate) fn default_of(self, field: &str) -> Option<&'a Value> {
        let mut index = *self.node()?.properties.get(field)?;
        for _ in 0..16 {
            let node = &self.arena.nodes[index];
            if node.default.is_some() {
                return node.default.as_ref();
            }
            index = node.target?;
        }
        None
    }

    pub(crate) fn keys(self) -> &'a [String] {
        match self.node().map(|n| &n.list) {
            Some(ListType::Map(keys)) => keys,
            _ => &[],
        }
    }

    pub(crate) fn ty(self) -> Type {
        self.node().map_or(Type::Any, |n| n.ty)
    }

    pub(crate) fn shape(self, value: &Value) -> Shape {
        let map = if self.atomic { Shape::Leaf } else { Shape::Map };
        match self.ty() {
            Type::Object => map,
            Type::Array => match self.node().map(|n| &n.list) {
                Some(ListType::Set) => Shape::Set,
                Some(ListType::Map(_)) => Shape::Keyed,
                _ => Shape::Leaf,
            },
            Type::Any if value.is_object() => map,
            _ => Shape::Leaf,
        }
    }
}
