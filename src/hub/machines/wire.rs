//! Requests under way. What is asked, and what an answer means, is production's own code; here is only when each call
//! arrives at its server, and whether its answer is heard.

use super::api_server::Server;
use super::http_server::{self, Answered, Asked};
use crate::api::names::ObjectRef;
use crate::spoke::client::SpokeClient;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How a call fails that the server itself would not have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server never got it.
    Lost,
    /// The server did it, and the answer was lost.
    Unheard,
    /// The server says 500.
    Error,
    /// The server says 409.
    Conflict,
}

/// A call that waits to arrive.
struct Call {
    asked: Asked,
    heard: oneshot::Sender<Option<Answered>>,
}

type Calls = Arc<Mutex<VecDeque<Call>>>;

/// The clients of a thread, and the clock that what they wait for goes by. One request is driven at a time, so that a call
/// that turns up is that one's.
struct Line {
    runtime: Runtime,
    client: SpokeClient,
    calls: Calls,
}

impl Line {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let calls = Calls::default();
        let client = runtime.block_on(async {
            let calls = calls.clone();
            SpokeClient::in_memory(move |request: http::Request<Body>| {
                let calls = calls.clone();
                async move {
                    let (heard, answer) = oneshot::channel();
                    let asked = asked(request).await;
                    calls.lock().unwrap().push_back(Call { asked, heard });
                    let answered = answer.await.ok().flatten().ok_or("the connection was lost")?;
                    let body = serde_json::to_vec(&answered.body).unwrap();
                    let response = http::Response::builder().status(answered.code);
                    Ok(response.body(Body::from(body)).unwrap())
                }
            })
        });
        Self { runtime, client, calls }
    }
}

thread_local! {
    static LINE: Line = Line::new();
}

/// Done at the time of that clock, which stands still: no time passes while something is computed.
pub fn on_the_clock<T>(work: impl FnOnce() -> T) -> T {
    LINE.with(|line| {
        let _entered = line.runtime.enter();
        work()
    })
}

async fn asked(request: http::Request<Body>) -> Asked {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    let header = |name| parts.headers.get(name).map(|v| v.to_str().unwrap_or_default()).unwrap_or_default();
    Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: header(CONTENT_TYPE).to_owned(),
        metadata_only: header(ACCEPT).contains("PartialObjectMetadata"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

/// Work of production with a client, until it ends.
pub struct Request<T> {
    work: BoxFuture<'static, T>,
    state: State<T>,
}

enum State<T> {
    Calls(Call),
    /// It waits for time to pass.
    Sleeps,
    Ended(T),
}

/// What one call did.
#[derive(Debug, Default)]
pub struct Happened {
    /// Nothing, where the request only waited.
    pub asked: Option<Asked>,
    pub wrote: Option<(ObjectRef, Arc<Value>)>,
}

/// Longer than anything that a request waits for between two calls.
const SLEEP: Duration = Duration::from_secs(2);

impl<T> Request<T> {
    pub fn new<F: Future<Output = T> + Send + 'static>(work: impl FnOnce(SpokeClient) -> F) -> Self {
        let work = LINE.with(|line| work(line.client.clone()));
        let mut out = Self { work: Box::pin(work), state: State::Sleeps };
        out.drive();
        out
    }

    fn drive(&mut self) {
        // A call takes a few turns of the client's own tasks.
        const TURNS: usize = 32;
        let work = &mut self.work;
        self.state = LINE.with(|line| {
            line.runtime.block_on(async {
                for _ in 0..TURNS {
                    if let Poll::Ready(ended) = futures::poll!(&mut *work) {
                        return State::Ended(ended);
                    }
                    if let Some(call) = line.calls.lock().unwrap().pop_front() {
                        return State::Calls(call);
                    }
                    tokio::task::yield_now().await;
                }
                State::Sleeps
            })
        });
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    pub fn ended(self) -> Option<T> {
        match self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// The next call arrives, or not, and its answer is heard, or not.
    pub fn call(&mut self, server: &mut Server, fault: Option<Fault>) -> Happened {
        let State::Calls(call) = std::mem::replace(&mut self.state, State::Sleeps) else {
            LINE.with(|line| line.runtime.block_on(tokio::time::advance(SLEEP)));
            self.drive();
            return Happened::default();
        };
        let conflicts = fault == Some(Fault::Conflict) && call.asked.is_write();
        let mut happened = Happened { asked: Some(call.asked.clone()), wrote: None };
        let answered = match fault {
            Some(Fault::Lost) => None,
            Some(Fault::Conflict) if conflicts => {
                Some(Answered::refusal(409, "Conflict", "try again", &Value::Null))
            }
            Some(Fault::Error | Fault::Conflict) => {
                Some(Answered::refusal(500, "InternalError", "boom", &Value::Null))
            }
            Some(Fault::Unheard) | None => {
                let answered = http_server::answer(server, &call.asked);
                happened.wrote.clone_from(&answered.wrote);
                Some(answered).filter(|_| fault.is_none())
            }
        };
        drop(call.heard.send(answered));
        self.drive();
        happened
    }

    /// All its calls, one after the other, each with this fault.
    pub fn run(mut self, server: &mut Server, fault: Option<Fault>) -> T {
        while !self.is_ended() {
            self.call(server, fault);
        }
        self.ended().unwrap()
    }
}
