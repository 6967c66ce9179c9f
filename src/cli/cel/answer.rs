//! The answer to an expression.

use super::world::World;
use crate::cel::template::{self, Text};
use crate::cel::{Budget, EvalError, Problem, Program, Type};
use serde::Serialize;
use serde_json::Value as Json;

/// How an expression is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// The expression is the text of a template's field.
    pub(super) template: bool,
    /// `omit()` is allowed.
    pub(super) omit: bool,
}

#[derive(Debug)]
pub(super) enum Answer {
    Value(String, Json),
    /// The check passed, the evaluation did not.
    Error(String, EvalError),
    Refused(Vec<Refusal>),
}

#[derive(Debug)]
pub(super) enum Refusal {
    Problem(Problem),
    Plain(String),
}

/// `{"expr", "type", "value" | "error" | "check_error"}`
#[derive(Serialize)]
struct Row<'a> {
    expr: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_error: Option<String>,
}

impl Answer {
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(vec![Refusal::Plain(message.into())])
    }

    pub(super) fn is_value(&self) -> bool {
        matches!(self, Self::Value(..))
    }

    /// For people; `place` is file and line of an expression that does not stand alone.
    pub(super) fn text(&self, place: Option<(&str, usize)>) -> String {
        let prefix = place.map(|(file, line)| format!("{file}:{line}: ")).unwrap_or_default();
        match self {
            Self::Value(t, value) => format!("{prefix}{value} : {t}"),
            Self::Error(_, error) if error.is_pending() => {
                format!("{prefix}not there yet: {error}")
            }
            Self::Error(_, error) => format!("{prefix}error: {error}"),
            Self::Refused(refusals) => {
                let texts = refusals.iter().map(|refusal| match (refusal, place) {
                    (Refusal::Problem(problem), Some((file, line))) => {
                        problem.to_string().replacen("<input>:1:", &format!("{file}:{line}:"), 1)
                    }
                    (Refusal::Problem(problem), None) => problem.to_string(),
                    (Refusal::Plain(text), _) => format!("{prefix}ERROR: {text}"),
                });
                texts.collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// For programs: one line.
    pub(super) fn json(&self, expr: &str) -> String {
        let mut row = Row { expr, kind: None, value: None, error: None, check_error: None };
        match self {
            Self::Value(t, value) => {
                row.kind = Some(t);
                row.value = Some(value);
            }
            Self::Error(t, error) => {
                row.kind = Some(t);
                row.error = Some(error.message());
            }
            Self::Refused(refusals) => {
                let texts = refusals.iter().map(|refusal| match refusal {
                    Refusal::Problem(problem) => problem.to_string().replace('\n', " "),
                    Refusal::Plain(text) => text.clone(),
                });
                row.check_error = Some(texts.collect::<Vec<_>>().join(" "));
            }
        }
        serde_json::to_string(&row).unwrap_or_default()
    }
}

impl World {
    /// Checks an expression and evaluates it.
    pub(super) fn answer(&self, source: &str, mode: Mode) -> Answer {
        match self.checked(source, mode) {
            Err(answer) => answer,
            Ok((program, t)) => match program.show(&self.scope, &Budget::default()) {
                Ok(value) => Answer::Value(t.to_string(), value),
                Err(error) => Answer::Error(t.to_string(), error),
            },
        }
    }

    /// Checks an expression: the program, or what is said to it.
    pub(super) fn checked(&self, source: &str, mode: Mode) -> Result<(Program, Type), Answer> {
        let text = if mode.template {
            template::split(source).map_err(|e| Answer::refused(e.to_string()))?
        } else {
            Text::Standalone(source.to_owned())
        };
        let checked = match text {
            Text::Standalone(source) => Program::compile_typed(&source, &self.decls),
            Text::Mixed(parts) => {
                Program::compile_mixed_typed(&parts, &self.decls).map(|program| (program, Type::String))
            }
            Text::Literal(text) => Program::compile_mixed(&[template::Part::Literal(text)])
                .map(|program| (program, Type::String))
                .map_err(|problem| vec![problem]),
        };
        let checked = checked
            .map_err(|problems| Answer::Refused(problems.into_iter().map(Refusal::Problem).collect()))?;
        if !mode.omit && checked.0.functions().contains("omit") {
            return Err(Answer::refused(
                "omit() requires the CELOmitFunction feature gate to be enabled \
                 (--feature-gates CELOmitFunction=true)",
            ));
        }
        Ok(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn world() -> World {
        let schema = json!({
            "schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "name": {"type": "string"}, "replicas": {"type": "integer"}, "key": {"type": "string", "format": "byte"},
                "port": {"x-kubernetes-int-or-string": true}, "items": {"type": "array", "items": {"type": "string"}},
            }}}},
            "later": {"type": "object", "properties": {"a": {"type": "integer"}}},
        });
        let data = json!({
            "schema": {"spec": {"name": "web", "replicas": 3.0, "key": "AQI=", "port": "http"}},
            "free": {"a": 1, "b": 1.5},
        });
        let map = |v: Json| v.as_object().unwrap().clone();
        World::new(map(data), map(schema))
    }

    fn json(source: &str, mode: Mode) -> String {
        let row: Json = serde_json::from_str(&world().answer(source, mode).json(source)).unwrap();
        let mut row = row.as_object().unwrap().clone();
        assert_eq!(row.remove("expr"), Some(source.into()));
        let outcomes = ["value", "error", "check_error"].iter().filter(|k| row.contains_key(**k)).count();
        assert_eq!(outcomes, 1, "{row:?}");
        assert_eq!(row.contains_key("type"), !row.contains_key("check_error"), "{row:?}");
        Json::Object(row).to_string()
    }

    #[test]
    fn bare_expressions() {
        let rows = [
            ("schema.spec.name + '-' + string(schema.spec.replicas)", r#"{"type":"string","value":"web-3"}"#),
            ("free.a + 1", r#"{"type":"int","value":2}"#),
            ("free.b", r#"{"type":"dyn","value":1.5}"#),
            ("null", r#"{"type":"null_type","value":null}"#),
            ("18446744073709551615u", r#"{"type":"uint","value":18446744073709551615}"#),
            ("b'w'", r#"{"type":"bytes","value":"dw=="}"#),
            ("[b'w']", r#"{"type":"list(bytes)","value":["dw=="]}"#),
            ("schema.spec.key", r#"{"type":"bytes","value":"AQI="}"#),
            ("schema.spec.port", r#"{"type":"dyn","value":"http"}"#),
            ("optional.none()", r#"{"type":"optional_type(dyn)","value":null}"#),
            ("duration('90s')", r#"{"type":"google.protobuf.Duration","value":"1m30s"}"#),
            ("later.a", r#"{"error":"no such attribute(s): later","type":"int"}"#),
            ("schema.spec.items", r#"{"error":"no such key: items","type":"list(string)"}"#),
            ("free.c", r#"{"error":"no such key: c","type":"dyn"}"#),
            ("1 / 0", r#"{"error":"division by zero","type":"int"}"#),
            ("{1: 2}", r#"{"error":"map keys must be strings, found int","type":"map(int, int)"}"#),
            (
                "quantity('1')",
                r#"{"error":"unsupported type: kubernetes.Quantity","type":"kubernetes.Quantity"}"#,
            ),
            (
                "nope",
                r#"{"check_error":"ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')  | nope  | ^"}"#,
            ),
            (
                "omit()",
                r#"{"check_error":"omit() requires the CELOmitFunction feature gate to be enabled (--feature-gates CELOmitFunction=true)"}"#,
            ),
        ];
        for (source, want) in rows {
            assert_eq!(json(source, Mode { template: false, omit: false }), want, "{source}");
        }
    }

    #[test]
    fn omission_behind_its_gate() {
        let mode = Mode { template: false, omit: true };
        assert_eq!(json("{'a': omit(), 'b': 1}", mode), r#"{"type":"map(string, dyn)","value":{"b":1}}"#);
        assert_eq!(json("omit()", mode), r#"{"type":"dyn","value":{}}"#);
    }

    #[test]
    fn texts_of_templates() {
        let rows = [
            ("plain", r#"{"type":"string","value":"plain"}"#),
            ("${schema.spec.replicas}", r#"{"type":"int","value":3}"#),
            ("x-${schema.spec.name}", r#"{"type":"string","value":"x-web"}"#),
            ("${'a ${'}", r#"{"type":"string","value":"a ${"}"#),
            (
                "${a ${b}}",
                r#"{"check_error":"nested expressions are not allowed unless inside string literals (at character 5)"}"#,
            ),
        ];
        for (source, want) in rows {
            assert_eq!(json(source, Mode { template: true, omit: false }), want, "{source}");
        }
        let wrong = json("x-${schema.spec.replicas}", Mode { template: true, omit: false });
        assert!(wrong.contains("expected type 'string' but found 'int'"), "{wrong}");
    }

    #[test]
    fn text_names_the_place() {
        let mode = Mode { template: false, omit: false };
        let text = |source: &str, place| world().answer(source, mode).text(place);
        assert_eq!(text("free.a", None), "1 : dyn");
        assert_eq!(text("free.a", Some(("f", 3))), "f:3: 1 : dyn");
        assert_eq!(text("free.c", Some(("f", 3))), "f:3: not there yet: no such key: c");
        assert_eq!(text("1 / 0", None), "error: division by zero");
        insta::assert_snapshot!(text("schema.spec.nam", Some(("f", 3))), @r"
        ERROR: f:3:12: undefined field 'nam'
         | schema.spec.nam
         | ...........^
         did you mean 'name'?
        ");
    }
}
