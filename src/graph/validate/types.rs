//! Which types expressions must have where they stand.

use super::place;
use super::values::Field;
use crate::cel::{CompileError, Decls, Type};
use crate::graph::diagnostic::{Path, Problems, TYPE_PREFIX, backslash, legible};
use crate::graph::expression::Use;
use crate::graph::variables::{RESTLESS, SCHEMA};
use serde_json::Value;

/// The type of an expression; `None` when it has problems, which are reported.
pub fn of(usage: &Use, decls: &Decls, problems: &mut Problems) -> Option<Type> {
    match usage.expression.program.check(decls) {
        Ok(found) => Some(found),
        Err(errors) => {
            for error in errors {
                let help = backslash(&usage.expression.text, Some(&error.source_text))
                    .or_else(|| restless(usage, &error))
                    .or_else(|| error.help.clone())
                    .or_else(|| optional(&error))
                    .or_else(|| advice(&error));
                problems.in_expression(&usage.path, &usage.expression.text, &CompileError { help, ..error });
            }
            None
        }
    }
}

/// Reports a value that may be absent where one is needed.
fn optional(error: &CompileError) -> Option<String> {
    let takes_none =
        error.message.contains("no matching overload") && error.message.contains("optional_type(");
    takes_none.then(|| "a value may be absent here: say what stands then, x.orValue(…)".to_owned())
}

/// A field that no expression sees, read under another name: `cel.bind(m, schema.metadata, m.resourceVersion)`.
fn restless(usage: &Use, error: &CompileError) -> Option<String> {
    let is_named = RESTLESS.iter().any(|f| error.message == format!("undefined field '{f}'"));
    (is_named && usage.expression.reads(SCHEMA)).then(|| place::INSTEAD.to_owned())
}

/// Where a field of the instance comes from.
fn advice(error: &CompileError) -> Option<String> {
    if !error.message.starts_with("undefined field") {
        return None;
    }
    let before = error.source_text.get(..error.offset)?;
    let chain = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"_.?".contains(c)).next()?;
    if chain == "schema.spec" || chain.starts_with("schema.spec.") {
        return Some("declare it in spec.schema.spec".to_owned());
    }
    let status = chain == SCHEMA && error.message.contains("'status'");
    status.then(|| "the status cannot be read; read the resources that it comes from".to_owned())
}

/// A condition must give a bool. `typed` says that the types of all that it reads are known, so that `dyn` is the
/// author's doing.
pub fn condition(usage: &Use, what: &str, decls: &Decls, typed: bool, problems: &mut Problems) {
    let Some(found) = of(usage, decls, problems) else { return };
    let fits = match &found {
        Type::Bool => true,
        Type::Optional(inner) => matches!(**inner, Type::Bool) || (!typed && **inner == Type::Dyn),
        Type::Dyn => !typed,
        _ => false,
    };
    if fits {
        return;
    }
    let forms = ["@ == true", "@.orValue(false) == true"];
    let is_dyn = found == Type::Dyn || matches!(&found, Type::Optional(inner) if **inner == Type::Dyn);
    let program = &usage.expression.program;
    let code = is_dyn.then(|| program.rewritten(&forms, decls, |t| *t == Type::Bool)).flatten();
    let help = backslash(&usage.expression.text, None).or_else(|| {
        code.map(|code| format!("its type is known only at run time: compare it: write ${{{code}}}"))
    });
    let message = format!(
        "{what} expression {} must return bool or optional_type(bool), but returns {}",
        usage.expression.text,
        legible(&found.to_string())
    );
    problems.add_with_help(&usage.path, message, help);
}

/// The type of a dimension's items. A dimension must give a list.
pub fn items(usage: &Use, decls: &Decls, typed: bool, problems: &mut Problems) -> Option<Type> {
    let found = of(usage, decls, problems)?;
    match &found {
        Type::List(item) => return Some((**item).clone()),
        Type::Dyn if !typed => return Some(Type::Dyn),
        _ => {}
    }
    let inner = if let Type::Optional(inner) = &found { &**inner } else { &found };
    let what = if matches!(inner, Type::Map(..)) { "for its keys " } else { "" };
    let forms = ["@.map(k, k)", "@.orValue([])", "@.orValue({}).map(k, k)"];
    let code = usage.expression.program.rewritten(&forms, decls, |t| matches!(t, Type::List(_)));
    let help = code.map(|code| format!("{what}write ${{{code}}}"));
    let got = legible(&found.to_string());
    let message = format!("forEach expression {} must return a list, got {got}", usage.expression.text);
    problems.add_with_help(&usage.path, message, help);
    None
}

/// The template of a resource: its id, where it stands, and its schema.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub id: &'a str,
    pub path: &'a Path,
    pub root: Field<'a>,
}

/// A field of a template must be able to hold what its expression gives.
pub fn field(
    usage: &Use,
    Target { id, path: template, root }: Target<'_>,
    decls: &Decls,
    problems: &mut Problems,
) {
    let Some(found) = of(usage, decls, problems) else { return };
    let Some(steps) = usage.path.below(template) else { return };
    let Field::Schema(schema) = root.at(steps) else { return };
    let below = steps.iter().fold(Path::default(), |path, step| path.step(step));
    let Some(expected) = Type::from_openapi(schema, &format!("{TYPE_PREFIX}{id}.{below}")) else { return };
    let Some(detail) = found.mismatch(&expected) else { return };
    let message = format!(
        "type mismatch in resource {id:?} at path \"{below}\": expression {:?} returns type \"{}\" but expected \
         \"{}\": {}",
        usage.expression.program.source(),
        legible(&found.to_string()),
        legible(&expected.to_string()),
        legible(&detail)
    );
    let about = schema.get("description").and_then(Value::as_str).map(|text| {
        let first = text.split_inclusive(". ").next().unwrap_or(text);
        format!("the field: {}", first.trim())
    });
    problems.add_with_help(&usage.path, message, about);
}
