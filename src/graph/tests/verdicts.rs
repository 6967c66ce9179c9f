//! Which definitions are refused, and with which words.

use super::evaluation::evaluate;
use super::kinds::kinds;
use super::table::Table;
use super::{app, check, cm, problems, rgd};
use crate::graph::{Options, Spot, compile};
use crate::schema::kinds::Anywhere;
use serde_json::json;

/// Checks a ConfigMap with this value.
fn value(expression: &str, want: &[&str]) {
    check(&app(&cm("x", &format!("{expression:?}"), "")), want);
}

/// Checks a ConfigMap with these further fields of the resource.
fn more(fields: &str, want: &[&str]) {
    check(&app(&cm("x", "v", fields)), want);
}

/// Checks the only resource, given as `template`.
fn template(fields: &str, want: &[&str]) {
    check(&app(&format!("- id: x\n  template: {fields}")), want);
}

#[test]
fn ids() {
    for (id, want) in [
        (
            "my-cm",
            "spec.resources[0].id: naming convention violation: id my-cm is not a valid KRO resource id: must be lower camelCase; write myCm",
        ),
        ("MyCm", "must be lower camelCase; write myCm"),
        ("my_cm", "must be lower camelCase; write myCm"),
        ("status", "spec.resources[0].id: id status is a reserved keyword in KRO"),
        ("schema", "reserved keyword"),
        ("item", "reserved keyword"),
        ("for", "reserved keyword"),
        ("namespace", "reserved keyword"),
        ("each", "reserved keyword"),
    ] {
        check(&app(&cm(id, "v", "")), &[want]);
    }
    for id in ["url", "string", "size", "random", "cluster", "a1", "map"] {
        check(&app(&(cm(id, "v", "") + &cm("other", &format!("'${{{id}.data.k}}'"), ""))), &[]);
    }
    check(
        &app(&(cm("x", "v", "") + &cm("x", "v", ""))),
        &["spec.resources[1].id: found duplicate resource IDs x"],
    );
}

#[test]
fn the_schema_block() {
    for (from, to, want) in [
        ("kind: App\n", "kind: app\n", "spec.schema.kind: naming convention violation"),
        ("kind: App\n", "kind: My-App\n", "must be UpperCamelCase"),
        ("v1alpha1", "apps/v1", "spec.schema.apiVersion: \"apps/v1\" is not a valid version"),
        ("s: string", "s: strin", "spec.schema.spec.s: "),
    ] {
        check(&app(&cm("x", "v", "")).replacen(from, to, 1), &[want]);
    }
    check("spec: {schema: {kind: App, apiVersion: v1}}", &[]);
}

#[test]
fn forms_of_templates() {
    for (fields, want) in [
        ("text", "spec.resources[0].template: the template is not an object"),
        ("{kind: A, metadata: {name: x}}", "template: apiVersion field is missing"),
        ("{apiVersion: v1, metadata: {name: x}}", "template: kind field is missing"),
        ("{apiVersion: v1, kind: 5, metadata: {name: x}}", "template.kind: kind field is not a string"),
        ("{apiVersion: v1, kind: A}", "template: metadata field is missing"),
        (
            "{apiVersion: v1, kind: A, metadata: '${schema.metadata}'}",
            "template.metadata: metadata field is not a map",
        ),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {}}", "template.metadata: metadata.name is missing"),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: 5}}",
            "template.metadata.name: expected string type, got integer; quote it: \"5\"",
        ),
        (
            "{apiVersion: v1, kind: A, metadata: {name: x}}",
            "template.kind: failed to get schema for v1 A: no such kind is served; correct apiVersion and kind, or install its CustomResourceDefinition",
        ),
        ("{apiVersion: a/b/c, kind: A, metadata: {name: x}}", "\"a/b/c\" is not a group and version"),
        ("{apiVersion: v1, kind: A_b, metadata: {name: x}}", "\"A_b\" is not a valid kind"),
        (
            "{apiVersion: '${schema.spec.s}', kind: A, metadata: {name: x}}",
            "template.apiVersion: apiVersion must be literal text, not an expression",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {kro.run/x: v}}}",
            "template.metadata.labels[\"kro.run/x\"]: labels with prefix kro.run/ are reserved for internal use",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, annotations: {internal.kro.run/x: v}}}",
            "annotations with prefix internal.kro.run/ are reserved for internal use",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {a: 5}}}",
            "template.metadata.labels.a: expected string type, got integer; quote it: \"5\"",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: x, namespace: z}}",
            "Namespace is cluster-scoped and must not set metadata.namespace",
        ),
    ] {
        template(fields, &[want]);
    }
    for fields in [
        "{apiVersion: azure.com/v1api20200601, kind: A, metadata: {name: x}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: '${schema.spec.m}'}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {run.kro/x: v}, namespace: other}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: null}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: '$(x)', b: '${unclosed'}}",
        "{apiVersion: kro.run/v1, kind: Other, metadata: {name: x}}",
    ] {
        template(fields, &[]);
    }
}

