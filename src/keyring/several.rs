//! Several KEKs: a data key wrapped under more than one, any of which opens it.

use super::metered::meter;
use super::{Decrypted, Generated, Kek, Keyring, KeyringError, KmsCall};
use crate::seal::envelope::EDKS_MAX;
use crate::seal::{Commitment, CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag};
use futures_util::future::{BoxFuture, try_join_all};
use std::sync::Arc;

/// How many KEKs may be kept for what they wrapped in the past.
pub const OLD_KEKS_MAX: usize = 64;

/// The KEKs of one gateway.
///
/// A new data key is made by the first and wrapped under each of the others that are wanted. If one of them fails, there
/// is no key: a key that the second region or the recovery key cannot open is a promise broken, and nobody would notice
/// before the day on which it is needed. So every wanted KEK has to answer when a key is made, and one suffices to open;
/// keys that are cached go on meanwhile.
pub struct Several {
    first: Box<dyn Kek>,
    also: Vec<Box<dyn Kek>>,
    old: Vec<Box<dyn Kek>>,
}

/// What a KEK is kept for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Makes new data keys.
    First,
    /// Wraps them as well.
    Also,
    /// Opens what it wrapped in the past, and wraps nothing any more.
    Old,
}

impl Role {
    /// The role as `keys list` shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Also => "also",
            Self::Old => "old",
        }
    }
}

/// Why KEKs make no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKeyring {
    /// An envelope has no room for so many encrypted data keys.
    #[error("keyring: new data keys are wrapped under at most {EDKS_MAX} KEKs, got {got}")]
    TooMany {
        /// How many there are.
        got: usize,
    },
    /// Beyond [`OLD_KEKS_MAX`].
    #[error("keyring: at most {OLD_KEKS_MAX} old KEKs are kept, got {got}")]
    TooManyOld {
        /// How many there are.
        got: usize,
    },
    /// One KEK twice, or two whose tags collide.
    #[error("keyring: KEKs {one} and {other} have the same tag")]
    SameTag {
        /// Name of the one.
        one: Arc<str>,
        /// Name of the other.
        other: Arc<str>,
    },
}

impl Several {
    /// A keyring whose new data keys are made by `first` and wrapped under each of `also`; what was wrapped under one of
    /// `old` still opens.
    ///
    /// # Errors
    /// [`NotAKeyring`] if `first` and `also` are more than [`EDKS_MAX`], `old` more than [`OLD_KEKS_MAX`], or two KEKs
    /// have one tag.
    pub fn new(first: Box<dyn Kek>, also: Vec<Box<dyn Kek>>, old: Vec<Box<dyn Kek>>) -> Result<Self, NotAKeyring> {
        let keyring = Self { first, also, old };
        if keyring.wanted().count() > EDKS_MAX {
            return Err(NotAKeyring::TooMany { got: keyring.wanted().count() });
        }
        if keyring.old.len() > OLD_KEKS_MAX {
            return Err(NotAKeyring::TooManyOld { got: keyring.old.len() });
        }
        for (index, (_, one)) in keyring.all().enumerate() {
            if let Some((_, other)) = keyring.all().skip(index + 1).find(|(_, other)| other.tag() == one.tag()) {
                return Err(NotAKeyring::SameTag { one: Arc::clone(one.name()), other: Arc::clone(other.name()) });
            }
        }
        Ok(keyring)
    }

    /// Tag, name and role of each KEK, in the order in which they were given.
    #[must_use]
    pub fn names(&self) -> Vec<(KekTag, Arc<str>, Role)> {
        self.all().map(|(role, kek)| (kek.tag(), Arc::clone(kek.name()), role)).collect()
    }

    /// Encrypted data keys of the same data key under exactly the KEKs that new ones are wrapped under, and the calls
    /// that it took, those that failed among them.
    ///
    /// One that is there already stays byte for byte. One that is missing is made where its KEK is kept, if that can be
    /// (KMS `ReEncrypt`): then the data key was nowhere in the clear, and whether it is still the one that `commitment`
    /// commits to shows when it is unwrapped. Else the data key is unwrapped by any KEK that opens it, checked against
    /// `commitment`, and wrapped. What other KEKs wrapped is left out.
    ///
    /// # Errors
    /// [`KeyringError`] if one could not be made. Nothing is lost then: `edks` are as good as they were.
    pub async fn rewrap(
        &self,
        provider: &'static dyn CryptoProvider,
        edks: &[EncryptedDataKey],
        commitment: &Commitment,
        context: EncryptionContext,
    ) -> Result<(Vec<EncryptedDataKey>, Vec<KmsCall>), KeyringError> {
        let mut rewrap = Rewrap { keyring: self, provider, edks, commitment, context, calls: Vec::new(), key: None };
        let mut wrapped = Vec::with_capacity(EDKS_MAX);
        for kek in self.wanted() {
            wrapped.push(match edks.iter().find(|edk| edk.kek == kek.tag()) {
                Some(there) => there.clone(),
                None => rewrap.wrap(kek).await?,
            });
        }
        Ok((wrapped, rewrap.calls))
    }

