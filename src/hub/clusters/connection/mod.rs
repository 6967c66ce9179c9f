//! How far the hub is with one cluster: it is not used, it is being asked who it is, or it has an actor. What was begun for
//! a connection ends with it, and what is answered to an earlier one counts no more.

mod contact;

pub(super) use contact::{Actor, Contact};

use super::source::Blocked;
use crate::reconcile::Moment;
use crate::reconcile::fleet::aggregate::ClusterHealth;
use crate::spoke::client::SpokeClient;
use crate::spoke::messages::ContactState;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A failing first contact is shown after this many tries in a row.
const TRIES_BEFORE_UNREACHABLE: u32 = 2;

/// [`super::source::Source::fingerprint`]
pub(super) type Fingerprint = ([u8; 32], Option<u32>);

pub(super) enum Connection {
    /// It is not used.
    Refused(Refused),
    /// It is asked who it is, and whose.
    Asking(Asking),
    Running(Box<Running>),
}

pub(super) struct Refused {
    pub why: Blocked,
    /// The credentials that led to this: the same are not tried again before the time comes.
    tried: Option<Fingerprint>,
    again_at: Option<Moment>,
}

pub(super) struct Asking {
    attempt: Attempt,
    /// How it stood: what was wrong is shown until there is an answer.
    before: Option<ClusterHealth>,
    pub failure: Option<ContactState>,
    failures: u32,
}

pub(super) struct Running {
    attempt: Attempt,
    /// For asking once more who it is when contact returns.
    pub client: SpokeClient,
    pub actor: Actor,
    pub contact: Contact,
    asked: u64,
}

/// One try of one set of credentials.
struct Attempt {
    epoch: u64,
    credentials: Option<Fingerprint>,
    until: CancellationToken,
    _ends: DropGuard,
}

impl Attempt {
    fn new(epoch: u64, credentials: Option<Fingerprint>, until: CancellationToken) -> Self {
        let ends = until.clone().drop_guard();
        Self { epoch, credentials, until, _ends: ends }
    }
}

