//! sealgate inside a service: values and documents sealed with a keyring of the service's choice. No proxy, no runtime,
//! no clock, no I/O but what the keyring does.
//!
//! [`Keyring`] is what the service brings: two calls to its KMS. [`Keys`] keeps data keys by scope and purpose and
//! seals and opens values; [`Fields`] does so with the fields of JSON documents that paths select; [`Sealed`] (feature
//! `serde`) is a struct field that holds a token. All of it stands on [`seal`](crate::seal) and makes the same tokens
//! as a gate: each opens what the other sealed, given the same KEK, scope and class.
//!
//! # One value
//!
//! ```
//! use sealgate::embed::Keys;
//! use sealgate::seal::crypto::default_provider;
//! use sealgate::seal::local::LocalKek;
//! use sealgate::seal::{Class, Context, Kind, Manner, Scope};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // For development. In production: your own `Keyring` over your KMS.
//! let kek = LocalKek::read(default_provider(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?;
//! let keys = Keys::new(kek);
//!
//! // The record's id is bound: in another record the token does not open.
//! let bind: [(&str, &[u8]); 1] = [("id", b"42")];
//! let here = Context { class: Class::parse("ssn")?, scope: Scope::parse("clinic")?, bind: &bind };
//! let token = keys.seal(&here, Manner::random(Kind::Text), b"999-12-3456")?;
//! assert!(token.as_str().starts_with("sgv1."));
//!
//! assert_eq!(keys.open(token.as_str(), &here)?.expose(), b"999-12-3456");
//! assert!(keys.open(token.as_str(), &Context { bind: &[("id", b"43")], ..here }).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # How long keys live
//!
//! Nothing here has a clock. Call [`Keys::forget`] on a timer, say every five minutes: that is how long a data key that
//! was revoked in KMS goes on to seal and open.
//!
//! # In an asynchronous service
//!
//! [`Keyring`] is synchronous. A service that must not block awaits its KMS itself and hands the key to the types that
//! [`Keys`] is made of, which never wait for anything:
//!
//! ```
//! use sealgate::seal::{crypto::default_provider, local::LocalKek, *};
//! # use std::error::Error;
//! # struct Kms(LocalKek);
//! # impl Kms {
//! #     async fn generate_data_key(&self, c: EncryptionContext) -> Result<(DataKey, EncryptedDataKey), Box<dyn Error>> {
//! #         let key = self.0.generate()?;
//! #         let edk = self.0.wrap(&key, &c)?;
//! #         Ok((key, edk))
//! #     }
//! #     async fn decrypt(&self, edks: &[EncryptedDataKey], c: EncryptionContext) -> Result<DataKey, Box<dyn Error>> {
//! #         Ok(self.0.unwrap(&edks[0], &c)?)
//! #     }
//! # }
//! async fn to_and_fro(kms: &Kms, here: Context<'_>) -> Result<(), Box<dyn Error>> {
//!     // To seal: one data key for many values. Keep the SealingKey until its budget or its time is spent.
//!     let made_for = EncryptionContext { scope: here.scope, purpose: Purpose::Field };
//!     let (data_key, edk) = kms.generate_data_key(made_for).await?;
//!     let key = UnwrappedKey::new(default_provider(), data_key)?;
//!     let key = SealingKey::new(key, made_for, Origin::Inline(vec![edk]), Budget::default());
//!     let token = key.seal(&mut Workspace::new(), &here, Manner::random(Kind::Text), b"999-12-3456")?;
//!
//!     // To open: the token says which key. Keep the UnwrappedKey by scope, purpose and key id.
//!     let envelope = Token::read(token.as_str().as_bytes())?;
//!     let KeyRef::Inline { edks, .. } = envelope.key() else { return Err("the key is in a store".into()) };
//!     let data_key = kms.decrypt(&edks, envelope.head().encryption_context()).await?;
//!     let key = UnwrappedKey::new(default_provider(), data_key)?;
//!     assert_eq!(key.open(envelope, &here)?.expose(), b"999-12-3456");
//!     Ok(())
//! }
//! # fn main() -> Result<(), Box<dyn Error>> {
//! #     let kms = Kms(LocalKek::read(default_provider(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?);
//! #     let here = Context { class: Class::parse("ssn")?, scope: Scope::parse("clinic")?, bind: &[] };
//! #     let mut waiting = std::pin::pin!(to_and_fro(&kms, here));
//! #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! #     let std::task::Poll::Ready(done) = std::future::Future::poll(waiting.as_mut(), &mut cx) else { return Err("".into()) };
//! #     done
//! # }
//! ```

