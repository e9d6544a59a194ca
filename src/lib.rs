//! sealgate: an encryption gateway for PHI, and its sealing core as a library.
//!
//! A reverse proxy that demands client certificates, replaces protected fields of requests by tokens, opens them in
//! responses for those who may see them, and puts every exchange on record.
//!
//! # As a library
//!
//! With `default-features = false` and a crypto provider (`aws-lc` or `ring`) only [`seal`], [`document`] and [`embed`]
//! are built: no I/O, no async runtime, no clock. A service brings its KMS as an [`embed::Keyring`]; what it seals a
//! gate opens, and the other way round. [`embed`] has examples for single values, for asynchronous services, for the
//! fields of JSON documents ([`Fields`](embed::Fields)) and, with the feature `serde`, for struct fields
//! ([`Sealed`](embed::Sealed)). These three modules follow semantic versioning; the others are no interface.
//!
//! # The code, in reading order
//!
//! [`seal`] makes tokens of values and values of tokens; its [`envelope`](seal::envelope) is the format. [`document`]
//! finds the parts of a body that rules name, and replaces them in place. [`embed`] is what a service builds on.
//! [`keyring`] brings data keys from KMS. [`policy`] says who may do what, [`view`] how a value is shown, [`audit`]
//! keeps the record. [`proxy`] is the gate; in it, [`pipeline`](proxy::pipeline) is the one place where the order of
//! things is decided. [`config`] is the file, [`app`] puts it all together, [`cli`] is the command line, which has
//! [`process`] keep its memory to itself before a key is loaded.
//!
//! # What always holds
//!
//! 1. Fail closed. What cannot be parsed, matched, keyed, authorised or recorded is refused. No setting turns that into
//!    pass-through; a route without rules must say `protect: none` in so many words.
//! 2. No receipt, no plaintext. Opening a value for a client takes an [`audit::Receipt`], which there is only once the
//!    event is durable.
//! 3. A permit is proof. [`policy::Permit`] has no public constructor; transform and upstream take one.
//! 4. Values and keys have no `Display`, `Debug`, `Serialize` or `Clone`. No log line, error, metric, audit event or
//!    problem response holds one.
//! 5. Untouched bytes stay untouched. Bodies are spliced, never written anew.
//! 6. One table from error to status: [`proxy::rescue`].
//! 7. Everything has a limit, named with its unit last.
//! 8. Time comes from tokio's clock, randomness from the crypto provider.
//! 9. Every task is owned, and ends at drain.

pub mod seal;

pub mod document;

pub mod embed;

#[cfg(feature = "gateway")]
pub mod app;
#[cfg(feature = "gateway")]
pub mod audit;
#[cfg(feature = "gateway")]
pub mod cli;
#[cfg(feature = "gateway")]
pub mod config;
#[cfg(feature = "gateway")]
pub mod keyring;
#[cfg(feature = "gateway")]
pub mod net;
#[cfg(feature = "gateway")]
pub mod policy;
#[cfg(feature = "gateway")]
pub mod process;
#[cfg(feature = "gateway")]
pub mod proxy;
#[cfg(feature = "gateway")]
pub mod telemetry;
#[cfg(feature = "gateway")]
pub mod view;
