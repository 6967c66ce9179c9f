//! One apply, tried: by the API server, and where that cannot be, by what the body says.

use super::reading::{failed, named};
use super::{Answer, AsIf, Deed, Failed, Stage, What, as_if};
use crate::api::Object;
use crate::api::keys::kro;
use crate::api::names::{GroupKind, InstanceKey, ObjectRef};
use crate::reconcile::lists;
use crate::reconcile::spoke::tracked::Trouble;
use crate::reconcile::spoke::{Apply, Guard, Home, Outcome, Task, being_deleted};
use crate::reconcile::world::Stored;
use crate::spoke::actor::Event;
use crate::spoke::client::ApiError;
use crate::spoke::crd::Brought;
use crate::spoke::{perform, redacted};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a webhook with side effects makes an API server say to a dry run.
const NO_DRY_RUN: &str = "does not support dry run";

/// An apply, and whose it is.
pub(super) struct Try<'a> {
    pub key: &'a InstanceKey,
    pub task: &'a Task,
    pub apply: &'a Apply,
    pub resource: &'a ApiResource,
}

impl Try<'_> {
    /// It is of the object that children belong to.
    fn is_of_parent(&self) -> bool {
        self.apply.object == self.task.key.object()
    }
}

/// What an apply left, and what was there.
struct Left {
    after: Value,
    /// As it is; `None` where nothing is.
    live: Option<Arc<Value>>,
    /// It is not there.
    made: bool,
    /// Why no API server judged it.
    untried: Option<String>,
}

