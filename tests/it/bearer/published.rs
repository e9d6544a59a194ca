//! An issuer's key set behind a URL, which answers as a test tells it to and counts how often it is asked.

use super::{BEARER, Issuer};
use crate::fixture::Setup;
use crate::fixture::rough::{Rough, Then};
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How it answers.
#[derive(Clone)]
pub(super) enum Says {
    /// This, byte for byte.
    Words(String),
    /// Nothing, and closes.
    Nothing,
    /// Nothing until it is told otherwise, and then nothing either.
    Silence,
}

pub(super) struct Published {
    rough: Rough,
    says: Arc<Mutex<Says>>,
}

impl Published {
    pub(super) fn start(says: Says) -> Self {
        let says = Arc::new(Mutex::new(says));
        let shared = Arc::clone(&says);
        let rough = Rough::start(move |_, _, tcp| {
            let now = || shared.lock().unwrap().clone();
            // The gate has given up long before.
            let mut steps = 3000;
            while matches!(now(), Says::Silence) && steps > 0 {
                thread::sleep(Duration::from_millis(10));
                steps -= 1;
            }
            if let Says::Words(words) = now() {
                // The gate may have gone.
                let _written = tcp.write_all(words.as_bytes());
            }
            Then::Close
        });
        Self { rough, says }
    }

    /// With the keys of these issuers.
    pub(super) fn of(issuers: &[&Issuer]) -> Self {
        Self::start(keys_of(issuers))
    }

    pub(super) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.rough.addr()
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.rough.requests().len()
    }

    /// What it was asked.
    pub(super) fn requests(&self) -> Vec<String> {
        self.rough.requests()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/keys?of=test", self.addr())
    }
}

/// Status 200 and a key set.
pub(super) fn keys_of(issuers: &[&Issuer]) -> Says {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    found(&json!({"keys": keys}).to_string())
}

/// Status 200 and that body.
pub(super) fn found(body: &str) -> Says {
    let length = body.len();
    Says::Words(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"))
}

/// The gate of the tests of tokens, with keys that are fetched; `more`: other keys of `bearer`.
pub(super) fn with_url(setup: Setup, url: &str, more: &str) -> Setup {
    let bearer = BEARER.replace("jwks_file: jwks.json\n", &format!("jwks_url: {url}\n  {more}\n"));
    let setup = super::with_bearer(setup, &bearer).replace("scope: test\n", "scope: test\ndev_mode: true\n");
    setup.replace("\nprincipals:\n", "\nprincipals:\n  - {spiffe: spiffe://test.example/plain, roles: [clinician]}\n")
}
