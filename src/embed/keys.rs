//! Data keys by scope and purpose, kept in memory until they are spent or forgotten.

use super::{Error, Keyring};
use crate::seal::crypto::{CryptoProvider, default_provider};
use crate::seal::format::{Alphabet, FormatKey};
use crate::seal::stream::StreamHead;
use crate::seal::{
    Budget, Class, Commitment, Context, EncryptedDataKey, EncryptionContext, Head, KeyId, KeyRef, Manner, OpenError,
    Origin, Purpose, Scope, SealError, SealingKey, Token, UnwrappedKey, Value, Workspace,
};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many data keys one value may see run out by the seals of others.
const KEYS_AT_MOST: usize = 16;

/// A data key that stands in a store of the service, wrapped, and in no token. Public bytes.
///
/// It must be durable before the first token that it seals is: without it no such token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Whose data it seals, and what it is for.
    pub made_for: EncryptionContext,
    /// Commits to the data key; its first 16 bytes are the key id that tokens name.
    pub commitment: Commitment,
    /// The key, wrapped; any of them opens it.
    pub edks: Vec<EncryptedDataKey>,
    /// Whether it seals. If not, it opens what it sealed before.
    pub seals: bool,
}

impl StoredKey {
    /// What names the key in tokens.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.commitment.key_id()
    }
}

/// Seals and opens values. Asks the keyring only for a key that is not at hand.
///
/// For each scope, one data key seals until its [`Budget`] is spent, and then another is made. It rides in its tokens
/// ([inline](Origin::Inline)), unless a key of the scope and purpose was [handed in](Self::set_stored), which is the
/// only way for values that are looked up or keep their format. What other processes sealed is opened with the key that
/// the token brings or names.
///
/// Threads that need a new key to seal with wait for one call to the keyring. There is no clock: see
/// [`forget`](Self::forget).
pub struct Keys<K> {
    keyring: K,
    provider: &'static dyn CryptoProvider,
    budget: Budget,
    keys_max: usize,
    stored: RwLock<Stored>,
    sealing: RwLock<HashMap<EncryptionContext, Slot>>,
    opening: RwLock<Opening>,
}

/// The key that seals in one scope; none while it is being made.
type Slot = Arc<RwLock<Option<Arc<SealingKey>>>>;

#[derive(Default)]
struct Stored {
    rows: HashMap<(EncryptionContext, KeyId), StoredKey>,
    sealing: HashMap<EncryptionContext, KeyId>,
}

#[derive(Default)]
struct Opening {
    keys: HashMap<(EncryptionContext, KeyId), Arc<UnwrappedKey>>,
    /// How often everything was forgotten: what was asked for before that is not kept after it.
    forgotten: u64,
}

impl<K> fmt::Debug for Keys<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("provider", &self.provider.name()).finish_non_exhaustive()
    }
}

impl<K: Keyring> Keys<K> {
    /// No keys yet, the default provider and budget, at most 10 000 keys kept.
    #[must_use]
    pub fn new(keyring: K) -> Self {
        let (stored, sealing, opening) = Default::default();
        let (provider, budget, keys_max) = (default_provider(), Budget::default(), 10_000);
        Self { keyring, provider, budget, keys_max, stored, sealing, opening }
    }

    /// Uses another crypto provider of this build.
    #[must_use]
    pub fn with_provider(self, provider: &'static dyn CryptoProvider) -> Self {
        Self { provider, ..self }
    }

    /// Gives each data key another budget.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Keeps another number of keys, at least one, of those that seal and of those that open.
    #[must_use]
    pub fn with_keys_max(self, keys_max: usize) -> Self {
        Self { keys_max: keys_max.max(1), ..self }
    }

    /// The keyring.
    #[must_use]
    pub const fn keyring(&self) -> &K {
        &self.keyring
    }

    /// Seals one value: at most one call to the keyring.
    ///
    /// # Errors
    /// [`Error`]; nothing is sealed then.
    pub fn seal(&self, context: &Context<'_>, manner: Manner, value: &[u8]) -> Result<Token, Error<K::Error>> {
        self.seal_in(&mut Workspace::new(), context, manner, value)
    }

