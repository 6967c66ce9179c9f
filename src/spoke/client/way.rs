//! The way of a request to its server: the transport itself. Nothing waits in between, and no task stands there for each cluster.

use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use kube::client::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

/// What comes in answer, as it comes.
pub(super) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Clone)]
pub(super) struct Way(BoxCloneSyncService<Request<Body>, Response<Incoming>, BoxError>);

impl Way {
    pub fn over<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service
            .map_response(|answer: Response<B>| answer.map(|body| body.map_err(Into::into).boxed_unsync()));
        Self(BoxCloneSyncService::new(service.map_err(Into::into)))
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        self.0.clone().oneshot(request).await
    }

    /// The client of the library.
    pub fn kube(&self) -> kube::Client {
        kube::Client::new(self.0.clone(), "default")
    }
}
