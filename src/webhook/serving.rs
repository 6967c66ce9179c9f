//! What is answered by the webhook's server.

use super::asking::Hub;
use super::configuration::PATH;
use super::review::{self, Answer};
use crate::hub::tls::{self, Shown};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An object twice, as it was and as it is to be, each as large as an API server stores it, with room.
const MAX_BYTES: usize = 8 << 20;
/// The API server that asks waits a second longer.
const ANSWER: Duration = Duration::from_secs(4);

/// Answers until `stop` ends.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>, shown: Shown, stop: CancellationToken) {
    let app = Router::new().route(PATH, post(answer)).layer(DefaultBodyLimit::max(MAX_BYTES)).with_state(hub);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving the webhook");
    }
    tls::serve(listener, app, shown, stop).await;
}

async fn answer(State(hub): State<Arc<Hub>>, body: Bytes) -> Response {
    let asked = match review::read(&body) {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let (uid, subject) = (asked.uid.clone(), asked.subject);
    let name = format!("{}/{}", asked.new.namespace(), asked.new.name());
    let answer = match tokio::time::timeout(ANSWER, Box::pin(hub.answer(asked))).await {
        Ok(answer) => answer,
        Err(_) => Answer::warn(super::asking::NOT_JUDGED),
    };
    let (refused, warnings) = (answer.refused.is_some(), answer.warnings.len());
    tracing::info!(?subject, name = name.trim_start_matches('/'), refused, warnings, "judged");
    ([(header::CONTENT_TYPE, "application/json")], answer.review(&uid).to_string()).into_response()
}
