//! A recovery KEK: an RSA key whose private half lies in a safe, for the day on which KMS is gone for good.
//!
//! The gateway has the public half and never opens anything with it. Whoever gets hold of the private half opens
//! everything that was ever wrapped under it, past and future, and no log anywhere tells: keep it offline, split, or in
//! a hardware token.
//!
//! The pair is made on a machine that is not on a network; the gateway is given `recovery-public.pem` alone:
//!
//! ```text
//! openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out recovery.pem
//! openssl pkey -in recovery.pem -pubout -out recovery-public.pem
//! ```
//!
//! An encrypted data key is RSAES-OAEP(data key) with SHA-256, MGF1 with SHA-256, and as label the text
//! `sealgate/v1/recovery-wrap` and the encryption context, each part with its length before it:
//! lp(`sealgate/v1/recovery-wrap`) ‖ lp(`app`) ‖ lp(`sealgate`) ‖ lp(`scope`) ‖ lp(scope) ‖ lp(`purpose`) ‖ lp(purpose).
//! It is as long as the modulus: 384 bytes for 3072 bits, and every inline token carries it.
//!
//! It opens without us. With its bytes in `edk.bin` and the label in hex for HEX, this writes the 32 bytes of the data
//! key:
//!
//! ```text
//! openssl pkeyutl -decrypt -inkey recovery.pem -in edk.bin -out data-key.bin -pkeyopt rsa_padding_mode:oaep \
//!   -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -pkeyopt rsa_oaep_label:HEX
//! ```
//!
//! The name is `recovery:` and the first 16 characters of
//! `openssl pkey -in recovery.pem -pubout -outform DER | sha256sum`.

use super::{Decrypted, Kek, KeyringError, KmsCall, Wrapped};
use crate::seal::crypto::{CryptoFailed, Oaep, RsaKey, RsaRefused};
use crate::seal::{CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag};
use data_encoding::HEXLOWER;
use futures_util::future::{BoxFuture, ready};
use memchr::memmem;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::ops::RangeInclusive;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the names of recovery keys begin with.
pub(super) const NAME: &str = "recovery:";

/// Bits of a modulus that is taken: 3072 is what SP 800-57 part 1, table 2, holds to be as strong as a 128-bit key.
pub const BITS: RangeInclusive<usize> = 3072..=8192;

/// Why a text is no recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotARecoveryKey {
    /// No public key in it.
    #[error("recovery key: wanted the PEM of an RSA public key (`PUBLIC KEY`; `openssl pkey -pubout` writes it)")]
    NotPublic,
    /// The private key where the public one belongs.
    #[error(
        "recovery key: this is the private key; the gateway takes the public one, and the private one goes offline"
    )]
    PrivateGiven,
    /// No private key in it.
    #[error("recovery key: wanted the PEM of an RSA private key in PKCS#8, not encrypted (`PRIVATE KEY`)")]
    NotPrivate,
    /// Too small to be worth it, or too large.
    #[error("recovery key: wanted {} to {} bits, got {bits}", BITS.start(), BITS.end())]
    Bits {
        /// Of the modulus.
        bits: usize,
    },
    /// The crypto provider has no RSA encryption.
    #[error("recovery key: crypto provider {provider} has no RSA encryption; use a build with the provider aws-lc-rs")]
    Unsupported {
        /// Its name.
        provider: &'static str,
    },
}

/// RSA-OAEP under the public half of a recovery key; with the private half it opens as well.
pub struct Recovery {
    provider: &'static dyn CryptoProvider,
    rsa: Box<dyn Oaep>,
    tag: KekTag,
    name: Arc<str>,
}

impl Recovery {
    /// How long a data key is as it wraps it: as its modulus.
    #[must_use]
    pub fn edk_bytes(&self) -> usize {
        self.rsa.bits().div_ceil(8)
    }

