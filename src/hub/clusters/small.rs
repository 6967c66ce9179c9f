//! What is kept of Clusters and of their Secrets: there is one of each for every cluster, and of most of their bytes nobody asks.

use crate::spoke::watch::Listed;
use serde_json::{Value, json};

/// Without who applied what: only when anybody last did.
pub(super) fn object(mut value: Value) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let managers = metadata.remove("managedFields");
        let times = managers.as_ref().and_then(Value::as_array).into_iter().flatten();
        // All are written in one form, so the greatest text is the latest.
        if let Some(last) = times.filter_map(|m| m.get("time")?.as_str()).max() {
            metadata.insert("managedFields".into(), json!([{"time": last}]));
        }
    }
    value
}

/// The same of what a watch showed.
pub(super) fn listed(listed: Listed) -> Listed {
    match listed {
        Listed::Object(value) => Listed::Object(object(value)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_applied_what_is_not_kept_and_all_else_is() {
        let managed = json!({"metadata": {"name": "a", "managedFields": [{"manager": "m"}]}, "data": {"managedFields": "x"}});
        let dated = json!({"metadata": {"managedFields": [{"manager": "m", "time": "2026-01-02T00:00:00Z", "fieldsV1": {}},
            {"manager": "n", "time": "2026-01-03T00:00:00Z"}, {"manager": "o", "time": "2026-01-01T00:00:00Z"}]}});
        assert_eq!(object(dated), json!({"metadata": {"managedFields": [{"time": "2026-01-03T00:00:00Z"}]}}));
        let small = json!({"metadata": {"name": "a"}, "data": {"managedFields": "x"}});
        assert_eq!(object(managed.clone()), small);
        let Listed::Object(shown) = listed(Listed::Object(managed)) else { panic!("it was shown") };
        assert_eq!(shown, small);
        assert!(matches!(listed(Listed::Done(3)), Listed::Done(3)));
        assert_eq!(object(json!(null)), json!(null));
    }
}
