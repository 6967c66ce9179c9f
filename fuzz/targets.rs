//! What is fuzzed: each function takes any bytes and must neither panic nor take long, and says what must hold.
//!
//! Used by the targets of `cargo fuzz` beside this file, and by tests/fuzz.rs, which needs no special toolchain.
#![allow(dead_code)] // Each user has its own part.

use kro_hub::cel::template::{self, Part, Text};
use kro_hub::cel::{Budget, Decls, Program, Scope, docs};
use kro_hub::fuzzing;
use kro_hub::schema::simple;
use serde_json::{Map, Value as Json, json};

/// Name, function, and the folder of the corpus.
pub type Target = (&'static str, fn(&[u8]), &'static str);

pub const ALL: [Target; 10] = [
    ("cel_parse", cel_parse, "cel"),
    ("cel_check", cel_check, "cel"),
    ("cel_eval", cel_eval, "cel"),
    ("template_split", template_split, "template"),
    ("simple_schema", simple_schema, "schema"),
    ("kubeconfig", kubeconfig, "kubeconfig"),
    ("yaml", yaml, "yaml"),
    ("watch_event", fuzzing::watch_event, "watch"),
    ("managed_fields", fuzzing::managed_fields, "fields"),
    ("placement", fuzzing::placement, "placement"),
];

/// Stands in data, and must not stand in an error.
const SECRET: &str = "S3CR3T";
/// Of an evaluation, small enough that a run has many.
const STEPS: u64 = 100_000;

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

pub fn cel_parse(bytes: &[u8]) {
    let source = text(bytes);
    match Program::compile(&source) {
        Ok(program) => {
            assert_eq!(program.source(), source);
            // A path begins at a variable.
            let mut roots = program.paths().iter().filter_map(|p| p.steps.first());
            assert!(roots.all(|root| program.variables().contains(root)));
        }
        Err(problem) => {
            assert!(problem.offset <= source.len(), "{problem:?}");
            assert!(problem.to_string().starts_with("ERROR: <input>:"));
        }
    }
}

fn decls() -> Decls {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "name": {"type": "string"}, "replicas": {"type": "integer"}, "ratio": {"type": "number"},
        "on": {"type": "boolean"}, "at": {"type": "string", "format": "date-time"},
        "ttl": {"type": "string", "format": "duration"}, "key": {"type": "string", "format": "byte"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true}, "my-field": {"type": "string"},
    }}}});
    let mut decls = Decls::new();
    decls.declare_schema("schema", &schema);
    decls.declare("x", kro_hub::cel::Type::Dyn);
    decls
}

fn scope(decls: &Decls) -> Scope<'static> {
    let object = json!({"spec": {
        "name": SECRET, "replicas": 3, "ratio": 1.5, "on": true, "at": "2026-01-02T03:04:05Z", "ttl": "90s",
        "key": "UzNDUjNU", "labels": {"a": SECRET, "b.c/d": "e"}, "list": [{"a": 1}, {}, {"a": 3}],
        "raw": {"deep": [[1, [2, {"k": SECRET}]]]}, "port": "http", "my-field": "f",
    }});
    let mut scope = Scope::new();
    if let Some(t) = decls.get("schema") {
        scope.bind_typed("schema", &object, t);
    }
    scope.bind("x", &json!([1, "a", {"b": [null, true, 2.5]}]));
    scope
}

pub fn cel_check(bytes: &[u8]) {
    let source = text(bytes);
    let decls = decls();
    match Program::compile_typed(&source, &decls) {
        Ok((program, t)) => {
            assert!(program.variables().iter().all(|v| decls.get(v).is_some()));
            assert!(Program::compile(&source).is_ok());
            let _ = (t.to_string(), t.in_message(), t.mismatch(&t));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                assert!(problem.offset <= source.len(), "{problem:?}");
                let _ = problem.to_string();
            }
            assert!(problems.is_sorted_by_key(|p| p.offset), "{problems:?}");
        }
    }
}

pub fn cel_eval(bytes: &[u8]) {
    let source = text(bytes);
    let decls = decls();
    let program = match Program::compile_typed(&source, &decls) {
        Ok((program, _)) => program,
        // What the checker refuses must not break the evaluation either: older definitions were checked by older rules.
        Err(_) => match Program::compile(&source) {
            Ok(program) => program,
            Err(_) => return,
        },
    };
    let scope = scope(&decls);
    let budget = Budget::new(STEPS, 3 * STEPS);
    let first = program.eval_or_omit(&scope, &budget);
    let used = 3 * STEPS - budget.remaining();
    assert!(used <= STEPS, "{used} steps were taken");
    assert_eq!(first, program.eval_or_omit(&scope, &budget), "the same again");
    if let Err(error) = &first {
        // What the author wrote may be shown, what the data holds may not.
        assert!(source.contains(SECRET) || !error.message().contains(SECRET), "{error}");
    }
    let _ = program.show(&scope, &budget);
}

pub fn template_split(bytes: &[u8]) {
    let text = text(bytes);
    let again = match template::split(&text) {
        Err(error) => {
            assert!(error.offset < text.len(), "{error}");
            return;
        }
        Ok(Text::Literal(s)) => s,
        Ok(Text::Standalone(s)) => format!("${{{s}}}"),
        Ok(Text::Mixed(parts)) => {
            let _ = Program::compile_mixed_typed(&parts, &decls());
            let written = parts.into_iter().map(|p| match p {
                Part::Literal(s) => s,
                Part::Expr(s) => format!("${{{s}}}"),
            });
            written.collect()
        }
    };
    assert_eq!(again, text, "nothing is lost");
}

