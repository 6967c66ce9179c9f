//! Why a client cannot be built.

use super::kubeconfig::Refused;

/// Why a client cannot be built. Texts carry no secret.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A field of a kubeconfig that somebody put into a Secret.
    #[error(transparent)]
    Field(#[from] Refused),
    /// The client certificate or its key.
    #[error("client certificate: {0}")]
    Identity(&'static str),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// A configuration that the operator gave.
    #[error("{0}")]
    Config(#[from] kube::Error),
    /// A kubeconfig that the operator gave cannot be read.
    #[error("kubeconfig: {0}")]
    Kubeconfig(String),
}
