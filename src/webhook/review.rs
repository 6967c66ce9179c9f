//! What an API server asks, and how it is answered: `AdmissionReview` of admission.k8s.io/v1.

use crate::api::keys::{hub, kro};
use crate::api::{Object, text};
use serde_json::{Value, json};

const VERSION: &str = "admission.k8s.io/v1";
/// API servers cut what is longer.
const WARNING: usize = 250;
/// All that is said to a client takes little of a header.
const WARNINGS: usize = 12;

/// What is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Definition,
    Cluster,
    Secret,
    /// Nothing that is judged here.
    Other,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Asked {
    pub uid: String,
    pub subject: Subject,
    pub new: Object,
    /// As it is stored; nothing where it is being created.
    pub old: Option<Object>,
}

/// Reads a question.
///
/// # Errors
/// It is none, in words.
pub fn read(body: &[u8]) -> Result<Asked, String> {
    let mut review: Value =
        serde_json::from_slice(body).map_err(|error| format!("this is no JSON: {error}"))?;
    let version = review.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != VERSION || review.get("kind").and_then(Value::as_str) != Some("AdmissionReview") {
        return Err(format!("this is no AdmissionReview of {VERSION}"));
    }
    let mut request = review.get_mut("request").map(Value::take).unwrap_or_default();
    let text =
        |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (uid, operation) = (text("/uid"), text("/operation"));
    if uid.is_empty() {
        return Err("request.uid is missing".to_owned());
    }
    let (group, resource, part) = (text("/resource/group"), text("/resource/resource"), text("/subResource"));
    let subject = match (group.as_str(), resource.as_str()) {
        _ if !part.is_empty() || !["CREATE", "UPDATE"].contains(&operation.as_str()) => Subject::Other,
        (kro::GROUP, "resourcegraphdefinitions") => Subject::Definition,
        (hub::GROUP, "clusters") => Subject::Cluster,
        ("", "secrets") => Subject::Secret,
        _ => Subject::Other,
    };
    let mut object =
        |field: &str| request.get_mut(field).map(Value::take).filter(Value::is_object).map(Object);
    let (new, old) = (object("object"), object("oldObject"));
    match new {
        Some(new) => Ok(Asked { uid, subject, new, old }),
        None if subject == Subject::Other => Ok(Asked { uid, subject, new: Object(json!({})), old }),
        None => Err("request.object is missing".to_owned()),
    }
}

/// What is said of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why it is refused.
    pub refused: Option<String>,
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn refuse(why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), warnings: Vec::new() }
    }

    pub fn warn(words: impl Into<String>) -> Self {
        Self { refused: None, warnings: vec![words.into()] }
    }

    /// As an API server reads it.
    pub fn review(&self, uid: &str) -> Value {
        let mut response = json!({"uid": uid, "allowed": self.refused.is_none()});
        if let Some(why) = &self.refused {
            response["status"] = json!({"code": 400, "reason": "BadRequest", "message": why});
        }
        if !self.warnings.is_empty() {
            // A header has no lines.
            let line =
                |words: &String| text::shorten(&words.split('\n').collect::<Vec<_>>().join(" "), WARNING);
            let mut lines: Vec<String> = self.warnings.iter().take(WARNINGS).map(line).collect();
            let more = self.warnings.len().saturating_sub(WARNINGS);
            lines.extend((more > 0).then(|| format!("and {more} more")));
            response["warnings"] = json!(lines);
        }
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(change: impl Fn(&mut Value)) -> Vec<u8> {
        let mut request = json!({"uid": "u", "operation": "CREATE", "object": {"metadata": {"name": "a"}},
            "resource": {"group": "kro.run", "version": "v1alpha1", "resource": "resourcegraphdefinitions"}});
        change(&mut request);
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": request}).to_string().into_bytes()
    }

    #[test]
    fn what_is_asked_about() {
        type Change<'a> = &'a dyn Fn(&mut Value);
        let cases: [(Change<'_>, Subject); 7] = [
            (&|_| (), Subject::Definition),
            (&|r| r["operation"] = json!("UPDATE"), Subject::Definition),
            (&|r| r["operation"] = json!("DELETE"), Subject::Other),
            (&|r| r["subResource"] = json!("status"), Subject::Other),
            (&|r| r["resource"] = json!({"group": "hub.kro.run", "resource": "clusters"}), Subject::Cluster),
            (&|r| r["resource"] = json!({"group": "", "resource": "secrets"}), Subject::Secret),
            (&|r| r["resource"] = json!({"group": "apps", "resource": "deployments"}), Subject::Other),
        ];
        for (at, (change, subject)) in cases.into_iter().enumerate() {
            let asked = read(&review(change)).unwrap();
            assert_eq!(
                (asked.subject, asked.uid.as_str(), asked.old.is_none()),
                (subject, "u", true),
                "{at}"
            );
        }
        let deleted =
            read(&review(|r| (r["operation"], r["object"]) = (json!("DELETE"), Value::Null))).unwrap();
        assert_eq!(deleted.subject, Subject::Other);
    }

    #[test]
    fn what_is_no_question_is_told() {
        let cases = [
            (b"{".to_vec(), "no JSON"),
            (b"{}".to_vec(), "no AdmissionReview"),
            (
                br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#.to_vec(),
                "request.uid is missing",
            ),
            (review(|r| r["object"] = Value::Null), "request.object is missing"),
            (review(|r| r["object"] = json!("text")), "request.object is missing"),
        ];
        for (body, says) in cases {
            let said = read(&body).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn answers_as_api_servers_read_them() {
        let allowed = Answer::default().review("u");
        assert_eq!(allowed["response"], json!({"uid": "u", "allowed": true}));
        let refused = Answer::refuse("spec: no").review("u");
        assert_eq!(refused["response"]["allowed"], false);
        assert_eq!(refused["response"]["status"]["message"], "spec: no");
        let many = Answer { refused: None, warnings: vec!["one\ntwo".repeat(100); 20] }.review("u");
        let lines = many["response"]["warnings"].as_array().unwrap();
        assert_eq!((lines.len(), lines[12].as_str()), (13, Some("and 8 more")));
        assert!(lines.iter().all(|l| l.as_str().unwrap().len() < 256 && !l.as_str().unwrap().contains('\n')));
    }
}
