//! What credentials say of themselves: whose they are, since when, and until when. Nothing here checks a signature: the API
//! server does. What is read is the text of somebody's Secret, so it is bounded and printable.

use super::kubeconfig::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// Longest subject that is told, in characters.
const MAX_SUBJECT: usize = 200;

/// How a cluster is told who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A certificate, which comes before a token where there are both.
    ClientCertificate,
    /// A token that says whose it is.
    Token,
    /// A token that says nothing of itself.
    OpaqueToken,
}

impl Sort {
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientCertificate => "ClientCertificate",
            Self::Token => "Token",
            Self::OpaqueToken => "OpaqueToken",
        }
    }
}

/// What credentials say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub sort: Sort,
    pub subject: Option<String>,
    pub issued: Option<Timestamp>,
    /// `None`: they do not say that they end.
    pub expires: Option<Timestamp>,
}

/// What those of an endpoint say. `None` where it has none.
pub fn of(endpoint: &Endpoint) -> Option<Said> {
    match (endpoint.client_identity_pem(), endpoint.token()) {
        (Some((certificate, _)), _) => Some(certificate_of(certificate)),
        (None, Some(token)) => Some(token_of(token)),
        (None, None) => None,
    }
}

fn certificate_of(pem: &[u8]) -> Said {
    let blank = Said { sort: Sort::ClientCertificate, subject: None, issued: None, expires: None };
    // The first is the client's own; those behind it lead to an authority.
    let Some(Ok(der)) = CertificateDer::pem_slice_iter(pem).next() else { return blank };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else { return blank };
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let validity = certificate.validity();
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Said {
        subject: name.and_then(printable),
        issued: time(validity.not_before),
        expires: time(validity.not_after),
        ..blank
    }
}

fn token_of(token: &str) -> Said {
    let Some(claims) = claims(token) else {
        return Said { sort: Sort::OpaqueToken, subject: None, issued: None, expires: None };
    };
    let time = |key: &str| {
        // RFC 7519 allows fractions of a second.
        let seconds =
            claims.get(key).and_then(|v| v.as_i64().or_else(|| v.as_f64().map(|s| s.floor() as i64)));
        seconds.and_then(|s| Timestamp::from_second(s).ok())
    };
    Said {
        sort: Sort::Token,
        subject: claims.get("sub").and_then(Value::as_str).and_then(printable),
        issued: time("iat"),
        expires: time("exp"),
    }
}

/// The claims of a JWT: the second of three parts.
fn claims(token: &str) -> Option<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [_, claims, _] = parts.as_slice() else { return None };
    let bytes = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
}

fn printable(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT).collect();
    Some(clean).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::kubeconfig::{self, Policy};
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    fn said(user: &str) -> Said {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://h', certificate-authority-data: Y2E=}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        );
        of(&kubeconfig::parse(text.as_bytes(), &Policy::default()).unwrap()).unwrap()
    }
    fn jwt(claims: &str) -> Said {
        said(&format!("token: e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }
    fn at(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_second(seconds).ok()
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let bound = jwt(&json!({"sub": "system:serviceaccount:kro-hub-access:kro-hub", "iat": 1_700_000_000, "exp": 1_700_003_600.5}).to_string());
        assert_eq!(bound.sort, Sort::Token);
        assert_eq!(bound.subject.as_deref(), Some("system:serviceaccount:kro-hub-access:kro-hub"));
        assert_eq!((bound.issued, bound.expires), (at(1_700_000_000), at(1_700_003_600)));
        let of_a_secret = jwt(r#"{"sub": "system:serviceaccount:a:b"}"#);
        assert_eq!((of_a_secret.issued, of_a_secret.expires), (None, None));
    }

    /// Whoever writes the Secret writes the token.
    #[test]
    fn what_is_no_token_or_lies_breaks_nothing() {
        for opaque in ["sesame", "a.b", "a.b.c.d", "a.!!!.c", "a.WzFd.c"] {
            assert_eq!(said(&format!("token: {opaque}")).sort, Sort::OpaqueToken, "{opaque}");
        }
        let wild = jwt(r#"{"sub": 7, "iat": "soon", "exp": 1e300}"#);
        assert_eq!((wild.sort, wild.subject, wild.issued, wild.expires), (Sort::Token, None, None, None));
        let long = jwt(&json!({"sub": format!("a\nb\u{1b}[31m{}", "x".repeat(5000))}).to_string());
        let subject = long.subject.unwrap();
        assert!(subject.starts_with("ab[31mx") && subject.len() == MAX_SUBJECT, "{subject}");
    }

    #[test]
    fn a_certificate_has_dates_and_a_name() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "kro-hub");
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2027, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let field = |pem: &str| {
            format!("client-certificate-data: {}, client-key-data: aw==, token: t", STANDARD.encode(pem))
        };
        let got = said(&field(&pem));
        assert_eq!(got.sort, Sort::ClientCertificate, "it comes before the token");
        assert_eq!(got.subject.as_deref(), Some("kro-hub"));
        let text = |t: Option<Timestamp>| t.unwrap().to_string();
        assert_eq!(
            (text(got.issued), text(got.expires)),
            ("2026-01-02T00:00:00Z".into(), "2027-01-02T00:00:00Z".into())
        );
        let none = said(&field("no certificate"));
        assert_eq!((none.sort, none.subject, none.expires), (Sort::ClientCertificate, None, None));
    }
}
