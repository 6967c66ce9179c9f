//! Secrets that ask for a Cluster: applied, refused, and looked at again until it is there.

use super::{Clusters, Effect, registration};
use crate::api::Object;
use crate::api::keys::hub;
use crate::api::names::ClusterName;
use crate::hub::Event;
use crate::hub::context::Context;
use crate::hub::resources::clusters;
use crate::hub::view::Key;
use crate::spoke::client::ApiError;
use serde_json::Value;

impl Clusters {
    /// A labelled Secret asks for a Cluster.
    pub(super) fn register(&mut self, ctx: &Context, secret: &Object) {
        let existing = self.view.get(&Key::new("", secret.name())).map(|o| (**o).clone());
        let place = Key::new(secret.namespace(), secret.name());
        match registration::of(secret, existing.as_ref()) {
            registration::Verdict::Nothing => self.registrations.settled(&place),
            registration::Verdict::Refuse(message) => {
                self.registrations.settled(&place);
                let told = registration::Told::of(secret);
                if self.told.insert(place, told.clone()) == Some(told) {
                    return;
                }
                tracing::warn!(secret = secret.name(), namespace = secret.namespace(), message);
                ctx.publish(secret, true, "ClusterNameTaken", message);
            }
            registration::Verdict::Apply(body) => {
                if !self.registrations.may_apply(&place, &body, ctx.clock.now().at) {
                    return;
                }
                let this = ctx.clone();
                ctx.spawn(async move {
                    let (resource, name) = (clusters(), place.name.as_str());
                    let written = this.client.at(&resource, "", name).apply(hub::MANAGER, &body).await;
                    this.tell(Event::Registered(place, written));
                });
            }
        }
    }

    /// What a Secret asked for was written, or not.
    pub fn registered(
        &mut self,
        ctx: &Context,
        secret: &Key,
        result: Result<Value, ApiError>,
    ) -> Vec<Effect> {
        // Also after an answer that is good: the Cluster may not come to be seen, or may not stay as it was written.
        let why = result.as_ref().err().map(ToString::to_string);
        let pause = self.registrations.answered(secret, why, ctx.clock.now().at);
        let name = ClusterName::new(&secret.name);
        let effects = match result {
            Ok(value) => {
                self.view.refresh(super::small::object(value));
                self.look_again(ctx, &name)
            }
            Err(error) => {
                tracing::warn!(cluster = %name, %error, ?pause, "registering a cluster failed");
                Vec::new()
            }
        };
        self.register_waiting(ctx, &name);
        effects
    }

    /// Looks again at the Secrets whose registration is not settled: what they ask for may be there, or may have changed.
    pub(super) fn register_waiting(&mut self, ctx: &Context, name: &ClusterName) {
        for place in self.registrations.of(name.as_str()) {
            self.register_at(ctx, &place);
        }
    }

    pub(super) fn register_at(&mut self, ctx: &Context, place: &Key) {
        let secret = self.secrets.get(&place.namespace).and_then(|view| view.get(place)).cloned();
        match secret {
            Some(secret) => self.register(ctx, &secret),
            None => self.registrations.settled(place),
        }
    }
}
