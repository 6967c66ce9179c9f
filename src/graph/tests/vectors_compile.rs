//! Which definitions compile: the verdicts of kro, row by row. Where ours differs on purpose, the row says so.

use super::table::Table;
use super::{app, cm, free, graph};
use serde_json::json;

/// A resource `x` of this kind with these fields.
fn template(kind: &str, fields: &str) -> String {
    let (api, kind) = kind.rsplit_once('/').unwrap_or(("v1", kind));
    app(&format!("- id: x\n  template: {{apiVersion: {api}, kind: {kind}, metadata: {{name: x}}, {fields}}}"))
}

/// A Deployment with this field of its spec.
fn deployment(field: &str) -> String {
    template("apps/v1/Deployment", &format!("spec: {{{field}}}"))
}

/// A Deployment whose only container has this field.
fn container(field: &str) -> String {
    deployment(&format!("template: {{spec: {{containers: [{{name: c, {field}}}]}}}}"))
}

fn typed(field: &str) -> String {
    template("x.io/v1/Typed", &format!("spec: {{{field}}}"))
}

fn data(text: &str) -> String {
    app(&cm("x", &json!(text).to_string(), ""))
}

/// Anything may stand there.
fn anywhere(text: &str) -> String {
    app(&free("x", &json!(text).to_string(), ""))
}

fn named(name: &str) -> String {
    app(&cm("x", "v", "").replace("name: x", &format!("name: '{name}'")))
}

#[test]
fn types_of_fields() {
    let mut table = Table::default();
    for (row, yaml, want) in [
        (
            "name a-${S.n} (integer)",
            named("a-${schema.spec.n}"),
            "found no matching overload for '_+_' applied to '(string, int)'",
        ),
        (
            "string <- int",
            data("${schema.spec.n}"),
            "expression \"schema.spec.n\" returns type \"int\" but expected \"string\": type kind mismatch: got int, expected string",
        ),
        (
            "int <- float",
            deployment("replicas: '${schema.spec.f}'"),
            "type kind mismatch: got double, expected int",
        ),
        (
            "number <- int",
            typed("number: '${schema.spec.n}'"),
            "type kind mismatch: got int, expected double",
        ),
        ("number <- float", typed("number: '${schema.spec.f}'"), "ok"),
        ("string <- list", data("${schema.spec.l}"), "type kind mismatch: got list(string), expected string"),
        ("string <- dyn", data("${schema.spec.raw.x}"), "ok"),
        ("string <- optional(dyn)", data("${schema.spec.raw.?x}"), "ok"),
        ("string <- optional(string)", data("${schema.spec.?opt}"), "ok"),
        ("string <- null", data("${null}"), "type kind mismatch: got null, expected string"),
        (
            "cond ? null : S.s",
            data("${schema.spec.b ? null : schema.spec.s}"),
            "found no matching overload for '_?_:_' applied to '(bool, null, string)'",
        ),
        ("int-or-string <- bool expression", typed("port: '${schema.spec.b}'"), "ok"),
        ("int-or-string <- int", typed("port: '${schema.spec.n}'"), "ok"),
        (
            "int-or-string <- literal true",
            typed("port: true"),
            "expected string or integer type, got boolean",
        ),
        ("int-or-string <- literals", typed("port: 80"), "ok"),
        ("replicas \"3\"", deployment("replicas: '3'"), "spec.replicas: expected integer type, got string"),
        ("replicas 3.5", deployment("replicas: 3.5"), "expected integer type, got number"),
        ("replicas 3.0", deployment("replicas: 3.0"), "ok"),
        (
            "replicas ${S.s}0",
            deployment("replicas: '${schema.spec.s}0'"),
            "returns type \"string\" but expected \"int\": type kind mismatch: got string, expected int",
        ),
        ("replicas null", deployment("replicas: null"), "ok"),
        (
            "data 5 in a string map",
            app(&cm("x", "5", "")),
            "spec.resources[0].template.data.k: expected string type, got integer; quote it: \"5\"",
        ),
        (
            "unknown field replicaz",
            deployment("replicaz: 3"),
            "template.spec.replicaz: schema not found for field replicaz; did you mean \"replicas\"?",
        ),
        ("S.nope", data("${schema.spec.nope}"), "<input>:1:12: undefined field 'nope'"),
        ("foo.x", data("${foo.x}"), "${foo.x}: references unknown identifiers: [foo]"),
        ("nope(S.s)", data("${nope(schema.spec.s)}"), "undeclared reference to 'nope'"),
        ("schema.status.x", data("${schema.status.x}"), "undefined field 'status'"),
        ("S['my'] on an object", data("${schema.spec['my']}"), "found no matching overload for '_[_]'"),
        ("my__dash__field", data("${schema.spec.my__dash__field}"), "ok"),
        ("`my-field`", data("${schema.spec.`my-field`}"), "undefined field 'my-field'"),
        ("['my-field']", data("${schema.spec['my-field']}"), "found no matching overload for '_[_]'"),
        ("S.for", data("${schema.spec.for}"), "ok"),
        ("S.in", data("${schema.spec.in}"), "failed to compile ${schema.spec.in}: ERROR: <input>:1:"),
    ] {
        table.verdict(row, &yaml, want);
    }
    for field in ["name", "namespace", "uid", "labels", "creationTimestamp", "generation"] {
        table.verdict(field, &anywhere(&format!("${{schema.metadata.{field}}}")), "ok");
    }
    for text in ["${schema.kind}", "${schema.apiVersion}"] {
        table.verdict(text, &data(text), "ok");
    }
}

