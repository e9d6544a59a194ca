//! A response body that is too long to be judged whole: read, opened and shown part by part, under the receipt for the record that
//! says so. What is done in later parts is added to the record of its end.

use super::super::Gate;
use super::super::body::BodyError;
use super::super::coverage::count;
use super::super::rescue::{Code, Refusal};
use super::super::route::{Protection, Route};
use super::super::trail::Completion;
use super::super::upstream::Lease;
use super::bind::Binds;
use super::response::{About, Plan, Reader, Rest, broken};
use crate::audit::Receipt;
use crate::policy::Permit;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::HeaderMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Everything that the rest of a body takes.
pub(in crate::proxy) struct Opening {
    pub(in crate::proxy) gate: Arc<Gate>,
    pub(in crate::proxy) route: Arc<Route>,
    pub(in crate::proxy) permit: Permit,
    pub(in crate::proxy) path: String,
    pub(in crate::proxy) receipt: Receipt,
    pub(in crate::proxy) rest: Rest,
    pub(in crate::proxy) lease: Lease,
    /// How long the upstream may be silent.
    pub(in crate::proxy) silence: Duration,
}

struct State {
    opening: Opening,
    completion: Completion,
}

impl Opening {
    /// The body: what was shown already, and then the rest.
    pub(in crate::proxy) fn body(
        self,
        first: Bytes,
        completion: Completion,
    ) -> impl Stream<Item = Result<Bytes, BodyError>> + 'static {
        let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
        let state = Some(State { opening: self, completion });
        let rest = stream::unfold(state, async |state| {
            let mut state = state?;
            match state.opening.part(&mut state.completion).await {
                Ok(Some(part)) => Some((Ok(part), Some(state))),
                Ok(None) => {
                    state.opening.lease.give_back();
                    state.completion.whole();
                    None
                }
                Err(refusal) => {
                    let code = refusal.code.as_str();
                    tracing::warn!(code, detail = refusal.detail, cause = refusal.cause, "a response broke off");
                    state.completion.broken(&refusal);
                    Some((Err("the response broke off".into()), None))
                }
            }
        });
        futures_util::StreamExt::chain(first, rest)
    }

    /// The next part that has something to show; nothing at the end.
    async fn part(&mut self, completion: &mut Completion) -> Result<Option<Bytes>, Refusal> {
        let Protection::Rules(protected) = &self.route.protection else { return Err(Code::Internal.into()) };
        let about = About { route: &self.route, protected, permit: &self.permit, path: &self.path };
        let binds = Binds::of_path(&self.route, &self.path);
        loop {
            if self.rest.ended {
                return Ok(None);
            }
            let until = Instant::now() + self.silence;
            let more = self.rest.source.next(until).await.map_err(broken)?;
            self.rest.ended = more.is_none();
            let more = more.unwrap_or_default();
            self.rest.bytes = self.rest.bytes.saturating_add(more.len());
            if self.rest.bytes > self.gate.limits.response_bytes_max {
                return Err(Code::ResponseTooLarge.into());
            }
            let document = match &mut self.rest.reader {
                Reader::Document(document) => document,
                Reader::File(file) => {
                    let part = file.read(&more, self.rest.ended)?;
                    if part.is_empty() {
                        continue;
                    }
                    return Ok(Some(part.into()));
                }
            };
            document.rewriter.feed(&more);
            if self.rest.ended {
                document.rewriter.finish();
            }
            let mut plan = Plan::default();
            let is_done = document.read(about, &binds, &mut plan)?;
            if is_done != self.rest.ended {
                return Err(super::unfinished());
            }
            plan.ready(&self.gate, about, document).await?;
            let ledger = plan.ledger();
            count(&self.route, protected, &ledger);
            completion.add(ledger);
            let part = plan.carry_out(&mut HeaderMap::new(), &self.receipt)?;
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
    }
}
