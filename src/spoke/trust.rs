//! Whom an untrusted endpoint's TLS connection believes: the authorities that its kubeconfig names, public ones only where
//! somebody asked for them, and never the roots of this machine, which would let any public certificate speak for the cluster.
//! And the certificate that a client shows for itself.

use super::build_error::BuildError;
use super::kubeconfig::{Endpoint, Refused};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

pub(super) fn tls_config(endpoint: &Endpoint) -> Result<rustls::ClientConfig, BuildError> {
    let mut roots = RootCertStore::empty();
    // As with kubectl, one certificate of a bundle that cannot be read does not spoil the others.
    let given: Vec<CertificateDer> = CertificateDer::pem_slice_iter(endpoint.ca_pem().unwrap_or_default())
        .filter_map(Result::ok)
        .collect();
    let (readable, _) = roots.add_parsable_certificates(given.iter().cloned());
    if readable == 0 && endpoint.ca_pem().is_some() {
        return Err(unreadable(endpoint.ca_field(), "no certificate can be read from it").into());
    }
    if endpoint.trusts_public_roots() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, given }));
    let mut tls = match endpoint.client_identity_pem() {
        Some((cert, key)) => {
            let identity = client_identity(cert, key).map_err(|error| match error {
                BuildError::Identity(why) => unreadable(endpoint.client_certificate_field(), why).into(),
                other => other,
            })?;
            builder.with_client_cert_resolver(identity)
        }
        None => builder.with_no_client_auth(),
    };
    tls.resumption = one_server();
    Ok(tls)
}

fn unreadable(field: String, why: &'static str) -> Refused {
    Refused::new(field, why, "put PEM there, encoded as base64")
}

/// Sessions of one server: by itself the library keeps room for those of thirty-two.
pub(super) fn one_server() -> rustls::client::Resumption {
    const SESSIONS: usize = 4;
    rustls::client::Resumption::in_memory_sessions(SESSIONS)
}

/// The client certificate to show. It is for the server to judge: certificates that this library would not accept from a
/// server (X.509 version 1, as home-made ones often are) are sent as they are.
pub(super) fn client_identity(
    cert: &[u8],
    key: &[u8],
) -> Result<Arc<dyn rustls::client::ResolvesClientCert>, BuildError> {
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|_| BuildError::Identity("no certificate can be read from it"))?;
    if chain.is_empty() {
        return Err(BuildError::Identity("no certificate can be read from it"));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| BuildError::Identity("its key cannot be read"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| BuildError::Identity("its key is of a kind that is not supported"))?;
    let certified = CertifiedKey::new(chain, key);
    let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
    if certified.keys_match() == Err(mismatch) {
        return Err(BuildError::Identity("certificate and key do not fit"));
    }
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Believes what an authority signed, and, as kubectl does, a server certificate that stands itself among the authorities:
/// people put a load balancer's own certificate there. Name and validity are checked in either case.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let signed =
            self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match signed {
            Err(_) if self.given.iter().any(|known| known == end_entity) => {
                is_valid_at(end_entity, now)?;
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn is_valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if seconds < validity.not_before.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if seconds > validity.not_after.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::kubeconfig::{Policy, parse};
    use base64::Engine;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use std::io::{Read, Write};

    /// A server's certificate with its key.
    struct Server {
        pem: String,
        der: CertificateDer<'static>,
        key: KeyPair,
    }

    fn params(names: &[&str], is_ca: IsCa) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = is_ca;
        params
    }

    fn self_signed(names: &[&str], is_ca: IsCa) -> Server {
        of_params(params(names, is_ca))
    }
    fn of_params(params: CertificateParams) -> Server {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Server { pem: cert.pem(), der: cert.der().clone(), key }
    }
    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let ca = params(&[], IsCa::Ca(BasicConstraints::Unconstrained));
        CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap()
    }
    fn signed(names: &[&str], by: &CertifiedIssuer<KeyPair>) -> Server {
        let key = KeyPair::generate().unwrap();
        let cert = params(names, IsCa::NoCa).signed_by(&key, by).unwrap();
        Server { pem: cert.pem(), der: cert.der().clone(), key }
    }

    /// The kubeconfig of a cluster at localhost with this bundle.
    fn endpoint(bundle: &str) -> Endpoint {
        let ca = base64::engine::general_purpose::STANDARD.encode(bundle);
        let text = format!(
            "contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://localhost', certificate-authority-data: {ca}}}}}]"
        );
        parse(text.as_bytes(), &Policy::default()).unwrap()
    }

    /// A handshake in memory, over a pipe of bytes: what the client says of the server's certificate.
    fn handshake(bundle: &str, server: &Server) -> Result<(), String> {
        let client = tls_config(&endpoint(bundle)).map_err(|e| e.to_string())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.key.serialize_der()));
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![server.der.clone()], key)
                .unwrap();
        let mut client =
            rustls::ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap())
                .unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        client.writer().write_all(b"hello").unwrap();
        for _ in 0..10 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut &wire[..]).unwrap();
            drop(server.process_new_packets());
            let mut back = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            client.read_tls(&mut &back[..]).unwrap();
            client.process_new_packets().map_err(|e| e.to_string())?;
        }
        let mut heard = [0; 5];
        server.reader().read_exact(&mut heard).map_err(|e| e.to_string())
    }

    #[test]
    fn a_server_is_believed_as_kubectl_believes_it() {
        let ca = authority();
        let proper = signed(&["localhost"], &ca);
        let own_ca = self_signed(&["localhost"], IsCa::Ca(BasicConstraints::Unconstrained));
        let own = self_signed(&["localhost"], IsCa::NoCa);
        let unreadable = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
        for (what, bundle, server) in [
            ("its authority", ca.pem(), &proper),
            ("one of a bundle cannot be read", format!("{unreadable}{}", ca.pem()), &proper),
            (
                "comments and line ends of Windows",
                format!("# us\r\n{}", ca.pem().replace('\n', "\r\n")),
                &proper,
            ),
            ("the server's own, an authority", own_ca.pem.clone(), &own_ca),
            ("the server's own, no authority", own.pem.clone(), &own),
            ("only the server's, of another's authority", proper.pem.clone(), &proper),
        ] {
            assert_eq!(handshake(&bundle, server), Ok(()), "{what}");
        }
        for bundle in [unreadable, broken, "no certificate"] {
            let refused = handshake(bundle, &proper).unwrap_err();
            assert_eq!(
                refused,
                "clusters[0].cluster.certificate-authority-data: no certificate can be read from it; put PEM there, encoded as base64"
            );
        }
    }

    #[test]
    fn a_server_that_is_named_itself_needs_the_right_name_and_time() {
        let other_name = self_signed(&["example.org"], IsCa::NoCa);
        let mut old = params(&["localhost"], IsCa::NoCa);
        old.not_before = rcgen::date_time_ymd(2001, 1, 1);
        old.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let old = of_params(old);
        let mut early = params(&["localhost"], IsCa::NoCa);
        early.not_before = rcgen::date_time_ymd(4000, 1, 1);
        early.not_after = rcgen::date_time_ymd(4001, 1, 1);
        let early = of_params(early);
        let stranger = self_signed(&["localhost"], IsCa::NoCa);
        let own = self_signed(&["localhost"], IsCa::NoCa);
        for (bundle, server, word) in [
            (&other_name.pem, &other_name, "not valid for name"),
            (&old.pem, &old, "expired"),
            (&early.pem, &early, "notvalidyet"),
            (&own.pem, &stranger, "certificate"),
        ] {
            let refused = handshake(bundle, server).unwrap_err().to_lowercase();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
