//! What the audit journal is told of one exchange. A trail is made before anything is done for the exchange and outlives
//! it: whichever way the exchange ends, also when its client goes away, a record says so.

use super::bearer::Proven;
use super::body::Fault;
use super::identity::Peer;
use super::ledger::Ledger;
use super::meters::Meters;
use super::rescue::Refusal;
use super::route::Route;
use crate::audit::event::Exchange;
use crate::audit::{AuditEvent, Receipt, Recorder, Unrecorded};
use crate::policy::{Acting, Principal};
use crate::seal::Scope;
use http::{Method, StatusCode};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// The longest record id that an event shows.
const RECORD_CHARACTERS_MAX: usize = 128;

/// The record of one exchange as it goes on.
pub(super) struct Trail {
    recorder: Recorder,
    state: Arc<Exchange>,
    start: Instant,
    /// Of its route, once there is one.
    meters: Option<Arc<Meters>>,
    /// Whether the record of how it ended is made, or on its way.
    ended: bool,
    body_fault: Fault,
}

impl Trail {
    /// `principal`: what is known of the peer; `method`: none for what could not be read.
    pub(super) fn begin(
        recorder: &Recorder,
        (peer, principal): (&Peer, Option<&Principal>),
        method: Option<&Method>,
    ) -> Self {
        let exchange = Uuid::now_v7();
        let state = Exchange {
            exchange,
            request_id: exchange.to_string().into(),
            user: None,
            principal: peer.identity.as_ref().map(ToString::to_string),
            roles: principal.map(|principal| principal.own_roles().to_vec()).unwrap_or_default(),
            certificate: Arc::clone(&peer.certificate),
            from: peer.address,
            method: method.map_or("-", name),
            route: None,
            scope: None,
            record: None,
            fields: Vec::new(),
            resources: Vec::new(),
            keys: Vec::new(),
            keys_omitted: 0,
            upstream_status: None,
            status: None,
            code: None,
            cause: None,
            kms_request_id: None,
            sent_upstream: false,
        };
        let state = Arc::new(state);
        let (start, body_fault) = (Instant::now(), Fault::default());
        Self { recorder: recorder.clone(), state, start, meters: None, ended: false, body_fault }
    }

    /// To write on: a copy while an event that shows it is on its way.
    fn state(&mut self) -> &mut Exchange {
        Arc::make_mut(&mut self.state)
    }

    pub(super) fn exchange(&self) -> Uuid {
        self.state.exchange
    }

    pub(super) fn request_id(&self) -> &str {
        &self.state.request_id
    }

    pub(super) fn route_name(&self) -> Option<&str> {
        self.state.route.as_deref()
    }

    /// Takes the client's request id.
    pub(super) fn call_it(&mut self, request_id: &str) {
        self.state().request_id = request_id.into();
    }

    pub(super) fn route(&mut self, route: &Route) {
        self.state().route = Some(Arc::clone(&route.name));
        self.meters = Some(Arc::clone(&route.meters));
    }

    pub(super) fn user(&mut self, user: Option<&Proven>) {
        self.state().user = user.map(|proven| proven.user.clone());
    }

    /// Says in which roles the caller acts.
    pub(super) fn roles(&mut self, acting: Option<&Acting<'_>>) {
        self.state().roles = acting.map(|acting| acting.roles().to_vec()).unwrap_or_default();
    }

    /// Says whose data the exchange is about, be it that the caller may not act there.
    pub(super) fn scope(&mut self, scope: Scope) {
        self.state().scope = Some(scope.to_string());
    }

    /// Names the record, once it is known that the caller may ask for it. What is too long to be an id is cut.
    pub(super) fn record(&mut self, route: &Route, path: &str) {
        let parameter = route.record.as_deref().and_then(|name| route.template.parameter(name, path));
        self.state().record = parameter.map(|id| id.chars().take(RECORD_CHARACTERS_MAX).collect());
    }

    /// Takes what was done with values, and by which keys.
    pub(super) fn add(&mut self, ledger: Ledger) {
        self.meters().fields(&ledger);
        ledger.settle(self.state());
    }