impl Stage<'_> {
    pub(super) async fn apply(&self, of: &Try<'_>) -> Result<Answer, Failed> {
        let Apply { object, body, .. } = of.apply;
        let manager = of.apply.manager;
        let known = self.as_if.get(object);
        let laid = |base: Option<&Value>| as_if::applied(base, body, manager, self.versions.next());
        if let Home::Local { instance } = &of.task.home
            && of.is_of_parent()
        {
            // As the hub would have it by then, which no API server knows yet.
            let instance = instance.object.unpack();
            let after = laid(Some(known.map_or(&instance.0, |known| &*known.value)));
            return Ok(self.left(of, Left { after, live: None, made: false, untried: None }));
        }
        if let Some(known) = known
            && known.manager != manager
            && manager != kro::MANAGER_APPLYSET
        {
            let live = self.live.get(object).cloned().flatten();
            let after = laid(Some(&known.value));
            return Ok(self.left(of, Left { after, live, made: known.made, untried: None }));
        }
        let live = self.live(of).await?;
        let answer = if let Some(refused) = self.guarded(of, live.as_ref()) {
            refused
        } else if let Some(first) = self.comes_first(object) {
            let base = known.map(|known| &*known.value).or(live.as_deref());
            let (after, made) = (laid(base), live.is_none());
            let untried = Some(format!("{first} would come first"));
            self.left(of, Left { after, live: live.clone(), made, untried })
        } else {
            self.sent(of, live.as_ref()).await?
        };
        Ok(Answer { live: vec![(object.clone(), live)], ..answer })
    }

    /// What is there now.
    async fn live(&self, of: &Try<'_>) -> Result<Option<Arc<Value>>, Failed> {
        let object = &of.apply.object;
        if let Some(live) = self.live.get(object) {
            return Ok(live.clone());
        }
        if self.coming.get(&object.gk).is_some_and(|(_, brought)| *brought == Brought::New) {
            return Ok(None);
        }
        match self.verbs.at(of.resource, &object.namespace, &object.name).get().await {
            Err(ApiError::KindUnknown) => Ok(None),
            read => Ok(read.map_err(failed(|| format!("get {}", named(of.resource))))?.map(Arc::new)),
        }
    }

    /// What the API server does not have yet, though the object needs it.
    fn comes_first(&self, object: &ObjectRef) -> Option<String> {
        if let Some((graph, _)) = self.coming.get(&object.gk) {
            return Some(format!("CustomResourceDefinition {}", graph.crd_name()));
        }
        let name = &object.namespace;
        let own = ObjectRef::new(GroupKind::new("", "Namespace"), "", name);
        let made = || self.as_if.get(&own).is_some_and(|known| known.made);
        let comes = !name.is_empty() && (self.done.namespaces.contains(&**name) || made());
        comes.then(|| format!("namespace {name}"))
    }

    /// As production, where policy does not take what is there.
    fn guarded(&self, of: &Try<'_>, live: Option<&Arc<Value>>) -> Option<Answer> {
        let apply = of.apply;
        let found = Object((**live.filter(|_| apply.guard != Guard::None)?).clone());
        let (trouble, why) = match apply.may_take(&found) {
            Err(owner) => (Trouble::Conflict, format!("{} exists and belongs to {owner}", apply.object)),
            Ok(()) if found.is_deleting() => (Trouble::Terminating, being_deleted(&apply.object)),
            Ok(()) => return None,
        };
        Some(self.refused(of, (trouble, why), live))
    }

    async fn sent(&self, of: &Try<'_>, live: Option<&Arc<Value>>) -> Result<Answer, Failed> {
        let Apply { object, body, .. } = of.apply;
        let manager = of.apply.manager;
        let mut sent = body.clone();
        if live.is_some() && (manager == kro::MANAGER_PARENT || (of.task.is_nested() && of.is_of_parent())) {
            sent["metadata"]["uid"] = json!(of.task.hub_uid);
        }
        let tried = self.verbs.at(of.resource, &object.namespace, &object.name).apply(manager, &sent).await;
        let answer = match tried {
            Ok(answer) => answer,
            Err(error) if error.is_contact_problem() => {
                return Err(failed(|| format!("patch {}", named(of.resource)))(error));
            }
            Err(error) => return Ok(self.not_applied(of, &error, live)),
        };
        let known = self.as_if.get(object);
        let uid = known.and_then(|known| known.value.pointer("/metadata/uid")?.as_str());
        let mut after = as_if::stored(answer, self.versions.next(), uid);
        if let Some(known) = known.filter(|known| known.manager != manager) {
            after = as_if::with_marks_of(after, &known.value);
        }
        Ok(self.left(of, Left { after, live: live.cloned(), made: live.is_none(), untried: None }))
    }

    fn not_applied(&self, of: &Try<'_>, error: &ApiError, live: Option<&Arc<Value>>) -> Answer {
        let Apply { object, body, .. } = of.apply;
        let manager = of.apply.manager;
        match error {
            // The instance itself: its namespace is made for it.
            ApiError::NamespaceMissing { namespace } if of.task.is_mirrored() && of.is_of_parent() => {
                let outcome = Outcome::ApplyFailed {
                    object: object.clone(),
                    body: Arc::new(body.clone()),
                    trouble: Trouble::Error,
                    message: error.to_string(),
                    missing_namespace: Some(namespace.clone()),
                    unanswered: false,
                };
                let events = vec![Event::Done(of.key.clone(), outcome.into())];
                return Answer { events, ..Answer::default() };
            }
            // So it is by the time that its children are made; where its CRD would come first, it was not asked for yet.
            ApiError::NamespaceMissing { namespace }
                if of.task.is_mirrored() && **namespace == *of.key.namespace =>
            {
                let after = as_if::applied(None, body, manager, self.versions.next());
                let untried = Some(format!("namespace {namespace} would come first"));
                let left = self.left(of, Left { after, live: None, made: true, untried });
                return Answer { namespace: Some(namespace.clone()), ..left };
            }
            ApiError::Invalid { message } => {
                let mends = |live: &Arc<Value>| lists::hand_over(live, body, manager, message).is_some();
                let untried = if message.contains(NO_DRY_RUN) {
                    Some("a webhook there has side effects")
                } else if live.is_some_and(mends) {
                    Some("items that others put into its lists would be taken over first")
                } else {
                    None
                };
                if let Some(why) = untried {
                    let base = live.map(|live| &**live);
                    let after = as_if::applied(base, body, manager, self.versions.next());
                    let (live, made) = (live.cloned(), live.is_none());
                    return self.left(of, Left { after, live, made, untried: Some(why.to_owned()) });
                }
            }
            _ => {}
        }
        self.refused(of, (perform::trouble(error), redacted::of_apply(of.apply, error)), live)
    }

    fn refused(&self, of: &Try<'_>, (trouble, why): (Trouble, String), live: Option<&Arc<Value>>) -> Answer {
        let Apply { object, body, .. } = of.apply;
        let manager = of.apply.manager;
        let body = Arc::new(body.clone());
        let outcome = Outcome::ApplyFailed {
            object: object.clone(),
            body: body.clone(),
            trouble,
            message: why.clone(),
            missing_namespace: None,
            unanswered: false,
        };
        let deed = self.deed(of.key, object, manager, What::Refused(why));
        Answer {
            events: vec![Event::Done(of.key.clone(), outcome.into())],
            deed: Some(Deed { before: live.cloned(), ..deed }),
            ..Answer::default()
        }
    }

    /// The actor hears that it was done.
    fn left(&self, of: &Try<'_>, left: Left) -> Answer {
        let Apply { object, body, .. } = of.apply;
        let manager = of.apply.manager;
        let Left { after, live, made, untried } = left;
        let (body, after) = (Arc::new(body.clone()), Arc::new(after));
        let outcome = Outcome::Applied {
            object: object.clone(),
            body: body.clone(),
            manager,
            stored: Arc::new(Stored::new((*after).clone())),
        };
        let deed = self.deed(of.key, object, manager, What::Applied { body, after: after.clone(), untried });
        Answer {
            events: vec![Event::Done(of.key.clone(), outcome.into())],
            deed: Some(Deed { before: live, ..deed }),
            as_if: Some((object.clone(), AsIf { value: after, manager, made })),
            ..Answer::default()
        }
    }
}
