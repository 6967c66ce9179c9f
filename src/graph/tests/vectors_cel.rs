//! What expressions give, all the way from a definition to a value.

use super::evaluation::gives;
use super::table::Table;
use super::{app, free, problems};
use serde_json::json;

/// The value, `P:` or `F:` with the reason, or `compile: ` and what is wrong.
fn result(expression: &str) -> String {
    let text = format!("${{{expression}}}");
    match problems(&app(&free("x", &json!(text).to_string(), ""))).as_slice() {
        [] => gives("", &text, json!({}), json!({})),
        [one, ..] => format!("compile: {one}"),
    }
}

#[test]
fn results() {
    let mut table = Table::default();
    for (expression, want) in [
        (r#"json.marshal({"b":1,"a":[1,2.0],"n":null})"#, r#""{\"a\":[1,2],\"b\":1,\"n\":null}""#),
        (r#"json.marshal({"a":"<&>"})"#, r#""{\"a\":\"\\u003c\\u0026\\u003e\"}""#),
        (r#"json.unmarshal("{\"a\":1}").a"#, "1"),
        (r#"type(json.unmarshal("{\"a\":1}").a) == double"#, "true"),
        (r#"{"a":1}.merge({"a":2,"b":3})"#, r#"{"a":2,"b":3}"#),
        (r#"{"a":{"x":1}}.deepMerge({"a":{"y":2}})"#, r#"{"a":{"x":1,"y":2}}"#),
        ("lists.insertAtIndex([1,2],2,9)", "[1,2,9]"),
        ("[[1],[2]].flatten()", "[1,2]"),
        ("[3,1,2].sort()", "[1,2,3]"),
        ("[1,2,3].slice(0,2)", "[1,2]"),
        (r#"[{"n":2},{"n":1}].sortBy(e, e.n)"#, r#"[{"n":1},{"n":2}]"#),
        (r#"{"a":1,"b":2}.transformList(k,v,k)"#, r#"["a","b"]"#),
        (r#"["a"].transformMapEntry(i,v,{v: i})"#, r#"{"a":0}"#),
        (r#""%s-%d".format(["app",3])"#, r#""app-3""#),
        (r#""%.2f".format([3.14159])"#, r#""3.14""#),
        (r#""%s".format([[1,2]])"#, r#""[1, 2]""#),
        ("string(1.0)", r#""1""#),
        ("string(2.5)", r#""2.5""#),
        ("int(3.7)", "3"),
        ("5 / 2", "2"),
        (r#"quantity("1Gi").asInteger()"#, "1073741824"),
        (r#"url("https://a.b:80/x").getHost()"#, r#""a.b:80""#),
        ("[].sum()", "0"),
        ("[].last()", "null"),
        ("1u", "1"),
    ] {
        table.is(expression, result(expression), want);
    }
    for (expression, want) in [
        ("lists.setAtIndex([1],5,1)", "F:spec.k: ${lists.setAtIndex([1],5,1)}: "),
        ("9223372036854775807 + 1", "integer overflow"),
        (r#"{1: "a"}"#, "map key"),
        (r#"b"abc""#, "bytes can not be written"),
        (r#"string(quantity("1Gi"))"#, "compile: "),
        (r#"semver("v1.2.3", true)"#, "compile: "),
        ("math.greatest(1,2)", "compile: "),
        ("sets.contains([1],[1])", "compile: "),
        ("[1].includes(1)", "compile: "),
    ] {
        table.has(expression, result(expression), want);
    }
}
