//! THE ONE PLACE: the order in which things happen to a request.
//!
//! Nothing is sent to the upstream before the request was understood and, for a write, before the intent is durable.
//! Nothing is shown to the client before the record of it is durable. Whatever is refused is recorded too.

use super::Gate;
use super::bearer::{self, Proven};
use super::body::Body;
use super::coverage;
use super::etag::Suffix;
use super::headers;
use super::identity::Peer;
use super::problem;
use super::rescue::{Code, Refusal};
use super::route::{Protection, Route};
use super::trail::Trail;
use super::transform::{self, Outgoing};
use super::upstream::{self, Lease, Pool};
use super::vouch;
use crate::policy::{Acting, Action, Permit, Principal, Query};
use crate::seal::Scope;
use crate::telemetry::names;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What a refusal has to know of a request that is gone by then.
pub(super) struct Caller {
    method: Method,
    request_id: Option<String>,
}

impl Caller {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let request_id = headers::request_id(request.headers()).map(str::to_owned);
        Self { method: request.method().clone(), request_id }
    }

    fn trail(&self, gate: &Gate, client: (&Peer, Option<&Principal>)) -> Trail {
        let mut trail = Trail::begin(&gate.recorder, client, Some(&self.method));
        if let Some(id) = &self.request_id {
            trail.call_it(id);
        }
        trail
    }
}

/// Where an exchange takes place.
pub(super) struct Site<'a> {
    /// The gate in force when it began, to its end.
    pub(super) gate: &'a Arc<Gate>,
    pub(super) pool: &'a Rc<Pool>,
    pub(super) peer: &'a Peer,
}

/// Serves one exchange. There is always a response.
pub(super) async fn serve(site: &Site<'_>, request: Request<Incoming>) -> Response<Body> {
    let caller = Caller::of(&request);
    let Site { gate, peer, .. } = *site;
    let principal = match peer.principal(gate) {
        Ok(principal) => principal,
        Err(refusal) => return refuse(caller.trail(gate, (peer, None)), &caller.method, refusal).await,
    };
    if !gate.pace.take(&peer.identity) {
        return too_fast(gate, peer, &caller);
    }
    let mut trail = caller.trail(gate, (peer, principal));
    match exchange(site, principal, &mut trail, request).await {
        Ok(answer) => finish(trail, answer),
        Err(refusal) => refuse(trail, &caller.method, refusal).await,
    }
}

/// Refuses a request over its client's rate. There is no record of it alone: they are counted.
fn too_fast(gate: &Gate, peer: &Peer, caller: &Caller) -> Response<Body> {
    gate.limited.refused(peer.identity.as_ref().map(ToString::to_string));
    metrics::counter!(names::REFUSALS, "code" => Code::RateLimited.as_str()).increment(1);
    let exchange = Uuid::now_v7();
    let mut response = problem::response(&Code::RateLimited.into(), exchange, &caller.method, false);
    let own = exchange.to_string();
    headers::to_client(response.headers_mut(), caller.request_id.as_deref().unwrap_or(&own), true);
    response
}

/// Refuses an exchange for which there is no room.
pub(super) async fn overloaded(site: &Site<'_>, caller: &Caller) -> Response<Body> {
    let Site { gate, peer, .. } = *site;
    let (principal, refusal) = match peer.principal(gate) {
        Ok(principal) => (principal, Code::Overloaded.into()),
        Err(refusal) => (None, refusal),
    };
    refuse(caller.trail(gate, (peer, principal)), &caller.method, refusal).await
}

/// A response whose record is durable.
struct Answer {
    response: Response<Body>,
    /// The rest of a body that streams.
    rest: Option<RestOf>,
}

/// A body that streams.
enum RestOf {
    /// As it comes.
    Passing(Incoming, Lease),
    /// Opened as it comes; the body of the response is its beginning.
    Opened(Box<transform::Opening>, Bytes),
}

