//! The same in XML, where the extensions stand in the element of the primitive.

use super::super::super::rescue::Code;
use super::super::super::rule::SEALED_URL;
use super::super::edits::Edits;
use super::REASON_URL;
use crate::document::xml::{Element, element};
use std::ops::Range;

/// Puts the value of the primitive that starts at `primitive` away: `value` is where it stands, `token` the text of an attribute.
pub(in super::super) fn put_away(
    body: &[u8],
    (primitive, value): (usize, &Range<usize>),
    token: &[u8],
    edits: &mut Edits,
) -> Result<(), Code> {
    let tag = start_tag(body, primitive)?;
    let attribute = tag.attributes.iter().find(|attribute| attribute.value == *value).ok_or(Code::Internal)?;
    edits.delete(attribute.whole.clone());
    let prefix = prefix(body, &tag.name)?;
    let sealed = extension(prefix, SEALED_URL.as_bytes(), (b"valueString", token));
    let extensions = [sealed, extension(prefix, REASON_URL.as_bytes(), (b"valueCode", b"masked"))].concat();
    if tag.close.len() == 1 {
        edits.insert(tag.close.end, extensions);
    } else {
        let name = body.get(tag.name).ok_or(Code::Internal)?;
        edits.replace(tag.close, [b">", &extensions[..], b"</", name, b">"].concat());
    }
    Ok(())
}

/// Puts a value, as the text of an attribute, back into the primitive that starts at `primitive`, from its extension at `entry`.
pub(in super::super) fn put_back(
    body: &[u8],
    (primitive, entry): (usize, usize),
    value: &[u8],
    edits: &mut Edits,
) -> Result<(), Code> {
    let whole = element(body, primitive).ok_or(Code::Internal)?;
    let begin = whole.attributes.last().map_or(whole.name.end, |attribute| attribute.whole.end);
    edits.insert(begin, [b" value=\"", value, b"\""].concat());
    let is_ours = |child: &&Range<usize>| child.start == entry || is_reason(body, child.start);
    let ours: Vec<_> = whole.children.iter().filter(is_ours).collect();
    let end_tag = body.get(..whole.end).and_then(|body| memchr::memrchr(b'<', body)).ok_or(Code::Internal)?;
    let starts = whole.children.iter().map(|child| child.start).chain([end_tag]);
    let ends = std::iter::once(whole.close.end).chain(whole.children.iter().map(|child| child.end));
    let is_blank = |(end, start)| body.get(end..start).is_some_and(|gap: &[u8]| gap.trim_ascii().is_empty());
    if ours.len() == whole.children.len() && ends.zip(starts).all(is_blank) {
        edits.replace(whole.close.start..whole.end, b"/>".to_vec());
    } else {
        ours.into_iter().for_each(|child| edits.delete(child.clone()));
    }
    Ok(())
}

/// Leaves a mark in the place of the extension at `entry`, which may declare a prefix of its own: the mark has that of the primitive.
pub(in super::super) fn hide(
    body: &[u8],
    (primitive, entry): (usize, usize),
    url: &[u8],
    edits: &mut Edits,
) -> Result<(), Code> {
    let whole = element(body, entry).ok_or(Code::Internal)?;
    let mark = extension(prefix(body, &start_tag(body, primitive)?.name)?, url, (b"valueBoolean", b"true"));
    edits.replace(entry..whole.end, mark);
    Ok(())
}

fn extension(prefix: &[u8], url: &[u8], (name, value): (&[u8], &[u8])) -> Vec<u8> {
    let parts: [&[u8]; 12] = [
        b"<",
        prefix,
        b"extension url=\"",
        url,
        b"\"><",
        prefix,
        name,
        b" value=\"",
        value,
        b"\"/></",
        prefix,
        b"extension>",
    ];
    parts.concat()
}

/// Only the start tag of an element need be there.
fn start_tag(body: &[u8], at: usize) -> Result<Element, Code> {
    crate::document::xml::start_tag(body, at).ok_or(Code::Internal)
}

/// The prefix of a name, with its colon.
fn prefix<'b>(body: &'b [u8], name: &Range<usize>) -> Result<&'b [u8], Code> {
    let name = body.get(name.clone()).ok_or(Code::Internal)?;
    let end = memchr::memchr(b':', name).map_or(0, |colon| colon + 1);
    name.get(..end).ok_or(Code::Internal)
}

