//! Looks for keys in the memory of its own process, while they live and after they were dropped.
//!
//! A binary of its own: it reads all memory that can be written to, and nothing else is to move in it meanwhile. What it
//! shows is true of this build and its compiler. Registers are not looked at, nor is what KMS' client received the key in.

#![cfg(test)]
#![cfg(target_os = "linux")]

use sealgate::seal::Budget;
use sealgate::seal::crypto::{CryptoProvider, providers};
use sealgate::seal::format::Alphabet;
use sealgate::seal::stream::{StreamHead, StreamOpener, StreamSealer};
use sealgate::seal::{
    Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, Suite, Token, UnwrappedKey, Workspace,
};
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const KEY_BYTES: usize = 32;
const HALF_BYTES: usize = KEY_BYTES / 2;
const CLASS: &str = "ssn";

/// One search at a time, in one process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 32 bytes to look for, held in two halves: neither, nor both side by side, are the bytes.
struct Masked {
    mask: [u8; KEY_BYTES],
    masked: [u8; KEY_BYTES],
}

impl Masked {
    /// Random ones that were never in memory in one piece.
    fn random(provider: &dyn CryptoProvider) -> Self {
        let mut halves = Self { mask: [0; KEY_BYTES], masked: [0; KEY_BYTES] };
        provider.fill_random(&mut halves.mask).unwrap();
        provider.fill_random(&mut halves.masked).unwrap();
        halves
    }

    /// Those of a key that is there.
    fn of(key: &DataKey, provider: &dyn CryptoProvider) -> Self {
        let mut halves = Self { mask: [0; KEY_BYTES], masked: [0; KEY_BYTES] };
        provider.fill_random(&mut halves.mask).unwrap();
        for at in 0..KEY_BYTES {
            halves.masked[at] = black_box(key.expose()[at]) ^ halves.mask[at];
        }
        halves
    }

    /// The byte at `at`, as one byte and no more.
    #[inline(never)]
    fn byte(&self, at: usize) -> u8 {
        black_box(self.mask[at]) ^ black_box(self.masked[at])
    }

    /// The bytes, on the heap: for a key that wipes them.
    fn reveal(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        for at in 0..KEY_BYTES {
            bytes.push(self.byte(at));
        }
        bytes
    }

    /// Whether one half of the key stands there. What is left of a key on the heap may lack its start, where the allocator
    /// keeps its own records in what was freed.
    fn stands_at(&self, half: usize, start: &[u8]) -> bool {
        let (mask, masked) = (&self.mask[half * HALF_BYTES..], &self.masked[half * HALF_BYTES..]);
        start.len() >= HALF_BYTES && (0..HALF_BYTES).all(|at| start[at] ^ mask[at] == masked[at])
    }

    /// Where in the memory of this process the bytes stand, by the names that the kernel gives to its parts.
    fn places(&self) -> Vec<String> {
        let memory = File::open("/proc/self/mem").unwrap();
        // What it reads, it holds: it must not be found there again, nor left behind.
        let mut read = vec![0; 1 << 20];
        let own = read.as_ptr().addr()..read.as_ptr().addr() + read.len();
        let mut found = Vec::new();
        for (start, end, name) in writable() {
            let mut from = start;
            while from < end {
                let length = read.len().min(end - from);
                // A part of the address space may have gone since its name was read.
                let Ok(length) = memory.read_at(&mut read[..length], from as u64) else { break };
                for half in 0..KEY_BYTES / HALF_BYTES {
                    for at in memchr::memchr_iter(self.byte(half * HALF_BYTES), &read[..length]) {
                        let address = from + at;
                        if self.stands_at(half, &read[at..length]) && !own.contains(&address) {
                            found.push(format!("half {half} at {name}+{:#x}", address - start));
                        }
                    }
                }
                // The next piece overlaps, for what lies across the border.
                from += if length >= HALF_BYTES && from + length < end { length - (HALF_BYTES - 1) } else { length };
            }
        }
        read.fill(0);
        black_box(&read);
        found
    }
}

/// The parts of memory that can be written to: start, end, name.
fn writable() -> Vec<(usize, usize, String)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let parts = maps.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let rights = words.next().unwrap();
        let name = words.nth(3).unwrap_or("anonymous").to_owned();
        rights.starts_with("rw").then(|| (number(start), number(end), name))
    });
    parts.collect()
}

/// What derives keys from a data key, and how many blocks of 32 bytes they take.
struct Derived {
    purpose: Purpose,
    /// The suite's id, or the alphabet.
    kind: &'static [u8],
    salt: Vec<u8>,
    blocks: usize,
}

/// The keys that are derived, by another implementation in another process, so that this one has never seen them.
fn derived(data_key: &Masked, what: &Derived) -> Vec<Masked> {
    let hex = data_encoding::HEXLOWER;
    let python = Command::new("python3")
        .args(["-c", include_str!("residue.py"), what.purpose.as_str()])
        .args([hex.encode(what.kind), CLASS.to_owned(), what.blocks.to_string(), hex.encode(&what.salt)])
        .args([hex.encode(&data_key.mask), hex.encode(&data_key.masked)])
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let lines = String::from_utf8(python.stdout).unwrap();
    let lines: Vec<[u8; KEY_BYTES]> =
        lines.lines().map(|line| hex.decode(line.as_bytes()).unwrap().try_into().unwrap()).collect();
    let blocks: Vec<Masked> = lines.chunks(2).map(|halves| Masked { mask: halves[0], masked: halves[1] }).collect();
    assert_eq!(blocks.len(), what.blocks);
    blocks
}

/// Where none of the bytes are: what a search that finds nothing gives.
const NOWHERE: [String; 0] = [];

