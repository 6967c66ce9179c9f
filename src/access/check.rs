//! A check as people read it: groups of findings, each with what mends it.

use crate::api::cluster::ClusterStatus;
use crate::api::condition::{Condition, ConditionStatus};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub groups: Vec<Group>,
}

/// What belongs together, of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Group {
    /// The name of the cluster, or of the context.
    pub about: String,
    pub name: String,
    pub checks: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    pub text: String,
    pub result: Outcome,
    /// The reason of a condition, where one stands behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// To be looked at some day.
    Warning,
    Failed,
    /// It could not be asked, or was not.
    Unknown,
}

impl Outcome {
    fn glyph(self, plain: bool) -> &'static str {
        match (self, plain) {
            (Self::Ok, false) => "✓",
            (Self::Ok, true) => "+",
            (Self::Warning, false) => "‼",
            (Self::Warning, true) => "!",
            (Self::Failed, false) => "✗",
            (Self::Failed, true) => "x",
            (Self::Unknown, _) => "?",
        }
    }
}

impl Finding {
    fn new(result: Outcome, text: impl Into<String>) -> Self {
        Self { text: text.into(), result, reason: None, mend: None }
    }
    pub fn ok(text: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, text)
    }
    pub fn warning(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(Outcome::Warning, text) }
    }
    pub fn failed(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(Outcome::Failed, text) }
    }
    pub fn unknown(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(Outcome::Unknown, text) }
    }
    #[must_use]
    fn because(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }
}

impl Check {
    pub fn new(groups: Vec<Group>) -> Self {
        Self { api_version: "cli.hub.kro.run/v1alpha1", kind: "Check", groups }
    }

    pub fn has_failed(&self) -> bool {
        self.groups.iter().flat_map(|g| &g.checks).any(|c| c.result == Outcome::Failed)
    }

    /// `short`: only what is wrong, to be pasted somewhere. `plain`: without letters beyond ASCII as marks.
    pub fn text(&self, short: bool, plain: bool) -> String {
        let shown = |c: &&Finding| !short || matches!(c.result, Outcome::Warning | Outcome::Failed);
        let wide = self.groups.iter().map(|g| g.name.chars().count()).max().unwrap_or_default();
        let (mut out, mut about) = (String::new(), "");
        for group in self.groups.iter().filter(|g| g.checks.iter().any(|c| shown(&c))) {
            if group.about != about {
                about = &group.about;
                let _ = writeln!(out, "{about}");
            }
            let mut name = group.name.as_str();
            for check in group.checks.iter().filter(shown) {
                let mark = check.result.glyph(plain);
                let _ = writeln!(out, "  {name:wide$}  {mark} {}", check.text);
                if let Some(mend) = &check.mend {
                    let _ = writeln!(out, "  {:wide$}    {mend}", "");
                }
                name = "";
            }
        }
        out
    }
}

const DAY: i64 = 24 * 3600;
/// A token without an end is old after so long.
const OLD: i64 = 90 * DAY;
/// Credentials that end so soon are told of.
const SOON: i64 = 14 * DAY;

/// What the status of a Cluster says. `now`: seconds since 1970.
pub fn of_status(name: &str, status: &ClusterStatus, now: i64) -> Vec<Group> {
    let group =
        |group: &str, checks: Vec<Finding>| Group { about: name.to_owned(), name: group.to_owned(), checks };
    let condition = |type_: &str| status.conditions.iter().find(|c| c.type_ == type_);
    let by = |type_: &str, fine: &str| match condition(type_) {
        Some(c) => of_condition(c, fine),
        None => Finding::unknown(
            format!("{type_} is not known yet"),
            "the controller has not looked at this Cluster: kro-hub check",
        ),
    };
    let mut credentials = vec![by("CredentialsValid", "taken")];
    credentials.extend(age(name, status, now));
    let version = if status.kubernetes_version.is_empty() { "" } else { ", " };
    let contact = format!("connected{version}{}", status.kubernetes_version);
    let mut content = vec![Finding::ok(format!("{} instances", status.instances))];
    if let Some(left) = status.left_behind.as_ref().filter(|left| left.count > 0) {
        let text = format!("{} left behind: {}", left.count, left.names.join(", "));
        content.push(Finding::warning(text, "they are cleaned or adopted when the cluster is in contact"));
    }
    if let Some(unknown) = status.unknown_mirrors.as_ref().filter(|unknown| unknown.count > 0) {
        let text =
            format!("{} belong to no instance of the hub: {}", unknown.count, unknown.names.join(", "));
        content.push(Finding::warning(text, "they stay: create their instances again, or delete them there"));
    }
    vec![
        group("credentials", credentials),
        group("contact", vec![by("Reachable", &contact)]),
        group("identity", vec![by("Claimed", &format!("claimed by this hub, id {}", status.cluster_id))]),
        group("cluster", vec![by("Ready", "Ready")]),
        group("content", content),
    ]
}

