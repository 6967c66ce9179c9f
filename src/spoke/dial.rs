//! How a connection to one API server is made: by TCP and TLS, or the way that the machine knows. Either lies behind the
//! client's fence.

use super::fence::{Fence, Fenced, FencedStream};
use super::host::{AnyHost, Stream};
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tower::ServiceExt;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Dial {
    network: HttpsConnector<Fenced<HttpConnector>>,
    host: AnyHost,
    fence: Fence,
}

impl Dial {
    pub fn new(
        mut tls: rustls::ClientConfig,
        server_name: Option<&str>,
        host: AnyHost,
        fence: Fence,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tls.alpn_protocols.clear();
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = match server_name.and_then(|name| ServerName::try_from(name.to_owned()).ok()) {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let network = builder.enable_http1().enable_http2().wrap_connector(Fenced::new(tcp, fence.clone()));
        Self { network, host, fence }
    }

    pub async fn dial(&self, to: &Uri) -> Result<Stream, BoxError> {
        match self.host.connect(to) {
            Some(connecting) => Ok(Stream::new(FencedStream::new(connecting.await?, self.fence.clone()))),
            None => Ok(Stream::new(self.network.clone().oneshot(to.clone()).await?)),
        }
    }
}
