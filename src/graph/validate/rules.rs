//! The rules that an author writes for the instances: `validation=`. The API server compiles them with the CRD, and
//! refuses the CRD of a rule that does not compile.

use crate::cel::{Decls, Libraries, Problem, Program, Type};
use crate::graph::diagnostic::{Diagnostic, Problems, Spot, TYPE_PREFIX, legible};
use serde_json::Value;

const RULES: &str = "x-kubernetes-validations";

/// Checks every rule of the instance's spec; `path` is where the schema stands in the definition.
pub fn check(schema: &Value, path: &str, problems: &mut Problems) {
    for rule in schema.get(RULES).and_then(Value::as_array).into_iter().flatten() {
        if let Some(source) = rule.get("rule").and_then(Value::as_str) {
            one(source, schema, path, problems);
        }
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let plain =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let below = if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") };
        check(property, &below, problems);
    }
    for inner in [schema.get("items"), schema.get("additionalProperties")].into_iter().flatten() {
        check(inner, path, problems);
    }
}

fn one(source: &str, schema: &Value, path: &str, problems: &mut Problems) {
    let this = Type::from_openapi(schema, &format!("{TYPE_PREFIX}self")).unwrap_or(Type::Dyn);
    let mut decls = Decls::new();
    decls.declare("self", this.clone()).declare("oldSelf", this).compare_numbers();
    // The API server has libraries that kro lacks.
    let libraries = Libraries::parse("math,sets").unwrap_or_default();
    let message = |what: &str| format!("the rule validation={source:?} does not compile: {what}");
    match Program::compile_typed_with(source, &decls, libraries) {
        Ok((_, Type::Bool | Type::Dyn)) => {}
        Ok((_, found)) => problems.push(Diagnostic {
            path: path.to_owned(),
            message: message(&format!("it must give a bool, but gives {}", legible(&found.to_string()))),
            help: Some("compare, e.g. self > 0".to_owned()),
            spot: None,
        }),
        Err(found) => {
            for error in found.into_iter().filter(|error| !is_of_the_server(source, error)) {
                problems.push(Diagnostic {
                    path: path.to_owned(),
                    message: message(&legible(&error.message)),
                    help: error.help,
                    spot: Some(Spot { source: error.source_text, offset: error.offset }),
                });
            }
        }
    }
}

/// What kro's libraries lack, and the API server has: formats (`format.dns1123Label().validate(self)`), images, and versions
/// that are put right first (`semver(self, true)`).
fn is_of_the_server(source: &str, error: &Problem) -> bool {
    const LIBRARIES: [&str; 3] = ["format.", "image(", "isImage("];
    const RIGHTED: [&str; 2] = ["'isSemver'", "'semver'"];
    let of_library = LIBRARIES.iter().any(|name| source.contains(name));
    let is_righted =
        |name: &&str| error.message.starts_with(&format!("found no matching overload for {name}"));
    (of_library && error.message.starts_with("undeclared reference"))
        || (error.message.ends_with("(string, bool)'") && RIGHTED.iter().any(is_righted))
}