#[test]
fn types_of_objects_and_lists() {
    let mut table = Table::default();
    for (row, yaml, want) in [
        ("env <- []{name,value}", container("env: '${schema.spec.env}'"), "ok"),
        (
            // kro: field "extra" exists in output but not in expected type
            "env <- with an extra field",
            container("env: '${schema.spec.more}'"),
            "list element: field \"extra\" does not exist there",
        ),
        ("env <- string map", container("env: \"${[{'name': schema.spec.s, 'value': 'x'}]}\""), "ok"),
        (
            "containers <- string map",
            deployment("template: {spec: {containers: \"${[{'name': schema.spec.s, 'image': 'x'}]}\"}}"),
            "list element: field \"args\": type kind mismatch: got string, expected list(string)",
        ),
        (
            "ports <- mixed map",
            template("Service", "spec: {ports: \"${[{'name': schema.spec.s, 'port': 80}]}\"}"),
            "ok",
        ),
        ("ConfigMap.data <- map[string]string", template("ConfigMap", "data: '${schema.spec.m}'"), "ok"),
        (
            "labels <- merge",
            app(&cm("x", "v", "")
                .replace("name: x", "name: x, labels: \"${schema.spec.m.merge({'a':'b'})}\"")),
            "ok",
        ),
        (
            "metadata <- expression",
            app("- {id: x, template: {apiVersion: v1, kind: ConfigMap, metadata: '${schema.metadata}'}}"),
            "metadata field is not a map",
        ),
        // kro refuses these three: neither text nor bytes could be written.
        ("Secret.data <- string", template("Secret", "data: {k: '${schema.spec.s}'}"), "ok"),
        (
            "Secret.data <- base64 string",
            template("Secret", "data: {k: '${base64.encode(bytes(schema.spec.s))}'}"),
            "ok",
        ),
        (
            "Secret.data <- template",
            template("Secret", "data: {k: 'x-${schema.spec.s}'}"),
            "the field holds base64, this text is none",
        ),
        ("Secret.data <- bytes", template("Secret", "data: {k: '${bytes(schema.spec.s)}'}"), "ok"),
        (
            "Secret.data <- dyn",
            template("Secret", "data: {k: '${dyn(base64.encode(bytes(schema.spec.s)))}'}"),
            "ok",
        ),
        (
            "Secret.data <- int",
            template("Secret", "data: {k: '${schema.spec.n}'}"),
            "type kind mismatch: got int, expected bytes",
        ),
    ] {
        table.verdict(row, &yaml, want);
    }
}