    /// Takes the public key from the text of its PEM file. What it wraps it cannot open: [`KeyringError::UnknownKek`].
    ///
    /// # Errors
    /// [`NotARecoveryKey`] if there is none of the wanted size in it, if there is a private key in it, or if the
    /// provider has no RSA encryption.
    pub fn read_public(provider: &'static dyn CryptoProvider, pem: &[u8]) -> Result<Self, NotARecoveryKey> {
        if memmem::find(pem, b"PRIVATE KEY-----").is_some() {
            return Err(NotARecoveryKey::PrivateGiven);
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| NotARecoveryKey::NotPublic)?;
        Self::new(provider, RsaKey::Public(&der), NotARecoveryKey::NotPublic)
    }

    /// Takes the private key from the text of its PEM file, to recover with.
    ///
    /// # Errors
    /// [`NotARecoveryKey`] if there is none of the wanted size in it, or if the provider has no RSA encryption.
    pub fn read_private(provider: &'static dyn CryptoProvider, pem: &[u8]) -> Result<Self, NotARecoveryKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| NotARecoveryKey::NotPrivate)?;
        let der = Zeroizing::new(der);
        Self::new(provider, RsaKey::Private(der.secret_pkcs8_der()), NotARecoveryKey::NotPrivate)
    }

    fn new(
        provider: &'static dyn CryptoProvider,
        key: RsaKey<'_>,
        not_a_key: NotARecoveryKey,
    ) -> Result<Self, NotARecoveryKey> {
        let rsa = provider.rsa_oaep_sha256(key).map_err(|refused| match refused {
            RsaRefused::Unsupported { provider } => NotARecoveryKey::Unsupported { provider },
            RsaRefused::NotAKey => not_a_key,
        })?;
        if !BITS.contains(&rsa.bits()) {
            return Err(NotARecoveryKey::Bits { bits: rsa.bits() });
        }
        let print = provider.sha256(&[rsa.public_der()]);
        let name: Arc<str> = format!("{NAME}{}", HEXLOWER.encode(print.first_chunk::<8>().unwrap_or(&[0; 8]))).into();
        Ok(Self { provider, rsa, tag: KekTag::of(provider, &name), name })
    }

    fn call(&self) -> KmsCall {
        KmsCall { kek: Arc::clone(&self.name), request_id: None }
    }

    fn wrap(&self, key: &DataKey, context: &EncryptionContext) -> Result<Wrapped, KeyringError> {
        let blob = self.rsa.encrypt(key.expose(), &label(context)).map_err(|_| self.failed())?;
        Ok(Wrapped { edk: EncryptedDataKey { kek: self.tag, blob }, call: self.call() })
    }

    fn unwrap(&self, edk: &EncryptedDataKey, context: &EncryptionContext) -> Result<Decrypted, KeyringError> {
        if edk.kek != self.tag || !self.rsa.decrypts() {
            return Err(KeyringError::UnknownKek);
        }
        let rejected = || KeyringError::Rejected { why: "it does not decrypt".into(), request_id: None };
        let key = self.rsa.decrypt(&edk.blob, &label(context)).map_err(|CryptoFailed| rejected())?;
        let key = DataKey::take(key.to_vec()).map_err(|_| rejected())?;
        Ok(Decrypted { key, call: self.call() })
    }

    fn failed(&self) -> KeyringError {
        let why = "the crypto provider failed".into();
        KeyringError::Unavailable { kek: Arc::clone(&self.name), why, request_id: None }
    }
}

fn label(context: &EncryptionContext) -> Vec<u8> {
    context.aad(b"sealgate/v1/recovery-wrap")
}

impl Kek for Recovery {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn tag(&self) -> KekTag {
        self.tag
    }

    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>> {
        let key = DataKey::generate(self.provider).map_err(|_| self.failed());
        Box::pin(ready(key.and_then(|key| self.wrap(&key, &context).map(|wrapped| (key, wrapped)))))
    }

