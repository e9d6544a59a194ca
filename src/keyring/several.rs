//! Several KEKs: a data key wrapped under more than one, any of which opens it.

use super::metered::meter;
use super::silence::Silence;
use super::{Decrypted, Generated, Kek, Keyring, KeyringError, KmsCall};
use crate::seal::envelope::EDKS_MAX;
use crate::seal::{Commitment, CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag, KeyId};
use futures_util::future::{BoxFuture, join_all, try_join_all};
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
    first: Member,
    also: Vec<Member>,
    old: Vec<Member>,
}

/// A KEK, and whether it answered lately.
struct Member {
    kek: Box<dyn Kek>,
    silence: Silence,
}

impl Member {
    fn new(kek: Box<dyn Kek>, role: Role) -> Self {
        let silence = Silence::new(kek.name(), role);
        Self { kek, silence }
    }
}

/// One KEK, tried out on a throw-away data key.
#[derive(Debug)]
pub struct Tried {
    /// Which KEK.
    pub kek: Arc<str>,
    /// What came of it.
    pub trial: Trial,
    /// The throw-away key, once there was one.
    pub key: Option<KeyId>,
    /// The calls that it took, for the audit record.
    pub calls: Vec<KmsCall>,
}

/// What became of a throw-away data key under one KEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It was wrapped, and what was unwrapped is the same key.
    Opens,
    /// It was wrapped; what unwraps is not here, as with a recovery key.
    Offline,
    /// It was not wrapped, not unwrapped, or came out as another key.
    Fails(KeyringError),
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
        let members = |keks: Vec<Box<dyn Kek>>, role| keks.into_iter().map(|kek| Member::new(kek, role)).collect();
        let first = Member::new(first, Role::First);
        let keyring = Self { first, also: members(also, Role::Also), old: members(old, Role::Old) };
        if keyring.wanted().count() > EDKS_MAX {
            return Err(NotAKeyring::TooMany { got: keyring.wanted().count() });
        }
        if keyring.old.len() > OLD_KEKS_MAX {
            return Err(NotAKeyring::TooManyOld { got: keyring.old.len() });
        }
        let keks = || keyring.all().map(|(_, member)| &member.kek);
        for (index, one) in keks().enumerate() {
            if let Some(other) = keks().skip(index + 1).find(|other| other.tag() == one.tag()) {
                return Err(NotAKeyring::SameTag { one: Arc::clone(one.name()), other: Arc::clone(other.name()) });
            }
        }
        Ok(keyring)
    }

    /// Tag, name and role of each KEK, in the order in which they were given.
    #[must_use]
    pub fn names(&self) -> Vec<(KekTag, Arc<str>, Role)> {
        self.all().map(|(role, Member { kek, .. })| (kek.tag(), Arc::clone(kek.name()), role)).collect()
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
        for member in self.wanted() {
            wrapped.push(match edks.iter().find(|edk| edk.kek == member.kek.tag()) {
                Some(there) => there.clone(),
                None => rewrap.wrap(member).await?,
            });
        }
        Ok((wrapped, rewrap.calls))
    }

    /// Has each KEK that new data keys are wrapped under wrap and unwrap a throw-away data key, all at once: whether it
    /// would open what is sealed from now on. In the order of the KEKs.
    pub async fn try_out(&self, provider: &'static dyn CryptoProvider, context: EncryptionContext) -> Vec<Tried> {
        join_all(self.wanted().map(|member| self.try_one(member, provider, context))).await
    }

    async fn try_one(
        &self,
        member: &Member,
        provider: &'static dyn CryptoProvider,
        context: EncryptionContext,
    ) -> Tried {
        let kek = Arc::clone(member.kek.name());
        let (mut id, mut calls) = (None, Vec::new());
        let trial = async {
            let failed = |_| KeyringError::Unavailable {
                kek: "-".into(),
                why: "the crypto provider failed".into(),
                request_id: None,
            };
            let (key, wrapped) = if std::ptr::eq(member, &self.first) {
                let call = member.kek.generate_data_key(context);
                meter("generate_data_key", member.silence.note(call)).await?
            } else {
                let key = DataKey::generate(provider).map_err(failed)?;
                let call = member.kek.encrypt_data_key(&key, context);
                let wrapped = meter("encrypt_data_key", member.silence.note(call)).await?;
                (key, wrapped)
            };
            calls.push(wrapped.call);
            let commitment = key.commitment(provider).map_err(failed)?;
            id = Some(commitment.key_id());
            let Decrypted { key, call } =
                meter("decrypt_data_key", self.decrypt_data_key(wrapped.edk, context)).await?;
            let request_id = call.request_id.clone();
            calls.push(call);
            if key.commitment(provider).map_err(failed)?.matches(&commitment) {
                return Ok(());
            }
            Err(KeyringError::Rejected { why: "it unwraps to another key".into(), request_id })
        };
        let trial = match trial.await {
            Ok(()) => Trial::Opens,
            Err(KeyringError::UnknownKek) => Trial::Offline,
            Err(error) => {
                calls.extend(error.request_id().map(|id| KmsCall { kek: Arc::clone(&kek), request_id: Some(id) }));
                Trial::Fails(error)
            }
        };
        Tried { kek, trial, key: id, calls }
    }

    /// Those that new data keys are wrapped under.
    fn wanted(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.first).chain(&self.also)
    }

    fn all(&self) -> impl Iterator<Item = (Role, &Member)> {
        let first = std::iter::once((Role::First, &self.first));
        let also = self.also.iter().map(|kek| (Role::Also, kek));
        let old = self.old.iter().map(|kek| (Role::Old, kek));
        first.chain(also).chain(old)
    }

    fn find(&self, tag: KekTag) -> Option<&Member> {
        self.all().map(|(_, member)| member).find(|member| member.kek.tag() == tag)
    }

    async fn generate(&self, context: EncryptionContext) -> Result<Generated, KeyringError> {
        let Member { kek, silence } = &self.first;
        let (key, made) = silence.note(kek.generate_data_key(context)).await?;
        let wrapping = self.also.iter().map(|Member { kek, silence }| {
            meter("encrypt_data_key", silence.note(kek.encrypt_data_key(&key, context)))
        });
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
            Some(Member { kek, silence }) => Box::pin(silence.note(kek.decrypt_data_key(edk, context))),
            None => Box::pin(std::future::ready(Err(KeyringError::UnknownKek))),
        }
    }

    fn is_silent(&self, kek: KekTag) -> bool {
        self.find(kek).is_some_and(|member| member.silence.lasts())
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
    async fn wrap(&mut self, Member { kek, silence }: &Member) -> Result<EncryptedDataKey, KeyringError> {
        let kek = kek.as_ref();
        let mut failed = None;
        for edk in self.edks {
            let Some(source) = self.keyring.find(edk.kek) else { continue };
            let Some(call) = kek.re_encrypt(edk.clone(), source.kek.name(), self.context) else { continue };
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
        let wrapped = meter("encrypt_data_key", silence.note(kek.encrypt_data_key(&key, self.context))).await?;
        self.key = Some(key);
        self.calls.push(wrapped.call);
        Ok(wrapped.edk)
    }

    /// The data key, from the first of its encrypted ones that opens. It is the one that is committed to.
    async fn unwrap(&mut self) -> Result<DataKey, KeyringError> {
        let mut last = KeyringError::UnknownKek;
        for edk in self.keyring.in_order(self.edks) {
            let Some(Member { kek: source, .. }) = self.keyring.find(edk.kek) else { continue };
            match meter("decrypt_data_key", self.keyring.decrypt_data_key(edk.clone(), self.context)).await {
                Ok(Decrypted { key, call }) => {
                    let request_id = call.request_id.clone();
                    self.calls.push(call);
                    if key.commitment(self.provider).is_ok_and(|commitment| commitment.matches(self.commitment)) {
                        return Ok(key);
                    }
                    last = KeyringError::Rejected { why: "it does not match the commitment".into(), request_id };
                }
                Err(KeyringError::UnknownKek) => {}
                Err(error) => last = self.note(source.as_ref(), error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Wrapped;
    use crate::keyring::local::Local;
    use crate::seal::Purpose;
    use crate::seal::Scope;
    use crate::seal::crypto::default_provider;
    use data_encoding::BASE64;
    use futures_util::FutureExt;
    use futures_util::future::ready;
    use std::sync::Mutex;

    const HERE: &str = "clinic";

    /// A local KEK that may be told to fail, that can re-encrypt for its neighbours, and that keeps what it was asked.
    #[derive(Clone)]
    struct Watched(Arc<Inner>);

    struct Inner {
        local: Local,
        /// Those that it can re-encrypt from.
        neighbours: Vec<Watched>,
        broken: Mutex<bool>,
        asked: Mutex<Vec<&'static str>>,
    }

    impl Watched {
        fn kek(seed: u8) -> Self {
            Self::beside(seed, &[])
        }

        fn beside(seed: u8, neighbours: &[&Self]) -> Self {
            let local = Local::read(default_provider(), &BASE64.encode(&[seed; 32])).unwrap();
            let neighbours = neighbours.iter().map(|kek| (*kek).clone()).collect();
            Self(Arc::new(Inner { local, neighbours, broken: Mutex::default(), asked: Mutex::default() }))
        }

        fn boxed(&self) -> Box<dyn Kek> {
            Box::new(self.clone())
        }

        fn break_down(&self) {
            *self.0.broken.lock().unwrap() = true;
        }

        fn mend(&self) {
            *self.0.broken.lock().unwrap() = false;
        }

        /// What it was asked since the last time.
        fn asked(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.0.asked.lock().unwrap())
        }

        fn ask<'a, T: Send + 'a>(
            &self,
            what: &'static str,
            work: BoxFuture<'a, Result<T, KeyringError>>,
        ) -> BoxFuture<'a, Result<T, KeyringError>> {
            self.0.asked.lock().unwrap().push(what);
            if *self.0.broken.lock().unwrap() {
                return Box::pin(ready(Err(down(self))));
            }
            work
        }
    }

    impl Kek for Watched {
        fn name(&self) -> &Arc<str> {
            Kek::name(&self.0.local)
        }

        fn tag(&self) -> KekTag {
            self.0.local.tag()
        }

        fn generate_data_key(
            &self,
            context: EncryptionContext,
        ) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>> {
            self.ask("generate", Kek::generate_data_key(&self.0.local, context))
        }

        fn encrypt_data_key<'a>(
            &'a self,
            key: &'a DataKey,
            context: EncryptionContext,
        ) -> BoxFuture<'a, Result<Wrapped, KeyringError>> {
            self.ask("encrypt", self.0.local.encrypt_data_key(key, context))
        }

        fn decrypt_data_key(
            &self,
            edk: EncryptedDataKey,
            context: EncryptionContext,
        ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
            self.ask("decrypt", Kek::decrypt_data_key(&self.0.local, edk, context))
        }

        fn re_encrypt<'a>(
            &'a self,
            edk: EncryptedDataKey,
            source: &'a str,
            context: EncryptionContext,
        ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>> {
            let source = self.0.neighbours.iter().find(|kek| &**kek.name() == source)?;
            let work = async move {
                let opened = Kek::decrypt_data_key(&source.0.local, edk, context).await?;
                self.0.local.encrypt_data_key(&opened.key, context).await
            };
            Some(self.ask("re-encrypt", Box::pin(work)))
        }
    }

    fn down(kek: &Watched) -> KeyringError {
        KeyringError::Unavailable { kek: Arc::clone(kek.name()), why: "down".into(), request_id: Some("r-1".into()) }
    }

    fn several(first: &Watched, also: &[&Watched], old: &[&Watched]) -> Several {
        let boxed = |keks: &[&Watched]| keks.iter().map(|kek| kek.boxed()).collect();
        Several::new(first.boxed(), boxed(also), boxed(old)).unwrap()
    }

    fn context(scope: &str) -> EncryptionContext {
        EncryptionContext { scope: Scope::parse(scope).unwrap(), purpose: Purpose::Lookup }
    }

    fn made(keyring: &Several) -> Generated {
        keyring.generate_data_key(context(HERE)).now_or_never().unwrap().unwrap()
    }

    fn opened(keyring: &Several, edk: &EncryptedDataKey) -> Result<DataKey, KeyringError> {
        let opening = keyring.decrypt_data_key(edk.clone(), context(HERE));
        opening.now_or_never().unwrap().map(|decrypted| decrypted.key)
    }

    fn forget(asked: &[&Watched]) {
        asked.iter().for_each(|kek| drop(kek.asked()));
    }

    fn commitment(key: &DataKey) -> Commitment {
        key.commitment(default_provider()).unwrap()
    }

    fn rewrapped(
        keyring: &Several,
        edks: &[EncryptedDataKey],
        commitment: &Commitment,
    ) -> Result<(Vec<EncryptedDataKey>, Vec<KmsCall>), KeyringError> {
        keyring.rewrap(default_provider(), edks, commitment, context(HERE)).now_or_never().unwrap()
    }

    fn tags(edks: &[EncryptedDataKey]) -> Vec<KekTag> {
        edks.iter().map(|edk| edk.kek).collect()
    }

    #[test]
    fn a_key_is_wrapped_under_every_wanted_kek_and_each_opens_it() {
        let [a, b, c, old] = [1, 2, 3, 4].map(Watched::kek);
        let keyring = several(&a, &[&b, &c], &[&old]);
        let generated = made(&keyring);
        assert_eq!(tags(&generated.edks), [a.tag(), b.tag(), c.tag()]);
        let named: Vec<_> = generated.calls.iter().map(|call| Arc::clone(&call.kek)).collect();
        assert_eq!(named, [&a, &b, &c].map(|kek| Arc::clone(kek.name())));
        assert_eq!(
            [a.asked(), b.asked(), c.asked(), old.asked()],
            [vec!["generate"], vec!["encrypt"], vec!["encrypt"], vec![]]
        );
        for (edk, kek) in generated.edks.iter().zip([&a, &b, &c]) {
            assert_eq!(opened(&keyring, edk).unwrap().expose(), generated.key.expose());
            assert_eq!(kek.asked(), ["decrypt"], "and nobody else is");
        }
    }

    #[test]
    fn an_old_kek_still_opens_and_one_that_nobody_names_does_not() {
        let [a, b, c] = [1, 2, 3].map(Watched::kek);
        let generated = made(&several(&a, &[&c], &[]));
        let keyring = several(&b, &[], &[&a]);
        assert_eq!(opened(&keyring, &generated.edks[0]).unwrap().expose(), generated.key.expose());
        assert_eq!(opened(&keyring, &generated.edks[1]).err(), Some(KeyringError::UnknownKek));
        assert_eq!(tags(&made(&keyring).edks), [b.tag()]);
        let elsewhere = keyring.decrypt_data_key(generated.edks[0].clone(), context("other")).now_or_never().unwrap();
        assert!(matches!(elsewhere.err(), Some(KeyringError::Rejected { .. })), "the context is bound");
    }

    #[test]
    fn without_one_of_the_wanted_keks_there_is_no_key_and_what_was_made_opens() {
        for broken in 0..3 {
            let keks = [1, 2, 3].map(Watched::kek);
            let keyring = several(&keks[0], &[&keks[1], &keks[2]], &[]);
            let generated = made(&keyring);
            keks[broken].break_down();
            let error = keyring.generate_data_key(context(HERE)).now_or_never().unwrap().err();
            assert_eq!(error, Some(down(&keks[broken])));
            for (index, edk) in generated.edks.iter().enumerate() {
                assert_eq!(opened(&keyring, edk).is_ok(), index != broken);
            }
        }
    }

    #[test]
    fn keks_that_make_no_keyring_are_refused() {
        let keks: Vec<Watched> = (1..=100).map(Watched::kek).collect();
        let boxed = |keks: &[Watched]| keks.iter().map(Watched::boxed).collect::<Vec<_>>();
        let refused = |also: &[Watched], old: &[Watched]| Several::new(keks[0].boxed(), boxed(also), boxed(old)).err();
        assert_eq!(refused(&keks[1..4], &keks[4..68]), None);
        assert_eq!(refused(&keks[1..5], &[]), Some(NotAKeyring::TooMany { got: 5 }));
        assert_eq!(refused(&[], &keks[1..66]), Some(NotAKeyring::TooManyOld { got: 65 }));
        let twice =
            |kek: &Watched| Some(NotAKeyring::SameTag { one: Arc::clone(kek.name()), other: Arc::clone(kek.name()) });
        assert_eq!(refused(&keks[..1], &[]), twice(&keks[0]));
        assert_eq!(refused(&[], &keks[..1]), twice(&keks[0]));
        assert_eq!(refused(&keks[1..3], &keks[2..3]), twice(&keks[2]));
    }

    #[test]
    fn the_keks_are_listed_with_what_they_are_kept_for() {
        let [a, b, c] = [1, 2, 3].map(Watched::kek);
        let names = several(&a, &[&b], &[&c]).names();
        let expect = [(&a, Role::First), (&b, Role::Also), (&c, Role::Old)];
        assert_eq!(names, expect.map(|(kek, role)| (kek.tag(), Arc::clone(kek.name()), role)));
        assert_eq!(names.iter().map(|(.., role)| role.as_str()).collect::<Vec<_>>(), ["first", "also", "old"]);
    }

    #[test]
    fn a_rewrap_keeps_what_is_wanted_makes_what_is_missing_and_drops_the_rest() {
        let [a, b, c] = [1, 2, 3].map(Watched::kek);
        let before = made(&several(&a, &[&b], &[]));
        let committed = commitment(&before.key);
        forget(&[&a, &b]);
        let keyring = several(&c, &[&b], &[&a]);
        let (edks, calls) = rewrapped(&keyring, &before.edks, &committed).unwrap();
        assert_eq!(tags(&edks), [c.tag(), b.tag()]);
        assert_eq!(edks[1], before.edks[1], "byte for byte");
        assert_eq!(opened(&keyring, &edks[0]).unwrap().expose(), before.key.expose());
        assert_eq!(calls.iter().map(|call| &call.kek).collect::<Vec<_>>(), [a.name(), c.name()]);
        assert_eq!((a.asked(), b.asked()), (vec!["decrypt"], vec![]));
        assert_eq!(rewrapped(&keyring, &edks, &committed).unwrap(), (edks, vec![]), "once more changes nothing");
    }

    #[test]
    fn where_a_kek_can_re_encrypt_the_key_is_not_unwrapped() {
        let (a, b) = (Watched::kek(1), Watched::kek(2));
        let (c, d) = (Watched::beside(3, &[&a]), Watched::beside(4, &[&b]));
        let before = made(&several(&a, &[&b], &[]));
        let committed = commitment(&before.key);
        forget(&[&a, &b]);
        let keyring = several(&c, &[&d], &[&a, &b]);
        let (edks, calls) = rewrapped(&keyring, &before.edks, &committed).unwrap();
        assert_eq!(tags(&edks), [c.tag(), d.tag()]);
        assert_eq!(calls.iter().map(|call| &call.kek).collect::<Vec<_>>(), [c.name(), d.name()]);
        assert_eq!([&a, &b, &c, &d].map(Watched::asked), [vec![], vec![], vec!["re-encrypt"], vec!["re-encrypt"]]);
        for edk in &edks {
            assert_eq!(opened(&keyring, edk).unwrap().expose(), before.key.expose());
        }
    }

    #[test]
    fn a_rewrap_takes_any_encrypted_data_key_that_opens_and_unwraps_it_once() {
        let [a, b, c, d] = [1, 2, 3, 4].map(Watched::kek);
        let before = made(&several(&a, &[&b], &[]));
        a.break_down();
        forget(&[&a, &b]);
        let keyring = several(&c, &[&d], &[&a, &b]);
        let (edks, calls) = rewrapped(&keyring, &before.edks, &commitment(&before.key)).unwrap();
        assert_eq!(tags(&edks), [c.tag(), d.tag()]);
        assert_eq!((a.asked(), b.asked()), (vec!["decrypt"], vec!["decrypt"]));
        let failed = KmsCall { kek: Arc::clone(a.name()), request_id: Some("r-1".into()) };
        assert_eq!(calls.first(), Some(&failed), "a call that a service answered is named, though it failed");
        b.break_down();
        // The one that had given no answer is asked last, and is what is told.
        assert_eq!(rewrapped(&keyring, &before.edks, &commitment(&before.key)).err(), Some(down(&a)));
    }

    #[test]
    fn a_rewrap_never_wraps_a_key_that_is_not_the_one_committed_to() {
        let [a, b] = [1, 2].map(Watched::kek);
        let (before, other) = (made(&several(&a, &[], &[])), made(&several(&a, &[], &[])));
        let keyring = several(&b, &[], &[&a]);
        let error = rewrapped(&keyring, &before.edks, &commitment(&other.key)).err();
        assert!(matches!(error, Some(KeyringError::Rejected { .. })), "{error:?}");
        assert!(!b.asked().contains(&"encrypt"));
        let alone = several(&b, &[], &[]);
        assert_eq!(rewrapped(&alone, &before.edks, &commitment(&before.key)).err(), Some(KeyringError::UnknownKek));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kek_that_gave_no_answer_is_asked_last_until_it_answers_or_a_while_is_over() {
        let [a, b, stranger] = [1, 2, 3].map(Watched::kek);
        let keyring = several(&a, &[&b], &[]);
        let edks = made(&keyring).edks;
        let order = || keyring.in_order(&edks).iter().map(|edk| edk.kek).collect::<Vec<_>>();
        assert_eq!(order(), [a.tag(), b.tag()]);
        let elsewhere = keyring.decrypt_data_key(edks[0].clone(), context("other")).await;
        assert!(elsewhere.is_err() && order() == [a.tag(), b.tag()], "a no is an answer");
        a.break_down();
        assert!(opened(&keyring, &edks[0]).is_err());
        assert_eq!(order(), [b.tag(), a.tag()]);
        tokio::time::advance(crate::keyring::silence::SILENT_FOR - std::time::Duration::from_millis(1)).await;
        assert_eq!(order(), [b.tag(), a.tag()]);
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        assert_eq!(order(), [a.tag(), b.tag()]);
        // Whatever it is asked tells of it.
        assert!(keyring.generate_data_key(context(HERE)).await.is_err());
        assert_eq!(order(), [b.tag(), a.tag()]);
        a.mend();
        assert!(opened(&keyring, &edks[0]).is_ok());
        assert_eq!(order(), [a.tag(), b.tag()]);
        assert!(!keyring.is_silent(stranger.tag()));
    }

    #[tokio::test]
    async fn a_try_tells_of_each_wanted_kek_whether_it_would_open() {
        let [a, b, old] = [1, 2, 3].map(Watched::kek);
        let keyring = several(&a, &[&b], &[&old]);
        let trials = async || keyring.try_out(default_provider(), context(HERE)).await;
        let told = |trials: &[Tried]| {
            trials.iter().map(|tried| (Arc::clone(&tried.kek), tried.trial.clone())).collect::<Vec<_>>()
        };
        let [a_name, b_name] = [&a, &b].map(|kek| Arc::clone(kek.name()));
        let tried = trials().await;
        assert_eq!(told(&tried), [(a_name.clone(), Trial::Opens), (b_name.clone(), Trial::Opens)]);
        for Tried { kek, key, calls, .. } in &tried {
            assert!(key.is_some() && calls.len() == 2 && calls.iter().all(|call| call.kek == *kek));
        }
        assert_eq!(
            [a.asked(), b.asked(), old.asked()],
            [vec!["generate", "decrypt"], vec!["encrypt", "decrypt"], vec![]]
        );
        b.break_down();
        let tried = trials().await;
        assert_eq!(told(&tried), [(a_name, Trial::Opens), (b_name.clone(), Trial::Fails(down(&b)))]);
        assert_eq!(tried[1].calls, [KmsCall { kek: b_name, request_id: Some("r-1".into()) }]);
    }
}
