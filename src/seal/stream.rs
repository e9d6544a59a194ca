//! Attachments and whole bodies: sealed and opened by segments, in constant memory.
//!
//! | bytes | field |
//! |---|---|
//! | 5 | `sgv1` and a zero byte |
//! | | head of an envelope of suite 3, inline or stored, as in [`envelope`](super::envelope) |
//! | 16 | salt of the stream, random |
//! | each up to 65552 | segments: AES-256-GCM ciphertext of 65536 bytes, of the last one 0 to 65536, and its tag of 16 |
//!
//! - stream key = HKDF-SHA-256(IKM = data key, salt = the process salt if the head has one ‖ the salt of the stream,
//!   info = lp(`sealgate/v1`) ‖ lp(`stream`) ‖ lp(suite as one byte) ‖ lp(class)), 32 bytes: each stream has its own.
//! - nonce of a segment = its number from 0 as 11 bytes, big-endian ‖ `1` for the last one, else `0`.
//! - AAD of every segment = the head, then lp(name) ‖ lp(value) for each bound value, as of an envelope.
//!
//! Every segment but the last is full. Only the only segment of an empty stream is empty. A stream has at most 2^32
//! segments. What was cut off at its end is noticed before the end is reported; what was delivered until then is authentic.
//!
//! In the published vectors a stream that ends within its head, behind its head, or with a whole segment that opens as one
//! that is not the last is `stream_truncated`; one that does not begin with the first five bytes is `spelling`; one that is
//! cut within a segment, goes on behind its end, or ends with an empty segment behind others is `unauthentic`.

use super::context::Context;
use super::crypto::{Aead, CryptoFailed, NONCE_BYTES, TAG_BYTES};
use super::envelope::{EDK_BYTES_MAX, EDKS_MAX, ReadError, Suite};
use super::head::{Head, KeyRef, read_key};
use super::opener::{OpenError, UnwrappedKey};
use super::sealer::{SealError, SealingKey};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Plaintext bytes of every segment but the last.
pub const SEGMENT_BYTES: usize = 64 * 1024;
/// What a stream begins with.
pub const MAGIC: &[u8; 5] = b"sgv1\0";

const SALT_BYTES: usize = 16;
const SEALED_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;
/// The longest head: four encrypted data keys of the longest kind.
const HEAD_BYTES_MAX: usize = MAGIC.len() + 3 + 32 + 33 + EDKS_MAX * (10 + EDK_BYTES_MAX) + SALT_BYTES;

/// The key of one stream, and which segment comes next.
struct Segments {
    key: Box<dyn Aead>,
    aad: Vec<u8>,
    next: u32,
    /// Whether the number of the next one is beyond what `next` can hold.
    full: bool,
}

impl Segments {
    fn nonce(&self, last: bool) -> Result<[u8; NONCE_BYTES], CryptoFailed> {
        if self.full {
            return Err(CryptoFailed);
        }
        let mut nonce = [0; NONCE_BYTES];
        let number = self.next.to_be_bytes().into_iter().chain([u8::from(last)]);
        nonce.iter_mut().skip(7).zip(number).for_each(|(to, from)| *to = from);
        Ok(nonce)
    }

    fn advance(&mut self) {
        (self.next, self.full) = self.next.overflowing_add(1);
    }
}

/// Seals a stream.
pub struct StreamSealer {
    sealing: Arc<SealingKey>,
    segments: Segments,
    plaintext: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for StreamSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSealer").field("key", &self.sealing.id()).finish_non_exhaustive()
    }
}

impl StreamSealer {
    /// Begins a stream: its head is appended to `out`.
    ///
    /// # Errors
    /// [`SealError`], as of a value; the bytes of the stream are spent from the key's budget as they come.
    pub fn begin(key: &Arc<SealingKey>, context: &Context<'_>, out: &mut Vec<u8>) -> Result<Self, SealError> {
        key.judge(context.scope, Suite::Stream)?;
        let (unwrapped, process_salt) = (key.unwrapped(), key.salt(Suite::Stream));
        let mut salt = [0; SALT_BYTES];
        unwrapped.provider.fill_random(&mut salt)?;
        out.extend_from_slice(MAGIC);
        let start = out.len();
        Head::write(Suite::Stream, (context.class, context.scope), key.reference(), process_salt, out);
        let aad = context.aad(out.get(start..).unwrap_or_default()).into_owned();
        out.extend_from_slice(&salt);
        let salt = [process_salt.as_ref().map_or(&[][..], |salt| salt), &salt].concat();
        let segments = Segments { key: unwrapped.stream_key(context.class, &salt)?, aad, next: 0, full: false };
        Ok(Self { sealing: Arc::clone(key), segments, plaintext: Zeroizing::new(Vec::with_capacity(SEALED_BYTES)) })
    }

