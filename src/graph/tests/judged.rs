//! What cannot work is refused when the definition is judged; what only the data tells, when it is rendered.

use super::evaluation::{evaluate, evaluate_with, instance};
use super::table::Table;
use super::{app, cm, free, graph, problems};
use crate::graph::Options;
use serde_json::{Value, json};

fn with_status(status: &str) -> String {
    app(&cm("x", "v", "")).replace("types:", &format!("status: {status}\n    types:"))
}

const VERSION: &str = "schema.metadata.resourceVersion, which changes with every write";
const MANAGED: &str = "schema.metadata.managedFields, which changes with every write";

#[test]
fn what_moves_with_our_own_writes_is_not_read() {
    let mut table = Table::default();
    for (expression, want) in [
        ("${schema.metadata.resourceVersion}", VERSION),
        ("a-${schema.metadata.resourceVersion}", VERSION),
        ("${schema.metadata['resourceVersion']}", VERSION),
        ("${schema.metadata.?resourceVersion.orValue('')}", VERSION),
        ("${has(schema.metadata.resourceVersion) ? 'a' : 'b'}", VERSION),
        ("${string(schema.metadata.generation)}", "ok"),
        ("${schema.metadata.managedFields[0].manager}", MANAGED),
        ("${schema.metadata.managedFields.map(f, f.manager).join(',')}", MANAGED),
        // Under another name it is found by its type.
        ("${cel.bind(m, schema.metadata, m.resourceVersion)}", "undefined field 'resourceVersion'"),
        ("${[schema].map(s, s.metadata.resourceVersion).join('')}", "undefined field 'resourceVersion'"),
        (
            "${(schema.spec.b ? schema : schema).metadata.resourceVersion}",
            "undefined field 'resourceVersion'",
        ),
        ("${cel.bind(m, schema.metadata, string(m.generation))}", "ok"),
    ] {
        let value = format!("{expression:?}");
        table.verdict(expression, &app(&cm("x", &value, "")), want);
        let named = app(&cm("x", "v", "").replace("name: x", &format!("name: {value}")));
        table.verdict(format!("name {expression}"), &named, want);
    }
    let read = "${schema.metadata.resourceVersion";
    for (place, fields) in [
        ("includeWhen", format!("includeWhen: [\"{read} != ''}}\"]")),
        ("forEach", format!("forEach: [{{i: \"{read}.split('')}}\"}}]")),
    ] {
        let yaml = app(&free("x", "v", &fields)).replace("name: x", "name: 'x${string(i)}'");
        let yaml = if place == "forEach" { yaml } else { yaml.replace("${string(i)}", "") };
        table.verdict(place, &yaml, VERSION);
    }
    let external = "- id: e\n  externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${schema.metadata.resourceVersion}'}}";
    table.verdict("externalRef", &app(external), VERSION);
    let found = problems(&app(&cm("x", "'${schema.metadata.resourceVersion}'", ""))).join("\n");
    table.is(
        "the whole text",
        found,
        "spec.resources[0].template.data.k: ${schema.metadata.resourceVersion}: resource \"x\" reads \
         schema.metadata.resourceVersion, which changes with every write of the instance, also of its status: what \
         reads it never comes to rest; read schema.metadata.uid for what is unique, or the fields of schema.spec for \
         what changes",
    );
    // Of another object it says when that one changed.
    let other = cm("a", "v", "") + &cm("b", "'${a.metadata.resourceVersion}'", "");
    table.verdict("another object's", &app(&other), "ok");
}

