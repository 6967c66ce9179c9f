use super::*;
use crate::fixture::schema;

#[test]
fn the_leaves_of_an_object() {
    for (spec, fields) in [
        (json!({"replicas": 1}), json!({"f:replicas": {}})),
        (json!({"labels": {"a": "b"}}), json!({"f:labels": {"f:a": {}}})),
        // An empty map is a leaf; an empty list with keys is nobody's.
        (json!({"labels": {}, "ports": []}), json!({"f:labels": {}})),
        (json!({"labels": null}), json!({"f:labels": {}})),
        (json!({"selector": {"a": "b"}, "args": ["x"]}), json!({"f:selector": {}, "f:args": {}})),
        (json!({"args": []}), json!({"f:args": {}})),
        (json!({"names": ["x", "y"]}), json!({"f:names": {r#"v:"x""#: {}, r#"v:"y""#: {}}})),
        (
            json!({"ports": [{"port": 80, "name": "web"}]}),
            json!({"f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}, "f:name": {}}}}),
        ),
        // What the schema does not name is a member itself.
        (
            json!({"free": {"a": {"b": [1], "c": {}}}}),
            json!({"f:free": {"f:a": {".": {}, "f:b": {}, "f:c": {}}}}),
        ),
    ] {
        let set = Fields::of(&json!({"spec": spec}), &schema()).to_json();
        assert_eq!(set, json!({"f:spec": fields}), "{spec}");
    }
}

#[test]
fn a_set_is_read_as_it_is_written() {
    let written = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}},
        "f:spec": {
            "f:args": {},
            "f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}}},
            "f:names": {"v:1": {}, r#"v:"x""#: {}},
            "f:list": {"i:0": {}},
        },
    });
    let set = Fields::from_json(&written);
    assert_eq!(set.to_json(), written);
    let paths: Vec<_> = set.paths().iter().map(|p| print(p)).collect();
    assert_eq!(
        paths,
        [
            ".metadata.labels",
            ".metadata.labels.a.b/c",
            ".spec.args",
            ".spec.list[0]",
            ".spec.names[=1]",
            ".spec.names[=\"x\"]",
            ".spec.ports[port=80,protocol=\"TCP\"]",
            ".spec.ports[port=80,protocol=\"TCP\"].port",
        ]
    );
    assert!(set.paths().iter().all(|path| set.contains(path)));
}

#[test]
fn sets_are_joined_and_parted() {
    let set = |value: Value| Fields::from_json(&value);
    let a = set(json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}}));
    let b = set(json!({"f:a": {"f:x": {}}, "f:c": {}}));
    assert_eq!(a.union(&b).to_json(), json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}, "f:c": {}}));
    assert_eq!(a.difference(&b).to_json(), json!({"f:a": {".": {}, "f:y": {}}, "f:b": {}}));
    assert_eq!(a.intersection(&b).to_json(), json!({"f:a": {"f:x": {}}}));
    assert_eq!(a.difference_below(&set(json!({"f:a": {}}))).to_json(), json!({"f:b": {}}));
    assert_eq!(b.difference(&a).to_json(), json!({"f:c": {}}));
    assert!(a.difference(&a).is_empty());
}
