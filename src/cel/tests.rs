//! Expressions in, values or errors out.

use super::template::{Text, split};
use super::*;
use serde_json::json;

fn scope() -> Scope<'static> {
    let mut scope = Scope::new();
    scope.bind(
        "schema",
        &json!({
            "spec": {
                "name": "web", "replicas": 3, "ratio": 2.0, "namespace": "ns1",
                "labels": {"b": "2", "a": "1"},
                "ports": [{"name": "http", "port": 80}],
                "my-field": "dashed", "nothing": null,
            },
            "metadata": {"annotations": {"a.b/c": "v"}},
        }),
    );
    scope.bind("secret", &json!({"data": {"password": "hunter2"}}));
    scope
}

/// The value, or `pending: text`, `fatal: text`, `compile: first line`.
fn run(source: &str) -> String {
    match Program::compile(source) {
        Err(e) => format!("compile: {}", e.to_string().lines().next().unwrap_or_default()),
        Ok(program) => show(program.eval(&scope(), &Budget::default())),
    }
}

fn show(result: Result<Json, EvalError>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(EvalError::Pending { message }) => format!("pending: {message}"),
        Err(EvalError::Fatal { message }) => format!("fatal: {message}"),
    }
}

fn table(rows: &[(&str, &str)]) {
    for (source, want) in rows {
        assert_eq!(run(source), *want, "{source}");
    }
}

#[test]
fn values_go_out_by_kros_rules() {
    table(&[
        ("schema.spec.replicas", "3"),
        ("schema.spec.replicas + 1", "4"),
        ("type(schema.spec.ratio) == double", "true"),
        ("schema.spec.ratio", "2"),
        ("1.5", "1.5"),
        ("7u", "7"),
        ("18446744073709551615u", "fatal: uint value does not fit into a 64-bit integer"),
        ("1.0 / 0.0", "fatal: a double that is infinite or not a number has no JSON form"),
        ("null", "null"),
        ("optional.none()", "null"),
        ("optional.of('x')", "\"x\""),
        ("schema.spec.?nope", "null"),
        ("duration('1h30m')", "\"1h30m0s\""),
        ("string(duration('1h30m'))", "\"5400s\""),
        ("timestamp('2024-01-02T03:04:05.5+02:00')", "\"2024-01-02T01:04:05Z\""),
        ("string(timestamp('2024-01-02T03:04:05.5+02:00'))", "\"2024-01-02T03:04:05.5+02:00\""),
        ("{'b': 1, 'a': [1.5, true]}", "{\"a\":[1.5,true],\"b\":1}"),
        ("{1: 'a'}", "fatal: map keys must be strings, found int"),
        (
            "b'abc'",
            "fatal: bytes can not be written to an object, convert them with string() or base64.encode()",
        ),
        ("type(1)", "fatal: unsupported type: type"),
        ("schema.spec.labels", "{\"a\":\"1\",\"b\":\"2\"}"),
    ]);
}

#[test]
fn maps_iterate_in_order_of_their_keys() {
    table(&[
        ("schema.spec.labels.map(k, k)", "[\"a\",\"b\"]"),
        ("{'z': 1, 'y': 2, 'x': 3}.map(k, k)", "[\"x\",\"y\",\"z\"]"),
        ("{'z': 1, 'y': 2}.transformList(k, v, k + string(v))", "[\"y2\",\"z1\"]"),
    ]);
}

