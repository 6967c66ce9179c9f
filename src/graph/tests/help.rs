//! Help that contains code, applied as it says: then the definition compiles, and evaluates.

use super::evaluation::evaluate;
use super::table::Table;
use super::{app, cm, free, problems};
use serde_json::{Value, json};

/// What stands behind `write ` in the only problem of a definition, up to where the sentence goes on.
fn code(yaml: &str) -> Option<String> {
    let found = problems(yaml);
    let [one] = found.as_slice() else { return None };
    let (_, after) = one.rsplit_once("write ").filter(|_| !one.contains("write ${\"")).or_else(|| {
        let first = one.find("write ")?;
        Some(one.split_at(first)).map(|(a, b)| (a, b.trim_start_matches("write ")))
    })?;
    let end = [" without it", "; for "].iter().filter_map(|e| after.find(e)).min().unwrap_or(after.len());
    Some(after[..end].trim_start_matches("one expression: ").to_owned())
}

#[test]
fn an_expression_inside_a_text() {
    let mut table = Table::default();
    for expression in [
        "schema.metadata.?annotations['a/b']",
        "schema.metadata.?labels.?team",
        "schema.spec.n",
        "schema.spec.f",
        "schema.spec.b",
        "schema.spec.n + 1",
        "schema.spec.b ? 1 : 2",
        "schema.spec.l",
        "schema.spec.m",
        "schema.spec.ports",
        "schema.spec.?n",
        "schema.spec.?l",
        "schema.spec.?m",
        "schema.spec.?nested",
        "schema.spec.b ? schema.spec.?n : schema.spec.?n",
        "schema.spec.n // a number",
        "schema.spec.l.first()",
        "optional.of(duration('1s'))",
        "schema.metadata.creationTimestamp",
        "schema.metadata.?creationTimestamp",
    ] {
        // The help is for the expression that is wrong: in the text the code takes its place.
        let text = format!("a-${{{expression}}}");
        let written = |text: &str| app(&cm("x", &json!(text).to_string(), ""));
        let Some(code) = code(&written(&text)) else {
            table.is(&text, problems(&written(&text)).join("\n"), "one problem that says what to write");
            continue;
        };
        let mended = text.replacen(&format!("${{{expression}}}"), &code, 1);
        table.verdict(format!("{expression} -> {code}"), &written(&mended), "ok");
    }
    let yaml = app(&cm("x", "'a-${schema.metadata.?annotations[\"a/b\"]}'", ""));
    table.is(
        "optional",
        code(&yaml).unwrap_or_default(),
        r#"${schema.metadata.?annotations["a/b"].orValue("")}"#,
    );
}

#[test]
fn a_backslash_escapes_nothing() {
    let mut table = Table::default();
    for text in [
        r"\${schema.metadata.?annotations['a']}",
        r"\${HOME}",
        r"echo \${HOME}/bin",
        r"\${schema.spec.n}",
        r"\${it's}",
        r"\${schema.spec.nope}",
        r#"\${schema.metadata.?annotations["argocd.argoproj.io/tracking-id"]}"#,
    ] {
        let yaml = |text: &str| app(&cm("x", &json!(text).to_string(), ""));
        let found = problems(&yaml(text)).join("\n");
        table.has(text, &found, "the backslash before ${ is a part of the text and escapes nothing");
        // The characters themselves.
        let Some((_, quoted)) = found.rsplit_once(" themselves write ") else {
            table.is(text, found, "says how to write the characters");
            continue;
        };
        let start = text.find('\\').unwrap();
        let end = start + text[start..].find('}').unwrap() + 1;
        let mended = format!("{}{quoted}{}", &text[..start], &text[end..]);
        table.verdict(format!("{text} -> {mended}"), &yaml(&mended), "ok");
        let given = evaluate(&yaml(&mended), json!({}), json!({}));
        table.is(&mended, given.node("x"), json!(text.replacen('\\', "", 1)));
    }
    // Without the backslash.
    let text = r#"\${schema.metadata.?annotations["a"]}"#;
    let yaml = app(&cm("x", &json!(text).to_string(), ""));
    let mended = code(&yaml).unwrap_or_default();
    table.is("without it", &mended, &text[1..]);
    table.verdict("without it", &app(&cm("x", &json!(mended).to_string(), "")), "ok");
    // Another expression of the text is wrong.
    let other = problems(&app(&cm("x", r"'\${schema.spec.s} ${schema.spec.n}'", ""))).join("\n");
    table.has("another", &other, "write ${string(schema.spec.n)}");
}

