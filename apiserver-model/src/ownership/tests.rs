use super::ancient::MAX_UPDATERS;
use super::*;
use crate::managed::{causes, message, resets};
use crate::schema::Schema;

const NOON: &str = "2024-01-01T12:00:00Z";
const ONE: &str = "2024-01-01T13:00:00Z";
const TWO: &str = "2024-01-01T14:00:00Z";

struct World {
    schema: Schema,
    reset: Fields,
    zero: Value,
}

impl World {
    fn new() -> Self {
        let containers = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}},
        });
        let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "replicas": {"type": "integer"}, "paused": {"type": "boolean"},
                "containers": containers, "map": texts,
            }},
            "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
        }});
        let zero = json!({"apiVersion": "x.io/v1", "kind": "App"});
        Self { schema: Schema::of_crd(&schema), reset: resets(true, ""), zero }
    }

    fn apply(
        &self,
        live: Option<&Value>,
        manager: &str,
        spec: Value,
        time: &str,
    ) -> Result<Value, ApplyError> {
        self.send(live, spec, &self.writer(manager, time), false)
    }

    fn force(&self, live: &Value, manager: &str, spec: Value) -> Value {
        self.send(Some(live), spec, &self.writer(manager, TWO), true).unwrap()
    }

    fn send(
        &self,
        live: Option<&Value>,
        spec: Value,
        writer: &Writer<'_>,
        force: bool,
    ) -> Result<Value, ApplyError> {
        let mut applied = object(spec);
        if applied["spec"].is_null() {
            applied.as_object_mut().unwrap().remove("spec");
        }
        apply(live, &applied, writer, force)
    }

    fn update(&self, before: Option<&Value>, after: &Value, manager: &str, time: &str) -> Value {
        update(before, after, &self.writer(manager, time))
    }

    fn writer<'a>(&'a self, manager: &'a str, time: &'a str) -> Writer<'a> {
        let Self { schema, reset, zero } = self;
        Writer { schema, manager, subresource: "", api_version: "x.io/v1", time, reset, zero }
    }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "x.io/v1", "kind": "App", "metadata": {"name": "a"}, "spec": spec})
}

/// What each manager owns, as `manager/operation/hour: fields`.
fn owners(object: &Value) -> Vec<String> {
    let all = entries(object).into_iter().map(|e| {
        let hour = e.time.as_deref().map_or("", |t| &t[11..13]);
        let fields: Vec<_> = e.fields.paths().iter().map(|p| print(p)).collect();
        format!("{} {} {hour}: {}", e.manager, e.operation.name(), fields.join(" "))
    });
    all.collect()
}

#[test]
fn the_first_apply_owns_what_it_says() {
    let made = World::new().apply(None, "a", json!({"replicas": 1, "map": {"x": "1"}}), NOON).unwrap();
    let fields = json!({"f:spec": {"f:replicas": {}, "f:map": {"f:x": {}}}});
    assert_eq!(
        made["metadata"]["managedFields"],
        json!([{
            "manager": "a", "operation": "Apply", "apiVersion": "x.io/v1", "time": NOON,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        }])
    );
}

#[test]
fn the_same_apply_again_changes_nothing() {
    let world = World::new();
    let spec = json!({"replicas": 1, "containers": [{"name": "c", "image": "i"}]});
    let made = world.apply(None, "a", spec.clone(), NOON).unwrap();
    assert_eq!(world.apply(Some(&made), "a", spec, ONE).unwrap(), made);
}

#[test]
fn what_is_applied_no_more_goes_unless_another_owns_it() {
    let world = World::new();
    let both = json!({"replicas": 1, "paused": true, "map": {"x": "1", "y": "2"}});
    let made = world.apply(None, "a", both, NOON).unwrap();
    let shared = world.apply(Some(&made), "b", json!({"paused": true, "map": {"y": "2"}}), ONE).unwrap();
    assert_eq!(shared["spec"], made["spec"]);
    let left = world.apply(Some(&shared), "a", json!({"replicas": 1}), TWO).unwrap();
    assert_eq!(left["spec"], json!({"replicas": 1, "paused": true, "map": {"y": "2"}}));
    assert_eq!(owners(&left), ["b Apply : .spec.paused .spec.map.y", "a Apply 14: .spec.replicas"]);
    let gone = world.apply(Some(&left), "b", json!({}), TWO).unwrap();
    assert_eq!(gone["spec"], json!({"replicas": 1}));
}