impl Connection {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::Asking(Asking {
            attempt: Attempt::new(0, None, CancellationToken::new()),
            before: None,
            failure: None,
            failures: 0,
        })
    }

    /// Asks with these credentials from now on. `term` ends with the right to write, and what is begun here ends with it.
    /// Returns the token that asking ends with.
    pub fn ask(
        &mut self,
        epoch: u64,
        credentials: Fingerprint,
        term: &CancellationToken,
        lost_since: &str,
    ) -> CancellationToken {
        let before = Some(self.health(lost_since)).filter(|health| *health != ClusterHealth::Connecting);
        let until = term.child_token();
        let attempt = Attempt::new(epoch, Some(credentials), until.clone());
        *self = Self::Asking(Asking { attempt, before, failure: None, failures: 0 });
        until
    }

    /// It is not used until something else is said of it.
    pub fn refuse(&mut self, why: Blocked) {
        *self = Self::Refused(Refused { why, tried: None, again_at: None });
    }

    /// It is not used with these credentials; with the same again from `again_at` on, where that is known.
    pub fn refuse_credentials(&mut self, why: Blocked, again_at: Option<Moment>) {
        *self = Self::Refused(Refused { why, tried: self.tried(), again_at });
    }

    /// It has an actor. `None`: nobody asked for one.
    pub fn run(&mut self, client: SpokeClient, actor: Actor) {
        let Self::Asking(asking) = std::mem::replace(self, Self::new()) else { return };
        let attempt = asking.attempt;
        *self =
            Self::Running(Box::new(Running { attempt, client, actor, contact: Contact::Trusted, asked: 0 }));
    }

    /// Nothing is begun for it any more, and what it shows stays as it is.
    pub fn stop(&self) {
        match self {
            Self::Refused(_) => {}
            Self::Asking(asking) => asking.attempt.until.cancel(),
            Self::Running(running) => {
                running.attempt.until.cancel();
                running.actor.stop();
            }
        }
    }

    fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Refused(_) => None,
            Self::Asking(asking) => Some(&asking.attempt),
            Self::Running(running) => Some(&running.attempt),
        }
    }

    /// The credentials that it stands for.
    pub fn tried(&self) -> Option<Fingerprint> {
        match self {
            Self::Refused(refused) => refused.tried,
            other => other.attempt().and_then(|attempt| attempt.credentials),
        }
    }

    /// The same credentials count as new ones.
    pub fn forget_credentials(&mut self) {
        match self {
            Self::Refused(refused) => (refused.tried, refused.again_at) = (None, None),
            Self::Asking(asking) => asking.attempt.credentials = None,
            Self::Running(running) => running.attempt.credentials = None,
        }
    }

    /// Refused credentials are tried again when their time has come.
    pub fn try_again(&mut self, now: Moment) {
        if matches!(self, Self::Refused(refused) if refused.again_at.is_some_and(|at| at <= now)) {
            self.forget_credentials();
        }
    }

    /// Whether an answer to a question of this number is waited for. One that was under way when the cluster was paused,
    /// or its Secret went, is not.
    pub fn is_asking(&self, epoch: u64) -> bool {
        matches!(self, Self::Asking(asking) if asking.attempt.epoch == epoch)
    }

    /// Whether it has an actor.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Whether its actor is the one of this number.
    pub fn is_actor(&self, epoch: u64) -> bool {
        matches!(self, Self::Running(running) if running.epoch() == epoch)
    }

    /// Whether an answer about a cluster whose contact returned is waited for.
    pub fn is_checking(&self, epoch: u64, ask: u64) -> bool {
        matches!(self, Self::Running(running) if running.epoch() == epoch && running.contact.is_checking(ask))
    }

    /// Whether it was ready and is being connected anew.
    pub fn was_ready(&self) -> bool {
        matches!(self, Self::Asking(Asking { before: Some(ClusterHealth::Ready), .. }))
    }

    pub fn epoch(&self) -> Option<u64> {
        self.attempt().map(|attempt| attempt.epoch)
    }

    /// What is asked for it ends with this.
    pub fn until(&self) -> Option<CancellationToken> {
        self.attempt().map(|attempt| attempt.until.clone())
    }

    /// `lost_since`: since when there is no contact.
    pub fn health(&self, lost_since: &str) -> ClusterHealth {
        match self {
            Self::Refused(Refused { why, .. }) => {
                ClusterHealth::NotReady { reason: why.reason.text().to_owned(), message: why.message.clone() }
            }
            Self::Asking(Asking { failure: Some(why), .. }) => seen(why, lost_since),
            // It was ready by the word of an actor that is no more.
            Self::Asking(Asking { before: None | Some(ClusterHealth::Ready), .. }) => {
                ClusterHealth::Connecting
            }
            Self::Asking(Asking { before: Some(before), .. }) => before.clone(),
            Self::Running(running) => match running.contact.lost() {
                None => ClusterHealth::Ready,
                Some(why) => seen(why, lost_since),
            },
        }
    }
}

impl Asking {
    /// A question got no answer that is of use. Whether it is to be shown from now on.
    pub fn failed(&mut self, why: ContactState) -> bool {
        // One try without contact says little, also after others that ended differently.
        let contact = matches!(why, ContactState::Unreachable(_));
        self.failures = if contact { self.failures + 1 } else { 0 };
        let shown = self.failures >= TRIES_BEFORE_UNREACHABLE || !contact;
        if shown {
            self.failure = Some(why);
        }
        shown
    }
}

impl Running {
    pub fn epoch(&self) -> u64 {
        self.attempt.epoch
    }

    /// Contact is back, and who answers is asked before anything is written. Returns the number of the question, and the
    /// token that asking ends with.
    pub fn check(&mut self) -> (u64, CancellationToken) {
        self.asked += 1;
        (self.asked, self.contact.check(self.asked, &self.attempt.until))
    }

    pub fn lose(&mut self, why: ContactState) {
        self.actor.trust(false);
        self.contact = Contact::Lost(why);
    }

    /// Who answers is known, and it is the one that was claimed.
    pub fn trust(&mut self) {
        self.actor.trust(true);
        self.contact = Contact::Trusted;
    }
}

