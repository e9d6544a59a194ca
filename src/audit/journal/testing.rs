//! What the tests of the audit chain share: a digest that needs no provider, events by number, and a disk that fails
//! when it is told to.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use super::storage::{Disk, Storage};
use super::{Journal, OpenError, Recovered, Settings};
use crate::audit::chain::EventText;
use crate::audit::verify::events;

/// SHA-256 as FIPS 180-4 spells it, slow and plain.
pub(in crate::audit) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut message = parts.concat();
    let bits = message.len() as u64 * 8;
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if message.len() as u64 * 8 < bits + 72 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len();
    message[end - 8..].copy_from_slice(&bits.to_be_bytes());
    let mut state = fractions::<8>(|prime| (prime as f64).sqrt());
    let constants = fractions::<64>(|prime| (prime as f64).cbrt());
    for block in message.chunks_exact(64) {
        let mut w = [0_u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for t in 16..64 {
            let s0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
            let s1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
            w[t] = w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for t in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g)).wrapping_add(constants[t]).wrapping_add(w[t]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The first 32 bits of the fractional parts of roots of the first primes.
#[expect(clippy::cast_possible_truncation, reason = "32 bits of a fraction")]
fn fractions<const N: usize>(root: fn(u32) -> f64) -> [u32; N] {
    let mut primes = (2_u32..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    std::array::from_fn(|_| (root(primes.next().unwrap()).fract() * 4_294_967_296.0) as u32)
}

/// An event that says its number.
pub(in crate::audit) fn event(n: usize) -> Vec<u8> {
    format!(r#"{{"n":{n},"detail":"{}"}}"#, "x".repeat(n % 50)).into_bytes()
}

/// That event as it is appended.
pub(in crate::audit) fn text(n: usize) -> EventText {
    EventText::parse(event(n)).unwrap()
}

pub(in crate::audit) fn settings(directory: &Path) -> Settings {
    Settings::new(directory, sha256)
}

/// A journal in a directory that holds `count` records, from `event(0)` on, each synced by itself.
pub(in crate::audit) fn filled(directory: &Path, count: usize, segment_bytes_max: u64) -> Journal {
    let settings = Settings { segment_bytes_max, ..settings(directory) };
    let (journal, _) = Journal::open(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for n in 0..count {
        runtime.block_on(journal.append(text(n))).unwrap();
    }
    journal
}

/// The events of a directory in order. The chain must be whole.
pub(in crate::audit) fn recorded(directory: &Path) -> Vec<Vec<u8>> {
    events(directory, sha256).unwrap().map(|next| next.unwrap().1).collect()
}

/// What a [`FaultyDisk`] can be told to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Fault {
    /// Making a segment fails.
    Create,
    /// A write fails, with nothing written.
    Write,
    /// A write takes half, and the next one nothing.
    Full,
    /// A write takes half, and there is nothing wrong with that.
    Short,
    /// A sync fails, and what was written since the last one is zeros.
    Sync,
    /// Cutting fails.
    Cut,
}

/// The strings of a [`FaultyDisk`].
#[derive(Clone, Default)]
pub(in crate::audit) struct Faults(Arc<(Mutex<Plan>, Condvar)>);

#[derive(Default)]
struct Plan {
    armed: Vec<(Fault, usize)>,
    full: bool,
    syncs: usize,
    held: bool,
    waiting: bool,
}

impl Faults {
    /// The next `times` occasions go wrong.
    pub(in crate::audit) fn arm(&self, fault: Fault, times: usize) {
        self.plan(|plan| plan.armed.push((fault, times)));
    }

    pub(in crate::audit) fn heal(&self) {
        self.plan(|plan| plan.armed.clear());
    }

    pub(in crate::audit) fn syncs(&self) -> usize {
        self.plan(|plan| plan.syncs)
    }

    /// From now on syncs wait for [`Faults::release`].
    pub(in crate::audit) fn hold(&self) {
        self.plan(|plan| plan.held = true);
    }

    pub(in crate::audit) fn release(&self) {
        self.plan(|plan| plan.held = false);
    }

    /// Waits until a sync waits.
    pub(in crate::audit) fn wait_held(&self) {
        let mut plan = self.0.0.lock().unwrap();
        while !plan.waiting {
            plan = self.0.1.wait(plan).unwrap();
        }
    }

    fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        let result = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.plan(|plan| {
            let Some((_, times)) = plan.armed.iter_mut().find(|(armed, times)| *armed == fault && *times > 0) else {
                return false;
            };
            *times -= 1;
            true
        })
    }

    fn synced(&self) {
        let mut plan = self.0.0.lock().unwrap();
        plan.syncs += 1;
        while plan.held {
            plan.waiting = true;
            self.0.1.notify_all();
            plan = self.0.1.wait(plan).unwrap();
        }
        plan.waiting = false;
    }
}

/// Opens a journal on a disk that fails as `faults` has it.
pub(in crate::audit) fn open_faulty(settings: Settings, faults: &Faults) -> Result<(Journal, Recovered), OpenError> {
    let faults = faults.clone();
    Journal::open_through(settings, |disk| Box::new(FaultyDisk { disk, faults, unsynced: None }))
}

struct FaultyDisk {
    disk: Disk,
    faults: Faults,
    /// Where writing began since the last sync, and where it ended.
    unsynced: Option<(u64, u64)>,
}

impl Storage for FaultyDisk {
    fn create(&mut self, first: u64) -> io::Result<()> {
        if self.faults.strikes(Fault::Create) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.create(first)
    }

    fn check(&self, length: u64) -> io::Result<()> {
        self.disk.check(length)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if self.faults.strikes(Fault::Write) || self.faults.plan(|plan| std::mem::take(&mut plan.full)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let full = self.faults.strikes(Fault::Full);
        self.faults.plan(|plan| plan.full = full);
        let bytes = if full || self.faults.strikes(Fault::Short) { &bytes[..bytes.len().div_ceil(2)] } else { bytes };
        let written = self.disk.write_at(offset, bytes)?;
        let from = self.unsynced.map_or(offset, |(from, _)| from);
        self.unsynced = Some((from, offset + written as u64));
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.synced();
        let unsynced = self.unsynced.take();
        if self.faults.strikes(Fault::Sync) {
            if let Some((from, to)) = unsynced {
                self.disk.write_at(from, &vec![0; usize::try_from(to - from).unwrap()])?;
            }
            return Err(io::Error::other("lost"));
        }
        self.disk.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.faults.strikes(Fault::Cut) {
            return Err(io::Error::other("not cut"));
        }
        self.unsynced = None;
        self.disk.cut(length)
    }
}

#[test]
fn the_digest_is_sha256() {
    let hex = |parts: &[&[u8]]| data_encoding::HEXLOWER.encode(&sha256(parts));
    // FIPS 180-4, examples with one block and with two.
    assert_eq!(hex(&[b"a", b"bc"]), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(
        hex(&[b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"]),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
    assert_eq!(hex(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
