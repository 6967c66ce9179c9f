//! What may be said of an error about a Secret: API servers quote the values that they refuse.

use super::client::ApiError;
use crate::api::names::ObjectRef;
use crate::api::text::plain;

/// The error for conditions and logs. Of a Secret only what kind of error it is, and the field.
pub(super) fn text(object: &ObjectRef, error: &ApiError) -> String {
    if !object.gk.group.is_empty() || &*object.gk.kind != "Secret" {
        return plain(&error.to_string());
    }
    let (class, message) = match error {
        ApiError::Invalid { message } => ("the API server refuses the Secret as invalid", message),
        ApiError::FieldNotDeclared { message } => ("the Secret has a field that is not declared", message),
        ApiError::Forbidden { message } => ("forbidden", message),
        ApiError::Conflict { message } => ("conflict", message),
        ApiError::Other { message, .. } => ("the API server cannot take the Secret", message),
        ApiError::Unavailable { .. } => return "the cluster is unavailable".to_owned(),
        // These quote nothing that the API server was sent.
        error => return error.to_string(),
    };
    match field(message) {
        Some(field) => format!("{class}: {field} (values in the answer are not shown)"),
        None => format!("{class} (the answer is not shown, since it may quote values)"),
    }
}

/// The first field path of an API server's message. It stands before the first value that is quoted; what comes after
/// may be anything.
fn field(message: &str) -> Option<&str> {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest);
    let rest = after("Kind=Secret): ").or_else(|| after(" is invalid: "))?;
    let path = rest.split(": ").next()?.trim_start_matches('[');
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/[]".contains(c);
    let known = ["data", "stringData", "metadata", "type", "immutable"];
    let root = path.trim_start_matches('.').split(['.', '[']).next()?;
    (path.chars().all(fits) && known.contains(&root)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::GroupKind;

    #[test]
    fn errors_about_secrets_quote_no_value() {
        let secret = ObjectRef::new(GroupKind::new("", "Secret"), "n", "s");
        let typed = ApiError::Other {
            code: 500,
            message: "failed to create typed patch object (n/s; /v1, Kind=Secret): .data.token: expected string, got \
                      &value.valueUnstructured{Value:hunter2}"
                .into(),
        };
        let invalid = ApiError::Invalid {
            message: "Secret \"s\" is invalid: data[a]: Invalid value: \"hunter2\": too short".into(),
        };
        let several = ApiError::Invalid {
            message: "Secret \"s\" is invalid: [data[a]: Invalid value: \"hunter2\", type: Required value]"
                .into(),
        };
        let decoding = ApiError::Invalid { message: "cannot unmarshal \"hunter2\" into Secret.data".into() };
        let odd = ApiError::Invalid { message: "Secret \"s\" is invalid: hunter2: no".into() };
        for (error, field) in [
            (&typed, Some(": .data.token ")),
            (&invalid, Some(": data[a] ")),
            (&several, Some(": data[a] ")),
            (&decoding, None),
            (&odd, None),
        ] {
            let text = text(&secret, error);
            assert!(!text.contains("hunter2"), "{text}");
            assert_eq!(text.contains(": "), field.is_some(), "{text}");
            assert!(field.is_none_or(|f| text.contains(f)), "{text}");
        }
        assert_eq!(text(&secret, &ApiError::Timeout), "no answer in time");
        let other = ObjectRef::new(GroupKind::new("", "ConfigMap"), "n", "c");
        assert!(text(&other, &invalid).contains("hunter2"));
    }
}
