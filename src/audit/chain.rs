//! The hash chain: how one audit record is spelt on one line, and what binds it to the record before it.
//! Pure functions: no files, no clock, no key.
//!
//! A record is one line, spelt exactly so, members in this order, without white space between them:
//!
//! ```text
//! {"seq":7,"prev":"<64 lower hex>","hash":"<64 lower hex>","event":{...}}
//! ```
//!
//! `hash` is SHA-256 over `lp("sealgate/audit/v1") ‖ seq ‖ prev ‖ event`: `lp` puts a big-endian `u32` length in front,
//! `seq` is a big-endian `u64`, `prev` is the 32 bytes and `event` is the bytes of the line, verbatim. `seq` starts at
//! 1 and grows by one; `prev` is the `hash` of the record before, 32 zero bytes for record 1.
//!
//! The chain has no key: it shows damage and careless hands. Against somebody who can write the files and rehash what
//! follows, and against a tail cut off, a [`Head`] kept elsewhere is what helps.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::Serialize;

/// The longest event that is recorded, in bytes. Readers lean on it to read in constant memory.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// The longest line, without its newline: an event and the members around it.
pub(crate) const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + 256;

/// The highest sequence number: what a reader that keeps numbers as doubles still tells apart (RFC 8259 6).
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// `lp("sealgate/audit/v1")`.
const LABEL: &[u8] = b"\x00\x00\x00\x11sealgate/audit/v1";

/// SHA-256 over the parts, one after the other. Comes from the crypto provider.
pub type Digest = fn(&[&[u8]]) -> [u8; 32];

