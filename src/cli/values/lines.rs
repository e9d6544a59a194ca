//! What comes in and goes out line by line: tokens, values, and values as JSON in one line each.

use super::super::session::Failure;
use crate::document::json::quote;
use crate::seal::{Kind, Value};
use std::io::{self, Read};
use zeroize::Zeroizing;

/// The most that one command reads, in bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most lines of it.
const LINES_MAX: usize = 100_000;

/// All of standard input. No copy of it is left behind as it grows.
pub(in crate::cli) fn read_input() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("standard input: {error}"));
    let mut input = io::stdin().lock();
    let mut all = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut piece = Zeroizing::new([0; 16 * 1024]);
    loop {
        let count = match input.read(piece.as_mut()) {
            Ok(0) => return Ok(all),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        if all.len() + count > INPUT_BYTES_MAX {
            return Err(Failure::new(format!("standard input: more than {INPUT_BYTES_MAX} bytes; give it in parts")));
        }
        append(&mut all, piece.get(..count).unwrap_or_default());
    }
}

/// Appends bytes; what was there is wiped where it stood before if it has to move.
pub(in crate::cli) fn append(all: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if all.capacity() - all.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((all.len() + bytes.len()) * 2));
        larger.extend_from_slice(all);
        *all = larger;
    }
    all.extend_from_slice(bytes);
}

/// The lines, without what ends them; an end of line at the end begins no further one.
pub(in crate::cli) fn lines(input: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    let input = input.strip_suffix(b"\n").unwrap_or(input);
    if input.is_empty() {
        return Err(Failure::new("standard input: nothing in it"));
    }
    let lines: Vec<&[u8]> =
        input.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    if lines.len() > LINES_MAX {
        return Err(Failure::new(format!("standard input: more than {LINES_MAX} lines; give it in parts")));
    }
    Ok(lines)
}

/// Reads NAME=VALUE.
pub(in crate::cli) fn parse_bind(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("wanted NAME=VALUE".to_owned()),
    }
}

/// Bound values as a context has them: in the order of their names.
pub(in crate::cli) fn bound(binds: &[(String, String)]) -> Result<Vec<(&str, &[u8])>, Failure> {
    let mut bound: Vec<(&str, &[u8])> = binds.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    bound.sort_by_key(|(name, _)| *name);
    match bound.windows(2).find(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        Some([(name, _), ..]) => Err(Failure::usage(format!("--bind {name} stands twice"))),
        _ => Ok(bound),
    }
}

/// Appends a value as JSON without an end of line in it.
pub(in crate::cli) fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value.kind() {
        Kind::Text => quote(value.expose(), out),
        // An end of line in a JSON literal is white space: within strings it is escaped (RFC 8259, 7).
        Kind::Literal => {
            out.extend(value.expose().iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        }
    }
}
