//! Expressions of every kind with what kro says to them, one a line of `answers/*.tsv`.
//!
//! `value : type`; `fatal : type` and `pending : type` for an evaluation that fails; `refused: message`, the first line;
//! `no program` for what kro refuses after its check, which may be refused here at any time.

use super::conformance::same_text;
use super::*;
use serde_json::json;

const TABLES: [(&str, &str); 11] = [
    ("base64", include_str!("answers/base64.tsv")),
    ("bind", include_str!("answers/bind.tsv")),
    ("format", include_str!("answers/format.tsv")),
    ("keys", include_str!("answers/keys.tsv")),
    ("messages", include_str!("answers/messages.tsv")),
    ("numbers", include_str!("answers/numbers.tsv")),
    ("other", include_str!("answers/other.tsv")),
    ("patterns", include_str!("answers/patterns.tsv")),
    ("quantities", include_str!("answers/quantities.tsv")),
    ("text", include_str!("answers/text.tsv")),
    ("times", include_str!("answers/times.tsv")),
];

fn data() -> Json {
    json!({
        "schema": {"spec": {
            "name": "web", "replicas": 3, "namespace": "ns1", "labels": {"app": "web"},
            "ports": [{"name": "http", "port": 80}], "weird": 1.0, "bigint": 9_007_199_254_740_993_i64,
        }},
        "deployment": {
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}, "annotations": {"a.b/c": "v"}},
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        },
        "each": {"value": "ev"},
    })
}

/// What is said here, in the words of the tables.
fn said(expression: &str, want: &str, decls: &Decls, scope: &Scope<'_>) -> String {
    let (program, t) = match Program::compile_typed(expression, decls) {
        Ok(compiled) => compiled,
        Err(_) if want == "no program" => return want.to_owned(),
        Err(problems) => {
            let text = problems.first().map(ToString::to_string).unwrap_or_default();
            return format!("refused: {}", text.lines().next().unwrap_or_default());
        }
    };
    match program.eval_or_omit(scope, &Budget::default()) {
        Ok(value) => {
            let value = value.unwrap_or(Json::Null);
            match want.rsplit_once(" : ") {
                Some((wanted, _)) if same_text(&value, wanted) => format!("{wanted} : {t}"),
                _ => format!("{value} : {t}"),
            }
        }
        Err(_) if want == "no program" => want.to_owned(),
        Err(EvalError::Pending { .. }) => format!("pending : {t}"),
        Err(EvalError::Fatal { .. }) => format!("fatal : {t}"),
    }
}

#[test]
fn as_kro_answers() {
    let data = data();
    let (mut scope, mut decls) = (Scope::new(), Decls::new());
    for (name, value) in data.as_object().unwrap() {
        scope.bind(name, value);
        decls.declare(name, Type::Dyn);
    }
    let mut wrong = Vec::new();
    for (table, rows) in TABLES {
        for row in rows.lines() {
            let (expression, want) = row.split_once('\t').unwrap_or_else(|| panic!("{table}: {row}"));
            let got = said(expression, want, &decls, &scope);
            if got != want {
                wrong.push(format!("{table}: {expression}\n    got  {got}\n    want {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Names that are words of the language, or none, where the schema is known.
#[test]
fn names_of_typed_fields() {
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "if": text, "namespace": text, "in": text, "foo-bar": text, "a.b": text, "c/d": text, "x__y": text, "1st": text,
        "labels": {"type": "object", "additionalProperties": text},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"e-f": text}},
    }}}});
    let object = json!({"spec": {
        "if": "I", "namespace": "N", "in": "IN", "foo-bar": "FB", "a.b": "AB", "c/d": "CD", "x__y": "XY", "1st": "1",
        "labels": {"g-h": "GH"}, "open": {"e-f": "EF", "i-j": "IJ"},
    }});
    let mut decls = Decls::new();
    decls.declare_schema("schema", &schema);
    let mut scope = Scope::new();
    scope.bind_typed("schema", &object, decls.get("schema").unwrap());
    for (name, want) in [
        ("namespace", "\"N\""),
        ("__namespace__", "\"N\""),
        ("__if__", "\"I\""),
        ("if", "\"I\""),
        ("__in__", "\"IN\""),
        ("foo__dash__bar", "\"FB\""),
        ("a__dot__b", "\"AB\""),
        ("c__slash__d", "\"CD\""),
        ("x__underscores__y", "\"XY\""),
        ("open.e__dash__f", "\"EF\""),
        ("open.i__dash__j", "\"IJ\""),
        ("__for__", "undefined field '__for__'"),
        ("__foo__", "undefined field '__foo__'"),
        ("`1st`", "undefined field '1st'"),
        ("`foo-bar`", "undefined field 'foo-bar'"),
        ("labels.g__dash__h", "no such key: g__dash__h"),
        ("labels.`g-h`", "\"GH\""),
    ] {
        let source = format!("schema.spec.{name}");
        let got = match Program::compile_typed(&source, &decls) {
            Err(problems) => problems.first().map(|p| p.message.clone()).unwrap_or_default(),
            Ok((program, _)) => match program.eval(&scope, &Budget::default()) {
                Ok(value) => value.to_string(),
                Err(error) => error.to_string(),
            },
        };
        assert_eq!(got, want, "{source}");
    }
    let path = |source: &str| Program::compile(source).unwrap().paths().to_vec();
    assert_eq!(path("schema.spec.__namespace__"), path("schema.spec.namespace"));
}

/// A chain of bound expressions, each of which waits for the next, is bounded as the tree is.
#[test]
fn bound_expressions_that_wait_for_each_other() {
    fn chain(n: usize) -> String {
        let body = format!("a{n}");
        let nested = (1..=n).rev().fold(body, |body, i| format!("cel.bind(a{i}, a{} + 1, {body})", i - 1));
        format!("cel.bind(a0, 1, {nested})")
    }
    let test = || {
        let run = |source: &str| Program::compile(source).unwrap().eval(&Scope::new(), &Budget::default());
        assert_eq!(run(&chain(40)), Ok(json!(41)));
        let height = |levels: usize| vec!["a"; levels].join(" + ");
        // Sixty-odd levels each, four of them one in another.
        let deep = (0..6).rev().fold("b6".to_owned(), |body, i| {
            format!("cel.bind(b{}, {}, {body})", i + 1, height(60).replace('a', &format!("b{i}")))
        });
        let error = run(&format!("cel.bind(b0, 1, {deep})")).unwrap_err();
        assert_eq!(error.message(), "expression needs too much nesting of cel.bind");
        // Used nowhere, it does no harm.
        let unused = deep.replace(", b6)", ", 7)");
        assert_eq!(run(&format!("cel.bind(b0, 1, {unused})")), Ok(json!(7)));
    };
    std::thread::Builder::new().stack_size(16 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn a_bound_expression_is_evaluated_once_at_most() {
    let steps = |source: &str| {
        let budget = Budget::default();
        let before = budget.remaining();
        Program::compile(source).unwrap().eval(&Scope::new(), &budget).unwrap();
        before - budget.remaining()
    };
    let long = "lists.range(1000).map(i, i).size()";
    let [never, once, often] = [
        format!("cel.bind(x, {long}, 1)"),
        format!("cel.bind(x, {long}, x)"),
        format!("cel.bind(x, {long}, x + x + x)"),
    ]
    .map(|source| steps(&source));
    assert!(never < 10, "{never}");
    assert!(once > 1000 && often < once + 20, "{once} {often}");
}
