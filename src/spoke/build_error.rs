//! Why a client cannot be built.

/// Why a client cannot be built. Texts carry no secret.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A field of a kubeconfig.
    #[error("{0}: {1}")]
    Field(String, &'static str),
    #[error("client certificate: {0}")]
    Identity(&'static str),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Config(#[from] kube::Error),
    #[error("kubeconfig: {0}")]
    Kubeconfig(String),
}