#[test]
fn a_manager_with_nothing_left_goes() {
    let world = World::new();
    let made = world.apply(None, "a", json!({"map": {"x": "1"}}), NOON).unwrap();
    let left = world.apply(Some(&made), "a", Value::Null, ONE).unwrap();
    assert_eq!(left, json!({"apiVersion": "x.io/v1", "kind": "App", "metadata": {"name": "a"}}));
    assert_eq!(
        world.force(&made, "b", json!({"map": {"x": "2"}}))["metadata"]["managedFields"][0]["manager"],
        "b"
    );
}

#[test]
fn an_item_of_a_list_goes_with_its_owner() {
    let world = World::new();
    let two = json!({"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]});
    let made = world.apply(None, "a", two, NOON).unwrap();
    let one =
        world.apply(Some(&made), "a", json!({"containers": [{"name": "d", "image": "i"}]}), ONE).unwrap();
    assert_eq!(one["spec"]["containers"], json!([{"name": "d", "image": "i"}]));
    let none = world.apply(Some(&made), "a", json!({"replicas": 1}), ONE).unwrap();
    assert_eq!(none["spec"], json!({"replicas": 1}));
}

#[test]
fn another_value_is_a_conflict() {
    let world = World::new();
    let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
    let mut edited = made.clone();
    edited["spec"]["replicas"] = json!(2);
    let edited = world.update(Some(&made), &edited, "kubectl-edit", ONE);
    assert_eq!(owners(&edited), ["kubectl-edit Update 13: .spec.replicas"]);
    let Err(ApplyError::Conflicts(found)) = world.apply(Some(&edited), "a", json!({"replicas": 1}), TWO)
    else {
        panic!("no conflict")
    };
    assert_eq!(
        message(&found),
        r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using x.io/v1: .spec.replicas"#
    );
    assert_eq!(
        causes(&found),
        json!([{"reason": "FieldManagerConflict", "message": r#"conflict with "kubectl-edit" using x.io/v1"#,
                "field": ".spec.replicas"}])
    );
    // The same value is shared.
    let shared = world.apply(Some(&edited), "a", json!({"replicas": 2}), TWO).unwrap();
    assert_eq!(owners(&shared), ["a Apply : .spec.replicas", "kubectl-edit Update 13: .spec.replicas"]);
    let forced = world.force(&edited, "a", json!({"replicas": 1}));
    assert_eq!(owners(&forced), ["a Apply 14: .spec.replicas"]);
}

#[test]
fn many_conflicts_are_listed_by_manager() {
    let world = World::new();
    let spec = json!({"replicas": 1, "containers": [{"name": "a", "image": "1"}]});
    let made = world.apply(None, "b", spec, NOON).unwrap();
    let made = world.apply(Some(&made), "a", json!({"paused": true}), NOON).unwrap();
    let mine = json!({"replicas": 2, "paused": false, "containers": [{"name": "a", "image": "2"}]});
    let Err(ApplyError::Conflicts(found)) = world.apply(Some(&made), "c", mine, NOON) else {
        panic!("no conflict")
    };
    assert_eq!(
        message(&found),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.paused\nconflicts with \"b\":\n\
         - .spec.replicas\n- .spec.containers[name=\"a\"].image"
    );
}

#[test]
fn an_update_owns_what_it_changed() {
    let world = World::new();
    let made = world.update(None, &object(json!({"replicas": 1, "map": {"x": "1"}})), "c", NOON);
    // A field that was not there before is a member with all that is in it.
    assert_eq!(owners(&made), ["c Update 12: .spec .spec.map .spec.replicas .spec.map.x"]);
    let mut next = made.clone();
    next["spec"] = json!({"replicas": 2, "map": {}});
    next["status"] = json!({"ready": 1});
    let next = world.update(Some(&made), &next, "d", ONE);
    assert_eq!(owners(&next), ["c Update 12: .spec .spec.map", "d Update 13: .spec.replicas"]);
    assert_eq!(world.update(Some(&next), &next, "d", TWO), next);
}

#[test]
fn an_update_that_takes_from_itself_keeps_the_rest() {
    let world = World::new();
    let made = world.update(None, &object(json!({"replicas": 1})), "c", NOON);
    let mut next = made.clone();
    next["spec"]["replicas"] = json!(2);
    let next = world.update(Some(&made), &next, "c", ONE);
    assert_eq!(owners(&next), ["c Update 13: .spec .spec.replicas"]);
}

#[test]
fn managed_fields_in_the_body() {
    let world = World::new();
    let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
    let with = |managed: Value| {
        let mut body = made.clone();
        body["metadata"]["managedFields"] = managed;
        owners(&world.update(Some(&made), &body, "c", ONE))
    };
    // One empty entry takes all away; none at all is no word on them.
    assert_eq!(with(json!([{}])), [""; 0]);
    assert_eq!(with(json!([])), owners(&made));
    assert_eq!(with(Value::Null), owners(&made));
    let other = json!([{"manager": "z", "operation": "Apply", "apiVersion": "x.io/v1", "time": NOON,
                        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    assert_eq!(with(other), ["z Apply 12: .spec.replicas"]);
}

#[test]
fn who_owned_an_object_before_the_first_apply() {
    let world = World::new();
    let live = object(json!({"replicas": 1, "paused": true}));
    let made = world.apply(Some(&live), "a", json!({"replicas": 1}), NOON).unwrap();
    assert_eq!(
        owners(&made),
        ["a Apply : .spec.replicas", "before-first-apply Update 12: .spec .spec.paused .spec.replicas"]
    );
}

#[test]
fn an_object_that_does_not_fit_is_refused() {
    let world = World::new();
    let what =
        "failed to create typed patch object (/a; x.io/v1, Kind=App): .spec.x: field not declared in schema";
    assert_eq!(world.apply(None, "a", json!({"x": 1}), NOON), Err(ApplyError::Typed(what.to_owned())));
}

#[test]
fn more_than_ten_updaters_are_joined() {
    let world = World::new();
    let mut live = world.update(None, &object(json!({"map": {"k": "0"}})), "m00", NOON);
    for i in 1..12 {
        let mut next = live.clone();
        next["spec"]["map"][format!("k{i:02}")] = json!("1");
        live = world.update(Some(&live), &next, &format!("m{i:02}"), &format!("2024-01-01T12:00:{i:02}Z"));
    }
    let all = owners(&live);
    assert_eq!(all.len(), MAX_UPDATERS);
    assert_eq!(all[0], "ancient-changes Update 12: .spec .spec.map .spec.map.k .spec.map.k01 .spec.map.k02");
    assert_eq!(all[1], "m03 Update 12: .spec.map.k03");
}

#[test]
fn applies_come_first_then_the_older() {
    let world = World::new();
    let made = world.update(None, &object(json!({"replicas": 1})), "z", NOON);
    let made = world.apply(Some(&made), "b", json!({"paused": true}), TWO).unwrap();
    let made = world.apply(Some(&made), "a", json!({"map": {"x": "1"}}), TWO).unwrap();
    let made = world.apply(Some(&made), "c", json!({"map": {"y": "1"}}), ONE).unwrap();
    let order: Vec<_> =
        owners(&made).iter().map(|o| o.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(order, ["c", "a", "b", "z"]);
}

#[test]
fn the_status_belongs_to_its_own_endpoint() {
    let world = World::new();
    let made = world.apply(None, "a", json!({"replicas": 1}), NOON).unwrap();
    let mut next = made.clone();
    next["status"] = json!({"ready": 1});
    let reset = resets(true, "status");
    let writer = Writer { subresource: "status", reset: &reset, ..world.writer("a", ONE) };
    let next = update(Some(&made), &next, &writer);
    assert_eq!(owners(&next), ["a Apply 12: .spec.replicas", "a Update 13: .status .status.ready"]);
    assert_eq!(next["metadata"]["managedFields"][1]["subresource"], "status");
}
