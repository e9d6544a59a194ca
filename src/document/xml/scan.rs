//! Characters, names and references of XML 1.0 (5th edition): bytes in, lengths out. No state is kept here.

/// The longest reference that is read, `&` and `;` included. Leading zeros count.
pub(super) const REFERENCE_BYTES_MAX: usize = 16;

/// Why a scan ends in a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Utf8(usize),
    Control(usize),
    /// A character that is not a `Char` (production 2), though it is no control character.
    Forbidden(usize),
}

/// White space (production 3).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without white space at the ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// How many of the first bytes are white space.
pub(super) fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len())
}

/// Passes over legal characters up to the first byte for which `stop` is true, which must be ASCII, or as far as the
/// bytes reach. A character that is cut in two is left for the next time.
pub(super) fn chars(bytes: &[u8], stop: impl Fn(u8) -> bool) -> Result<usize, Flaw> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += rest
            .iter()
            .position(|&b| !matches!(b, 0x20..0x80 | b'\t' | b'\n' | b'\r') || stop(b))
            .unwrap_or(rest.len());
        match bytes.get(at) {
            None => return Ok(at),
            Some(&byte) if byte >= 0x80 => {
                let rest = bytes.get(at..).unwrap_or_default();
                let len = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
                let rest = rest.get(..len).unwrap_or_default();
                let valid = match std::str::from_utf8(rest) {
                    Ok(text) => text,
                    Err(error) => {
                        let (head, _) = rest.split_at(error.valid_up_to());
                        let cut = error.error_len().is_none() && at + len == bytes.len();
                        no_forbidden(head, at)?;
                        let end = at + head.len();
                        return if cut { Ok(end) } else { Err(Flaw::Utf8(end)) };
                    }
                };
                no_forbidden(valid.as_bytes(), at)?;
                at += len;
            }
            Some(&byte) if stop(byte) => return Ok(at),
            Some(_) => return Err(Flaw::Control(at)),
        }
    }
}

/// U+FFFE and U+FFFF are all that is left of what UTF-8 can hold and XML cannot.
fn no_forbidden(text: &[u8], offset: usize) -> Result<(), Flaw> {
    let found = memchr::memmem::find_iter(text, b"\xef\xbf").find(|&at| text.get(at + 2).is_some_and(|&b| b >= 0xbe));
    found.map_or(Ok(()), |at| Err(Flaw::Forbidden(offset + at)))
}

/// Whether a character may stand in a document (production 2).
pub(super) fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// `NameStartChar` (production 4).
pub(super) fn is_name_start(c: char) -> bool {
    matches!(c,
        ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// `NameChar` (production 4a).
pub(super) fn is_name(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// The character at the start of `bytes` and its length; `None` when it is cut, an error when it is not UTF-8.
pub(super) fn first_char(bytes: &[u8]) -> Result<Option<(char, usize)>, Flaw> {
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            let (valid, _) = head.split_at(error.valid_up_to());
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() && head.len() < 4 => return Ok(None),
        Err(_) => return Err(Flaw::Utf8(0)),
    };
    Ok(valid.chars().next().map(|c| (c, c.len_utf8())))
}

/// How many of the first bytes go on with a name; the first character of all is held to `NameStartChar` if
/// `fresh`. Stops at what is no part of a name, or at the end, or at a character that is cut.
pub(super) fn name(bytes: &[u8], fresh: bool) -> Result<usize, Flaw> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let first = fresh && at == 0;
        let (c, len) = match byte {
            0..0x80 => (char::from(byte), 1),
            _ => match first_char(bytes.get(at..).unwrap_or_default()) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(at),
                Err(_) => return Err(Flaw::Utf8(at)),
            },
        };
        if !(if first { is_name_start(c) } else { is_name(c) }) {
            return Ok(at);
        }
        at += len;
    }
    Ok(at)
}

/// Whether a name has at most one colon with an `NCName` on both sides (Namespaces, production 7).
pub(super) fn is_qualified(name: &[u8]) -> bool {
    match memchr::memchr(b':', name).map(|at| name.split_at(at)) {
        None => true,
        Some((prefix, local)) => {
            let local = local.get(1..).unwrap_or_default();
            let start = matches!(first_char(local), Ok(Some((c, _))) if is_name_start(c));
            !prefix.is_empty() && start && memchr::memchr(b':', local).is_none()
        }
    }
}