    /// Takes more of the plaintext and appends the segments that are full.
    ///
    /// # Errors
    /// [`SealError::Exhausted`] once the key's budget is spent; the stream cannot go on then.
    pub fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        while !bytes.is_empty() {
            // Held back until more comes: the last one is sealed as such.
            if self.plaintext.len() == SEGMENT_BYTES {
                self.flush(false, out)?;
            }
            let room = (SEGMENT_BYTES - self.plaintext.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            self.plaintext.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Ends the stream: without this it does not open to its end.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.flush(true, out)
    }

    fn flush(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.sealing.spend(self.plaintext.len())?;
        let nonce = self.segments.nonce(last)?;
        let tag = self.segments.key.seal(nonce, &self.segments.aad, &mut self.plaintext)?;
        out.extend_from_slice(&self.plaintext);
        out.extend_from_slice(&tag);
        self.plaintext.clear();
        self.segments.advance();
        Ok(())
    }
}

/// The beginning of a stream as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead {
    head: Head,
    /// The head as it stands.
    bytes: Vec<u8>,
    key: KeyRef,
    salt: [u8; SALT_BYTES],
}

impl StreamHead {
    /// Reads the beginning of a stream and says how many bytes it takes; `None` if more of them are needed.
    ///
    /// # Errors
    /// [`ReadError`] if these are not the first bytes of a stream.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, ReadError> {
        let begun = bytes.iter().zip(MAGIC).all(|(is, wanted)| is == wanted);
        if !begun {
            return Err(ReadError::Spelling);
        }
        let rest = bytes.get(MAGIC.len()..).unwrap_or_default();
        let head = match Head::read(rest) {
            Ok(head) => head,
            Err(ReadError::Truncated) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
            Err(error) => return Err(error),
        };
        if head.suite != Suite::Stream {
            return Err(ReadError::UnknownSuite(head.suite.id()));
        }
        let length = head.length();
        let Some(salt) = rest.get(length..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        let key = read_key(&head, rest);
        let bytes = rest.get(..length).unwrap_or_default().to_vec();
        Ok(Some((Self { key, salt: *salt, head, bytes }, MAGIC.len() + length + SALT_BYTES)))
    }

    /// What can be told without a key.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Which data key sealed it.
    #[must_use]
    pub const fn key(&self) -> &KeyRef {
        &self.key
    }
}

/// Opens a stream.
pub struct StreamOpener {
    segments: Segments,
    sealed: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for StreamOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamOpener")
    }
}

impl StreamOpener {
    /// Begins to open a stream that was sealed in `context`.
    ///
    /// # Errors
    /// [`OpenError::Commitment`] if this is not its key.
    pub fn begin(key: &UnwrappedKey, stream: &StreamHead, context: &Context<'_>) -> Result<Self, OpenError> {
        key.check(&stream.head)?;
        stream.head.check(context)?;
        let salt = [stream.head.salt.as_ref().map_or(&[][..], |salt| salt), &stream.salt].concat();
        let segments = Segments {
            key: key.stream_key(context.class, &salt).map_err(|_| OpenError::Unauthentic)?,
            aad: context.aad(&stream.bytes).into_owned(),
            next: 0,
            full: false,
        };
        Ok(Self { segments, sealed: Zeroizing::new(Vec::with_capacity(SEALED_BYTES)) })
    }

    /// Takes more of what follows the head and appends the plaintext of the segments that are whole. What is appended is
    /// authentic, but that it is all there is only [`finish`](Self::finish) says.
    ///
    /// # Errors
    /// [`OpenError::Unauthentic`]; the stream cannot go on then.
    pub fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        while !bytes.is_empty() {
            if self.sealed.len() == SEALED_BYTES {
                self.flush(false, out)?;
            }
            let room = (SEALED_BYTES - self.sealed.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            self.sealed.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Opens the last segment.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] if there was to be another one, [`OpenError::Unauthentic`] for everything else.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), OpenError> {
        if self.sealed.is_empty() {
            return Err(OpenError::Truncated);
        }
        // Only an empty stream has an empty segment.
        if self.sealed.len() == TAG_BYTES && self.segments.next > 0 {
            return Err(OpenError::Unauthentic);
        }
        // Where the stream was cut between two segments, the one before the cut is a whole one that is not the last.
        let whole = if self.sealed.len() == SEALED_BYTES { self.sealed.to_vec() } else { Vec::new() };
        self.flush(true, out).map_err(|error| {
            let mut whole = Zeroizing::new(whole);
            let nonce = self.segments.nonce(false).ok().filter(|_| !whole.is_empty());
            let cut = nonce.is_some_and(|nonce| self.segments.key.open(nonce, &self.segments.aad, &mut whole).is_ok());
            if cut { OpenError::Truncated } else { error }
        })
    }

