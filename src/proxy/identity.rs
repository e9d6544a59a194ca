//! Who is at the other end: the identity that a verified client certificate proves, for as long as it is taken.

use super::Gate;
use super::live::Live;
use super::rescue::{Code, Refusal};
use super::vouch;
use crate::policy::{Identity, Principal};
use crate::seal::crypto::sha256;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use x509_parser::oid_registry::OidRegistry;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

/// The client of one connection.
pub(super) struct Peer {
    /// Who; `None` if the certificate names nobody, or two. Who has none is anonymous.
    pub(super) identity: Option<Identity>,
    /// SHA-256 of the certificate, in hex; `-` for none.
    pub(super) certificate: Arc<str>,
    /// Where it connects from.
    pub(super) address: SocketAddr,
    /// What upstreams are told of the certificate.
    pub(super) forwarded: Option<HeaderValue>,
    /// Told when the certificate is not taken any more.
    unwelcome: Notify,
    chain: Vec<CertificateDer<'static>>,
    /// The generation of the gate that last took the certificate, and until when that holds, in seconds since 1970.
    judged: Cell<(u64, u64)>,
}

impl Peer {
    pub(super) fn new(chain: &[CertificateDer<'static>], address: SocketAddr) -> Self {
        let (identity, certificate) = match chain.first() {
            Some(leaf) => (identity(leaf), HEXLOWER.encode(&sha256(&[leaf])).into()),
            None => (Some(Identity::Anonymous), "-".into()),
        };
        let certificate: Arc<str> = certificate;
        let forwarded = chain.first().and_then(|leaf| vouch::forwarded(&certificate, &names(leaf)));
        let (unwelcome, chain, judged) = (Notify::new(), chain.to_vec(), Cell::new((0, 0)));
        Self { identity, certificate, address, forwarded, unwelcome, chain, judged }
    }

    /// What the gate knows of the identity, if it takes the certificate now: the handshake may have been long ago, or that of a
    /// session that was resumed.
    ///
    /// # Errors
    /// [`Code::CertificateNotAccepted`]; the connection then ends.
    pub(super) fn principal<'g>(&self, gate: &'g Gate) -> Result<Option<&'g Principal>, Refusal> {
        let (generation, until) = self.judged.get();
        if generation != gate.generation || UnixTime::now().as_secs() >= until {
            let until = gate.door.judge(&self.chain).map_err(|reason| {
                self.unwelcome.notify_one();
                Refusal::from(Code::CertificateNotAccepted).because(reason.as_str())
            })?;
            self.judged.set((gate.generation, until));
        }
        Ok(self.identity.as_ref().and_then(|identity| gate.policy.principal(identity)))
    }
}

/// How often it is looked whether the certificate is still taken while nothing is asked for.
const JUDGED_EVERY: Duration = Duration::from_secs(10);

impl Peer {
    /// Waits until the certificate is not taken any more: the connection is to end.
    pub(super) async fn turned_away(&self, live: &Live) {
        loop {
            tokio::select! {
                () = self.unwelcome.notified() => return,
                () = sleep(JUDGED_EVERY) => drop(self.principal(&live.gate())),
            }
        }
    }
}

/// The names of a certificate, as `X-Forwarded-Client-Cert` calls their kinds.
fn names(der: &[u8]) -> Vec<(&'static str, String)> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let mut names: Vec<_> = subject(certificate.subject()).map(|name| ("Subject", name)).into_iter().collect();
    let others = certificate.subject_alternative_name().ok().flatten();
    names.extend(others.iter().flat_map(|others| &others.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some(("URI", (*uri).to_owned())),
        GeneralName::DNSName(dns) => Some(("DNS", (*dns).to_owned())),
        _ => None,
    }));
    names
}

