//! Writes: create, replace, patch and apply, delete.

use crate::admit::{self, FieldError};
use crate::becomes::{SYSTEM, check, complete, count, is_done, keep, same, unfit};
use crate::decode;
use crate::kinds::Kind;
use crate::managed::{self, ApplyError};
use crate::metadata::{self, text};
use crate::patch::{self, PatchError};
use crate::server::{Context, Server, merged, object_answer, parse};
use crate::status::Refusal;
use crate::store::{Stored, key};
use crate::{crds, own};
use http::{HeaderValue, Response, header};
use hyper::body::Bytes;
use serde_json::{Value, json};

const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

fn media(context: &Context<'_>) -> String {
    let value =
        context.parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// The body of a create or a replace.
fn body_of(context: &Context<'_>, body: &Bytes) -> Result<(Value, Vec<String>), Refusal> {
    match media(context).as_str() {
        "" | "application/json" => {}
        "application/yaml" | "application/vnd.kubernetes.protobuf" => {
            return Err(Refusal::lacking("bodies in YAML or protobuf"));
        }
        _ => return Err(Refusal::media(BODIES)),
    }
    let value = parse(&context.kind, body)?;
    decode::object(context, value, &String::from_utf8_lossy(body))
}

fn dry_run(context: &Context<'_>, options: &str) -> Result<bool, Refusal> {
    match context.query.get("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let error = FieldError {
                reason: "FieldValueNotSupported",
                path: "dryRun".into(),
                message: format!("Unsupported value: [{other:?}]: supported values: \"All\""),
            };
            Err(Refusal::invalid("meta.k8s.io", options, "", &[error]))
        }
    }
}

fn respond(context: &Context<'_>, code: u16, object: &Value, warnings: &[String]) -> Response<Bytes> {
    let mut reply = object_answer(code, object, context.format);
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            reply.headers_mut().append(header::WARNING, value);
        }
    }
    reply
}

/// Checks that the object is of the namespace of the path; says which one where it does not.
fn place(context: &Context<'_>, object: &mut Value) -> Result<(), Refusal> {
    let said = text(object, "namespace").to_owned();
    if said != context.namespace && !said.is_empty() && context.kind.namespaced {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    if context.kind.namespaced {
        object["metadata"]["namespace"] = json!(context.namespace);
    } else if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        fields.remove("namespace");
    }
    Ok(())
}

fn named_as_path(context: &Context<'_>, object: &Value) -> Result<(), Refusal> {
    let name = text(object, "name");
    if name.is_empty() {
        let why = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            context.name
        );
        return Err(Refusal::bad_request(&why));
    }
    if name != context.name {
        let why =
            format!("the name of the object ({name}) does not match the name on the URL ({})", context.name);
        return Err(Refusal::bad_request(&why));
    }
    Ok(())
}

/// The object of a write that is no apply, with its field owners.
fn owned(context: &Context<'_>, before: Option<&Value>, after: &Value) -> Value {
    context.as_writer(|writer| managed::update(before, after, writer))
}

/// An apply; what its field owners are with it.
fn applied(context: &Context<'_>, live: Option<&Value>, wanted: &Value) -> Result<Value, Refusal> {
    let force = context.query.is("force");
    let applied = context.as_writer(|writer| managed::apply(live, wanted, writer, force));
    applied.map_err(|error| match error {
        ApplyError::Conflicts(all) => {
            let details = json!({"causes": managed::causes(&all)});
            Refusal::new(409, "Conflict", &managed::message(&all), Some(details))
        }
        ApplyError::Typed(why) => Refusal::internal(&why),
        ApplyError::Refused(why) => Refusal::bad_request(&why),
    })
}

/// What an object is to become.
struct Wish {
    object: Value,
    /// Its field owners, where it was applied.
    owners: Option<Value>,
    /// Nothing is to be stored.
    dry: bool,
    warnings: Vec<String>,
}

