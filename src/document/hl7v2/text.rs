//! Values: escapes undone and written (HL7 v2 chapter 2.7).

use super::{Delimiters, Level};
use crate::document::NotWritable;
use crate::document::tape::has_line_end;

/// Why a value has no text, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The bytes of a `\Xhh..\` are not UTF-8.
    Utf8(usize),
    /// A control character that could not be written as it is.
    Control(usize),
}

/// The value that deletes what the receiver has.
pub(super) const NULL: &[u8] = b"\"\"";

/// Appends the text of a value.
pub(super) fn read(raw: &[u8], delimiters: &Delimiters, level: Level, text: &mut Vec<u8>) -> Result<(), Flaw> {
    let control = raw.iter().position(|byte| *byte < 0x20);
    if level == Level::Field || !raw.contains(&delimiters.escape) && !is_structured(raw, delimiters, level) {
        text.extend_from_slice(raw);
        return control.filter(|_| level == Level::Field).map_or(Ok(()), |at| Err(Flaw::Control(at)));
    }
    let undone = undo(raw, delimiters)?;
    let structured = undone.kept || is_structured(raw, delimiters, level);
    match control {
        Some(at) if structured => Err(Flaw::Control(at)),
        None if structured || stays_raw(&undone.text, delimiters, level) => {
            text.extend_from_slice(raw);
            Ok(())
        }
        _ => {
            text.extend_from_slice(&undone.text);
            Ok(())
        }
    }
}

/// Writes a text so that `read` gives it back.
pub(in crate::document) fn write(
    text: &[u8],
    delimiters: &Delimiters,
    level: Level,
    out: &mut Vec<u8>,
) -> Result<(), NotWritable> {
    let content = std::str::from_utf8(text).map_err(|_| NotWritable)?;
    if text == NULL {
        return Err(NotWritable);
    }
    if level == Level::Field {
        let fits = |&byte: &u8| byte >= 0x20 && byte != delimiters.field && byte != delimiters.repetition;
        if !text.iter().all(fits) || has_line_end(content) {
            return Err(NotWritable);
        }
        out.extend_from_slice(text);
    } else if stays_raw(text, delimiters, level) {
        out.extend_from_slice(text);
    } else {
        escape(content, delimiters, out);
    }
    Ok(())
}

/// Whether a text stands for itself, written as it is: it says what escaped text cannot, or looks as if it did.
///
/// `read` and `write` must agree on this, and they do: what `escape` writes is never of this kind unless its text is.
fn stays_raw(text: &[u8], delimiters: &Delimiters, level: Level) -> bool {
    let mut text = std::borrow::Cow::Borrowed(text);
    loop {
        if !is_written(&text, delimiters, level) {
            return false;
        }
        if text == NULL || is_structured(&text, delimiters, level) {
            return true;
        }
        if !text.contains(&delimiters.escape) {
            return false;
        }
        match undo(&text, delimiters) {
            Ok(undone) if undone.kept => return true,
            // What is escaped at least halves each time, so this takes few turns.
            Ok(undone) if undone.text.len() < text.len() => text = undone.text.into(),
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Whether it could stand in a document as one value of that level.
fn is_written(text: &[u8], delimiters: &Delimiters, level: Level) -> bool {
    let Delimiters { field, component, repetition, subcomponent, .. } = *delimiters;
    let ends = |byte: u8| {
        [field, component, repetition].contains(&byte) || (level == Level::Subcomponent && byte == subcomponent)
    };
    std::str::from_utf8(text).is_ok_and(|text| !has_line_end(text))
        && !text.iter().any(|&byte| byte < 0x20 || ends(byte))
}

/// Whether it holds a delimiter that means something inside a value.
fn is_structured(raw: &[u8], delimiters: &Delimiters, level: Level) -> bool {
    (level == Level::Component && raw.contains(&delimiters.subcomponent))
        || (delimiters.truncation.is_some() && raw.last().copied() == delimiters.truncation)
}

struct Undone {
    text: Vec<u8>,
    /// Whether there are escapes that stand for no text.
    kept: bool,
}

fn undo(raw: &[u8], delimiters: &Delimiters) -> Result<Undone, Flaw> {
    let mut undone = Undone { text: Vec::with_capacity(raw.len()), kept: false };
    let mut rest = raw;
    while let Some(start) = rest.iter().position(|byte| *byte == delimiters.escape) {
        let (plain, after) = rest.split_at(start);
        undone.text.extend_from_slice(plain);
        let after = after.get(1..).unwrap_or_default();
        let Some(length) = after.iter().position(|byte| *byte == delimiters.escape) else {
            // A single one.
            undone.text.push(delimiters.escape);
            rest = after;
            break;
        };
        let (inside, after) = after.split_at(length);
        match inside {
            [letter] if let Some(byte) = delimiter(*letter, delimiters) => undone.text.push(byte),
            [b'X', digits @ ..] if let Some(bytes) = hexadecimal(digits) => {
                if std::str::from_utf8(&bytes).is_err() {
                    return Err(Flaw::Utf8(raw.len() - rest.len() + start));
                }
                undone.text.extend_from_slice(&bytes);
            }
            _ => {
                undone.kept = true;
                undone.text.push(delimiters.escape);
                undone.text.extend_from_slice(inside);
                undone.text.push(delimiters.escape);
            }
        }
        rest = after.get(1..).unwrap_or_default();
    }
    undone.text.extend_from_slice(rest);
    Ok(undone)
}

/// What a letter between escape characters stands for.
fn delimiter(letter: u8, delimiters: &Delimiters) -> Option<u8> {
    match letter {
        b'F' => Some(delimiters.field),
        b'S' => Some(delimiters.component),
        b'T' => Some(delimiters.subcomponent),
        b'R' => Some(delimiters.repetition),
        b'E' => Some(delimiters.escape),
        b'P' => delimiters.truncation,
        _ => None,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = digits.as_chunks::<2>();
    if pairs.is_empty() || !odd.is_empty() {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect()
}

fn escape(text: &str, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let letter = |byte: u8| b"FSTREP".iter().copied().find(|&letter| delimiter(letter, delimiters) == Some(byte));
    let sign = delimiters.escape;
    for c in text.chars() {
        let mut encoded = [0; 4];
        let bytes = c.encode_utf8(&mut encoded);
        if let Some(letter) = u8::try_from(c).ok().and_then(letter) {
            out.extend_from_slice(&[sign, letter, sign]);
        } else if c < ' ' || has_line_end(bytes) {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
            out.extend_from_slice(&[sign, b'X']);
            out.extend(bytes.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]));
            out.push(sign);
        } else {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
}
