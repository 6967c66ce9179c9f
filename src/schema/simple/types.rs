//! The type of a field: what stands before the first `|`.

use super::Fault;
use serde_json::{Value, json};

/// How many `[]` and `map[string]` may stand before a name.
const MAX_NESTING: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub struct Type {
    /// From the outside to the inside.
    pub wrappers: Vec<Wrapper>,
    pub core: Core,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    List,
    Map,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Core {
    /// The name in OpenAPI.
    Plain(&'static str),
    /// Any object; its fields are kept unseen.
    Object,
    /// The name of a type in `spec.schema.types`.
    Custom(String),
}

impl Type {
    /// Reads `[]map[string]Name`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(Fault::new("empty type").help("write string, integer, boolean, float, object, []Type, map[string]Type, or a name from spec.schema.types"));
        }
        let mut wrappers = Vec::new();
        loop {
            if let Some(element) = rest.strip_prefix("[]") {
                rest = element.trim();
                if rest.is_empty() {
                    return Err(
                        Fault::new("empty slice element type").help("write []Type, for instance []string")
                    );
                }
                wrappers.push(Wrapper::List);
            } else if let Some(value) = rest.strip_prefix("map[string]") {
                rest = value.trim();
                if rest.is_empty() {
                    return Err(Fault::new("map value type is required")
                        .help("write map[string]Type, for instance map[string]string"));
                }
                wrappers.push(Wrapper::Map);
            } else if rest.starts_with("map[") {
                return Err(Fault::new(format!("map key must be string, found {}", quote(rest)))
                    .help("write map[string]Type"));
            } else {
                break;
            }
            if wrappers.len() > MAX_NESTING {
                return Err(Fault::new(format!("type nesting too deep: more than {MAX_NESTING} levels"))
                    .help("name the inner part in spec.schema.types"));
            }
        }
        let core = match rest {
            "string" => Core::Plain("string"),
            "integer" => Core::Plain("integer"),
            "boolean" => Core::Plain("boolean"),
            "float" => Core::Plain("number"),
            "object" => Core::Object,
            name => Core::Custom(name.to_owned()),
        };
        Ok(Self { wrappers, core })
    }

    /// Puts the lists and maps around the schema of the core.
    pub fn wrap(&self, core: Value) -> Value {
        self.wrappers.iter().rev().fold(core, |inner, wrapper| match wrapper {
            Wrapper::List => json!({"type": "array", "items": inner}),
            Wrapper::Map => json!({"type": "object", "additionalProperties": inner}),
        })
    }

    /// The path from the field to the core, as in `[]`.
    pub fn path_of_core(&self) -> String {
        self.wrappers
            .iter()
            .map(|wrapper| match wrapper {
                Wrapper::List => "[]",
                Wrapper::Map => ".*",
            })
            .collect()
    }
}

/// A text in backticks, cut to what a message can bear.
pub fn quote(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("`{}…`", text.get(..at).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types() {
        let t = Type::parse(" map[string] []map[string]integer ").unwrap();
        assert_eq!(t.path_of_core(), ".*[].*");
        let integer = json!({"type": "integer"});
        let inner = json!({"type": "object", "additionalProperties": integer});
        let list = json!({"type": "array", "items": inner});
        assert_eq!(t.wrap(integer), json!({"type": "object", "additionalProperties": list}));
        assert_eq!(Type::parse("[] Port").unwrap().core, Core::Custom("Port".into()));
    }

    #[test]
    fn no_types() {
        let table = [
            ("", "empty type"),
            ("  ", "empty type"),
            ("[]", "empty slice element type"),
            ("[] ", "empty slice element type"),
            ("map[string]", "map value type is required"),
            ("map[int]string", "map key must be string, found `map[int]string`"),
            ("map[ string]string", "map key must be string, found `map[ string]string`"),
            ("[]map[]string", "map key must be string, found `map[]string`"),
        ];
        for (text, expected) in table {
            assert_eq!(Type::parse(text).unwrap_err().message, expected, "{text}");
        }
    }

    #[test]
    fn sixteen_levels_and_no_more() {
        assert!(Type::parse(&format!("{}string", "[]".repeat(16))).is_ok());
        let fault = Type::parse(&format!("{}string", "[]".repeat(17))).unwrap_err();
        assert_eq!(fault.message, "type nesting too deep: more than 16 levels");
        assert!(Type::parse(&"[]".repeat(100_000)).is_err());
    }
}