    /// Where the request's body says how it failed.
    pub(super) fn body_fault(&self) -> Fault {
        Rc::clone(&self.body_fault)
    }

    pub(super) fn sent_upstream(&self) -> bool {
        self.state.sent_upstream
    }

    /// Records that a write is about to be sent.
    pub(super) async fn intend(&mut self) -> Result<(), Unrecorded> {
        self.recorder.record(&AuditEvent::ExchangeIntended(Arc::clone(&self.state))).await.map(drop)
    }

    pub(super) fn sending(&mut self) {
        self.state().sent_upstream = true;
    }

    /// It could not be sent after all.
    pub(super) fn not_sent(&mut self) {
        self.state().sent_upstream = false;
    }

    pub(super) fn upstream_answered(&mut self, status: StatusCode) {
        self.state().upstream_status = Some(status.as_u16());
    }

    /// Records what the response will show.
    pub(super) async fn answer(&mut self, status: StatusCode) -> Result<Receipt, Unrecorded> {
        self.state().status = Some(status.as_u16());
        let receipt = self.recorder.record(&AuditEvent::ExchangeAnswered(Arc::clone(&self.state))).await?;
        Ok(receipt)
    }

    /// Records a refusal.
    pub(super) async fn refuse(&mut self, refusal: &Refusal) -> Result<(), Unrecorded> {
        let state = self.state();
        state.status = Some(refusal.code.status().as_u16());
        state.code = Some(refusal.code.as_str());
        state.cause.clone_from(&refusal.cause);
        state.kms_request_id.clone_from(&refusal.kms_request_id);
        // From its first poll on the event is on its way, also if the client goes away meanwhile.
        self.ended = true;
        self.recorder.record(&AuditEvent::ExchangeRefused(Arc::clone(&self.state))).await.map(drop)
    }

    /// The exchange has ended in its response's head.
    pub(super) fn end(mut self, outcome: &'static str) {
        self.ended = true;
        self.count(outcome);
    }

    /// The exchange goes on in its response's body.
    pub(super) fn go_on(mut self, outcome: &'static str) -> Completion {
        self.ended = true;
        self.count(outcome);
        Completion { recorder: self.recorder.clone(), state: Some(Arc::clone(&self.state)), meters: self.meters() }
    }

    fn count(&self, outcome: &'static str) {
        self.meters().exchange(outcome, self.start.elapsed());
    }

    /// Of what came to no route they are its own.
    fn meters(&self) -> Arc<Meters> {
        self.meters.clone().unwrap_or_else(|| Arc::new(Meters::of("-".into())))
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.ended {
            self.count("abandoned");
            self.recorder.record_detached(&AuditEvent::ExchangeAbandoned(Arc::clone(&self.state)));
        }
    }
}

/// Records how a streamed response ended.
pub(super) struct Completion {
    recorder: Recorder,
    state: Option<Arc<Exchange>>,
    meters: Arc<Meters>,
}

impl Completion {
    /// Takes what was done with values since.
    pub(super) fn add(&mut self, ledger: Ledger) {
        if let Some(state) = &mut self.state {
            self.meters.fields(&ledger);
            ledger.settle(Arc::make_mut(state));
        }
    }

    /// It broke off, for a reason of the gate's own.
    pub(super) fn broken(mut self, refusal: &Refusal) {
        if let Some(mut state) = self.state.take() {
            let told = Arc::make_mut(&mut state);
            told.code = Some(refusal.code.as_str());
            told.cause.clone_from(&refusal.cause);
            self.recorder.record_detached(&AuditEvent::BodyCompleted(state));
        }
    }

    /// It came to its end.
    pub(super) fn whole(mut self) {
        if let Some(state) = self.state.take() {
            self.recorder.record_detached(&AuditEvent::BodyCompleted(state));
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(mut state) = self.state.take() {
            Arc::make_mut(&mut state).code = Some("body_broke_off");
            self.recorder.record_detached(&AuditEvent::BodyCompleted(state));
        }
    }
}

/// The method if it is one of RFC 9110 or RFC 5789: another one is free text, which may say anything.
fn name(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("-")
}
