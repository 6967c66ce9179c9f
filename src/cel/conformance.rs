//! What kro itself says to a thousand expressions, and whether we say the same.
//!
//! The data is found by `KRO_HUB_CONFORMANCE`; without it the tests say so and pass.

use super::*;
use std::path::PathBuf;

pub(super) fn folder() -> Option<PathBuf> {
    let Ok(folder) = std::env::var("KRO_HUB_CONFORMANCE") else {
        eprintln!("skipped: KRO_HUB_CONFORMANCE names no folder with conformance data");
        return None;
    };
    let folder = PathBuf::from(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no conformance data in {}", folder.display());
    None
}

/// Equal, with numbers compared by value.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

/// The same for a value and JSON text. A number is read by the standard library, which is exact to the last digit.
pub(super) fn same_text(value: &Json, text: &str) -> bool {
    match (value, text.parse::<f64>()) {
        (Json::Number(ours), Ok(theirs)) if ours.is_f64() => ours.as_f64() == Some(theirs),
        _ => serde_json::from_str(text).is_ok_and(|want: Json| same(value, &want)),
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
    let mut decls = Decls::new();
    for (name, value) in data.as_object().unwrap() {
        scope.bind(name, value);
        decls.declare(name, Type::Dyn);
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
        let program = Program::compile_typed(expr, &decls).map(|(program, t)| {
            if !row["type"].is_null() && row["type"] != t.to_string() {
                wrong.push(format!("{expr}\n    type {t}, want {}", row["type"]));
            }
            program
        });
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
            (_, Some(want), _, Err(problems)) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                let first = first.lines().next().unwrap_or_default();
                let want = want.as_str().unwrap_or_default().split("  | ").next().unwrap_or_default();
                if first == want { Ok(()) } else { Err(format!("{first}, want {want}")) }
            }
            // Refused by kro between check and run.
            (_, Some(text), _, Ok(Err(_))) if !text.as_str().unwrap_or_default().starts_with("ERROR") => {
                Ok(())
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

#[test]
fn typed_expressions() {
    let Some(folder) = folder() else { return };
    let data: Json =
        serde_json::from_str(&std::fs::read_to_string(folder.join("kro-cel-typed.json")).unwrap()).unwrap();
    let mut decls = Decls::new();
    decls.declare_schema("schema", &data["schema"]);
    let mut wrong = Vec::new();
    let cases = data["cases"].as_array().unwrap();
    for case in cases {
        let expr = case["expr"].as_str().unwrap();
        let got = match Program::compile_typed(expr, &decls) {
            Ok((_, t)) => t.to_string(),
            Err(problems) => problems[0].to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let want = case["type"].as_str().or(case["error"].as_str()).unwrap();
        if got != want {
            wrong.push(format!("{expr}\n    {got}\n    want {want}"));
        }
    }
    eprintln!("{} of {} right", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A value as the specification's data writes it; `None` for kinds that do not occur here.
fn spec_value(v: &Json) -> Option<Val> {
    let text = || v["v"].as_str().map(str::to_owned).unwrap_or_else(|| v["v"].to_string());
    let seconds = |key: &str| v[key].as_i64().unwrap_or(0);
    Some(match v["t"].as_str()? {
        "null" => Val::Null,
        "bool" => Val::Bool(v["v"].as_bool()?),
        "int" => Val::Int(text().parse().ok()?),
        "uint" => Val::Uint(text().parse().ok()?),
        "double" => Val::Double(text().parse().ok()?),
        "string" => Val::string(v["v"].as_str()?),
        "bytes" => Val::Bytes(v["v"].as_array()?.iter().map(|b| b.as_u64().unwrap_or(0) as u8).collect()),
        "type" => Val::Type(v["v"].as_str()?.into()),
        "duration" => Val::Duration(seconds("s") * 1_000_000_000 + seconds("n")),
        "timestamp" => {
            let at = chrono::DateTime::from_timestamp(seconds("s"), seconds("n") as u32)?;
            Val::Timestamp(at.fixed_offset())
        }
        "list" => Val::list(v["v"].as_array()?.iter().map(spec_value).collect::<Option<_>>()?),
        "map" => {
            let mut map = value::Map::default();
            for entry in v["v"].as_array()? {
                map.insert(spec_value(&entry[0])?, spec_value(&entry[1])?).ok()?;
            }
            Val::map(map)
        }
        _ => return None,
    })
}

/// Why a file of the specification does not apply.
const FILES_LEFT_OUT: [(&str, &str); 4] = [
    ("math_ext.json", "kro has no math library"),
    ("network_ext.json", "kro has Kubernetes' network library, not cel-go's"),
    ("block_ext.json", "a macro for tests only"),
    ("proto2.json", "protobuf messages"),
];

/// Cases of the specification where kro, and so we, differ.
const SPEC_DIFFERENT: [(&str, &str); 12] = [
    ("{0: 1, 0u: 2}[0.0]", "kro takes equal keys of different types"),
    ("{true: dyn(0)}[?true].absent", "kro finds nothing in what has no fields, which is no error in a chain"),
    ("'tacocat'.indexOf('a', 30)", "kro finds nothing past the end"),
    ("a.else()", "an unknown function is refused before anything runs"),
    ("a.function()", "an unknown function is refused before anything runs"),
    ("a.namespace()", "an unknown function is refused before anything runs"),
    ("x.getMilliseconds()", "kro gives a duration's total milliseconds"),
    ("{'k1': 'v1', 'k1': 'v2'}", "kro takes the last of equal keys"),
    ("a.return()", "an unknown function is refused before anything runs"),
    ("a.while()", "an unknown function is refused before anything runs"),
    ("TestAllTypes", "protobuf messages"),
    ("proto.", "protobuf messages"),
];

#[test]
fn the_specification() {
    let Some(folder) = folder() else { return };
    let kro: std::collections::BTreeSet<String> = std::fs::read_to_string(folder.join("kro-cel.jsonl"))
        .unwrap()
        .lines()
        .filter_map(|l| Some(serde_json::from_str::<Json>(l).ok()?["expr"].as_str()?.to_owned()))
        .collect();
    let (mut right, mut left_out, mut wrong) =
        (0, std::collections::BTreeMap::<&str, usize>::new(), Vec::new());
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("cel")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let cases: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for case in cases {
            let expr = case["expr"].as_str().unwrap();
            let mut bindings = Vec::new();
            for binding in case["bindings"].as_array().unwrap() {
                bindings.push((binding[0].as_str().unwrap(), spec_value(&binding[1])));
            }
            let functions = case["env"].as_array().unwrap().iter().any(|d| d[1] == "function");
            let reason = if let Some((_, reason)) = FILES_LEFT_OUT.iter().find(|(f, _)| *f == name) {
                Some(*reason)
            } else if kro.contains(expr) && bindings.is_empty() {
                Some("kro's own answer is tested")
            } else if let Some((_, reason)) = SPEC_DIFFERENT.iter().find(|(e, _)| expr.contains(e)) {
                Some(*reason)
            } else if !case["container"].as_str().unwrap_or("").is_empty()
                || bindings.iter().any(|(n, _)| n.contains('.'))
            {
                Some("containers and variables with dots")
            } else if functions || case["check_only"] == true || case["want"].is_null() {
                Some("declares functions, or is for the checker only")
            } else if bindings.iter().any(|(_, v)| v.is_none()) {
                Some("bindings of other kinds")
            } else if case["disable_macros"] == true {
                Some("macros switched off")
            } else {
                None
            };
            if let Some(reason) = reason {
                *left_out.entry(reason).or_default() += 1;
                continue;
            }
            let mut scope = Scope::new();
            for (name, value) in bindings {
                scope.bind_shared(name, &Bound(value.unwrap()));
            }
            let budget = Budget::default().started();
            let got = Program::compile(expr).map(|p| p.run(&scope, &budget));
            let want = spec_value(&case["want"]);
            let ok = match (&got, &want) {
                (Ok(Ok(Val::Double(a))), Some(Val::Double(b))) if b.is_nan() => a.is_nan(),
                (Ok(Ok(a)), Some(b)) => {
                    a.type_name() == b.type_name() && a.equals(b, &Budget::default().started()).unwrap()
                }
                (Err(_) | Ok(Err(_)), None) => case["want"]["t"] == "error",
                _ => false,
            };
            if ok {
                right += 1;
            } else {
                wrong.push(format!("{name}: {expr}\n    {got:?}\n    want {}", case["want"]));
            }
        }
    }
    eprintln!("{right} right, left out: {left_out:#?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
