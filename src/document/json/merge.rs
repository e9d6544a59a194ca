//! What a merge patch (RFC 7396) says of the object that it is merged into, which is not there to be asked. Inside of
//! arrays there is nothing to tell: they are replaced whole.

use super::shape::parts;
use super::text::unquote;
use super::{NEEDS_CONTEXT, OTHER_TYPE};

/// What is known of the document that is patched.
pub(super) struct Merge {
    /// The type of the resource that it is.
    resource: Option<Box<[u8]>>,
}

impl Merge {
    pub(super) fn of(resource: Option<&str>) -> Merge {
        Merge { resource: resource.map(|name| name.as_bytes().into()) }
    }

    /// Refuses an object of the patch, at `at`, unless it holds all that the rules ask for: the texts to which `wanted`
    /// lead, and the type of the resource if it is a `place` of one. That of the whole document is known.
    pub(super) fn check<'a>(
        &self,
        view: &[u8],
        at: usize,
        is_top: bool,
        is_place: bool,
        kind: &mut Option<Vec<u8>>,
        mut wanted: impl Iterator<Item = &'a Vec<Box<[u8]>>>,
    ) -> Result<(), &'static str> {
        match (&kind, &self.resource) {
            (Some(says), Some(known)) if is_top && is_place && **says != **known => return Err(OTHER_TYPE),
            (None, Some(known)) if is_top && is_place => *kind = Some(known.to_vec()),
            (None, _) if is_place => return Err(NEEDS_CONTEXT),
            _ => {}
        }
        if wanted.all(|names| settles(view, at, names)) { Ok(()) } else { Err(NEEDS_CONTEXT) }
    }
}

/// Whether it is the patch alone that tells what stands at the end of `names`, once the object at `at` of it is merged.
/// An object is merged into what was there, anything else takes its place.
fn settles(document: &[u8], at: usize, names: &[Box<[u8]>]) -> bool {
    let mut at = at;
    for name in names {
        if document.get(at) != Some(&b'{') {
            return true;
        }
        let Some((members, _)) = parts(document, at) else { return false };
        let is_named = |literal| document.get(literal).and_then(unquote).is_some_and(|found| *found == **name);
        let Some(member) = members.into_iter().find(|member| is_named(member.name.clone())) else { return false };
        at = member.value.start;
    }
    true
}