/// Lines `path.to.field: type | markers`; those after a line `---` are custom types.
pub fn simple_schema(bytes: &[u8]) {
    let text = text(bytes);
    let mut parts = [Json::Object(Map::new()), Json::Object(Map::new())];
    let mut part = 0;
    for line in text.lines().take(200) {
        if line == "---" {
            part = 1;
        } else if let Some((path, field)) = line.split_once(':') {
            let steps: Vec<&str> = path.split('.').take(40).collect();
            put(&mut parts[part], &steps, field.trim());
        }
    }
    let [spec, types] = parts;
    let made = simple::openapi(&spec, &types);
    match &made {
        Ok(schema) => assert!(schema.is_object()),
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|p| assert!(!p.to_string().is_empty()));
        }
    }
    assert_eq!(made, simple::openapi(&spec, &types), "the same again");
}

fn put(at: &mut Json, steps: &[&str], field: &str) {
    let Json::Object(map) = at else { return };
    match steps {
        [] => {}
        [last] => {
            map.insert((*last).to_owned(), Json::String(field.to_owned()));
        }
        [first, rest @ ..] => {
            put(map.entry(*first).or_insert_with(|| Json::Object(Map::new())), rest, field);
        }
    }
}

/// What a Secret holds: taken, or refused in a sentence that names the Secret, the path and the fix.
pub fn kubeconfig(bytes: &[u8]) {
    let judged = fuzzing::kubeconfig(bytes);
    match &judged {
        // No other scheme, nobody's name, no line end on the way into a request.
        Ok(taken) => {
            let rest = taken.server.strip_prefix("https://").unwrap_or_default();
            let host = rest.split('/').next().unwrap_or_default();
            assert!(
                !host.is_empty() && !host.contains('@') && rest.bytes().all(|b| b.is_ascii_graphic()),
                "{rest}"
            );
            let token = taken.token.as_deref().unwrap_or_default();
            assert!(!token.contains(['\n', '\r', '\0']), "{token:?}");
        }
        Err(refused) => {
            assert!(refused.starts_with("Secret kro-hub/eu: ") && refused.contains("; "), "{refused}");
            assert!(!refused.contains("sesame") && refused.len() < 400, "{refused}");
        }
    }
    assert_eq!(judged, fuzzing::kubeconfig(bytes), "the same again");
}

/// A file that `kro-hub validate` reads.
pub fn yaml(bytes: &[u8]) {
    let text = text(bytes);
    let (objects, refusals) = fuzzing::yaml(&text);
    assert!(objects.iter().all(Json::is_object));
    for (span, message) in &refusals {
        assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the file: {message}");
        assert!(!message.is_empty());
    }
    assert_eq!(fuzzing::yaml(&text), (objects, refusals), "the same again");
}

/// Words that a mutation may insert.
pub fn words() -> Vec<String> {
    const SYNTAX: &str = "( ) [ ] { } {' ': , . .? [? ? : + - * / % == != < <= > >= && || ! in ${ } $ \" ' ''' \"\"\" r' b' ` \
        \\ \\u0041 \\x41 // 0 1 -1 0u 9223372036854775807 -9223372036854775808 1e308 0x7f 1.5 true false null schema \
        schema.spec. schema.spec.name schema.spec.list schema.spec.labels schema.spec.raw x x[0] x[2].b v has( cel.bind( \
        int string bool [1,2,3] {'a':1} 'abc' b'ab' 'ä☃' '1' '1Ki' '90s' '2026-01-02T03:04:05Z' '10.0.0.0/8' '1.2.3' \
        'https://a.b/c?d=e' '%s' '%d' '%.3f' '(a*)*b' .map(x, .filter(x, .all(x, .exists(x, .sortBy(x, \
        .transformMap(k,v, .transformList(k,v, .optMap(x, optional.of( optional.none() dyn( omit() \
        integer string boolean float object []string map[string]string []map[string]integer | default= required=true \
        enum=\"a,b\" minimum=0 maximum=10 pattern=\"^a$\" immutable=true --- \n : a: b.c: Port description=\"x\" \
        maxItems=3 listType=map listMapKey=name nullable=true validation=\"self > 0\" \
        &a *a <<: !!str !!binary --- ... | > ? ~ %YAML apiVersion kind metadata items List exec command token tokenFile as \
        proxy-url certificate-authority server https://h https://a@b current-context contexts clusters users user \
        type object ADDED MODIFIED DELETED BOOKMARK ERROR resourceVersion managedFields manager operation Apply Update \
        subresource status fieldsV1 f: f:spec f:metadata f:labels k:{\\\"name\\\":\\\"a\\\"} v:\\\"a\\\" i:0 kro.run/applyset . \
        holds decided allow release selector @local notin exists tolerations operator Exists Equal effect NoExecute \
        expression labelSelector matchExpressions names all max prefer spread failover overrides rollout stages \
        onUnmatch grace eu-1 eu-2 us-1 region=eu =+eu-1,-us-1";
    let mut words: Vec<String> = SYNTAX.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    words.push("\n".to_owned());
    words.push(" ".to_owned());
    for form in docs::macros().into_iter().chain(docs::sections().into_iter().flat_map(|s| s.functions)) {
        words.push(if form.receiver.is_some() {
            format!(".{}(", form.name)
        } else {
            format!("{}(", form.name)
        });
    }
    words.sort();
    words.dedup();
    words
}