/// A collection of ConfigMaps.
fn collection(for_each: &str, name: &str, more: &str) -> String {
    let fields = format!("forEach: [{for_each}]\n{more}");
    app(&cm("x", "v", &fields).replace("name: x", &format!("name: {name}")))
}

const SELECTED: &str = "- {id: ext, externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {selector: {matchLabels: {a: b}}}}}\n";

#[test]
fn collections() {
    let mut table = Table::default();
    for (expression, want) in [
        ("schema.spec.n", "must return a list, got int"),
        ("schema.spec.raw.x", "must return a list, got dyn"),
        ("schema.spec.m", "must return a list, got map(string, string)"),
    ] {
        table.verdict(
            expression,
            &collection(&format!("{{a: '${{{expression}}}'}}"), "'${string(a)}'", ""),
            want,
        );
    }
    for (expression, name) in [
        ("lists.range(schema.spec.n)", "${string(a)}"),
        ("schema.spec.m.map(k, k)", "${a}"),
        ("schema.spec.lists", "${a[0]}"),
        ("schema.spec.ports", "${a.name}"),
    ] {
        table.verdict(
            expression,
            &collection(&format!("{{a: '${{{expression}}}'}}"), &format!("'{name}'"), ""),
            "ok",
        );
    }
    let of_external = SELECTED.to_owned()
        + &cm("x", "v", "forEach: [{a: '${ext}'}]").replace("name: x", "name: '${a.metadata.name}-copy'");
    table.verdict("external collection", &app(&of_external), "ok");

    let one = "{a: '${schema.spec.l}'}";
    let by_namespace =
        cm("x", "v", &format!("forEach: [{one}]")).replace("name: x", "name: x, namespace: '${a}'");
    let in_data = cm("x", "'${a}'", &format!("forEach: [{one}]"));
    for (row, yaml, want) in [
        ("iterator only in data", app(&in_data), "unique resource identity, missing: [a]"),
        ("iterator only in namespace", app(&by_namespace), "ok"),
        (
            "iterator named item",
            collection("{item: '${schema.spec.l}'}", "'${item}'", ""),
            "forEach iterator name \"item\" is a reserved keyword in KRO",
        ),
        (
            "second iterator uses the first",
            collection(&format!("{one}, {{b: '${{[a]}}'}}"), "'${a}${b}'", ""),
            "forEach cannot reference other iterators: [a]",
        ),
        (
            "iterator in includeWhen",
            collection(one, "'${a}'", "includeWhen: ['${a == \"x\"}']"),
            "references unknown identifiers: [a]",
        ),
        (
            "iterator in readyWhen",
            collection(one, "'${a}'", "readyWhen: ['${a == \"x\"}']"),
            "references unknown identifiers: [a]",
        ),
        (
            "collection readyWhen with own id",
            collection(one, "'${a}'", "readyWhen: ['${x[0].data.k == \"x\"}']"),
            "references unknown identifiers: [x]; readyWhen can read each alone",
        ),
        (
            "collection readyWhen with each",
            collection(one, "'${a}'", "readyWhen: ['${each.data.k == \"x\"}']"),
            "ok",
        ),
    ] {
        table.verdict(row, &yaml, want);
    }
}

