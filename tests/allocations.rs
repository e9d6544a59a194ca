//! What sealing and opening allocate once they are warm: the token, and the decoded bytes that become the value.
//!
//! A binary of its own, because counting takes the place of the allocator.

#![cfg(test)]

use allocation_counter::measure;
use sealgate::embed::Keys;
use sealgate::seal::crypto::{CryptoProvider, providers};
use sealgate::seal::local::LocalKek;
use sealgate::seal::{
    Budget, Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, Token, UnwrappedKey, Workspace,
};

const VALUE: &[u8; 32] = b"32 bytes that are worth sealing.";

const BOUND: &[(&str, &[u8])] = &[("id", b"42")];

fn here(bind: &'static [(&'static str, &'static [u8])]) -> Context<'static> {
    Context { class: Class::parse("ssn").unwrap(), scope: Scope::parse("clinic").unwrap(), bind }
}

/// A key of each placement and suite, with the length of what KMS returns.
fn keys(provider: &'static dyn CryptoProvider) -> [(SealingKey, Manner); 3] {
    let edk = EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![7; 184] };
    let (inline, stored) = (Origin::Inline(vec![edk]), Origin::Stored { salt: [3; 8] });
    let (random, lookup) = (Manner::random(Kind::Text), Manner::deterministic(Kind::Text));
    [(inline, random), (stored.clone(), random), (stored, lookup)].map(|(origin, manner)| {
        let key = UnwrappedKey::new(provider, DataKey::generate(provider).unwrap()).unwrap();
        let made_for = EncryptionContext { scope: here(&[]).scope, purpose: manner.suite.purpose() };
        (SealingKey::new(key, made_for, origin, Budget::default()), manner)
    })
}

/// Allocations of the last of several runs, by number.
fn warm(mut run: impl FnMut()) -> u64 {
    for _ in 0..40 {
        run();
    }
    measure(run).count_total
}

#[test]
fn sealing_allocates_the_token_and_nothing_else() {
    for provider in providers() {
        for (key, manner) in keys(*provider) {
            for bind in [&[], BOUND] {
                let mut workspace = Workspace::new();
                let count = warm(|| drop(key.seal(&mut workspace, &here(bind), manner, VALUE).unwrap()));
                assert_eq!(count, 1, "{} {manner:?} {bind:?}", provider.name());
            }
        }
    }
}

#[test]
fn opening_allocates_the_bytes_that_become_the_value_and_nothing_else() {
    for provider in providers() {
        for (key, manner) in keys(*provider) {
            // Bound values may be of any length: their AAD is the second one.
            for (bind, want) in [(&[][..], 1), (BOUND, 2)] {
                let token = key.seal(&mut Workspace::new(), &here(bind), manner, VALUE).unwrap();
                let count = warm(|| {
                    let envelope = Token::read(token.as_str().as_bytes()).unwrap();
                    assert_eq!(key.unwrapped().open(envelope, &here(bind)).unwrap().expose(), VALUE);
                });
                assert_eq!(count, want, "{} {manner:?} {bind:?}", provider.name());
            }
        }
    }
}

#[test]
fn a_single_value_takes_room_to_work_in_besides() {
    for provider in providers() {
        let kek = LocalKek::read(*provider, "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
        let keys = Keys::new(kek).with_provider(*provider);
        let made_for = EncryptionContext { scope: here(&[]).scope, purpose: Purpose::Lookup };
        keys.set_stored([keys.new_stored(made_for).unwrap()]);
        for manner in [Manner::random(Kind::Text), Manner::deterministic(Kind::Text)] {
            let token = keys.seal(&here(&[]), manner, VALUE).unwrap();
            assert_eq!(warm(|| drop(keys.seal(&here(&[]), manner, VALUE).unwrap())), 2, "{manner:?}");
            assert_eq!(warm(|| drop(keys.open(token.as_str(), &here(&[])).unwrap())), 1, "{manner:?}");
        }
    }
}
