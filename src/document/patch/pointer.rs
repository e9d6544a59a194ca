//! JSON pointers (RFC 6901): what their reference tokens can mean. No evaluation here.

/// The names and indices that lead to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    tokens: Vec<Vec<u8>>,
}

/// Whether a reference token can choose an element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// It is a name and nothing else.
    No,
    /// This one.
    Of(u64),
    /// The one after the last.
    End,
    /// RFC 6901 4 has no index like that, but there are readers that make a number of it.
    Odd,
}

/// The most digits of an index that all readers take alike.
const DIGITS_MAX: usize = 9;

impl Pointer {
    /// Reads a pointer of WTF-8 text; `None` if it is none.
    pub(super) fn parse(text_wtf8: &[u8]) -> Option<Pointer> {
        let mut parts = text_wtf8.split(|byte| *byte == b'/');
        if !parts.next()?.is_empty() {
            return None;
        }
        Some(Pointer { tokens: parts.map(token).collect::<Option<_>>()? })
    }

    /// The same of tokens.
    pub(super) fn of(tokens: Vec<Vec<u8>>) -> Pointer {
        Pointer { tokens }
    }

    /// The reference tokens, escapes undone.
    pub(super) fn tokens(&self) -> &[Vec<u8>] {
        &self.tokens
    }
}

/// `~0` is `~` and `~1` is `/`.
fn token(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut parts = escaped.split(|byte| *byte == b'~');
    let mut token = parts.next()?.to_vec();
    for part in parts {
        let (code, rest) = part.split_first()?;
        token.push(match code {
            b'0' => b'~',
            b'1' => b'/',
            _ => return None,
        });
        token.extend_from_slice(rest);
    }
    Some(token)
}

impl Index {
    pub(super) fn of(token: &[u8]) -> Index {
        if token == b"-" {
            return Index::End;
        }
        let text = String::from_utf8_lossy(token);
        let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit())
            && text.len() <= DIGITS_MAX
            && (token == b"0" || !text.starts_with('0'));
        match text.parse() {
            Ok(index) if is_canonical => Index::Of(index),
            _ if text.trim_start().starts_with(|c: char| c.is_numeric() || c == '-' || c == '+') => Index::Odd,
            _ => Index::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pointers_are_read_and_everything_else_is_refused() {
        for (text, want) in [
            ("", Some(&[][..])),
            ("/", Some(&[""][..])),
            ("/a", Some(&["a"])),
            ("/a//b/", Some(&["a", "", "b", ""])),
            ("/a~1b/~0c/~01/~10", Some(&["a/b", "~c", "~1", "/0"])),
            ("/a b/%20/\u{e9}\u{0}\"", Some(&["a b", "%20", "\u{e9}\u{0}\""])),
            ("a", None),
            ("a/b", None),
            ("#/a", None),
            (" /a", None),
            ("$.a", None),
            ("/a~", None),
            ("/a~/b", None),
            ("/~2", None),
            ("/~~0", None),
            ("/~0~", None),
        ] {
            let pointer = Pointer::parse(text.as_bytes());
            let tokens: Option<Vec<Vec<u8>>> = pointer.map(|pointer| pointer.tokens().to_vec());
            assert_eq!(tokens, want.map(|want| want.iter().map(|token| token.as_bytes().to_vec()).collect()), "{text}");
        }
    }

    #[test]
    fn tokens_that_some_reader_takes_for_an_index_are_known() {
        for (token, want) in [
            ("0", Index::Of(0)),
            ("10", Index::Of(10)),
            ("999999999", Index::Of(999_999_999)),
            ("-", Index::End),
            ("00", Index::Odd),
            ("01", Index::Odd),
            ("4294967296", Index::Odd),
            ("99999999999999999999999", Index::Odd),
            ("-1", Index::Odd),
            ("+1", Index::Odd),
            (" 1", Index::Odd),
            ("\u{a0}1", Index::Odd),
            ("1.0", Index::Odd),
            ("1e1", Index::Odd),
            ("1st", Index::Odd),
            ("--", Index::Odd),
            ("\u{661}", Index::Odd),
            ("", Index::No),
            ("a", Index::No),
            ("a1", Index::No),
            ("~0", Index::No),
        ] {
            assert_eq!(Index::of(token.as_bytes()), want, "{token:?}");
        }
        assert_eq!(Index::of(b"\xed\xa0\x80"), Index::No);
    }

    proptest! {
        #[test]
        fn tokens_come_out_as_they_were_written(tokens in prop::collection::vec("[ab~/01]{0,4}", 0..5)) {
            let escaped = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
            let text: String = tokens.iter().map(escaped).collect();
            let read = Pointer::parse(text.as_bytes()).unwrap();
            let want: Vec<Vec<u8>> = tokens.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(read.tokens(), want);
        }
    }
}