async fn exchange(
    site: &Site<'_>,
    principal: Option<&Principal>,
    trail: &mut Trail,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let Site { gate, peer, .. } = *site;
    let (mut head, body) = request.into_parts();
    headers::judge_framing(&head.headers, gate.limits.headers_max)?;
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > gate.limits.target_bytes_max) {
        return Err(Code::TargetTooLong.into());
    }
    let host = headers::host(&head)?;
    let route = gate.routes.find(&host, &head.method, head.uri.path())?;
    trail.route(route);
    let action = if head.method.is_safe() { Action::Read } else { Action::Write };
    let user = bearer::user(gate, route, &head, (peer, principal)).await?;
    trail.user(user.as_ref());
    let of_user = user.as_ref().map(|user| &*user.roles).unwrap_or_default();
    let acting = principal.map(|principal| principal.acting(of_user)).transpose()?;
    trail.roles(acting.as_ref());
    let scope = route.scope.scope(&route.template, &head, (principal, user.as_ref()))?;
    trail.scope(scope);
    let permit = gate.policy.authorize(query(acting.as_ref(), route, action, scope))?;
    trail.record(route, head.uri.path());
    let path = head.uri.path().to_owned();

    let outgoing = transform::request(gate, (route, &path), &permit, trail, (&mut head, body)).await?;
    let suffix = match &route.protection {
        Protection::None => None,
        Protection::Rules(protected) => {
            let suffix = Suffix::of(protected, &permit);
            suffix.to_upstream(&mut head.headers, head.method.is_safe());
            Some(suffix)
        }
    };
    let identity = vouch(gate, route, acting.as_ref(), (peer, user.as_ref()), (scope, trail.exchange()))?;
    let (client, certificate) = (peer.address.ip(), peer.forwarded.as_ref());
    let via = headers::Via { client, request_id: trail.request_id(), certificate, identity };
    headers::to_upstream(&mut head, &via, suffix.is_some())?;

    if action == Action::Write {
        trail.intend().await?;
    }
    let method = head.method.clone();
    let (response, lease) = send(site, route, &permit, trail, (head, outgoing)).await?;
    answer(site, route, permit, trail, Asked { method, path, suffix }, (response, lease)).await
}

/// The token that says who the client is, where there is a key for it. Without one that is due nothing is sent.
fn vouch(
    gate: &Gate,
    route: &Route,
    acting: Option<&Acting<'_>>,
    (peer, user): (&Peer, Option<&Proven>),
    (scope, exchange): (Scope, Uuid),
) -> Result<Option<HeaderValue>, Refusal> {
    let Some(voucher) = &gate.voucher else { return Ok(None) };
    let acting = acting.ok_or(Code::PrincipalUnknown)?;
    let upstream = &gate.upstreams.get(route.upstream).ok_or(Code::Internal)?.name;
    let about = vouch::About { acting, certificate: &peer.certificate, user, scope, upstream, exchange };
    voucher.token(&about).map(Some).ok_or_else(|| Code::Internal.into())
}

fn query<'a>(acting: Option<&'a Acting<'a>>, route: &'a Route, action: Action, scope: Scope) -> Query<'a> {
    let classes: &[_] = match &route.protection {
        Protection::None => &[],
        Protection::Rules(protected) => &protected.classes,
    };
    Query { acting, action, classes, scope }
}

