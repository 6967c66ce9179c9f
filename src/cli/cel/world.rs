//! The variables, from files.

use super::read_map;
use crate::cel::{Decls, Scope, Type};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) decls: Decls,
    pub(super) scope: Scope<'static>,
    /// All variables, those without data too.
    pub(super) variables: BTreeMap<String, Type>,
}

impl World {
    pub(super) fn read(data: Option<&Path>, path: Option<&Path>) -> anyhow::Result<Self> {
        let read = |path: Option<&Path>, flag| path.map_or_else(|| Ok(Map::new()), |p| read_map(p, flag));
        let (data, schema) = (read(data, "--data")?, read(path, "--schema")?);
        let file = path.map(|p| p.display().to_string()).unwrap_or_default();
        for (name, schema) in &schema {
            anyhow::ensure!(schema.is_object(), "--schema {file}: {name}: an OpenAPI schema is a map");
        }
        Ok(Self::new(data, schema))
    }

    pub(super) fn new(data: Map<String, Json>, schema: Map<String, Json>) -> Self {
        let mut world = Self::default();
        for (name, schema) in &schema {
            world.decls.declare_schema(name, schema);
        }
        for name in data.keys().filter(|name| !schema.contains_key(*name)) {
            world.decls.declare(name, Type::Dyn);
        }
        for name in schema.keys().chain(data.keys()) {
            let t = world.decls.get(name).cloned().unwrap_or(Type::Dyn);
            if let Some(value) = data.get(name) {
                world.scope.bind_typed(name, value, &t);
            }
            world.variables.insert(name.clone(), t);
        }
        world
    }
}
