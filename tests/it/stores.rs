//! The key stores: one contract, held by each of them, and what each has of its own.

mod contract;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod file;
mod keyset;
mod postgres;

use jiff::Timestamp;
use sealgate::keyring::store::{KeyRow, KeyState};
use sealgate::seal::Purpose;
use sealgate::seal::crypto::sha256;
use sealgate::seal::{Commitment, EncryptedDataKey, KekTag, Scope};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A runtime such as the gate's, for one test.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs one test of a module again, as a process of its own.
fn run_again(module: &str, test: &str) -> Command {
    // libtest names tests without their crate.
    let module = module.split_once("::").expect("a module of a crate").1;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::{test}"), "--exact", "--nocapture"]);
    command
}

/// An active row of a key that no other call makes, wrapped twice.
fn row(scope: &str) -> KeyRow {
    static ROWS: AtomicU32 = AtomicU32::new(0);
    let number = ROWS.fetch_add(1, Ordering::Relaxed);
    let bytes = |label: &str| sha256(&[label.as_bytes(), &number.to_be_bytes()]);
    let edk = |kek: u8| EncryptedDataKey {
        kek: KekTag::from_bytes([kek; 8]),
        blob: (0..6).flat_map(|part| bytes(&format!("edk {kek} {part}"))).collect(),
    };
    let created_at = Timestamp::new(1_767_225_600 + i64::from(number), 123_456_789).unwrap();
    KeyRow {
        commitment: Commitment::from_bytes(bytes("commitment")),
        scope: Scope::parse(scope).unwrap(),
        purpose: Purpose::Field,
        state: KeyState::Active,
        edks: vec![edk(1), edk(2)],
        created_at,
        changed_at: created_at,
    }
}

/// The row in another state, changed a second later.
fn in_state(row: &KeyRow, state: KeyState) -> KeyRow {
    let edks = if state == KeyState::Shredded { Vec::new() } else { row.edks.clone() };
    KeyRow { state, edks, changed_at: second_later(row.changed_at), ..row.clone() }
}

fn second_later(time: Timestamp) -> Timestamp {
    Timestamp::from_nanosecond(time.as_nanosecond() + 1_000_000_000).unwrap()
}