#[test]
fn conditions() {
    let mut table = Table::default();
    let x = |fields: &str| app(&(cm("other", "v", "") + &cm("x", "v", fields)));
    let external = |fields: &str| {
        let fields: String = fields.lines().map(|l| format!("  {l}\n")).collect();
        app(&format!(
            "- id: ext\n  externalRef: {{apiVersion: v1, kind: ConfigMap, metadata: {{selector: {{}}}}}}\n{fields}"
        ))
    };
    let bb = "- id: bb\n  template: {apiVersion: x.io/v1, kind: Free, metadata: {name: x}}\n";
    let on_free = |condition: &str| app(&format!("{bb}  readyWhen: [\"{condition}\"]\n"));
    for (row, yaml, want) in [
        (
            "readyWhen with schema",
            x("readyWhen: ['${schema.spec.b}']"),
            "references unknown identifiers: [schema]",
        ),
        (
            "readyWhen with another id",
            x("readyWhen: ['${other.data.k == \"v\"}']"),
            "references unknown identifiers: [other]; readyWhen can read x alone",
        ),
        (
            "readyWhen without delimiters",
            x("readyWhen: ['x.data.k == \"v\"']"),
            "only standalone expressions are allowed, got \"x.data.k == \\\"v\\\"\"; write one expression: ${x.data.k == \"v\"}",
        ),
        (
            "readyWhen in a text",
            x("readyWhen: ['is ${x.data.k}']"),
            "only standalone expressions are allowed, got \"is ${x.data.k}\"",
        ),
        (
            "readyWhen string",
            x("readyWhen: ['${x.data.k}']"),
            "must return bool or optional_type(bool), but returns string",
        ),
        (
            "readyWhen bare dyn",
            on_free("${bb.status.ok}"),
            "must return bool or optional_type(bool), but returns dyn",
        ),
        ("readyWhen compares dyn", on_free("${bb.status.foo == 'x'}"), "ok"),
        ("readyWhen optional(bool)", on_free("${optional.of(bb.status.foo == 'x')}"), "ok"),
        (
            "includeWhen with own id",
            x("includeWhen: ['${x.data.k == \"v\"}']"),
            "self references are not allowed",
        ),
        // kro refuses `each` and then evaluates with it; both may be used.
        ("external collection readyWhen each", external("readyWhen: ['${each.data.k == \"v\"}']"), "ok"),
        ("external collection readyWhen own id", external("readyWhen: ['${size(ext) > 0}']"), "ok"),
        (
            "externalRef with forEach",
            external("forEach: [{a: '${schema.spec.l}'}]"),
            "cannot use externalRef with forEach",
        ),
    ] {
        table.verdict(row, &yaml, want);
    }
}

#[test]
fn scopes_names_and_special_kinds() {
    let mut table = Table::default();
    let crd = |label: &str, group: &str| {
        app(&format!(
            "- id: x\n  template: {{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, \
             metadata: {{name: x.y.z, labels: {{a: '{label}'}}}}, spec: {{group: '{group}'}}}}"
        ))
    };
    let cluster = |yaml: String| yaml.replace("kind: App\n", "kind: App\n    scope: Cluster\n");
    for (row, yaml, want) in [
        (
            "CRD, expression in spec",
            crd("x", "${schema.spec.s}"),
            "CEL expressions in CRDs are only supported for metadata fields",
        ),
        ("CRD, expression in labels", crd("${schema.spec.s}", "y.z"), "ok"),
        (
            "cluster instance, ConfigMap without namespace",
            cluster(data("v")),
            "ConfigMap is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped",
        ),
        ("cluster instance, external collection without namespace", cluster(app(SELECTED)), "ok"),
        (
            "cluster instance, external by name without namespace",
            cluster(app("- {id: e, externalRef: {apiVersion: v1, kind: Secret, metadata: {name: s}}}")),
            "Secret is namespaced and must set metadata.namespace",
        ),
        (
            "cluster instance, schema.metadata.namespace",
            cluster(app(
                &cm("x", "v", "").replace("name: x", "name: x, namespace: '${schema.metadata.namespace}'")
            )),
            "undefined field 'namespace'",
        ),
        (
            "Namespace with metadata.namespace",
            app("- {id: x, template: {apiVersion: v1, kind: Namespace, metadata: {name: x, namespace: z}}}"),
            "Namespace is cluster-scoped and must not set metadata.namespace",
        ),
        (
            "label kro.run/x",
            app(&cm("x", "v", "").replace("name: x", "name: x, labels: {kro.run/x: v}")),
            "labels with prefix kro.run/ are reserved for internal use",
        ),
        ("id status", app(&cm("status", "v", "")), "id status is a reserved keyword in KRO"),
        ("id my-cm", app(&cm("my-cm", "v", "")), "naming convention violation: id my-cm"),
        ("duplicate id", app(&(cm("x", "v", "") + &cm("x", "v", ""))), "found duplicate resource IDs x"),
        (
            "runtime in a template",
            data("${runtime.condition(schema, 'Ready').status}"),
            "runtime is only available in status.conditions expressions",
        ),
        (
            "omit() with gate off",
            data("${omit()}"),
            "omit() requires the CELOmitFunction feature gate to be enabled",
        ),
    ] {
        table.verdict(row, &yaml, want);
    }
}