impl Server {
    /// Nothing new comes into a namespace that is missing or goes.
    fn namespace_takes(&self, context: &Context<'_>, name: &str) -> Result<(), Refusal> {
        if !context.kind.namespaced {
            return Ok(());
        }
        let namespaces = crate::kinds::Resource::new("", "namespaces");
        let Some(found) = self.store.get(&namespaces, &context.namespace) else {
            return Err(Refusal::no_namespace(&context.namespace));
        };
        if text(&found.object(), "deletionTimestamp").is_empty() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            context.namespace
        );
        let mut refusal = Refusal::forbidden(&context.kind, name, &why);
        if let crate::status::Body::Status(status) = &mut refusal.body {
            status["details"]["causes"] = json!([{"reason": "NamespaceTerminating",
                "message": format!("namespace {} is being terminated", context.namespace), "field": "metadata.namespace"}]);
        }
        Err(refusal)
    }

    /// A kind whose CRD goes takes nothing new.
    fn crd_takes(&self, kind: &Kind) -> Result<(), Refusal> {
        let crd =
            kind.custom.then(|| self.store.get(&crate::server::crd_resource(), &kind.qualified())).flatten();
        if crd.is_none_or(|crd| text(&crd.object(), "deletionTimestamp").is_empty()) {
            return Ok(());
        }
        let message = "create not allowed while custom resource definition is terminating";
        let details = json!({"group": kind.group, "kind": kind.plural});
        Err(Refusal::new(405, "MethodNotAllowed", message, Some(details)))
    }

    pub(crate) fn create(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Response<Bytes>, Refusal> {
        let dry = dry_run(context, "CreateOptions")?;
        let (mut object, warnings) = body_of(context, body)?;
        place(context, &mut object)?;
        if !text(&object, "resourceVersion").is_empty() {
            return Err(Refusal::internal("resourceVersion should not be set on objects to be created"));
        }
        let (name, prefix) = (text(&object, "name").to_owned(), text(&object, "generateName").to_owned());
        self.namespace_takes(context, &name)?;
        self.crd_takes(&context.kind)?;
        if name.is_empty() && !prefix.is_empty() {
            object["metadata"]["name"] = format!("{prefix}{}", self.suffix()).into();
        }
        let object = self.born(context, object, None)?;
        self.insert(context, object, dry, &warnings)
    }

    /// An object that is new: what a server sets, and who owns its fields.
    fn born(
        &mut self,
        context: &Context<'_>,
        mut object: Value,
        owners: Option<Value>,
    ) -> Result<Value, Refusal> {
        let kind = &context.kind;
        if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            SYSTEM
                .iter()
                .chain(&["resourceVersion", "selfLink", "managedFields"])
                .for_each(|f| drop(fields.remove(*f)));
        }
        if let Some(fields) = object.as_object_mut().filter(|_| kind.status) {
            fields.remove("status");
        }
        complete(kind, &mut object);
        own::first_status(kind, &mut object);
        object["metadata"]["creationTimestamp"] = context.time().into();
        if kind.generation {
            object["metadata"]["generation"] = json!(1);
        }
        check(kind, &object, None, "")?;
        object["metadata"]["uid"] = self.uid().into();
        match owners {
            Some(owners) if !owners.is_null() => object["metadata"]["managedFields"] = owners,
            Some(_) => {}
            None => object = owned(context, None, &object),
        }
        own::after_owners(kind, &mut object);
        metadata::tidy(&mut object);
        Ok(object)
    }

    /// An object as the version that it is kept in knows it: what that does not know is lost.
    fn kept(&self, kind: &Kind, mut object: Value) -> Value {
        let place = (kind.group.clone(), kind.storage.clone(), kind.plural.clone());
        let storage = self.kinds.get(&place).filter(|s| kind.custom && s.version != kind.version);
        if let Some(storage) = storage {
            let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
            admit::prune(&mut object, &storage.schema);
            object["metadata"] = metadata;
        }
        object
    }

    fn insert(
        &mut self,
        context: &Context<'_>,
        object: Value,
        dry: bool,
        warnings: &[String],
    ) -> Result<Response<Bytes>, Refusal> {
        let (resource, name) = (context.kind.resource(), text(&object, "name").to_owned());
        let key = key(&context.namespace, &name);
        if self.store.get(&resource, &key).is_some() {
            return Err(Refusal::exists(&context.kind, &name));
        }
        if dry {
            return Ok(respond(context, 201, &object, warnings));
        }
        let object = self.kept(&context.kind, object);
        let stored = self.store.put(&resource, &key, object, context.kind.stamp);
        self.created(context.now, &resource, &stored);
        Ok(respond(context, 201, &stored, warnings))
    }

    pub(crate) fn replace(
        &mut self,
        context: &Context<'_>,
        body: &Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let dry = dry_run(context, "UpdateOptions")?;
        let (mut object, warnings) = body_of(context, body)?;
        named_as_path(context, &object)?;
        place(context, &mut object)?;
        let kind = &context.kind;
        let Some(stored) = self.store.get(&kind.resource(), &context.key()).cloned() else {
            if !kind.created_by_update || !context.sub.is_empty() {
                return Err(Refusal::not_found(kind, &context.name));
            }
            self.namespace_takes(context, &context.name)?;
            let object = self.born(context, object, None)?;
            return self.insert(context, object, dry, &warnings);
        };
        let live = self.shown(kind, &stored);
        let (uid, found) = (text(&object, "uid").to_owned(), text(&live, "uid"));
        if !uid.is_empty() && uid != found {
            return Err(self.other_uid(context, &uid, found));
        }
        let version = text(&object, "resourceVersion");
        if version.is_empty() && !kind.unconditional {
            let error = metadata::invalid("metadata.resourceVersion", "0", "must be specified for an update");
            return Err(Refusal::invalid(&kind.group, &kind.plural, &context.name, &[error]));
        }
        if !version.is_empty() && version != text(&live, "resourceVersion") {
            return Err(Refusal::modified(kind, &context.name));
        }
        self.change(context, &stored, Wish { object, owners: None, dry, warnings })
    }

    fn other_uid(&self, context: &Context<'_>, uid: &str, found: &str) -> Refusal {
        let kind = &context.kind;
        let group = if kind.custom { format!("{}/", kind.group) } else { String::new() };
        let place = format!("/registry/{group}{}/{}", kind.plural, context.key());
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        );
        Refusal::conflict(&kind.group, &kind.plural, &context.name, &why)
    }

    /// Writes what an object is to become.
    fn change(
        &mut self,
        context: &Context<'_>,
        stored: &Stored,
        wish: Wish,
    ) -> Result<Response<Bytes>, Refusal> {
        let Wish { mut object, owners, dry, warnings } = wish;
        let kind = &context.kind;
        let live = self.shown(kind, stored);
        keep(context, &live, &mut object);
        complete(kind, &mut object);
        if crds::is(&kind.resource()) {
            crds::note_storage(&mut object);
        }
        if kind.generation {
            count(kind, &live, &mut object);
        }
        check(kind, &object, Some(&live), &context.sub)?;
        match owners {
            Some(owners) if owners.is_null() => {}
            Some(owners) => object["metadata"]["managedFields"] = owners,
            None => {
                let silent = object.pointer("/metadata/managedFields").is_none();
                if let Some(owners) = live.pointer("/metadata/managedFields").filter(|_| silent) {
                    object["metadata"]["managedFields"] = owners.clone();
                }
                object = owned(context, Some(&live), &object);
            }
        }
        metadata::tidy(&mut object);
        let mut object = self.kept(kind, object);
        object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        if same(&object, &stored.object()) {
            return Ok(respond(context, 200, &stored.object(), &warnings));
        }
        if dry {
            return Ok(respond(context, 200, &object, &warnings));
        }
        let resource = kind.resource();
        if is_done(&object) {
            self.drop_object(context.now, &resource, &context.key());
            return Ok(respond(context, 200, &object, &warnings));
        }
        let new = self.store.put(&resource, &context.key(), object, kind.stamp);
        self.changed(context.now, &resource, &live, &new);
        Ok(respond(context, 200, &new, &warnings))
    }

    pub(crate) fn patch(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Response<Bytes>, Refusal> {
        let kind = &context.kind;
        let media = media(context);
        if media == "application/apply-patch+yaml" {
            return self.apply(context, body);
        }
        if context.query.has("force") {
            let error = FieldError {
                reason: "FieldValueForbidden",
                path: "force".into(),
                message: "Forbidden: may not be specified for non-apply patch".into(),
            };
            return Err(Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
        }
        match media.as_str() {
            "application/merge-patch+json" | "application/json-patch+json" => {}
            "application/strategic-merge-patch+json" if !kind.custom => {
                return Err(Refusal::lacking("strategic merge patches"));
            }
            "application/strategic-merge-patch+json" => {
                let accepted =
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Refusal::media(accepted));
            }
            _ => {
                return Err(Refusal::new(
                    415,
                    "UnsupportedMediaType",
                    "415: Unsupported Media Type",
                    Some(json!({})),
                ));
            }
        }
        let dry = dry_run(context, "PatchOptions")?;
        let stored = self.find(context)?.clone();
        let live = self.shown(kind, &stored);
        let by: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(&format!("error decoding patch: {error}")))?;
        let object = if media == "application/merge-patch+json" {
            if !by.is_object() {
                return Err(Refusal::bad_request(
                    "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
                ));
            }
            merged(&live, &by)
        } else {
            patch::json(&live, &by).map_err(|error| match error {
                PatchError::Malformed(why) => Refusal::bad_request(&why),
                PatchError::Failed(_) => {
                    let message = "the server rejected our request due to an error in our request";
                    Refusal::new(422, "Invalid", message, Some(json!({})))
                }
            })?
        };
        let text_of = object.to_string();
        let (mut object, warnings) =
            decode::object(context, object, &text_of).map_err(|refusal| unfit(&text_of, refusal))?;
        named_as_path(context, &object)?;
        place(context, &mut object)?;
        let version = text(&object, "resourceVersion");
        if !version.is_empty() && version != text(&live, "resourceVersion") {
            return Err(Refusal::modified(kind, &context.name));
        }
        let (uid, found) = (text(&object, "uid").to_owned(), text(&live, "uid"));
        if !uid.is_empty() && uid != found {
            return Err(immutable_uid(kind, &context.name, &uid));
        }
        self.change(context, &stored, Wish { object, owners: None, dry, warnings })
    }

    fn apply(&mut self, context: &Context<'_>, body: &Bytes) -> Result<Response<Bytes>, Refusal> {
        let kind = &context.kind;
        if context.query.get("fieldManager").is_empty() {
            let error = FieldError {
                reason: "FieldValueRequired",
                path: "fieldManager".into(),
                message: "Required value: is required for apply patch".into(),
            };
            return Err(Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
        }
        let dry = dry_run(context, "PatchOptions")?;
        let wanted: Value =
            serde_json::from_slice(body).map_err(|_| Refusal::lacking("applied objects in YAML"))?;
        let said = |field: &str| wanted.get(field).and_then(Value::as_str).unwrap_or_default();
        if said("apiVersion") != kind.api_version() || said("kind") != kind.kind {
            let (group, version) = said("apiVersion").split_once('/').unwrap_or(("", said("apiVersion")));
            let why = format!("invalid object type: {group}/{version}, Kind={}", said("kind"));
            return Err(Refusal::bad_request(&why));
        }
        if wanted.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        let stored = self.store.get(&kind.resource(), &context.key()).cloned();
        let mut wanted = wanted;
        if !text(&wanted, "name").is_empty() {
            named_as_path(context, &wanted)?;
        }
        if !wanted["metadata"].is_object() {
            wanted["metadata"] = json!({});
        }
        wanted["metadata"]["name"] = json!(context.name);
        place(context, &mut wanted.clone())?;
        let (uid, version) = (text(&wanted, "uid").to_owned(), text(&wanted, "resourceVersion").to_owned());
        let Some(stored) = stored else {
            if !context.sub.is_empty() {
                return Err(Refusal::not_found(kind, &context.name));
            }
            self.namespace_takes(context, &context.name)?;
            self.crd_takes(kind)?;
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(Refusal::conflict(&kind.group, &kind.plural, &context.name, &why));
            }
            let (object, owners) = split(applied(context, None, &wanted)?);
            let (mut object, warnings) = decode::object(context, object, "")?;
            place(context, &mut object)?;
            let object = self.born(context, object, Some(owners))?;
            return self.insert(context, object, dry, &warnings);
        };
        let live = self.shown(kind, &stored);
        if !uid.is_empty() && uid != text(&live, "uid") {
            return Err(immutable_uid(kind, &context.name, &uid));
        }
        if !version.is_empty() && version != text(&live, "resourceVersion") {
            return Err(Refusal::modified(kind, &context.name));
        }
        let (object, owners) = split(applied(context, Some(&live), &wanted)?);
        let (mut object, warnings) = decode::object(context, object, "")?;
        place(context, &mut object)?;
        self.change(context, &stored, Wish { object, owners: Some(owners), dry, warnings })
    }
}

/// An object and its field owners.
fn split(mut object: Value) -> (Value, Value) {
    let owners =
        object.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.remove("managedFields"));
    (object, owners.unwrap_or_default())
}

fn immutable_uid(kind: &Kind, name: &str, uid: &str) -> Refusal {
    let error = metadata::invalid("metadata.uid", &format!("{uid:?}"), "field is immutable");
    Refusal::invalid(&kind.group, &kind.kind, name, &[error])
}
