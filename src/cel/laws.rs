//! What holds for every expression.

use super::value::Val;
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Expressions, most of them well formed, many of them well typed.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "0",
        "1",
        "-2",
        "9223372036854775807",
        "3u",
        "1.5",
        "1e21",
        "true",
        "false",
        "null",
        "''",
        "'a'",
        "'ä,b'",
        "b'x'",
        "[]",
        "{}",
        "[1, 2]",
        "['b', 'a']",
        "{'a': 1}",
        "{1: 'x'}",
        "schema",
        "schema.spec.name",
        "schema.spec.count",
        "schema.spec.nope",
        "schema.spec.list",
        "schema.spec.?gone",
        "optional.none()",
        "optional.of(1)",
        "x",
        "v",
        "duration('90s')",
        "timestamp(0)",
        "quantity('1Ki')",
        "omit()",
        "int",
        "dyn(1)",
        "dyn('a')",
        "dyn([1])",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 3, |inner| {
        let operator =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let method = prop::sample::select(vec![
            "size",
            "sum",
            "min",
            "max",
            "sort",
            "reverse",
            "distinct",
            "first",
            "last",
            "trim",
            "lowerAscii",
            "hasValue",
            "value",
            "isSorted",
            "join",
            "flatten",
            "getHours",
            "asInteger",
            "unwrapOpt",
        ]);
        let with_arg = prop::sample::select(vec![
            "startsWith",
            "contains",
            "matches",
            "indexOf",
            "lastIndexOf",
            "split",
            "charAt",
            "substring",
            "orValue",
            "or",
            "merge",
            "deepMerge",
            "find",
            "findAll",
            "format",
            "join",
            "add",
            "flatten",
        ]);
        let function = prop::sample::select(vec![
            "string",
            "int",
            "double",
            "uint",
            "bool",
            "bytes",
            "dyn",
            "type",
            "size",
            "json.marshal",
            "json.encode",
            "json.unmarshal",
            "base64.encode",
            "base64.decode",
            "hash.md5",
            "optional.ofNonZeroValue",
            "lists.range",
            "strings.quote",
            "duration",
            "timestamp",
            "isURL",
            "url",
            "isIP",
            "quantity",
            "semver",
            "ip",
            "cidr",
        ]);
        let fold = prop::sample::select(vec![
            "all",
            "exists",
            "exists_one",
            "map",
            "filter",
            "sortBy",
            "optMap",
            "optFlatMap",
        ]);
        let fold2 =
            prop::sample::select(vec!["all", "exists", "transformList", "transformMap", "transformMapEntry"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (inner.clone(), method).prop_map(|(a, m)| format!("{a}.{m}()")),
            (inner.clone(), with_arg, inner.clone()).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), fold, inner.clone()).prop_map(|(a, f, b)| format!("{a}.{f}(x, {b})")),
            (inner.clone(), fold2, inner.clone()).prop_map(|(a, f, b)| format!("{a}.{f}(x, v, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("cel.bind(x, {a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[?{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{'a': {a}, 'b': {b}}}")),
            inner.clone().prop_map(|a| format!("{a}.a")),
            inner.clone().prop_map(|a| format!("{a}.?a")),
            inner.clone().prop_map(|a| format!("has({a}.a)")),
            inner.prop_map(|a| format!("!{a}")),
        ]
    })
}

fn world() -> (Scope<'static>, Decls) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "name": {"type": "string"}, "count": {"type": "integer"}, "nope": {"type": "string"}, "gone": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }}}});
    let mut decls = Decls::new();
    decls.declare_schema("schema", &schema);
    let object = json!({"spec": {"name": "SECRET-web", "count": 3, "list": [{"a": 1}, {}]}});
    let mut scope = Scope::new();
    scope.bind_typed("schema", &object, decls.get("schema").unwrap());
    (scope, decls)
}

/// Whether a value has the type that the checker promised, all the way down.
fn has_type(value: &Val, t: &Type) -> bool {
    match (t, value) {
        (Type::Struct(s), Val::Map(map)) => {
            map.strings.iter().all(|(k, v)| s.fields.get(k.as_ref()).is_none_or(|t| has_type(v, t)))
        }
        (Type::List(t), Val::List(items)) => items.iter().all(|v| has_type(v, t)),
        (Type::Map(k, v), Val::Map(map)) => {
            map.iter().all(|(key, value)| has_type(&key, k) && has_type(value, v))
        }
        (Type::Optional(t), Val::Optional(inner)) => inner.as_ref().is_none_or(|v| has_type(v, t)),
        (Type::Opaque("type"), Val::Type(_)) => true,
        // Null fits wherever an object may be absent.
        (
            Type::Struct(_) | Type::Opaque(_) | Type::Duration | Type::Timestamp | Type::Optional(_),
            Val::Null,
        ) => true,
        // And where a null came later, it names the type: `[timestamp(0), null]` is a `list(null_type)`, as in kro.
        (
            Type::Null,
            Val::Optional(_) | Val::Timestamp(_) | Val::Duration(_) | Val::Opaque(_) | Val::Map(_),
        ) => true,
        (t, value) => t.admits(value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A value has the type that the checker found; evaluation is repeatable; no text shows data.
    #[test]
    fn types_tell_the_truth(source in expression()) {
        let (scope, decls) = world();
        let Ok((program, t)) = Program::compile_typed(&source, &decls) else { return Ok(()) };
        let budget = Budget::default().started();
        let result = program.run(&scope, &budget);
        match &result {
            Ok(value) => prop_assert!(has_type(value, &t), "{source}: {value:?} is no {t}"),
            Err(fault) => {
                let error = EvalError::from(fault.clone());
                prop_assert!(!error.message().contains("SECRET"), "{source}: {error}");
            }
        }
        let once = program.eval_or_omit(&scope, &Budget::default());
        prop_assert_eq!(once, program.eval_or_omit(&scope, &Budget::default()));
    }

    /// What compiles with types compiles without them, and refers to declared variables only.
    #[test]
    fn a_typed_program_is_a_program(source in expression()) {
        let (_, decls) = world();
        if let Ok((program, _)) = Program::compile_typed(&source, &decls) {
            prop_assert!(program.variables().iter().all(|v| decls.get(v).is_some()), "{source}");
            prop_assert!(Program::compile(&source).is_ok(), "{source}");
        }
    }

    /// No text breaks the parser.
    #[test]
    fn any_text_is_answered(source in "\\PC{0,60}") {
        let _ = Program::compile(&source).map_err(|e| e.to_string());
        let _ = Program::compile_typed(&source, &Decls::new());
    }
}