#[test]
fn what_is_missing_is_pending_and_what_is_wrong_is_fatal() {
    table(&[
        ("schema.spec.nope", "pending: no such key: nope"),
        ("schema.spec.nope.deeper", "pending: no such key: nope"),
        ("schema.spec['nope']", "pending: no such key: nope"),
        ("has(schema.spec.nope)", "false"),
        ("has(schema.nope.nope)", "pending: no such key: nope"),
        ("schema.spec.ports[3].port", "pending: index out of bounds: 3"),
        ("deployment.status", "pending: no such attribute(s): deployment"),
        ("schema.spec.?nope.deeper", "null"),
        ("schema.spec.?nope.orValue('x')", "\"x\""),
        ("schema.spec.?name.deeper", "null"),
        // A text that happens to contain a phrase decides nothing.
        ("int('no such key: x')", "fatal: type conversion error from 'string' to 'int'"),
        ("1 / 0", "fatal: division by zero"),
        ("schema.spec.name + 1", "fatal: no such overload: _+_(string, int)"),
        ("optional.none().value()", "fatal: optional.none() dereference"),
        ("[1, 2].slice(1, 5)", "fatal: cannot slice a list of length 2 that far"),
        ("'abc'.charAt(5)", "fatal: index is out of range"),
        ("schema.spec.name ? 1 : 2", "fatal: no such overload: _?_:_(string)"),
        ("schema.spec.replicas.all(x, true)", "fatal: got 'int', expected iterable type"),
        ("9223372036854775807 + 1", "fatal: integer overflow"),
        ("'a'.matches('(')", "fatal: invalid regular expression (RE2): missing closing ) at character 2"),
    ]);
}

#[test]
fn errors_never_show_values() {
    for source in [
        "secret.data.password + 1",
        "int(secret.data.password)",
        "schema.spec.labels[secret.data.password]",
        "timestamp(secret.data.password)",
        "secret.data.password.matches(secret.data.password + '(')",
        "[secret.data.password].all(p, p)",
        "'%d'.format([secret.data.password])",
        "[secret.data.password, 1].sort()",
        "base64.decode(secret.data.password + '!')",
        "{'a': 1}[secret.data.password]",
        "schema.spec.ports[secret.data.password]",
        "secret.data.password ? 1 : 2",
    ] {
        let text = run(source);
        assert!(text.starts_with("fatal") || text.starts_with("pending"), "{source}: {text}");
        assert!(!text.contains("hunter"), "{source}: {text}");
    }
}

#[test]
fn one_side_decides() {
    table(&[
        ("false && schema.spec.nope", "false"),
        ("schema.spec.nope && false", "false"),
        ("true || 1 / 0 == 1", "true"),
        ("1 / 0 == 1 || true", "true"),
        ("schema.spec.nope == 1 || false", "pending: no such key: nope"),
        ("[1, 0].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].all(x, 4 / x == 1)", "false"),
        ("[0, 1].all(x, 1 / x == 1)", "fatal: division by zero"),
    ]);
}

#[test]
fn real_differences_to_the_usual_implementations() {
    table(&[
        ("string(1e6)", "\"1e+06\""),
        ("string(1234567.0)", "\"1.234567e+06\""),
        ("string(1e21)", "\"1e+21\""),
        ("string(0.00001)", "\"1e-05\""),
        ("'%s'.format([1e6])", "\"1000000\""),
        ("'abc'.indexOf('c', 9)", "-1"),
        ("'abc'.lastIndexOf('a', 9)", "-1"),
        ("{'a': 1, 'a': 2}", "{\"a\":2}"),
        (
            "'a'.matches('a{1001}')",
            "fatal: invalid regular expression (RE2): invalid repeat count at character 2",
        ),
        ("'a'.matches('[{1001}]|a{1,2}')", "true"),
        ("optional.of(1).foo", "null"),
    ]);
}