#[test]
fn instances_of_cluster_scope_name_a_namespace() {
    let cluster = |resources: &str| app(resources).replace("kind: App\n", "kind: App\n    scope: Cluster\n");
    check(
        &cluster(&cm("x", "v", "")),
        &["ConfigMap is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped"],
    );
    check(&cluster(&cm("x", "v", "").replace("name: x", "name: x, namespace: '${schema.spec.s}'")), &[]);
    check(
        &cluster(&cm("x", "v", "").replace("name: x", "name: x, namespace: '${schema.metadata.namespace}'")),
        &["${schema.metadata.namespace}: ERROR: <input>:1:16: undefined field 'namespace'\n"],
    );
    check(&cluster("- {id: x, template: {apiVersion: v1, kind: Namespace, metadata: {name: x}}}"), &[]);
}

#[test]
fn policies_are_literals_that_are_known() {
    let note = |key: &str, value: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: x, annotations: {{{key}: {value}}}}}}}")
    };
    for (key, value, want) in [
        ("hub.kro.run/on-delete", "Keep", "has no value \"Keep\"; allowed are Delete, Orphan"),
        ("hub.kro.run/on-existing", "adopt", "has no value \"adopt\"; allowed are Adopt, AdoptIfEqual, Fail"),
        ("hub.kro.run/on-existing", "'${schema.spec.s}'", "must be a literal, not an expression"),
        ("hub.kro.run/target", "Hub", "has no value \"Hub\"; allowed are hub"),
    ] {
        template(&note(key, value), &[want]);
    }
    for (key, value) in
        [("on-delete", "Orphan"), ("on-delete", "Delete"), ("on-existing", "AdoptIfEqual"), ("target", "hub")]
    {
        template(&note(&format!("hub.kro.run/{key}"), value), &[]);
    }
}

