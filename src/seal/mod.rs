//! Sealing and opening of single values: envelopes, the keys that make them, the context they are bound to.
//!
//! Pure and synchronous. No I/O, no clock, no HTTP, and never a plaintext in an error.
//!
//! Reading order: `context` (class, scope, AAD), `key` (data keys and what is derived from them), [`envelope`] (the
//! byte layout), `head` (the part of it that needs no key), [`token`] (its text form), `value` (what goes in and comes
//! out), `opener` (tokens in, values out), `sealer` (values in, tokens out), [`mod@format`] (values that keep their
//! format), [`stream`] (attachments), [`local`] (a KEK to develop with). What the modules without a link have is here.

pub(crate) mod context;
pub mod crypto;
pub mod envelope;
pub mod format;
pub(crate) mod head;
pub(crate) mod key;
pub mod local;
pub(crate) mod opener;
mod quick;
pub(crate) mod sealer;
mod stack;
pub mod stream;
pub mod token;
pub(crate) mod value;

pub use context::{Class, Context, EncryptionContext, NotALabel, Purpose, Scope};
pub use crypto::CryptoProvider;
pub use envelope::{Envelope, Placement, ReadError, Suite};
pub use head::{Head, KeyRef};
pub use key::{Commitment, DataKey, EncryptedDataKey, KekTag, KeyId, WrongKeyLength};
pub use opener::{OpenError, UnwrappedKey};
pub use sealer::{Budget, Origin, SealError, SealingKey, Workspace};
pub use token::Token;
pub use value::{Kind, Manner, Value};

/// Appends `part` with its length before it (u32, big-endian), so that no two lists of parts give the same bytes.
pub(crate) fn length_prefix(part: &[u8], out: &mut Vec<u8>) {
    // A part is a label, a header or one bind value; configuration and `value_bytes_max` keep all of them far below 4
    // GiB.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}
