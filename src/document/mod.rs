//! Which parts of a body are protected, and their replacement in place.
//!
//! Every format is a pull machine: it yields a slot, waits, and takes the replacement; what no rule selects leaves as it
//! came, byte for byte. Nothing here knows cryptography, HTTP or a clock, and no error holds content of a document.

pub mod bind;
pub mod json;
pub mod pairing;
pub mod path;
