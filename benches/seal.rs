//! Sealing and opening of single values by size, suite and provider, beside the bare algorithm:
//! `cargo bench --bench seal`.
//!
//! Bare is encryption or decryption in place, with the key schedule made once, without AAD, nonce, base64 or a token.
//! What stands beside it does all of that: value to token, and token (as text) to value. Bare decryption copies the
//! ciphertext first, for it destroys it.

use aes::Aes256;
use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fpe::ff1::{FF1, FlexibleNumeralString};
use sealgate::seal::crypto::{CryptoProvider, default_provider, providers};
use sealgate::seal::format::Alphabet;
use sealgate::seal::stream::{StreamHead, StreamOpener, StreamSealer};
use sealgate::seal::{
    Budget, Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, Token, UnwrappedKey, Workspace,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const SIZES: [usize; 5] = [16, 32, 64, 1024, 64 * 1024];
/// As KMS returns them.
const EDK_BYTES: usize = 184;

fn here() -> Context<'static> {
    Context { class: Class::parse("ssn").expect("a class"), scope: Scope::parse("bench").expect("a scope"), bind: &[] }
}

fn key(provider: &'static dyn CryptoProvider, purpose: Purpose, origin: Origin) -> SealingKey {
    let key = UnwrappedKey::new(provider, DataKey::generate(provider).expect("randomness")).expect("a key");
    let budget = Budget { seals_max: u64::MAX, bytes_max: u64::MAX };
    SealingKey::new(key, EncryptionContext { scope: here().scope, purpose }, origin, budget)
}

fn inline() -> Origin {
    Origin::Inline(vec![EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![7; EDK_BYTES] }])
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, size: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(format!("{name} {size} B"));
    group.throughput(Throughput::Bytes(size as u64));
    group
}

/// Both directions of one key.
fn values(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, key: &SealingKey, manner: Manner, value: &[u8]) {
    let mut workspace = Workspace::new();
    group.bench_function(format!("seal, {name}"), |bencher| {
        bencher.iter(|| key.seal(&mut workspace, &here(), manner, black_box(value)).expect("sealed"));
    });
    let token = key.seal(&mut workspace, &here(), manner, value).expect("sealed");
    group.bench_function(format!("open, {name}"), |bencher| {
        bencher.iter(|| {
            let envelope = Token::read(black_box(token.as_str().as_bytes())).expect("a token");
            key.unwrapped().open(envelope, &here()).expect("opened")
        });
    });
}

fn random(criterion: &mut Criterion) {
    for provider in providers() {
        let keys = [("inline", inline()), ("stored", Origin::Stored { salt: [3; 8] })]
            .map(|(name, origin)| (name, key(*provider, Purpose::Field, origin)));
        let aead = provider.aes_256_gcm(&[5; 32]).expect("a key");
        for size in SIZES {
            let mut group = group(criterion, &format!("random, {}", provider.name()), size);
            let value = vec![b'x'; size];
            let mut room = value.clone();
            group.bench_function("seal, bare", |bencher| {
                bencher.iter(|| aead.seal([9; 12], &[], black_box(&mut room)).expect("sealed"));
            });
            let mut sealed = value.clone();
            let tag = aead.seal([9; 12], &[], &mut sealed).expect("sealed");
            sealed.extend_from_slice(&tag);
            let mut room = sealed.clone();
            group.bench_function("open, bare", |bencher| {
                bencher.iter(|| {
                    room.copy_from_slice(black_box(&sealed));
                    aead.open([9; 12], &[], &mut room).expect("opened")
                });
            });
            for (name, key) in &keys {
                values(&mut group, name, key, Manner::random(Kind::Text), &value);
            }
            group.finish();
        }
    }
}

fn deterministic(criterion: &mut Criterion) {
    let key = key(default_provider(), Purpose::Lookup, Origin::Stored { salt: [3; 8] });
    let mut siv = Aes256Siv::new(&[5; 64].into());
    for size in SIZES {
        let mut group = group(criterion, "deterministic", size);
        let value = vec![b'x'; size];
        let mut room = value.clone();
        group.bench_function("seal, bare", |bencher| {
            bencher.iter(|| siv.encrypt_inout_detached([b""], black_box(room.as_mut_slice()).into()).expect("sealed"));
        });
        let mut sealed = value.clone();
        let iv = siv.encrypt_inout_detached([b""], sealed.as_mut_slice().into()).expect("sealed");
        let mut room = sealed.clone();
        group.bench_function("open, bare", |bencher| {
            bencher.iter(|| {
                room.copy_from_slice(black_box(&sealed));
                siv.decrypt_inout_detached([b""], room.as_mut_slice().into(), &iv).expect("opened");
            });
        });
        values(&mut group, "stored", &key, Manner::deterministic(Kind::Text), &value);
        group.finish();
    }
}

fn format(criterion: &mut Criterion) {
    let key = key(default_provider(), Purpose::Format, Origin::Stored { salt: [3; 8] });
    let key = key.unwrapped().format_key(here().class, here().scope, Alphabet::Digits).expect("a key");
    let bare = FF1::<Aes256>::new(&[5; 32], 10).expect("a key");
    for size in [16, 32] {
        let mut group = group(criterion, "format, digits", size);
        let value = vec![b'7'; size];
        let numerals = FlexibleNumeralString::from(vec![7; size]);
        group.bench_function("seal, bare", |bencher| {
            bencher.iter(|| bare.encrypt(&[], black_box(&numerals)).expect("sealed"));
        });
        group.bench_function("open, bare", |bencher| {
            bencher.iter(|| bare.decrypt(&[], black_box(&numerals)).expect("opened"));
        });
        group.bench_function("seal, stored", |bencher| {
            bencher.iter(|| key.seal(black_box(&value)).expect("sealed"));
        });
        group.bench_function("open, stored", |bencher| {
            bencher.iter(|| key.open(black_box(&value)).expect("opened"));
        });
        group.finish();
    }
}

/// A whole stream each time: its key is derived for it alone. The bare algorithm is that of the random suite.
fn stream(criterion: &mut Criterion) {
    for provider in providers() {
        let key = Arc::new(key(*provider, Purpose::Stream, inline()));
        for size in SIZES {
            let mut group = group(criterion, &format!("stream, {}", provider.name()), size);
            let value = vec![b'x'; size];
            let seal = |out: &mut Vec<u8>| {
                let mut stream = StreamSealer::begin(&key, &here(), out).expect("begun");
                stream.write(black_box(&value), out).expect("sealed");
                stream.finish(out).expect("sealed");
            };
            let mut out = Vec::new();
            group.bench_function("seal, inline", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    seal(&mut out);
                });
            });
            let mut sealed = Vec::new();
            seal(&mut sealed);
            group.bench_function("open, inline", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let (head, length) = StreamHead::read(black_box(&sealed)).expect("a stream").expect("its head");
                    let mut stream = StreamOpener::begin(key.unwrapped(), &head, &here()).expect("begun");
                    stream.write(sealed.get(length..).unwrap_or_default(), &mut out).expect("opened");
                    stream.finish(&mut out).expect("opened");
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = random, deterministic, format, stream
}
criterion_main!(benches);
