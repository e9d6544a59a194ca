//! Bodies of every format, through the gate and back.

mod fhir;
mod ndjson;
