//! A KEK that hangs beside one that answers: what it costs, and that it is not given up.

use super::*;
use crate::keyring::local::Local;
use crate::keyring::silence::SILENT_FOR;
use crate::keyring::{Several, Wrapped};
use data_encoding::BASE64;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How long a call takes that is not answered.
const TIMEOUT: Duration = seconds(5);

/// A local KEK that may hang, and counts what it is asked to unwrap.
#[derive(Clone)]
struct Far(Arc<(Local, AtomicBool, AtomicUsize)>);

impl Far {
    fn new(seed: u8) -> Self {
        let local = Local::read(default_provider(), &BASE64.encode(&[seed; 32])).unwrap();
        Self(Arc::new((local, AtomicBool::new(false), AtomicUsize::new(0))))
    }

    fn hang(&self, hangs: bool) {
        self.0.1.store(hangs, Ordering::SeqCst);
    }

    /// How often it was asked since the last time.
    fn asked(&self) -> usize {
        self.0.2.swap(0, Ordering::SeqCst)
    }
}

impl Kek for Far {
    fn name(&self) -> &Arc<str> {
        Kek::name(&self.0.0)
    }

    fn tag(&self) -> KekTag {
        self.0.0.tag()
    }

    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>> {
        Kek::generate_data_key(&self.0.0, context)
    }

    fn encrypt_data_key<'a>(
        &'a self,
        key: &'a DataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyringError>> {
        self.0.0.encrypt_data_key(key, context)
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(async move {
            self.0.2.fetch_add(1, Ordering::SeqCst);
            if self.0.1.load(Ordering::SeqCst) {
                tokio::time::sleep(TIMEOUT).await;
                let kek = Arc::clone(Kek::name(self));
                return Err(KeyringError::Unavailable { kek, why: "timeout".into(), request_id: None });
            }
            Kek::decrypt_data_key(&self.0.0, edk, context).await
        })
    }

    fn re_encrypt<'a>(
        &'a self,
        _: EncryptedDataKey,
        _: &'a str,
        _: EncryptionContext,
    ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>> {
        None
    }
}

fn context() -> EncryptionContext {
    EncryptionContext { scope: scope(), purpose: Purpose::Field }
}

/// Two KEKs, the cache on them, and data keys under both.
async fn two(count: usize) -> (Far, Far, Keys, Vec<Generated>) {
    let (near, far) = (Far::new(1), Far::new(2));
    let keyring = Several::new(Box::new(near.clone()), vec![Box::new(far.clone())], Vec::new()).unwrap();
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(keyring.generate_data_key(context()).await.unwrap());
    }
    let keys = Keys::new(Parts {
        keyring: Arc::new(keyring),
        keyset: None,
        store: None,
        provider: default_provider(),
        settings: settings(),
        runtime: Handle::current(),
    });
    (near, far, keys, made)
}

async fn unwrap(keys: &Keys, made: &Generated) -> bool {
    let commitment = made.key.commitment(default_provider()).unwrap();
    keys.inner().unwrap(&made.edks, context(), &commitment).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_kek_that_hangs_costs_its_timeout_once_and_not_for_each_key() {
    let (near, far, keys, made) = two(20).await;
    near.hang(true);
    let since = Instant::now();
    for made in &made {
        assert!(unwrap(&keys, made).await);
    }
    assert_eq!((since.elapsed(), near.asked(), far.asked()), (TIMEOUT, 1, 20));
    // After a while it is asked again, once, and then not for another while.
    tokio::time::advance(SILENT_FOR).await;
    let since = Instant::now();
    for made in &made {
        assert!(unwrap(&keys, made).await);
    }
    assert_eq!((since.elapsed(), near.asked(), far.asked()), (TIMEOUT, 1, 20));
}

#[tokio::test(start_paused = true)]
async fn a_kek_that_hung_is_asked_where_no_other_opens_and_is_the_first_again_once_it_answers() {
    let (near, far, keys, made) = two(1).await;
    near.hang(true);
    assert!(unwrap(&keys, &made[0]).await);
    near.hang(false);
    far.hang(true);
    assert_eq!((near.asked(), far.asked()), (1, 1));
    assert!(unwrap(&keys, &made[0]).await, "it is not given up");
    assert_eq!((near.asked(), far.asked()), (1, 1), "after the one that had answered");
    assert!(unwrap(&keys, &made[0]).await);
    assert_eq!((near.asked(), far.asked()), (1, 0));
    near.hang(true);
    assert!(!unwrap(&keys, &made[0]).await, "with both away nothing opens");
    assert_eq!((near.asked(), far.asked()), (1, 1));
}
