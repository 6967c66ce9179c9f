//! Answers that no API server gives.

use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZFlush};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::time::Duration;

/// Why there is no answer, or no more of it.
pub type Trouble = std::io::Error;
pub type Answer = Response<UnsyncBoxBody<Bytes, Trouble>>;

pub fn said(code: u16, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let body =
        Full::new(text.into()).map_err(|never: Infallible| -> Trouble { match never {} }).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A `Status`, as an API server would say it, but for 429, which is said in plain text by who is in front of it, and 502, which
/// is a load balancer's page.
pub fn status(code: u16, retry_after: Option<u64>) -> Answer {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    };
    let mut answer = if code == 429 {
        said(code, "text/plain", "Too many requests, please try again later.\n")
    } else if code == 502 {
        said(code, "text/html", "<html><h1>502 Bad Gateway</h1></html>")
    } else {
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "said by the fault proxy", "reason": reason, "code": code});
        said(code, "application/json", body.to_string())
    };
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

pub fn page() -> Answer {
    said(200, "text/html", "<html><body>Welcome. Please sign in.</body></html>")
}

pub fn redirect(to: &str) -> Answer {
    let mut answer = said(307, "text/plain", "");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(header::LOCATION, to);
    }
    answer
}

/// A body that goes on for as long as somebody reads it.
fn stream(pieces: impl futures::Stream<Item = Bytes> + Send + 'static) -> Answer {
    let mut answer = said(200, "application/json", "");
    *answer.body_mut() = StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync();
    answer
}

pub fn endless() -> Answer {
    stream(futures::stream::repeat(Bytes::from(vec![b'x'; 64 * 1024])))
}

pub fn flood() -> Answer {
    let note = "x".repeat(16 * 1024);
    stream(futures::stream::iter(0_u64..).map(move |n| {
        let object = json!({"metadata": {"name": format!("{n}.flood.example"), "uid": n.to_string(),
            "resourceVersion": n.to_string(), "annotations": {"note": note}}});
        Bytes::from(format!("{}\n", json!({"type": "ADDED", "object": object})))
    }))
}

/// Blanks, packed, in pieces that do not refer to each other. Its checksum is none: whoever looks at that has unpacked it all.
pub fn gzip_bomb(unpacked: u64) -> Answer {
    const PIECE: usize = 1024 * 1024;
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    /// An empty last piece, then checksum and size.
    const TAIL: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let raw = create_comp_flags_from_zip_params(6, DataFormat::Raw.to_window_bits(), 0);
    let mut room = vec![0; PIECE];
    let done = deflate(&mut CompressorOxide::new(raw), &vec![b' '; PIECE], &mut room, MZFlush::Full);
    let piece = room.get(..done.bytes_written).unwrap_or_default();
    let mut packed = HEAD.to_vec();
    (0..unpacked.div_ceil(PIECE as u64)).for_each(|_| packed.extend_from_slice(piece));
    packed.extend_from_slice(&TAIL);
    let mut answer = said(200, "application/json", packed);
    answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// The answer whose body goes on for so many bytes, and then breaks, or ends.
pub fn after_bytes(answer: Answer, limit: u64, breaks: bool) -> Answer {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let pieces = body.into_data_stream();
    let cut = futures::stream::unfold((pieces, limit, false), move |(mut pieces, left, ended)| async move {
        if ended {
            return None;
        }
        if left == 0 {
            if breaks {
                // What came before is sent by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let broken = || Err(Trouble::from(ErrorKind::ConnectionReset));
            return breaks.then(|| (broken(), (pieces, 0, true)));
        }
        let mut piece = match pieces.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some((Err(error), (pieces, 0, true))),
        };
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Some((Ok(Frame::data(piece)), (pieces, left, false)))
    });
    Response::from_parts(head, StreamBody::new(cut).boxed_unsync())
}

/// The answer, once the first piece of its body is there.
pub async fn with_first_piece(answer: Answer) -> Answer {
    let (head, mut body) = answer.into_parts();
    let first = body.frame().await;
    let all = futures::stream::iter(first).chain(BodyStream::new(body));
    Response::from_parts(head, StreamBody::new(all).boxed_unsync())
}

/// The list with other items.
pub async fn with_items(answer: Answer, items: Value) -> Result<Answer, Trouble> {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let read = body.collect().await?.to_bytes();
    let mut list: Value = serde_json::from_slice(&read)?;
    if list.get("items").is_some() {
        list["items"] = items;
        if let Some(metadata) = list["metadata"].as_object_mut() {
            metadata.remove("continue");
            metadata.remove("remainingItemCount");
        }
    }
    let body =
        Full::new(Bytes::from(list.to_string())).map_err(|never: Infallible| -> Trouble { match never {} });
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// What another server answered.
pub fn passed(answer: Response<Incoming>) -> Answer {
    answer.map(|body| body.map_err(Trouble::other).boxed_unsync())
}
