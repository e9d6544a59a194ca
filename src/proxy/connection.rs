//! One client connection: handshake, identity, HTTP/1.1 or HTTP/2, until it ends or the gate drains.

mod streams;

use super::body::Body;
use super::crowd::Place;
use super::forwarder;
use super::identity::Peer;
use super::io::{Counted, Gathered, Patience};
use super::live::Live;
use super::pipeline::{self, Site};
use super::rescue::Code;
use super::trail::Trail;
use super::upstream::Pool;
use super::{Gate, Limits, tls};
use crate::audit::handshakes::Reason;
use crate::telemetry::names;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streams::{Activity, Local};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{ServiceBuilder, ServiceExt};

/// What one worker has: its share of the gate and what is its own.
pub(super) struct Worker {
    pub(super) live: Arc<Live>,
    pub(super) pool: Rc<Pool>,
}

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, tcp: TcpStream, from: SocketAddr) {
    let gate = worker.live.gate();
    let refused = |reason| gate.handshakes.refused(reason, from.ip());
    let Some(mut place) = gate.crowd.enter(&gate.limits) else { return refused(Reason::Overloaded) };
    let greeted = tokio::select! {
        greeted = timeout(gate.limits.handshake_timeout, greet(&gate, (tcp, from), &mut place)) => greeted,
        // Nobody was promised anything yet.
        () = gate.drain.cancelled() => return,
    };
    let (stream, address) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err((reason, address))) => return gate.handshakes.refused(reason, address.ip()),
        Err(_) => return refused(Reason::Timeout),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Rc::new(Peer::new(chain, address));
    let (limits, drain) = (gate.limits.clone(), gate.drain.clone());
    drop(gate);
    let malformed = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(&worker, &peer, (&limits, &drain), stream).await,
        _ => http1(&worker, &peer, (&limits, &drain), stream).await,
    };
    if malformed {
        // hyper has answered 400 or 431 by itself, said GOAWAY, or closed: it is an exchange all the same.
        let gate = worker.live.gate();
        let principal = peer.principal(&gate).unwrap_or_default();
        let mut trail = Trail::begin(&gate.recorder, (&peer, principal), None);
        // What cannot be recorded was refused all the same; the recorder has logged it.
        let _unrecorded = trail.refuse(&Code::RequestMalformed.into()).await;
        metrics::counter!(names::REFUSALS, "code" => Code::RequestMalformed.as_str()).increment(1);
        trail.end("refused");
    }
}

/// From the first byte to the end of the TLS handshake: whose connection it is, if another passes it on, and who that is.
async fn greet(
    gate: &Gate,
    (mut tcp, from): (TcpStream, SocketAddr),
    place: &mut Place,
) -> Result<(TlsStream<Counted>, SocketAddr), (Reason, SocketAddr)> {
    let address = if gate.forwarders.hold(from.ip()) {
        forwarder::client(&mut tcp, from).await.ok_or((Reason::NoProxyHeader, from))?
    } else {
        from
    };
    if !place.of(address.ip(), &gate.limits) {
        return Err((Reason::Overloaded, address));
    }
    let shaking = gate.crowd.shake(address.ip(), &gate.limits).await;
    let _shaking = shaking.ok_or((Reason::Overloaded, address))?;
    let accepted = TlsAcceptor::from(Arc::clone(&gate.door.server)).accept(Counted::new(tcp)).await;
    accepted.map(|stream| (stream, address)).map_err(|error| (tls::reason(&error), address))
}

/// What holds for a connection from its start to its end.
type Terms<'a> = (&'a Limits, &'a CancellationToken);

async fn http1(worker: &Rc<Worker>, peer: &Rc<Peer>, (limits, drain): Terms<'_>, stream: TlsStream<Counted>) -> bool {
    let patience = Patience { long: limits.response_idle_timeout, peer: peer.address };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        // A buffer may be read fuller than its maximum.
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max);
    let service = service_fn(|request| exchange(Rc::clone(worker), Rc::clone(peer), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Gathered::new(stream, patience, drain)), service));
    let goodbye = tokio::select! {
        ended = connection.as_mut() => return is_malformed(&ended),
        () = drain.cancelled() => Duration::MAX,
        () = peer.turned_away(&worker.live) => UNWELCOME_GOODBYE,
    };
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = timeout(goodbye, connection) => ended.is_ok_and(|ended| is_malformed(&ended)),
        () = turned_away(worker, peer) => false,
    }
}