/// SPIFFE URI SAN, else DNS SAN, else subject. A certificate with several of one kind is ambiguous and names nobody.
fn identity(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.as_slice(),
        Ok(None) => &[],
        Err(_) => return None,
    };
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let dns: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None }).collect();
    match (uris.as_slice(), dns.as_slice()) {
        // SPIFFE X509-SVID 2: exactly one URI SAN.
        ([uri], _) if uri.starts_with("spiffe:") => is_spiffe_id(uri).then(|| Identity::Spiffe((*uri).into())),
        (uris, _) if uris.iter().any(|uri| uri.starts_with("spiffe:")) => None,
        (_, [dns]) => Some(Identity::Dns(dns.to_ascii_lowercase().into())),
        (_, []) => subject(certificate.subject()).map(|name| Identity::Subject(name.into())),
        _ => None,
    }
}

/// The SPIFFE ID specification, 2: `spiffe://`, a trust domain, a path of non-empty segments, at most 2048 bytes.
#[must_use]
pub fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return false;
    };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let domain_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let path_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(path_byte);
    text.len() <= 2048
        && !domain.is_empty()
        && domain.bytes().all(domain_byte)
        && path.is_none_or(|path| path.split('/').all(segment))
}

/// RFC 4514: the last part first, special characters escaped, so that no value can pass for two.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let registry = OidRegistry::default().with_x509();
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Option<Vec<String>> = part.iter().map(|attribute| written(attribute, &registry)).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|text| !text.is_empty())
}

fn written(attribute: &AttributeTypeAndValue<'_>, registry: &OidRegistry<'_>) -> Option<String> {
    let oid = attribute.attr_type();
    let kind = match registry.get(oid).map(|entry| entry.sn()) {
        Some("commonName") => "CN".to_owned(),
        Some("countryName") => "C".to_owned(),
        Some("localityName") => "L".to_owned(),
        Some("stateOrProvinceName") => "ST".to_owned(),
        Some("organizationName") => "O".to_owned(),
        Some("organizationalUnitName") => "OU".to_owned(),
        Some("domainComponent") => "DC".to_owned(),
        _ => oid.to_id_string(),
    };
    let value = attribute.as_str().ok()?;
    let mut text = format!("{kind}=");
    for (at, c) in value.char_indices() {
        let edge = (c == ' ' && (at == 0 || at + 1 == value.len())) || (c == '#' && at == 0);
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(sans: &[&str], subject: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = sans
            .iter()
            .map(|san| match san.contains(':') {
                true => SanType::URI((*san).try_into().unwrap()),
                false => SanType::DnsName((*san).try_into().unwrap()),
            })
            .collect();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_one_or_nobody() {
        let cn = [(DnType::CommonName, "billing")];
        for (sans, want) in [
            (&["spiffe://example.org/billing"][..], Some("spiffe://example.org/billing")),
            (&["spiffe://example.org/billing", "a.example"], Some("spiffe://example.org/billing")),
            (&["spiffe://example.org/a", "spiffe://example.org/b"], None),
            (&["spiffe://example.org/a", "https://example.org/b"], None),
            (&["spiffe://Example.org/a"], None),
            (&["spiffe://example.org/a/../b"], None),
            (&["https://example.org/", "A.Example"], Some("dns:a.example")),
            (&["a.example", "b.example"], None),
            (&[], Some("subject:CN=billing")),
        ] {
            let got = identity(&certificate(sans, &cn)).map(|identity| identity.to_string());
            assert_eq!(got.as_deref(), want, "{sans:?}");
        }
        assert_eq!(identity(&certificate(&[], &[])), None, "an empty subject");
        assert_eq!(identity(b"no certificate"), None);
    }

    #[test]
    fn a_subject_cannot_pass_for_another() {
        let named = |subject: &[(DnType, &str)]| identity(&certificate(&[], subject)).map(|i| i.to_string());
        let plain =
            named(&[(DnType::CountryName, "US"), (DnType::OrganizationName, "Clinic"), (DnType::CommonName, "x")]);
        assert_eq!(plain.as_deref(), Some("subject:CN=x,O=Clinic,C=US"));
        let sly = named(&[(DnType::CountryName, "US"), (DnType::CommonName, "x,O=Clinic")]);
        assert_eq!(sly.as_deref(), Some("subject:CN=x\\,O\\=Clinic,C=US"));
    }
}