#[test]
fn kubernetes_shapes() {
    table(&[
        // Only fields with a schema have an escaped name.
        ("schema.spec.my__dash__field", "pending: no such key: my__dash__field"),
        ("has(schema.spec.my__dash__field)", "false"),
        ("schema.spec.`my-field`", "\"dashed\""),
        ("schema.metadata.annotations.`a.b/c`", "\"v\""),
        ("schema.metadata.annotations['a.b/c']", "\"v\""),
        ("schema.spec.namespace", "\"ns1\""),
        ("schema.spec.ports.map(p, p.name + '=' + string(p.port))", "[\"http=80\"]"),
        ("schema.spec.labels.?a.orValue('none')", "\"1\""),
        ("schema.spec.labels[?'c'].orValue('none')", "\"none\""),
        ("[?schema.spec.?nope, ?schema.spec.?name]", "[\"web\"]"),
        ("{?'a': schema.spec.?nope, 'b': 1}", "{\"b\":1}"),
        ("[3, 1, 2].sortBy(x, -x)", "[3,2,1]"),
        ("cel.bind(n, schema.spec.name, n + n)", "\"webweb\""),
        ("schema.spec.?name.optMap(n, n + '!')", "\"web!\""),
        ("schema.spec.?name.optFlatMap(n, optional.none())", "null"),
        ("{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}"),
        ("['x'].transformMapEntry(i, v, {v: i})", "{\"x\":0}"),
        ("[1, 2].exists(i, v, i == 1 && v == 2)", "true"),
    ]);
}