#[test]
fn conditions_and_dimensions() {
    let mut table = Table::default();
    let when = |text: &str| app(&cm("x", "v", &format!("includeWhen: [{}]", json!(text))));
    for text in [
        "schema.spec.b",
        "schema.spec.n > 1",
        "${schema.spec.b} && ${schema.spec.n > 1}",
        " ${schema.spec.b}",
        "!${schema.spec.b}",
        "${schema.spec.raw.x}",
        "${schema.spec.raw.?x}",
    ] {
        match code(&when(text)) {
            Some(code) => table.verdict(format!("{text} -> {code}"), &when(&code), "ok"),
            None => table.is(text, problems(&when(text)).join("\n"), "one problem that says what to write"),
        }
    }
    // What is no expression in any way gets no code to write.
    table.is("no expression", problems(&when("when it rains")).join("").contains("write"), false);

    let each = |text: &str| {
        let more = format!("forEach: [{{i: {}}}]", json!(text));
        app(&free("x", "v", &more)).replace("name: x", "name: '${i}'")
    };
    for text in [
        "${schema.spec.m}",
        "${schema.spec.?m}",
        "${schema.spec.?l}",
        "${schema.spec.b ? schema.spec.?l : schema.spec.?l}",
        "${schema.spec.b ? schema.spec.m : schema.spec.m}",
    ] {
        match code(&each(text)) {
            Some(code) => table.verdict(format!("{text} -> {code}"), &each(&code), "ok"),
            None => table.is(text, problems(&each(text)).join("\n"), "one problem that says what to write"),
        }
    }
}

#[test]
fn what_the_instance_lacks() {
    let mut table = Table::default();
    let spec = json!({"m": {"k": "v"}, "s": "v"});
    for (expression, absent) in [
        ("schema.spec.opt", "schema.spec.opt"),
        ("schema.spec.nested.deep", "schema.spec.nested.deep"),
        ("schema.spec.m['my-key']", "schema.spec.m['my-key']"),
        ("schema.spec.m['a.b/c']", "schema.spec.m['a.b/c']"),
        ("schema.spec.m.x", "schema.spec.m.x"),
        ("schema.spec.my__dash__field", "schema.spec.my__dash__field"),
        ("schema.spec.for", "schema.spec.for"),
        ("schema.metadata.annotations['a']", "schema.metadata.annotations['a']"),
        ("'x' + schema.spec.nested.deep", "schema.spec.nested.deep"),
    ] {
        let yaml = |text: &str| app(&free("x", &json!(format!("${{{text}}}")).to_string(), ""));
        let found = evaluate(&yaml(expression), spec.clone(), json!({}));
        let message = found.node("x").to_owned();
        let part = |from: &str, to: &str| {
            let (_, after) = message.split_once(from)?;
            after.split(to).next().map(str::to_owned)
        };
        let (Some(instead), Some(test)) = (part("; write ", " or test "), part(" or test ", ", or give"))
        else {
            table.is(expression, &message, "says what to write");
            continue;
        };
        let instead = expression.replace(absent, &instead.replace('…', "\"d\""));
        let given = evaluate(&yaml(&instead), spec.clone(), json!({}));
        table.has(format!("{expression} -> {instead}"), given.node("x"), "d\"");
        // A level above may be absent too: then the test says so as well.
        let tested = format!("{} ? {expression} : \"d\"", test.trim());
        table.verdict(format!("{expression} -> {tested}"), &yaml(&tested), "ok");
        let given = evaluate(&yaml(&tested), spec.clone(), json!({}));
        table.is(&tested, given.node("x"), json!("d"));
    }
    // The test itself asks one level too deep.
    let yaml = |text: &str| app(&cm("x", "v", &format!("includeWhen: [{}]", json!(format!("${{{text}}}")))));
    let found = evaluate(&yaml("has(schema.spec.nested.deep)"), spec.clone(), json!({}));
    let message = found.node("x").to_owned();
    let code = message.split_once("write ").map(|(_, c)| c.split(", or give").next().unwrap_or(c));
    match code {
        Some(code) => table.is(code, evaluate(&yaml(code), spec, json!({})).node("x"), "ignored"),
        None => table.is("has", &message, "says what to write"),
    }
}

/// A misspelt word is replaced by the one that is offered.
#[test]
fn did_you_mean() {
    let mut table = Table::default();
    for (text, wrong) in [
        ("${schema.spec.nestd.deep}", "nestd"),
        ("${schema.metadata.nmae}", "nmae"),
        ("${schema.metadata.name.lowerAsci()}", "lowerAsci"),
        ("${strin(schema.spec.n)}", "strin"),
        ("${json.marshall(schema.spec.m)}", "json.marshall"),
        ("${schema.spec.my_dash_field}", "my_dash_field"),
        ("${schma.spec.s}", "schma"),
        ("${othr.data.k}", "othr"),
    ] {
        let yaml = |text: &str| app(&(cm("other", "v", "") + &cm("x", &json!(text).to_string(), "")));
        let found = problems(&yaml(text)).join("\n");
        let offered =
            found.rsplit_once("did you mean ").map(|(_, o)| o.trim_matches(['?', '\'', '"']).to_owned());
        match offered {
            Some(offered) => {
                let mended = text.replacen(wrong, &offered, 1);
                table.verdict(format!("{text} -> {mended}"), &yaml(&mended), "ok");
            }
            None if wrong == "my_dash_field" => {}
            None => table.is(text, found, "offers a word"),
        }
    }
    for (text, mended) in [("${spec.s}", "schema.spec"), ("${metadata.name}", "schema.metadata")] {
        let yaml = app(&cm("x", &json!(text).to_string(), ""));
        table.has(text, problems(&yaml).join("\n"), &format!("the instance is called schema: {mended}"));
        let word = mended.trim_start_matches("schema.");
        table.verdict(text, &app(&cm("x", &json!(text.replacen(word, mended, 1)).to_string(), "")), "ok");
    }
}

