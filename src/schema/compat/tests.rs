//! Which changes break, which reach the cluster, and which are none.

use super::*;
use crate::api::ResourceGraphDefinition;
use crate::schema::{crd, simple};
use proptest::prelude::*;
use serde_json::json;

/// A CRD around the schema of `spec`.
fn crd_of(spec: Value) -> Value {
    crd_with(spec, json!({"type": "object"}))
}
fn crd_with(spec: Value, status: Value) -> Value {
    let rgd: ResourceGraphDefinition = serde_json::from_value(json!({
        "metadata": {"name": "web", "uid": "u1"},
        "spec": {"schema": {"kind": "WebApp", "apiVersion": "v1alpha1", "shortNames": ["wa"]}},
    }))
    .unwrap();
    crd::generate(&rgd, spec, status)
}
/// Of a single field `a`, by its SimpleSchema.
fn field(text: &str) -> Value {
    crd_of(simple::openapi(&json!({"a": text}), &Value::Null).unwrap())
}
fn fields(spec: Value) -> Value {
    crd_of(simple::openapi(&spec, &Value::Null).unwrap())
}
fn with(mut crd: Value, pointer: &str, value: Value) -> Value {
    *crd.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    crd
}
fn without(mut crd: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    crd.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(key).expect(pointer);
    crd
}
fn breaking(old: &Value, new: &Value) -> Vec<String> {
    compare(old, new).breaking.into_iter().map(|b| b.text).collect()
}

#[test]
fn changes_of_a_field() {
    const STR: &str = "string";
    // Old, new, and the one breaking or compatible change.
    let breaks = [
        (STR, "integer", "Type of spec.a was changed from string to integer"),
        (STR, "[]string", "Type of spec.a was changed from string to array"),
        (STR, "string | required=true", "Property spec.a is newly required"),
        (STR, "string | pattern=a", "Pattern a of spec.a was added"),
        ("string | pattern=a", "string | pattern=b", "Pattern of spec.a was changed from a to b"),
        ("string | enum=a,b", "string | enum=a", "Enum value b of spec.a was removed"),
        ("integer", "integer | minimum=1", "minimum 1 of spec.a was added"),
        ("integer | minimum=1", "integer | minimum=2", "minimum of spec.a was changed from 1 to 2"),
        ("integer", "integer | maximum=1", "maximum 1 of spec.a was added"),
        ("integer | maximum=2", "integer | maximum=1", "maximum of spec.a was changed from 2 to 1"),
        (STR, "string | minLength=1", "minLength 1 of spec.a was added"),
        (STR, "string | maxLength=1", "maxLength 1 of spec.a was added"),
        ("string | maxLength=2", "string | maxLength=1", "maxLength of spec.a was changed from 2 to 1"),
        ("[]string", "[]string | minItems=1", "minItems 1 of spec.a was added"),
        ("[]string | maxItems=2", "[]string | maxItems=1", "maxItems of spec.a was changed from 2 to 1"),
        ("[]string", "[]integer", "Type of spec.a[] was changed from string to integer"),
    ];
    for (old, new, expected) in breaks {
        assert_eq!(breaking(&field(old), &field(new)), [expected], "{old} -> {new}");
    }
    let reaches = [
        (STR, "string | description=x", "Description of spec.a was changed"),
        ("string | enum=a", "string | enum=a,b", "Enum value b of spec.a was added"),
        ("string | pattern=a", STR, "Pattern a of spec.a was removed"),
        ("integer | minimum=2", "integer | minimum=1", "minimum of spec.a was changed from 2 to 1"),
        ("integer | minimum=2", "integer", "minimum 2 of spec.a was removed"),
        ("integer | maximum=1", "integer | maximum=2", "maximum of spec.a was changed from 1 to 2"),
        ("string | maxLength=1", STR, "maxLength 1 of spec.a was removed"),
        ("string | required=true", STR, "Property spec.a is no longer required"),
        // kro does not see these, and the CRD would stay as it was.
        (STR, "string | enum=a", "Enum of spec.a was added"),
        ("string | enum=a", STR, "Enum of spec.a was removed"),
        (STR, "string | immutable=true", "x-kubernetes-validations of spec.a was changed"),
        ("[]string", "[]string | uniqueItems=true", "x-kubernetes-list-type of spec.a was changed"),
        ("map[string]string", "map[string]integer", "Type of spec.a.* was changed from string to integer"),
        ("map[string]string", "object", "Schema of the values of spec.a was changed"),
    ];
    for (old, new, expected) in reaches {
        let changes = compare(&field(old), &field(new));
        assert!(changes.breaking.is_empty(), "{old} -> {new}: {changes:?}");
        assert!(changes.compatible.iter().any(|text| text == expected), "{old} -> {new}: {changes:?}");
    }
}

