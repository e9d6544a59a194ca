//! A document of a response, read as it comes: what in it is shown otherwise.

use super::super::media::Media;
use super::super::rescue::{Code, Refusal};
use super::bind::Binds;
use super::dress::Worn;
use super::edit::{Edit, Otherwise};
use super::extension::Carried;
use super::file::{self, Judged, Part};
use super::judge::{judge, stray};
use super::links::links;
use super::removal::{Holds, is_required};
use super::response::{About, Plan, not_understood};
use super::shown::Shown;
use super::unfinished;
use crate::document::{Escape, Piece, Rewrite, Role, Slot, Step};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// What reads a document.
pub(super) struct Document {
    pub(super) rewriter: Box<dyn Rewrite>,
    pub(super) media: Media,
    /// What was found in what the rewriter has not let go yet.
    edits: Vec<Edit>,
    pub(super) base: usize,
    /// What the body holds, if values are taken out of it.
    holds: Option<Holds>,
    /// What it has let go of a line that has not ended, where values are taken out.
    kept: Vec<u8>,
    /// The objects that carry a sealed value, by their rules.
    carriers: HashSet<(Option<usize>, usize)>,
    /// The file under way, where it starts and what is done with it.
    file: Option<(usize, Judged)>,
    /// Whether the body is there whole.
    pub(super) whole: bool,
}

impl Document {
    /// Starts on one; `whole`: whether it is there whole, `holds`: what, if values are taken out of it.
    pub(super) fn begin(rewriter: Box<dyn Rewrite>, media: Media, whole: bool, holds: Option<Holds>) -> Self {
        let (edits, kept, carriers) = (Vec::new(), Vec::new(), HashSet::new());
        Self { rewriter, media, edits, base: 0, holds, kept, carriers, file: None, whole }
    }

    /// Plans for what the rewriter lets go of, as far as the input reaches; tells whether that is the end.
    pub(super) fn read(&mut self, about: About<'_>, binds: &Binds<'_>, plan: &mut Plan) -> Result<bool, Refusal> {
        let is_done = self.find(about, binds, plan)?;
        plan.resources.extend(&self.rewriter.take_resources());
        let mut part = self.rewriter.take_output();
        if self.holds == Some(Holds::Lines) {
            self.kept.append(&mut part);
            let lines = memchr::memrchr(b'\n', &self.kept).map_or(0, |end| end + 1);
            let rest = if is_done { Vec::new() } else { self.kept.split_off(lines) };
            part = std::mem::replace(&mut self.kept, rest);
        }
        plan.holds = self.holds;
        let end = self.base + part.len();
        plan.base = self.base;
        plan.fhir = self.media.fhir && self.whole;
        plan.edits.extend(self.edits.extract_if(.., |edit| edit.range.end <= end).map(|edit| edit.moved(plan.base)));
        plan.body = part.into();
        self.base = end;
        self.carriers.retain(|(_, at)| *at >= end);
        Ok(is_done)
    }

