//! One list, read once and whole, for who does not go on watching.

use super::client::{ApiError, Verbs, path};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Objects asked for in one page.
const PAGE: u32 = 1000;

/// Which objects of a kind are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    /// All namespaces without it.
    pub namespace: Option<&'a str>,
    /// A label selector; everything without it.
    pub selector: Option<&'a str>,
}

impl Which<'_> {
    /// Of so many of them; `next`: where the page before ended.
    fn path(&self, resource: &ApiResource, page: u32, next: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &page.to_string());
        if !next.is_empty() {
            query.append_pair("continue", next);
        }
        if let Some(selector) = self.selector.filter(|s| !s.is_empty()) {
            query.append_pair("labelSelector", selector);
        }
        format!("{}?{}", path(resource, self.namespace.unwrap_or_default(), ""), query.finish())
    }
}

/// All of them over all namespaces; where only those of some namespaces may be read, these, and whether that is so.
///
/// # Errors
/// As [`all`], or they may be read nowhere.
pub async fn within_reach(
    client: &Verbs,
    resource: &ApiResource,
    selector: Option<&str>,
    namespaces: &BTreeSet<String>,
) -> Result<(Vec<Value>, bool), ApiError> {
    match all(client, resource, Which { namespace: None, selector }).await {
        Err(ApiError::Forbidden { .. }) if !namespaces.is_empty() => {}
        read => return read.map(|objects| (objects, false)),
    }
    let mut out = Vec::new();
    for namespace in namespaces {
        out.extend(all(client, resource, Which { namespace: Some(namespace), selector }).await?);
    }
    Ok((out, true))
}

/// All of them.
///
/// # Errors
/// Of the first page that fails: a list in part is none.
pub async fn all(client: &Verbs, resource: &ApiResource, which: Which<'_>) -> Result<Vec<Value>, ApiError> {
    let (mut out, mut next, mut page) = (Vec::new(), String::new(), PAGE);
    loop {
        let path = which.path(resource, page, &next);
        let read = match client.page(&path, "application/json").await {
            Err(ApiError::TooLarge { .. }) if page > 1 => {
                page = (page / 4).max(1);
                continue;
            }
            read => read?,
        };
        // Items do not say what they are; the kind that was asked for does.
        for mut object in read.items {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("apiVersion".into(), json!(resource.api_version));
                fields.insert("kind".into(), json!(resource.kind));
                out.push(object);
            }
        }
        if read.next.is_empty() {
            return Ok(out);
        }
        if read.next == next {
            return Err(ApiError::NotAnApi {
                message: "its list goes on with the same page for ever".into(),
            });
        }
        next = read.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn resource() -> ApiResource {
        ApiResource {
            group: "g".into(),
            version: "v1".into(),
            api_version: "g/v1".into(),
            kind: "K".into(),
            plural: "ks".into(),
        }
    }

    /// Asks a server that gives these answers one after the other; what was asked stands beside.
    async fn asked(
        answers: Vec<(u16, Value)>,
        which: Which<'_>,
    ) -> (Result<Vec<Value>, ApiError>, Vec<String>) {
        let (seen, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answers.into_iter())));
        let log = seen.clone();
        let client = super::super::client::SpokeClient::in_memory(move |request| {
            log.lock().unwrap().push(request.uri().to_string());
            let (code, body) = answers.lock().unwrap().next().unwrap();
            let body = kube::client::Body::from(body.to_string().into_bytes());
            async move { Ok(http::Response::builder().status(code).body(body).unwrap()) }
        });
        let read = all(&client, &resource(), which).await;
        let seen = seen.lock().unwrap().clone();
        (read, seen)
    }

    fn page(next: &str, names: &[&str]) -> (u16, Value) {
        let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        (200, json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": items}))
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page_and_says_what_its_objects_are() {
        let which = Which { namespace: Some("n"), selector: Some("a=b") };
        let (read, seen) = asked(vec![page("c1", &["x"]), page("", &["y"])], which).await;
        let object = |name: &str| json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": name}});
        assert_eq!(read, Ok(vec![object("x"), object("y")]));
        let rest = "labelSelector=a%3Db";
        assert_eq!(
            seen,
            [
                format!("/apis/g/v1/namespaces/n/ks?limit=1000&{rest}"),
                format!("/apis/g/v1/namespaces/n/ks?limit=1000&continue=c1&{rest}")
            ]
        );
    }

    #[tokio::test]
    async fn a_list_in_part_is_none() {
        let gone = (503, json!({"kind": "Status", "code": 503, "message": "away"}));
        let (read, _) = asked(vec![page("c1", &["x"]), gone], Which::default()).await;
        assert!(matches!(read, Err(ApiError::Unavailable { .. })), "{read:?}");
        let (read, _) = asked(vec![page("c1", &["x"]), page("c1", &["x"])], Which::default()).await;
        assert!(matches!(read, Err(ApiError::NotAnApi { .. })), "{read:?}");
    }
}