#[test]
fn the_status_reads_nothing_that_a_status_write_moves() {
    let mut table = Table::default();
    for (status, want) in [
        ("{a: '${schema.metadata.generation}'}", "ok"),
        ("{a: '${schema.metadata.resourceVersion}'}", VERSION),
        ("{a: '${schema.metadata.managedFields}'}", MANAGED),
        (
            "{conditions: ['${runtime.newCondition({type: \"A\", status: \"True\", message: string(schema.metadata.generation)})}']}",
            "ok",
        ),
    ] {
        table.verdict(status, &with_status(status), want);
    }
    let mut seen = instance(json!({}));
    seen["metadata"]["generation"] = json!(7);
    let yaml = with_status("{a: '${schema.metadata.generation}'}");
    let found = evaluate_with(&Options::default(), &yaml, &seen, &json!({}));
    table.is("its value", &found.status, r#"{"a":7}"#);
}

/// However an expression takes the metadata as a whole, its value is the same before and after our own writes.
#[test]
fn what_is_made_of_the_whole_metadata_comes_to_rest() {
    let mut before = instance(json!({"s": "v"}));
    let mut after = before.clone();
    for (object, version) in [(&mut before, "1"), (&mut after, "2")] {
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version);
        metadata["managedFields"] = json!([{"manager": version}]);
    }
    let mut table = Table::default();
    for expression in [
        "${schema.metadata}",
        "${schema}",
        "${json.marshal(schema)}",
        "${dyn(schema).metadata}",
        "${[dyn(schema)].map(s, s.metadata)}",
        "${dyn(schema.metadata).?resourceVersion.orValue('none')}",
    ] {
        let yaml = app(&free("x", &format!("{expression:?}"), ""));
        let [one, two] = [&before, &after]
            .map(|i| evaluate_with(&Options::default(), &yaml, i, &json!({})).node("x").to_owned());
        table.is(expression, &one, &two);
        let rendered = !one.starts_with("F:") && !one.starts_with("P:");
        table.is(format!("{expression} renders"), rendered, true);
    }
    let computed = app(&free("x", "\"${dyn(schema.metadata)['resource' + 'Version']}\"", ""));
    let found = evaluate_with(&Options::default(), &computed, &before, &json!({}));
    table.has("computed", found.node("x"), "F:spec.k: ");
}

#[test]
fn reserved_fields_of_the_status() {
    let list = "status.conditions: conditions is not a list of expressions";
    let state = "status.state: status.state is written by the controller, as string";
    let mut table = Table::default();
    for (status, want) in [
        ("{conditions: '${schema.spec.l}'}", list),
        ("{conditions: '${schema.spec.s}'}", list),
        ("{conditions: {a: '${schema.spec.s}'}}", list),
        ("{conditions: null}", list),
        ("{conditions: 'x'}", list),
        ("{conditions: []}", "ok"),
        ("{state: '${schema.spec.s}'}", "ok"),
        ("{state: 'is ${schema.spec.s}'}", "ok"),
        ("{state: '${x.data.?k}'}", "ok"),
        ("{state: '${schema.spec.n}'}", state),
        ("{state: '${schema.spec.l}'}", state),
        ("{state: {a: '${schema.spec.s}'}}", state),
        ("{observedGeneration: '${schema.metadata.generation}'}", "ok"),
        (
            "{observedGeneration: '${schema.spec.s}'}",
            "status.observedGeneration is written by the controller, as integer",
        ),
        ("{fleet: '${schema.spec.s}'}", "status.fleet: status.fleet is written by kro-hub itself"),
    ] {
        table.verdict(status, &with_status(status), want);
    }
}