async fn send(
    site: &Site<'_>,
    route: &Route,
    permit: &Permit,
    trail: &mut Trail,
    (head, outgoing): (Parts, Outgoing<'_>),
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let target = site.gate.upstreams.get(route.upstream).ok_or(Code::Internal)?;
    let Outgoing { body, pump } = outgoing;
    // Before the call: if the client goes away while it is under way, the record says that it may have been carried out.
    trail.sending();
    let within = target.response_timeout + pump.as_ref().map_or(Duration::ZERO, |_| site.gate.limits.body_timeout);
    let request = Request::from_parts(head, body);
    let sending = upstream::send(site.pool, target, permit, request, within);
    let sent = match pump {
        None => sending.await,
        Some(mut pump) => {
            let sent = together(&mut pump, sending).await;
            let (ledger, unsent) = pump.stop();
            trail.add(ledger);
            sent?.map(|(response, mut lease)| {
                lease.leave(unsent);
                (response, lease)
            })
        }
    };
    let (response, lease) = sent.map_err(|error| {
        tracing::warn!(route = %route.name, %error, "upstream failed");
        if !error.reached() {
            trail.not_sent();
        }
        // If the client's body did not come, that is why.
        Refusal::from(trail.body_fault().get().unwrap_or_else(|| error.code()))
    })?;
    trail.upstream_answered(response.status());
    Ok((response, lease))
}

/// Sends a request while its body is made. If the body cannot be, the upstream gets one that breaks off. An upstream
/// that refuses a request before it is over wants no more of it (RFC 9112 9.5).
async fn together<L, E>(
    pump: &mut transform::Pump<'_>,
    sending: impl Future<Output = Result<(Response<Incoming>, L), E>>,
) -> Result<Result<(Response<Incoming>, L), E>, Refusal> {
    let (mut running, mut sending) = (pin!(pump.run()), pin!(sending));
    let (mut is_filled, mut sent) = (false, None);
    loop {
        tokio::select! {
            ran = &mut running, if !is_filled => {
                ran?;
                is_filled = true;
            }
            result = &mut sending, if sent.is_none() => match result {
                Ok(response) => sent = Some(response),
                Err(error) => return Ok(Err(error)),
            },
        }
        let is_over = |(response, _): &(Response<Incoming>, L)| {
            is_filled || response.status().is_client_error() || response.status().is_server_error()
        };
        if let Some(response) = sent.take_if(|sent| is_over(sent)) {
            return Ok(Ok(response));
        }
    }
}

/// What an answer has to know of a request that is gone by then.
struct Asked {
    method: Method,
    path: String,
    /// What the tags of the caller's view end with, where it has one of its own.
    suffix: Option<Suffix>,
}

async fn answer(
    site: &Site<'_>,
    route: &Arc<Route>,
    permit: Permit,
    trail: &mut Trail,
    asked: Asked,
    (response, lease): (Response<Incoming>, Lease),
) -> Result<Answer, Refusal> {
    let (mut head, body) = response.into_parts();
    // An upstream that wants to speak another protocol was not asked to.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Code::ResponseNotUnderstood.into());
    }
    headers::judge_answer(&head.headers)?;
    head.version = Version::HTTP_11;
    let Protection::Rules(protected) = &route.protection else {
        let unread = !body.is_end_stream() && has_body(&asked.method, head.status);
        headers::to_client(&mut head.headers, trail.request_id(), false);
        trail.answer(head.status).await?;
        let rest = if unread {
            Some(RestOf::Passing(body, lease))
        } else {
            lease.give_back();
            None
        };
        return Ok(Answer { response: Response::from_parts(head, Body::whole(Vec::new())), rest });
    };
    let target = site.gate.upstreams.get(route.upstream).ok_or(Code::Internal)?;
    let incoming = (&head.headers, has_body(&asked.method, head.status).then_some(body));
    let about = transform::About { route, protected, permit: &permit, path: &asked.path };
    let (plan, rest) = transform::plan(site.gate, about, target, incoming).await?;
    let ledger = plan.ledger();
    coverage::count(route, protected, &ledger);
    trail.add(ledger);
    let receipt = trail.answer(head.status).await?;
    let body = plan.carry_out(&mut head.headers, &receipt)?;
    headers::to_client(&mut head.headers, trail.request_id(), true);
    if let Some(suffix) = &asked.suffix {
        suffix.to_client(&mut head.headers);
    }
    let Some(rest) = rest else {
        lease.give_back();
        return Ok(Answer { response: Response::from_parts(head, Body::whole(body)), rest: None });
    };
    let (gate, route, path) = (Arc::clone(site.gate), Arc::clone(route), asked.path);
    let silence = target.response_timeout;
    let opening = transform::Opening { gate, route, permit, path, receipt, rest, lease, silence };
    let rest = Some(RestOf::Opened(Box::new(opening), body));
    Ok(Answer { response: Response::from_parts(head, Body::whole(Vec::new())), rest })
}

/// RFC 9110 6.4.1.
fn has_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn finish(trail: Trail, answer: Answer) -> Response<Body> {
    let Answer { mut response, rest } = answer;
    match rest {
        None => trail.end("answered"),
        Some(RestOf::Passing(body, lease)) => {
            *response.body_mut() = Body::outbound(body, lease, trail.go_on("answered"));
        }
        Some(RestOf::Opened(opening, first)) => {
            *response.body_mut() = Body::opened(opening.body(first, trail.go_on("answered")));
        }
    }
    response
}

/// Records a refusal and tells the client. A refusal that cannot be recorded is still one.
async fn refuse(mut trail: Trail, method: &Method, refusal: Refusal) -> Response<Body> {
    let done = trail.sent_upstream() && !method.is_safe();
    let mut refusal = if done { refusal.after_write() } else { refusal };
    if trail.refuse(&refusal).await.is_err() {
        refusal = Refusal::from(Code::AuditUnavailable);
        refusal = if done { refusal.after_write() } else { refusal };
    }
    let code = refusal.code;
    tracing::info!(
        exchange = %trail.exchange(),
        route = trail.route_name(),
        code = code.as_str(),
        detail = refusal.detail,
        cause = refusal.cause,
        "exchange refused"
    );
    metrics::counter!(names::REFUSALS, "code" => code.as_str()).increment(1);
    let mut response = problem::response(&refusal, trail.exchange(), method, done);
    if code == Code::MethodNotAllowed {
        // RFC 9110 15.5.6 wants the field; which methods there are is told to nobody who was not let in.
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(""));
    }
    headers::to_client(response.headers_mut(), trail.request_id(), true);
    let ends = matches!(code, Code::RequestMalformed | Code::HostMismatch | Code::CertificateNotAccepted);
    if ends || *method == Method::CONNECT {
        // Where this request ends nobody can be sure, or who would send the next one has no business here any more; and what was
        // meant for a tunnel is no request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    trail.end(if code.status().is_server_error() { "failed" } else { "refused" });
    response
}