#[test]
fn mistakes_that_are_found_before_anything_runs() {
    table(&[
        (
            "",
            "compile: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
        ("sise('a')", "compile: ERROR: <input>:1:5: undeclared reference to 'sise' (in container '')"),
        (
            "schema.spec.name.startWith('a')",
            "compile: ERROR: <input>:1:27: undeclared reference to 'startWith' (in container '')",
        ),
        (
            "base64.nope('a')",
            "compile: ERROR: <input>:1:12: undeclared reference to 'base64.nope' (in container '')",
        ),
        ("[1].map(1, 2)", "compile: ERROR: <input>:1:9: argument is not an identifier"),
        ("has(schema)", "compile: ERROR: <input>:1:5: invalid argument to has() macro"),
        ("lowerAscii('A')", "compile: ERROR: <input>:1:11: 'lowerAscii' is a method"),
        ("Foo{a: 1}", "compile: ERROR: <input>:1:4: undeclared reference to 'Foo' (in container '')"),
    ]);
    insta::assert_snapshot!(
        Program::compile("true &&\n  schema.spec.name.startWith('a')").unwrap_err().to_string(),
        @r"
    ERROR: <input>:2:29: undeclared reference to 'startWith' (in container '')
     |   schema.spec.name.startWith('a')
     | ............................^
     did you mean 'startsWith'?
    "
    );
}

#[test]
fn references() {
    let paths = |source: &str| {
        let program = Program::compile(source).unwrap();
        let text = |p: &FieldPath| {
            let mut text = p.steps.join("/");
            if p.optional {
                text.push('?');
            }
            if p.tested {
                text.push('!');
            }
            text
        };
        let vars: Vec<_> = program.variables().iter().cloned().collect();
        format!("{} | {}", vars.join(" "), program.paths().iter().map(text).collect::<Vec<_>>().join(" "))
    };
    for (source, want) in [
        ("schema.spec.name", "schema | schema/spec/name"),
        ("a.b.c + a.b['d'][0].e + a", "a | a a/b/c a/b/d"),
        ("schema.spec.?name.orValue('x')", "schema | schema/spec/name?"),
        ("has(a.b.c) ? a.b.c : ''", "a | a/b/c a/b/c!"),
        ("a.?b[?'c'].d", "a | a/b/c/d?"),
        ("a.list.map(x, x.y + b.z)", "a b | a/list b/z"),
        ("a.map(a, a.b)", "a | a"),
        ("cel.bind(t, a.b, t.c)", "a | a/b"),
        ("base64.encode(a.b)", "a | a/b"),
        ("a.b[c.d]", "a c | a/b c/d"),
        ("a.b.startsWith('x')", "a | a/b"),
        ("type(a) == string", "a | a"),
        ("string.metadata.name + string(1)", "string | string/metadata/name"),
        ("size.status + string(size('x'))", "size | size/status"),
        ("a.my__dash__field", "a | a/my-field"),
        ("1 + 2", " | "),
    ] {
        assert_eq!(paths(source), want, "{source}");
    }
}

#[test]
fn mixed_texts() {
    let run = |text: &str| match split(text).unwrap() {
        Text::Mixed(parts) => {
            show(Program::compile_mixed(&parts).unwrap().eval(&scope(), &Budget::default()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(run("x-${schema.spec.name}-${'}'}"), "\"x-web-}\"");
    assert_eq!(run(" ${schema.spec.name}\n"), "\" web\\n\"");
    assert_eq!(
        run("a-${schema.spec.replicas}"),
        "fatal: `schema.spec.replicas` gives int inside a text, which takes strings only: use string(…)"
    );
    assert_eq!(
        run("${1}${2}"),
        "fatal: `1` gives int inside a text, which takes strings only: use string(…)"
    );
    assert_eq!(run("${schema.spec.nope}!"), "pending: no such key: nope");
    let long = format!("{}${{schema.spec.name}}", "x".repeat(3 * MAX_SOURCE));
    assert!(run(&long).ends_with("xweb\""));
}

#[test]
fn nothing_escapes_the_budget() {
    let hundred = format!("[{}]", ["1"; 100].join(","));
    let doubled = |n: usize, what: &str| {
        let mut source = "a0".to_owned();
        source = source.replace("a0", &format!("size(a{n})"));
        for i in (1..=n).rev() {
            source = format!("cel.bind(a{i}, {}, {source})", what.replace('_', &format!("a{}", i - 1)));
        }
        format!("cel.bind(a0, {}, {source})", if what.contains('[') { "[1]" } else { "'x'" })
    };
    for source in [
        format!("{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, {hundred}.all(d, true))))"),
        doubled(40, "_ + _"),
        doubled(60, "[_, _].flatten()"),
        "lists.range(9223372036854775807)".to_owned(),
        "lists.range(1000000).map(x, lists.range(1000000))".to_owned(),
        format!("cel.bind(s, '{}', s.replace('', s).replace('', s).replace('', s))", "x".repeat(2000)),
        format!("lists.range(1000000).all(i, !'{}'.matches('(a*)*b'))", "a".repeat(1000)),
        format!("lists.range(100000).all(i, !'{}'.contains('b'))", "a".repeat(5000)),
    ] {
        let begin = std::time::Instant::now();
        let text = run(&source);
        assert!(text.starts_with("fatal: expression needs too much"), "{text}: {source:.80}");
        assert!(begin.elapsed().as_secs() < 5, "{source:.80}");
    }
    // A result whose parts are shared is small in memory and huge when written out.
    let mut shared = "a25".to_owned();
    for i in (1..=25).rev() {
        shared = format!("cel.bind(a{i}, [a{0}, a{0}], {shared})", i - 1);
    }
    assert!(run(&format!("cel.bind(a0, 1, {shared})")).starts_with("fatal: expression needs too much"));
}

#[test]
fn the_budget_is_shared_and_does_not_depend_on_time() {
    let program = Program::compile("schema.spec.labels.map(k, k).size() == 2").unwrap();
    let spent = |budget: &Budget| {
        let before = budget.remaining();
        program.eval(&scope(), budget).unwrap();
        before - budget.remaining()
    };
    let budget = Budget::default();
    let once = spent(&budget);
    assert!(once > 0);
    assert_eq!(spent(&budget), once);
    let small = Budget::new(1_000, once * 2);
    assert!(program.eval(&scope(), &small).is_ok());
    assert!(program.eval(&scope(), &small).is_ok());
    assert!(program.eval(&scope(), &small).is_err());
}

#[test]
fn size_and_depth_are_limited() {
    on_step_stack(sizes_and_depths);
}

/// Runs on a stack as deep as the one that reconcile steps have.
fn on_step_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(test).unwrap();
    thread.join().unwrap();
}

fn sizes_and_depths() {
    for (source, want) in [
        (format!("'{}'", "x".repeat(MAX_SOURCE)), "expression is longer than 8 KiB"),
        (["1"; 300].join("+"), "expression is nested too deeply"),
        (["1"; 4000].join("+"), "expression is nested too deeply"),
        (format!("{}1", "-".repeat(4000)), ""),
        (format!("{}true", "!".repeat(8000)), ""),
        (format!("a{}", ".a".repeat(4000)), "expression is nested too deeply"),
        (format!("a{}", "[0]".repeat(2700)), "expression is nested too deeply"),
        (format!("'{}'", ".".repeat(8000)), ""),
        (format!("{}1{}", "(".repeat(200), ")".repeat(200)), "expression"),
        (format!("[{}]", ["1"; 4000].join(",")), ""),
    ] {
        let result = Program::compile(&source);
        match want {
            "" => assert!(result.is_ok(), "{:?}", result.err()),
            want => {
                let message = result.unwrap_err().message;
                assert!(message.to_lowercase().contains(&want.to_lowercase()), "{message}: {source:.40}");
            }
        }
    }
    assert_eq!(run(&["1"; 255].join("+")), "255");
    let nested = (0..45).fold("1".to_owned(), |body, _| format!("[1].map(x, {body})[0]"));
    assert_eq!(run(&nested), "1");
    assert_eq!(run(&["true"; 800].join("&&")), "true");
}

#[test]
fn libraries() {
    table(&[
        ("random.seededString(10, 'seed')", "\"qakd42wvqa\""),
        ("random.seededString(20, 'hello')", "\"imeyoam0imeyoam0imey\""),
        ("random.seededString(0, 'x')", "fatal: random.seededString length must be positive"),
        ("random.seededInt(1, 100, 'seed')", "52"),
        ("random.seededInt(5, 5, 'x')", "fatal: random.seededInt min must be less than max"),
        ("base64.encode(hash.sha256('abc'))", "\"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\""),
        ("base64.encode(hash.fnv64a('abc'))", "\"5x+iGQVBV0s=\""),
        ("base64.encode(hash.md5('abc'))", "\"kAFQmDzST7DWlj99KOF/cg==\""),
        ("json.marshal({'b': 1.0, 'a': '<&>'})", r#""{\"a\":\"\\u003c\\u0026\\u003e\",\"b\":1}""#),
        ("type(json.unmarshal('{\"a\": 1}').a) == double", "true"),
        ("json.unmarshal('{')", "fatal: json.unmarshal failed to parse JSON"),
        ("json.encode(9007199254740993)", r#""\"9007199254740993\"""#),
        ("{'a': 1, 'b': 1}.merge({'b': 2})", r#"{"a":1,"b":2}"#),
        ("{'a': {'x': 1, 'l': [1]}}.deepMerge({'a': {'y': 2, 'l': [2]}})", r#"{"a":{"l":[2],"x":1,"y":2}}"#),
        ("lists.setAtIndex([1, 2], 1, 3)", "[1,3]"),
        ("lists.insertAtIndex([1, 2], 2, 3)", "[1,2,3]"),
        ("lists.removeAtIndex([1, 2], 0)", "[2]"),
        ("lists.removeAtIndex([1, 2], 2)", "fatal: lists.removeAtIndex: index is not in [0, 2)"),
        ("[1, 2, 3].sum() + [4, 5].max() + [6, 7].min()", "17"),
        ("[].min()", "fatal: min called on empty list"),
        ("[1, 3, 2].isSorted()", "false"),
        ("[1, 2, 1].lastIndexOf(1)", "2"),
        ("'a1b22'.find('[0-9]+') + string('a1b22'.findAll('[0-9]').size())", "\"13\""),
        ("quantity('1.5Gi').asApproximateFloat()", "1610612736"),
        ("quantity('1000m') == quantity('1')", "true"),
        ("quantity('1000m').isInteger()", "false"),
        ("quantity('1Ki').add(1).asInteger()", "1025"),
        ("quantity('1').sub(quantity('500m')).compareTo(quantity('0.5'))", "0"),
        ("isQuantity('1e') || isQuantity('1KI') || isQuantity('')", "false"),
        ("sign(quantity('-1n'))", "-1"),
        ("semver('1.2.3-rc1').isLessThan(semver('1.2.3'))", "true"),
        ("isSemver('v1.0.0')", "false"),
        ("url('https://user:pw@e.com:80/a b?x=1&x=2').getEscapedPath()", "\"/a%20b\""),
        ("url('https://e.com/?x=1&y=a%20b&x=3').getQuery()", r#"{"x":["1","3"],"y":["a b"]}"#),
        ("url('https://[::1]:80/a').getHostname()", "\"::1\""),
        ("isURL('a/b') || isURL('https://e.com:x/') || isURL('https://e.com/%zz')", "false"),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('0.0.0.0/0'))", "false"),
        ("string(cidr('10.1.2.3/8').masked())", "\"10.0.0.0/8\""),
        ("isCIDR('10.0.0.0/08') || isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0')", "false"),
        ("ip.isCanonical('2001:DB8::1')", "false"),
        ("quantity('1')", "fatal: unsupported type: kubernetes.Quantity"),
        ("runtime.newCondition({type: 'A', status: 'True'})", r#"{"status":"True","type":"A"}"#),
        (
            "runtime.newCondition({type: 'A', status: 'yes'})",
            "fatal: runtime.newCondition: status must be True, False or Unknown",
        ),
        (
            "runtime.condition({'status': {'conditions': [{'type': 'A', 'status': 'True'}]}}, 'A').status",
            "\"True\"",
        ),
        ("runtime.condition(schema, 'A').status", "\"\""),
    ]);
}

#[test]
fn omission() {
    let run = |source: &str| {
        let program = Program::compile(source).unwrap();
        assert!(program.functions().contains("omit"));
        program.eval_or_omit(&scope(), &Budget::default())
    };
    assert_eq!(run("omit()"), Ok(None));
    assert_eq!(run("schema.spec.replicas > 1 ? omit() : 'x'"), Ok(None));
    assert_eq!(run("{'a': omit(), 'b': [1, omit(), {'c': omit()}]}"), Ok(Some(json!({"b": [1, {}]}))));
    assert!(Program::compile("omit()").unwrap().eval(&scope(), &Budget::default()).is_err());
    assert!(run("'a' + omit()").unwrap_err().message().contains("no such overload"));
}

#[test]
fn child_scopes_see_their_parent() {
    let outer = scope();
    let mut inner = outer.child();
    inner.bind("port", &json!({"name": "grpc"}));
    let program = Program::compile("schema.spec.name + '-' + port.name").unwrap();
    assert_eq!(program.eval(&inner, &Budget::default()).unwrap(), json!("web-grpc"));
    assert!(program.eval(&outer, &Budget::default()).unwrap_err().is_pending());
    let mut shadow = outer.child();
    shadow.bind("schema", &json!({"spec": {"name": "other"}}));
    shadow.bind_shared("port", &Bound::new(&json!({"name": "x"})));
    assert_eq!(program.eval(&shadow, &Budget::default()).unwrap(), json!("other-x"));
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
    shared::<Bound>();
}

#[test]
fn every_mistake_is_reported_with_its_place_and_a_hint() {
    let mut decls = Decls::new();
    decls.declare_schema(
        "schema",
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "name": {"type": "string"}, "replicas": {"type": "integer"}, "my-field": {"type": "string"},
        }}}}),
    );
    let problems = |source: &str| match Program::compile_typed(source, &decls) {
        Ok((_, t)) => t.to_string(),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    insta::assert_snapshot!(problems("schema.spec.nmae +\n  schema.spec.replica.upper() + shcema"), @r"
    ERROR: <input>:1:12: undefined field 'nmae'
     | schema.spec.nmae +
     | ...........^
     did you mean 'name'?
    ERROR: <input>:2:14: undefined field 'replica'
     |   schema.spec.replica.upper() + shcema
     | .............^
     did you mean 'replicas'?
    ERROR: <input>:2:28: undeclared reference to 'upper' (in container '')
     |   schema.spec.replica.upper() + shcema
     | ...........................^
    ERROR: <input>:2:33: undeclared reference to 'shcema' (in container '')
     |   schema.spec.replica.upper() + shcema
     | ................................^
     did you mean 'schema'?
    ");
    insta::assert_snapshot!(problems("schema.spec.name + schema.spec.replicas"), @r"
    ERROR: <input>:1:18: found no matching overload for '_+_' applied to '(string, int)'
     | schema.spec.name + schema.spec.replicas
     | .................^
     convert the other operand with string(…)
    ");
    insta::assert_snapshot!(problems("schema.spec.`my-field`"), @r"
    ERROR: <input>:1:12: undefined field 'my-field'
     | schema.spec.`my-field`
     | ...........^
     did you mean 'my__dash__field'?
    ");
    assert_eq!(problems("schema.spec.my__dash__field"), "string");
    assert_eq!(problems("[1, 2].map(schema, schema + 1)"), "list(int)");
    assert_eq!(problems("schema.spec.replicas > 1 ? omit() : schema.spec.name"), "dyn");
}

#[test]
fn typed_values() {
    let schema = json!({"type": "object", "properties": {
        "data": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
        "at": {"type": "string", "format": "date-time"},
        "ttl": {"type": "string", "format": "duration"},
        "count": {"type": "integer"}, "ratio": {"type": "number"},
        "gone": {"type": "string"},
        "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let object = json!({
        "data": {"password": "aHVudGVyMg=="}, "at": "2024-01-02T03:04:05Z", "ttl": "90s",
        "count": 3.0, "ratio": 2, "gone": null, "raw": {"kept": null, "n": 1},
    });
    let mut decls = Decls::new();
    decls.declare_schema("x", &schema);
    let mut scope = Scope::new();
    scope.bind_typed("x", &object, decls.get("x").unwrap());
    for (source, want) in [
        ("string(x.data.password)", "\"hunter2\""),
        ("x.data", "{\"password\":\"aHVudGVyMg==\"}"),
        (
            "x.data.merge({'a': b'b'})",
            "fatal: bytes can not be written to an object, convert them with string() or base64.encode()",
        ),
        ("x.at + x.ttl", "\"2024-01-02T03:05:35Z\""),
        ("x.ttl", "\"1m30s\""),
        ("x.count + 1", "4"),
        ("x.ratio * 1.5", "3"),
        ("has(x.gone)", "false"),
        ("x.gone", "pending: no such key: gone"),
        ("x.raw.kept == null", "true"),
        ("x.raw.n + 1", "2"),
    ] {
        let (program, _) = Program::compile_typed(source, &decls).unwrap();
        assert_eq!(show(program.eval(&scope, &Budget::default())), want, "{source}");
    }
    let whole = Program::compile("x").unwrap().eval(&scope, &Budget::default());
    assert_eq!(whole, Ok(object));
}

#[test]
fn what_may_go_into_a_field() {
    let mut decls = Decls::new();
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    decls.declare_schema("s", &object);
    for (source, field, want) in [
        ("1", json!({"type": "integer"}), ""),
        ("1", json!({"type": "number"}), "type kind mismatch: got int, expected double"),
        ("1", json!({"type": "string"}), "type kind mismatch: got int, expected string"),
        ("null", json!({"type": "string"}), "type kind mismatch: got null, expected string"),
        ("dyn(1)", json!({"type": "string"}), ""),
        ("1", json!({"x-kubernetes-int-or-string": true}), ""),
        ("optional.of('a')", json!({"type": "string"}), ""),
        ("['a']", json!({"type": "array", "items": {"type": "string"}}), ""),
        ("['a']", json!({"type": "string"}), "type kind mismatch: got list(string), expected string"),
        (
            "[1]",
            json!({"type": "array", "items": {"type": "string"}}),
            "list element: type kind mismatch: got int, expected string",
        ),
        ("s", object.clone(), ""),
        ("s", open.clone(), ""),
        (
            "s",
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            "field \"b\" does not exist there",
        ),
        ("s", json!({"type": "object", "additionalProperties": {"type": "string"}}), ""),
        ("{'a': 'x'}", object.clone(), ""),
        ("{'a': 1}", object.clone(), "field \"a\": type kind mismatch: got int, expected string"),
        ("{'a': 1, 'b': 'x'}", object.clone(), ""),
        ("{'a': 1}", open, ""),
        ("base64.encode(b'x')", json!({"type": "string", "format": "byte"}), ""),
        ("b'x'", json!({"type": "string", "format": "byte"}), ""),
        ("b'x'", json!({"type": "string"}), "type kind mismatch: got bytes, expected string"),
    ] {
        let (_, t) = Program::compile_typed(source, &decls).unwrap();
        let field = Type::from_openapi(&field, "field").unwrap();
        assert_eq!(t.mismatch(&field).unwrap_or_default(), want, "{source}");
    }
}

#[test]
fn bytes_go_into_base64_fields() {
    let data = json!({"type": "object", "additionalProperties": {"type": "string", "format": "byte"}});
    let data = Type::from_openapi(&data, "data").unwrap();
    let into = |source: &str, field: &Type| {
        Program::compile(source).unwrap().eval_into(&scope(), &Budget::default(), field)
    };
    assert_eq!(into("b'abc'", &Type::Bytes), Ok(Some(json!("YWJj"))));
    assert_eq!(into("{'a': b'abc', 'b': 'YWJj'}", &data), Ok(Some(json!({"a": "YWJj", "b": "YWJj"}))));
    assert_eq!(into("omit()", &Type::Bytes), Ok(None));
    assert!(into("b'abc'", &Type::String).is_err());
}

#[test]
fn conditions() {
    let line = |source: &str| run(source).replace("compile: ERROR: <input>:", "");
    for (source, want) in [
        (
            "runtime.newCondition({'type': 'A', status: 'True'})",
            "1:23: runtime.newCondition: keys must be bare identifiers (type, status, reason, message); quoted or computed keys are not allowed",
        ),
        ("runtime.newCondition({type: 'A'})", "1:22: runtime.newCondition: 'status' is required"),
        (
            "runtime.newCondition({type: 'A', type: 'B', status: 'True'})",
            "1:34: runtime.newCondition: duplicate key \"type\"",
        ),
        (
            "runtime.newCondition({type: 'A', status: 'True', foo: 'x'})",
            "1:50: runtime.newCondition: unknown key \"foo\" (allowed: type, status, reason, message)",
        ),
        ("runtime.newCondition(1)", "1:22: runtime.newCondition: argument must be a map literal"),
        (
            "runtime.newCondition({type: 'A', status: 'True', reason: 1})",
            "fatal: runtime.newCondition: reason must be a string, found int",
        ),
        (
            "[runtime.newCondition({type: schema.spec.name, status: 'True'})]",
            r#"[{"status":"True","type":"web"}]"#,
        ),
    ] {
        assert_eq!(line(source), want, "{source}");
    }
    let source = "[runtime.newCondition({type: 'A', status: runtime.condition(schema, 'Ready').status})]";
    let program = Program::compile(source).unwrap();
    assert_eq!(
        program.conditions(),
        [
            Condition::New { kind: "A".into(), status: None },
            Condition::Read { variable: "schema".into(), kind: "Ready".into() },
        ]
    );
    assert_eq!(program.variables().iter().collect::<Vec<_>>(), ["schema"]);
    let (_, t) = Program::compile_typed("runtime.condition({}, 'A').status", &Decls::new()).unwrap();
    assert_eq!(t, Type::String);
}
