//! The services behind the gate, as the proxy calls them. Connects to nothing.

use super::checked::ms;
use super::files::Files;
use super::raw;
use super::source::key;
use crate::net::{self, ClientIdentity};
use crate::proxy::tls::in_force;
use crate::proxy::upstream;
use crate::seal::CryptoProvider;
use crate::seal::crypto::sha256;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn upstreams(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    raw: BTreeMap<String, raw::Upstream>,
) -> Option<Vec<Arc<upstream::Target>>> {
    let all: Vec<_> = raw.into_iter().map(|(name, raw)| upstream(files, provider, &name, &raw)).collect();
    all.into_iter().map(|target| target.map(Arc::new)).collect()
}

fn upstream(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    name: &str,
    raw: &raw::Upstream,
) -> Option<upstream::Target> {
    let path = key("upstreams", name);
    let Some((https, host, port)) = address(&raw.url) else {
        files.problem(&key(&path, "url"), "wanted http://host:port or https://host:port, without a path");
        // With whichever scheme it gets, the files have to be there.
        trust(files, &path, raw);
        return None;
    };
    let read_before = files.sources.count();
    let tls = if https { Some(tls(files, provider, &path, &host, raw)?) } else { None };
    let (written, of_files) = (format!("{name} {raw:?}"), files.sources.digest_from(read_before));
    let of_system = tls.as_ref().map_or([0; 32], |(_, _, cas)| *cas);
    if !https && (raw.ca_file.is_some() || raw.certificate_file.is_some() || raw.key_file.is_some()) {
        files.problem_of(&path, &[&key(&path, "url")], "certificates have no meaning for an http:// upstream");
    }
    Some(upstream::Target {
        name: name.into(),
        host,
        port,
        tls: tls.map(|(config, name, _)| (config, name)),
        connect_timeout: ms(raw.connect_timeout_ms, 2_000),
        response_timeout: ms(raw.response_timeout_ms, 30_000),
        idle_timeout: ms(raw.idle_timeout_ms, 15_000),
        idle_connections_max: raw.idle_connections_max.unwrap_or(64),
        fingerprint: sha256(&[&of_files, &of_system, written.as_bytes()]),
    })
}

/// Whether it is https, the host without brackets, and the port.
fn address(url: &str) -> Option<(bool, String, u16)> {
    let uri = url.parse::<http::Uri>().ok()?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('@') {
        return None;
    }
    let https = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    Some((https, uri.host()?.trim_matches(['[', ']']).to_owned(), port))
}

fn tls(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    path: &str,
    host: &str,
    raw: &raw::Upstream,
) -> Option<(Arc<ClientConfig>, ServerName<'static>, [u8; 32])> {
    let trust = trust(files, path, raw);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| files.problem(&key(path, "url"), "the host is no name that a certificate can have"));
    let Trust { cas, identity } = trust?;
    let cas = cas.unwrap_or_else(net::system_cas);
    let trusted = sha256(&cas.iter().map(|ca| ca.as_ref()).collect::<Vec<_>>());
    if cas.is_empty() {
        files.problem(path, "the system has no CAs; name those that vouch for the upstream in ca_file");
        return None;
    }
    let config = net::client_config(provider, cas, identity).map_err(|error| files.problem(path, error.to_string()));
    Some((config.ok()?, name.ok()?, trusted))
}

/// What the files of an upstream hold.
struct Trust {
    /// The system's if `None`.
    cas: Option<Vec<CertificateDer<'static>>>,
    identity: Option<ClientIdentity>,
}

fn trust(files: &mut Files<'_>, path: &str, raw: &raw::Upstream) -> Option<Trust> {
    let paths = ["ca_file", "certificate_file", "key_file"].map(|name| key(path, name));
    let [ca_path, certificate_path, key_path] = &paths;
    let cas = raw.ca_file.as_ref().map(|name| files.certificates(ca_path, name));
    let certificates = raw.certificate_file.as_ref().map(|name| files.certificates(certificate_path, name));
    let key = raw.key_file.as_ref().map(|name| files.private_key(key_path, name));
    // Not refused: what this upstream misses must hold up no other change, such as a revocation.
    if let Some(Err(error)) = certificates.as_ref().and_then(|chain| chain.as_ref()?.first()).map(in_force) {
        files.warn(certificate_path, &format!("{error}: the upstream will turn the gate away"));
    }
    let identity = match (certificates, key) {
        (Some(certificates), Some(key)) => {
            certificates.zip(key).map(|(certificates, key)| Some(ClientIdentity { certificates, key }))
        }
        (None, None) => Some(None),
        (Some(_), None) | (None, Some(_)) => {
            files.problem_of(path, &[certificate_path, key_path], "certificate_file and key_file go together");
            None
        }
    };
    let cas = cas.map_or(Some(None), |cas| cas.map(Some));
    let is_whole = paths.iter().all(|path| !files.is_mended(path));
    Some(Trust { cas: cas?, identity: identity? }).filter(|_| is_whole)
}