/// Waits until a client has had its time to go after its certificate is not taken any more.
async fn turned_away(worker: &Worker, peer: &Peer) {
    peer.turned_away(&worker.live).await;
    sleep(UNWELCOME_GOODBYE).await;
}

async fn http2(worker: &Rc<Worker>, peer: &Rc<Peer>, (limits, drain): Terms<'_>, stream: TlsStream<Counted>) -> bool {
    let patience = Patience { long: limits.response_idle_timeout, peer: peer.address };
    let activity = Rc::<Activity>::default();
    let mut builder = hyper::server::conn::http2::Builder::new(Local::new(patience, &activity));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(limits.header_timeout)
        // An answer comes behind what the client has not taken yet.
        .keep_alive_timeout(limits.response_idle_timeout.saturating_mul(2));
    let service = service_fn(|request| {
        let (worker, peer, under_way) = (Rc::clone(worker), Rc::clone(peer), activity.begin());
        async move { Ok::<_, Infallible>(exchange(worker, peer, request).await?.map(|body| under_way.answered(body))) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Gathered::new(stream, patience, drain)), service));
    // How long it may take to say goodbye, once that is asked for. Whoever does not, may ask for more until it is cut off.
    let goodbye = tokio::select! {
        ended = connection.as_mut() => return is_malformed(&ended),
        () = drain.cancelled() => Goodbye::Within(Duration::MAX),
        () = peer.turned_away(&worker.live) => Goodbye::Within(UNWELCOME_GOODBYE),
        // Nothing was asked for in all that time, if so much as the preface came.
        () = activity.idle_for(limits.header_timeout) => Goodbye::OnceIdle(limits.body_timeout),
        () = activity.abuse.notified() => Goodbye::Within(Duration::ZERO),
    };
    connection.as_mut().graceful_shutdown();
    let over = async {
        match goodbye {
            Goodbye::Within(long) => sleep(long).await,
            Goodbye::OnceIdle(long) => {
                sleep(long).await;
                activity.idle_for(SHORTLY).await;
            }
        }
    };
    tokio::select! {
        ended = connection.as_mut() => return is_malformed(&ended),
        () = over => {}
        () = turned_away(worker, peer) => {}
        () = activity.abuse.notified() => {}
    }
    if activity.is_abused() {
        tracing::warn!(peer = %peer.address, "connection cut: too many requests were taken back");
    }
    false
}

/// Until when a connection may last that was asked to end.
enum Goodbye {
    /// For so long.
    Within(Duration),
    /// For so long, and while anything is under way: a request may have crossed the word that it is to end.
    OnceIdle(Duration),
}

/// Time in which nothing is under way, to be sure of that.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long a client whose certificate is not taken any more may take to end its connection; what it began before is answered within that time.
const UNWELCOME_GOODBYE: Duration = Duration::from_secs(10);

/// Whether a connection ended because what came on it was no HTTP.
fn is_malformed(ended: &Result<(), hyper::Error>) -> bool {
    let ended_by_us = |error: &h2::Error| error.is_library() && error.is_go_away();
    ended.as_ref().is_err_and(|error| {
        let of_http2 = error.source().and_then(|source| source.downcast_ref());
        error.is_parse() || error.is_parse_too_large() || of_http2.is_some_and(ended_by_us)
    })
}

/// One exchange behind what is generic.
async fn exchange(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let caller = pipeline::Caller::of(&request);
    let gate = worker.live.gate();
    let service = ServiceBuilder::new()
        // Outermost: what finds no permit below is refused at once instead of waiting in line.
        .layer(LoadShedLayer::new())
        // One semaphore for the process; a permit is held until the response's head is there.
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&gate.exchanges)))
        .service_fn(|request| {
            let (gate, pool, peer) = (&gate, &worker.pool, &*peer);
            async move { Ok::<_, Infallible>(pipeline::serve(&Site { gate, pool, peer }, request).await) }
        });
    match service.oneshot(request).await {
        Ok(response) => Ok(response),
        // The only failure that there is: no permit.
        Err(_) => Ok(pipeline::overloaded(&Site { gate: &gate, pool: &worker.pool, peer: &peer }, &caller).await),
    }
}
