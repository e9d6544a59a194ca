//! The gate as its users meet it: a real process, over TLS and HTTP.

mod docs;
mod fixture;
mod protection;
