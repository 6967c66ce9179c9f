//! One question more, where one answer or the lack of it says too little: whether it is the trouble of the API server itself, or
//! only that of an API group or of a single object.

use super::groups::aggregated;
use super::health::Contact;
use super::in_flight::Outcome;
use super::transport::{Answer, Sent, Transport};
use http::{HeaderValue, StatusCode};

impl Transport {
    /// No answer came in time.
    pub(super) fn late(&self, request: &Sent<'_>) {
        // No loss of contact: a proxy that holds the head of a watch back until something happens, and a group whose own server
        // does not answer.
        let mut lost = request.verb != "watch" && aggregated(request.path).is_none();
        if lost && !request.reads() {
            lost = false;
            if self.hook.contacts.is_some() && !self.gate.answered_since(request.begun) {
                self.doubt_contact(request.auth.clone());
            }
        }
        if request.verb != "watch" {
            self.load(request, Outcome::TimedOut);
        }
        self.hook.done(request.verb, "timeout", lost.then_some(Contact::Timeout));
    }

    /// Whether it has to be asked, and is so.
    pub(super) async fn may_be_of_group_alone(
        &self,
        request: &Sent<'_>,
        status: StatusCode,
        body: &Answer,
    ) -> bool {
        let ask = match status {
            StatusCode::UNAUTHORIZED => true,
            // Where the server itself has asked to slow down, it need not be asked once more. A hub that is overloaded is to
            // be waited for, whatever the group.
            StatusCode::TOO_MANY_REQUESTS => {
                self.proves && body.asks_to_slow_down(status) && !self.gate.is_paused()
            }
            _ => false,
        };
        ask && aggregated(request.path).is_some()
            && self.is_of_group_alone(status, request.auth.as_ref()).await
    }

    /// Whether a refusal is the word of what serves a group, and of nobody else: asked for itself, the API server does not say
    /// the same. Nothing in the answer tells: whoever passes it on puts the header with the flow schema on it too.
    async fn is_of_group_alone(&self, status: StatusCode, auth: Option<&HeaderValue>) -> bool {
        let found = self.connections().system(auth).await;
        match found {
            // Who knows who asks says who it is, or that this may not be read.
            Ok(told) if status == StatusCode::UNAUTHORIZED => told.status != status,
            Ok(told) => told.status != status && !told.status.is_server_error(),
            // It says nothing at all: that shows by itself. Credentials are not to be doubted for that.
            Err(_) => status == StatusCode::UNAUTHORIZED,
        }
    }

    /// Nothing came of a write in time. Where the API server answers other requests, what hangs is this one alone: an
    /// admission webhook may stand behind its kind.
    fn doubt_contact(&self, auth: Option<HeaderValue>) {
        let this = self.clone();
        // Beside the request, whose sender has waited for long enough.
        tokio::spawn(async move {
            let found = this.connections().system(auth.as_ref()).await;
            if !found.is_ok_and(|told| !told.status.is_server_error()) {
                this.hook.heard(Contact::Timeout);
            }
        });
    }
}