#[test]
fn a_status_in_which_nothing_stands_says_nothing() {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let mut table = Table::default();
    for (status, fields, value) in [
        ("{x: {}}", "conditions state", "{}"),
        ("{x: []}", "conditions state", "{}"),
        ("{x: {y: {}, z: []}}", "conditions state", "{}"),
        ("{x: [{}, []]}", "conditions state", "{}"),
        ("{x: {}, a: '${schema.spec.s}'}", "a conditions state", r#"{"a":"v"}"#),
        ("{x: {y: {}, a: '${schema.spec.s}'}}", "conditions state x", r#"{"x":{"a":"v"}}"#),
    ] {
        let yaml = with_status(status);
        table.verdict(status, &yaml, "ok");
        let made = graph(&yaml);
        let declared = made.crd.pointer(schema).and_then(Value::as_object).unwrap();
        table.is(status, declared.keys().cloned().collect::<Vec<_>>().join(" "), fields);
        table.is(status, evaluate(&yaml, json!({"s": "v"}), json!({})).status, value);
    }
    for status in ["{x: ''}", "{x: null}", "{x: {y: 1}}", "{x: [{}, 'a']}"] {
        table.verdict(status, &with_status(status), "status fields without expressions are not supported");
    }
}

#[test]
fn an_empty_group_is_the_default() {
    let yaml = app(&cm("x", "v", "")).replace("kind: App\n", "kind: App\n    group: ''\n");
    let (empty, absent) = (graph(&yaml), graph(&app(&cm("x", "v", ""))));
    assert_eq!((empty.gvk.to_string(), &empty.crd), ("kro.run/v1alpha1 App".to_owned(), &absent.crd));
    assert_eq!((empty.crd_hash(), &empty.hash), (absent.crd_hash(), &absent.hash));
    let rgd = super::rgd(&yaml);
    assert_eq!(&*rgd.spec.schema.gvk().group, "kro.run");
}

fn object(api: &str, kind: &str, name: &str) -> String {
    format!("- id: x\n  template:\n    apiVersion: {api}\n    kind: {kind}\n    metadata: {name}\n")
}

#[test]
fn names_that_no_object_can_have() {
    let mut table = Table::default();
    let long = "a".repeat(254);
    for (name, want) in [
        ("a/b".to_owned(), "it contains /"),
        ("x%2fy".to_owned(), "it contains %"),
        ("..".to_owned(), "it is a step in a path"),
        ("Upper".to_owned(), "it has upper case letters"),
        ("a b".to_owned(), "only"),
        (long, "it has more than 253 characters"),
    ] {
        let literal = app(&object("v1", "ConfigMap", &format!("{{name: '{name}'}}")));
        table.verdict(&name, &literal, want);
        table.has(
            &name,
            problems(&literal).join("\n"),
            "spec.resources[0].template.metadata.name: metadata.name ",
        );
        let computed = app(&object("v1", "ConfigMap", "{name: '${schema.spec.s}'}"));
        let found = evaluate(&computed, json!({"s": name}), json!({}));
        table.has(&name, found.node("x"), want);
        table.has(&name, found.node("x"), "F:x: metadata.name: ");
        // What was computed may be nobody's business.
        table.is(&name, name.len() > 3 && found.node("x").contains(&name), false);

        let of =
            |r: &str| format!("- id: x\n  externalRef: {{apiVersion: v1, kind: ConfigMap, metadata: {r}}}");
        table.verdict(&name, &app(&of(&format!("{{name: '{name}'}}"))), want);
        let found = evaluate(&app(&of("{name: '${schema.spec.s}'}")), json!({"s": name}), json!({}));
        table.has(&name, &found.references["x"], "F:x: metadata.name: ");
    }
    for (namespace, want) in [("a/b", "it contains /"), ("A", "upper case"), ("a.b", "only")] {
        table.verdict(
            namespace,
            &app(&object("v1", "ConfigMap", &format!("{{name: a, namespace: '{namespace}'}}"))),
            want,
        );
        let computed = app(&object("v1", "ConfigMap", "{name: a, namespace: '${schema.spec.s}'}"));
        let found = evaluate(&computed, json!({"s": namespace}), json!({}));
        table.has(namespace, found.node("x"), "F:x: metadata.namespace: ");
    }
    let computed = app(&object("v1", "ConfigMap", "{name: '${schema.spec.s}'}"));
    table.has(
        "empty",
        evaluate(&computed, json!({"s": ""}), json!({})).node("x"),
        "F:x: metadata.name: it is empty",
    );
    let items = free("x", "v", "forEach: [{i: '${schema.spec.l}'}]").replace("name: x", "name: '${i}'");
    let found = evaluate(&app(&items), json!({"l": ["good", "not/good"]}), json!({}));
    table.has("an item", found.node("x"), "F:x item 1: metadata.name: it contains /");
}

/// What other kinds allow is left to their API server.
#[test]
fn names_by_the_rules_of_their_kinds() {
    let mut table = Table::default();
    for (api, kind, name) in
        [("x.io/v1", "Free", "system:node"), ("x.io/v1", "Free", "Upper"), ("v1", "ConfigMap", "a.b-c")]
    {
        table.verdict(name, &app(&object(api, kind, &format!("{{name: '{name}'}}"))), "ok");
        let found =
            evaluate(&app(&object(api, kind, "{name: '${schema.spec.s}'}")), json!({"s": name}), json!({}));
        table.is(name, found.node("x"), "null");
    }
}

fn selecting(selector: &str) -> String {
    app(&format!(
        "- id: e\n  externalRef: {{apiVersion: v1, kind: ConfigMap, metadata: {{selector: {selector}}}}}"
    ))
}

#[test]
fn literal_selectors_are_judged_as_kubernetes_judges_them() {
    let mut table = Table::default();
    let long = "a".repeat(64);
    for (selector, want) in [
        (
            "{matchLabels: {'bad key!': x}}".to_owned(),
            "\"bad key!\" is no key of a label: it may have letters",
        ),
        ("{matchLabels: {a: 'b c'}}".to_owned(), "\"b c\" is no value of a label"),
        ("{matchLabels: {a: '-b'}}".to_owned(), "it must begin and end with a letter or a digit"),
        (format!("{{matchLabels: {{a: {long}}}}}"), "it has more than 63 characters"),
        (format!("{{matchLabels: {{{long}: a}}}}"), "it has more than 63 characters"),
        ("{matchLabels: {/a: x}}".to_owned(), "nothing stands before /"),
        ("{matchLabels: {Up.io/a: x}}".to_owned(), "what stands before / is no DNS name"),
        ("{matchLabels: {'${schema.spec.s}': x}}".to_owned(), "is no key of a label"),
        ("{matchExpressions: [{key: 'a b', operator: Exists}]}".to_owned(), "is no key of a label"),
        (
            "{matchExpressions: [{key: a, operator: In, values: ['b c']}]}".to_owned(),
            "is no value of a label",
        ),
        (
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}".to_owned(),
            "operator Exists takes no values",
        ),
        ("{matchLabels: {app.kubernetes.io/name: x, a: ''}}".to_owned(), "ok"),
        ("{matchLabels: {a: '${schema.spec.s}', b: 'v-${schema.spec.s}'}}".to_owned(), "ok"),
        ("{matchExpressions: [{key: '${schema.spec.s}', operator: Exists}]}".to_owned(), "ok"),
    ] {
        table.verdict(&selector, &selecting(&selector), want);
    }
}

#[test]
fn a_computed_selector_that_is_none_is_an_error_that_names_it() {
    let mut table = Table::default();
    let long = "a".repeat(64);
    for (given, want) in [
        (json!({"matchLabels": {"bad key!": "x"}}), "a key in matchLabels is no key of a label"),
        (json!({"matchLabels": {"a=b,c": "x"}}), "a key in matchLabels is no key of a label"),
        (
            json!({"matchLabels": {"a": long}}),
            "a value is no value of a label: it has more than 63 characters",
        ),
        (json!({"matchLabels": {"a": "-x"}}), "a value is no value of a label"),
        (
            json!({"matchExpressions": [{"key": "a in (b)", "operator": "Exists"}]}),
            "a key in matchExpressions is no key of a label",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
            "operator Exists of a takes no values",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": "x"}]}),
            "values of a must give a list",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In", "value": ["x"]}]}),
            "value is unknown in",
        ),
    ] {
        let found = evaluate(&selecting("'${schema.spec.raw.x}'"), json!({"raw": {"x": given}}), json!({}));
        table.has(&given, &found.references["e"], &format!("F:e: metadata.selector: {want}"));
    }
    let found =
        evaluate(&selecting("{matchLabels: {a: '${schema.spec.s}'}}"), json!({"s": "b c"}), json!({}));
    table.has("a value", &found.references["e"], "F:e: metadata.selector: a value is no value of a label");
}

/// A field of the instance, after `z: `.
fn field(text: &str) -> String {
    app(&cm("x", "v", "")).replace("s: string", &format!("s: string\n      z: {}", json!(text)))
}

#[test]
fn defaults_keep_the_rules_of_their_fields() {
    let mut table = Table::default();
    for (text, want) in [
        ("string | enum=\"a,b\" default=\"c\"", "the default `c` is none of the enum: `a`, `b`"),
        ("string | default=\"c\" enum=\"a,b\"", "is none of the enum"),
        ("string | enum=\"a,b\" default=\"b\"", "ok"),
        ("integer | enum=\"1,2\" default=3", "is none of the enum: `1`, `2`"),
        ("integer | enum=\"1,2\" default=2", "ok"),
        ("integer | default=0 minimum=1", "the default `0` is less than minimum=1"),
        ("integer | default=1 minimum=1 maximum=1", "ok"),
        ("float | default=1.5 maximum=1.0", "is more than maximum=1"),
        ("string | minLength=5 default=\"x\"", "has 1 characters, fewer than minLength=5"),
        ("string | maxLength=1 default=\"grüße\"", "has 5 characters, more than maxLength=1"),
        ("string | maxLength=5 default=\"grüße\"", "ok"),
        ("string | default=\"x\" pattern=\"^a\"", "does not match the pattern `^a`"),
        ("string | default=\"ab\" pattern=\"^a\"", "ok"),
        ("[]string | minItems=1 default=[]", "has 0 items, fewer than minItems=1"),
        ("[]string | maxItems=1 default=[\"a\",\"b\"]", "has 2 items, more than maxItems=1"),
        (
            "[]string | uniqueItems=true default=[\"a\",\"a\"]",
            "has the same item twice, against listType=set",
        ),
        (
            "[]Port | listType=map listMapKey=name default=[{\"name\":\"a\"},{\"name\":\"a\",\"number\":1}]",
            "has the same item twice, against listType=map",
        ),
        (
            "[]Port | default=[{\"nme\":\"a\"}]",
            "the default `[{\"nme\":\"a\"}]` at [0].nme is no field of its type",
        ),
        ("map[string]string | default={\"a\":\"1\"}", "ok"),
        ("object | default={\"a\":{\"b\":1}}", "ok"),
        ("[]Level | default=[\"a\",\"c\"]", "at [1] is none of the enum: `a`, `b`"),
        ("map[string]Level | default={\"k\":\"c\"}", "at .k is none of the enum"),
        ("Level | default=\"c\"", "is none of the enum"),
        ("Must | default={}", "the default `{}` lacks must, which is required"),
        ("Must | default={\"must\":\"x\"}", "ok"),
    ] {
        let yaml = field(text).replace(
            "    types:\n",
            "    types:\n      Level: 'string | enum=\"a,b\"'\n      Must: {must: 'string | required=true', may: 'string | required=true default=\"d\"'}\n",
        );
        table.verdict(text, &yaml, want);
        if want != "ok" {
            table.has(text, problems(&yaml).join("\n"), "spec.schema.spec.z: ");
        }
    }
}

#[test]
fn rules_of_instances_compile() {
    let mut table = Table::default();
    for (text, want) in [
        (
            "string | validation=\"self.size( > 3\"",
            "spec.schema.spec.z: the rule validation=\"self.size( > 3\" does not compile: ",
        ),
        ("string | validation=\"self.size()\"", "it must give a bool, but gives int"),
        ("string | validation=\"self > 3\"", "found no matching overload for '_>_'"),
        ("string | validation=\"other == 'a'\"", "undeclared reference to 'other'"),
        ("Port | validation=\"self.nme == 'a'\"", "undefined field 'nme'"),
        ("[]Port | validation=\"self.all(p, p.number > 'a')\"", "found no matching overload"),
        ("string | validation=\"isUrl(self)\"", "undeclared reference to 'isUrl'"),
        ("string | validation=\"self.size() > 3\"", "ok"),
        ("string | validation=\"self == oldSelf\" immutable=true", "ok"),
        ("Port | validation=\"self.name != '' || !has(self.number)\"", "ok"),
        ("[]Port | validation=\"self.all(p, p.number > 1024)\"", "ok"),
        ("string | validation=\"isURL(self) && url(self).getScheme() == 'https'\"", "ok"),
        ("string | validation=\"!format.dns1123Label().validate(self).hasValue()\"", "ok"),
        (
            "map[string]string | validation=\"self.all(k, k.startsWith('a')) && sets.contains(['a'], ['a'])\"",
            "ok",
        ),
        ("string | validation=\"quantity(self).isGreaterThan(quantity('1'))\"", "ok"),
        ("float | validation=\"self > 0 && 1 <= self\"", "ok"),
        ("string | validation=\"isSemver(self, true) && semver(self, true).major() > 0\"", "ok"),
        ("string | validation=\"isImage(self) && image(self).tag() != ''\"", "ok"),
        ("string | validation=\"isSemver(self, 1)\"", "found no matching overload for 'isSemver'"),
    ] {
        table.verdict(text, &field(text), want);
    }
    // In a type of its own, told where it is used.
    let typed = field("Rule")
        .replace("    types:\n", "    types:\n      Rule: {a: 'string | validation=\"self >\"'}\n");
    table.verdict("in a type", &typed, "spec.schema.spec.z.a: the rule validation=");
}

#[test]
fn text_where_base64_is_needed() {
    let secret = |value: &str| {
        app(&format!(
            "- id: x\n  template:\n    apiVersion: v1\n    kind: Secret\n    metadata: {{name: x}}\n    data: {{k: {}}}\n",
            json!(value)
        ))
    };
    let none = "template.data.k: the field holds base64, this text is none";
    let mut table = Table::default();
    for (value, want) in [
        ("hello world", none),
        ("hello", none),
        ("aGVsbG8", none),
        ("aGVsbG8=", "ok"),
        ("aGVs\nbG8=\n", "ok"),
        ("", "ok"),
        ("${schema.spec.s}", "ok"),
        ("${bytes(schema.spec.s)}", "ok"),
        ("user-${schema.spec.s}", none),
        ("aGVs${schema.spec.s}", "ok"),
    ] {
        table.verdict(value, &secret(value), want);
        let found = problems(&secret(value)).join("");
        // The help is base64 itself, or an expression that gives it.
        if let Some(code) =
            found.split_once("; write ").map(|(_, c)| c.split(", or the text").next().unwrap_or(c))
        {
            table.verdict(format!("{value} -> {code}"), &secret(code), "ok");
        }
    }
    let binary = app(
        "- id: x\n  template: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}, binaryData: {k: 'not base64'}}\n",
    );
    table.verdict("binaryData", &binary, "template.binaryData.k: the field holds base64");
}
