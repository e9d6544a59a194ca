//! The record of who saw what: events, the journal that makes them durable, and its verification.
//!
//! An event never holds a value, a path or a query: routes are named by their config, people by their certificate.

pub mod chain;
pub mod event;
pub mod handshakes;
pub mod journal;
pub mod limited;
pub mod recorder;
pub mod verify;

pub use event::AuditEvent;
pub use recorder::{Receipt, Recorder, Unrecorded};
