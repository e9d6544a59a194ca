//! Sealing and opening of single values by size and provider: `cargo bench --bench seal`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealgate::seal::Budget;
use sealgate::seal::crypto::providers;
use sealgate::seal::{
    Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, Token, UnwrappedKey, Workspace,
};
use std::hint::black_box;

/// As KMS returns them.
const EDK_BYTES: usize = 184;

fn seal_and_open(criterion: &mut Criterion) {
    for provider in providers() {
        let kek = KekTag::of(*provider, "bench");
        let edks = vec![EncryptedDataKey { kek, blob: vec![7; EDK_BYTES] }];
        let key = UnwrappedKey::new(*provider, DataKey::generate(*provider).expect("randomness")).expect("a key");
        let budget = Budget { seals_max: u64::MAX, bytes_max: u64::MAX };
        let context = Context {
            class: Class::parse("ssn").expect("a class"),
            scope: Scope::parse("bench").expect("a scope"),
            bind: &[],
        };
        let made_for = EncryptionContext { scope: context.scope, purpose: Purpose::Field };
        let key = SealingKey::new(key, made_for, Origin::Inline(edks), budget);
        let mut group = criterion.benchmark_group(provider.name());
        for size in [16, 64, 1024, 64 * 1024] {
            let value = vec![b'x'; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_with_input(BenchmarkId::new("seal", size), &value, |bencher, value| {
                let mut room = Workspace::new();
                bencher.iter(|| {
                    key.seal(&mut room, &context, Manner::random(Kind::Text), black_box(value)).expect("sealed")
                });
            });
            let token = key.seal(&mut Workspace::new(), &context, Manner::random(Kind::Text), &value).expect("sealed");
            group.bench_with_input(BenchmarkId::new("open", size), &token, |bencher, token| {
                bencher.iter(|| {
                    let envelope = Token::read(black_box(token.as_str().as_bytes())).expect("a token");
                    key.unwrapped().open(envelope, &context).expect("opened")
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, seal_and_open);
criterion_main!(benches);
