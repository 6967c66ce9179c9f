//! JSON that a schema describes, as values.

use super::library::padded;
use super::time;
use super::types::{Identity, Struct, Type};
use super::value::{List, Map, Val, escape_field, exact_int};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::sync::Arc;

/// A converted value, and whether its type changed anything in it.
pub(super) struct Converted {
    pub(super) value: Val,
    changed: bool,
}

/// Converts by type. A value that does not have the form that the schema promises stays as it is. An expression that
/// uses it fails then, and only that one.
pub(super) fn convert(json: &Json, t: &Type) -> Converted {
    let special = match (t, json) {
        (Type::Bytes, Json::String(s)) => padded(s).map(|b| Val::Bytes(Arc::from(b))),
        (Type::Timestamp, Json::String(s)) => time::parse_timestamp(s)
            .or_else(|| time::parse_timestamp(&format!("{s}T00:00:00Z")))
            .map(Val::Timestamp),
        (Type::Duration, Json::String(s)) => time::parse_duration(s).map(Val::Duration),
        (Type::Int, Json::Number(n)) if n.is_f64() => n.as_f64().and_then(exact_int).map(Val::Int),
        (Type::Double, Json::Number(n)) if !n.is_f64() => n.as_f64().map(Val::Double),
        (Type::Optional(inner), json) => return convert(json, inner),
        (Type::List(item), Json::Array(items)) => return list(items, item),
        (Type::Map(_, value), Json::Object(fields)) => return map(json, fields, |_| (&**value, None), false),
        (Type::Struct(s), Json::Object(fields)) => {
            return map(json, fields, |field| (field_type(s, field), identity(s, field)), true);
        }
        _ => None,
    };
    match special {
        Some(value) => Converted { value, changed: true },
        None => Converted { value: Val::from_json(json), changed: false },
    }
}

/// A result for a field of this type: bytes become base64 where the field holds base64.
pub(super) fn for_field(value: Val, field: &Type) -> Val {
    match (field, value) {
        (Type::Bytes, Val::Bytes(b)) => Val::string(STANDARD.encode(b)),
        (field, Val::Optional(Some(inner))) => Val::some(for_field((*inner).clone(), field)),
        (Type::List(item), Val::List(items)) => {
            Val::list(items.iter().map(|v| for_field(v.clone(), item)).collect())
        }
        (Type::Map(_, value), Val::Map(map)) => fields(&map, |_| value),
        (Type::Struct(s), Val::Map(map)) => fields(&map, |name| field_type(s, name)),
        (_, value) => value,
    }
}

fn fields<'t>(map: &Map, type_of: impl Fn(&str) -> &'t Type) -> Val {
    let mut out = map.clone();
    if out.origin.is_none() {
        for (name, value) in &mut out.strings {
            *value = for_field(value.clone(), type_of(name));
        }
    }
    Val::map(out)
}

fn field_type<'t>(s: &'t Struct, name: &str) -> &'t Type {
    s.fields.get(name).or_else(|| s.fields.get(&escape_field(name)?)).unwrap_or(&Type::Dyn)
}

fn identity<'t>(s: &'t Struct, name: &str) -> Option<&'t Arc<Identity>> {
    if s.lists.is_empty() {
        return None;
    }
    s.lists.get(name).or_else(|| s.lists.get(&escape_field(name)?))
}

fn list(items: &[Json], item: &Type) -> Converted {
    let mut changed = false;
    let items = items.iter().map(|json| {
        let converted = convert(json, item);
        changed |= converted.changed;
        converted.value
    });
    let value = Val::list(items.collect());
    Converted { value, changed }
}

fn map<'t>(
    json: &Json,
    fields: &serde_json::Map<String, Json>,
    type_of: impl Fn(&str) -> (&'t Type, Option<&'t Arc<Identity>>),
    is_object: bool,
) -> Converted {
    let mut out = Map { escaped: is_object, ..Map::default() };
    let mut changed = false;
    for (field, value) in fields {
        let (t, identity) = type_of(field);
        if value.is_null() && is_object && *t != Type::Dyn {
            changed = true;
            continue;
        }
        let converted = convert(value, t);
        changed |= converted.changed;
        let value = match (converted.value, identity) {
            (Val::List(items), Some(identity)) => {
                let list = List { items: items.to_vec(), identity: Some(Arc::clone(identity)) };
                Val::List(Arc::new(list))
            }
            (other, _) => other,
        };
        out.strings.insert(Arc::from(field.as_str()), value);
    }
    out.origin = changed.then(|| Arc::new(json.clone()));
    Converted { value: Val::map(out), changed }
}

#[cfg(test)]
mod tests {
    use crate::cel::{Budget, Decls, Program, Scope};
    use serde_json::{Value as Json, json};

