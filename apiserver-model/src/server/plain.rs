//! Paths that name no resource: health, version, discovery, OpenAPI.

use super::{Server, crd_resource, json_answer};
use crate::discovery::{self, Document};
use crate::kinds::BUILT_IN;
use crate::request::Query;
use crate::status::{Refusal, answer};
use crate::store::Stored;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The answer to a resource or version that is not served.
pub(super) fn nothing_in(group: &str) -> Refusal {
    if BUILT_IN.kinds.iter().any(|k| k.group == group) { Refusal::resource() } else { Refusal::page() }
}

impl Server {
    fn documents(&mut self) -> BTreeMap<String, Document> {
        let (store, kinds) = (&self.store, &self.kinds);
        self.documents.all(|| {
            let custom = kinds.values().filter(|k| k.custom);
            custom
                .map(|kind| {
                    let crd = store.get(&crd_resource(), &kind.qualified()).map(Stored::object);
                    let versions =
                        crd.as_ref().and_then(|c| c.pointer("/spec/versions")).and_then(Value::as_array);
                    let this = versions.into_iter().flatten().find(|v| v["name"] == kind.version.as_str());
                    let schema = this.and_then(|v| v.pointer("/schema/openAPIV3Schema")).cloned();
                    (Arc::clone(kind), schema.unwrap_or_else(|| json!({"type": "object"})))
                })
                .collect()
        })
    }

    pub(super) fn other(&mut self, parts: &Parts, query: &Query) -> Result<Response<Bytes>, Refusal> {
        let path = parts.uri.path().trim_end_matches('/');
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" || !reads {
            return Err(Refusal::lacking(&format!("{} {path}", parts.method)));
        }
        let words: Vec<&str> = path.split('/').skip(1).collect();
        let value = match words.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => {
                return Ok(answer(200, "text/plain; charset=utf-8", Bytes::from_static(b"ok")));
            }
            ["version"] => discovery::version(),
            ["api"] => discovery::core(),
            ["apis"] => discovery::groups(&self.kinds),
            ["api", version] => {
                discovery::resources(&self.kinds, "", version).ok_or_else(Refusal::resource)?
            }
            ["apis", group] => discovery::group(&self.kinds, group).ok_or_else(Refusal::page)?,
            ["apis", group, version] => {
                discovery::resources(&self.kinds, group, version).ok_or_else(|| nothing_in(group))?
            }
            ["openapi", "v3"] => discovery::index(&self.documents()),
            ["openapi", "v3", ..] => return self.document(parts, query, path),
            ["openapi", ..] => return Err(Refusal::lacking("OpenAPI v2")),
            _ => return Err(Refusal::page()),
        };
        Ok(json_answer(200, &value))
    }

    /// A document by its path. One that is asked for by the hash of another is told where it is.
    fn document(&mut self, parts: &Parts, query: &Query, path: &str) -> Result<Response<Bytes>, Refusal> {
        let name = path.trim_start_matches("/openapi/v3/");
        let Some(document) = self.documents().get(name).cloned() else {
            let mut nothing = answer(404, "application/json", Bytes::new());
            nothing.headers_mut().remove(header::CONTENT_TYPE);
            return Ok(nothing);
        };
        let etag = format!("\"{}\"", document.hash);
        let asked = query.get("hash");
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(&etag);
        let mut reply = if !asked.is_empty() && asked != &*document.hash {
            let mut moved = answer(301, "application/json", Bytes::new());
            let location = format!("/openapi/v3/{name}?hash={}", document.hash);
            if let Ok(value) = HeaderValue::from_str(&location) {
                moved.headers_mut().insert(header::LOCATION, value);
            }
            moved
        } else if known {
            answer(304, "application/json", Bytes::new())
        } else {
            answer(200, "application/json", Bytes::copy_from_slice(document.text.as_bytes()))
        };
        if let Ok(value) = HeaderValue::from_str(&etag) {
            reply.headers_mut().insert(header::ETAG, value);
        }
        Ok(reply)
    }
}
