//! What the tests of this module share: a keyring that counts its calls and can be told to refuse.

use super::{Keyring, Keys, LocalKekError};
use crate::seal::crypto::default_provider;
use crate::seal::local::LocalKek;
use crate::seal::{Class, Context, DataKey, EncryptedDataKey, EncryptionContext, Scope};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(super) struct Counting {
    kek: LocalKek,
    pub(super) made: AtomicUsize,
    pub(super) unwrapped: AtomicUsize,
    pub(super) refuses: AtomicBool,
}

impl Counting {
    /// Keyrings of one seed have one KEK.
    pub(super) fn keys(seed: u8) -> Keys<Self> {
        let kek = LocalKek::read(default_provider(), &data_encoding::BASE64.encode(&[seed; 32])).unwrap();
        let (made, unwrapped, refuses) = Default::default();
        Keys::new(Self { kek, made, unwrapped, refuses })
    }

    /// Calls so far: data keys made, and unwrapped.
    pub(super) fn calls(&self) -> (usize, usize) {
        (self.made.load(Ordering::SeqCst), self.unwrapped.load(Ordering::SeqCst))
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the KEK is disabled")]
    Disabled,
    #[error(transparent)]
    Local(#[from] LocalKekError),
}

impl Keyring for Counting {
    type Error = Refused;

    fn generate_data_key(&self, context: EncryptionContext) -> Result<(DataKey, Vec<EncryptedDataKey>), Refused> {
        self.made.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Refused::Disabled);
        }
        Ok(self.kek.generate_data_key(context)?)
    }

    fn decrypt_data_key(&self, edks: &[EncryptedDataKey], context: EncryptionContext) -> Result<DataKey, Refused> {
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Refused::Disabled);
        }
        Ok(self.kek.decrypt_data_key(edks, context)?)
    }
}

pub(super) fn context<'a>(class: &str, scope: &str, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
    Context { class: Class::parse(class).unwrap(), scope: Scope::parse(scope).unwrap(), bind }
}