    /// Those that new data keys are wrapped under.
    fn wanted(&self) -> impl Iterator<Item = &dyn Kek> {
        std::iter::once(&self.first).chain(&self.also).map(AsRef::as_ref)
    }

    fn all(&self) -> impl Iterator<Item = (Role, &dyn Kek)> {
        let first = std::iter::once((Role::First, &self.first));
        let also = self.also.iter().map(|kek| (Role::Also, kek));
        let old = self.old.iter().map(|kek| (Role::Old, kek));
        first.chain(also).chain(old).map(|(role, kek)| (role, kek.as_ref()))
    }

    fn find(&self, tag: KekTag) -> Option<&dyn Kek> {
        self.all().map(|(_, kek)| kek).find(|kek| kek.tag() == tag)
    }

    async fn generate(&self, context: EncryptionContext) -> Result<Generated, KeyringError> {
        let (key, made) = self.first.generate_data_key(context).await?;
        let wrapping = self.also.iter().map(|kek| meter("encrypt_data_key", kek.encrypt_data_key(&key, context)));
        let others = try_join_all(wrapping).await?;
        let (edks, calls) = std::iter::once(made).chain(others).map(|one| (one.edk, one.call)).unzip();
        Ok(Generated { key, edks, calls })
    }
}

impl Keyring for Several {
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>> {
        Box::pin(self.generate(context))
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        match self.find(edk.kek) {
            Some(kek) => kek.decrypt_data_key(edk, context),
            None => Box::pin(std::future::ready(Err(KeyringError::UnknownKek))),
        }
    }
}

/// One [`Several::rewrap`] under way.
struct Rewrap<'a> {
    keyring: &'a Several,
    provider: &'static dyn CryptoProvider,
    edks: &'a [EncryptedDataKey],
    commitment: &'a Commitment,
    context: EncryptionContext,
    calls: Vec<KmsCall>,
    /// Once it had to be unwrapped.
    key: Option<DataKey>,
}

impl Rewrap<'_> {
    async fn wrap(&mut self, kek: &dyn Kek) -> Result<EncryptedDataKey, KeyringError> {
        let mut failed = None;
        for edk in self.edks {
            let Some(source) = self.keyring.find(edk.kek) else { continue };
            let Some(call) = kek.re_encrypt(edk.clone(), source.name(), self.context) else { continue };
            match meter("re_encrypt_data_key", call).await {
                Ok(wrapped) => {
                    self.calls.push(wrapped.call);
                    return Ok(wrapped.edk);
                }
                // The source may be the one that is disabled; another may still open it.
                Err(error) => failed = Some(self.note(kek, error)),
            }
        }
        let key = match self.key.take() {
            Some(key) => key,
            None => self.unwrap().await.map_err(|error| match (error, failed) {
                (KeyringError::UnknownKek, Some(failed)) => failed,
                (error, _) => error,
            })?,
        };
        let wrapped = meter("encrypt_data_key", kek.encrypt_data_key(&key, self.context)).await?;
        self.key = Some(key);
        self.calls.push(wrapped.call);
        Ok(wrapped.edk)
    }

    /// The data key, from the first of its encrypted ones that opens. It is the one that is committed to.
    async fn unwrap(&mut self) -> Result<DataKey, KeyringError> {
        let mut last = KeyringError::UnknownKek;
        for edk in self.edks {
            let Some(source) = self.keyring.find(edk.kek) else { continue };
            match meter("decrypt_data_key", source.decrypt_data_key(edk.clone(), self.context)).await {
                Ok(Decrypted { key, call }) => {
                    let request_id = call.request_id.clone();
                    self.calls.push(call);
                    if key.commitment(self.provider).is_ok_and(|commitment| commitment.matches(self.commitment)) {
                        return Ok(key);
                    }
                    last = KeyringError::Rejected { why: "it does not match the commitment".into(), request_id };
                }
                Err(KeyringError::UnknownKek) => {}
                Err(error) => last = self.note(source, error),
            }
        }
        Err(last)
    }

    /// Keeps the call that failed, if a service answered it.
    fn note(&mut self, kek: &dyn Kek, error: KeyringError) -> KeyringError {
        if let Some(request_id) = error.request_id() {
            self.calls.push(KmsCall { kek: Arc::clone(kek.name()), request_id: Some(request_id) });
        }
        error
    }
}