#[test]
fn changes_of_properties() {
    let one = fields(json!({"a": "string"}));
    assert_eq!(breaking(&one, &fields(json!({}))), ["Property spec.a was removed"]);
    let with_optional = fields(json!({"a": "string", "b": "string"}));
    assert_eq!(compare(&one, &with_optional).compatible, ["Optional property spec.b was added"]);
    let with_required = fields(json!({"a": "string", "b": "string | required=true"}));
    assert_eq!(breaking(&one, &with_required), ["Required property spec.b was added without a default"]);
    let defaulted = fields(json!({"a": "string", "b": "string | required=true default=x"}));
    assert_eq!(compare(&one, &defaulted).compatible, ["Required property spec.b was added, with a default"]);
    assert_eq!(breaking(&defaulted, &with_required), ["Default of required property spec.b was removed"]);
    assert_eq!(
        breaking(&fields(json!({"a": {"b": {"c": "string"}}})), &fields(json!({"a": {"b": {}}}))),
        ["Property spec.a.b.c was removed"]
    );
    let status = |properties: Value| crd_with(json!({}), json!({"type": "object", "properties": properties}));
    assert_eq!(
        breaking(&status(json!({"ip": {"type": "string"}})), &status(json!({}))),
        ["Property status.ip was removed"]
    );
    let list = |items: Value| crd_of(json!({"type": "array", "items": items}));
    assert_eq!(
        breaking(
            &list(json!({"type": "string"})),
            &without(list(json!({})), "/spec/versions/0/schema/openAPIV3Schema/properties/spec/items")
        ),
        ["Schema of the items of spec was removed"]
    );
}

#[test]
fn changes_around_the_schema() {
    let crd = field("string");
    let v = "/spec/versions/0";
    let table = [
        (
            with(crd.clone(), &format!("{v}/name"), json!("v1")),
            Some("Version was changed from v1alpha1 to v1"),
            None,
        ),
        (with(crd.clone(), &format!("{v}/served"), json!(false)), Some("Version is no longer served"), None),
        (
            without(crd.clone(), &format!("{v}/subresources/status")),
            Some("Status subresource was removed"),
            None,
        ),
        (
            with(crd.clone(), "/spec/scope", json!("Cluster")),
            Some("Scope was changed from Namespaced to Cluster"),
            None,
        ),
        (
            with(crd.clone(), "/spec/names/kind", json!("Webapp")),
            Some("Kind was changed from WebApp to Webapp"),
            None,
        ),
        (without(crd.clone(), "/spec/names/shortNames"), None, Some("Short names were changed")),
        (crd::for_hub(&crd, true), None, Some("Printer columns were changed")),
        (
            with(crd.clone(), "/metadata/labels/kro.run~1resource-graph-definition-id", json!("u2")),
            None,
            Some("Label kro.run/resource-graph-definition-id was set to u2"),
        ),
    ];
    for (new, breaks, reaches) in table {
        let changes = compare(&crd, &new);
        let texts: Vec<&str> = changes.breaking.iter().map(|b| b.text.as_str()).collect();
        assert_eq!(texts, Vec::from_iter(breaks));
        assert_eq!(changes.compatible, Vec::from_iter(reaches));
    }
    let mut two = crd.clone();
    let copy = two["spec"]["versions"][0].clone();
    two["spec"]["versions"].as_array_mut().unwrap().push(copy);
    assert_eq!(
        breaking(&two, &crd),
        ["The CRD must have exactly one version, there are 2 in the cluster and 1 wanted"]
    );
}

