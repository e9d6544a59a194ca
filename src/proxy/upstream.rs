//! Connections to the services behind the gate: HTTP/1.1, plain or TLS, kept alive. One pool a worker, nothing shared.

use super::body::{Body, Piece};
use super::rescue::Code;
use crate::policy::Permit;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// A service behind the gate.
#[derive(Clone)]
pub struct Target {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Host or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// For https, how its certificate is judged and the name that it must have.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// For connecting, TLS included.
    pub connect_timeout: Duration,
    /// Until the response's head, and again for the body where the gate reads it whole.
    pub response_timeout: Duration,
    /// How long a connection is kept unused.
    pub idle_timeout: Duration,
    /// How many connections a worker keeps unused.
    pub idle_connections_max: usize,
    /// Tells what it was made of: the config's text and what its files hold. Of two that are alike here one may serve for the
    /// other, with its connections.
    pub fingerprint: [u8; 32],
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}:{}", self.name, self.host, self.port)
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("upstream {0}: cannot connect: {1}")]
    Connect(Arc<str>, String),
    #[error("upstream {0}: no response in time")]
    Timeout(Arc<str>),
    #[error("upstream {0}: broke off: {1}")]
    Broken(Arc<str>, hyper::Error),
}

impl SendError {
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Connect(..) => Code::UpstreamUnreachable,
            Self::Timeout(_) => Code::UpstreamTimeout,
            Self::Broken(..) => Code::UpstreamFailed,
        }
    }

    /// Whether the upstream may have seen the request.
    pub(super) const fn reached(&self) -> bool {
        !matches!(self, Self::Connect(..))
    }
}

/// The worker's idle connections, by target: there are few.
#[derive(Default)]
pub(super) struct Pool(RefCell<Vec<(Arc<Target>, Vec<Idle>)>>);

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Idle {
    fn lasts(&self, now: Instant, target: &Target) -> bool {
        !self.sender.is_closed() && now.saturating_duration_since(self.since) < target.idle_timeout
    }
}

/// A connection that is in use. Given back at the end of the response; dropped, and so closed, before that.
pub(super) struct Lease {
    sender: SendRequest<Body>,
    pool: Weak<Pool>,
    target: Arc<Target>,
    /// The rest of a request that the upstream answered before it had all of it.
    unsent: Option<mpsc::Sender<Piece>>,
}

impl Lease {
    /// Leaves the request as it is until the response has come: the connection goes with its body.
    pub(super) fn leave(&mut self, unsent: Option<mpsc::Sender<Piece>>) {
        self.unsent = unsent;
    }

    /// The response has come to its end: the connection may serve another.
    pub(super) fn give_back(self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if self.sender.is_closed() || self.unsent.is_some() {
            return;
        }
        let idle = Idle { sender: self.sender, since: Instant::now() };
        let mut pool = pool.0.borrow_mut();
        match pool.iter_mut().find(|(target, _)| Arc::ptr_eq(target, &self.target)) {
            Some((target, kept)) if kept.len() < target.idle_connections_max => kept.push(idle),
            None if self.target.idle_connections_max > 0 => pool.push((self.target, vec![idle])),
            Some(_) | None => {}
        }
    }
}

/// How long a kept connection may take to be ready again.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// Sends a request, and waits so long for the head of its response. The permit is proof that it may be sent.
///
/// A kept connection may have been closed by the upstream at any time. A request that provably never left is sent again
/// on a new one; so is a safe one without a body (RFC 9110 9.2.1), once. Nothing else is ever sent twice.
pub(super) async fn send(
    pool: &Rc<Pool>,
    target: &Arc<Target>,
    _permit: &Permit,
    request: Request<Body>,
    within: Duration,
) -> Result<(Response<Incoming>, Lease), SendError> {
    let deadline = Instant::now() + within;
    let again = repeatable(&request);
    let mut request = request;
    while let Some(mut sender) = pool.take(target) {
        // One that still sends the request before is not waited for.
        if !matches!(timeout(READY_WITHIN, sender.ready()).await, Ok(Ok(()))) {
            continue;
        }
        match tokio::time::timeout_at(deadline, sender.try_send_request(request)).await {
            Ok(Ok(response)) => return Ok((response, lease(pool, target, sender))),
            Ok(Err(mut failed)) => match (failed.take_message(), &again) {
                (Some(unsent), _) => request = unsent,
                (None, Some(again)) => {
                    request = again();
                    break;
                }
                (None, None) => return Err(SendError::Broken(Arc::clone(&target.name), failed.into_error())),
            },
            Err(_) => return Err(SendError::Timeout(Arc::clone(&target.name))),
        }
    }
    let mut sender = connect(target).await?;
    let response = tokio::time::timeout_at(deadline, sender.send_request(request)).await;
    let response = response.map_err(|_| SendError::Timeout(Arc::clone(&target.name)))?;
    let response = response.map_err(|error| SendError::Broken(Arc::clone(&target.name), error))?;
    Ok((response, lease(pool, target, sender)))
}

fn lease(pool: &Rc<Pool>, target: &Arc<Target>, sender: SendRequest<Body>) -> Lease {
    Lease { sender, pool: Rc::downgrade(pool), target: Arc::clone(target), unsent: None }
}

/// How to make the request once more, if that is harmless.
fn repeatable(request: &Request<Body>) -> Option<impl Fn() -> Request<Body> + use<>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let empty = matches!(request.body(), Body::Whole(bytes) if bytes.is_empty());
    if !(safe && empty) {
        return None;
    }
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    Some(move || {
        let mut request = Request::new(Body::whole(Vec::new()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request
    })
}

impl Pool {
    /// The connection that was used last and has not been idle for too long.
    fn take(&self, target: &Arc<Target>) -> Option<SendRequest<Body>> {
        let mut pool = self.0.borrow_mut();
        let (_, kept) = pool.iter_mut().find(|(known, _)| Arc::ptr_eq(known, target))?;
        let now = Instant::now();
        // The oldest stand first.
        std::iter::from_fn(|| kept.pop()).find(|idle| idle.lasts(now, target)).map(|idle| idle.sender)
    }

    /// Closes what has been idle for too long, and what goes to a target that is none any more.
    pub(super) fn tidy(&self, targets: &[Arc<Target>]) {
        let mut pool = self.0.borrow_mut();
        pool.retain(|(target, _)| targets.iter().any(|known| Arc::ptr_eq(known, target)));
        let now = Instant::now();
        for (target, kept) in pool.iter_mut() {
            kept.retain(|idle| idle.lasts(now, target));
        }
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Body>, SendError> {
    let failed = |why: String| SendError::Connect(Arc::clone(&target.name), why);
    let connecting = async {
        let tcp = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|e| failed(e.to_string()))?;
        tcp.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        match &target.tls {
            None => handshake(tcp).await.map_err(|e| failed(e.to_string())),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                let tls = connector.connect(name.clone(), tcp).await.map_err(|e| failed(e.to_string()))?;
                handshake(tls).await.map_err(|e| failed(e.to_string()))
            }
        }
    };
    timeout(target.connect_timeout, connecting).await.map_err(|_| failed("timeout".to_owned()))?
}

async fn handshake(io: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<SendRequest<Body>, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // Lives and dies with its sender, on this worker.
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}
