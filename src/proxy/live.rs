//! The gate that is in force, and how another takes its place.

use super::Gate;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The gate that is in force. Whoever starts something takes the gate of that moment and keeps it to the end: what is under
/// way never sees half of one and half of another.
pub struct Live(ArcSwap<Gate>);

impl Live {
    /// With the gate of the start.
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Self(ArcSwap::from_pointee(gate))
    }

    /// The gate in force.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        self.0.load_full()
    }

    /// Puts another in its place, for all that starts from now on.
    pub fn replace(&self, gate: Gate) {
        self.0.store(Arc::new(gate));
    }
}