fn seen(why: &ContactState, lost_since: &str) -> ClusterHealth {
    let since = lost_since.to_owned();
    match why {
        ContactState::Ready => ClusterHealth::Ready,
        ContactState::Unreachable(message) => ClusterHealth::Unreachable { since, message: message.clone() },
        ContactState::Unauthorized(message) => {
            ClusterHealth::Unauthorized { since, message: message.clone() }
        }
        ContactState::Unusable { reason, message } => {
            ClusterHealth::NotReady { reason: (*reason).to_owned(), message: message.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::clusters::source::Reason;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn asking(epoch: u64, before: Connection) -> Connection {
        let mut connection = before;
        connection.ask(epoch, ([1; 32], None), &CancellationToken::new(), "");
        connection
    }
    fn claimed() -> Connection {
        let mut connection = Connection::new();
        connection.refuse(Blocked::new(Reason::ClaimedByAnotherHub, "m".into()));
        connection
    }

    #[test]
    fn connecting_anew_shows_what_was_until_there_is_an_answer() {
        let mut connection = asking(1, Connection::new());
        assert_eq!(connection.health(""), ClusterHealth::Connecting);
        connection = claimed();
        let before = connection.health("");
        for epoch in 2..4 {
            connection = asking(epoch, connection);
            assert_eq!(connection.health(""), before);
        }
        let Connection::Asking(question) = &mut connection else { panic!("it asks") };
        let unreachable = || ContactState::Unreachable("x".into());
        assert!(!question.failed(unreachable()) && question.failed(unreachable()), "the second in a row");
        assert!(
            matches!(connection.health("then"), ClusterHealth::Unreachable { since, .. } if since == "then")
        );
    }

    /// What runs there may be as well as ever: it is no cluster that is lost.
    #[test]
    fn who_refuses_the_credentials_is_not_out_of_reach() {
        let (mut connection, since) = (asking(1, Connection::new()), "then".to_owned());
        let Connection::Asking(question) = &mut connection else { panic!("it asks") };
        assert!(question.failed(ContactState::Unauthorized("no".into())));
        let health = ClusterHealth::Unauthorized { since, message: "no".into() };
        assert_eq!(connection.health("then"), health);
        assert!(health.has_actor());
    }

    #[test]
    fn nothing_is_ready_without_an_actor() {
        let mut connection = asking(1, Connection::new());
        let Connection::Asking(question) = &mut connection else { panic!("it asks") };
        question.before = Some(ClusterHealth::Ready);
        assert!(connection.was_ready());
        assert_eq!(connection.health(""), ClusterHealth::Connecting);
    }

    #[test]
    fn what_is_begun_for_a_cluster_ends_with_the_term_and_with_the_connection() {
        let (mut connection, term) = (Connection::new(), CancellationToken::new());
        let first = connection.ask(1, ([1; 32], None), &term, "");
        let second = connection.ask(2, ([1; 32], None), &term, "");
        assert!(first.is_cancelled() && !second.is_cancelled());
        connection.refuse(Blocked::new(Reason::Paused, String::new()));
        assert!(second.is_cancelled());
        let third = connection.ask(3, ([1; 32], None), &term, "");
        term.cancel();
        assert!(third.is_cancelled());
    }

    #[test]
    fn an_answer_that_comes_after_a_refusal_starts_nothing() {
        let mut connection = asking(3, Connection::new());
        assert!(connection.is_asking(3) && !connection.is_asking(2));
        connection.refuse(Blocked::new(Reason::Paused, String::new()));
        assert!(!connection.is_asking(3) && !connection.is_actor(3));
    }

    #[test]
    fn refused_credentials_are_tried_again_once_and_not_before_their_time() {
        let mut connection = asking(1, Connection::new());
        connection.refuse_credentials(Blocked::new(Reason::ClaimedByAnotherHub, "m".into()), Some(at(100)));
        connection.try_again(at(99));
        assert!(connection.tried().is_some());
        connection.try_again(at(100));
        assert!(connection.tried().is_none());
    }

    #[test]
    fn what_was_refused_for_another_reason_forgets_its_credentials() {
        let mut connection = asking(1, Connection::new());
        connection.refuse(Blocked::new(Reason::Paused, String::new()));
        assert!(connection.tried().is_none(), "they are used as soon as it is not paused");
    }
}
