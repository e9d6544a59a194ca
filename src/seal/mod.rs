//! Sealing and opening of single values: envelopes, the keys that make them, the context they are bound to.
//!
//! Pure and synchronous. No I/O, no clock, no HTTP, and never a plaintext in an error.
//!
//! Reading order: [`context`] (class, scope, AAD), [`key`] (data keys and what is derived from them), [`envelope`]
//! (the byte layout), [`token`] (its text form), [`sealer`] (values in, tokens out, and back).

pub mod context;
pub mod crypto;
pub mod envelope;
pub mod key;
pub mod sealer;
pub mod token;

pub use context::{Class, Context, EncryptionContext, Scope};
pub use crypto::CryptoProvider;
pub use envelope::{Envelope, ReadError};
pub use key::{Commitment, DataKey, EncryptedDataKey, KekTag, KeyId};
pub use sealer::{Kind, Nonces, OpenError, SealError, SealingKey, UnwrappedKey, Value};
pub use token::Token;

/// Appends `part` with its length before it (u32, big-endian), so that no two lists of parts give the same bytes.
pub(crate) fn length_prefix(part: &[u8], out: &mut Vec<u8>) {
    // A part is a label, a header or one bind value; configuration and `value_bytes_max` keep all of them far below 4 GiB.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}