/// The end of a chain: the number of a record and its hash. Written `SEQ:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The number of the record; 0 when there is none yet.
    pub seq: u64,
    /// The hash of the record; zero when there is none yet.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of a chain without records.
    pub const EMPTY: Head = Head { seq: 0, hash: [0; 32] };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, HEXLOWER.encode(&self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

impl FromStr for Head {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Head, Fault> {
        let (seq, hash) = text.split_once(':').ok_or(Fault::Head)?;
        let head =
            Head { seq: number(seq.as_bytes()).ok_or(Fault::Head)?, hash: hex(hash.as_bytes()).ok_or(Fault::Head)? };
        if head.seq == 0 && head != Head::EMPTY { Err(Fault::Head) } else { Ok(head) }
    }
}

/// What is wrong with a line, an event or a head. Names the place, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The line ends with the file instead of a newline, or goes on for longer than any record.
    #[error("line has no end")]
    Unended,
    /// The line is not spelt as a record; the member at which reading stopped.
    #[error("line is not a record: stopped at member \"{0}\"")]
    Spelling(&'static str),
    /// The event is not one JSON object in UTF-8 on one line.
    #[error("event is not one JSON object on one line")]
    Event,
    /// The event is longer than [`EVENT_BYTES_MAX`].
    #[error("event is longer than {EVENT_BYTES_MAX} bytes")]
    EventTooLong,
    /// The record's hash does not stand for its content: the record was changed.
    #[error("hash does not match the content")]
    Hash,
    /// The record has not the number that comes next.
    #[error("seq: wanted {wanted}, got {got}")]
    Seq {
        /// The number that comes next.
        wanted: u64,
        /// The number the record has.
        got: u64,
    },
    /// The record does not name the hash of the record before it: one of the two was replaced.
    #[error("prev is not the hash of the record before")]
    Prev,
    /// Not a head as [`Head`] spells it.
    #[error("head is not spelt SEQ:HEX")]
    Head,
}

/// An event that fits a record: one JSON object, UTF-8, no raw newline, at most [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventText(Vec<u8>);

impl EventText {
    /// Takes an event as it will stand in its record, byte for byte.
    ///
    /// # Errors
    /// [`Fault::Event`] or [`Fault::EventTooLong`].
    pub fn parse(text: Vec<u8>) -> Result<EventText, Fault> {
        check_event(&text)?;
        Ok(EventText(text))
    }

    /// Writes an event as it will stand in its record.
    ///
    /// # Errors
    /// [`Fault::Event`] for what is no object, or [`Fault::EventTooLong`].
    pub fn of(event: &impl Serialize) -> Result<EventText, Fault> {
        // What is written so is JSON in UTF-8, without a line break.
        let text = serde_json::to_vec(event).map_err(|_| Fault::Event)?;
        if text.len() > EVENT_BYTES_MAX {
            return Err(Fault::EventTooLong);
        }
        if !is_framed(&text) {
            return Err(Fault::Event);
        }
        debug_assert_eq!(check_event(&text), Ok(()));
        Ok(EventText(text))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends the line of the record that comes after `before`, newline included; returns the head it makes.
pub fn encode(digest: Digest, before: &Head, event: &EventText, lines: &mut Vec<u8>) -> Head {
    let seq = before.seq + 1;
    let hash = hash(digest, seq, &before.hash, event.as_bytes());
    lines.extend_from_slice(b"{\"seq\":");
    lines.extend_from_slice(seq.to_string().as_bytes());
    for (member, value) in [(&b",\"prev\":\""[..], &before.hash), (b"\",\"hash\":\"", &hash)] {
        let mut text = [0; 64];
        HEXLOWER.encode_mut(value, &mut text);
        lines.extend_from_slice(member);
        lines.extend_from_slice(&text);
    }
    lines.extend_from_slice(b"\",\"event\":");
    lines.extend_from_slice(event.as_bytes());
    lines.extend_from_slice(b"}\n");
    Head { seq, hash }
}

/// A line that is spelt as a record. Whether it belongs to a chain, [`Record::follow`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The number it claims.
    pub seq: u64,
    /// The hash it claims for the record before.
    pub prev: [u8; 32],
    /// The hash it claims for itself.
    pub hash: [u8; 32],
    /// The event, verbatim.
    pub event: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a line, given without its newline. There is one spelling of a record, and nothing else is read.
    ///
    /// # Errors
    /// [`Fault::Spelling`], [`Fault::Event`] or [`Fault::EventTooLong`].
    pub fn parse(line: &'a [u8]) -> Result<Record<'a>, Fault> {
        let rest = line.strip_prefix(b"{\"seq\":").ok_or(Fault::Spelling("seq"))?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at_checked(digits).ok_or(Fault::Spelling("seq"))?;
        let seq = number(seq).filter(|&seq| seq > 0).ok_or(Fault::Spelling("seq"))?;
        let (prev, rest) = quoted_hash(rest, b",\"prev\":\"").ok_or(Fault::Spelling("prev"))?;
        let (hash, rest) = quoted_hash(rest, b",\"hash\":\"").ok_or(Fault::Spelling("hash"))?;
        let rest = rest.strip_prefix(b",\"event\":").ok_or(Fault::Spelling("event"))?;
        let event = rest.strip_suffix(b"}").ok_or(Fault::Spelling("event"))?;
        check_event(event)?;
        Ok(Record { seq, prev, hash, event })
    }

    /// The head this record makes, when it is whole and comes right after `before`.
    ///
    /// # Errors
    /// [`Fault::Hash`] before [`Fault::Seq`] before [`Fault::Prev`]: a record that does not match its own hash says
    /// nothing about its place.
    pub fn follow(&self, digest: Digest, before: &Head) -> Result<Head, Fault> {
        if hash(digest, self.seq, &self.prev, self.event) != self.hash {
            return Err(Fault::Hash);
        }
        let wanted = before.seq + 1;
        if self.seq != wanted {
            return Err(Fault::Seq { wanted, got: self.seq });
        }
        if self.prev != before.hash {
            return Err(Fault::Prev);
        }
        Ok(Head { seq: self.seq, hash: self.hash })
    }
}

fn hash(digest: Digest, seq: u64, prev: &[u8; 32], event: &[u8]) -> [u8; 32] {
    digest(&[LABEL, &seq.to_be_bytes(), prev, event])
}

fn check_event(text: &[u8]) -> Result<(), Fault> {
    if text.len() > EVENT_BYTES_MAX {
        return Err(Fault::EventTooLong);
    }
    // The parser allows white space around the object and between its tokens, and does not look into strings for
    // UTF-8; a record allows neither newlines nor anything before or behind the object.
    if !is_framed(text) || text.iter().any(|&byte| byte == b'\n' || byte == b'\r') {
        return Err(Fault::Event);
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::Event)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Fault::Event)?;
    Ok(())
}

/// Whether it is what an object would be between.
fn is_framed(text: &[u8]) -> bool {
    text.first() == Some(&b'{') && text.last() == Some(&b'}')
}

fn quoted_hash<'a>(text: &'a [u8], opening: &[u8]) -> Option<([u8; 32], &'a [u8])> {
    let (digits, rest) = text.strip_prefix(opening)?.split_at_checked(64)?;
    Some((hex(digits)?, rest.strip_prefix(b"\"")?))
}

fn hex(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    HEXLOWER.decode_mut(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A decimal without sign or leading zero, up to [`SEQ_MAX`].
fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) || (text.len() > 1 && text.starts_with(b"0")) {
        return None;
    }
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= SEQ_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::journal::testing::sha256;

    const FIRST: &str = concat!(
        r#"{"seq":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""hash":"4806040823661880b754964a26b2c03ef52b7b45b020a387963a1c2f6232f2cb","event":{"type":"ExchangeDenied"}}"#
    );
    const SECOND: &str = concat!(
        r#"{"seq":2,"prev":"4806040823661880b754964a26b2c03ef52b7b45b020a387963a1c2f6232f2cb","#,
        r#""hash":"e26f99e8bc3636f9c0d566a9a899c62bb21cd5736ae509e5028fa7040dfd1619","event":{ "a":[1e400,"é"] }}"#
    );

    fn event(text: &str) -> EventText {
        EventText::parse(text.into()).unwrap()
    }

    #[test]
    fn two_records_are_spelt_as_they_always_were() {
        let mut lines = Vec::new();
        let one = encode(sha256, &Head::EMPTY, &event(r#"{"type":"ExchangeDenied"}"#), &mut lines);
        let two = encode(sha256, &one, &event(r#"{ "a":[1e400,"é"] }"#), &mut lines);
        assert_eq!(String::from_utf8(lines).unwrap(), format!("{FIRST}\n{SECOND}\n"));

        let first = Record::parse(FIRST.as_bytes()).unwrap();
        assert_eq!(first.follow(sha256, &Head::EMPTY), Ok(one));
        let second = Record::parse(SECOND.as_bytes()).unwrap();
        assert_eq!(second.event, r#"{ "a":[1e400,"é"] }"#.as_bytes());
        assert_eq!(second.follow(sha256, &one), Ok(two));
    }

    #[test]
    fn a_line_spelt_otherwise_is_not_a_record() {
        let good = FIRST;
        for (from, to, member) in [
            ("{\"seq\"", " {\"seq\"", "seq"),
            ("{\"seq\"", "\u{feff}{\"seq\"", "seq"),
            ("\"seq\":1", "\"seq\": 1", "seq"),
            ("\"seq\":1", "\"seq\":01", "seq"),
            ("\"seq\":1", "\"seq\":+1", "seq"),
            ("\"seq\":1", "\"seq\":-1", "seq"),
            ("\"seq\":1", "\"seq\":0", "seq"),
            ("\"seq\":1", "\"seq\":", "seq"),
            ("\"seq\":1", "\"seq\":9007199254740992", "seq"),
            ("\"seq\":1", "\"seq\":99999999999999999999999", "seq"),
            ("\"seq\":1", "\"seq\":1.0", "prev"),
            ("\"seq\":1", "\"seq\":1,\"seq\":1", "prev"),
            ("\"seq\":1", "\"Seq\":1", "seq"),
            ("\"prev\":\"0", "\"prev\":\"", "prev"),
            ("\"prev\":\"0", "\"prev\":\"00", "prev"),
            ("\"prev\":\"0", "\"prev\":\"g", "prev"),
            ("\"hash\":\"4806040823661880b", "\"hash\":\"4806040823661880B", "hash"),
            (",\"event\":", ",\"event\" :", "event"),
            (",\"event\":", ",\"extra\":1,\"event\":", "event"),
            ("}}", "}} ", "event"),
            ("}}", "}}\r", "event"),
        ] {
            let line = good.replacen(from, to, 1);
            assert_ne!(line, good, "{from}");
            assert_eq!(Record::parse(line.as_bytes()), Err(Fault::Spelling(member)), "{line}");
        }
    }

    #[test]
    fn an_event_is_one_object_on_one_line() {
        for good in ["{}", "{\"a\":{\"b\":[1,2,{}]}}", "{ \"a\"\t: null }", "{\"a\":\"\\n\"}"] {
            assert!(EventText::parse(good.into()).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "{",
            "}",
            "[]",
            "1",
            "\"a\"",
            "null",
            "{} ",
            " {}",
            "{}{}",
            "{},{}",
            "{}}",
            "{\n}",
            "{\r}",
            "{\"a\":1,}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\0\"}",
            "{\"a\":01}",
            "{'a':1}",
            "{\"a\":tru}",
            "{\"a\"}",
            "{\"a\":1},\"b\":{\"c\":2}",
        ] {
            assert_eq!(EventText::parse(bad.into()), Err(Fault::Event), "{bad}");
        }
        assert_eq!(EventText::parse(b"{\"a\":\"\xff\"}".to_vec()), Err(Fault::Event));
        let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
        assert!(EventText::parse(long(EVENT_BYTES_MAX)).is_ok());
        assert_eq!(EventText::parse(long(EVENT_BYTES_MAX + 1)), Err(Fault::EventTooLong));
        // Depth costs no stack.
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(EventText::parse(deep.into()).is_ok());
    }

    #[test]
    fn what_is_written_as_an_event_is_one() {
        for (value, text) in [
            (serde_json::json!({}), "{}"),
            (serde_json::json!({"a\nb": ["\r\u{2028}\"", 1.5, null]}), "{\"a\\nb\":[\"\\r\u{2028}\\\"\",1.5,null]}"),
        ] {
            assert_eq!(EventText::of(&value), Ok(event(text)));
        }
        for value in [serde_json::json!([{}]), serde_json::json!("{}"), serde_json::json!(1), serde_json::json!(null)] {
            assert_eq!(EventText::of(&value), Err(Fault::Event), "{value}");
        }
        let long = |bytes: usize| serde_json::json!({"a": "x".repeat(bytes - 8)});
        assert!(EventText::of(&long(EVENT_BYTES_MAX)).is_ok());
        assert_eq!(EventText::of(&long(EVENT_BYTES_MAX + 1)), Err(Fault::EventTooLong));
    }

    #[test]
    fn a_head_reads_back_as_it_was_written() {
        let head = Head { seq: 12, hash: [0xab; 32] };
        let text = head.to_string();
        assert_eq!(text, format!("12:{}", "ab".repeat(32)));
        assert_eq!(text.parse(), Ok(head));
        assert_eq!(Head::EMPTY.to_string().parse(), Ok(Head::EMPTY));
        for bad in [
            "",
            ":",
            "12",
            "12:",
            &text.to_uppercase(),
            &format!(" {text}"),
            &format!("{text}0"),
            &text.replace("12", "0"),
        ] {
            assert_eq!(bad.parse::<Head>(), Err(Fault::Head), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
            let mut line = SECOND.as_bytes().to_vec();
            let before = Record::parse(FIRST.as_bytes()).unwrap().follow(sha256, &Head::EMPTY).unwrap();
            let at = at.index(line.len());
            line[at] ^= mask;
            prop_assert!(Record::parse(&line).and_then(|record| record.follow(sha256, &before)).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(line in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Record::parse(&line);
        }
    }
}
