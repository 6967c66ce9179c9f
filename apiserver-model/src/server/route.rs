//! Which part of a server answers a request.

use super::plain::nothing_in;
use super::{Answer, Context, Server, crd_resource, object_answer};
use crate::access::Asked;
use crate::kinds::Kind;
use crate::request::{self, Place, Query};
use crate::status::Refusal;
use crate::store::Stored;
use http::request::Parts;
use http::{Method, Response};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

impl Server {
    pub(super) fn route(
        &mut self,
        now: Timestamp,
        user: &str,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Answer, Refusal> {
        let path = parts.uri.path();
        let query = Query::of(parts);
        let Some(place) = request::place(path) else {
            let verb = parts.method.as_str().to_lowercase();
            let asked = Asked { verb: &verb, group: "", plural: "", sub: "", namespace: "", name: "", path };
            self.access.check(user, &asked)?;
            return self.other(parts, &query).map(Answer::Reply);
        };
        let watches = query.is("watch") && parts.method == Method::GET;
        let verb = request::verb(&parts.method, !place.name.is_empty() && !watches, watches);
        let Place { group, plural, namespace, name, sub, .. } = &place;
        let namespace = if plural == "namespaces" && group.is_empty() { name } else { namespace };
        self.access.check(user, &Asked { verb, group, plural, sub, namespace, name, path })?;
        let kind = self.kind_at(&place, &parts.method)?;
        let format = request::format(&parts.headers)?;
        let Place { namespace, name, sub, .. } = place;
        let context = Context { kind, namespace, name, sub, query, format, parts, now };
        self.answer(&context, body)
    }

    fn kind_at(&self, place: &Place, method: &Method) -> Result<Arc<Kind>, Refusal> {
        let Place { group, version, namespace, plural, name, .. } = place;
        let nothing = || nothing_in(group);
        let wanted = (group.clone(), version.clone(), plural.clone());
        let Some(kind) = self.kinds.get(&wanted) else { return Err(nothing()) };
        let all_namespaces = namespace.is_empty() && name.is_empty();
        let right =
            if kind.namespaced { !namespace.is_empty() || all_namespaces } else { namespace.is_empty() };
        if !right {
            return Err(nothing());
        }
        if kind.namespaced && all_namespaces && method != Method::GET {
            return Err(Refusal::method());
        }
        Ok(Arc::clone(kind))
    }

    fn answer(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Answer, Refusal> {
        let kind = &context.kind;
        match context.sub.as_str() {
            "" => {}
            "status" if kind.status => {}
            "finalize" => return Err(Refusal::lacking("namespaces/finalize")),
            "scale" if kind.custom && self.has_scale(kind) => {
                return Err(Refusal::lacking("the scale subresource"));
            }
            _ if kind.custom => return Err(Refusal::not_found(kind, &context.name)),
            _ => return Err(Refusal::resource()),
        }
        let named = !context.name.is_empty();
        if context.query.is("watch") && context.parts.method == Method::GET && context.sub.is_empty() {
            return self.open(context).map(|watch| Answer::Watch(Box::new(watch)));
        }
        let reply = match (context.parts.method.as_str(), named, context.sub.as_str()) {
            ("GET", true, _) => self.read_one(context),
            ("GET", false, _) => self.list(context),
            ("POST", false, _) => self.create(context, body),
            ("PUT", true, _) => self.replace(context, body),
            ("PATCH", true, _) => self.patch(context, body),
            ("DELETE", true, "") => self.delete(context, body),
            ("DELETE", false, _) if context.kind.verbs().contains(&"deletecollection") => {
                self.delete_collection(context, body)
            }
            _ => Err(Refusal::method()),
        };
        reply.map(Answer::Reply)
    }

    fn has_scale(&self, kind: &Kind) -> bool {
        let crd = self.store.get(&crd_resource(), &kind.qualified()).map(Stored::object);
        let versions = crd.as_ref().and_then(|c| c.pointer("/spec/versions")).and_then(Value::as_array);
        let this = versions.into_iter().flatten().find(|v| v["name"] == kind.version.as_str());
        this.is_some_and(|v| v.pointer("/subresources/scale").is_some())
    }

    fn read_one(&self, context: &Context<'_>) -> Result<Response<Bytes>, Refusal> {
        let stored = self.find(context)?;
        Ok(object_answer(200, &self.shown(&context.kind, stored), context.format))
    }
}