fn of_condition(condition: &Condition, fine: &str) -> Finding {
    let Condition { reason, message, .. } = condition;
    let said = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
    let mend = format!("kro-hub explain {reason}");
    match condition.status {
        ConditionStatus::True if message.is_empty() => Finding::ok(fine),
        ConditionStatus::True => Finding::warning(format!("{fine}; {message}"), mend).because(reason),
        ConditionStatus::False => Finding::failed(said, mend).because(reason),
        ConditionStatus::Unknown => {
            Finding { mend: Some(mend), ..Finding::new(Outcome::Unknown, said) }.because(reason)
        }
    }
}

/// How old the credentials are, and how long they last.
fn age(name: &str, status: &ClusterStatus, now: i64) -> Option<Finding> {
    let credentials = status.credentials.as_ref()?;
    let rotate = format!("kro-hub cluster rotate {name} --context CONTEXT-OF-{name}");
    let days = |seconds: i64| seconds / DAY;
    let issued = credentials.issued_at.as_ref().map(|t| now - t.0.as_second());
    let old = issued.map(|age| format!("{} d old, ", days(age))).unwrap_or_default();
    Some(match credentials.expires_at.as_ref().map(|t| t.0.as_second() - now) {
        Some(left) if left <= 0 => {
            Finding::failed(format!("{}: {old}ended {} d ago", credentials.type_, days(-left)), rotate)
        }
        Some(left) if left < SOON => {
            Finding::warning(format!("{}: {old}ends in {} d", credentials.type_, days(left)), rotate)
        }
        Some(left) => Finding::ok(format!("{}: {old}ends in {} d", credentials.type_, days(left))),
        None if issued.is_some_and(|age| age > OLD) => {
            Finding::warning(format!("{}: {old}no expiry", credentials.type_), rotate)
        }
        None => Finding::ok(format!("{}: {old}no expiry", credentials.type_)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn status(value: serde_json::Value) -> ClusterStatus {
        serde_json::from_value(value).unwrap()
    }
    fn at(seconds: i64) -> String {
        jiff::Timestamp::from_second(seconds).unwrap().to_string()
    }
    fn said(status: &ClusterStatus) -> Check {
        Check::new(of_status("eu", status, NOW))
    }
    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> serde_json::Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    }

    #[test]
    fn a_cluster_that_is_well_and_one_that_is_not() {
        let well = status(
            json!({"clusterID": "8f2c", "kubernetesVersion": "v1.37.2", "instances": 3, "conditions": [
            condition("CredentialsValid", "True", "Valid", ""), condition("Reachable", "True", "Connected", ""),
            condition("Claimed", "True", "Claimed", ""), condition("Ready", "True", "Ready", "")],
            "credentials": {"type": "Token", "issuedAt": at(NOW - 92 * DAY)}}),
        );
        insta::assert_snapshot!("check_well", said(&well).text(false, false));
        assert!(!said(&well).has_failed(), "warnings are no failure");
        let ill = status(
            json!({"instances": 1, "leftBehind": {"count": 2, "names": ["A n/a", "A n/b"]}, "conditions": [
            condition("CredentialsValid", "True", "Valid", ""),
            condition("Reachable", "False", "Unreachable", "connecting fails"),
            condition("Ready", "False", "Unreachable", "connecting fails")]}),
        );
        insta::assert_snapshot!("check_ill", said(&ill).text(true, true));
        assert!(said(&ill).has_failed());
        assert_eq!(said(&status(json!({}))).groups[0].checks[0].result, Outcome::Unknown);
    }

    /// Fields are only ever added.
    #[test]
    fn the_published_schema_is_that_of_the_output() {
        let schema = format!("{:#}\n", json!(schemars::schema_for!(Check)));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli/check.schema.json");
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == schema, "docs/cli/check.schema.json differs from:\n{schema}");
        let shown = json!(said(&status(json!({}))));
        assert_eq!(
            (&shown["kind"], &shown["apiVersion"]),
            (&json!("Check"), &json!("cli.hub.kro.run/v1alpha1"))
        );
    }

    #[test]
    fn credentials_have_an_age() {
        let days = |d: i64| at(NOW + d * DAY);
        for (credentials, result, text) in [
            (json!({"type": "Token", "issuedAt": days(-10)}), Outcome::Ok, "Token: 10 d old, no expiry"),
            (json!({"type": "OpaqueToken"}), Outcome::Ok, "OpaqueToken: no expiry"),
            (json!({"type": "Token", "issuedAt": days(-92)}), Outcome::Warning, "Token: 92 d old, no expiry"),
            (json!({"type": "Token", "expiresAt": days(15)}), Outcome::Ok, "Token: ends in 15 d"),
            (json!({"type": "Token", "expiresAt": days(13)}), Outcome::Warning, "Token: ends in 13 d"),
            (
                json!({"type": "ClientCertificate", "issuedAt": days(-400), "expiresAt": days(-35)}),
                Outcome::Failed,
                "ClientCertificate: 400 d old, ended 35 d ago",
            ),
        ] {
            let check = said(&status(json!({"credentials": credentials})));
            let finding = &check.groups[0].checks[1];
            assert_eq!((finding.result, finding.text.as_str()), (result, text));
            assert_eq!(finding.mend.is_some(), result != Outcome::Ok);
        }
    }
}
