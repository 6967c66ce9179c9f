//! How texts are read: where expressions are, and what they are compiled to.

use super::evaluation::gives;
use super::table::Table;
use crate::cel::Program;
use crate::cel::template::{Part, Text, split};
use serde_json::json;

/// Text, the expressions in it, and the concatenation that it stands for.
const TEXTS: &[(&str, &[&str], &str)] = &[
    ("plain", &[], "literal"),
    ("$(a)", &[], "literal"),
    ("${a", &[], "literal"),
    ("pre ${a", &[], "literal"),
    ("${a.b}", &["a.b"], "a.b"),
    ("x-${a}", &["a"], r#""x-" + (a)"#),
    ("${a}${b}", &["a", "b"], "(a) + (b)"),
    ("${a}-${b}", &["a", "b"], r#"(a) + "-" + (b)"#),
    ("$${a}", &["a"], r#""$" + (a)"#),
    (r#"${"${VAR}"}"#, &[r#""${VAR}""#], r#""${VAR}""#),
    (r#"${"}"}"#, &[r#""}""#], r#""}""#),
    (r#"${"a\"}"}"#, &[r#""a\"}""#], r#""a\"}""#),
    (r#"a: ${"${x}"}-${b}"#, &[r#""${x}""#, "b"], r#""a: " + ("${x}") + "-" + (b)"#),
    (r#"x "q" ${a} \n"#, &["a"], r#""x \"q\" " + (a) + " \\n""#),
    (r#"${outer("${inner}")}"#, &[r#"outer("${inner}")"#], r#"outer("${inner}")"#),
    ("${outer(${inner})}", &[], "error: nested expressions are not allowed unless inside string literals"),
    // kro takes a single quote for an ordinary character.
    ("${'${x}'}", &["'${x}'"], "'${x}'"),
    ("${'}'}", &["'}'"], "'}'"),
    ("${'{'}", &["'{'"], "'{'"),
    ("${}", &[""], ""),
    ("${ a }", &[" a "], " a "),
    ("${a\n}", &["a\n"], "a\n"),
    ("${a}\n", &["a"], r#"(a) + "\n""#),
    (r#"${{"k": "v"}}"#, &[r#"{"k": "v"}"#], r#"{"k": "v"}"#),
];

#[test]
fn where_expressions_are() {
    let mut table = Table::default();
    for (text, expressions, compiled) in TEXTS {
        let (found, got): (Vec<String>, String) = match split(text) {
            Err(error) => (Vec::new(), format!("error: {}", error.message)),
            Ok(Text::Literal(_)) => (Vec::new(), "literal".into()),
            Ok(Text::Standalone(source)) => (vec![source.clone()], source),
            Ok(Text::Mixed(parts)) => {
                let sources = parts.iter().filter_map(|p| match p {
                    Part::Expr(source) => Some(source.clone()),
                    Part::Literal(_) => None,
                });
                let program = Program::compile_mixed(&parts).unwrap();
                (sources.collect(), program.source().to_owned())
            }
        };
        table.is(text, format!("{found:?} {got}"), format!("{expressions:?} {compiled}"));
    }
}

#[test]
fn what_texts_give() {
    let mut table = Table::default();
    for (text, want) in [
        ("plain", r#""plain""#),
        ("$(a) ${a", r#""$(a) ${a""#),
        (r#"${"${VAR}"}"#, r#""${VAR}""#),
        ("${'${x}'}", r#""${x}""#),
        ("${'}'}-${\"}\"}", r#""}-}""#),
        ("$${schema.spec.s}", r#""$abc""#),
        ("${schema.spec.s}\n", r#""abc\n""#),
        ("${{'k': 'v'}}", r#"{"k":"v"}"#),
        ("${ schema.spec.n }", "3"),
    ] {
        table.is(text, gives("", text, json!({"s": "abc", "n": 3}), json!({})), want);
    }
}
