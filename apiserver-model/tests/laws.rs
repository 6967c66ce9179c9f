//! Laws of server-side apply that hold for any order of writes.

use apiserver_model::admit::validate;
use apiserver_model::fields::{Fields, print};
use apiserver_model::managed::{ApplyError, Writer, apply, resets, update, zero};
use apiserver_model::schema::Schema;
use serde_json::{Map, Value, json};

/// Numbers by a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn some<'a>(&mut self, of: &[&'a str]) -> Vec<&'a str> {
        of.iter().copied().filter(|_| self.roll(2) == 0).collect()
    }

    fn spec(&mut self) -> Value {
        let mut spec = Map::new();
        if self.roll(2) == 0 {
            spec.insert("number".to_owned(), json!(self.roll(2)));
        }
        if self.roll(2) == 0 {
            let fields = self
                .some(&["a", "b", "c"])
                .into_iter()
                .map(|k| (k.to_owned(), json!(self.roll(2).to_string())));
            spec.insert("map".to_owned(), Value::Object(fields.collect()));
        }
        if self.roll(2) == 0 {
            spec.insert("set".to_owned(), json!(self.some(&["a", "b", "c"])));
        }
        if self.roll(2) == 0 {
            let items = self.some(&["a", "b", "c"]).into_iter().map(|name| match self.roll(3) {
                0 => json!({"name": name}),
                image => json!({"name": name, "image": image.to_string()}),
            });
            spec.insert("list".to_owned(), items.collect());
        }
        if self.roll(3) == 0 {
            spec.insert("free".to_owned(), json!({"a": {"b": self.roll(2)}, "l": [self.roll(2)]}));
        }
        // An empty list with keys is owned by nobody, nor is a map that lost its last field to an update: no law holds for
        // these, here and on a server.
        let empty = |value: &Value| *value == json!([]) || *value == json!({});
        spec.retain(|_, value| !empty(value));
        Value::Object(spec)
    }
}

fn schema() -> Schema {
    let item =
        json!({"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}});
    Schema::of_crd(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "number": {"type": "integer"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "list": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}}))
}

fn owned(object: &Value) -> Vec<(String, Fields)> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let one = |e: &Value| (format!("{} {}", e["manager"], e["operation"]), Fields::from_json(&e["fieldsV1"]));
    all.into_iter().flatten().map(one).collect()
}

#[test]
fn laws_hold_for_any_order_of_writes() {
    let (schema, reset, zero) = (schema(), resets(true, ""), zero("x.io/v1", "App"));
    let (schema, reset, zero, api_version, subresource) = (&schema, &reset, &zero, "x.io/v1", "");
    let never = Fields::never_owned();
    let (mut conflicts, mut applies, mut updates) = (0, 0, 0);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut live: Option<Value> = None;
        for turn in 0..20 {
            let manager = ["m", "n", "o"][usize::try_from(dice.roll(3)).unwrap()];
            let time = &format!("2024-01-01T00:00:{turn:02}Z");
            let body = json!({"apiVersion": api_version, "kind": "App", "metadata": {"name": "a"}, "spec": dice.spec()});
            let place = format!("seed {seed}, turn {turn}");
            let writer = Writer { schema, manager, subresource, api_version, time, reset, zero };
            if dice.roll(4) == 0 {
                let mut after = body.clone();
                if let Some(meta) = live.as_ref().and_then(|l| l["metadata"].get("managedFields")) {
                    after["metadata"]["managedFields"] = meta.clone();
                }
                let made = update(live.as_ref(), &after, &writer);
                let mut spec = made.clone();
                spec["metadata"].as_object_mut().unwrap().remove("managedFields");
                assert_eq!(spec, body, "an update stores what it says: {place}");
                assert_eq!(
                    update(Some(&made), &made, &writer),
                    made,
                    "a second update changes nothing: {place}"
                );
                live = Some(made);
                updates += 1;
            } else {
                let force = dice.roll(2) == 0;
                let mine = Fields::of(&body, schema).difference(&never);
                let made = match apply(live.as_ref(), &body, &writer, force) {
                    Ok(made) => made,
                    Err(ApplyError::Conflicts(found)) => {
                        assert!(!force && !found.is_empty(), "{place}");
                        for conflict in &found {
                            assert!(
                                mine.paths().iter().any(|p| print(p) == conflict.path),
                                "{place}: {}",
                                conflict.path
                            );
                        }
                        conflicts += 1;
                        continue;
                    }
                    Err(other) => panic!("{place}: {other:?}"),
                };
                // A map or list that lost all it had is null now: a server refuses that.
                if !validate(&made, schema).is_empty() {
                    continue;
                }
                let me = format!("{manager:?} \"Apply\"");
                let kept =
                    owned(&made).into_iter().find(|(who, _)| *who == me).map(|(_, f)| f).unwrap_or_default();
                assert_eq!(kept, mine, "one owns what one applies: {place}");
                let later = Writer { time: "2025-01-01T00:00:00Z", ..writer };
                assert_eq!(
                    apply(Some(&made), &body, &later, force).as_ref(),
                    Ok(&made),
                    "twice is once: {place}"
                );
                live = Some(made);
                applies += 1;
            }
            let Some(live) = &live else { continue };
            for (who, fields) in owned(live) {
                assert!(!fields.is_empty(), "{place}: {who}");
                assert_eq!(Fields::from_json(&fields.to_json()), fields, "{place}: {who}");
                assert!(fields.intersection(&never).is_empty(), "{place}: {who}");
            }
            // Whatever is there, somebody wrote: unless all owners went, then nobody is told any more.
            if owned(live).is_empty() {
                continue;
            }
            let all = owned(live).into_iter().fold(Fields::default(), |all, (_, fields)| all.union(&fields));
            let orphans = Fields::of(live, schema).difference(&never).difference(&all);
            assert!(orphans.is_empty(), "{place}: {}", orphans.to_json());
        }
    }
    assert!(conflicts > 100 && applies > 100 && updates > 100, "{conflicts} {applies} {updates}");
}
