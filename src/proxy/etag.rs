//! Entity tags (RFC 9110 8.8.3). What a caller gets depends on his views and on the rules, and so does its tag: the upstream's
//! with a suffix. Conditions come back without it; those on a tag of another view do not go on in reads.

use super::rule::Protected;
use crate::policy::Permit;
use crate::seal::crypto::sha256;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use std::fmt::Write as _;

/// What the tags of one view end with.
pub(super) struct Suffix(String);

/// Starts a suffix.
const START: &str = "~sg";

impl Suffix {
    /// That of what the caller gets of documents of a route.
    pub(super) fn of(protected: &Protected, permit: &Permit) -> Suffix {
        let anywhere = protected.opens_anywhere.iter().flat_map(|all| all.iter().map(|rule| rule.class));
        let mut views = permit.scope().to_string();
        for class in protected.classes.iter().copied().chain(anywhere) {
            // A text takes all of it.
            let _written = write!(views, "\n{class} {:?}", permit.view(class));
        }
        let digest = sha256(&[&protected.stamp, views.as_bytes()]);
        let hex = digest.iter().take(6).fold(START.to_owned(), |mut text, byte| {
            let _written = write!(text, "{byte:02x}");
            text
        });
        Suffix(hex)
    }

    /// Has the client get tags of its view.
    pub(super) fn to_client(&self, headers: &mut HeaderMap) {
        let add = |value: &HeaderValue| {
            let tag = value.to_str().ok()?;
            let opaque = tag.strip_suffix('"')?;
            is_tag(tag).then(|| HeaderValue::try_from(format!("{opaque}{}\"", self.0)).ok())?
        };
        // Whoever has a tag that is none cannot ask by it.
        if let Some(tag) = headers.remove(ETAG)
            && let Some(tag) = add(&tag)
        {
            headers.insert(ETAG, tag);
        }
    }

    /// Has the upstream get its own tags in conditions. Reads ask again for what they have in another view: nothing tells
    /// then that the body is the same.
    pub(super) fn to_upstream(&self, headers: &mut HeaderMap, reads: bool) {
        self.strip(headers, &IF_MATCH, false);
        self.strip(headers, &IF_NONE_MATCH, reads);
    }

    fn strip(&self, headers: &mut HeaderMap, name: &HeaderName, only_own: bool) {
        let Some(values) = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Option<Vec<_>>>()
        else {
            // No condition that is not understood is taken for one that does not hold: the upstream refuses it.
            if only_own {
                headers.remove(name);
            }
            return;
        };
        if values.is_empty() {
            return;
        }
        let all = values.join(", ");
        let kept = tags(&all).map(|tags| {
            let kept = tags.into_iter().filter_map(|tag| match self.stripped(tag) {
                Some(own) => Some(own),
                None => (!only_own).then(|| tag.to_owned()),
            });
            kept.collect::<Vec<_>>().join(", ")
        });
        let kept = kept.unwrap_or(if only_own { String::new() } else { all });
        headers.remove(name);
        if !kept.is_empty()
            && let Ok(value) = HeaderValue::try_from(kept)
        {
            headers.insert(name, value);
        }
    }

    fn stripped(&self, tag: &str) -> Option<String> {
        Some(format!("{}\"", tag.strip_suffix('"')?.strip_suffix(&self.0)?))
    }
}

/// The tags in a list, or the `*` that stands for any; none if it is no such list.
fn tags(list: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(found);
        }
        let end = match rest.strip_prefix('*') {
            Some(_) => 1,
            None => {
                let start = if rest.starts_with("W/") { 2 } else { 0 };
                let opaque = rest.get(start..)?.strip_prefix('"')?;
                start + 2 + opaque.find('"')?
            }
        };
        let (tag, after) = rest.split_at_checked(end)?;
        if !matches!(after.trim_start_matches([' ', '\t']).chars().next(), None | Some(',')) {
            return None;
        }
        found.push(tag);
        rest = after;
    }
}

fn is_tag(text: &str) -> bool {
    tags(text).is_some_and(|tags| tags == [text]) && text != "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &HeaderName, values: &[&'static str], reads: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        Suffix("~sg0a".to_owned()).to_upstream(&mut headers, reads);
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn conditions_come_back_without_the_suffix() {
        for (values, reading, writing) in [
            (&["\"a~sg0a\""][..], &["\"a\""][..], &["\"a\""][..]),
            (&["W/\"a,b~sg0a\" ,\"c~sg0a\""], &["W/\"a,b\", \"c\""], &["W/\"a,b\", \"c\""]),
            (&["\"a~sg0b\", \"b~sg0a\", \"c\""], &["\"b\""], &["\"a~sg0b\", \"b\", \"c\""]),
            (&["\"a~sg0a\"", "\"b~sg0a\""], &["\"a\", \"b\""], &["\"a\", \"b\""]),
            (&["*"], &[], &["*"]),
            (&["W/\"3\""], &[], &["W/\"3\""]),
            (&["a~sg0a\""], &[], &["a~sg0a\""]),
            (&["\"a~sg0a\"x"], &[], &["\"a~sg0a\"x"]),
            (&["\"a~sg0a"], &[], &["\"a~sg0a"]),
            (&["w/\"a~sg0a\""], &[], &["w/\"a~sg0a\""]),
            (&[], &[], &[]),
        ] {
            assert_eq!(said(&IF_NONE_MATCH, values, true), reading, "{values:?}");
            assert_eq!(said(&IF_NONE_MATCH, values, false), writing, "{values:?}");
            assert_eq!(said(&IF_MATCH, values, true), writing, "{values:?}");
        }
    }

    #[test]
    fn tags_get_the_suffix() {
        for (tag, want) in [
            ("\"a\"", Some("\"a~sg0a\"")),
            ("W/\"3\"", Some("W/\"3~sg0a\"")),
            ("\"\"", Some("\"~sg0a\"")),
            ("3", None),
            ("\"a\", \"b\"", None),
            ("*", None),
        ] {
            let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_str(tag).unwrap())]);
            Suffix("~sg0a".to_owned()).to_client(&mut headers);
            assert_eq!(headers.get(ETAG).map(|value| value.to_str().unwrap()), want, "{tag}");
        }
    }
}