    fn find(&mut self, about: About<'_>, binds: &Binds<'_>, plan: &mut Plan) -> Result<bool, Refusal> {
        let protected = about.protected;
        loop {
            match self.rewriter.step().map_err(|fault| not_understood(&fault))? {
                Step::Slot => {
                    let slot = self.rewriter.slot().ok_or_else(unfinished)?;
                    let range = place_of(&slot)?;
                    let rule = slot.rule().and_then(|index| protected.field(index));
                    if let Some(piece) = slot.piece() {
                        self.edits.extend(part_of((about, binds), (&slot, piece), &mut self.file, plan)?);
                    } else if protected.is_expression(&slot) {
                        let found = links(about, slot.raw());
                        self.edits.extend(found.into_iter().map(|link| link.edit(None, range.start, Escape::HtmlUrl)));
                    } else if slot.role() != Role::Companion {
                        let (judged, otherwise) = match rule {
                            None => (stray(about, &slot), Otherwise::Keep),
                            Some(rule) => judge(about, rule, binds, &slot)?,
                        };
                        if let (Some(rule), Some((_, action, _))) = (slot.rule().filter(|_| rule.is_some()), &judged) {
                            plan.met.push((rule, *action));
                        }
                        match judged {
                            None => {}
                            Some((class, action, None)) => plan.fields.push((class, action)),
                            Some((class, action, Some(shown))) => {
                                let written = slot.rule().and_then(|number| protected.written.get(number));
                                let stays = matches!(shown, Shown::Removed) && written.is_some_and(is_required);
                                let shown = if stays { Shown::Redacted } else { shown };
                                let carried = carried(&slot)?;
                                if carried.is_some_and(|carried| !self.carriers.insert((slot.rule(), carried.beside))) {
                                    return Err(Refusal::from(Code::ResponseUnopenable)
                                        .because("a value that is carried twice"));
                                }
                                let worn = rule.zip(slot.text());
                                let worn =
                                    worn.map_or(Worn::Bare, |(rule, text)| Worn::off(rule.form_at(&slot), text).0);
                                let (head, again, escape, told) = (None, None, slot.escape(), (class, action));
                                self.edits.push(Edit {
                                    head,
                                    range,
                                    escape,
                                    worn,
                                    carried,
                                    told,
                                    shown,
                                    again,
                                    otherwise,
                                });
                            }
                        }
                    }
                    self.rewriter.keep();
                }
                Step::Done => return Ok(true),
                Step::NeedInput => return Ok(false),
            }
        }
    }
}

/// What is done with a file that is a part of the body, once its last piece is there.
fn part_of(
    (about, binds): (About<'_>, &Binds<'_>),
    (slot, piece): (&Slot<'_>, Piece),
    file: &mut Option<(usize, Judged)>,
    plan: &mut Plan,
) -> Result<Option<Edit>, Refusal> {
    let rule = slot.rule().and_then(|number| Some((number, about.protected.field(number)?)));
    let Some((number, rule)) = rule else { return Ok(None) };
    let (class, range) = (rule.class.class, place_of(slot)?);
    let refused = |refusal: Refusal| refusal.at("file", &rule.place);
    if piece.first {
        let judged = file::judge(about, rule, (slot.raw(), piece.last)).map_err(refused)?;
        *file = Some((range.start, judged.ok_or(Code::Internal)?));
    }
    if !piece.last {
        return Ok(None);
    }
    let (start, judged) = file.take().ok_or(Code::Internal)?;
    let action = judged.action();
    plan.met.push((number, action));
    let Judged::Opened(head, from) = judged else {
        plan.fields.push((class, action));
        return Ok(None);
    };
    let bound = binds.of_body(rule).map_err(|error| refused(Refusal::from(Code::ResponseUnopenable).because(error)))?;
    Ok(Some(Edit {
        head: None,
        range: start..range.end,
        escape: Escape::File,
        worn: Worn::Bare,
        carried: None,
        told: (class, action),
        shown: Shown::File(Box::new(Part::new(head, from, bound))),
        again: None,
        otherwise: Otherwise::Refuse("file", Arc::clone(&rule.place)),
    }))
}

fn place_of(slot: &Slot<'_>) -> Result<Range<usize>, Refusal> {
    let place = |at: u64| usize::try_from(at).map_err(|_| Code::Internal);
    Ok(place(slot.range().start)?..place(slot.range().end)?)
}

/// Where a sealed value in an extension is carried.
fn carried(slot: &Slot<'_>) -> Result<Option<Carried>, Refusal> {
    if slot.role() != Role::Carried {
        return Ok(None);
    }
    let start = |up| slot.around(up).and_then(|at| usize::try_from(at).ok());
    let carried = start(0).zip(start(1)).zip(start(2)).map(|((entry, list), beside)| Carried { entry, list, beside });
    let carried = carried.filter(|_| slot.is_listed(1));
    carried.map(Some).ok_or_else(|| Refusal::from(Code::ResponseUnopenable).because("a sealed extension in no list"))
}
