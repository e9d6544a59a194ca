//! URLs of responses, in header fields and in documents: what a search looked for stands in them again, sealed.

use super::super::Gate;
use super::super::rescue::{Code, Refusal};
use super::super::rule::{ClassRule, Treatment};
use super::super::target;
use super::dress::Worn;
use super::edit::{Edit, Otherwise};
use super::judge::{shown, token};
use super::response::{About, Plan};
use super::shown::Shown;
use crate::audit::event::FieldAction;
use crate::document::Escape;
use crate::policy::View;
use crate::seal::token::holds_token;
use crate::seal::{Class, Kind, Token};
use bytes::Bytes;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use memchr::memmem;
use std::ops::Range;

/// A part of a URL that is shown otherwise.
pub(super) struct Link {
    pub(super) range: Range<usize>,
    pub(super) class: Class,
    pub(super) action: FieldAction,
    pub(super) shown: Shown,
    /// Whether the value before it in the same list may have been the same, sealed as another class: where the list began anew.
    pub(super) again: Option<usize>,
}

impl Link {
    /// What becomes of it in a text, in which the URL starts at `start`.
    pub(super) fn edit(self, head: Option<usize>, start: usize, escape: Escape) -> Edit {
        let Link { range, class, action, shown, again } = self;
        // A part of a text cannot be taken out of the document that the text is in.
        let shown = if matches!(shown, Shown::Removed) { Shown::Redacted } else { shown };
        Edit {
            head,
            range: start + range.start..start + range.end,
            escape,
            worn: Worn::Bare,
            carried: None,
            told: (class, action),
            shown,
            again: again.map(|end| start + end),
            otherwise: Otherwise::Keep,
        }
    }
}

const MARK: &[u8] = b"sgv1.";

impl Plan {
    /// Plans for what header fields hold.
    pub(super) fn find_in_headers(
        &mut self,
        gate: &Gate,
        about: About<'_>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        for name in [LOCATION, CONTENT_LOCATION, LINK] {
            for value in headers.get_all(&name) {
                let found = match name {
                    LINK => links(about, value.as_bytes()),
                    _ => location(gate, about, value.as_bytes()),
                };
                self.head(&name, value, Escape::HtmlUrl, found);
            }
        }
        for (name, field) in &about.protected.headers {
            let rule = about.protected.field(*field).ok_or(Code::Internal)?;
            for value in headers.get_all(name).iter().filter(|value| !value.is_empty()) {
                let refused = |refusal: Refusal| Refusal { detail: Some(format!("header {name}")), ..refusal };
                let link = whole(about, &rule.class, value.as_bytes()).map_err(refused)?;
                self.met.push((*field, link.action));
                if let Link { shown: Shown::Kept, class, action, .. } = link {
                    self.fields.push((class, action));
                } else {
                    self.head(name, value, Escape::Plain, vec![link]);
                }
            }
        }
        Ok(())
    }

    /// Shows parts of a header field otherwise.
    fn head(&mut self, name: &HeaderName, value: &HeaderValue, escape: Escape, found: Vec<Link>) {
        if !found.is_empty() {
            self.heads.push((name.clone(), Bytes::copy_from_slice(value.as_bytes())));
            let head = Some(self.heads.len() - 1);
            self.edits.extend(found.into_iter().map(|link| link.edit(head, 0, escape)));
        }
    }
}

/// The tokens of a URL, and the values of formats in its query that rules name.
pub(super) fn links(about: About<'_>, url: &[u8]) -> Vec<Link> {
    let mut links: Vec<Link> = memmem::find_iter(url, MARK).filter_map(|at| of_token(about, url, at)).collect();
    let ranges: Vec<Range<usize>> = links.iter().map(|link| link.range.clone()).collect();
    for (link, before) in links.iter_mut().skip(1).zip(&ranges) {
        link.again = again(url, before, &link.range);
    }
    for (range, field) in of_formats(about, url) {
        links.extend(formatted(about, url, range, field));
    }
    links
}

/// Likewise of a URL that tells where something is: the values of formats in a path that a route has rules for.
pub(super) fn location(gate: &Gate, about: About<'_>, url: &[u8]) -> Vec<Link> {
    let mut links = links(about, url);
    let Ok(text) = std::str::from_utf8(url) else { return links };
    let path_start =
        text.find("://").map_or(Some(0), |scheme| text.get(scheme + 3..)?.find('/').map(|at| scheme + 3 + at));
    let Some(path) = path_start.and_then(|start| text.get(start..)) else { return links };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let Some((route, protected)) = gate.routes.of_path(path) else { return links };
    for (name, field) in &protected.segments {
        let Some(value) = route.template.parameter(name, path) else { continue };
        let start = value.as_ptr().addr() - text.as_ptr().addr();
        let about = About { protected, ..about };
        links.extend(formatted(about, url, start..start + value.len(), *field));
    }
    links
}

