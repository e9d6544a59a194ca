//! Bodies of every format, through the gate and back.

mod carriers;
mod codings;
mod coverage;
mod fhir;
mod files;
mod forms;
mod hidden;
mod legacy;
mod long;
mod ndjson;
mod pages;
mod patches;
mod streams;
mod wholes;
mod xml;
