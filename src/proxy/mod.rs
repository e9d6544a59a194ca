//! The gate itself: TLS in, the pipeline, the upstream. hyper, rustls, tokio and tower live here and in `net`.
//!
//! Read [`pipeline`] first: it is the one place where the order of things is decided.

pub mod admin;
pub mod bearer;
mod body;
mod connection;
pub mod coverage;
pub mod crowd;
mod etag;
pub mod forwarder;
mod headers;
mod identity;
mod io;
mod ledger;
pub mod listener;
pub mod live;
pub mod media;
pub mod meters;
pub mod pace;
pub mod pipeline;
mod problem;
pub mod rescue;
pub mod route;
pub mod rule;
pub mod search;
mod target;
pub mod tls;
mod trail;
mod transform;
pub mod upstream;
pub mod vouch;

pub use headers::goes_on;
pub use identity::is_spiffe_id;

use crate::audit::Recorder;
use crate::audit::handshakes::Handshakes;
use crate::audit::limited::Limited;
use crate::document;
use crate::keyring::{Held, KeyringError, Keys};
use crate::policy::Policy;
use crate::seal::stream::StreamHead;
use crate::seal::{Envelope, KeyId, Placement, Scope, SealingKey, Suite, UnwrappedKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use route::Routes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// How many data keys of one body are asked for at once.
const UNWRAPS_AT_ONCE: usize = 32;

/// Sizes, counts and times of the edge.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open client connections, of all workers together.
    pub connections_max: usize,
    /// Of these, those of one address.
    pub connections_per_address_max: usize,
    /// Handshakes under way.
    pub handshakes_max: usize,
    /// Of these, those of one address.
    pub handshakes_per_address_max: usize,
    /// Bytes of a request's target.
    pub target_bytes_max: usize,
    /// Without a byte of a request body.
    pub body_idle_timeout: Duration,
    /// While a client takes nothing of what is sent to it: then its HTTP/2 stream is reset, or its connection closed.
    pub response_idle_timeout: Duration,
    /// Requests of each client.
    pub rate: Option<pace::Rate>,
    /// Exchanges under way, of all workers together, until their response's head.
    pub exchanges_max: usize,
    /// HTTP/2 streams of one connection.
    pub streams_max: u32,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// For a request's head on HTTP/1.1.
    pub header_timeout: Duration,
    /// Bytes of a request body on a protected route.
    pub body_bytes_max: usize,
    /// For a request body.
    pub body_timeout: Duration,
    /// Bytes of an upstream's response body on a protected route.
    pub response_bytes_max: usize,
    /// Of JSON bodies.
    pub document: document::Limits,
    /// Of a body that is judged whole before any of it goes on; what is larger streams. On routes with rules.
    pub buffer_bytes_max: usize,
}

/// What asking for a key that opens gives.
type Opening = Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError>;

/// What exchanges run on. It never changes: a reload puts another one in its place, which shares with it what stays.
#[derive(Clone)]
pub struct Gate {
    /// Which one it is: 1 from the start, and one more with every reload.
    pub generation: u64,
    /// The listener's TLS, and which client certificates are taken.
    pub door: tls::Door,
    /// Sizes, counts and times.
    pub limits: Limits,
    /// Which requests go where.
    pub routes: Routes,
    /// Who may do what.
    pub policy: Policy,
    /// Signs what upstreams are told of who the client is, if anything does.
    pub voucher: Option<Arc<vouch::Voucher>>,
    /// Those that did before, whose tokens may still be on their way.
    pub former_vouchers: Vec<Arc<vouch::Voucher>>,
    /// What checks the bearer tokens of users.
    pub bearer: Option<bearer::Bearer>,
    /// Where the routes go, by their index.
    pub upstreams: Vec<Arc<upstream::Target>>,
    /// Data keys.
    pub keys: Arc<Keys>,
    /// The audit journal.
    pub recorder: Recorder,
    /// Failed handshakes.
    pub handshakes: Arc<Handshakes>,
    /// Requests over their client's rate.
    pub limited: Arc<Limited>,
    /// What clients have used of their rate.
    pub pace: Arc<pace::Pace>,
    /// Who says whose connection it passes on.
    pub forwarders: forwarder::Forwarders,
    /// One permit for each exchange that may be under way.
    pub exchanges: Arc<Semaphore>,
    /// One permit for each exchange that may wait for a data key, or for keys of an issuer: half of the above, so that a KEK
    /// or an issuer that hangs leaves room for exchanges that need none.
    pub key_waits: Arc<Semaphore>,
    /// Client connections.
    pub crowd: Arc<crowd::Crowd>,
    /// Cancelled when the gate drains: no new exchange on an old connection, no new connection.
    pub drain: CancellationToken,
}

impl Gate {
    /// The key that seals for `scope` now.
    async fn sealing_key(
        &self,
        scope: Scope,
        suite: Suite,
        placement: Placement,
    ) -> Result<Arc<Held<Arc<SealingKey>>>, KeyringError> {
        if let Some(held) = self.keys.sealing_key_at_hand(scope, suite, placement) {
            return Ok(held);
        }
        let _place = self.place_to_wait()?;
        self.keys.sealing_key(scope, suite, placement).await
    }

    /// The keys that sealed values to be looked for before `active` did.
    async fn former_keys(&self, scope: Scope, active: KeyId) -> Result<Vec<Arc<Held<SealingKey>>>, KeyringError> {
        if let Some(held) = self.keys.former_keys_at_hand(scope, active) {
            return Ok(held);
        }
        let _place = self.place_to_wait()?;
        self.keys.former_keys(scope, active).await
    }

    /// The key by which values of `scope` keep their format.
    async fn format_key(&self, scope: Scope) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        if let Some(held) = self.keys.format_key_at_hand(scope) {
            return Ok(held);
        }
        let _place = self.place_to_wait()?;
        self.keys.format_key(scope).await
    }

    /// The keys that open `envelopes`, in their order; those that are not at hand are asked for several at a time. A KEK that
    /// does not answer is an error of all of them, for the rest need not be waited for.
    async fn opening_keys(&self, envelopes: &[&Envelope]) -> Result<Vec<Opening>, KeyringError> {
        let at_hand: Option<Vec<_>> =
            envelopes.iter().map(|envelope| self.keys.opening_key_at_hand(envelope).map(Ok)).collect();
        if let Some(held) = at_hand {
            return Ok(held);
        }
        let _place = self.place_to_wait()?;
        let asked = envelopes.iter().map(|envelope| async {
            match self.keys.opening_key(envelope).await {
                Err(error @ KeyringError::Unavailable { .. }) => Err(error),
                result => Ok(result),
            }
        });
        stream::iter(asked).buffered(UNWRAPS_AT_ONCE).try_collect().await
    }

    /// The key that opens a stream.
    async fn stream_key(&self, stream: &StreamHead) -> Opening {
        if let Some(held) = self.keys.opening_key_of_at_hand(stream.head(), stream.key()) {
            return Ok(held);
        }
        let _place = self.place_to_wait()?;
        self.keys.opening_key_of(stream.head(), stream.key()).await
    }

    /// One place for one exchange, however many keys it waits for.
    fn place_to_wait(&self) -> Result<SemaphorePermit<'_>, KeyringError> {
        let full = |_| KeyringError::Unavailable {
            kek: "-".into(),
            why: "too many exchanges wait for it".into(),
            request_id: None,
        };
        self.key_waits.try_acquire().map_err(full)
    }
}