/// Prefix and local part of a qualified name; the prefix is empty when there is none.
pub(super) fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', name) {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default()),
        None => (&[], name),
    }
}

/// The reference at the start of `bytes`, which start with `&`: what it stands for and its length. `None` when it is
/// cut; an error when it is none of the five predefined ones and no character reference.
pub(super) fn reference(bytes: &[u8]) -> Result<Option<(char, usize)>, ()> {
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b';' => return referred(bytes.get(1..at).unwrap_or_default()).map(|c| Some((c, at + 1))).ok_or(()),
            b'#' if at == 1 => {}
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if at + 1 < REFERENCE_BYTES_MAX => {}
            _ => return Err(()),
        }
    }
    Ok(None)
}

fn referred(name: &[u8]) -> Option<char> {
    let (digits, radix) = match name {
        b"lt" => return Some('<'),
        b"gt" => return Some('>'),
        b"amp" => return Some('&'),
        b"apos" => return Some('\''),
        b"quot" => return Some('"'),
        [b'#', b'x', digits @ ..] => (digits, 16),
        [b'#', digits @ ..] => (digits, 10),
        _ => return None,
    };
    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    char::from_u32(code).filter(|&c| is_char(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_predefined_ones_and_legal_characters() {
        for (text, expect) in [
            ("&lt;", Ok(Some(('<', 4)))),
            ("&amp;x", Ok(Some(('&', 5)))),
            ("&#65;", Ok(Some(('A', 5)))),
            ("&#x1F600;", Ok(Some(('\u{1f600}', 9)))),
            ("&#x00000041;", Ok(Some(('A', 12)))),
            ("&", Ok(None)),
            ("&a", Ok(None)),
            ("&#x", Ok(None)),
            ("&;", Err(())),
            ("&nbsp;", Err(())),
            ("&LT;", Err(())),
            ("&#;", Err(())),
            ("&#x;", Err(())),
            ("&#X41;", Err(())),
            ("&#+65;", Err(())),
            ("& lt;", Err(())),
            ("&#0;", Err(())),
            ("&#x1f;", Err(())),
            ("&#xD800;", Err(())),
            ("&#xFFFE;", Err(())),
            ("&#x110000;", Err(())),
            ("&#4294967361;", Err(())),
            ("&#00000000000000065;", Err(())),
        ] {
            assert_eq!(reference(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn names_end_where_the_grammar_says() {
        for (text, fresh, expect) in [
            ("a-b.c1=", true, 6),
            ("1a", true, 0),
            ("1a", false, 2),
            ("-a", true, 0),
            ("\u{e9}l\u{e8}ve ", true, 7),
            ("\u{d7}", true, 0),
            ("a\u{301}", true, 3),
            ("\u{301}", true, 0),
            ("a\u{37e}", true, 1),
            ("\u{1f600}", true, 4),
            ("\u{f0000}", true, 0),
        ] {
            assert_eq!(name(text.as_bytes(), fresh), Ok(expect), "{text}");
        }
        assert_eq!(name(b"a\xc3", true), Ok(1));
        assert_eq!(name(b"a\xff", true), Err(Flaw::Utf8(1)));
        for (text, expect) in
            [("a", true), ("a:b", true), (":a", false), ("a:", false), ("a:b:c", false), ("a:1", false)]
        {
            assert_eq!(is_qualified(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn characters_are_checked() {
        let stop = |b| b == b'<';
        assert_eq!(chars("a\u{e9}\t\u{fffd}\u{feff}\u{7f}<".as_bytes(), stop), Ok(11));
        assert_eq!(chars(b"a\xc3", stop), Ok(1));
        assert_eq!(chars(b"a\xc3<", stop), Err(Flaw::Utf8(1)));
        assert_eq!(chars(b"a\xed\xa0\x80", stop), Err(Flaw::Utf8(1)));
        assert_eq!(chars(b"a\xc0\x80", stop), Err(Flaw::Utf8(1)));
        assert_eq!(chars(b"a\x00", stop), Err(Flaw::Control(1)));
        assert_eq!(chars("a\u{ffff}".as_bytes(), stop), Err(Flaw::Forbidden(1)));
        assert_eq!(chars("a\u{fffe}b".as_bytes(), stop), Err(Flaw::Forbidden(1)));
    }
}