    fn answer(source: &str) -> Json {
        let element = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "my-port": {"type": "integer"}, "value": {"type": "string"}}});
        let list = |kind: &str, items: &Json| json!({"type": "array", "x-kubernetes-list-type": kind, "items": items});
        let mut keyed = list("map", &element);
        keyed["x-kubernetes-list-map-keys"] = json!(["name", "my-port"]);
        let schema = json!({"type": "object", "properties": {
            "env": keyed, "other-env": keyed,
            "tags": list("set", &json!({"type": "string"})), "moreTags": list("set", &json!({"type": "string"})),
            "plain": list("atomic", &json!({"type": "string"})),
        }});
        let a = json!({"name": "a", "my-port": 1, "value": "x"});
        let b = json!({"name": "b", "value": "y"});
        let data = json!({
            "env": [a, b], "other-env": [b, a],
            "tags": ["x", "y"], "moreTags": ["y", "x"], "plain": ["y", "x"],
        });
        let mut decls = Decls::new();
        decls.declare_schema("o", &schema);
        let mut scope = Scope::new();
        scope.bind_typed("o", &data, decls.get("o").unwrap());
        let (program, _) = Program::compile_typed(source, &decls).unwrap();
        program.eval(&scope, &Budget::default()).unwrap()
    }

    /// Lists of maps and sets: the list on the left says what equality and `+` mean.
    #[test]
    fn lists_whose_order_means_nothing() {
        for (source, want) in [
            ("o.tags == o.moreTags", json!(true)),
            ("o.tags == ['y', 'x']", json!(true)),
            ("o.tags == ['y', 'z']", json!(false)),
            ("o.tags == ['x']", json!(false)),
            ("['y', 'x'] == o.tags", json!(false)),
            ("o.plain == o.tags", json!(false)),
            ("o.tags + ['y', 'z']", json!(["x", "y", "z"])),
            ("o.plain + ['y']", json!(["y", "x", "y"])),
            ("o.tags + o.plain + ['x']", json!(["x", "y"])),
            ("o.env == dyn(o.other__dash__env)", json!(true)),
            ("o.env != dyn(o.other__dash__env)", json!(false)),
            (
                "dyn(o.env) == [{'name': 'b', 'value': 'y'}, {'name': 'a', 'my-port': 1, 'value': 'z'}]",
                json!(false),
            ),
            (
                "(dyn(o.env) + [{'name': 'a', 'my-port': 1, 'value': 'new'}, {'name': 'a', 'my-port': 2}]).map(e, e.?value)",
                json!(["new", "y", null]),
            ),
            ("(o.env + dyn(o.other__dash__env)).map(e, e.name)", json!(["a", "b"])),
            ("o.env + o.env == dyn(o.other__dash__env)", json!(true)),
            ("o.env.map(e, e.name) == ['b', 'a']", json!(false)),
        ] {
            assert_eq!(answer(source), want, "{source}");
        }
    }

    #[test]
    fn sums_of_nothing() {
        let decls = Decls::new();
        for (source, want) in [
            ("[duration('1s')].filter(x, false).sum() + duration('2s')", json!("2s")),
            ("[1.5].filter(x, false).sum() + 1.5", json!(1.5)),
            ("[1u].filter(x, false).sum() + 1u", json!(1)),
            ("[].sum() + 1", json!(1)),
        ] {
            let (program, _) = Program::compile_typed(source, &decls).unwrap();
            assert_eq!(program.eval(&Scope::new(), &Budget::default()), Ok(want), "{source}");
        }
    }

    /// What kro takes and what it does not, found by comparing generated expressions.
    #[test]
    fn as_kro_does() {
        let mut decls = Decls::new();
        decls.declare("o", crate::cel::Type::Dyn);
        let mut scope = Scope::new();
        scope.bind("o", &json!({"n": 1}));
        for (source, want) in [
            ("optional.of('a').orValue(o.missing)", "\"a\""),
            ("optional.of('a').or(o.missing)", "\"a\""),
            ("optional.none().orValue(o.missing)", "pending: no such key: missing"),
            ("[1.5].filter(x, x > 1)", "[1.5]"),
            ("1.5 > 1", "found no matching overload for '_>_' applied to '(double, int)'"),
            ("o.n[[1]]", "fatal: invalid qualifier type: list"),
            ("dyn('%d').format([1, 2])", "\"1\""),
            ("optional.ofNonZeroValue(optional.none()).hasValue()", "true"),
            ("[false, dyn(1u)].max()", "false"),
            ("['a'].existsOne(x, x == 'a')", "undeclared reference to 'existsOne' (in container '')"),
            ("['a'].existsOne(i, x, x == 'a')", "true"),
        ] {
            let got = match Program::compile_typed(source, &decls) {
                Err(problems) => problems[0].message.clone(),
                Ok((program, _)) => match program.eval(&scope, &Budget::default()) {
                    Ok(value) => value.to_string(),
                    Err(e) if e.is_pending() => format!("pending: {e}"),
                    Err(e) => format!("fatal: {e}"),
                },
            };
            assert_eq!(got, want, "{source}");
        }
    }
}
