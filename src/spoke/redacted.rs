//! What may be said of an error about a Secret, or about an object that carries what was read from one: API servers quote
//! the values that they refuse.

use super::client::ApiError;
use crate::api::names::ObjectRef;
use crate::api::text::plain;
use crate::reconcile::spoke::Apply;

/// The error for conditions and logs. Of a Secret only what kind of error it is, and the field.
pub(super) fn text(object: &ObjectRef, error: &ApiError) -> String {
    let known = ["data", "stringData", "metadata", "type", "immutable"];
    if is_secret(object) {
        hidden(object, error, &|root| known.contains(&root))
    } else {
        plain(&error.to_string())
    }
}

/// The same of a write, whose body may carry what was read from a Secret.
pub(super) fn of_apply(apply: &Apply, error: &ApiError) -> String {
    if apply.carries_secret && !is_secret(&apply.object) {
        return hidden(&apply.object, error, &|root| apply.body.get(root).is_some());
    }
    text(&apply.object, error)
}

fn is_secret(object: &ObjectRef) -> bool {
    object.gk.group.is_empty() && &*object.gk.kind == "Secret"
}

fn hidden(object: &ObjectRef, error: &ApiError, known: &dyn Fn(&str) -> bool) -> String {
    let kind = &object.gk.kind;
    let (class, message) = match error {
        ApiError::Invalid { message } => (format!("the API server refuses the {kind} as invalid"), message),
        ApiError::FieldNotDeclared { message } => {
            (format!("the {kind} has a field that is not declared"), message)
        }
        ApiError::Forbidden { message } => ("forbidden".to_owned(), message),
        ApiError::Conflict { message } => ("conflict".to_owned(), message),
        ApiError::Other { message, .. } => (format!("the API server cannot take the {kind}"), message),
        ApiError::Unavailable { .. } => return "the cluster is unavailable".to_owned(),
        // These quote nothing that the API server was sent.
        error => return error.to_string(),
    };
    match field(kind, message, known) {
        Some(field) => format!("{class}: {field} (values in the answer are not shown)"),
        None => format!("{class} (the answer is not shown, since it may quote values)"),
    }
}

/// The first field path of an API server's message. It stands before the first value that is quoted; what comes after
/// may be anything.
fn field<'m>(kind: &str, message: &'m str, known: &dyn Fn(&str) -> bool) -> Option<&'m str> {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest);
    let rest = after(&format!("Kind={kind}): ")).or_else(|| after(" is invalid: "))?;
    let path = rest.split(": ").next()?.trim_start_matches('[');
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/[]".contains(c);
    let root = path.trim_start_matches('.').split(['.', '[']).next()?;
    (path.chars().all(fits) && known(root)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{GroupKind, Gvk};
    use crate::reconcile::spoke::Guard;
    use serde_json::json;

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

    #[test]
    fn errors_about_what_was_read_from_a_secret_quote_no_value() {
        let apply = |carries_secret: bool| Apply {
            object: ObjectRef::new(GroupKind::new("apps", "Deployment"), "n", "d"),
            gvk: Gvk::new("apps", "v1", "Deployment"),
            manager: "m",
            body: json!({"metadata": {"name": "d"}, "spec": {"x": "hunter2"}}),
            guard: Guard::None,
            our_uid: None,
            applyset: String::new(),
            kind: None,
            carries_secret,
        };
        let said = |message: &str| ApiError::Invalid { message: message.into() };
        let refused = said("Deployment.apps \"d\" is invalid: spec.x: Invalid value: \"hunter2\": too short");
        let odd = said("Deployment.apps \"d\" is invalid: hunter2: no");
        let class = "the API server refuses the Deployment as invalid";
        let cases = [
            (&refused, format!("{class}: spec.x (values in the answer are not shown)")),
            (&odd, format!("{class} (the answer is not shown, since it may quote values)")),
            (&ApiError::Timeout, "no answer in time".to_owned()),
        ];
        for (error, want) in cases {
            assert_eq!(of_apply(&apply(true), error), want);
            assert_eq!(of_apply(&apply(false), error), plain(&error.to_string()), "others are told in full");
        }
    }
}