/// A CRD as the API server returns it.
fn live(mut crd: Value) -> Value {
    crd["metadata"]["uid"] = json!("1234");
    crd["metadata"]["generation"] = json!(3);
    crd["metadata"]["resourceVersion"] = json!("99");
    crd["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    crd["metadata"]["managedFields"] = json!([{"manager": "kro-hub"}]);
    crd["metadata"]["labels"]["team"] = json!("platform");
    crd["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
    crd["spec"]["conversion"] = json!({"strategy": "None"});
    crd["spec"]["preserveUnknownFields"] = json!(false);
    crd["status"] =
        json!({"storedVersions": ["v1alpha1"], "conditions": [{"type": "Established", "status": "True"}]});
    crd
}

#[test]
fn what_the_api_server_adds_is_no_change() {
    let crd = fields(json!({
        "a": "string | default=x enum=x,y pattern=^.$ description=d",
        "b": "[]string | uniqueItems=true minItems=0",
        "c": "map[string]integer | default={}",
        "d": r#"float | minimum=0.50 default=1.0 validation="self > 0""#,
        "e": "object",
    }));
    assert!(compare(&live(crd.clone()), &crd).is_empty());
    // A list kind that was left out, an older writer, blanks that are dropped.
    let mut wanted = without(crd.clone(), "/spec/names/listKind");
    wanted["spec"]["names"]["categories"] = json!([]);
    wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"] = json!([]);
    wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = json!("");
    wanted["spec"]["versions"][0]["additionalPrinterColumns"][0]["priority"] = json!(0);
    let older = with(live(crd), "/metadata/labels/kro.run~1kro-version", json!("v0.9.3"));
    assert_eq!(compare(&older, &wanted), Changes::default());
}

#[test]
fn numbers_are_compared_by_value() {
    let spec = |default: Value, minimum: Value| {
        crd_of(
            json!({"type": "object", "properties": {"a": {"type": "number", "default": default, "minimum": minimum}}}),
        )
    };
    assert!(
        compare(&spec(json!(0.5), json!(1)), &spec(serde_json::from_str("0.50").unwrap(), json!(1.0)))
            .is_empty()
    );
    let nested = |n: Value| crd_of(json!({"type": "object", "default": {"x": [n]}}));
    assert!(compare(&nested(json!(1)), &nested(json!(1.0))).is_empty());
    let (big, bigger) = (json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_993_i64));
    assert_eq!(compare(&nested(big), &nested(bigger)).compatible.len(), 1);
}

#[test]
fn taking_over_from_kro_only_adds_the_mark_for_the_fleet() {
    let ours = field("string | default=x");
    let kros = without(
        ours.clone(),
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/x-kubernetes-preserve-unknown-fields",
    );
    let mark = "x-kubernetes-preserve-unknown-fields of status was changed";
    assert_eq!(compare(&live(kros.clone()), &ours).compatible, [mark]);
    // And the way back breaks nothing.
    assert_eq!(breaking(&live(ours), &kros), [""; 0]);
}

#[test]
fn a_refusal_names_three_changes_and_the_way_out() {
    let old = fields(json!({"a": "string", "b": "string", "c": "string", "d": "string", "e": "string"}));
    let left = |names: &[&str]| {
        fields(names.iter().map(|n| (*n).to_owned()).zip(std::iter::repeat(json!("string"))).collect())
    };
    assert_eq!(refusal("webapps.kro.run", &compare(&old, &old)), None);
    assert_eq!(refusal("webapps.kro.run", &compare(&left(&["a"]), &old)), None);
    insta::assert_snapshot!(refusal("webapps.kro.run", &compare(&old, &left(&["a"]))).unwrap(), @r#"cannot update CRD webapps.kro.run: breaking changes detected: Property spec.b was removed; Property spec.c was removed; Property spec.d was removed; and 1 more changes. To update it all the same, set the annotation kro.run/allow-breaking-changes: "true" on the ResourceGraphDefinition; existing instances are not migrated"#);
    let three = refusal("webapps.kro.run", &compare(&old, &left(&["a", "b"]))).unwrap();
    assert!(!three.contains("more changes"), "{three}");
}

#[test]
fn a_description_stays_short() {
    let old = field("string");
    let new = field(&format!("string | pattern={}", "a".repeat(5000)));
    assert!(refusal("webapps.kro.run", &compare(&old, &new)).unwrap().len() < 500);
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just("string"),
        Just("string | default=a"),
        Just("string | required=true"),
        Just("integer | minimum=1 maximum=9"),
        Just("float | default=0.5"),
        Just("[]string | maxItems=3"),
        Just("map[string]float | default={\"x\":1.0}"),
        Just("string | enum=a,b"),
        Just("object"),
    ]
    .prop_map(|text| json!(text));
    leaf.prop_recursive(4, 20, 4, |inner| {
        proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| json!(map))
    })
    .prop_filter("a map", Value::is_object)
    .prop_map(|spec| simple::openapi(&spec, &Value::Null).unwrap())
}