/// The value of a header field that a rule names, which is all of one class; [`Shown::Kept`]: it stays.
///
/// # Errors
/// As of a value in a body.
pub(super) fn whole(about: About<'_>, class: &ClassRule, value: &[u8]) -> Result<Link, Refusal> {
    let (range, view) = (0..value.len(), about.permit.view(class.class));
    let link = |(action, shown): (FieldAction, Option<Shown>)| {
        let shown = shown.unwrap_or(Shown::Kept);
        Link { range, class: class.class, action, shown, again: None }
    };
    if holds_token(value) {
        return token(about, class, view, value).map(link);
    }
    if let Treatment::Format(alphabet) = class.treatment {
        if !alphabet.admits(value) {
            return Err(Refusal::from(Code::ResponseUnopenable).because("a value that is not of its format"));
        }
        let text = value.to_vec();
        let formatted = |mask| Shown::Formatted { class: class.class, alphabet, text, mask, key: None };
        let (_, action, shown) = shown(class, view, formatted);
        return Ok(link((action, shown)));
    }
    if !about.protected.shows_unsealed {
        return Err(Code::ResponseUnsealed.into());
    }
    Ok(link(match view {
        View::Plain => (FieldAction::Unsealed, None),
        View::Mask => {
            (FieldAction::Masked, Some(Shown::Masked { rule: class.mask, kind: Kind::Text, text: value.to_vec() }))
        }
        View::Redact | View::Remove | View::Deny | View::Sealed => (FieldAction::Redacted, Some(Shown::Redacted)),
    }))
}

/// Whether two values stand in one list behind the same words (`system|a,system|b`); gives where the first one ends.
fn again(url: &[u8], before: &Range<usize>, at: &Range<usize>) -> Option<usize> {
    let prefix = url.get(before.end..at.start)?.strip_prefix(b",")?;
    let first = url.get(..before.start)?.strip_suffix(prefix)?;
    matches!(first.last(), Some(b'=' | b',')).then_some(before.end)
}

fn of_token(about: About<'_>, url: &[u8], at: usize) -> Option<Link> {
    let before = url.get(..at)?;
    // An escaped delimiter ends in digits.
    let is_escape = matches!(before, [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    if before.last().is_some_and(is_of_token) && !is_escape {
        return None;
    }
    let length = url.get(at + MARK.len()..)?.iter().take_while(|byte| is_of_token(byte) && **byte != b'.').count();
    let range = at..at + MARK.len() + length;
    let text = url.get(range.clone())?;
    let named = Token::read(text).ok()?.head().class;
    let class = class(about, named)?;
    let (action, shown) = token(about, &class, about.permit.view(named), text).ok()?;
    Some(Link { range, class: named, action, shown: shown?, again: None })
}

fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// A class of that name that the route knows.
fn class(about: About<'_>, name: Class) -> Option<ClassRule> {
    let ruled = about.protected.fields.iter().flatten().map(|rule| rule.class);
    let anywhere = about.protected.opens_anywhere.iter().flat_map(|classes| classes.iter().copied());
    ruled.chain(anywhere).find(|class| class.class == name)
}

/// Values of parameters of a query whose class keeps formats, with their rules.
fn of_formats(about: About<'_>, url: &[u8]) -> Vec<(Range<usize>, usize)> {
    let mut found = Vec::new();
    let Some(question) = memchr::memchr(b'?', url) else { return found };
    let mut start = question + 1;
    for pair in url.get(start..).unwrap_or_default().split(|byte| matches!(byte, b'&' | b'#')) {
        let name =
            memchr::memchr(b'=', pair).and_then(|end| pair.get(..end)).and_then(|name| std::str::from_utf8(name).ok());
        if let Some(name) = name
            && let Some(field) = about.protected.searches.field(name)
        {
            found.push((start + name.len() + 1..start + pair.len(), field));
        }
        start += pair.len() + 1;
    }
    found
}

fn formatted(about: About<'_>, url: &[u8], range: Range<usize>, field: usize) -> Option<Link> {
    let class = about.protected.field(field)?.class;
    let Treatment::Format(alphabet) = class.treatment else { return None };
    let text = target::decode(std::str::from_utf8(url.get(range.clone())?).ok()?);
    if !alphabet.admits(&text) {
        return None;
    }
    let formatted = |mask| Shown::Formatted { class: class.class, alphabet, text, mask, key: None };
    let (class, action, shown) = shown(&class, about.permit.view(class.class), formatted);
    Some(Link { range, class, action, shown: shown?, again: None })
}