    /// The same in a room that is there already: for the values of one document.
    pub(super) fn seal_in(
        &self,
        workspace: &mut Workspace,
        context: &Context<'_>,
        manner: Manner,
        value: &[u8],
    ) -> Result<Token, Error<K::Error>> {
        let made_for = EncryptionContext { scope: context.scope, purpose: manner.suite.purpose() };
        // No key has the budget for it.
        if u64::try_from(value.len()).is_ok_and(|length| length > self.budget.bytes_max) {
            return Err(SealError::Exhausted.into());
        }
        for _ in 0..KEYS_AT_MOST {
            match self.sealing_key(made_for)?.seal(workspace, context, manner, value) {
                // Others spent the rest of it. It is not given out again.
                Err(SealError::Exhausted) => {}
                sealed => return Ok(sealed?),
            }
        }
        Err(SealError::Exhausted.into())
    }

    /// Opens a token that was sealed in `context`.
    ///
    /// # Errors
    /// [`Error`]; nothing of the value is told then. A token of another class or scope is refused before the keyring
    /// hears of it.
    pub fn open(&self, token: impl AsRef<[u8]>, context: &Context<'_>) -> Result<Value, Error<K::Error>> {
        let envelope = Token::read(token.as_ref())?;
        if (envelope.head().class, envelope.head().scope) != (context.class, context.scope) {
            return Err(OpenError::Unauthentic.into());
        }
        let key = self.opening_key(envelope.head(), || envelope.key())?;
        Ok(key.open(envelope, context)?)
    }

    /// Drops every key: each that is needed again is asked of the keyring. To be called on a timer, because nothing
    /// here has a clock; its period is how long a key that the KEK no longer unwraps goes on to seal and open.
    pub fn forget(&self) {
        write(&self.sealing).clear();
        let mut opening = write(&self.opening);
        opening.keys.clear();
        opening.forgotten += 1;
    }

    /// Seals with new data keys from now on; those that open stay.
    pub fn rotate(&self) {
        write(&self.sealing).clear();
    }

    /// Makes a data key for a store. It seals nothing before it has been handed in by [`set_stored`](Self::set_stored);
    /// make it durable before that.
    ///
    /// # Errors
    /// [`Error`] if the keyring gives none.
    pub fn new_stored(&self, made_for: EncryptionContext) -> Result<StoredKey, Error<K::Error>> {
        let (data_key, edks) = self.keyring.generate_data_key(made_for).map_err(Error::Keyring)?;
        Ok(StoredKey { made_for, commitment: data_key.commitment(self.provider)?, edks, seals: true })
    }

    /// Takes all keys that the store has, in the place of those handed in before, and forgets every key in memory.
    /// Nothing is unwrapped before it is needed. Of several that seal for one scope and purpose the last one does.
    pub fn set_stored(&self, keys: impl IntoIterator<Item = StoredKey>) {
        let mut stored = Stored::default();
        for key in keys {
            if key.seals {
                stored.sealing.insert(key.made_for, key.id());
            }
            stored.rows.insert((key.made_for, key.id()), key);
        }
        *write(&self.stored) = stored;
        self.forget();
    }

    /// The key that seals for a scope and purpose now: for streams. Values are sealed by [`seal`](Self::seal).
    ///
    /// # Errors
    /// [`Error`] if none is at hand and the keyring gives none, or for a purpose whose keys must be stored.
    pub fn sealing_key(&self, made_for: EncryptionContext) -> Result<Arc<SealingKey>, Error<K::Error>> {
        let usable = |key: &Option<Arc<SealingKey>>| key.as_ref().filter(|key| key.spent() < 1.0).cloned();
        let slot = self.slot(made_for);
        if let Some(key) = usable(&read(&slot)) {
            return Ok(key);
        }
        let mut slot = write(&slot);
        // Another thread may have made it meanwhile.
        if let Some(key) = usable(&slot) {
            return Ok(key);
        }
        let key = Arc::new(self.make(made_for)?);
        *slot = Some(Arc::clone(&key));
        Ok(key)
    }

