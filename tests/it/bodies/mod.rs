//! Bodies of every format, through the gate and back.

mod carriers;
mod codings;
mod coverage;
mod export;
mod fhir;
mod files;
mod forms;
mod framing;
mod hidden;
mod legacy;
mod long;
mod ndjson;
mod oddities;
mod outcomes;
mod pages;
mod patches;
mod removal;
mod streams;
mod wholes;
mod xml;
