//! Registering a cluster: look at both sides, then write; written again it goes on where it ended.

use super::hub::Hub;
use super::token::{self, TokenKind};
use super::{PATIENCE, POLL, apply, resource_of};
use crate::access::register::{self, Says, Survey, Way};
use crate::access::{Account, Question, warnings};
use crate::api::keys::hub as keys;
use crate::api::names::ClusterName;
use crate::edge::{Connection, Failure, Sort};
use crate::hub::{identity, resources};
use crate::metrics::Metrics;
use crate::spoke::client::{ClientSettings, SpokeClient};
use crate::spoke::host::ThisHost;
use crate::spoke::kubeconfig::{self, Policy};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was found on both sides.
pub struct Surveyed {
    pub survey: Survey,
    pub version: String,
    /// What the person may not do and has to.
    pub denied: Vec<Question>,
}

/// What is to be done.
pub struct Order {
    pub way: Way,
    pub labels: Vec<(String, String)>,
    /// What its Cluster says.
    pub says: Says,
    pub account: Account,
    /// Roles and bindings on the spoke.
    pub roles: Vec<Value>,
    /// What warns people there of edits.
    pub warnings: Vec<Value>,
    /// What the account has to be allowed before the hub uses it.
    pub questions: Vec<Question>,
    pub token: TokenKind,
}

/// Looks at both sides; writes nothing.
///
/// # Errors
/// One of them cannot be asked.
pub async fn survey(
    name: &str,
    hub: &Hub,
    spoke: &Connection,
    needs: &[Question],
) -> Result<Surveyed, Failure> {
    let asked = identity::of_cluster(spoke.verbs());
    let info = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => {
            return Err(Failure::usage(format!("context {} ({}): {error}", spoke.name, spoke.server)));
        }
        Err(_) => {
            return Err(Failure::usage(format!(
                "{} did not answer within {} s",
                spoke.server,
                PATIENCE.as_secs()
            )));
        }
    };
    let claim = spoke.get(&resources::config_maps(), keys::CLAIM_NAMESPACE, keys::CLAIM_CONFIGMAP).await?;
    let claim = claim.map(|claim| claim.str_at("/data/hub-id").to_owned());
    let clusters = hub.clusters().await?.into_iter().map(|c| c.0).collect();
    let survey = Survey {
        name: name.to_owned(),
        id: info.id,
        system_uid: info.system_uid,
        claim,
        hub_id: hub.id().await?,
        hub_uid: hub.connection.system_uid().await?.unwrap_or_default(),
        clusters,
        secret: hub.secret(&hub.namespace, name).await?.map(|s| s.0),
        hub_namespace: hub.namespace.clone(),
    };
    let mut denied = spoke.denied(needs, None).await?;
    let on_hub = ["create", "patch"].map(|verb| Question {
        verb: verb.into(),
        group: String::new(),
        resource: "secrets".into(),
        subresource: String::new(),
        name: String::new(),
        namespace: hub.namespace.clone(),
        url: String::new(),
        why: "the Secret that registers the cluster".into(),
    });
    denied.extend(hub.connection.denied(&on_hub, None).await?);
    Ok(Surveyed { survey, version: info.version, denied })
}

/// Writes on the spoke and on the hub. The inner error: the token could not be tried, as the address may be reachable from
/// the hub alone.
///
/// # Errors
/// What could not be written; what was before stays, and the next call goes on.
pub async fn enrol(
    hub: &Hub,
    spoke: &Connection,
    survey: &Survey,
    order: &Order,
) -> Result<Result<(), String>, Failure> {
    for object in register::account(&order.account).iter().chain(&order.roles).chain(&order.warnings) {
        apply(spoke, object).await?;
    }
    let token = token::get(spoke, &order.account, order.token, false).await?;
    goes_by_its_roles(spoke, order).await?;
    let kubeconfig = register::kubeconfig(&order.way, &token.text);
    let tried = try_it(&kubeconfig, &order.way, &survey.id).await?;
    if !order.says.is_nothing() {
        apply(&hub.connection, &register::cluster(survey, &order.labels, &order.says)).await?;
    }
    apply(&hub.connection, &register::secret(survey, &order.labels, &order.way, &kubeconfig)).await?;
    Ok(tried)
}

/// Whether the cluster can warn of edits.
///
/// # Errors
/// It is too old for that, or cannot be asked.
pub async fn warns(spoke: &Connection) -> Result<(), Failure> {
    let policy = warnings::of_edits().first().map(resource_of);
    let Some(policy) = policy else { return Ok(()) };
    match spoke.get(&policy, "", warnings::POLICY).await {
        Err(failure) if failure.sort == Sort::NotServed => Err(Failure::usage(format!(
            "{} cannot warn of edits: it has no {} of {}, which is there from Kubernetes 1.30 on; leave out --warn-on-edit",
            spoke.name, policy.plural, policy.api_version
        ))),
        asked => asked.map(drop),
    }
}

/// An API server hears of new roles a moment later.
async fn goes_by_its_roles(spoke: &Connection, order: &Order) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let denied = spoke.denied(&order.questions, Some(&order.account)).await?;
        let Some(first) = denied.first() else { return Ok(()) };
        if start.elapsed() > Duration::from_secs(10) {
            return Err(Failure::usage(format!(
                "{} still denies ServiceAccount {}/{} {} rights, the first: {} {} ({})",
                spoke.name,
                order.account.namespace,
                order.account.name,
                denied.len(),
                first.verb,
                first.what(),
                first.why
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads the kubeconfig as the hub will, and asks who answers. The inner error: it cannot be reached from here.
pub(super) async fn try_it(text: &str, way: &Way, id: &str) -> Result<Result<(), String>, Failure> {
    let policy = Policy { public_roots: way.authority.is_none() };
    let endpoint = kubeconfig::parse(text.as_bytes(), &policy)
        .map_err(|refused| Failure::usage(format!("the hub would refuse this kubeconfig: {refused}")))?;
    let (contacts, _unheard) = tokio::sync::mpsc::unbounded_channel();
    let settings = ClientSettings {
        cluster: ClusterName::new("spoke"),
        in_flight: 2,
        metrics: Metrics::default(),
        contacts,
    };
    let client = SpokeClient::new(&endpoint, settings, Arc::new(ThisHost))
        .map_err(|error| Failure::usage(format!("the hub could not use this kubeconfig: {error}")))?;
    match tokio::time::timeout(Duration::from_secs(10), identity::of_cluster(&client)).await {
        Ok(Ok(info)) if info.id != id => Err(Failure::usage(format!(
            "{} leads to another cluster (id {}, not {id}); give the address of this one with --server",
            way.server, info.id
        ))),
        Ok(Ok(_)) => Ok(Ok(())),
        Ok(Err(error)) if error.is_contact_problem() && !error.to_string().contains("401") => {
            Ok(Err(format!("{} cannot be reached from here: {error}", way.server)))
        }
        Ok(Err(error)) => Err(Failure::usage(format!("the new token was tried: {error}"))),
        Err(_) => Ok(Err(format!("{} cannot be reached from here: no answer", way.server))),
    }
}
