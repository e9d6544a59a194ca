//! Probes, metrics and public keys, in plain HTTP on a listener of their own: `/livez`, `/readyz`, `/metrics`, `/jwks.json`; and
//! one order, `POST /keys/purge`, for who is on this machine.

use super::live::Live;
use super::vouch;
use crate::audit::AuditEvent;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;

/// A scraper that has not said what it wants by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; probes and scrapers are few.
const CONNECTIONS_MAX: usize = 64;

/// What the probes answer from.
pub struct Health {
    /// The gate in force.
    pub live: Arc<Live>,
    /// Its threads.
    pub workers: Mutex<Vec<JoinHandle<()>>>,
    /// Set when draining begins, before the listeners close.
    pub draining: AtomicBool,
    /// Where metrics come from.
    pub metrics: PrometheusHandle,
}

impl Health {
    /// Why only a restart helps; `None` while all its threads go on.
    #[must_use]
    pub fn not_alive(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            None
        } else if self.live.gate().recorder.has_ended() {
            Some("audit journal's thread has ended")
        } else if self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter().any(JoinHandle::is_finished) {
            Some("a worker has ended")
        } else {
            None
        }
    }

    /// Gives the threads to whoever waits for their end.
    pub fn take_workers(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the gate is not ready; `None` if it is.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if !self.live.gate().recorder.is_writable() {
            Some("audit journal not writable")
        } else {
            None
        }
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, health: Arc<Health>) {
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((tcp, from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let health = Arc::clone(&health);
                async move { Ok::<_, Infallible>(answer(&health, from, &request).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // A probe that breaks off has nothing to be told.
            drop(builder.serve_connection(TokioIo::new(tcp), service).await);
            drop(place);
        });
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, text: impl Into<Bytes>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn answer(health: &Health, from: SocketAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/keys/purge" {
        return purge(health, from, request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n", PLAIN);
    }
    let state = |wrong: Option<&str>| match wrong {
        None => text(StatusCode::OK, "ok\n", PLAIN),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"), PLAIN),
    };
    match request.uri().path() {
        "/jwks.json" => {
            let gate = health.live.gate();
            let keys = vouch::key_set(gate.voucher.iter().chain(&gate.former_vouchers));
            text(StatusCode::OK, keys, "application/jwk-set+json")
        }
        "/livez" => state(health.not_alive()),
        "/readyz" => state(health.not_ready()),
        "/metrics" => text(StatusCode::OK, health.metrics.render(), "text/plain; version=0.0.4; charset=utf-8"),
        _ => text(StatusCode::NOT_FOUND, "only /livez, /readyz, /metrics, /jwks.json and POST /keys/purge\n", PLAIN),
    }
}

/// Drops every data key. It costs calls to the KEK, so that not everybody who can reach the probes may order it, and no page
/// in a browser on this machine either: those send `Origin` with every POST (Fetch, 3.2 "`Origin` header").
async fn purge(health: &Health, from: SocketAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if *request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n", PLAIN);
    }
    if !from.ip().to_canonical().is_loopback() || request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "only from this machine, and from no web page\n", PLAIN);
    }
    if !request.body().is_end_stream() {
        return text(StatusCode::BAD_REQUEST, "no body is wanted\n", PLAIN);
    }
    // First, whatever becomes of the record: keys that are gone do no harm.
    health.live.gate().keys.purge();
    tracing::warn!(%from, "all data keys were dropped by order");
    match health.live.gate().recorder.record(&AuditEvent::KeysPurged { from }).await {
        Ok(_) => text(StatusCode::NO_CONTENT, "", PLAIN),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "done, but not on record\n", PLAIN),
    }
}