    /// The key that opens a stream.
    ///
    /// # Errors
    /// [`Error`] if it is not at hand and the keyring does not unwrap it, or it is none that was handed in.
    pub fn stream_key(&self, stream: &StreamHead) -> Result<Arc<UnwrappedKey>, Error<K::Error>> {
        self.opening_key(stream.head(), || stream.key().clone())
    }

    /// The key of a class whose values keep their format: it seals and opens them. A stored one, for life.
    ///
    /// # Errors
    /// [`Error`] if none was handed in, or the keyring does not unwrap it.
    pub fn format_key(
        &self,
        class: Class,
        scope: Scope,
        alphabet: Alphabet,
    ) -> Result<Arc<FormatKey>, Error<K::Error>> {
        let made_for = EncryptionContext { scope, purpose: Purpose::Format };
        let row = self.stored_to_seal(made_for).ok_or(Error::NoStoredKey(made_for))?;
        Ok(self.unwrapped(&row)?.format_key(class, scope, alphabet)?)
    }

    fn slot(&self, made_for: EncryptionContext) -> Slot {
        if let Some(slot) = read(&self.sealing).get(&made_for) {
            return Arc::clone(slot);
        }
        let mut sealing = write(&self.sealing);
        make_room(&mut sealing, self.keys_max);
        Arc::clone(sealing.entry(made_for).or_default())
    }

    fn make(&self, made_for: EncryptionContext) -> Result<SealingKey, Error<K::Error>> {
        if let Some(row) = self.stored_to_seal(made_for) {
            let key = self.unwrapped(&row)?;
            // Another one each time: the budget counts from zero, and so must the nonces of the field keys.
            let mut salt = [0; 8];
            self.provider.fill_random(&mut salt)?;
            return Ok(SealingKey::new(key, made_for, Origin::Stored { salt }, self.budget));
        }
        match made_for.purpose {
            Purpose::Field | Purpose::Stream => {}
            Purpose::Lookup | Purpose::Format => return Err(Error::NoStoredKey(made_for)),
        }
        let forgotten = read(&self.opening).forgotten;
        let (data_key, edks) = self.keyring.generate_data_key(made_for).map_err(Error::Keyring)?;
        let key = Arc::new(UnwrappedKey::new(self.provider, data_key)?);
        // What was just sealed is opened without asking.
        self.keep((made_for, key.id()), &key, forgotten);
        Ok(SealingKey::new(key, made_for, Origin::Inline(edks), self.budget))
    }

    fn stored_to_seal(&self, made_for: EncryptionContext) -> Option<StoredKey> {
        let stored = read(&self.stored);
        let id = stored.sealing.get(&made_for)?;
        stored.rows.get(&(made_for, *id)).cloned()
    }

    fn unwrapped(&self, row: &StoredKey) -> Result<Arc<UnwrappedKey>, Error<K::Error>> {
        self.find_or((row.made_for, row.id()), || Ok((row.commitment, row.edks.clone())))
    }

    fn opening_key(&self, head: &Head, key: impl FnOnce() -> KeyRef) -> Result<Arc<UnwrappedKey>, Error<K::Error>> {
        let made_for = head.encryption_context();
        self.find_or((made_for, head.key_id), || match key() {
            KeyRef::Inline { commitment, edks } => Ok((commitment, edks)),
            KeyRef::Stored { id } => {
                let row = read(&self.stored).rows.get(&(made_for, id)).cloned();
                row.map(|row| (row.commitment, row.edks)).ok_or(Error::NoStoredKey(made_for))
            }
        })
    }

