//! The certificates of the webhook: an authority of its own and what it signed. What is made, and when it is made anew.

use crate::hub::tls::Pair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::extensions::GeneralName;

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub authority: Duration,
    pub leaf: Duration,
}

/// Both, as the Secret keeps them.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub authority: Pair,
    /// Certificate of the authority before, while it may still be needed.
    pub before: Option<String>,
    pub leaf: Pair,
}

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Leaf,
    /// The authority, and with it the leaf.
    Authority,
}

/// Keys of the Secret.
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const BEFORE: &str = "ca-before.crt";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";
/// Clocks of API servers differ a little from ours.
const SKEW: u64 = 300;
/// A bundle holds no more than this.
const BUNDLED: usize = 4;

impl Stored {
    /// Of the data of a Secret; `None` where it has none yet.
    ///
    /// # Errors
    /// It holds something else.
    pub fn read(secret: &Value) -> Result<Option<Self>, String> {
        let Some(data) = secret.get("data").and_then(Value::as_object).filter(|data| !data.is_empty()) else {
            return Ok(None);
        };
        let text = |key: &str| {
            let bytes = STANDARD.decode(data.get(key)?.as_str()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        let needed = |key: &str| {
            let why = || format!("its data has no {key}: it is not one that kro-hub webhook made");
            text(key).ok_or_else(why)
        };
        Ok(Some(Self {
            authority: Pair { certificate: needed(AUTHORITY)?, key: needed(AUTHORITY_KEY)? },
            before: text(BEFORE),
            leaf: Pair { certificate: needed(LEAF)?, key: needed(LEAF_KEY)? },
        }))
    }

    /// As the data of a Secret.
    pub fn data(&self) -> Value {
        let mut data = json!({
            AUTHORITY: STANDARD.encode(&self.authority.certificate),
            AUTHORITY_KEY: STANDARD.encode(&self.authority.key),
            LEAF: STANDARD.encode(&self.leaf.certificate),
            LEAF_KEY: STANDARD.encode(&self.leaf.key),
        });
        if let Some(before) = &self.before {
            data[BEFORE] = json!(STANDARD.encode(before));
        }
        data
    }

    /// The authorities that may have signed what one of us serves.
    pub fn authorities(&self) -> String {
        format!("{}{}", self.authority.certificate, self.before.as_deref().unwrap_or_default())
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// Seconds since 1970.
    from: i64,
    until: i64,
    subject: String,
    issuer: String,
    names: BTreeSet<String>,
}

impl Facts {
    fn of_pem(pem: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        Self::of_der(&pem.contents)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let (_, found) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = found.subject_alternative_name().ok().flatten().map(|all| &all.value.general_names);
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
            _ => None,
        };
        Some(Self {
            from: found.validity().not_before.timestamp(),
            until: found.validity().not_after.timestamp(),
            subject: found.subject().to_string(),
            issuer: found.issuer().to_string(),
            names: names.into_iter().flatten().filter_map(name).collect(),
        })
    }

    /// Two thirds of its life are over, or it is of another time.
    fn is_old(&self, now: i64) -> bool {
        now < self.from || now >= self.from + (self.until - self.from) / 3 * 2
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4: Option<[u8; 4]> = bytes.try_into().ok();
    v4.map(IpAddr::from).or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// What is to be made now, so that `names` are served. `now`: seconds since 1970.
pub fn due(stored: Option<&Stored>, names: &BTreeSet<String>, now: i64) -> Due {
    let facts = stored
        .and_then(|s| Some((Facts::of_pem(&s.authority.certificate)?, Facts::of_pem(&s.leaf.certificate)?)));
    match facts {
        None => Due::Authority,
        Some((authority, _)) if authority.is_old(now) => Due::Authority,
        Some((authority, leaf))
            if leaf.is_old(now) || leaf.names != *names || leaf.issuer != authority.subject =>
        {
            Due::Leaf
        }
        Some(_) => Due::Nothing,
    }
}

/// Makes what is due.
///
/// # Errors
/// A name cannot stand in a certificate, or the stored key cannot be read.
pub fn renewed(
    stored: Option<&Stored>,
    due: Due,
    names: &BTreeSet<String>,
    (life, now): (Life, i64),
) -> Result<Stored, rcgen::Error> {
    let at = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let now_u = u64::try_from(now).unwrap_or_default();
    let lasting = |mut params: CertificateParams, life: Duration| {
        params.not_before = at(now_u.saturating_sub(SKEW));
        params.not_after = at(now_u.saturating_add(life.as_secs()));
        params
    };
    let kept = stored.filter(|_| due != Due::Authority);
    let (authority, before) = match kept {
        Some(kept) => {
            let is_over = |pem: &String| Facts::of_pem(pem).is_none_or(|facts| facts.until <= now);
            (kept.authority.clone(), kept.before.clone().filter(|before| !is_over(before)))
        }
        None => {
            let mut params = lasting(CertificateParams::new(Vec::new())?, life.authority);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            // By its name the authority of a certificate is found among several.
            params.distinguished_name.push(DnType::CommonName, format!("kro-hub webhook {now}"));
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?.pem();
            let before = stored.map(|s| s.authority.certificate.clone());
            (Pair { certificate, key: key.serialize_pem() }, before)
        }
    };
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = lasting(CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?, life.leaf);
    params.distinguished_name.push(DnType::CommonName, "kro-hub-webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Stored { authority, before, leaf: Pair { certificate, key: key.serialize_pem() } })
}

/// The bundle of authorities for API servers: ours, and of those that stand there already the ones that are still valid, as
/// another replica may serve what they signed. Ours are among them whatever their age. The newest come
/// first, so that replicas agree.
pub fn bundle(ours: &str, present: &str, now: i64) -> String {
    let mut seen = BTreeSet::new();
    let mut all: Vec<(bool, i64, String)> = Vec::new();
    for (text, is_ours) in [(ours, true), (present, false)] {
        for pem in x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).flatten() {
            if let Some(facts) = Facts::of_der(&pem.contents).filter(|facts| facts.until > now)
                && seen.insert(pem.contents.clone())
            {
                all.push((is_ours, facts.from, to_pem(&pem.contents)));
            }
        }
    }
    all.sort_by_key(|(is_ours, from, _)| std::cmp::Reverse((*is_ours, *from)));
    all.truncate(BUNDLED);
    all.sort_by(|(_, a, a_pem), (_, b, b_pem)| b.cmp(a).then_with(|| a_pem.cmp(b_pem)));
    all.into_iter().map(|(.., pem)| pem).collect()
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_800_000_000;
    const LIFE: Life =
        Life { authority: Duration::from_secs(365 * 86_400), leaf: Duration::from_secs(90 * 86_400) };

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|n| (*n).to_owned()).collect()
    }
    fn made(at: i64) -> Stored {
        renewed(None, Due::Authority, &names(&["a.b.svc"]), (LIFE, at)).unwrap()
    }

    #[test]
    fn when_what_is_made_anew() {
        let stored = made(NOW);
        let served = names(&["a.b.svc"]);
        let of = |days: i64| due(Some(&stored), &served, NOW + days * DAY);
        for (days, expect) in [
            (0, Due::Nothing),
            (59, Due::Nothing),
            (60, Due::Leaf),
            (100, Due::Leaf),
            (242, Due::Leaf),
            (244, Due::Authority),
            (4_000, Due::Authority),
            (-1, Due::Authority),
        ] {
            assert_eq!(of(days), expect, "after {days} days");
        }
        assert_eq!(due(None, &served, NOW), Due::Authority);
        assert_eq!(due(Some(&stored), &names(&["a.b.svc", "127.0.0.1"]), NOW), Due::Leaf, "another name");
        let mixed = Stored { leaf: made(NOW + 1).leaf, ..stored.clone() };
        assert_eq!(due(Some(&mixed), &served, NOW), Due::Leaf, "signed by another");
        let broken =
            Stored { authority: Pair { certificate: "x".into(), key: "y".into() }, ..stored.clone() };
        assert_eq!(due(Some(&broken), &served, NOW), Due::Authority);
    }

    #[test]
    fn a_new_leaf_keeps_the_authority_and_a_new_authority_the_one_before() {
        let first = made(NOW);
        let served = names(&["a.b.svc", "::1", "127.0.0.1"]);
        let leaf = renewed(Some(&first), Due::Leaf, &served, (LIFE, NOW + 60 * DAY)).unwrap();
        assert!(leaf.authority == first.authority && leaf.leaf != first.leaf && leaf.before.is_none());
        assert_eq!(Facts::of_pem(&leaf.leaf.certificate).unwrap().names, served);
        assert_eq!(due(Some(&leaf), &served, NOW + 60 * DAY), Due::Nothing);

        let later = NOW + 244 * DAY;
        let second = renewed(Some(&leaf), Due::Authority, &served, (LIFE, later)).unwrap();
        assert_eq!(second.before.as_ref(), Some(&first.authority.certificate));
        assert_eq!(bundle(&second.authorities(), "", later).matches("BEGIN").count(), 2);
        let third = renewed(Some(&second), Due::Leaf, &served, (LIFE, NOW + 366 * DAY)).unwrap();
        assert!(third.before.is_none(), "it is over");
    }

    #[test]
    fn the_bundle_keeps_what_others_may_serve() {
        let (a, b) = (made(NOW), made(NOW + 1));
        let mine = bundle(&a.authorities(), "", NOW);
        let both = bundle(&b.authorities(), &mine, NOW);
        assert_eq!(both.matches("BEGIN").count(), 2);
        assert!(both.starts_with(&bundle(&b.authorities(), "", NOW)), "the newest first");
        assert_eq!(bundle(&a.authorities(), &both, NOW), both, "two replicas come to the same");
        assert_eq!(bundle(&b.authorities(), &both, NOW + 366 * DAY), "", "all are over");
        assert_eq!(bundle(&a.authorities(), "no pem", NOW), mine);
        // Somebody else's authority may be older than all that stand there.
        let newer: String = (1..9).map(|n| made(NOW + n).authorities()).collect();
        let kept = bundle(&a.authorities(), &newer, NOW);
        assert!(
            kept.contains(&bundle(&a.authorities(), "", NOW)) && kept.matches("BEGIN").count() == BUNDLED
        );
        let many: String = (0..9).map(|n| made(NOW + n).authorities()).collect();
        assert_eq!(bundle(&many, "", NOW).matches("BEGIN").count(), BUNDLED);
    }

    #[test]
    fn what_a_secret_holds() {
        let stored = made(NOW);
        let read = |data: Value| Stored::read(&json!({"data": data}));
        assert!(read(stored.data()).unwrap() == Some(stored.clone()));
        let second = renewed(Some(&stored), Due::Authority, &names(&["a"]), (LIFE, NOW + 1)).unwrap();
        assert!(read(second.data()).unwrap() == Some(second));
        assert!(read(json!({})).unwrap().is_none() && Stored::read(&json!({})).unwrap().is_none());
        let foreign = json!({"tls.crt": "eA==", "tls.key": "eA==", "ca.crt": "eA=="});
        assert!(read(foreign).err().unwrap().contains("ca.key"));
    }
}