proptest! {
    #[test]
    fn the_same_is_no_change(schema in schema()) {
        let crd = crd_of(schema);
        prop_assert!(compare(&live(crd.clone()), &crd).is_empty());
    }

    /// Whatever differs is seen, or it would never reach the cluster.
    #[test]
    fn every_difference_is_seen(old in schema(), new in schema()) {
        let changes = compare(&crd_of(old.clone()), &crd_of(new.clone()));
        prop_assert_eq!(changes.is_empty(), old == new);
    }

    #[test]
    fn anything_can_be_compared(old in any::<i64>(), text in any::<String>(), schema in schema()) {
        for strange in [json!(null), json!(old), json!(text), json!([text]), json!({"spec": {"versions": [text]}})] {
            prop_assert!(!compare(&strange, &crd_of(schema.clone())).is_empty());
            compare(&crd_of(schema.clone()), &strange);
        }
    }
}

/// What comes of `old` -> `new`, both SimpleSchema of the spec, with instances of these specs.
fn concluded(old: Value, new: Value, specs: &[Value]) -> Conclusion {
    let changes = compare(&fields(old), &fields(new));
    let mut look = Look::new(&changes.breaking);
    for (n, spec) in specs.iter().enumerate() {
        look.at(&json!({"metadata": {"namespace": "n", "name": format!("i{n}")}, "spec": spec}), None);
    }
    look.conclude("webapps.kro.run", false)
}

#[test]
fn a_change_breaks_only_what_is_there() {
    let (a, ab) = (json!({"a": "string"}), json!({"a": "string", "b": "string"}));
    let defaulted = json!({"a": "string", "b": "string | default=x"});
    let nested = json!({"a": "string", "b": {"c": "string | default=x", "d": "integer"}});
    // Old, new, specs that let it pass, specs that do not.
    let cases = [
        (&ab, &a, vec![json!({"a": "1"}), json!({"b": null})], vec![json!({"b": ""})]),
        (&defaulted, &a, vec![json!({"a": "1", "b": "x"})], vec![json!({"b": "y"})]),
        (&nested, &a, vec![json!({"b": {"c": "x"}}), json!({})], vec![json!({"b": {"c": "x", "d": 1}})]),
        (
            &json!({"a": "string | enum=p,q"}),
            &json!({"a": "string | enum=p"}),
            vec![json!({"a": "p"})],
            vec![json!({"a": "q"})],
        ),
        (
            &json!({"a": "integer | maximum=9"}),
            &json!({"a": "integer | maximum=5"}),
            vec![json!({"a": 5})],
            vec![json!({"a": 6})],
        ),
        (
            &json!({"a": "string"}),
            &json!({"a": "string | maxLength=2"}),
            vec![json!({"a": "ää"})],
            vec![json!({"a": "abc"})],
        ),
        (
            &json!({"a": "[]string"}),
            &json!({"a": "[]string | minItems=1"}),
            vec![json!({"a": ["x"]})],
            vec![json!({"a": []})],
        ),
        (&a, &json!({"a": "string | required=true"}), vec![json!({"a": "x"})], vec![json!({})]),
        (&a, &json!({"a": "integer"}), vec![json!({})], vec![json!({"a": "x"})]),
    ];
    for (old, new, passing, broken) in cases {
        let of = |specs: &[Value]| concluded(old.clone(), new.clone(), specs);
        assert_eq!(of(&[]), Conclusion::Update, "{old} -> {new}, nothing stored");
        assert_eq!(of(&passing), Conclusion::Update, "{old} -> {new}, {passing:?}");
        let all: Vec<Value> = passing.iter().chain(&broken).cloned().collect();
        let Conclusion::Refused(why) = of(&all) else { panic!("{old} -> {new}, {broken:?}") };
        assert!(why.contains(&format!("(concerns n/i{})", passing.len())), "{why}");
    }
}