#[test]
fn a_resource_is_made_or_read() {
    check(
        &app("- id: x
  externalRef: {apiVersion: v1, kind: Secret, metadata: {name: x}}
  forEach: [{a: '${schema.spec.l}'}]"),
        &["spec.resources[0].forEach: cannot use externalRef with forEach"],
    );
    for both in ["- id: x", "- {id: x, template: {}, externalRef: {}}"] {
        check(&app(both), &["spec.resources[0]: exactly one of template or externalRef must be provided"]);
    }
}

#[test]
fn hub_side_resources_read_no_cluster() {
    let hub = |value: &str| {
        cm("x", value, "").replace("name: x", "name: x, annotations: {hub.kro.run/target: hub}")
    };
    let other = cm("other", "v", "");
    check(&app(&hub("'${schema.spec.s}'")), &[]);
    check(&app(&(hub("v") + &cm("reader", "'${x.data.k}'", ""))), &[]);
    for cluster in ["kro.cluster", "cluster"] {
        check(
            &app(&hub(&format!("'${{{cluster}.name}}'"))),
            &["a resource on the hub is there once for all clusters, it cannot read"],
        );
    }
    check(
        &app(&(other + &hub("'${other.data.k}'"))),
        &[
            "spec.resources[1].template.data.k: ${other.data.k}: a resource on the hub is there once for all clusters, it cannot read other; let other live on the hub too",
        ],
    );
    let refs = |ids: &str| {
        app(&(cm("x", "v", "")
            + "- {id: ext, externalRef: {apiVersion: v1, kind: Secret, metadata: {name: e}}}"))
        .replace("uid: r1", &format!("annotations: {{hub.kro.run/hub-refs: '{ids}'}}"))
    };
    check(&refs("ext"), &[]);
    check(
        &refs("ext, x"),
        &[
            "metadata.annotations[\"hub.kro.run/hub-refs\"]: \"x\" is no external reference; the external references are [ext]",
        ],
    );
}

#[test]
fn what_a_cluster_is_called() {
    for text in [
        "${kro.cluster.name}",
        "${cluster.name}",
        "${cluster.labels.region}",
        "${cluster.?properties.?x.orValue('')}",
    ] {
        value(text, &[]);
    }
    value("${string(cluster.version.minor)}", &[]);
    for (text, want) in [
        ("${cluster.health}", "<input>:1:8: undefined field 'health'"),
        ("${kro.name}", "<input>:1:4: undefined field 'name'"),
    ] {
        value(text, &[want]);
    }
    // A resource of that name comes first.
    check(&app(&(cm("cluster", "v", "") + &cm("x", "'${cluster.data.k}'", ""))), &[]);
}

#[test]
fn functions_have_their_places() {
    value(
        "${omit()}",
        &[
            "spec.resources[0].template.data.k: ${omit()}: omit() requires the CELOmitFunction feature gate to be enabled; start the controller with --feature-gates=CELOmitFunction=true",
        ],
    );
    value(
        "${runtime.condition(schema, 'Ready').status}",
        &["runtime is only available in status.conditions expressions"],
    );
}

/// Of a spec that cannot be read no field has a type: that is said once, where the spec is wrong.
#[test]
fn a_wrong_spec_is_told_once() {
    let text = |expression: &str| json!(expression).to_string();
    for resource in
        [cm("x", "v", "includeWhen: ['${schema.spec.b}']"), cm("x", &text("${schema.spec.s}-x"), "")]
    {
        let broken = app(&resource).replace("s: string", "s: string | default=two words");
        check(&broken, &["spec.schema.spec.s: marker key 'words' without a value"]);
    }
}

#[test]
fn expressions_read_what_is_there() {
    for (expression, want) in [
        (
            "${schema.spec.nmae}",
            "spec.resources[0].template.data.k: ${schema.spec.nmae}: ERROR: <input>:1:12: undefined field 'nmae'\n | schema.spec.nmae\n | ...........^\n declare it in spec.schema.spec",
        ),
        (
            "${schema.spec.nested.depe}",
            "ERROR: <input>:1:19: undefined field 'depe'\n | schema.spec.nested.depe\n | ..................^\n did you mean 'deep'?",
        ),
        (
            "${schema.spec.?nope.orValue('')}",
            "<input>:1:12: undefined field 'nope'\n | schema.spec.?nope.orValue('')\n | ...........^\n declare it in spec.schema.spec",
        ),
        ("${[schema.spec.nested.x][0]}", "declare it in spec.schema.spec"),
        ("${has(schema.spec.nope) ? 'a' : 'b'}", "undefined field 'nope'"),
        (
            "${schema.status.x}",
            "undefined field 'status'\n | schema.status.x\n | ......^\n the status cannot be read; read the resources that it comes from",
        ),
        ("${schema.spec.s.x}", "<input>:1:14: type 'string' does not support field selection\n"),
        ("${foo.x}", "references unknown identifiers: [foo]"),
        ("${xx.data.k + yy}", "references unknown identifiers: [xx yy]; did you mean \"x\"?"),
        ("${spec.s}", "references unknown identifiers: [spec]; the instance is called schema: schema.spec"),
        ("${x.data.k}", "self references are not allowed"),
        ("a-${schema.spec.n}", "found no matching overload for '_+_'"),
        (
            "${schema.spec.n}${schema.spec.s}",
            "<input>:1:1: found no matching overload for '_+_' applied to '(string, int)'\n | schema.spec.n\n | ^\n write ${string(schema.spec.n)}",
        ),
        ("${schema.spec.s +}", "failed to compile ${schema.spec.s +}: ERROR: <input>"),
        ("${nope(schema.spec.s)}", "nope"),
        ("${}", "failed to compile ${}"),
        ("${a ${b}}", "nested expressions are not allowed unless inside string literals"),
        ("${each.x}", "references unknown identifiers: [each]"),
    ] {
        value(expression, &[want]);
    }
    for expression in [
        "${schema.spec.s}",
        "${schema.spec.my__dash__field}",
        "${schema.spec.raw.any.thing}",
        "${schema.spec.m.any}",
        "${schema.spec.ports[0].name}",
        "${schema.metadata.name}-${schema.metadata.namespace}",
        "${schema.metadata.labels['x']}",
        "${schema.kind}/${schema.apiVersion}",
        "${schema.spec.l.map(x, x + 'a').join(',')}",
        "a-${string(schema.spec.n)}",
        "${'${x}'}",
    ] {
        value(expression, &[]);
    }
}

#[test]
fn conditions() {
    for (fields, want) in [
        (
            "readyWhen: ['x.data.k == \"v\"']",
            "spec.resources[0].readyWhen[0]: only standalone expressions are allowed",
        ),
        ("readyWhen: ['a ${x.data.k}']", "only standalone expressions are allowed"),
        (
            "readyWhen: ['${schema.spec.b}']",
            "references unknown identifiers: [schema]; readyWhen can read x alone",
        ),
        ("readyWhen: ['${each.data.k == \"v\"}']", "references unknown identifiers: [each]"),
        (
            "readyWhen: ['${x.data.k}']",
            "spec.resources[0].readyWhen[0]: readyWhen expression ${x.data.k} must return bool or optional_type(bool), but returns string",
        ),
        (
            "includeWhen: ['${schema.spec.raw.x}']",
            "but returns dyn; its type is known only at run time: compare it: write ${schema.spec.raw.x == true}",
        ),
        ("includeWhen: ['${x.data.k == \"v\"}']", "self references are not allowed"),
        (
            "includeWhen: ['${schema.spec.s}']",
            "spec.resources[0].includeWhen[0]: includeWhen expression ${schema.spec.s} must return bool or optional_type(bool), but returns string",
        ),
        ("includeWhen: ['${y}']", "references unknown identifiers: [y]"),
    ] {
        more(fields, &[want]);
    }
    for fields in [
        "readyWhen: ['${x.data.k == \"v\"}', '${has(x.data.z)}']",
        "readyWhen: ['${x.data.?k == optional.of(\"v\")}', '${optional.of(true)}']",
        "includeWhen: ['${schema.spec.b}', '${schema.spec.n > 2}']",
        "includeWhen: ['${schema.spec.?b}']",
    ] {
        more(fields, &[]);
    }
}

#[test]
fn collections() {
    let named =
        |name: &str, fields: &str| app(&cm("x", "v", fields).replace("name: x", &format!("name: {name}")));
    for (name, fields, want) in [
        (
            "x",
            "forEach: [{a: '${schema.spec.l}'}]",
            "spec.resources[0].template.metadata.name: all forEach dimensions must be used to produce a unique resource identity, missing: [a]",
        ),
        ("'${a}'", "forEach: [{a: '${schema.spec.l}'}, {b: '${schema.spec.l}'}]", "missing: [b]"),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.n}'}]",
            "spec.resources[0].forEach[0].a: forEach expression ${schema.spec.n} must return a list, got int",
        ),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.m}'}]",
            "must return a list, got map(string, string); for its keys write ${schema.spec.m.map(k, k)}",
        ),
        ("'${a}'", "forEach: [{a: '${schema.spec.raw.list}'}]", "must return a list, got dyn"),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.?l}'}]",
            "must return a list, got optional_type(list(string)); write ${schema.spec.?l.orValue([])}",
        ),
        (
            "'${item}'",
            "forEach: [{item: '${schema.spec.l}'}]",
            "forEach iterator name \"item\" is a reserved keyword",
        ),
        (
            "'${A}'",
            "forEach: [{A: '${schema.spec.l}'}]",
            "forEach iterator name \"A\" must be lower camelCase",
        ),
        ("'${a}'", "forEach: [{a: 'schema.spec.l'}]", "only standalone expressions are allowed"),
        (
            "'${a}${b}'",
            "forEach: [{a: '${schema.spec.l}'}, {b: '${[a]}'}]",
            "forEach[1].b: ${[a]}: forEach cannot reference other iterators: [a]",
        ),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.l}'}]\nincludeWhen: ['${a == \"\"}']",
            "references unknown identifiers: [a]",
        ),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.l}'}]\nreadyWhen: ['${a == \"\"}']",
            "readyWhen can read each alone",
        ),
        (
            "'${a}'",
            "forEach: [{a: '${schema.spec.l}'}]\nreadyWhen: ['${x.data.k == \"\"}']",
            "references unknown identifiers: [x]",
        ),
        (
            "'${p.naem}'",
            "forEach: [{p: '${schema.spec.ports}'}]",
            "${p.naem}: ERROR: <input>:1:2: undefined field 'naem'\n | p.naem\n | .^\n did you mean 'name'?",
        ),
        ("'${string(a)}'", "forEach: [{a: '${x}'}]", "self references are not allowed"),
    ] {
        check(&named(name, fields), &[want]);
    }
    check(
        &named("'${a}${b}'", "forEach: [{a: '${schema.spec.l}', b: '${schema.spec.l}'}]"),
        &["spec.resources[0].forEach[0]: a forEach entry has exactly one iterator, found 2"],
    );
    check(
        &named("'${a}'", "forEach: [{a: '${schema.spec.l}'}, {a: '${schema.spec.l}'}]"),
        &["forEach iterator name \"a\" is used twice"],
    );
    let dims: Vec<String> = (0..11).map(|i| format!("{{a{i}: '${{schema.spec.l}}'}}")).collect();
    let name: String = (0..11).map(|i| format!("${{a{i}}}")).collect();
    check(
        &named(&format!("'{name}'"), &format!("forEach: [{}]", dims.join(", "))),
        &["spec.resources[0].forEach: forEach has 11 dimensions, the maximum is 10"],
    );
    for (name, fields) in [
        ("'${a}'", "forEach: [{a: '${schema.spec.l}'}]"),
        (
            "'${a}-${b.name}'",
            "forEach: [{a: '${lists.range(schema.spec.n).map(i, string(i))}'}, {b: '${schema.spec.ports}'}]",
        ),
        ("'${schema.spec.b ? a : a}'", "forEach: [{a: '${schema.spec.m.map(k, k)}'}]"),
        ("'${a}'", "forEach: [{a: '${schema.spec.?l.orValue([])}'}]\nreadyWhen: ['${each.data.k == \"\"}']"),
    ] {
        check(&named(name, fields), &[]);
    }
    let iterator_in_namespace = "- id: x
  forEach: [{a: '${schema.spec.l}'}]
  template: {apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: '${a}'}}";
    check(&app(iterator_in_namespace), &[]);
    let clash = cm("a", "v", "")
        + &cm("x", "v", "forEach: [{a: '${schema.spec.l}'}]").replace("name: x", "name: '${a}'");
    check(
        &app(&clash),
        &["spec.resources[1].forEach[0].a: forEach iterator name \"a\" is the id of a resource"],
    );
}

