//! Failed handshakes, counted exactly and recorded at a bounded rate: strangers can cause them at will.

use super::event::AuditEvent;
use super::recorder::Recorder;
use crate::telemetry::names;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Sources that are told apart between two records; further ones are counted together.
const SOURCES_MAX: usize = 64;

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The client gave no certificate.
    NoCertificate,
    /// Its certificate has expired or is not valid yet.
    Expired,
    /// Its certificate is of no CA that is trusted here.
    UnknownCa,
    /// Its certificate is revoked.
    Revoked,
    /// No list in force says whether its certificate is revoked.
    RevocationUnknown,
    /// Its certificate is good, and the config does not let it in.
    NotAllowed,
    /// Its certificate is bad in some other way.
    BadCertificate,
    /// Neither TLS 1.2 nor 1.3, or no suite, group or protocol in common.
    NoAgreement,
    /// No end within the time limit.
    Timeout,
    /// The connection broke, or what came was no TLS.
    Protocol,
    /// It did not begin with the PROXY header that is due from its address.
    NoProxyHeader,
    /// Too many connections or handshakes at once, or too many connections of one address.
    Overloaded,
}

impl Reason {
    /// Its name in events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Expired => "certificate_expired",
            Self::UnknownCa => "certificate_of_unknown_ca",
            Self::Revoked => "certificate_revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::NotAllowed => "certificate_not_allowed",
            Self::BadCertificate => "certificate_bad",
            Self::NoAgreement => "no_agreement",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::NoProxyHeader => "no_proxy_header",
            Self::Overloaded => "overloaded",
        }
    }
}

/// Counts by reason and source since the last [`Handshakes::flush`].
#[derive(Default)]
pub struct Handshakes(Mutex<HashMap<(Reason, Option<IpAddr>), u64>>);

impl Handshakes {
    /// Counts one.
    pub fn refused(&self, reason: Reason, source: IpAddr) {
        metrics::counter!(names::HANDSHAKES_REFUSED, "reason" => reason.as_str()).increment(1);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told_apart = counts.len() < SOURCES_MAX || counts.contains_key(&(reason, Some(source)));
        *counts.entry((reason, told_apart.then_some(source))).or_default() += 1;
    }

    /// Hands everything counted so far to the recorder, which keeps it until it is durable.
    pub fn flush(&self, recorder: &Recorder) {
        for event in self.drain() {
            recorder.record_detached(&event);
        }
    }

    fn drain(&self) -> Vec<AuditEvent> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let event = |((reason, source), count): ((Reason, _), _)| AuditEvent::HandshakesRefused {
            reason: reason.as_str(),
            source,
            count,
        };
        counts.into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_many_sources_is_few_records_with_exact_counts() {
        let handshakes = Handshakes::default();
        for n in 0..10_000_u32 {
            handshakes.refused(Reason::NoCertificate, IpAddr::from(n.to_be_bytes()));
            handshakes.refused(Reason::UnknownCa, IpAddr::from([127, 0, 0, 1]));
        }
        let events = handshakes.drain();
        assert!(events.len() <= SOURCES_MAX + 9, "{}", events.len());
        let mut total = 0;
        for event in &events {
            let AuditEvent::HandshakesRefused { count, .. } = event else { panic!("{event:?}") };
            total += count;
        }
        assert_eq!(total, 20_000);
        assert!(handshakes.drain().is_empty());
    }
}
