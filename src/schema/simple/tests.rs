//! SimpleSchema as its users see it: fields in, OpenAPI or problems out.

use super::openapi;
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(spec: Value) -> Value {
    typed(spec, Value::Null)
}
fn typed(spec: Value, types: Value) -> Value {
    openapi(&spec, &types).unwrap_or_else(|problems| panic!("{spec}: {problems:?}"))
}
/// Of a field `a`.
fn field(text: &str) -> Value {
    schema(json!({"a": text}))["properties"]["a"].clone()
}
fn problems(spec: Value, types: Value) -> Vec<String> {
    openapi(&spec, &types).expect_err("it should be refused").iter().map(ToString::to_string).collect()
}

#[test]
fn fields_become_openapi() {
    let table = [
        ("string", json!({"type": "string"})),
        ("  integer ", json!({"type": "integer"})),
        ("boolean", json!({"type": "boolean"})),
        ("float", json!({"type": "number"})),
        ("object", json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        ("[]string", json!({"type": "array", "items": {"type": "string"}})),
        (
            "map[string][]map[string]integer",
            json!({"type": "object", "additionalProperties": {"type": "array", "items":
                {"type": "object", "additionalProperties": {"type": "integer"}}}}),
        ),
        (
            r#"string | default="foo bar" description="d \"q\" \n x""#,
            json!({"type": "string", "default": "foo bar", "description": r#"d "q" \n x"#}),
        ),
        ("string | default=", json!({"type": "string", "default": ""})),
        ("string | default=null", json!({"type": "string", "default": "null"})),
        (r#"string | default="say \"hi\"""#, json!({"type": "string", "default": "say \"hi\""})),
        (r#"integer | default="3""#, json!({"type": "integer", "default": 3})),
        (
            "integer | default=3 minimum=1 maximum=10",
            json!({"type": "integer", "default": 3, "minimum": 1, "maximum": 10}),
        ),
        ("float | default=0.50 minimum=-1.5", json!({"type": "number", "default": 0.5, "minimum": -1.5})),
        ("boolean | default=True", json!({"type": "boolean", "default": true})),
        ("boolean | default=0", json!({"type": "boolean", "default": false})),
        (r#"string | enum="a,b , c""#, json!({"type": "string", "enum": ["a", "b", "c"]})),
        ("integer | enum=1,2", json!({"type": "integer", "enum": [1, 2]})),
        (r#"string | pattern="^[a-z]+\\.x$""#, json!({"type": "string", "pattern": r"^[a-z]+\.x$"})),
        (r#"string | pattern="^[a-z]+\.x$""#, json!({"type": "string", "pattern": r"^[a-z]+\.x$"})),
        ("string | pattern=^[a-z]+$", json!({"type": "string", "pattern": "^[a-z]+$"})),
        ("string | minLength=1 maxLength=3", json!({"type": "string", "minLength": 1, "maxLength": 3})),
        (
            r#"[]string | default=["a","b"] minItems=1 maxItems=3 uniqueItems=true"#,
            json!({"type": "array", "default": ["a", "b"], "minItems": 1, "maxItems": 3, "items": {"type": "string"},
                "x-kubernetes-list-type": "set"}),
        ),
        ("[]string | uniqueItems=false", json!({"type": "array", "items": {"type": "string"}})),
        (
            "[]string | uniqueItems=true listType=set",
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        ),
        (
            r#"map[string]integer | default={"x": 1}"#,
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "default": {"x": 1}}),
        ),
        ("[]string | minimum=1", json!({"type": "array", "items": {"type": "string"}, "minimum": 1})),
        (
            "[]string | listMapKey=a listType=map listMapKey=b",
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a", "b"]}),
        ),
        (
            r#"integer | validation="self > 0" validation="self < 9" immutable=true"#,
            json!({"type": "integer", "x-kubernetes-validations": [
                {"rule": "self > 0", "message": "validation failed"},
                {"rule": "self < 9", "message": "validation failed"},
                {"rule": "self == oldSelf", "message": "field is immutable"}]}),
        ),
        ("string | immutable=false required=false", json!({"type": "string"})),
        ("string | default=a default=b", json!({"type": "string", "default": "b"})),
        ("string | required=false   ", json!({"type": "string"})),
    ];
    for (text, expected) in table {
        assert_eq!(field(text), expected, "{text}");
    }
}

#[test]
fn objects_get_a_default_when_a_field_has_one_and_none_is_required() {
    let s = json!({"type": "string"});
    let table = [
        (json!(null), json!({"type": "object"})),
        (json!({}), json!({"type": "object"})),
        (json!({"a": {}}), json!({"type": "object", "properties": {"a": {"type": "object"}}})),
        (json!({"a": "string"}), json!({"type": "object", "properties": {"a": s}})),
        (
            json!({"a": "string | required=true"}),
            json!({"type": "object", "required": ["a"], "properties": {"a": s}}),
        ),
        (
            json!({"a": "string | default=foo"}),
            json!({"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "foo"}}}),
        ),
        (
            json!({"a": {"b": "string | default=x", "c": {"d": "integer"}}}),
            json!({"type": "object", "default": {}, "properties": {"a": {"type": "object", "default": {}, "properties": {
                "b": {"type": "string", "default": "x"},
                "c": {"type": "object", "properties": {"d": {"type": "integer"}}}}}}}),
        ),
        (
            json!({"a": {"b": "string | required=true", "c": "string | default=y"}, "z": "string | default=q"}),
            json!({"type": "object", "default": {}, "properties": {
                "a": {"type": "object", "required": ["b"], "properties": {"b": s, "c": {"type": "string", "default": "y"}}},
                "z": {"type": "string", "default": "q"}}}),
        ),
        (
            json!({"a": {"b": "string | default=x required=true"}}),
            json!({"type": "object", "properties": {"a": {"type": "object", "required": ["b"],
                "properties": {"b": {"type": "string", "default": "x"}}}}}),
        ),
        (
            json!({"z": "string | required=true", "a": "string | required=1", "m": "string | required=T"}),
            json!({"type": "object", "required": ["a", "m", "z"], "properties": {"a": s, "m": s, "z": s}}),
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(schema(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn custom_types_are_inlined() {
    let person = json!({"Person": {"name": "string | required=true", "age": "integer | default=3"}});
    let built = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "default": 3}}});
    assert_eq!(
        typed(json!({"a": "Person", "b": "[]Person", "c": "map[string]Person"}), person),
        json!({"type": "object", "properties": {
            "a": built,
            "b": {"type": "array", "items": built},
            "c": {"type": "object", "additionalProperties": built}}})
    );
    assert_eq!(
        typed(json!({"a": "[]Item | listType=map listMapKey=name"}), json!({"Item": {"name": "string"}}))["properties"]
            ["a"],
        json!({"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]})
    );
}

#[test]
fn an_alias_carries_its_markers() {
    let types = json!({
        "Email": r#"string | required=true pattern="@" default=a@b"#,
        "Contact": "Email | minLength=3",
        "Card": {"mail": "Contact", "others": "[]Contact"},
    });
    let email = json!({"type": "string", "pattern": "@", "default": "a@b"});
    let contact = json!({"type": "string", "pattern": "@", "default": "a@b", "minLength": 3});
    assert_eq!(
        typed(
            json!({"a": "Email", "b": "[]Email", "c": "Email | default=o@x required=false", "d": "Email | required=true"}),
            types.clone()
        ),
        json!({"type": "object", "required": ["a", "c", "d"], "properties": {
            "a": email,
            "b": {"type": "array", "items": email},
            "c": {"type": "string", "pattern": "@", "default": "o@x"},
            "d": email}})
    );
    assert_eq!(
        typed(json!({"card": "Card"}), types)["properties"]["card"],
        json!({"type": "object", "required": ["mail"], "properties": {
            "mail": contact, "others": {"type": "array", "items": contact}}})
    );
}

#[test]
fn what_a_field_must_not_be() {
    let table = [
        (json!(5), "unexpected type: number"),
        (json!(["string"]), "unexpected type: list"),
        (json!(null), "unexpected type: null"),
        (json!(true), "unexpected type: boolean"),
        (json!(""), "empty type"),
        (json!("| default=x"), "empty type"),
        (json!("map[int]string"), "map key must be string, found `map[int]string`"),
        (json!("map[string]"), "map value type is required"),
        (json!("[]"), "empty slice element type"),
        (json!("String"), "unknown type: `String`"),
        (json!("int"), "unknown type: `int`"),
        (json!("number"), "unknown type: `number`"),
        (json!("any"), "unknown type: `any`"),
        (json!("string |"), "no marker after `|`"),
        (json!("string | foo=1"), "unknown marker: foo"),
        (json!("string | Required=true"), "unknown marker: Required"),
        (json!("string | required=yes"), "required must be true or false, found `yes`"),
        (json!("string | description=hello world"), "marker key 'world' without a value"),
        (json!("string | required=true | default=x"), "unknown marker: |default"),
        (json!(r#"string | enum="a,,b""#), "empty enum value in `a,,b`"),
        (json!("boolean | enum=true"), "enum is only valid for type string and integer, found type boolean"),
        (json!("float | enum=1.5"), "enum is only valid for type string and integer, found type number"),
        (json!("[]integer | enum=1"), "enum is only valid for type string and integer, found type array"),
        (json!("integer | enum=1,x"), "enum value must be an integer, found `x`"),
        (json!("[]string | listMapKey=name"), "listMapKey needs listType=map"),
        (json!("[]string | listType=set listMapKey=name"), "listMapKey needs listType=map"),
        (json!("[]string | listType=map listMapKey=a listMapKey=a"), "duplicate listMapKey `a`"),
        (json!("[]string | uniqueItems=true listType=map"), "contradicting list types: set and map"),
        (json!("[]string | listType=atomic uniqueItems=true"), "contradicting list types: atomic and set"),
        (json!("[]string | listType=bag"), "listType must be atomic, set or map, found `bag`"),
        (json!("string | minItems=1"), "minItems is only valid for type array, found type string"),
        (json!("[]string | minLength=1"), "minLength is only valid for type string, found type array"),
        (json!("integer | pattern=a"), "pattern is only valid for type string, found type integer"),
        (json!("string | pattern="), "pattern must not be empty"),
        (json!("string | pattern=\"(a\""), "pattern `(a` is no RE2 expression: missing closing )"),
        (
            json!("string | pattern=\"(?=a)\""),
            "pattern `(?=a)` is no RE2 expression: (? with = is not supported; there is no look-around",
        ),
        (json!("string | minLength=x"), "minLength must be an integer, found `x`"),
        (json!("integer | minimum=low"), "minimum must be a number, found `low`"),
        (json!("integer | default=null"), "default must be an integer, found `null`"),
        (json!("integer | default=1.5"), "default must be an integer, found `1.5`"),
        (json!("boolean | default=yes"), "default must be true or false, found `yes`"),
        (json!("float | default=inf"), "default must be a number, found `inf`"),
        (json!("[]string | default=a"), "default must be a JSON array, found `a`"),
        (json!("[]string | default={}"), "default must be of type array, found `{}`"),
        (json!("[]string | default=[1]"), "default at [0] must be of type string, found `[1]`"),
        (
            json!(r#"map[string]integer | default={"x":"y"}"#),
            r#"default at .x must be of type integer, found `{"x":"y"}`"#,
        ),
        (json!("object | default=[]"), "default must be of type object, found `[]`"),
        (json!("string | default=a}"), "unmatched closing bracket/brace `}`"),
        (json!("string | default={a"), "unclosed bracket/brace"),
        (json!("string | default=\"x"), "unclosed quote"),
        (json!("string | default=\""), "unclosed quote"),
        (json!("string | validation=\" \""), "validation must not be empty"),
        (json!("string | immutable=maybe"), "immutable must be true or false, found `maybe`"),
    ];
    for (definition, expected) in table {
        let found = openapi(&json!({"a": definition}), &Value::Null).expect_err(&definition.to_string());
        assert_eq!(found.len(), 1, "{definition}: {found:?}");
        assert_eq!(
            (found[0].path.as_str(), found[0].message.as_str()),
            ("spec.schema.spec.a", expected),
            "{definition}"
        );
    }
}

#[test]
fn all_problems_at_once_each_with_its_place_and_a_way_out() {
    let spec = json!({
        "replicas": "int | deflt=3 minimum=low",
        "ports": "[]Prot",
        "nested": {"deep": {"list": ["string"], "ok": "string"}},
        "a.b": "map[string]Nope",
    });
    let types = json!({"Port": {"name": "strnig", "number": "integer"}, "Bad": 3});
    insta::assert_snapshot!(problems(spec, types).join("\n"), @"");
}

#[test]
fn a_wrong_type_is_reported_once_and_not_at_every_use() {
    let types = json!({"Name": "strin | minLength=1", "Loop": {"next": "Loop"}});
    let spec = json!({"a": "Name | maxLength=3", "b": "[]Name", "c": "Loop"});
    insta::assert_snapshot!(problems(spec, types).join("\n"), @"");
}

#[test]
fn types_must_not_go_round() {
    let table = [
        (
            json!({"A": {"x": "A"}}),
            "spec.schema.types.A: self references are not allowed: type A uses itself",
        ),
        (json!({"A": "[]A"}), "spec.schema.types.A: self references are not allowed: type A uses itself"),
        (
            json!({"A": {"x": {"y": "map[string]A"}}}),
            "spec.schema.types.A: self references are not allowed: type A uses itself",
        ),
        (
            json!({"A": "B", "B": {"x": "[]A"}}),
            "spec.schema.types.A: cyclic dependency in type A: A -> B -> A",
        ),
        (
            json!({"C": {"x": "D"}, "D": {"x": "B"}, "B": {"x": "C"}, "User": {"x": "B"}}),
            "spec.schema.types.B: cyclic dependency in type B: B -> C -> D -> B",
        ),
        (json!({"A": {"x": "B"}}), "spec.schema.types.A.x: unknown type: `B`"),
    ];
    for (types, expected) in table {
        let found = problems(Value::Null, types.clone());
        assert_eq!(found.len(), 1, "{types}: {found:?}");
        assert!(found[0].starts_with(expected), "{types}: {found:?}");
    }
    let two = json!({"A": "B", "B": "A", "C": "D", "D": "C", "E": {"a": "A", "c": "C", "x": "Missing"}});
    assert_eq!(problems(Value::Null, two).len(), 3);
}

#[test]
fn parts_that_are_no_maps() {
    let found = problems(json!("string"), json!(["a"]));
    assert_eq!(
        found[0],
        "spec.schema.types: unexpected type: list; write `[]Type`, and name the type of an element in spec.schema.types"
    );
    assert_eq!(found[1], "spec.schema.spec: unexpected type: string; write a map of names to fields");
}

#[test]
fn a_small_text_cannot_make_a_huge_schema() {
    let mut types = json!({"T0": "string"});
    for i in 1..40 {
        let inner = format!("T{}", i - 1);
        types[format!("T{i}")] = json!({"a": inner, "b": inner, "c": inner});
    }
    let found = problems(json!({"x": "T39"}), types);
    assert!(found[0].contains("the schema is too large"), "{found:?}");

    let chain: Value = (0..20_000)
        .map(|i| (format!("T{i}"), json!({"next": format!("T{}", i + 1)})))
        .chain([("T20000".to_owned(), json!("string"))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    let found = problems(json!({"x": "T0"}), chain);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("nested too deeply"), "{found:?}");

    let ring: Value = (0..20_000)
        .map(|i| (format!("T{i}"), json!({"next": format!("T{}", (i + 1) % 20_000)})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(problems(json!({"x": "T0"}), ring).len(), 1);
}

/// Texts that are nearly fields.
fn nearly_a_field() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("string"),
        Just("integer"),
        Just("[]"),
        Just("map[string]"),
        Just("map["),
        Just("A"),
        Just("B"),
        Just("object"),
        Just("|"),
        Just(" "),
        Just("="),
        Just("\""),
        Just("\\"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("default="),
        Just("required=true"),
        Just("enum="),
        Just("pattern="),
        Just("listType=map"),
        Just("listMapKey="),
        Just("minimum="),
        Just("validation="),
        Just("1"),
        Just("-"),
        Just("é"),
        Just("\u{2003}"),
        Just("null"),
        Just("ß𝄞"),
    ];
    prop_oneof![proptest::collection::vec(word, 0..14).prop_map(|words| words.concat()), any::<String>(),]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => nearly_a_field().prop_map(Value::String),
        1 => Just(json!(null)),
        1 => any::<i64>().prop_map(|n| json!(n)),
        1 => Just(json!(["string"])),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        proptest::collection::btree_map("[AB]|[a-z.]{0,3}", inner, 0..4).prop_map(|map| json!(map))
    })
}

proptest! {
    /// Whatever stands in an RGD, there is an answer: a schema, or problems that say where.
    #[test]
    fn never_panics(spec in anything(), types in anything()) {
        match openapi(&spec, &types) {
            Ok(schema) => prop_assert_eq!(&schema["type"], "object"),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.path.starts_with("spec.schema."));
                    prop_assert!(!problem.message.is_empty());
                }
            }
        }
    }

    /// A text keeps its content on the way through quotes.
    #[test]
    fn quoted_defaults_are_verbatim(text in any::<String>()) {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        prop_assert_eq!(&field(&format!("string | default=\"{quoted}\""))["default"], &json!(text));
    }
}