#[test]
fn values_of_secrets_are_bytes() {
    let secret = "- {id: src, template: {apiVersion: v1, kind: Secret, metadata: {name: src}}}\n";
    let with = |expression: &str| app(&format!("{secret}{}", cm("x", &format!("{expression:?}"), "")));
    for (expression, want) in [
        (
            "a-${src.data.k}",
            "<input>:1:1: found no matching overload for '_+_' applied to '(string, bytes)'\n | src.data.k\n | ^\n write ${string(src.data.k)}",
        ),
        (
            "${src.data.?k.orValue('')}",
            "found no matching overload for 'orValue' applied to 'optional_type(bytes).(string)'",
        ),
        ("${src.data['k'] + 'x'}", "found no matching overload for '_+_' applied to '(bytes, string)'"),
        (
            "${src.data}",
            "type mismatch in resource \"x\" at path \"data.k\": expression \"src.data\" returns type \"map(string, bytes)\" but expected \"string\": type kind mismatch: got map(string, bytes), expected string",
        ),
        (
            "${src.data.k}",
            "expression \"src.data.k\" returns type \"bytes\" but expected \"string\": type kind mismatch: got bytes, expected string",
        ),
    ] {
        check(&with(expression), &[want]);
    }
    for expression in [
        "${string(src.data.k)}",
        "${base64.encode(src.data.k)}",
        "${string(src.data.?k.orValue(b''))}",
        "${string(has(src.data.k))}",
        "${string(size(src.data))}",
    ] {
        check(&with(expression), &[]);
    }
}

