//! What a sealed value wears in a document that checks its form: base64, or the `<div>` of a narrative. What it wore before it
//! was sealed stays on, or comes back with it.

use super::super::rescue::Code;
use super::super::rule::Form;
use crate::seal::token::holds_token;
use data_encoding::{BASE64, Encoding, Specification};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What is around a value.
pub(super) enum Worn {
    /// Nothing.
    Bare,
    /// Base64 (RFC 4648 4).
    Base64,
    /// What stands before and after it.
    Tags { before: Vec<u8>, after: Vec<u8> },
}

/// The white space that FHIR allows in base64.
static SPACED: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification: Specification = BASE64.specification();
    specification.ignore = " \t\r\n".to_owned();
    specification.encoding().ok()
});

/// The attributes that a narrative's `<div>` may have: none that shows a text.
const ATTRIBUTES: [&[u8]; 7] = [b"xmlns", b"lang", b"xml:lang", b"class", b"style", b"id", b"dir"];

impl Worn {
    /// Takes a value out of what is around it, where that is as the rule says; else it is bare.
    pub(super) fn off(form: Form, text: &[u8]) -> (Worn, Cow<'_, [u8]>) {
        match form {
            Form::Bare | Form::Extension => (Worn::Bare, text.into()),
            Form::Base64 => {
                // A value in the clear is sealed as it is written, so that it comes back so.
                let token = decoded(text).filter(|decoded| holds_token(decoded));
                (Worn::Base64, token.map_or(Cow::Borrowed(text), Cow::Owned))
            }
            Form::Xhtml => match div(text) {
                Some((before, inner, after)) => {
                    (Worn::Tags { before: before.to_vec(), after: after.to_vec() }, inner.into())
                }
                None => (Worn::Bare, text.into()),
            },
        }
    }

    /// Puts it on a text: a token, or what is shown in a value's place.
    pub(super) fn on<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        match self {
            Worn::Bare => text.into(),
            Worn::Base64 => BASE64.encode(text).into_bytes().into(),
            Worn::Tags { before, after } => [before, text, after].concat().into(),
        }
    }

    /// Puts it on a value that was sealed: base64 was sealed with it.
    pub(super) fn on_opened<'t>(&self, value: &'t [u8]) -> Cow<'t, [u8]> {
        match self {
            Worn::Base64 => value.into(),
            Worn::Bare | Worn::Tags { .. } => self.on(value),
        }
    }
}

/// Lets a value be sealed that is of the form that the rule says.
pub(super) fn check(form: Form, text: &[u8]) -> Result<(), Code> {
    let is_good = match form {
        Form::Bare | Form::Extension => true,
        Form::Base64 => decoded(text).is_some(),
        Form::Xhtml => div(text).is_some(),
    };
    if is_good { Ok(()) } else { Err(Code::ValueFormatMismatch) }
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    SPACED.as_ref()?.decode(text).ok()
}

/// A `<div>`: its start tag, what is inside, its end tag.
fn div(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let tag = text.trim_ascii_start().strip_prefix(b"<div")?;
    let inside = attributes(tag)?;
    let start = text.len() - inside.len();
    let end = inside.trim_ascii_end().strip_suffix(b"</div>")?;
    // Of one that ends before the last tag does, the rest would stay in the clear.
    let inner = only_child(end)?;
    let (before, _) = text.split_at_checked(start)?;
    Some((before, inner, inside.get(inner.len()..)?))
}

/// What follows a start tag of which the name was read.
fn attributes(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let name = rest.trim_ascii_start();
        if let Some(inside) = name.strip_prefix(b">") {
            return Some(inside);
        }
        let end = name.iter().position(|b| matches!(b, b'=' | b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/'))?;
        let (attribute, after) = name.split_at_checked(end)?;
        if name.len() == rest.len() || !ATTRIBUTES.contains(&attribute) {
            return None;
        }
        let value = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let (quote, value) = value.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        rest = value.get(memchr::memchr(*quote, value)? + 1..)?;
    }
}

/// The inside of a `<div>`, if no `</div>` in it is one too many.
fn only_child(inner: &[u8]) -> Option<&[u8]> {
    let mut open = 0_usize;
    for at in memchr::memchr_iter(b'<', inner) {
        let tag = inner.get(at + 1..)?;
        let (name, closes) = tag.strip_prefix(b"/").map_or((tag, false), |name| (name, true));
        let is_div = name.strip_prefix(b"div").is_some_and(|rest| !rest.first().is_some_and(is_name));
        if is_div && closes {
            open = open.checked_sub(1)?;
        } else if is_div && !is_empty_tag(tag) {
            open += 1;
        }
    }
    Some(inner)
}

fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':') || !byte.is_ascii()
}

/// Whether a tag ends in `/>`; attribute values in quotes may hold anything.
fn is_empty_tag(tag: &[u8]) -> bool {
    let (mut quote, mut last) = (None, 0);
    for byte in tag {
        match (quote, byte) {
            (None, b'>') => return last == b'/',
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), _) if open == *byte => quote = None,
            _ => {}
        }
        last = *byte;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_of_a_narrative_is_found() {
        for (text, want) in [
            ("<div xmlns=\"http://www.w3.org/1999/xhtml\">Peter</div>", Some("Peter")),
            ("<div>a<div>b</div>c</div>", Some("a<div>b</div>c")),
            (" <div class='x' lang=\"en\" ><p>a</p>\n</div>\n", Some("<p>a</p>\n")),
            ("<div>a<div class=\"/>\" />b</div>", Some("a<div class=\"/>\" />b")),
            ("<div>a<divx>b</divx></div>", Some("a<divx>b</divx>")),
            ("<div></div>", Some("")),
            ("<div title=\"Peter\">x</div>", None),
            ("<div\u{a0}>x</div>", None),
            ("<divx>x</div>", None),
            ("<div/>", None),
            ("<div lang=en>x</div>", None),
            ("<div lang=\"en>x</div>", None),
            ("<div lang=\"en\"class=\"a\">x</div>", None),
            ("<div>x", None),
            ("<div>x</div>y", None),
            ("<div>x</div><p>Peter</p><div>y</div>", None),
            ("Peter <div>x</div>", None),
            ("<!-- Peter --><div>x</div>", None),
            ("<p>x</p>", None),
            ("", None),
        ] {
            let found = div(text.as_bytes()).map(|(before, inner, after)| {
                assert_eq!([before, inner, after].concat(), text.as_bytes(), "{text}");
                String::from_utf8(inner.to_vec()).unwrap()
            });
            assert_eq!(found.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn what_was_put_on_comes_off() {
        let token = b"sgv1.AQ";
        for (form, value) in [
            (Form::Bare, "any"),
            (Form::Base64, "UGV0ZXI="),
            (Form::Base64, "UGV0\r\n ZXI="),
            (Form::Xhtml, "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Peter</p></div>"),
        ] {
            check(form, value.as_bytes()).unwrap();
            let (worn, inner) = Worn::off(form, value.as_bytes());
            let sealed = worn.on(token).into_owned();
            assert!(check(form, &sealed).is_ok(), "{value}");
            let (worn, found) = Worn::off(form, &sealed);
            assert_eq!(*found, *token, "{value}");
            assert_eq!(*worn.on_opened(&inner), *value.as_bytes(), "{value}");
        }
        for (form, value) in [(Form::Base64, "Peter!"), (Form::Base64, "UGV0ZXI"), (Form::Xhtml, "Peter")] {
            assert_eq!(check(form, value.as_bytes()), Err(Code::ValueFormatMismatch), "{value}");
        }
    }
}