fn lives(key: &Masked, provider: &dyn CryptoProvider) {
    let places = key.places();
    assert!(places.len() >= KEY_BYTES / HALF_BYTES, "{}: the search finds what is there: {places:#?}", provider.name());
}

fn is_gone(key: &Masked, provider: &dyn CryptoProvider) {
    assert_eq!(key.places(), NOWHERE, "{}", provider.name());
}

#[test]
fn a_data_key_is_gone_when_it_is_dropped() {
    let _alone = alone();
    for provider in providers() {
        let needle = Masked::random(*provider);
        is_gone(&needle, *provider);
        let key = DataKey::take(needle.reveal()).unwrap();
        lives(&needle, *provider);
        drop(key);
        is_gone(&needle, *provider);

        let key = DataKey::generate(*provider).unwrap();
        let needle = Masked::of(&key, *provider);
        lives(&needle, *provider);
        drop(key);
        is_gone(&needle, *provider);
    }
}

fn here() -> Context<'static> {
    Context { class: Class::parse(CLASS).unwrap(), scope: Scope::parse("clinic").unwrap(), bind: &[] }
}

const SALT: [u8; 8] = [3; 8];

fn sealing(provider: &'static dyn CryptoProvider, key: DataKey, purpose: Purpose, inline: bool) -> SealingKey {
    let edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![2; 96] }];
    let origin = if inline { Origin::Inline(edks) } else { Origin::Stored { salt: SALT } };
    let key = UnwrappedKey::new(provider, key).unwrap();
    SealingKey::new(key, EncryptionContext { scope: here().scope, purpose }, origin, Budget::default())
}

/// What lives while the key does, and is gone with it.
fn come_and_go<T>(
    provider: &'static dyn CryptoProvider,
    what: impl FnOnce(DataKey) -> (T, Derived),
    derived_lives: bool,
) {
    let needle = Masked::random(provider);
    let (used, how) = what(DataKey::take(needle.reveal()).unwrap());
    let blocks = derived(&needle, &how);
    lives(&needle, provider);
    if derived_lives {
        // As bytes: a key schedule for AES instructions starts with the key itself (FIPS 197 5.2).
        blocks.iter().for_each(|block| lives(block, provider));
    }
    drop(used);
    is_gone(&needle, provider);
    blocks.iter().for_each(|block| is_gone(block, provider));
}

fn values(provider: &'static dyn CryptoProvider, manner: Manner, inline: bool) {
    let suite = manner.suite;
    let seal_and_open = |key: DataKey| {
        let key = sealing(provider, key, suite.purpose(), inline);
        let token = key.seal(&mut Workspace::new(), &here(), manner, b"078-05-1120").unwrap();
        let envelope = Token::read(token.as_str().as_bytes()).unwrap();
        assert_eq!(key.unwrapped().open(envelope, &here()).unwrap().expose(), b"078-05-1120");
        let (kind, blocks): (&[u8], _) = if suite == Suite::Random { (&[1], 1) } else { (&[2], 2) };
        let salt = if inline || suite == Suite::Deterministic { Vec::new() } else { SALT.to_vec() };
        (key, Derived { purpose: suite.purpose(), kind, salt, blocks })
    };
    come_and_go(provider, seal_and_open, true);
}

#[test]
fn keys_of_the_random_suite_are_gone_when_they_are_dropped() {
    let _alone = alone();
    for provider in providers() {
        for inline in [true, false] {
            values(*provider, Manner::random(Kind::Text), inline);
        }
    }
}

#[test]
fn keys_of_the_deterministic_suite_are_gone_when_they_are_dropped() {
    let _alone = alone();
    for provider in providers() {
        values(*provider, Manner::deterministic(Kind::Text), false);
    }
}

#[test]
fn keys_of_formats_are_gone_when_they_are_dropped() {
    let _alone = alone();
    for provider in providers() {
        let seal_and_open = |key: DataKey| {
            let key = UnwrappedKey::new(*provider, key).unwrap();
            let format = key.format_key(here().class, here().scope, Alphabet::Digits).unwrap();
            let sealed = format.seal(b"078-05-1120").unwrap();
            assert_eq!(*format.open(sealed.as_bytes()).unwrap(), b"078-05-1120");
            ((key, format), Derived { purpose: Purpose::Format, kind: b"digits", salt: Vec::new(), blocks: 1 })
        };
        come_and_go(*provider, seal_and_open, true);
    }
}

/// The key of a stream is derived for it alone, and is gone with it, before its data key is.
#[test]
fn keys_of_streams_are_gone_when_they_are_dropped() {
    let _alone = alone();
    for provider in providers() {
        let seal_and_open = |key: DataKey| {
            let key = Arc::new(sealing(*provider, key, Purpose::Stream, true));
            let mut sealed = Vec::new();
            let mut stream = StreamSealer::begin(&key, &here(), &mut sealed).unwrap();
            stream.write(b"078-05-1120", &mut sealed).unwrap();
            stream.finish(&mut sealed).unwrap();
            let (head, length) = StreamHead::read(&sealed).unwrap().unwrap();
            let (mut stream, mut out) = (StreamOpener::begin(key.unwrapped(), &head, &here()).unwrap(), Vec::new());
            stream.write(&sealed[length..], &mut out).unwrap();
            stream.finish(&mut out).unwrap();
            assert_eq!(out, b"078-05-1120");
            // The salt of the stream is the last of what stands before its segments.
            let salt = sealed[length - 16..length].to_vec();
            (key, Derived { purpose: Purpose::Stream, kind: &[3], salt, blocks: 1 })
        };
        come_and_go(*provider, seal_and_open, false);
    }
}
