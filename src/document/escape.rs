//! How a value is written at one place of a body.

use super::{csv, form, hl7v2, html, json, multipart, text, x12, xml};

/// How a value is written where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Escape {
    /// A JSON value.
    Json,
    /// A name or value of `application/x-www-form-urlencoded`, written as WHATWG URL 5.2 says.
    Form,
    /// A name or value in the query of a URL: all escaped but what RFC 3986 2.3 calls unreserved.
    Query,
    /// The content of a field of `multipart/form-data`: UTF-8 as it is. That it does not hold the boundary is checked when it
    /// is put in the place of the slot.
    Multipart,
    /// A name or file name in the header of a part, with its quotes. There is no escape that all servers read alike, so
    /// quotes, backslashes, control characters and what looks like an escape are not writable.
    MultipartName,
    /// A piece of a file: any bytes as they are, likewise without the boundary.
    File,
    /// A field of CSV (RFC 4180).
    Csv {
        /// What separates fields.
        delimiter: u8,
        /// Whether the field was quoted.
        quoted: bool,
        /// Whether it is the only one of its row, so that an empty one must not leave a blank line.
        alone: bool,
    },
    /// A part of an HL7 v2 segment.
    Hl7 {
        /// Those of the message.
        delimiters: hl7v2::Delimiters,
        /// What part it is.
        level: hl7v2::Level,
    },
    /// A part of an X12 segment; there are no escapes.
    X12 {
        /// Those of the interchange.
        delimiters: x12::Delimiters,
        /// Whether it is an element, which may hold components as written, or a component.
        level: x12::Level,
    },
    /// Text in an XML element. What XML 1.0 cannot hold cannot be written.
    XmlText,
    /// The value of an XML attribute, without its quotes.
    XmlAttribute {
        /// The quotes.
        quote: u8,
    },
    /// Markup in an XML element: what is not well-formed cannot be written.
    XmlMarkup,
    /// XML where nothing can be written: a name, a comment, a processing instruction.
    XmlFixed,
    /// Plain text, as it is. NUL and lone surrogates cannot be written.
    Plain,
    /// Text between HTML tags, or in a `title` or `textarea`. NUL and lone surrogates cannot be written.
    HtmlText,
    /// The same right after the start tag of a `textarea`, `pre` or `listing`, where readers drop a line feed.
    HtmlFirstText,
    /// A part of a quoted HTML attribute value. NUL and lone surrogates cannot be written.
    HtmlAttribute,
    /// A part of an unquoted one. The empty text cannot be written either.
    HtmlUnquoted,
    /// A part of a URL in an HTML attribute, percent-encoded. Lone surrogates, `.` and `..` cannot be written.
    HtmlUrl,
    /// A part of a string literal of JavaScript or JSON in an HTML `script`.
    JsString,
}

/// The format has no way to write a value at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be written in this format at this place")]
pub struct NotWritable;

impl Escape {
    /// Writes a text (WTF-8) as it stands in the body.
    ///
    /// # Errors
    ///
    /// [`NotWritable`], where the format has no escape for one of its characters.
    pub fn text(self, text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
        match self {
            Self::Json => {
                json::quote(text_wtf8, out);
                Ok(())
            }
            Self::Form => form::write_form(text_wtf8, out),
            Self::Query => form::write_query(text_wtf8, out),
            Self::Multipart => multipart::write_text(text_wtf8, out),
            Self::MultipartName => multipart::write_name(text_wtf8, out),
            Self::File => {
                out.extend_from_slice(text_wtf8);
                Ok(())
            }
            Self::Csv { delimiter, quoted, alone } => csv::write(text_wtf8, delimiter, quoted, alone, out),
            Self::Hl7 { delimiters, level } => hl7v2::write(text_wtf8, &delimiters, level, out),
            Self::X12 { delimiters, level } => x12::write(text_wtf8, &delimiters, level, out),
            Self::XmlText => xml::write_text(text_wtf8, out),
            Self::XmlAttribute { quote } => xml::write_attribute(text_wtf8, quote, out),
            Self::XmlMarkup => xml::write_markup(text_wtf8, out),
            Self::XmlFixed => Err(NotWritable),
            Self::Plain => text::plain(text_wtf8, out),
            Self::HtmlText => html::escape::text(text_wtf8, out),
            Self::HtmlFirstText => html::escape::first_text(text_wtf8, out),
            Self::HtmlAttribute => html::escape::attribute(text_wtf8, out),
            Self::HtmlUnquoted => html::escape::unquoted(text_wtf8, out),
            Self::HtmlUrl => html::escape::url(text_wtf8, out),
            Self::JsString => html::escape::js_string(text_wtf8, out),
        }
    }

    /// Writes a JSON literal: as it is in JSON, as text elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Escape::text`].
    pub fn literal(self, literal: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
        match self {
            Self::Json => {
                out.extend_from_slice(literal);
                Ok(())
            }
            _ => self.text(literal, out),
        }
    }
}