mod fields;
mod keys;
#[cfg(feature = "serde")]
mod sealed;

#[cfg(test)]
mod testing;

pub use fields::{Field, Fields, FieldsError};
pub use keys::{Keys, StoredKey};
#[cfg(feature = "serde")]
pub use sealed::Sealed;

use crate::seal::crypto::CryptoFailed;
use crate::seal::local::{LocalKek, UnwrapError};
use crate::seal::{DataKey, EncryptedDataKey, EncryptionContext, OpenError, ReadError, SealError};
use std::error::Error as StdError;

/// What wraps and unwraps data keys for a service: its KMS. Called on a miss only; whether it blocks is its own affair.
pub trait Keyring {
    /// Why it has no key. It is told to whoever asked, so it must hold no key.
    type Error: StdError + Send + Sync + 'static;

    /// Makes a data key of 32 random bytes and wraps it, bound to the pairs of `context`: `GenerateDataKey` of AWS KMS.
    /// Where there are several KEKs, each wraps it, up to 4 of them.
    ///
    /// # Errors
    /// Whatever keeps it from doing so; nothing is sealed then.
    fn generate_data_key(&self, context: EncryptionContext) -> Result<(DataKey, Vec<EncryptedDataKey>), Self::Error>;

    /// Unwraps a data key that was made for `context`. All of `edks` hold the same one: take one whose KEK is at hand.
    /// They come from tokens, that is, from anybody.
    ///
    /// # Errors
    /// If none of them is of a KEK of its own, is intact, and was made for `context`.
    fn decrypt_data_key(&self, edks: &[EncryptedDataKey], context: EncryptionContext) -> Result<DataKey, Self::Error>;
}

/// Why a value was not sealed or opened. It holds nothing of the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E: StdError + 'static> {
    /// The keyring gave no key.
    #[error("keyring: {0}")]
    Keyring(#[source] E),
    /// A key of this purpose stands in a store, and none was handed in: one that seals, or the one that a token names.
    #[error("data key: none of purpose {} in scope {} was handed in", .0.purpose.as_str(), .0.scope)]
    NoStoredKey(EncryptionContext),
    /// The text is no token.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The token does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The value was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The crypto provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
    /// What was opened is no value of the wanted type, or the value has no JSON form.
    #[error("value: not of the type that is wanted")]
    WrongType,
}

/// A KEK in a file, for development.
impl Keyring for LocalKek {
    type Error = LocalKekError;

    fn generate_data_key(&self, context: EncryptionContext) -> Result<(DataKey, Vec<EncryptedDataKey>), LocalKekError> {
        let key = self.generate()?;
        let edk = self.wrap(&key, &context)?;
        Ok((key, vec![edk]))
    }

    fn decrypt_data_key(
        &self,
        edks: &[EncryptedDataKey],
        context: EncryptionContext,
    ) -> Result<DataKey, LocalKekError> {
        let ours = edks.iter().find(|edk| edk.kek == self.tag()).ok_or(UnwrapError::OtherKek)?;
        Ok(self.unwrap(ours, &context)?)
    }
}

/// Why a [`LocalKek`] has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKekError {
    /// It did not unwrap one.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// It did not make one.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}
