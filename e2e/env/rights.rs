//! What the hub may do on a spoke: exactly what `kro-hub rbac` prints for the definitions that are there, and nothing else. A
//! verb that is missing in it fails a trial.
//!
//! A trial plays the platform team: before a definition reaches the hub, or is edited, its rights reach every registered spoke.

use super::controller::binary;
use super::{Environment, cluster, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the accounts of the hub are; the roles are bound to all of them.
const NAMESPACE: &str = "kro-hub-access";
/// The group of all accounts there.
pub(super) const GROUP: &str = "system:serviceaccounts:kro-hub-access";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const SOON: Duration = Duration::from_secs(20);
/// Longer than any run.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What was granted so far.
#[derive(Default)]
pub struct Rights {
    spokes: Mutex<BTreeSet<String>>,
    /// By path.
    roles: Mutex<BTreeMap<String, Value>>,
    /// Spokes that answer nothing at present.
    frozen: Mutex<BTreeSet<String>>,
    /// Spoke and path.
    granted: Mutex<BTreeSet<(String, String)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Environment {
    /// A kubeconfig with a token, with which the hub may do on a spoke what the definitions so far need.
    ///
    /// # Errors
    /// The API server refuses, or the binary fails.
    pub fn least_kubeconfig(&self, spoke: &str) -> Result<String> {
        self.least_kubeconfig_of(spoke, "kro-hub", LONG)
    }

    /// The same through an account of its own, in namespace `kro-hub-access`.
    ///
    /// # Errors
    /// As there.
    pub fn least_kubeconfig_of(&self, spoke: &str, account: &str, valid: Duration) -> Result<String> {
        self.begin_on(spoke)?;
        let api = self.api(spoke);
        let namespaces = "/api/v1/namespaces";
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        api.apply(&format!("{namespaces}/{NAMESPACE}"), &namespace)?;
        let of_account = format!("{namespaces}/{NAMESPACE}/serviceaccounts/{account}");
        let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
        api.apply(&of_account, &body)?;
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": valid.as_secs()}});
        let answer = api.post(&format!("{of_account}/token"), &request)?;
        let token =
            answer.pointer("/status/token").and_then(Value::as_str).context("no token in the answer")?;
        self.kubeconfig_with(spoke, &json!({"token": token}))
    }

    /// A kubeconfig with a certificate, and the same rights. It is the same at each call.
    ///
    /// # Errors
    /// As [`Self::least_kubeconfig`].
    pub fn least_certificate(&self, spoke: &str) -> Result<String> {
        self.begin_on(spoke)?;
        let pki = &self.shared.pki;
        self.kubeconfig_with(spoke, &cluster::certificate(&pki.hub_cert, &pki.hub_key)?)
    }

    fn kubeconfig_with(&self, spoke: &str, user: &Value) -> Result<String> {
        cluster::kubeconfig_text(&self.shared.pki, spoke, self.cluster(spoke).port(), user)
    }

    fn begin_on(&self, spoke: &str) -> Result<()> {
        if !lock(&self.rights.spokes).insert(spoke.to_owned()) {
            return Ok(());
        }
        if lock(&self.rights.roles).is_empty() {
            self.print("")?;
        }
        self.grant_on(spoke)
    }

    /// Gives the hub what a definition needs, on every spoke that is registered so far and on those to come.
    ///
    /// # Errors
    /// As [`Self::least_kubeconfig`].
    pub fn allow(&self, definition: &Value) -> Result<()> {
        if !self.print(&definition.to_string())? {
            return Ok(());
        }
        let spokes: Vec<String> = lock(&self.rights.spokes).iter().cloned().collect();
        // One that is down or frozen gets them when it is back.
        let answers =
            |spoke: &&String| self.cluster(spoke).is_up() && !lock(&self.rights.frozen).contains(*spoke);
        spokes.iter().filter(answers).try_for_each(|spoke| self.grant_on(spoke))
    }

    /// Takes in what `kro-hub rbac` prints for these definitions; says whether it is anything new.
    fn print(&self, definitions: &str) -> Result<bool> {
        // A kind that only a spoke serves is believed.
        let args = ["rbac", "-", "--allow-unknown-kinds", "--feature-gates", "AllAlpha=true"];
        let mut child = Command::new(binary()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no stdin")?.write_all(definitions.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(!text.is_empty(), "kro-hub rbac: {}", String::from_utf8_lossy(&output.stderr));
        let mut hash = DefaultHasher::new();
        text.hash(&mut hash);
        let suffix = format!("-{:x}", hash.finish());
        let mut new = false;
        let mut roles = lock(&self.rights.roles);
        for mut object in serde_saphyr::from_multiple::<Value>(&text)?.into_iter().filter(|d| !d.is_null()) {
            // Beside those of other definitions, and bound to every account of the hub.
            for pointer in ["/metadata/name", "/roleRef/name"] {
                if let Some(name) = object.pointer_mut(pointer) {
                    *name = json!(format!("{}{suffix}", name.as_str().unwrap_or_default()));
                }
            }
            if object.get("subjects").is_some() {
                object["subjects"] = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                    "name": GROUP}]);
            }
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let plural = format!("{}s", text("/kind").to_lowercase());
            let place = match text("/metadata/namespace") {
                "" => String::new(),
                namespace => format!("/namespaces/{namespace}"),
            };
            let path = format!("{RBAC}{place}/{plural}/{}", text("/metadata/name"));
            new |= roles.insert(path, object).is_none();
        }
        Ok(new)
    }

    /// Whether it answers nothing from now on.
    pub(super) fn note_frozen(&self, spoke: &str, frozen: bool) {
        let mut all = lock(&self.rights.frozen);
        all.remove(spoke);
        all.extend(frozen.then(|| spoke.to_owned()));
    }

    /// Applies all roles on a spoke, and waits until the API server goes by them.
    pub(super) fn grant_on(&self, spoke: &str) -> Result<()> {
        if !lock(&self.rights.spokes).contains(spoke) {
            return Ok(());
        }
        let roles = lock(&self.rights.roles).clone();
        let mut wanted = Vec::new();
        for (path, role) in &roles {
            let granted = (spoke.to_owned(), path.clone());
            if lock(&self.rights.granted).contains(&granted) {
                continue;
            }
            // A connection from before the server was frozen or ended may have to be made anew.
            eventually(SOON, &format!("{path} applied on {spoke}"), || self.api(spoke).apply(path, role))?;
            lock(&self.rights.granted).insert(granted);
            wanted.extend(Some(role).filter(|_| path.contains("/clusterroles/")).and_then(review));
        }
        eventually(SOON, &format!("{spoke} goes by its roles"), || {
            for review in &wanted {
                let answer =
                    self.api(spoke).post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)?;
                ensure!(answer.pointer("/status/allowed") == Some(&json!(true)), "{}", review["spec"]);
            }
            Ok(())
        })
    }
}

/// Asks for the last rule of a role, in the name of an account of the hub.
fn review(role: &Value) -> Option<Value> {
    let rule = role["rules"].as_array()?.last()?;
    let first = |key: &str| rule[key].as_array().and_then(|list| list.first()?.as_str());
    let (resource, subresource) = first("resources")?.split_once('/').unwrap_or((first("resources")?, ""));
    Some(json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": format!("system:serviceaccount:{NAMESPACE}:kro-hub"),
        "groups": [GROUP],
        "resourceAttributes": {"verb": first("verbs")?, "group": first("apiGroups")?, "resource": resource,
            "subresource": subresource, "name": first("resourceNames").unwrap_or_default()}}}))
}
