//! Refusals that no API server gives: what stands in front of one, a gateway or a load balancer, answers by itself while it does
//! not reach the server, or does not know it. They say nothing of any object.

use super::transport::Trouble;
use http::{HeaderMap, StatusCode};

/// Each answer of an API server has it; who says the same words in its place does not.
const MARK: &str = "audit-id";
/// What an API server says to a path of a group or a version that it does not serve.
const PAGE: &str = "404 page not found";

/// Whether the body has to be known to tell whose refusal it is, and what it says of the server.
pub(super) fn matters(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT)
}

/// Why a refusal is none of an API server.
pub(super) fn not_its_own(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Trouble> {
    match status {
        StatusCode::NOT_FOUND if !is_status(body) && !is_page(headers, body) => {
            Some(Trouble::NotAnApi("its 404 does not say what is not found".into()))
        }
        StatusCode::BAD_GATEWAY => Some(Trouble::CutOff(status)),
        StatusCode::GATEWAY_TIMEOUT if !is_status(body) => Some(Trouble::CutOff(status)),
        _ => None,
    }
}

fn is_status(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        kind: String,
    }
    serde_json::from_slice::<Typed>(body).is_ok_and(|typed| typed.kind == "Status")
}

/// An OpenAPI document that there is not is answered with no text at all.
fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    headers.contains_key(MARK) && [PAGE.as_bytes(), b""].contains(&body.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: u16, marked: bool, body: &str) -> Option<Trouble> {
        let mut headers = HeaderMap::new();
        if marked {
            headers.insert(MARK, "3f2b".parse().unwrap());
        }
        not_its_own(StatusCode::from_u16(code).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn only_what_kubernetes_says_is_not_found_is_not_there() {
        let status = r#"{"kind":"Status","apiVersion":"v1","reason":"NotFound","code":404}"#;
        for (marked, body) in [(true, status), (false, status), (true, "404 page not found\n"), (true, "")] {
            assert!(judged(404, marked, body).is_none(), "{marked} {body}");
        }
        let foreign = [
            (false, "404 page not found\n"),
            (false, ""),
            (false, "<html>404 Not Found</html>"),
            (true, "<html>404 Not Found</html>"),
            (true, r#"{"error":"not found"}"#),
            (false, r#"{"kind":"Error","code":404}"#),
            (true, "default backend - 404"),
        ];
        for (marked, body) in foreign {
            let found = judged(404, marked, body);
            assert!(matches!(found, Some(Trouble::NotAnApi(_))), "{marked} {body}: {found:?}");
        }
    }

    #[test]
    fn what_a_load_balancer_says_of_a_dead_server_is_told_from_the_servers_own_words() {
        let status = r#"{"kind":"Status","apiVersion":"v1","reason":"Timeout","code":504}"#;
        for (code, body) in [(502, ""), (502, status), (504, ""), (504, "<html>504 Gateway Time-out</html>")]
        {
            assert!(matches!(judged(code, false, body), Some(Trouble::CutOff(_))), "{code} {body}");
        }
        for (code, body) in [(504, status), (503, ""), (500, ""), (429, ""), (401, ""), (410, "")] {
            assert!(judged(code, false, body).is_none(), "{code} {body}");
        }
    }
}
