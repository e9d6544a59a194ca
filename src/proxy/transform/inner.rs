//! Objects and arrays that were sealed whole. Where a rule of another class selects something in one, opening it in the
//! view of its own class would show what the caller may not see. A request with such a value is refused; a response may
//! have one all the same, sealed under other rules, by a command or by a service itself.

use super::super::media::{self, Media};
use super::super::rescue::Refusal;
use super::response::{About, not_understood};
use super::unfinished;
use crate::document::{Limits, Step};
use crate::policy::View;
use crate::seal::{Class, Value};
use std::ops::Range;
use zeroize::Zeroizing;

/// As deep as any config lets a document nest.
const DEPTH_MAX: usize = 10_000;

/// An object or array of a response that was opened to be shown as it is.
pub(super) struct Whole {
    /// The number of its edit.
    pub(super) edit: usize,
    pub(super) class: Class,
    /// Where its token stands in the body.
    pub(super) range: Range<usize>,
    pub(super) value: Value,
}

/// Which of them, in the order of the body, hold a value of another class that the caller may not see as it is: by their
/// edits, with that class. Found by reading the body as it would be delivered, by the same rules.
///
/// # Errors
/// [`Refusal`] if it could not be read then.
pub(super) fn hidden(
    about: About<'_>,
    media: Option<&Media>,
    body: &[u8],
    wholes: &[Whole],
) -> Result<Vec<(usize, Class)>, Refusal> {
    let protected = about.protected;
    let is_hidden = |class: &Class| about.permit.view(*class) != View::Plain;
    let mut found: Vec<(usize, Class)> = Vec::new();
    if wholes.is_empty() || !protected.classes.iter().any(is_hidden) {
        return Ok(found);
    }
    // Of a body that is not there whole, or in which it is shown as a text, nobody can say what is in it.
    let json = media.filter(|media| media.format.is_json()).zip(protected.formats.json.as_ref());
    let Some((media, rules)) = json else {
        let mut classes = protected.classes.iter().filter(|class| is_hidden(class));
        let class = classes.next().copied();
        return Ok(class.into_iter().flat_map(|class| wholes.iter().map(move |whole| (whole.edit, class))).collect());
    };
    let Spliced { document, places } = spliced(body, wholes)?;
    // What was sealed elsewhere was sealed under other limits; the body as a whole has its own.
    let most = document.len();
    let limits = Limits { depth_max: DEPTH_MAX, value_bytes_max: most, object_bytes_max: most, name_bytes_max: most };
    let mut rewriter = media::rewriter(rules, &media.format, limits, None);
    rewriter.feed(&document);
    rewriter.finish();
    loop {
        match rewriter.step().map_err(|fault| not_understood(&fault))? {
            Step::Slot => {
                let slot = rewriter.slot().ok_or_else(unfinished)?;
                let start = slot.range().start;
                let at = places.partition_point(|place| place.end <= start);
                if let Some((place, whole)) = places.get(at).zip(wholes.get(at))
                    && place.start <= start
                    && found.last().is_none_or(|(edit, _)| *edit != whole.edit)
                {
                    let rules = slot.rule().into_iter().chain(slot.inner_rules().iter().copied());
                    let mut classes = rules.filter_map(|rule| protected.field(rule)).map(|rule| rule.class.class);
                    let inner = classes.find(|class| *class != whole.class && is_hidden(class));
                    found.extend(inner.map(|class| (whole.edit, class)));
                }
                rewriter.keep();
            }
            Step::Done => return Ok(found),
            Step::NeedInput => return Err(unfinished()),
        }
    }
}

/// The body with the values in it, and where each of them stands there.
struct Spliced {
    document: Zeroizing<Vec<u8>>,
    places: Vec<Range<u64>>,
}

fn spliced(body: &[u8], wholes: &[Whole]) -> Result<Spliced, Refusal> {
    let opened: usize = wholes.iter().map(|whole| whole.value.expose().len()).sum();
    let mut document = Zeroizing::new(Vec::with_capacity(body.len() + opened));
    let mut places = Vec::with_capacity(wholes.len());
    let mut at = 0;
    for whole in wholes {
        document.extend_from_slice(body.get(at..whole.range.start).ok_or_else(unfinished)?);
        let start = document.len() as u64;
        document.extend_from_slice(whole.value.expose());
        places.push(start..document.len() as u64);
        at = whole.range.end;
    }
    document.extend_from_slice(body.get(at..).ok_or_else(unfinished)?);
    Ok(Spliced { document, places })
}