fn status(text: &str) -> String {
    let resources = free("x", "v", "") + &cm("other", "v", "");
    app(&resources).replace("types:", &format!("status: {text}\n    types:"))
}

#[test]
fn the_status() {
    let mut table = Table::default();
    for (text, want) in [
        ("{x: plain}", "status fields without expressions are not supported: [spec.schema.status.x]"),
        ("{x: \"${'a'}\"}", "instance status field must refer to a resource or schema"),
        ("{x: '${schema.spec.s}'}", "ok"),
    ] {
        table.verdict(text, &status(text), want);
    }
    let condition = "runtime.newCondition({type: 'A', status: 'True'})";
    for (row, entries, want) in [
        ("one", format!("[\"${{{condition}}}\"]"), "ok"),
        (
            "duplicate literal type",
            format!("[\"${{{condition}}}\", \"${{{condition}}}\"]"),
            "condition type \"A\" is made by entry 0 already; make it in one entry",
        ),
        (
            "status Yes",
            "[\"${runtime.newCondition({type: 'A', status: 'Yes'})}\"]".into(),
            "status must be True, False or Unknown",
        ),
        (
            "quoted key",
            "[\"${runtime.newCondition({'type': 'A', status: 'True'})}\"]".into(),
            "keys must be bare identifiers (type, status, reason, message)",
        ),
        (
            "self reference",
            "[\"${runtime.newCondition({type: 'A', status: runtime.condition(schema, 'A').status})}\"]"
                .into(),
            "schema has no condition \"A\" to read; it has Ready, InstanceManaged, GraphResolved, ResourcesReady; its own conditions cannot be read",
        ),
        (
            "string result",
            "['${schema.spec.s}']".into(),
            "must return a condition or a list of conditions, but returns string",
        ),
        (
            ".stat",
            "[\"${runtime.newCondition({type: 'A', status: runtime.condition(x, 'Ready').stat})}\"]".into(),
            "did you mean 'status'?",
        ),
        ("overriding Ready", "[\"${runtime.newCondition({type: 'Ready', status: 'True'})}\"]".into(), "ok"),
        (
            "list via map()",
            "[\"${schema.spec.l.map(n, runtime.newCondition({type: n, status: 'True'}))}\"]".into(),
            "ok",
        ),
    ] {
        table.verdict(row, &status(&format!("{{conditions: {entries}}}")), want);
    }
}

#[test]
fn topological_and_apply_order() {
    let orders = |yaml: &str| {
        let graph = graph(yaml);
        let apply: Vec<String> = graph.nodes.iter().map(|n| format!("{} {}", n.id, n.apply_order)).collect();
        apply.join(", ")
    };
    let mut table = Table::default();
    let resources = cm("svc", "'${cm.data.k}'", "")
        + &cm("dep", "'${svc.data.k}'", "")
        + &cm("cm", "v", "")
        + &cm("sec", "v", "");
    table.is("svc(cm), dep(svc), cm, sec", orders(&app(&resources)), "cm 1, svc 2, dep 3, sec 3");
    let exts = SELECTED.replace("id: ext", "id: exts");
    let one =
        "- {id: one, externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: o, namespace: d}}}\n";
    let ns =
        "- {id: ns, template: {apiVersion: v1, kind: Namespace, metadata: {name: '${schema.spec.s}'}}}\n";
    let cm = cm("cm", "v", "").replace("name: cm", "name: cm, namespace: '${ns.metadata.name}'");
    let yaml = app(&format!("{exts}{one}{ns}{cm}")).replace("kind: App\n", "kind: App\n    scope: Cluster\n");
    table.is("cluster scope", orders(&yaml), "exts 2, one 2, ns 1, cm 2");
}
