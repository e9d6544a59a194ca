//! The listener's certificates, and which client certificates it takes.

use super::files::Files;
use super::raw;
use super::source::{item, key};
use crate::net;
use crate::proxy::is_spiffe_id;
use crate::proxy::tls::{self, Admission, Lists, Pattern, ServerCertificate};
use crate::seal::CryptoProvider;
use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;

const AT: &str = "server.tls";

pub(super) fn door(files: &mut Files<'_>, provider: &dyn CryptoProvider, raw: &raw::Tls) -> Option<tls::Door> {
    let first = certificate(files, provider, AT, (&raw.certificate_file, &raw.key_file));
    let mut certificates = vec![first];
    for (index, also) in raw.also.iter().enumerate() {
        let at = item(&key(AT, "also"), index);
        certificates.push(certificate(files, provider, &at, (&also.certificate_file, &also.key_file)));
    }
    let client_cas = files.certificates("server.tls.client_ca_file", &raw.client_ca_file);
    let lists = lists(files, provider, client_cas.as_deref().unwrap_or_default(), &raw.client_crl_files);
    let admission = admission(files, raw);
    let certificates: Option<Vec<ServerCertificate>> = certificates.into_iter().collect();
    let material = tls::Material {
        certificates: certificates?,
        client_cas: client_cas?,
        lists: lists?,
        admission: admission?,
        optional: raw.client_certificate == raw::ClientCertificate::Optional,
    };
    tls::door(provider, material).map_err(|error| files.problem(AT, error.to_string())).ok()
}

fn certificate(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    at: &str,
    (certificate, private_key): (&str, &str),
) -> Option<ServerCertificate> {
    let chain = files.certificates(&key(at, "certificate_file"), certificate);
    let private_key = files.private_key(&key(at, "key_file"), private_key);
    let made = ServerCertificate::new(provider, chain?, private_key?);
    made.map_err(|error| files.problem(at, error.to_string())).ok()
}

fn lists(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    cas: &[CertificateDer<'_>],
    names: &[String],
) -> Option<Lists> {
    let at = key(AT, "client_crl_files");
    let mut all = Some(Vec::new());
    for (index, name) in names.iter().enumerate() {
        match files.revocation_lists(&item(&at, index), name) {
            Some(lists) => all.iter_mut().for_each(|all| all.extend_from_slice(&lists)),
            None => all = None,
        }
    }
    let lists = Lists::read(all?, cas, &net::tls_provider(provider));
    let lists = lists.map_err(|error| files.problem(&at, error.to_string())).ok()?;
    if !names.is_empty() {
        for ca in lists.unlisted(cas) {
            files.warn(&at, &format!("no list of the CA {ca}: none of its certificates gets in"));
        }
    }
    Some(lists)
}

fn admission(files: &mut Files<'_>, raw: &raw::Tls) -> Option<Admission> {
    let mut patterns = |name: &str, raw: &[raw::ClientPattern]| -> Option<Vec<Pattern>> {
        let at = key(AT, name);
        let all: Vec<_> = raw.iter().enumerate().map(|(index, raw)| pattern(files, &item(&at, index), raw)).collect();
        all.into_iter().collect()
    };
    let allow = patterns("client_allow", &raw.client_allow);
    let deny = patterns("client_deny", &raw.client_deny);
    let mut pins = Some(Vec::new());
    for (index, text) in raw.client_pins.iter().enumerate() {
        match BASE64.decode(text.as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(pin) => pins.iter_mut().for_each(|pins| pins.push(pin)),
            None => {
                files.problem(&item(&key(AT, "client_pins"), index), "wanted the base64 of a SHA-256, 44 characters");
                pins = None;
            }
        }
    }
    Some(Admission { allow: allow?, deny: deny?, pins: pins? })
}

fn pattern(files: &mut Files<'_>, at: &str, raw: &raw::ClientPattern) -> Option<Pattern> {
    let raw::ClientPattern { spiffe, dns, cn, ou } = raw;
    let kinds = ["spiffe", "dns", "cn", "ou"].map(|name| key(at, name));
    let wrong = |files: &mut Files<'_>, path: &str, wanted: &str| {
        files.problem(path, wanted);
        None
    };
    let [spiffe_at, dns_at, ..] = &kinds;
    match (spiffe, dns, cn, ou) {
        (Some(id), None, None, None) if is_spiffe_id(id.strip_suffix("/*").unwrap_or(id)) => {
            Some(Pattern::Spiffe(id.clone()))
        }
        (Some(_), None, None, None) => {
            wrong(files, spiffe_at, "wanted a SPIFFE id such as spiffe://example.org/billing or spiffe://example.org/*")
        }
        (None, Some(name), None, None) if is_dns_name(name.strip_prefix("*.").unwrap_or(name)) => {
            Some(Pattern::Dns(name.to_ascii_lowercase()))
        }
        (None, Some(_), None, None) => {
            wrong(files, dns_at, "wanted a DNS name such as billing.example.org or *.example.org")
        }
        (None, None, Some(name), None) => Some(Pattern::CommonName(name.clone())),
        (None, None, None, Some(name)) => Some(Pattern::Unit(name.clone())),
        _ => {
            let causes: Vec<&str> = kinds.iter().map(String::as_str).collect();
            files.problem_of(at, &causes, "wanted exactly one of spiffe, dns, cn and ou");
            None
        }
    }
}

fn is_dns_name(text: &str) -> bool {
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && label.bytes().all(byte))
}
