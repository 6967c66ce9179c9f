//! What Kubernetes lets a name, a namespace and a label be.
//!
//! Each rule says why a text breaks it, and leaves the text out: a computed name may hold a secret.

use super::names::GroupKind;

type Verdict = Result<(), &'static str>;

/// Judges the name of an object. A name must be fit as a segment of a path. Some kinds ask for more; what is known of
/// them counts.
///
/// # Errors
/// Why no object of the kind can have this name.
pub fn object(gk: &GroupKind, name: &str) -> Verdict {
    path_segment(name)?;
    if asks_for_dns(gk) { subdomain(name) } else { Ok(()) }
}

/// Kinds whose names are DNS subdomains for certain. Other kinds have rules of their own: `system:node` is a good
/// ClusterRole, `2001:db8::1` a good IPAddress.
fn asks_for_dns(gk: &GroupKind) -> bool {
    match &*gk.group {
        "" => &*gk.kind != "Event",
        "apps" | "batch" | "autoscaling" | "policy" => true,
        group => [super::keys::kro::GROUP, super::keys::hub::GROUP].contains(&group),
    }
}

/// Judges one segment of a path.
fn path_segment(text: &str) -> Verdict {
    match text {
        "" => Err("it is empty"),
        "." | ".." => Err("it is a step in a path, not a name"),
        _ if text.contains('/') => Err("it contains /"),
        _ if text.contains('%') => Err("it contains %"),
        _ if text.chars().any(char::is_control) => Err("it contains a control character"),
        _ => Ok(()),
    }
}

/// # Errors
/// Why no namespace can have this name.
pub fn namespace(text: &str) -> Verdict {
    path_segment(text)?;
    if text.len() > 63 {
        return Err("it has more than 63 characters");
    }
    label_of_dns(text)
}

/// RFC 1123 label: at most 63 of `a-z0-9-`, not starting or ending with `-`.
pub fn is_dns_label(text: &str) -> bool {
    namespace(text).is_ok()
}

/// RFC 1123 subdomain as Kubernetes reads it: labels joined by dots, at most 253 characters; one label may be as long
/// as that.
pub fn is_dns_subdomain(text: &str) -> bool {
    subdomain(text).is_ok()
}

fn subdomain(text: &str) -> Verdict {
    if text.len() > 253 {
        return Err("it has more than 253 characters");
    }
    text.split('.').try_for_each(label_of_dns)
}

fn label_of_dns(text: &str) -> Verdict {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("it has upper case letters; it may have lower case letters, digits, - and .");
    }
    if !text.bytes().all(inside) {
        return Err("it may have lower case letters, digits, - and . only");
    }
    if text.is_empty() || text.starts_with('-') || text.ends_with('-') {
        return Err("it must begin and end with a letter or a digit, on both sides of each dot too");
    }
    Ok(())
}

/// # Errors
/// Why this can be no key of a label.
pub fn label_key(key: &str) -> Verdict {
    let name = match key.split_once('/') {
        Some(("", _)) => return Err("nothing stands before /"),
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return Err("what stands before / is no DNS name"),
        None => key,
    };
    if name.is_empty() { Err("it has no name") } else { label_text(name) }
}

/// # Errors
/// Why this can be no value of a label.
pub fn label_value(value: &str) -> Verdict {
    if value.is_empty() { Ok(()) } else { label_text(value) }
}

fn label_text(text: &str) -> Verdict {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if text.len() > 63 {
        return Err("it has more than 63 characters");
    }
    if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)) {
        return Err("it may have letters, digits, -, _ and . only");
    }
    if !ends(bytes.first()) || !ends(bytes.last()) {
        return Err("it must begin and end with a letter or a digit");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_kind() {
        let (long, too_long) = ("a".repeat(253), "a".repeat(254));
        let cases = [
            // Name, a ConfigMap, a ClusterRole.
            ("a", true, true),
            ("a-1.b-2", true, true),
            (long.as_str(), true, true),
            (too_long.as_str(), false, true),
            ("system:node", false, true),
            ("Upper", false, true),
            ("with blank", false, true),
            ("-a", false, true),
            ("a.-b", false, true),
            ("a..b", false, true),
            ("", false, false),
            (".", false, false),
            ("..", false, false),
            ("...", false, true),
            ("a/b", false, false),
            ("x%2fy", false, false),
            ("a\nb", false, false),
            ("ä", false, true),
        ];
        for (name, map, role) in cases {
            let of = |group, kind| object(&GroupKind::new(group, kind), name).is_ok();
            assert_eq!(of("", "ConfigMap"), map, "{name:?}");
            assert_eq!(of("kro.run", "App"), map, "{name:?}");
            assert_eq!(of("rbac.authorization.k8s.io", "ClusterRole"), role, "{name:?}");
        }
    }

    #[test]
    fn namespaces() {
        let (long, too_long) = ("a".repeat(63), "a".repeat(64));
        for (text, good) in [
            ("default", true),
            ("1", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("a.b", false),
            ("a/b", false),
            ("..", false),
            ("A", false),
            ("", false),
            ("a-", false),
        ] {
            assert_eq!(namespace(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn labels() {
        let (long, too_long) = ("a".repeat(63), "a".repeat(64));
        for (text, key, value) in [
            ("app", true, true),
            ("App_1.x-y", true, true),
            ("", false, true),
            (long.as_str(), true, true),
            (too_long.as_str(), false, false),
            ("bad key!", false, false),
            ("-a", false, false),
            ("a.", false, false),
            ("app.kubernetes.io/name", true, false),
            ("/name", false, false),
            ("x.io/", false, false),
            ("Upper.io/name", false, false),
            ("a/b/c", false, false),
            ("a,b", false, false),
            ("a in (b)", false, false),
        ] {
            assert_eq!(label_key(text).is_ok(), key, "key {text:?}");
            assert_eq!(label_value(text).is_ok(), value, "value {text:?}");
        }
    }
}
