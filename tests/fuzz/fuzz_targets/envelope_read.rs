//! Any bytes are an envelope, a stream, or neither; opening them under a key that is not theirs never panics, nor does it
//! when their commitment is made to match.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::seal::crypto::{default_provider, sha256};
use sealgate::seal::stream::{SEGMENT_BYTES, StreamHead, StreamOpener};
use sealgate::seal::{Context, DataKey, Envelope, Head, KeyRef, OpenError, Placement, UnwrappedKey};
use std::sync::LazyLock;

static KEY: LazyLock<UnwrappedKey> = LazyLock::new(|| {
    // The key `one` of tests/vectors: the seeds are sealed under it.
    let key = sha256(&[b"sealgate test key: one"]);
    let key = DataKey::take(key.to_vec()).expect("32 bytes");
    UnwrappedKey::new(default_provider(), key).expect("a provider that works")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(envelope) = Envelope::read(data.to_vec()) {
        open(data, envelope);
    }
    stream(data);
    stream(&[b"sgv1\0", data].concat());
});

fn context(head: &Head) -> Context<'static> {
    Context { class: head.class, scope: head.scope, bind: &[] }
}

/// The same bytes with the key's own commitment or id where the head has one.
fn committed(bytes: &[u8], start: usize, head: &Head) -> Vec<u8> {
    let commitment = *KEY.commitment().as_bytes();
    let wanted = if head.placement == Placement::Inline { &commitment[..] } else { &commitment[..16] };
    // The key stands after version, suite, lengths, class and scope.
    let at = start + 3 + head.class.as_str().len() + head.scope.as_str().len();
    let mut bytes = bytes.to_vec();
    bytes[at..at + wanted.len()].copy_from_slice(wanted);
    bytes
}

fn open(bytes: &[u8], envelope: Envelope) {
    let head = envelope.head().clone();
    let opened = KEY.open(envelope.clone(), &context(&head));
    assert_eq!(KEY.authenticate(&envelope, &context(&head)).is_ok(), opened.is_ok());
    if head.key_id != KEY.id() {
        assert_eq!(opened.err(), Some(OpenError::Commitment), "before anything else is looked at");
    }
    let ours = Envelope::read(committed(bytes, 0, &head)).expect("the same form");
    let room = ours.sealed_bytes();
    match KEY.open(ours, &context(&head)) {
        // A seed that was sealed under this key.
        Ok(value) => assert!(value.expose().len() < room),
        Err(error) => assert_eq!(error, OpenError::Unauthentic),
    }
}

fn stream(bytes: &[u8]) {
    let Ok(Some((head, length))) = StreamHead::read(bytes) else { return };
    assert!(length <= bytes.len());
    assert_eq!(StreamHead::read(&bytes[..length]), Ok(Some((head.clone(), length))), "no more is needed");
    assert_eq!(StreamHead::read(&bytes[..length - 1]), Ok(None), "and no less does");
    assert_eq!(head.key().id(), head.head().key_id);
    if let KeyRef::Inline { edks, .. } = head.key() {
        assert!((1..=4).contains(&edks.len()));
    }
    let whole = committed(bytes, 5, head.head());
    let (head, length) = StreamHead::read(&whole).expect("the same form").expect("as long");
    let mut opener = StreamOpener::begin(&KEY, &head, &context(head.head())).expect("it commits to our key");
    let mut out = Vec::new();
    let written = opener.write(&whole[length..], &mut out);
    if written.and_then(|()| opener.finish(&mut out)).is_ok() {
        // A seed that was sealed under this key.
        assert_eq!(out.len() + out.len().div_ceil(SEGMENT_BYTES).max(1) * 16, whole.len() - length);
    }
}
