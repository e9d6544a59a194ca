//! The gate as its users meet it: a real process, over TLS and HTTP.

#![cfg(test)]

#[cfg(feature = "aws-lc")]
mod bearer;
mod bind;
mod bodies;
mod canary;
mod docs;
mod durability;
mod edge;
mod embedded;
mod explain;
mod fhir;
mod fixture;
mod keks;
mod keys;
mod kms;
mod kms_away;
mod lifecycle;
mod logging;
mod memory;
mod open_anywhere;
mod operator;
mod pasted;
mod protection;
mod refusals;
mod region_away;
mod reload;
mod responses;
mod rotation;
mod scopes;
mod searches;
mod spellings;
mod stored;
mod stores;
mod suites;
mod tidy;
mod tokens;
mod unopenable;
mod unread;
mod warnings;
mod way_out;
mod wholes;
mod wire;