    /// The key of that name; unwrapped from what `wrapped` gives if it is not at hand.
    fn find_or(
        &self,
        name: (EncryptionContext, KeyId),
        wrapped: impl FnOnce() -> Result<(Commitment, Vec<EncryptedDataKey>), Error<K::Error>>,
    ) -> Result<Arc<UnwrappedKey>, Error<K::Error>> {
        let forgotten = {
            let opening = read(&self.opening);
            if let Some(key) = opening.keys.get(&name) {
                return Ok(Arc::clone(key));
            }
            opening.forgotten
        };
        let (commitment, edks) = wrapped()?;
        let data_key = self.keyring.decrypt_data_key(&edks, name.0).map_err(Error::Keyring)?;
        let key = Arc::new(UnwrappedKey::new(self.provider, data_key)?);
        if !key.commitment().matches(&commitment) {
            return Err(OpenError::Commitment.into());
        }
        self.keep(name, &key, forgotten);
        Ok(key)
    }

    fn keep(&self, name: (EncryptionContext, KeyId), key: &Arc<UnwrappedKey>, forgotten: u64) {
        let mut opening = write(&self.opening);
        if opening.forgotten == forgotten {
            make_room(&mut opening.keys, self.keys_max);
            opening.keys.insert(name, Arc::clone(key));
        }
    }
}

