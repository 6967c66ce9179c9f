//! What users do with a hub, on real API servers.

pub mod registration;