#[test]
fn cycles_are_shown_whole() {
    let resources = cm("a", "'${c.data.k}'", "")
        + &cm("b", "'${a.data.k}'", "")
        + &cm("c", "v", "includeWhen: ['${b.data.k == \"x\"}']");
    check(
        &app(&resources),
        &["spec.resources[0].template.data.k: graph contains a cycle: a -> c -> b -> a \
           (a reads c in ${c.data.k} at spec.resources[0].template.data.k; \
           c reads b in ${b.data.k == \"x\"} at spec.resources[2].includeWhen[0]; \
           b reads a in ${a.data.k} at spec.resources[1].template.data.k); remove one of these references"],
    );
}

#[test]
fn definitions_in_templates_are_taken_as_they_are() {
    let crd = |labels: &str, spec: &str| {
        format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, \
             metadata: {{name: x.y.z, labels: {{a: {labels}}}}}, spec: {{group: {spec}}}}}"
        )
    };
    template(&crd("'${schema.spec.s}'", "y.z"), &[]);
    template(
        &crd("x", "'${schema.spec.s}'"),
        &[
            "template.spec.group: ${schema.spec.s}: CEL expressions in CRDs are only supported for metadata fields",
        ],
    );
}

#[test]
fn status_says_something_about_the_instance() {
    let with =
        |status: &str| app(&cm("x", "v", "")).replace("types:", &format!("status: {status}\n    types:"));
    for (status, want) in [
        (
            "{a: plain}",
            "spec.schema.status.a: status fields without expressions are not supported: [spec.schema.status.a]",
        ),
        ("{a: {b: ['${x.data.k}', 5]}}", "not supported: [spec.schema.status.a.b[1]]"),
        ("{a: \"${'a'}\"}", "instance status field must refer to a resource or schema"),
        ("{a: '${y.data.k}'}", "references unknown identifiers: [y]"),
        ("{a: '${schema.spec.sss}'}", "undefined field 'sss'"),
        ("text", "spec.schema.status: status is not a map"),
    ] {
        check(&with(status), &[want]);
    }
    check(&with("{a: '${x.data.k}', b: ['${schema.spec.s}'], c: {d: 'x-${x.data.k}'}}"), &[]);
}