/// What an instance is told to be comes after its CRD: the earlier words that are still there do not stand in the way.
#[test]
fn what_an_instance_is_told_to_lose_stands_in_nobodys_way() {
    let with = |more: &str| fields(json!({"a": "string", "b": more}));
    let without = fields(json!({"a": "string"}));
    let live = json!({"metadata": {"name": "i"}, "spec": {"a": "1", "b": "x"}});
    for (case, old, new, told, passes) in [
        ("it loses the field", with("string"), without.clone(), json!({"a": "1"}), true),
        ("it keeps it", with("string"), without.clone(), json!({"a": "2", "b": "y"}), false),
        (
            "it goes where it may",
            with("string | enum=\"x,y\""),
            with("string | enum=\"y\""),
            json!({"b": "y"}),
            true,
        ),
        (
            "it stays where it may not",
            with("string | enum=\"x,y\""),
            with("string | enum=\"y\""),
            json!({"b": "x"}),
            false,
        ),
    ] {
        let changes = compare(&old, &new);
        let mut look = Look::new(&changes.breaking);
        look.at(&live, Some(&told));
        let mut untold = Look::new(&changes.breaking);
        untold.at(&live, None);
        assert_ne!(untold.conclude("x", false), Conclusion::Update, "{case}");
        assert_eq!(look.conclude("x", false) == Conclusion::Update, passes, "{case}");
    }
}

/// A write may be served by the schema of before, a moment after the CRD was changed: it stores the default of a field that
/// is gone, which a field of that name would show again.
#[test]
fn what_nobody_owns_was_set_by_nobody() {
    let (old, new) = (fields(json!({"a": "string", "b": "object"})), fields(json!({"a": "string"})));
    let changes = compare(&old, &new);
    let concluded = |fields: &[Value]| {
        let records: Vec<Value> = fields.iter().map(|f| json!({"manager": "m", "fieldsV1": f})).collect();
        let mut look = Look::new(&changes.breaking);
        look.at(
            &json!({"metadata": {"name": "i", "managedFields": records}, "spec": {"a": "1", "b": "x"}}),
            None,
        );
        look.conclude("x", false) == Conclusion::Update
    };
    let (labels, a) = (json!({"f:metadata": {"f:labels": {}}}), json!({"f:spec": {".": {}, "f:a": {}}}));
    let both = json!({"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}});
    for (records, passes) in [
        (vec![a.clone()], true),
        (vec![labels.clone(), a.clone()], true),
        (vec![a.clone(), both], false),
        (vec![a, json!({"f:spec": {"f:b": {}}})], false),
        // Owned as a whole; and nothing is known of who owns it.
        (vec![json!({"f:spec": {}})], false),
        (vec![labels], false),
        (Vec::new(), false),
    ] {
        assert_eq!(concluded(&records), passes, "{records:?}");
    }
}

#[test]
fn what_the_status_showed_is_no_reason_to_keep_a_field() {
    let status = |fields: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|f| ((*f).to_owned(), json!({"type": "string"}))).collect();
        crd_with(json!({"type": "object"}), json!({"type": "object", "properties": properties}))
    };
    let changes = compare(&status(&["a", "b"]), &status(&["a"]));
    let mut look = Look::new(&changes.breaking);
    look.at(&json!({"metadata": {"name": "i"}, "status": {"b": "x"}}), None);
    assert_eq!((changes.breaking.len(), look.conclude("x", false)), (1, Conclusion::Update));
}

#[test]
fn another_api_is_replaced_where_nothing_is_left_of_it() {
    let (old, new) = (field("string"), with(field("string"), "/spec/names/kind", json!("WebAPP")));
    let changes = compare(&old, &new);
    assert_eq!(Look::new(&changes.breaking).conclude("x", false), Conclusion::Replace);
    for allowed in [false, true] {
        let mut look = Look::new(&changes.breaking);
        look.at(&json!({"metadata": {"name": "i"}}), None);
        let refused = look.conclude("x", allowed);
        assert!(matches!(&refused, Conclusion::Refused(why) if why.contains("delete them")), "{refused:?}");
        assert!(matches!(Look::blind(&changes.breaking).conclude("x", allowed), Conclusion::Refused(_)));
    }
}

#[test]
fn what_cannot_be_looked_at_may_carry_anything_and_a_long_list_is_not_read_to_its_end() {
    let changes = compare(&fields(json!({"a": "string", "b": "string"})), &field("string"));
    assert!(matches!(Look::blind(&changes.breaking).conclude("x", false), Conclusion::Refused(_)));
    assert_eq!(Look::blind(&changes.breaking).conclude("x", true), Conclusion::Update);
    let mut look = Look::new(&changes.breaking);
    let mut read = 0;
    while !look.is_decided() {
        look.at(&json!({"metadata": {"name": format!("i{read}")}, "spec": {"b": "x"}}), None);
        read += 1;
    }
    let Conclusion::Refused(why) = look.conclude("x", false) else { panic!() };
    assert!(read == 4 && why.contains("(concerns i0, i1, i2 and others)"), "{read} {why}");
}