/// Whether the element at `at` is the reason that stands beside a sealed value.
fn is_reason(body: &[u8], at: usize) -> bool {
    let says = |whole: &Element, name: &[u8], value: &[u8]| match whole.attributes.as_slice() {
        [only] => body.get(only.name.clone()) == Some(name) && body.get(only.value.clone()) == Some(value),
        _ => false,
    };
    let Some(whole) = element(body, at) else { return false };
    let [child] = whole.children.as_slice() else { return false };
    let Some(child) = element(body, child.start) else { return false };
    let name = body.get(child.name.clone()).unwrap_or_default();
    let local = name.rsplit(|byte| *byte == b':').next();
    says(&whole, b"url", REASON_URL.as_bytes()) && local == Some(b"valueCode") && says(&child, b"value", b"masked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(document: &str, what: &str) -> usize {
        document.find(what).unwrap_or_else(|| panic!("no {what} in {document}"))
    }

    fn made(document: &str, edits: Edits) -> String {
        String::from_utf8(edits.make(document.as_bytes()).unwrap()).unwrap()
    }

    fn away(document: &str) -> String {
        let (mut edits, value) = (Edits::default(), find(document, "1974"));
        put_away(document.as_bytes(), (find(document, "<b"), &(value..value + 4)), b"T", &mut edits).unwrap();
        made(document, edits)
    }

    fn back(document: &str) -> String {
        let mut edits = Edits::default();
        let sealed = find(document, "urn:sealgate:sealed");
        let at = (find(document, "<b"), document[..sealed].rfind('<').unwrap());
        put_back(document.as_bytes(), at, b"1974", &mut edits).unwrap();
        made(document, edits)
    }

    #[test]
    fn a_value_goes_and_comes_back() {
        for (document, want) in [
            ("<p><b value=\"1974\"/></p>", None),
            ("<p><b id=\"x\" value=\"1974\"/></p>", None),
            ("<b value='1974' id='x'/>", Some("<b id='x' value=\"1974\"/>")),
            ("<b value=\"1974\" ></b>", Some("<b value=\"1974\" />")),
            ("<b value=\"1974\"><extension url=\"u\"/></b>", None),
            ("<b value=\"1974\">\n <!-- x -->\n</b>", None),
            ("<b \n value = \"1974\" />", Some("<b value=\"1974\" />")),
        ] {
            let sealed = away(document);
            let extensions = "<extension url=\"urn:sealgate:sealed\"><valueString value=\"T\"/></extension><extension \
                url=\"http://hl7.org/fhir/StructureDefinition/data-absent-reason\"><valueCode value=\"masked\"/></extension>";
            assert!(sealed.contains(&format!(">{extensions}")) && !sealed.contains("1974"), "{sealed}");
            assert_eq!(back(&sealed), want.unwrap_or(document), "{sealed}");
        }
        let prefixed = away("<f:b value=\"1974\"/>".replace("<f:b", "<bf:b").as_str());
        assert!(
            prefixed.starts_with("<bf:b><bf:extension url") && prefixed.ends_with("</bf:extension></bf:b>"),
            "{prefixed}"
        );
        assert_eq!(back(&prefixed), "<bf:b value=\"1974\"/>");
    }

    #[test]
    fn what_others_put_beside_a_value_stays() {
        let reason = format!("<extension url='{REASON_URL}'><valueCode value='masked'/></extension>");
        let other = format!("<extension url='{REASON_URL}'><valueCode value='unknown'/></extension>");
        let sealed = "<extension id='1' url='urn:sealgate:sealed'><valueString value='T'/></extension>";
        let document = format!("<b><extension url='a'/>{sealed}<extension url='b'/>{reason}{other}</b>");
        let want = format!("<b value=\"1974\"><extension url='a'/><extension url='b'/>{other}</b>");
        assert_eq!(back(&document), want);
    }

    #[test]
    fn a_mark_stands_where_the_value_was() {
        let document = "<f:b><g:extension xmlns:g='x' url='urn:sealgate:sealed'><g:valueString value='T'/></g:extension><x/></f:b>";
        let mut edits = Edits::default();
        hide(document.as_bytes(), (0, 5), b"urn:x", &mut edits).unwrap();
        let want = "<f:b><f:extension url=\"urn:x\"><f:valueBoolean value=\"true\"/></f:extension><x/></f:b>";
        assert_eq!(made(document, edits), want);
    }
}
