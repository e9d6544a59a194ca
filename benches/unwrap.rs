//! A list of 500 records, each sealed under a data key of its own, read by a gate that holds none of them, from a KMS that
//! takes 20 ms for each call: `cargo bench --bench unwrap`. 32 calls at a time need 16 rounds, 320 ms; one by one they
//! would take 10 s. Gate, KMS double and upstream are those of the end-to-end tests, over loopback.

#[allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it belongs to the tests, and not all of it is needed here"
)]
#[path = "../tests/it/fixture/mod.rs"]
mod fixture;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fixture::keys::{cached, with_kms};
use fixture::kms::{self, Kms};
use fixture::{Call, Upstream, service};
use serde_json::{Value, json};
use std::time::Duration;

fn list(criterion: &mut Criterion) {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let start = |cache| cached(with_kms(upstream.addr(), kms.addr(), kms::KEY), cache).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let records: Vec<Value> = (0..500).map(|number| json!({"ssn": format!("{number:03}-12-3456")})).collect();
    let list = json!({"entry": records}).to_string();
    let writer = start("{seal_uses_max: 1}");
    let wrote = Call::new("PUT /Patient/1").json(&list);
    let wrote = runtime.block_on(wrote.from(&writer.as_client("clinician")));
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    drop(writer);

    let reader = start("{}");
    let client = reader.as_client("clinician");
    kms.answer_after(Duration::from_millis(20));
    let mut group = criterion.benchmark_group("500 records under 500 data keys");
    group.sample_size(10);
    group.bench_function("read by a gate that holds none of them", |bencher| {
        bencher.iter_batched(
            || service::request(reader.admin, "POST", "/keys/purge", &[], b"").expect("purged"),
            |_| {
                let read = runtime.block_on(Call::new("GET /Patient/1").from(&client));
                assert_eq!(read.text(), list);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, list);
criterion_main!(benches);
