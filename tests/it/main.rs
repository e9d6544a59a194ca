//! The gate as its users meet it: a real process, over TLS and HTTP.

mod docs;
mod durability;
mod fhir;
mod fixture;
mod kms;
mod protection;