/// Of a literal: the quotes that it needs, the id that is meant.
#[test]
fn literals() {
    let mut table = Table::default();
    for value in ["5", "true", "1.5"] {
        let found = problems(&app(&cm("x", value, ""))).join("\n");
        let quoted = found.rsplit_once("quote it: ").map(|(_, q)| q.to_owned()).unwrap_or_default();
        table.verdict(value, &app(&cm("x", &quoted, "")), "ok");
    }
    let found = problems(&app(&cm("my-cm", "v", ""))).join("\n");
    let id = found.rsplit_once("; write ").map(|(_, id)| id.to_owned()).unwrap_or_default();
    table.verdict("id", &app(&cm(&id, "v", "")), "ok");
}

/// SimpleSchema: the field as the help writes it.
#[test]
fn simple_schema() {
    let mut table = Table::default();
    let with = |field: &str| {
        app(&cm("x", "v", "")).replace("s: string", &format!("s: string\n      z: {}", json!(field)))
    };
    for (field, help, mended) in [
        ("[]", "for instance []string", "[]string"),
        ("map[string]", "for instance map[string]string", "map[string]string"),
        ("strin", "did you mean", "string"),
        ("string | requird=true", "did you mean required?", "string | required=true"),
        ("string | enum=a b", "put a value that contains blanks in double quotes", "string | enum=\"a b\""),
        ("string | default=\"a", "close it with a double quote", "string | default=\"a\""),
        ("string |", "leave the `|` out", "string"),
        ("[]string | uniqueItems=true listType=atomic", "keep one of them", "[]string | uniqueItems=true"),
        ("string | required", "write required=true", "string | required=true"),
        ("[]string | uniqueItems", "write uniqueItems=true", "[]string | uniqueItems=true"),
        ("string | optional", "leave the word out", "string"),
        ("string | default = \"x\"", "without blanks around the =", "string | default=\"x\""),
    ] {
        let found = problems(&with(field)).join("\n");
        if !found.contains(help) {
            table.has(field, found, help);
        }
        table.verdict(format!("{field} -> {mended}"), &with(mended), "ok");
    }
}

/// A field written as a schema of OpenAPI.
#[test]
fn openapi_instead_of_simple_schema() {
    let mut table = Table::default();
    let with =
        |field: &str| app(&cm("x", "v", "")).replace("s: string", &format!("s: string\n      z: {field}"));
    for (field, mended) in [
        ("{type: string, description: the name, default: 'no'}", "string"),
        ("{type: array, items: {type: string}}", "'[]string'"),
        ("{type: object, additionalProperties: {type: integer}, default: {a: 1}}", "'map[string]integer'"),
        ("{type: number, minimum: 1}", "float"),
        ("{type: object, properties: {a: {type: string, default: x}}}", "{a: string}"),
    ] {
        let found = problems(&with(field)).join("\n");
        table.has(field, &found, "this is a schema of OpenAPI");
        let said = mended.trim_matches('\'');
        if !mended.starts_with('{') {
            table.has(field, &found, &format!("write the type, then its markers: {said} | key=value"));
        }
        table.verdict(mended, &with(mended), "ok");
    }
    // Fields of these names are as good as others.
    for field in ["{type: string, format: integer}", "{type: string, default: string, items: '[]string'}"] {
        table.verdict(field, &with(field), "ok");
    }
}

#[test]
fn a_function_of_a_value_that_may_be_absent() {
    let yaml = |text: &str| app(&cm("x", &json!(text).to_string(), ""));
    let text = "${string(schema.metadata.?annotations['a'])}";
    let mut table = Table::default();
    table.has(text, problems(&yaml(text)).join("\n"), "say what stands then, x.orValue(…)");
    table.verdict(text, &yaml(&text.replace("])", "].orValue(\"\"))")), "ok");
}

#[test]
fn helps_name_no_value() {
    // The value of the instance is in no text.
    let spec: Value = json!({"s": "sesame"});
    let yaml = app(&free("x", "'${schema.spec.s + schema.spec.opt}'", ""));
    let found = evaluate(&yaml, spec, json!({}));
    assert!(!found.node("x").contains("sesame"), "{}", found.node("x"));
}
