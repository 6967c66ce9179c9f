//! What kro itself says to a thousand expressions, and whether we say the same.
//!
//! The data is found by `KRO_HUB_CONFORMANCE`; without it the tests say so and pass.

use super::*;
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var("KRO_HUB_CONFORMANCE")
        .unwrap_or_else(|_| format!("{}/../shared/conformance", env!("CARGO_MANIFEST_DIR")));
    let folder = PathBuf::from(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no conformance data in {}", folder.display());
    None
}

/// Equal, with numbers compared by value.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

/// Expressions that we answer differently on purpose.
const DIFFERENT: [(&str, &str); 0] = [];

#[test]
fn untyped_expressions() {
    let Some(folder) = folder() else { return };
    let rows = std::fs::read_to_string(folder.join("kro-cel.jsonl")).unwrap();
    let data: Json =
        serde_json::from_str(&std::fs::read_to_string(folder.join("../oracle/data.json")).unwrap()).unwrap();
    let mut scope = Scope::new();
    for (name, value) in data.as_object().unwrap() {
        scope.bind(name, value);
    }
    let (mut right, mut left_out, mut wrong) =
        (0, std::collections::BTreeMap::<&str, usize>::new(), Vec::new());
    for row in rows.lines() {
        let row: Json = serde_json::from_str(row).unwrap();
        let expr = row["expr"].as_str().unwrap();
        if let Some((_, reason)) = DIFFERENT.iter().find(|(e, _)| *e == expr) {
            *left_out.entry(reason).or_default() += 1;
            continue;
        }
        let program = Program::compile(expr);
        let got = program.as_ref().map(|p| {
            let budget = Budget::default();
            budget.start();
            p.run(&scope, &budget)
        });
        let is_bytes = row["type"] == "bytes";
        let json = |value: Val| match value {
            Val::Bytes(b) if is_bytes => {
                use base64::Engine;
                Ok(Json::String(base64::engine::general_purpose::STANDARD.encode(b)))
            }
            other => {
                let out = other.into_field(&Budget::default().started());
                out.map(|field| field.unwrap_or_else(|| serde_json::json!({}))).map_err(EvalError::from)
            }
        };
        let verdict = match (row.get("value"), row.get("check_error"), row.get("eval_error"), &got) {
            (_, Some(_), _, Err(_)) => Ok(()),
            (_, Some(_), _, Ok(_)) => {
                *left_out.entry("mistakes that need the type checker").or_default() += 1;
                continue;
            }
            (Some(want), _, _, Ok(Ok(value))) => match json(value.clone()) {
                Ok(got) if same(&got, want) => Ok(()),
                other => Err(format!("{other:?}, want {want}")),
            },
            (_, _, Some(text), Ok(Err(fault))) => {
                let text = text.as_str().unwrap_or_default();
                let want = ["no such key", "no such field", "no such attribute", "index out of bounds"]
                    .iter()
                    .any(|p| text.contains(p));
                let got = EvalError::from(fault.clone());
                if got.is_pending() == want { Ok(()) } else { Err(format!("{got:?}, want {text}")) }
            }
            (None, _, None, Ok(Ok(value))) => match (json(value.clone()), row.get("value_text")) {
                (Err(_), _) => Ok(()),
                (other, _) => Err(format!("{other:?}, want {row}")),
            },
            (_, _, _, got) => Err(format!("{got:?}, want {row}")),
        };
        match verdict {
            Ok(()) => right += 1,
            Err(text) => wrong.push(format!("{expr}\n    {text}")),
        }
    }
    eprintln!("{right} right, left out: {left_out:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
