//! The model against what a real kube-apiserver answered: `recorded.json.zlib` holds writes with what was stored, and custom
//! resources with their faults.

use apiserver_model::admit::{default, numbers, prune, validate};
use apiserver_model::fields::{Fields, print};
use apiserver_model::managed::{ApplyError, Writer, apply, causes, message, resets, update, zero};
use apiserver_model::schema::{Components, Schema};
use serde_json::{Value, json};

fn unpacked(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(&miniz_oxide::inflate::decompress_to_vec_zlib(bytes).ok()?).ok()
}

fn recorded() -> Option<Value> {
    unpacked(include_bytes!("recorded.json.zlib"))
}

/// The entries of an object: all but the time, of which only counts whether there is one.
fn entries(object: &Value) -> Vec<String> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let one = |entry: &Value| {
        let timed = entry.get("time").is_some();
        let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let fields: Vec<_> = Fields::from_json(&entry["fieldsV1"]).paths().iter().map(|p| print(p)).collect();
        let names = ["manager", "operation", "apiVersion", "subresource"].map(word).join(" ");
        format!("{names} timed={timed} {}", fields.join(" "))
    };
    let mut all: Vec<_> = all.into_iter().flatten().map(one).collect();
    all.sort();
    all
}

#[test]
fn who_owns_what_is_as_recorded() {
    let recorded = recorded().unwrap();
    let kinds = unpacked(include_bytes!("../../src/cli/validate/kubernetes.json.zlib")).unwrap();
    let schemas = &kinds["document"]["components"]["schemas"];
    let components = Components::read(schemas);
    let custom = Schema::of_crd(&recorded["schema"]);
    let writes = recorded["writes"].as_array().unwrap();
    assert!(writes.len() > 40);
    for (index, case) in writes.iter().enumerate() {
        let word = |name: &str| case[name].as_str().unwrap_or_default();
        let real = &case["result"];
        let kind = [&case["sent"], real].iter().find_map(|o| o["kind"].as_str()).unwrap();
        let api_version = word("api");
        let schema = if kind == "App" {
            custom.clone()
        } else {
            let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
            let group = group.split('.').next().unwrap_or_default();
            components.schema(&format!("io.k8s.api.{group}.{version}.{kind}")).unwrap()
        };
        let status = !["ConfigMap", "Secret", "ServiceAccount"].contains(&kind);
        let reset = if status { resets(kind == "App", word("sub")) } else { Fields::default() };
        let zero = zero(api_version, kind);
        let live = Some(&case["live"]).filter(|live| live.is_object());
        let (time, subresource, manager) = ("2030-01-01T00:00:00Z", word("sub"), word("manager"));
        let (schema, reset, zero) = (&schema, &reset, &zero);
        let writer = Writer { schema, manager, subresource, api_version, time, reset, zero };
        let made = if word("op") == "apply" {
            let force = case["force"] == true;
            match apply(live, &case["sent"], &writer, force) {
                Ok(made) => made,
                Err(ApplyError::Conflicts(conflicts)) => {
                    assert_eq!(json!(message(&conflicts)), real["message"], "{index}");
                    assert_eq!(causes(&conflicts), real["details"]["causes"], "{index}");
                    continue;
                }
                Err(other) => panic!("{index}: {other:?}"),
            }
        } else {
            let mut after = real.clone();
            after["metadata"].as_object_mut().unwrap().remove("managedFields");
            update(live, &after, &writer)
        };
        assert_eq!(
            case["code"].as_i64().filter(|code| *code < 300),
            case["code"].as_i64(),
            "{index}: {real}"
        );
        assert_eq!(entries(&made), entries(real), "{index}: {kind} {manager}");
        if kind == "App" {
            let mut made = made;
            default(&mut made, schema);
            assert_eq!(made["spec"], real["spec"], "{index}");
            assert_eq!(made["metadata"]["labels"], real["metadata"]["labels"], "{index}");
        }
    }
}

#[test]
fn the_faults_of_custom_resources_are_as_recorded() {
    for group in recorded().unwrap()["faults"].as_array().unwrap() {
        let schema = Schema::of_crd(&group["schema"]);
        for case in group["objects"].as_array().unwrap() {
            let mut object = json!({"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "a"}, "spec": case["spec"]});
            numbers(&mut object);
            prune(&mut object, &schema);
            default(&mut object, &schema);
            let found = validate(&object, &schema);
            let mut told: Vec<_> =
                found.iter().map(|f| (f.path.as_str(), f.reason, f.message.as_str())).collect();
            let word = |cause: &'static str| move |of: &Value| of[cause].as_str().unwrap().to_owned();
            let causes = case["causes"].as_array().unwrap();
            let real: Vec<_> =
                causes.iter().map(|c| (word("field")(c), word("reason")(c), word("message")(c))).collect();
            let mut real: Vec<_> =
                real.iter().map(|(f, r, m)| (f.as_str(), r.as_str(), m.as_str())).collect();
            // A server walks fields in no order.
            told.sort();
            real.sort();
            assert_eq!(told, real, "{}", case["spec"]);
            if case["stored"].is_object() {
                assert_eq!(object["spec"], case["stored"], "{}", case["spec"]);
            }
        }
    }
}
