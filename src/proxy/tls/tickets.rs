//! Session tickets (RFC 5077; RFC 8446 4.6.1): encrypted to the gate itself, under keys that live as long as the TLS
//! configuration that they belong to, and no longer than [`LIFETIME`].

use crate::seal::CryptoProvider;
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;
use std::sync::Arc;
use std::time::Duration;

/// How long a ticket is taken at most: its key encrypts for half of that and decrypts for the other half too.
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);

/// Tickets under keys of their own.
pub(super) fn tickets(provider: &dyn CryptoProvider) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let generator = match provider.name() {
        #[cfg(feature = "ring")]
        "ring" => by_ring,
        #[cfg(feature = "aws-lc")]
        _ => by_aws_lc,
        #[cfg(not(feature = "aws-lc"))]
        _ => by_ring,
    };
    let half = u32::try_from(LIFETIME.as_secs() / 2).unwrap_or(u32::MAX);
    Ok(Arc::new(TicketRotator::new(half, generator)?))
}

#[cfg(feature = "aws-lc")]
fn by_aws_lc() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    one(rustls::crypto::aws_lc_rs::Ticketer::new())
}

#[cfg(feature = "ring")]
fn by_ring() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    one(rustls::crypto::ring::Ticketer::new())
}

fn one(made: Result<Arc<dyn ProducesTickets>, rustls::Error>) -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    made.map(|tickets| Box::new(OneKey(tickets)) as _).map_err(|_| GetRandomFailed)
}

/// The library's own tickets, whose keys it would keep for twelve hours: long before that these are gone.
#[derive(Debug)]
struct OneKey(Arc<dyn ProducesTickets>);

impl ProducesTickets for OneKey {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
