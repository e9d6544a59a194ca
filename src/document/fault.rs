//! Why a document is refused.

/// Why a document is refused: an offset in bytes from the start of the body and a reason, never content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The grammar of the format wants something else here.
    #[error("unexpected byte at offset {offset}: wanted {wanted}")]
    UnexpectedByte {
        /// Where, in bytes.
        offset: u64,
        /// What the grammar allows at this place.
        wanted: &'static str,
    },
    /// The body ends before the document does, or is empty.
    #[error("unexpected end at offset {offset}")]
    UnexpectedEnd {
        /// The length of the body, in bytes.
        offset: u64,
    },
    /// A control character stands where the format has none, such as unescaped in a JSON string.
    #[error("control character at offset {offset}")]
    ControlCharacter {
        /// Where, in bytes.
        offset: u64,
    },
    /// What starts an escape is none of those that the format has.
    #[error("bad escape at offset {offset}")]
    BadEscape {
        /// Where it starts, in bytes.
        offset: u64,
    },
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at offset {offset}")]
    NotUtf8 {
        /// Where, in bytes.
        offset: u64,
    },
    /// The document is in another encoding than UTF-8, or says so.
    #[error("document in another encoding: wanted UTF-8")]
    WrongEncoding,
    /// More objects, arrays or elements are open at once than allowed.
    #[error("document deeper than {max} at offset {offset}")]
    TooDeep {
        /// Where, in bytes.
        offset: u64,
        /// `depth_max`.
        max: usize,
    },
    /// A name is longer than allowed.
    #[error("name at offset {offset} longer than {max} bytes")]
    NameTooLong {
        /// Where the name starts, in bytes.
        offset: u64,
        /// `name_bytes_max`.
        max: usize,
    },
    /// The document breaks a rule that no single byte breaks, or uses what is not accepted here.
    #[error("{what} at offset {offset}")]
    Unaccepted {
        /// Where, in bytes.
        offset: u64,
        /// What it is: a fixed text.
        what: &'static str,
    },
    /// A value that has to be yielded is longer than allowed.
    #[error("value at offset {offset} longer than {max} bytes")]
    ValueTooLong {
        /// Where the value starts, in bytes.
        offset: u64,
        /// `value_bytes_max`.
        max: usize,
    },
}

impl Fault {
    /// A stable name for logs, metrics and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::UnexpectedByte { .. } => "unexpected_byte",
            Fault::UnexpectedEnd { .. } => "unexpected_end",
            Fault::ControlCharacter { .. } => "control_character",
            Fault::BadEscape { .. } => "bad_escape",
            Fault::NotUtf8 { .. } => "not_utf8",
            Fault::WrongEncoding => "wrong_encoding",
            Fault::TooDeep { .. } => "too_deep",
            Fault::NameTooLong { .. } => "name_too_long",
            Fault::ValueTooLong { .. } => "value_too_long",
            Fault::Unaccepted { .. } => "unaccepted",
        }
    }
}
