//! Whether a cluster can be talked to, told from the traffic that there is anyway: no request is made to find out.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How one request ended, as far as contact is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    Ok,
    ConnectError,
    Timeout,
    Unauthorized,
    /// 429
    Throttled,
    /// 503, or 502 and 504 of what stands in front of it; not of a group that another server serves.
    Unavailable(u16),
    /// What answers is no API server; why.
    NotAnApi(Arc<str>),
    /// A new connection led to another cluster, with this identity.
    Stranger(Arc<str>),
    /// A new connection led to who does not say which cluster it is, as the one before did; in words.
    Nameless(Arc<str>),
    /// No matter of contact: what people should know of the cluster. What it is about, and the text.
    Note(&'static str, Arc<str>),
}

impl Contact {
    fn text(&self) -> String {
        let text = match self {
            Self::NotAnApi(why) => return format!("what answers is not a Kubernetes API server: {why}"),
            Self::Stranger(found) => return format!("another cluster answers: {found}"),
            Self::Nameless(text) | Self::Note(_, text) => return text.to_string(),
            Self::Unavailable(code @ (502 | 504)) => {
                return format!("what stands in front of the API server does not reach it ({code})");
            }
            Self::Unavailable(code) => return format!("it is unavailable ({code})"),
            Self::Ok => "reachable",
            Self::ConnectError => "connecting fails",
            Self::Timeout => "requests time out",
            Self::Unauthorized => "the credentials are not accepted (401)",
            Self::Throttled => "it asks to slow down (429)",
        };
        text.to_owned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HealthState {
    Healthy,
    Suspect { since: Instant, last: Instant, failures: u32 },
    Unreachable,
    Unauthorized,
}

/// A change that somebody has to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    Recovered,
    Lost(String),
    Unauthorized(String),
}

#[derive(Clone, Debug)]
pub struct Health {
    state: HealthState,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: HealthState::Healthy }
    }
}

const FAILURES: u32 = 3;
const GRACE: Duration = Duration::from_secs(30);
/// A broken connection fails every request on it at once: failures closer than this are one.
const APART: Duration = Duration::from_secs(1);

impl Health {
    /// Three failures in a row that are a second apart, or thirty seconds of failing, lose the cluster; 401 at once; one success regains it.
    /// 429 alone never loses it: it answers.
    pub fn on(&mut self, contact: Contact, now: Instant) -> Option<Transition> {
        let lost = |state: &mut HealthState| {
            *state = HealthState::Unreachable;
            Some(Transition::Lost(contact.text()))
        };
        match (&contact, self.state) {
            (Contact::Note(..), _) => None,
            (Contact::Ok, HealthState::Unreachable | HealthState::Unauthorized) => {
                self.state = HealthState::Healthy;
                Some(Transition::Recovered)
            }
            (Contact::Ok, _) => {
                self.state = HealthState::Healthy;
                None
            }
            (Contact::Unauthorized, HealthState::Unauthorized) => None,
            (Contact::Unauthorized, _) => {
                self.state = HealthState::Unauthorized;
                Some(Transition::Unauthorized(contact.text()))
            }
            (Contact::Throttled, _) | (_, HealthState::Unreachable) => None,
            (_, HealthState::Healthy | HealthState::Unauthorized) => {
                self.state = HealthState::Suspect { since: now, last: now, failures: 1 };
                None
            }
            (_, HealthState::Suspect { last, .. }) if now.duration_since(last) < APART => None,
            (_, HealthState::Suspect { since, failures, .. }) => {
                if failures + 1 >= FAILURES || now.duration_since(since) >= GRACE {
                    return lost(&mut self.state);
                }
                self.state = HealthState::Suspect { since, last: now, failures: failures + 1 };
                None
            }
        }
    }
}

/// The pause before try number `attempt` (from 0) to reach a cluster: 0.5 s doubled up to 15 s, spread by the cluster's
/// name so that many clusters do not come back in step.
pub fn backoff(attempt: u32, cluster: &str) -> Duration {
    let base = (500_u64 << attempt.min(5)).min(15_000);
    let spread = u64::from(crate::api::hash::fnv32(&format!("{cluster}/{attempt}"))) % (base / 4).max(1);
    Duration::from_millis(base - spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(Contact, u64)]) -> Vec<Option<Transition>> {
        let steps: Vec<(Contact, u64)> = steps.iter().map(|(c, s)| (c.clone(), s * 1000)).collect();
        run_millis(&steps)
    }

    fn run_millis(steps: &[(Contact, u64)]) -> Vec<Option<Transition>> {
        let start = Instant::now();
        let mut health = Health::default();
        steps.iter().map(|(c, ms)| health.on(c.clone(), start + Duration::from_millis(*ms))).collect()
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        use Contact::{ConnectError, Ok};
        let together: Vec<(Contact, u64)> = (0..50).map(|ms| (ConnectError, ms)).collect();
        assert!(run_millis(&together).iter().all(Option::is_none));
        assert_eq!(
            run_millis(&[(ConnectError, 0), (ConnectError, 3), (ConnectError, 900), (Ok, 950)]),
            [None, None, None, None]
        );
        let lasting = [(ConnectError, 0), (ConnectError, 3), (ConnectError, 1_003), (ConnectError, 2_003)];
        assert!(matches!(run_millis(&lasting)[..], [None, None, None, Some(Transition::Lost(_))]));
    }

    #[test]
    fn transitions() {
        use Contact::{ConnectError, Ok, Throttled, Timeout, Unauthorized};
        let lost = || Some(Transition::Lost("connecting fails".into()));
        assert_eq!(
            run(&[(ConnectError, 0), (ConnectError, 1), (ConnectError, 2), (ConnectError, 3), (Ok, 4)]),
            [None, None, lost(), None, Some(Transition::Recovered)]
        );
        assert_eq!(run(&[(ConnectError, 0), (ConnectError, 31)]), [None, lost()]);
        assert_eq!(run(&[(ConnectError, 0), (Ok, 1), (Timeout, 2), (Timeout, 3)]), [None, None, None, None]);
        assert_eq!(run(&[(Throttled, 0), (Throttled, 1), (Throttled, 40)]), [None, None, None]);
        assert!(matches!(
            run(&[(Unauthorized, 0), (Unauthorized, 1), (Ok, 2)])[..],
            [Some(Transition::Unauthorized(_)), None, Some(Transition::Recovered)]
        ));
    }

    #[test]
    fn backoff_grows_and_is_bounded() {
        assert!(backoff(0, "a") <= Duration::from_millis(500));
        assert!(backoff(30, "a") <= Duration::from_secs(15) && backoff(30, "a") > Duration::from_secs(11));
    }
}
