//! The CRDs that kro-hub installs on the hub.