#[test]
fn all_problems_are_shown_at_once_and_in_order() {
    let yaml = app(&(cm("my-cm", "'${nope}'", "readyWhen: [x]") + "- {id: b, template: 5}\n- {id: c}"))
        .replace("s: string", "s: strin")
        .replace("kind: App", "kind: app");
    let paths: Vec<String> =
        problems(&yaml).iter().map(|p| p.split(": ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        paths,
        [
            "spec.resources[0].id",
            "spec.resources[0].readyWhen[0]",
            "spec.resources[0].template.data.k",
            "spec.resources[1].template",
            "spec.resources[2]",
            "spec.schema.kind",
            "spec.schema.spec.s",
        ]
    );
}

#[test]
fn limits_are_the_callers() {
    let yaml = app(&cm("x", "v", "forEach: [{a: '${schema.spec.l}'}, {b: '${schema.spec.l}'}]")
        .replace("name: x", "name: '${a}${b}'"));
    let options = Options { collection_dimensions: 1, ..Options::default() };
    let problems = compile(&rgd(&yaml), &options, &kinds()).unwrap_err();
    assert_eq!(problems[0].message, "forEach has 2 dimensions, the maximum is 1");
}

#[test]
fn types_are_called_by_their_place() {
    let mut table = Table::default();
    let x = |value: &str| app(&(cm("other", "v", "") + &cm("x", &format!("'{value}'"), "")));
    table.verdict(
        "object into text",
        &x("${schema.spec.nested}"),
        "returns type \"schema.spec.nested\" but expected \"string\": type kind mismatch: got schema.spec.nested, expected string",
    );
    table.verdict("resource into text", &x("${other}"), "returns type \"other\" but expected \"string\"");
    table.verdict("in an operator", &x("${other + \"a\"}"), "'_+_' applied to '(other, string)'");
    let condition = cm("x", "v", "includeWhen: ['${schema.spec.nested}']");
    table.verdict("condition", &app(&condition), "but returns schema.spec.nested");
    let container = "- {id: x, template: {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {selector: '${schema.spec.s}'}}}";
    table.verdict(
        "text into object",
        &app(container),
        "returns type \"string\" but expected \"x.spec.selector\"",
    );
}

#[test]
fn a_problem_of_an_expression_has_its_spot() {
    let found = compile(&rgd(&app(&cm("x", "'a-${schema.spec.nope}'", ""))), &Options::default(), &kinds())
        .unwrap_err();
    assert_eq!(found[0].spot, Some(Spot { source: "schema.spec.nope".into(), offset: 11 }));
    let found = compile(&rgd(&app(&cm("x", "5", ""))), &Options::default(), &kinds()).unwrap_err();
    assert_eq!(found[0].spot, None);
}

#[test]
fn a_status_that_was_inferred_before_holds() {
    let yaml = app(&cm("x", "v", "")).replace("types:", "status: {a: '${schema.spec.s}'}\n    types:");
    let before = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let options = Options { status_schema: Some(before.clone()), ..Options::default() };
    let graph = compile(&rgd(&yaml), &options, &kinds()).unwrap();
    assert_eq!(graph.status_schema(), &before);
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/a/type";
    assert_eq!(graph.crd.pointer(path), Some(&json!("integer")));
}

#[test]
fn of_kinds_that_nobody_knows_anything_is_believed() {
    let odd = |fields: &str| {
        let fields: String = fields.lines().map(|l| format!("  {l}\n")).collect();
        app(&format!(
            "- id: odd\n  template: {{apiVersion: no.io/v1, kind: Odd, metadata: {{name: x}}}}\n{fields}"
        ))
    };
    let reader = |text: &str| {
        odd("")
            + &format!(
                "  - id: x\n    template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: x}}, data: {{k: '{text}'}}}}\n"
            )
    };
    for yaml in [
        odd("readyWhen: ['${odd.status.ok}']"),
        reader("${odd.any.thing}"),
        reader("${odd.any}") + "    includeWhen: ['${odd.yes}']\n",
        reader("${i}").replace("{name: x}, data", "{name: '${i}'}, data")
            + "    forEach: [{i: '${odd.list}'}]\n",
    ] {
        let found = compile(&rgd(&yaml), &Options::default(), &Anywhere);
        assert!(found.is_ok(), "{yaml}\n{:?}", found.err());
    }
    // What everybody knows is still known.
    let found = compile(&rgd(&reader("${odd.metadata}")), &Options::default(), &Anywhere);
    assert!(found.is_ok(), "{:?}", found.err());
    let found = compile(&rgd(&reader("${schema.spec.nope}")), &Options::default(), &Anywhere).unwrap_err();
    assert!(found[0].message.contains("undefined field 'nope'"), "{found:?}");
}

#[test]
fn more_libraries_are_asked_for() {
    let with = |libraries: &str, text: &str| {
        let x = cm("x", &json!(text).to_string(), "");
        app(&x).replace("uid: r1", &format!("annotations: {{hub.kro.run/cel-libraries: '{libraries}'}}"))
    };
    let (math, sets) = ("${string(math.greatest(schema.spec.n, 2))}", "a-${string(sets.contains([1], [1]))}");
    let mut table = Table::default();
    for (libraries, text, want) in [
        ("math", math, "ok"),
        ("math, sets", sets, "ok"),
        ("", math, "failed to compile"),
        ("sets", math, "failed to compile"),
        (
            "math",
            sets,
            "references unknown identifiers: [sets]; ask for the library with the annotation hub.kro.run/cel-libraries: sets",
        ),
        (
            "maths",
            "v",
            "metadata.annotations[\"hub.kro.run/cel-libraries\"]: there is no CEL library \"maths\": known are math, sets",
        ),
    ] {
        table.verdict(format!("{libraries}: {text}"), &with(libraries, text), want);
    }
    let found = evaluate(&with("math,sets", math), json!({"n": 3}), json!({}));
    table.is("value", found.node("x"), r#""3""#);
}

#[test]
fn what_is_said_of_all_clusters_reads_no_single_one() {
    let with = |status: &str| {
        app(&cm("x", "v", "")).replace("types:", &format!("status: {{a: '{status}'}}\n    types:"))
    };
    check(&with("${kro.clusters.map(c, c.name)}"), &[]);
    check(
        &with("${kro.clusters.size() > 1 ? x.data.k : \"\"}"),
        &["what reads kro.clusters is said once for all clusters, it cannot read x"],
    );
    value("${kro.clusters[0].name}", &["undefined field 'clusters'"]);
}
