//! What a request asks for: path, query and accepted formats.

use crate::status::Refusal;
use http::request::Parts;
use http::{HeaderMap, Method, header};

/// A path below a version of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub plural: String,
    pub name: String,
    pub sub: String,
}

/// `None` for all other paths: discovery, health...
pub(crate) fn place(path: &str) -> Option<Place> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, plural, name, sub) = match rest {
        [] => return None,
        ["namespaces"] => ("", "namespaces", "", ""),
        ["namespaces", name] => ("", "namespaces", *name, ""),
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            ("", "namespaces", *name, *sub)
        }
        ["namespaces", namespace, plural] => (*namespace, *plural, "", ""),
        ["namespaces", namespace, plural, name] => (*namespace, *plural, *name, ""),
        ["namespaces", namespace, plural, name, sub] => (*namespace, *plural, *name, *sub),
        [plural] => ("", *plural, "", ""),
        [plural, name] => ("", *plural, *name, ""),
        [plural, name, sub] => ("", *plural, *name, *sub),
        _ => return None,
    };
    Some(Place {
        group: group.into(),
        version: version.into(),
        namespace: namespace.into(),
        plural: plural.into(),
        name: name.into(),
        sub: sub.into(),
    })
}

/// The query of a request; the first of a name counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn is(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    pub fn number(&self, name: &str) -> Result<u64, Refusal> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(0);
        }
        text.parse()
            .map_err(|_| Refusal::bad_request(&format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }
}

/// What of an object is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Full,
    Metadata,
}

/// By the header Accept, for the objects of a kind.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or("*/*");
    let mut table = false;
    for one in accept.split(',') {
        let mut words = one.split(';').map(str::trim);
        let media = words.next().unwrap_or_default();
        if !matches!(media, "application/json" | "*/*" | "application/*") {
            continue;
        }
        let shape = words.find_map(|w| w.strip_prefix("as="));
        match shape {
            None => return Ok(Format::Full),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Format::Metadata),
            Some(shape) => table |= shape == "Table",
        }
    }
    if table {
        return Err(Refusal::lacking("lists as tables"));
    }
    let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    Err(Refusal::new(406, "NotAcceptable", message, Some(serde_json::json!({}))))
}

/// The verb, as authorisation calls it.
pub(crate) fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}
