//! A null in an override takes a field out. `kubectl apply` without `--server-side` drops each null on its way, and Argo CD
//! does so by default. What was applied stands in an annotation that they leave: where an override is as it says but for the
//! nulls, these are read from there.

use crate::api::Object;
use crate::api::placement::Override;
use serde_json::Value;

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Puts back what was dropped.
pub(super) fn restore(object: &Object, overrides: &mut [Override]) {
    let applied = object.annotation(APPLIED).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let applied = applied.as_ref().and_then(|applied| applied.pointer("/spec/overrides")?.as_array());
    for (written, applied) in overrides.iter_mut().zip(applied.into_iter().flatten()) {
        if let Some(spec) = applied.get("spec").filter(|spec| without(spec) == written.spec) {
            written.spec = spec.clone();
        }
    }
}

fn without(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key.clone(), without(value))).collect()
        }
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(without).collect(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_that_were_dropped_on_the_way_come_back_and_nothing_else_does() {
        let both = json!([{"spec": {"a": null, "b": {"c": null, "d": 1}}}, {"spec": {"e": null}}]);
        let dropped = json!([{"spec": {"b": {"d": 1}}}, {"spec": {}}]);
        let cases = [
            ("both were dropped", Some(&both), dropped.clone(), both.clone()),
            ("none was", Some(&both), both.clone(), both.clone()),
            ("nothing says so", None, dropped.clone(), dropped.clone()),
            (
                "one was edited since",
                Some(&both),
                json!([{"spec": {"b": {"d": 2}}}, {"spec": {}}]),
                json!([{"spec": {"b": {"d": 2}}}, {"spec": {"e": null}}]),
            ),
            (
                "one was taken out since",
                Some(&both),
                json!([{"spec": {"e": 1}}]),
                json!([{"spec": {"e": 1}}]),
            ),
            ("all were", Some(&both), json!([]), json!([])),
        ];
        for (case, applied, written, wanted) in cases {
            let text = applied.map(|overrides| json!({"spec": {"overrides": overrides}}).to_string());
            let object = Object(json!({"metadata": {"name": "p", "annotations": {APPLIED: text}}}));
            let mut overrides: Vec<Override> = serde_json::from_value(written).unwrap();
            restore(&object, &mut overrides);
            assert_eq!(json!(overrides), wanted, "{case}");
        }
        let object = Object(json!({"metadata": {"name": "p", "annotations": {APPLIED: "no JSON"}}}));
        restore(&object, &mut [Override::default()]);
    }
}