    fn flush(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), OpenError> {
        let unauthentic = |_| OpenError::Unauthentic;
        let nonce = self.segments.nonce(last).map_err(unauthentic)?;
        let length = self.segments.key.open(nonce, &self.segments.aad, &mut self.sealed).map_err(unauthentic)?;
        out.extend_from_slice(self.sealed.get(..length).unwrap_or_default());
        self.sealed.clear();
        self.segments.advance();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use crate::seal::sealer::Budget;
    use crate::seal::{
        Class, CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Origin, Purpose, Scope,
    };

    fn key(provider: &'static dyn CryptoProvider, stored: bool) -> Arc<SealingKey> {
        let origin = match stored {
            true => Origin::Stored { salt: [3; 8] },
            false => Origin::Inline(vec![EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![1; 90] }]),
        };
        let key = UnwrappedKey::new(provider, DataKey::take(vec![5; 32]).unwrap()).unwrap();
        let made_for = EncryptionContext { scope: Scope::parse("clinic").unwrap(), purpose: Purpose::Stream };
        Arc::new(SealingKey::new(key, made_for, origin, Budget::default()))
    }

    fn context(class: &str) -> Context<'static> {
        Context { class: Class::parse(class).unwrap(), scope: Scope::parse("clinic").unwrap(), bind: &[] }
    }

    fn seal(key: &Arc<SealingKey>, plaintext: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sealer = StreamSealer::begin(key, &context("scan"), &mut out).unwrap();
        plaintext.chunks(piece).for_each(|bytes| sealer.write(bytes, &mut out).unwrap());
        sealer.finish(&mut out).unwrap();
        out
    }

    fn open(key: &SealingKey, sealed: &[u8], class: &str, piece: usize) -> Result<Vec<u8>, OpenError> {
        let (head, length) = StreamHead::read(sealed).unwrap().unwrap();
        let mut opener = StreamOpener::begin(key.unwrapped(), &head, &context(class))?;
        let mut out = Vec::new();
        for bytes in sealed[length..].chunks(piece) {
            opener.write(bytes, &mut out)?;
        }
        opener.finish(&mut out)?;
        Ok(out)
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn a_stream_comes_back_however_it_is_cut() {
        for provider in providers() {
            for stored in [false, true] {
                let key = key(*provider, stored);
                for length in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES] {
                    let plaintext = bytes(length);
                    for piece in [1000, SEGMENT_BYTES, 5 * SEGMENT_BYTES] {
                        let sealed = seal(&key, &plaintext, piece);
                        assert_eq!(open(&key, &sealed, "scan", piece + 7).unwrap(), plaintext, "{length}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_missing_at_the_end_is_noticed() {
        let key = key(providers()[0], false);
        let sealed = seal(&key, &bytes(2 * SEGMENT_BYTES + 10), 1000);
        let (_, head) = StreamHead::read(&sealed).unwrap().unwrap();
        let cut = |length: usize| open(&key, &sealed[..length], "scan", 1 << 20);
        assert_eq!(cut(head), Err(OpenError::Truncated), "no segment at all");
        assert_eq!(cut(head + SEALED_BYTES), Err(OpenError::Truncated), "between two segments");
        assert_eq!(cut(head + 2 * SEALED_BYTES), Err(OpenError::Truncated), "between two segments");
        assert_eq!(cut(head + SEALED_BYTES - 1), Err(OpenError::Unauthentic), "within a segment");
        assert_eq!(cut(sealed.len() - 1), Err(OpenError::Unauthentic), "within the last segment");
        for length in 0..head {
            assert_eq!(StreamHead::read(&sealed[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn segments_cannot_be_changed_moved_or_repeated() {
        let key = key(providers()[0], true);
        let sealed = seal(&key, &bytes(3 * SEGMENT_BYTES), 1000);
        let (_, head) = StreamHead::read(&sealed).unwrap().unwrap();
        let segment = |number: usize| &sealed[head + number * SEALED_BYTES..head + (number + 1) * SEALED_BYTES];
        let start = &sealed[..head];
        for order in [&[1, 0, 2][..], &[0, 0, 1, 2], &[0, 2], &[0, 1, 2, 2]] {
            let moved: Vec<u8> =
                [start].into_iter().chain(order.iter().map(|n| segment(*n))).collect::<Vec<_>>().concat();
            assert_eq!(open(&key, &moved, "scan", 1 << 20), Err(OpenError::Unauthentic), "{order:?}");
        }
        assert_eq!(open(&key, &sealed, "name", 1 << 20), Err(OpenError::Unauthentic), "another class");
        for at in [head - 1, head, head + SEALED_BYTES, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, &changed, "scan", 1 << 20), Err(OpenError::Unauthentic), "{at}");
        }
        let other = seal(&key, &bytes(3 * SEGMENT_BYTES), 1000);
        let spliced = [&sealed[..head + SEALED_BYTES], &other[head + SEALED_BYTES..]].concat();
        assert_eq!(open(&key, &spliced, "scan", 1 << 20), Err(OpenError::Unauthentic), "two streams of one key");
    }
}