    fn encrypt_data_key<'a>(
        &'a self,
        key: &'a DataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyringError>> {
        Box::pin(ready(self.wrap(key, &context)))
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(ready(self.unwrap(&edk, &context)))
    }

    /// Never: nothing keeps its keys but this process.
    fn re_encrypt<'a>(
        &'a self,
        _: EncryptedDataKey,
        _: &'a str,
        _: EncryptionContext,
    ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Purpose;
    use crate::seal::Scope;
    use crate::seal::crypto::{default_provider, providers};
    use futures_util::FutureExt;
    use std::path::Path;
    use std::process::Command;
    use std::sync::LazyLock;

    /// The pair that the commands in this file's documentation make.
    static PAIR: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        for line in openssl_lines().iter().take(2) {
            run(folder.path(), line);
        }
        ["recovery.pem", "recovery-public.pem"].map(|file| std::fs::read(folder.path().join(file)).unwrap())
    });

    /// The `openssl` command lines of the documentation above, in their order.
    fn openssl_lines() -> Vec<String> {
        let documented = include_str!("recovery.rs").lines().map_while(|line| line.strip_prefix("//!"));
        let text = documented.map(str::trim).collect::<Vec<_>>().join("\n").replace("\\\n", "");
        let lines: Vec<String> = text.lines().filter(|line| line.starts_with("openssl ")).map(Into::into).collect();
        assert_eq!(lines.len(), 3, "{text}");
        lines
    }

    fn run(folder: &Path, line: &str) -> Vec<u8> {
        let output = Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn pair() -> (Recovery, Recovery) {
        let [private, public] = &*PAIR;
        let provider = default_provider();
        (Recovery::read_public(provider, public).unwrap(), Recovery::read_private(provider, private).unwrap())
    }

    fn context(scope: &str, purpose: Purpose) -> EncryptionContext {
        EncryptionContext { scope: Scope::parse(scope).unwrap(), purpose }
    }

    fn made(kek: &Recovery, context: EncryptionContext) -> (DataKey, Wrapped) {
        kek.generate_data_key(context).now_or_never().unwrap().unwrap()
    }

    fn opened(kek: &Recovery, edk: &EncryptedDataKey, context: EncryptionContext) -> Result<DataKey, KeyringError> {
        kek.decrypt_data_key(edk.clone(), context).now_or_never().unwrap().map(|decrypted| decrypted.key)
    }

    #[test]
    fn what_the_public_key_wraps_the_private_key_opens() {
        let (public, private) = pair();
        let here = context("clinic", Purpose::Field);
        let (key, wrapped) = made(&public, here);
        assert_eq!(wrapped.edk.blob.len(), 384, "3072 bits");
        assert_eq!((wrapped.edk.kek, wrapped.edk.kek), (public.tag(), private.tag()));
        assert_eq!(wrapped.call, KmsCall { kek: Arc::clone(private.name()), request_id: None });
        assert_eq!(opened(&private, &wrapped.edk, here).unwrap().expose(), key.expose());
        let again = public.encrypt_data_key(&key, here).now_or_never().unwrap().unwrap();
        assert_ne!(again.edk, wrapped.edk, "OAEP is salted");
        assert_eq!(opened(&private, &again.edk, here).unwrap().expose(), key.expose());
        assert!(public.re_encrypt(again.edk, "recovery:0", here).is_none());
    }

    #[test]
    fn it_opens_for_its_context_alone_and_not_without_the_private_key() {
        let (public, private) = pair();
        let here = context("clinic", Purpose::Field);
        let edk = made(&public, here).1.edk;
        let rejected = |result: Result<DataKey, _>| matches!(result.err(), Some(KeyringError::Rejected { .. }));
        assert!(rejected(opened(&private, &edk, context("clinik", Purpose::Field))));
        assert!(rejected(opened(&private, &edk, context("clinic", Purpose::Lookup))));
        for at in [0, 100, 383] {
            let mut changed = edk.clone();
            changed.blob[at] ^= 1;
            assert!(rejected(opened(&private, &changed, here)), "{at}");
        }
        for length in [0, 1, 383, 385] {
            let mut changed = edk.clone();
            changed.blob.resize(length, 7);
            assert!(rejected(opened(&private, &changed, here)), "{length}");
        }
        assert_eq!(opened(&public, &edk, here).err(), Some(KeyringError::UnknownKek), "so that others are asked");
        let strangers = EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), ..edk };
        assert_eq!(opened(&private, &strangers, here).err(), Some(KeyringError::UnknownKek));
    }

    #[test]
    fn openssl_unwraps_it_without_us_and_gives_the_name() {
        let (public, _) = pair();
        let here = context("clinic", Purpose::Stream);
        let (key, wrapped) = made(&public, here);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recovery.pem"), &PAIR[0]).unwrap();
        std::fs::write(folder.path().join("edk.bin"), &wrapped.edk.blob).unwrap();
        // The label, written down by hand from the documentation.
        let parts = ["sealgate/v1/recovery-wrap", "app", "sealgate", "scope", "clinic", "purpose", "stream"];
        let label = parts.map(|part| format!("{:08x}{}", part.len(), HEXLOWER.encode(part.as_bytes()))).concat();
        run(folder.path(), &openssl_lines()[2].replace("HEX", &label));
        assert_eq!(std::fs::read(folder.path().join("data-key.bin")).unwrap(), key.expose());

        let print = run(folder.path(), "openssl pkey -in recovery.pem -pubout -outform DER | sha256sum");
        let print = String::from_utf8(print).unwrap();
        assert_eq!(**public.name(), format!("recovery:{}", &print[..16]));
    }

    #[test]
    fn a_file_that_holds_no_such_key_is_refused_by_what_is_wrong_with_it() {
        let provider = default_provider();
        let public = |pem: &[u8]| Recovery::read_public(provider, pem).err();
        let private = |pem: &[u8]| Recovery::read_private(provider, pem).err();
        let [private_pem, public_pem] = &*PAIR;
        assert_eq!(public(private_pem), Some(NotARecoveryKey::PrivateGiven));
        assert_eq!(public(&[public_pem.as_slice(), private_pem].concat()), Some(NotARecoveryKey::PrivateGiven));
        assert_eq!(private(public_pem), Some(NotARecoveryKey::NotPrivate));
        for pem in [b"".as_slice(), b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff\x00"] {
            assert_eq!(
                (public(pem), private(pem)),
                (Some(NotARecoveryKey::NotPublic), Some(NotARecoveryKey::NotPrivate))
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let other = |arguments: &str| {
            run(
                folder.path(),
                &format!("openssl genpkey {arguments} -out key && openssl pkey -in key -pubout -out pub"),
            );
            ["key", "pub"].map(|file| std::fs::read(folder.path().join(file)).unwrap())
        };
        let [small, small_public] = other("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
        assert_eq!(public(&small_public), Some(NotARecoveryKey::Bits { bits: 2048 }));
        assert_eq!(private(&small), Some(NotARecoveryKey::Bits { bits: 2048 }));
        let [curve, curve_public] = other("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
        assert_eq!(public(&curve_public), Some(NotARecoveryKey::NotPublic));
        assert_eq!(private(&curve), Some(NotARecoveryKey::NotPrivate));
    }

    #[test]
    fn a_provider_without_rsa_says_so() {
        let [private, public] = &*PAIR;
        let ring = providers().iter().find(|provider| provider.name() == "ring").unwrap();
        let unsupported = NotARecoveryKey::Unsupported { provider: "ring" };
        assert_eq!(Recovery::read_public(*ring, public).err(), Some(unsupported));
        assert_eq!(Recovery::read_private(*ring, private).err(), Some(unsupported));
        assert!(unsupported.to_string().contains("crypto provider ring"));
    }
}
