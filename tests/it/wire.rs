//! What no library would send: bytes by hand, to the gate and from its upstream. Whatever it is, the upstream gets it as one
//! request that nobody can read in two ways, or not at all, and whoever shares the upstream's connection gets his own answer.

mod certificates;
mod hellos;
mod http1;
mod http2;
mod upstreams;

use crate::fixture::witness::{Seen, Witness};
use crate::fixture::{Client, Gate, Setup};

/// A gate with one worker, so that all share its connections, before a witness.
struct Stage {
    witness: Witness,
    gate: Gate,
    /// Somebody else, who has no part in it.
    victim: Client,
    /// The upstream's connection that the victim's last request came by.
    shared: usize,
    asked: usize,
}

impl Stage {
    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let witness = Witness::start();
        let gate = change(Setup::before(witness.addr()).replace("workers: 2", "workers: 1")).start();
        let victim = gate.as_client("billing");
        let mut stage = Self { witness, gate, victim, shared: 0, asked: 0 };
        assert!(stage.aftermath("at first").await.is_empty());
        stage
    }

    /// Has the victim ask. It must get the answer to its own request. What the witness has seen before that one, since the
    /// last time, is given; what does not come whole is not among it.
    async fn aftermath(&mut self, what: &str) -> Vec<Seen> {
        self.asked += 1;
        let path = format!("/open/victim/{}", self.asked);
        let reply = self.victim.get(&path).await;
        let text = reply.text();
        assert_eq!((reply.status.as_u16(), text), (200, format!("{{\"line\":\"GET {path}\"}}")), "{what}");
        let mut seen = self.witness.take();
        let own = seen.pop().unwrap_or_else(|| panic!("{what}: the witness has seen nobody"));
        assert_eq!(own.request.line(), format!("GET {path}"), "{what}: {seen:#?}");
        self.shared = own.connection;
        seen
    }

    /// The same where nothing may have been sent upstream: the victim's connection is the one it had before, untouched.
    async fn nothing_came_of(&mut self, what: &str) {
        let before = self.shared;
        let seen = self.aftermath(what).await;
        assert!(seen.is_empty(), "{what}: {seen:#?}");
        assert_eq!(self.shared, before, "{what}: the upstream's connection is kept");
    }
}

/// The fields that a request may have upstream, in whatever way it came.
const UPSTREAM_FIELDS: [&str; 14] = [
    "accept-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "transfer-encoding",
    "via",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-odd",
    "x-own",
    "x-request-id",
];

/// The fields of a request must be the gate's own and those that the cases let through.
fn expect_clean(seen: &Seen, what: &str) {
    let Seen { request, .. } = seen;
    for (name, value) in &request.fields {
        assert!(UPSTREAM_FIELDS.contains(&name.as_str()), "{what}: {name}: {value}");
    }
    assert!(request.field("x-forwarded-client-cert").is_some_and(|told| told.starts_with("Hash=")), "{what}");
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"), "{what}");
    assert_eq!(request.field("x-forwarded-host"), request.field("host"), "{what}");
}
