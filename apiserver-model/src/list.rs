//! Lists: in pages, of the present or of a past version, chosen by selectors.

use crate::request::Format;
use crate::selectors::Selectors;
use crate::server::{Context, Server, formatted, json_answer};
use crate::status::Refusal;
use crate::store::{Objects, Stored};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::Response;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where a list goes on.
struct Token {
    version: i64,
    start: String,
}

impl Token {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = |why: &str| {
            Refusal::bad_request(&format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = BASE64
            .decode(text.trim_end_matches('='))
            .map_err(|_| wrong("illegal base64 data at input byte 0"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e.to_string()))?;
        let start =
            value.get("start").and_then(Value::as_str).ok_or_else(|| wrong("encoded start key empty"))?;
        let version = value.get("rv").and_then(Value::as_i64).unwrap_or_default();
        Ok(Self { version, start: start.trim_start_matches('/').to_owned() })
    }

    fn text(&self) -> String {
        let value = json!({"v": "meta.k8s.io/v1", "rv": self.version, "start": format!("/{}", self.start)});
        BASE64.encode(value.to_string())
    }
}

/// What a list is of.
struct Asked {
    selectors: Selectors,
    limit: usize,
    token: Option<Token>,
    /// `None`: as it is now.
    version: Option<u64>,
}

pub(crate) fn version_of(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let why = format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        );
        Refusal::bad_request(&why)
    })
}

pub(crate) fn options_invalid(field: &str, message: &str) -> Refusal {
    let error = crate::admit::FieldError {
        reason: "FieldValueForbidden",
        path: field.into(),
        message: format!("Forbidden: {message}"),
    };
    Refusal::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

impl Server {
    fn asked(&self, context: &Context<'_>) -> Result<Asked, Refusal> {
        let query = &context.query;
        let selectors =
            Selectors::parse(context.kind.custom, query.get("labelSelector"), query.get("fieldSelector"))?;
        let limit = usize::try_from(query.number("limit")?).unwrap_or(usize::MAX);
        let version = query.get("resourceVersion");
        let rule = query.get("resourceVersionMatch");
        if !rule.is_empty() && version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(options_invalid("resourceVersionMatch", why));
        }
        if rule == "Exact" && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            return Err(options_invalid("resourceVersionMatch", why));
        }
        let token = query.get("continue");
        if !token.is_empty() && !rule.is_empty() {
            return Err(options_invalid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for continue",
            ));
        }
        let number = version_of(version)?;
        if !token.is_empty() && number > 0 {
            return Err(Refusal::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = if token.is_empty() { None } else { Some(Token::parse(token)?) };
        if number > self.store.version {
            return Err(self.too_large(number));
        }
        let exact = rule == "Exact" || (rule.is_empty() && limit > 0 && number > 0);
        Ok(Asked { selectors, limit, token, version: exact.then_some(number) })
    }

    fn too_large(&self, version: u64) -> Refusal {
        let message =
            format!("Timeout: Too large resource version: {version}, current: {}", self.store.version);
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        Refusal::new(504, "Timeout", &message, Some(details))
    }

    /// The objects of a kind at a version, and that version.
    fn state(&self, context: &Context<'_>, asked: &Asked) -> Result<(Option<Objects>, u64), Refusal> {
        let wanted = match &asked.token {
            Some(token) => u64::try_from(token.version).ok(),
            None => asked.version,
        };
        let Some(version) = wanted.filter(|v| *v != self.store.version) else {
            return Ok((None, self.store.version));
        };
        if version < self.store.forgotten {
            return Err(expired(asked.token.as_ref(), version, self.store.forgotten));
        }
        if version > self.store.version {
            return Err(self.too_large(version));
        }
        Ok((Some(self.store.at(&context.kind.resource(), version)), version))
    }

    pub(crate) fn list(&self, context: &Context<'_>) -> Result<Response<Bytes>, Refusal> {
        let asked = self.asked(context)?;
        let (past, version) = self.state(context, &asked)?;
        let resource = context.kind.resource();
        let prefix =
            if context.namespace.is_empty() { String::new() } else { format!("{}/", context.namespace) };
        let start = asked
            .token
            .as_ref()
            .map(|t| if prefix.is_empty() { t.start.clone() } else { format!("{prefix}{}", t.start) });
        let here = |key: &str| key.starts_with(&prefix) && start.as_ref().is_none_or(|s| key >= s.as_str());
        let present: Vec<(&String, &Stored)> = match &past {
            Some(objects) => objects.iter().filter(|(key, _)| here(key)).collect(),
            None => self.store.of(&resource).filter(|(key, _)| here(key)).collect(),
        };
        let mut items: Vec<Arc<Value>> = Vec::new();
        let mut last: Option<&str> = None;
        let mut seen = 0;
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit };
        let mut more = false;
        for (key, stored) in &present {
            // Whether what follows is chosen is not looked at.
            if items.len() == limit {
                more = true;
                break;
            }
            seen += 1;
            let object = self.shown(&context.kind, stored);
            if !asked.selectors.match_object(&object) {
                continue;
            }
            items.push(object);
            last = Some(key);
        }
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), version.to_string().into());
        if let Some(last) = last.filter(|_| more) {
            let start = format!("{}\0", last.strip_prefix(&prefix).unwrap_or(last));
            let version = i64::try_from(version).unwrap_or_default();
            metadata.insert("continue".into(), Token { version, start }.text().into());
            if asked.selectors.is_empty() {
                metadata.insert("remainingItemCount".into(), (present.len() - seen).into());
            }
        }
        Ok(json_answer(200, &list_of(context, items, metadata)))
    }
}

/// A list as a server writes it: Kubernetes' own objects do not say their kind in it.
pub(crate) fn list_of(
    context: &Context<'_>,
    items: Vec<Arc<Value>>,
    mut metadata: Map<String, Value>,
) -> Value {
    let kind = &context.kind;
    if context.format == Format::Metadata {
        let items: Vec<Value> = items.iter().map(|o| formatted(o, Format::Metadata)).collect();
        return json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
        });
    }
    if kind.custom {
        metadata.entry("continue").or_insert_with(|| "".into());
    }
    let items: Vec<Value> = items
        .iter()
        .map(|object| {
            let mut object = (**object).clone();
            if let Some(fields) = object.as_object_mut().filter(|_| !kind.custom) {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            object
        })
        .collect();
    json!({"kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
}

fn expired(token: Option<&Token>, version: u64, oldest: u64) -> Refusal {
    let Some(token) = token else {
        let message = format!("The resourceVersion for the provided list is too old: {version} ({oldest}).");
        return Refusal::new(410, "Expired", &message, None);
    };
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    let mut refusal = Refusal::new(410, "Expired", message, None);
    if let crate::status::Body::Status(status) = &mut refusal.body {
        status["metadata"] = json!({"continue": Token { version: -1, start: token.start.clone() }.text()});
    }
    refusal
}
