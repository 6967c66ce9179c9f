//! Numbers from a seed.

pub use crate::reconcile::simulation::random::Random;
