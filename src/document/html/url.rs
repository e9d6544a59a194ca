//! Where in a URL (the WHATWG URL standard, 4.4) a value may stand: after scheme and host, and never in what is run.

use super::name::Name;

/// How much of a URL in an attribute has been read.
#[derive(Clone, Copy, Default)]
pub(super) enum Url {
    /// Nothing, or what a reader drops.
    #[default]
    Start,
    /// What may become a scheme.
    Scheme(Name),
    /// One slash at the start: a second makes a host.
    Slash,
    /// What comes before the end of the host.
    Host { begun: bool },
    /// A path, query or fragment, of a URL that runs nothing.
    Open,
    /// What is run, or cannot be told.
    Closed,
}

const WITH_HOST: [&[u8]; 3] = [b"http", b"https", b"ftp"];
const WITHOUT: [&[u8]; 3] = [b"mailto", b"tel", b"sms"];

impl Url {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Url::Open)
    }

    /// Reads a byte as it is written. Of several URLs in one value, white space or a comma begins the next.
    ///
    /// What escapes and odd bytes stand for is not followed up: before the path they close the whole value.
    pub(super) fn read(&mut self, byte: u8, several: bool) {
        *self = match (*self, byte) {
            (Url::Closed, _) => Url::Closed,
            (_, b' ' | b'\t' | b'\n' | b'\x0c' | b'\r' | b',') if several => Url::Start,
            (_, b'&') if several => Url::Closed,
            (Url::Open, _) => Url::Open,
            (Url::Start, 1..=b' ') => Url::Start,
            (_, b'&' | b'\\' | ..=b' ') => Url::Closed,
            (Url::Start, b'A'..=b'Z' | b'a'..=b'z') => begun(byte),
            (Url::Start, b'/') => Url::Slash,
            (Url::Start, b'?' | b'#' | b'.' | b'0'..=b'9') => Url::Open,
            (Url::Start, _) => Url::Closed,
            (Url::Scheme(mut name), b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.') => {
                name.push(byte);
                Url::Scheme(name)
            }
            (Url::Scheme(name), b':') if name.is_one_of(&WITH_HOST) => Url::Host { begun: false },
            (Url::Scheme(name), b':') if !name.is_one_of(&WITHOUT) => Url::Closed,
            // Anything else there makes the URL a relative one.
            (Url::Scheme(_), _) => Url::Open,
            (Url::Slash | Url::Host { begun: false }, b'/') => Url::Host { begun: false },
            (Url::Slash, _) => Url::Open,
            (Url::Host { begun: true }, b'/' | b'?' | b'#') => Url::Open,
            (Url::Host { .. }, _) => Url::Host { begun: true },
        };
    }
}

fn begun(byte: u8) -> Url {
    let mut name = Name::default();
    name.push(byte);
    Url::Scheme(name)
}