/// Takes some entry out of a map that is full: whichever it is, the keyring has it.
fn make_room<N: Copy + Eq + std::hash::Hash, V>(map: &mut HashMap<N, V>, max: usize) {
    if map.len() >= max
        && let Some(some) = map.keys().next().copied()
    {
        map.remove(&some);
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::LocalKekError;
    use crate::embed::testing::{Counting, Refused, context};
    use crate::seal::local::UnwrapError;
    use crate::seal::stream::{StreamOpener, StreamSealer};
    use crate::seal::{Kind, Placement};
    use std::sync::Barrier;
    use std::sync::atomic::Ordering;

    const TEXT: Manner = Manner::random(Kind::Text);
    const LOOKUP: Manner = Manner::deterministic(Kind::Text);

    fn stored(keys: &Keys<Counting>, purposes: &[Purpose]) -> Vec<StoredKey> {
        let made_for = |purpose| EncryptionContext { scope: Scope::parse("clinic").unwrap(), purpose };
        purposes.iter().map(|purpose| keys.new_stored(made_for(*purpose)).unwrap()).collect()
    }

    fn placement(token: &Token) -> Placement {
        Token::read(token.as_str().as_bytes()).unwrap().head().placement
    }

    #[test]
    fn the_keyring_is_asked_once_for_each_scope_and_not_for_what_was_just_sealed() {
        let keys = Counting::keys(1);
        for (scope, calls) in [("clinic", 1), ("clinic", 1), ("other", 2)] {
            let here = context("ssn", scope, &[]);
            let token = keys.seal(&here, TEXT, b"x").unwrap();
            assert_eq!(keys.open(token.as_str(), &here).unwrap().expose(), b"x");
            assert_eq!(keys.keyring().calls(), (calls, 0), "{scope}");
        }
    }

    #[test]
    fn what_one_process_sealed_another_with_the_same_kek_opens_by_one_call() {
        let (sealer, opener, stranger) = (Counting::keys(1), Counting::keys(1), Counting::keys(2));
        let here = context("ssn", "clinic", &[]);
        for value in [b"a".as_slice(), b"b"] {
            let token = sealer.seal(&here, TEXT, value).unwrap();
            assert_eq!(opener.open(token.as_str(), &here).unwrap().expose(), value);
            let refused = stranger.open(token.as_str(), &here).err();
            let other_kek = Refused::Local(LocalKekError::Unwrap(UnwrapError::OtherKek));
            assert!(matches!(refused, Some(Error::Keyring(why)) if why == other_kek));
        }
        assert_eq!(opener.keyring().calls(), (0, 1));
    }

    #[test]
    fn a_token_of_another_class_or_scope_is_refused_before_the_keyring_hears_of_it() {
        let (sealer, opener) = (Counting::keys(1), Counting::keys(1));
        let token = sealer.seal(&context("ssn", "clinic", &[]), TEXT, b"x").unwrap();
        for there in [context("name", "clinic", &[]), context("ssn", "other", &[])] {
            assert!(matches!(opener.open(token.as_str(), &there), Err(Error::Open(OpenError::Unauthentic))));
        }
        assert_eq!(opener.keyring().calls(), (0, 0));
        let bound = context("ssn", "clinic", &[("id", b"1")]);
        assert!(matches!(opener.open(token.as_str(), &bound), Err(Error::Open(OpenError::Unauthentic))));
        assert!(matches!(opener.open("sgv1.AQEB", &bound), Err(Error::Read(_))));
    }

    #[test]
    fn a_kek_that_is_disabled_seals_and_opens_nothing_once_keys_are_forgotten() {
        let keys = Counting::keys(1);
        let here = context("ssn", "clinic", &[]);
        let token = keys.seal(&here, TEXT, b"x").unwrap();
        keys.keyring().refuses.store(true, Ordering::SeqCst);
        assert!(keys.seal(&here, TEXT, b"x").is_ok() && keys.open(token.as_str(), &here).is_ok());
        keys.forget();
        assert!(matches!(keys.seal(&here, TEXT, b"x"), Err(Error::Keyring(Refused::Disabled))));
        assert!(matches!(keys.open(token.as_str(), &here), Err(Error::Keyring(Refused::Disabled))));
        keys.keyring().refuses.store(false, Ordering::SeqCst);
        assert!(keys.seal(&here, TEXT, b"x").is_ok() && keys.open(token.as_str(), &here).is_ok());
    }

    #[test]
    fn a_key_whose_budget_is_spent_is_followed_by_another() {
        let keys = Counting::keys(1).with_budget(Budget { seals_max: 2, bytes_max: 100 });
        let here = context("ssn", "clinic", &[]);
        let tokens: Vec<Token> = (0..5).map(|_| keys.seal(&here, TEXT, b"x").unwrap()).collect();
        assert_eq!(keys.keyring().calls(), (3, 0));
        assert!(tokens.iter().all(|token| keys.open(token.as_str(), &here).is_ok()));
        assert!(matches!(keys.seal(&here, TEXT, &[0; 101]), Err(Error::Seal(SealError::Exhausted))));
        assert_eq!(keys.keyring().calls(), (3, 0), "no key is made for what no key may seal");
        keys.rotate();
        keys.seal(&here, TEXT, b"x").unwrap();
        assert_eq!(keys.keyring().calls(), (4, 0));
    }

    #[test]
    fn threads_that_need_the_same_key_make_one_call() {
        let (keys, start) = (Counting::keys(1), Barrier::new(16));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    start.wait();
                    keys.seal(&context("ssn", "clinic", &[]), TEXT, b"x").unwrap();
                });
            }
        });
        assert_eq!(keys.keyring().calls(), (1, 0));
    }

    #[test]
    fn stored_keys_seal_once_they_are_handed_in_and_inline_ones_where_there_are_none() {
        let keys = Counting::keys(1);
        let here = context("ssn", "clinic", &[]);
        assert!(matches!(keys.seal(&here, LOOKUP, b"x"), Err(Error::NoStoredKey(_))), "never inline");
        assert_eq!(placement(&keys.seal(&here, TEXT, b"x").unwrap()), Placement::Inline);
        let rows = stored(&keys, &[Purpose::Field, Purpose::Lookup]);
        keys.set_stored(rows.clone());
        let (random, lookup) = (keys.seal(&here, TEXT, b"x").unwrap(), keys.seal(&here, LOOKUP, b"x").unwrap());
        assert_eq!((placement(&random), placement(&lookup)), (Placement::Stored, Placement::Stored));
        // Another process with the same rows.
        let other = Counting::keys(1);
        assert!(matches!(other.open(random.as_str(), &here), Err(Error::NoStoredKey(_))));
        other.set_stored(rows.clone());
        assert_eq!(other.open(random.as_str(), &here).unwrap().expose(), b"x");
        assert_eq!(other.seal(&here, LOOKUP, b"x").unwrap().as_str(), lookup.as_str(), "equal values are found");
        // Rotated: the old key opens, the new one seals.
        let old = rows.into_iter().map(|row| StoredKey { seals: false, ..row });
        keys.set_stored(old.chain(stored(&other, &[Purpose::Field])));
        assert_eq!(keys.open(random.as_str(), &here).unwrap().expose(), b"x");
        let id = |token: &Token| Token::read(token.as_str().as_bytes()).unwrap().head().key_id;
        assert_ne!(id(&keys.seal(&here, TEXT, b"x").unwrap()), id(&random));
        assert!(matches!(keys.seal(&here, LOOKUP, b"x"), Err(Error::NoStoredKey(_))));
        // Taken away: it opens nothing.
        keys.set_stored([]);
        assert!(matches!(keys.open(random.as_str(), &here), Err(Error::NoStoredKey(_))));
    }

    #[test]
    fn a_stored_key_never_seals_under_the_same_salt_again() {
        let keys = Counting::keys(1).with_budget(Budget { seals_max: 1, bytes_max: 100 });
        keys.set_stored(stored(&keys, &[Purpose::Field]));
        let here = context("ssn", "clinic", &[]);
        let salts: std::collections::HashSet<_> = (0..8)
            .map(|_| {
                let token = keys.seal(&here, TEXT, b"x").unwrap();
                Token::read(token.as_str().as_bytes()).unwrap().head().salt
            })
            .collect();
        assert_eq!(salts.len(), 8, "each budget has field keys of its own");
        assert_eq!(keys.keyring().calls(), (1, 1), "the data key is unwrapped once");
    }

    #[test]
    fn a_row_with_another_commitment_is_refused() {
        let keys = Counting::keys(1);
        let mut rows = stored(&keys, &[Purpose::Lookup]);
        let mut commitment = *rows[0].commitment.as_bytes();
        commitment[31] ^= 1;
        rows[0].commitment = Commitment::from_bytes(commitment);
        keys.set_stored(rows);
        let sealed = keys.seal(&context("ssn", "clinic", &[]), LOOKUP, b"x");
        assert!(matches!(sealed, Err(Error::Open(OpenError::Commitment))));
    }

    #[test]
    fn a_full_map_makes_room() {
        let (sealer, opener) = (Counting::keys(1), Counting::keys(1).with_keys_max(2));
        for scope in ["a", "b", "c", "d"] {
            let here = context("ssn", scope, &[]);
            let token = sealer.seal(&here, TEXT, b"x").unwrap();
            assert!(opener.open(token.as_str(), &here).is_ok() && opener.seal(&here, TEXT, b"x").is_ok());
            assert!(read(&opener.opening).keys.len() <= 2 && read(&opener.sealing).len() <= 2);
        }
    }

    #[test]
    fn formats_and_streams_have_keys_of_their_own_purpose() {
        let keys = Counting::keys(1);
        let here = context("phone", "clinic", &[]);
        assert!(matches!(keys.format_key(here.class, here.scope, Alphabet::Digits), Err(Error::NoStoredKey(_))));
        keys.set_stored(stored(&keys, &[Purpose::Format]));
        let key = keys.format_key(here.class, here.scope, Alphabet::Digits).unwrap();
        let sealed = key.seal(b"555-0100").unwrap();
        let again = keys.format_key(here.class, here.scope, Alphabet::Digits).unwrap();
        assert_eq!(again.open(sealed.as_bytes()).unwrap().as_slice(), b"555-0100");

        let made_for = EncryptionContext { scope: here.scope, purpose: Purpose::Stream };
        let (mut bytes, mut opened) = (Vec::new(), Vec::new());
        let mut stream = StreamSealer::begin(&keys.sealing_key(made_for).unwrap(), &here, &mut bytes).unwrap();
        stream.write(b"attachment", &mut bytes).unwrap();
        stream.finish(&mut bytes).unwrap();
        let (head, length) = StreamHead::read(&bytes).unwrap().unwrap();
        let other = Counting::keys(1);
        let mut stream = StreamOpener::begin(&other.stream_key(&head).unwrap(), &head, &here).unwrap();
        stream.write(&bytes[length..], &mut opened).unwrap();
        stream.finish(&mut opened).unwrap();
        assert_eq!(opened, b"attachment");
    }
}
