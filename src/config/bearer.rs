//! Bearer tokens as the proxy checks them. Connects to nothing.

use super::files::Files;
use super::raw;
use super::source::key;
use crate::net::{self, fetch::Document};
use crate::proxy::bearer::fetched::{self, Fetched};
use crate::proxy::bearer::key_set::KeySet;
use crate::proxy::bearer::roles::RoleClaim;
use crate::proxy::bearer::{self, Bearer, Keys};
use crate::seal::CryptoProvider;
use crate::seal::crypto::sha256;
use http::{HeaderValue, Uri};
use jsonwebtoken::Algorithm;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// For a fetch of the key set.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a key set that is fetched.
const JWKS_BYTES_MAX: usize = 256 << 10;

/// What the config says of bearer tokens.
pub(super) struct Checked {
    /// `None` with a problem.
    pub(super) checked: Option<Bearer>,
    /// The roles that users can have by their claims; `None` if it does not speak of roles.
    pub(super) given: Option<HashSet<Arc<str>>>,
}

pub(super) fn bearer(
    files: &mut Files<'_>,
    (provider, dev_mode): (&dyn CryptoProvider, bool),
    raw: raw::Bearer,
    roles: &BTreeMap<String, raw::Role>,
) -> Checked {
    for (name, text) in [("bearer.issuer", &raw.issuer), ("bearer.audience", &raw.audience)] {
        if text.is_empty() {
            files.problem(name, "wanted a text, found nothing");
        }
    }
    let algorithms: Vec<Algorithm> = raw.algorithms.iter().copied().map(algorithm).collect();
    let keys = match (&raw.jwks_file, &raw.jwks_url) {
        (Some(file), None) => {
            of_url_only(files, &raw);
            self::file(files, file, &algorithms).map(|keys| Keys::Fixed(Arc::new(keys)))
        }
        (None, Some(url)) => {
            let fetched = fetched(files, (provider, dev_mode), (&raw, url), &algorithms);
            fetched.map(|settings| Keys::Fetched(Arc::new(Fetched::new(settings))))
        }
        _ => {
            let causes = ["bearer.jwks_file", "bearer.jwks_url"];
            files.problem_of("bearer", &causes, "wanted exactly one of jwks_file and jwks_url");
            None
        }
    };
    let raw::Bearer {
        issuer,
        audience,
        algorithms: _,
        jwks_file: _,
        jwks_url: _,
        ca_file: _,
        refresh_s: _,
        stale_max_s: _,
        clock_skew_s,
        roles: claim,
    } = raw;
    let roles = claim.map(|claim| role_claim(files, claim, roles));
    let given = roles.as_ref().map(|claim| claim.map.values().map(Arc::clone).collect());
    let clock_skew_s = clock_skew_s.unwrap_or(30);
    let settings = bearer::Settings { issuer, audience, algorithms, clock_skew_s, roles };
    Checked { checked: keys.map(|keys| Bearer::new(settings, keys)), given }
}

fn file(files: &mut Files<'_>, name: &str, algorithms: &[Algorithm]) -> Option<KeySet> {
    let path = "bearer.jwks_file";
    let json = files.public(path, name)?;
    let told = |files: &mut Files<'_>, error: &dyn std::fmt::Display| {
        let file = files.quoted(path, &files.path(name).display().to_string());
        files.problem(path, format!("file {file}: {error}"));
    };
    KeySet::read(&json, algorithms).map_err(|error| told(files, &error)).ok()
}

fn of_url_only(files: &mut Files<'_>, raw: &raw::Bearer) {
    let said = [
        ("bearer.ca_file", raw.ca_file.is_some()),
        ("bearer.refresh_s", raw.refresh_s.is_some()),
        ("bearer.stale_max_s", raw.stale_max_s.is_some()),
    ];
    for (path, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
        files.problem_of(path, &["bearer.jwks_file"], "only with jwks_url: a file is read again when it changes");
    }
}

fn fetched(
    files: &mut Files<'_>,
    (provider, dev_mode): (&dyn CryptoProvider, bool),
    (raw, url): (&raw::Bearer, &str),
    algorithms: &[Algorithm],
) -> Option<fetched::Settings> {
    let (refresh_s, stale_max_s) = (raw.refresh_s.unwrap_or(300), raw.stale_max_s.unwrap_or(86_400));
    if stale_max_s <= refresh_s {
        let causes = ["bearer.refresh_s", "bearer.stale_max_s"];
        let path = if raw.stale_max_s.is_some() { "bearer.stale_max_s" } else { "bearer.refresh_s" };
        let message = "stale_max_s is not above refresh_s: keys would go out of use before they are fetched again";
        files.problem_of(path, &causes, message);
    }
    if let Err(error) = KeySet::is_possible() {
        files.problem("bearer", error.to_string());
    }
    let path = "bearer.jwks_url";
    let read_before = files.sources.count();
    let Some((https, uri, target)) = address(url) else {
        files.problem(path, "wanted https://host[:port]/path");
        if let Some(name) = &raw.ca_file {
            files.certificates("bearer.ca_file", name);
        }
        return None;
    };
    if !https && !dev_mode {
        let message = "whoever is on the way could sign tokens by keys of its own; http:// needs `dev_mode: true`";
        files.problem_of(path, &["dev_mode"], message);
    }
    if !https && raw.ca_file.is_some() {
        files.problem_of("bearer.ca_file", &[path], "certificates have no meaning for an http:// URL");
    }
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    let tls = if https { Some(tls(files, provider, &host, raw.ca_file.as_deref())?) } else { None };
    let of_system = tls.as_ref().map_or([0; 32], |(_, _, cas)| *cas);
    let (written, of_files) = (format!("{url} {algorithms:?}"), files.sources.digest_from(read_before));
    let document = Document {
        host,
        port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        authority: HeaderValue::from_str(uri.authority()?.as_str()).ok()?,
        target,
        tls: tls.map(|(config, name, _)| (config, name)),
        timeout: FETCH_TIMEOUT,
        bytes_max: JWKS_BYTES_MAX,
    };
    Some(fetched::Settings {
        document,
        algorithms: algorithms.to_vec(),
        refresh: Duration::from_secs(refresh_s),
        stale_max: Duration::from_secs(stale_max_s),
        fingerprint: sha256(&[&of_files, &of_system, written.as_bytes()]),
    })
}

/// Whether it is https, all of it, and its path and query.
fn address(url: &str) -> Option<(bool, Uri, Uri)> {
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some() && !url.contains(['@', '#']))?;
    let https = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let target = Uri::from(uri.path_and_query()?.clone());
    Some((https, uri, target))
}

/// How the issuer's certificate is judged, the name that it must have, and a digest of the CAs that vouch for it.
fn tls(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    host: &str,
    ca_file: Option<&str>,
) -> Option<(Arc<ClientConfig>, ServerName<'static>, [u8; 32])> {
    let path = "bearer.jwks_url";
    let cas = ca_file.map(|name| files.certificates("bearer.ca_file", name));
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| files.problem(path, "the host is no name that a certificate can have"));
    let cas = cas.unwrap_or_else(|| Some(net::system_cas()))?;
    let trusted = sha256(&cas.iter().map(|ca| ca.as_ref()).collect::<Vec<_>>());
    if cas.is_empty() {
        files.problem("bearer", "the system has no CAs; name those that vouch for jwks_url in ca_file");
        return None;
    }
    let config = net::client_config(provider, cas, None).map_err(|error| files.problem("bearer", error.to_string()));
    Some((config.ok()?, name.ok()?, trusted))
}

fn role_claim(files: &mut Files<'_>, raw: raw::RoleClaim, roles: &BTreeMap<String, raw::Role>) -> RoleClaim {
    let raw::RoleClaim { claim, map } = raw;
    if claim.split('.').any(str::is_empty) {
        files.problem("bearer.roles.claim", "wanted the name of a claim, or names with dots between");
    }
    if map.is_empty() {
        files.problem("bearer.roles.map", "wanted at least one value that gives a role");
    }
    for (value, role) in &map {
        if !roles.contains_key(role) {
            let at = key("bearer.roles.map", value);
            let said = format!("unknown role {}; roles are named under `roles`", files.quoted(&at, role));
            files.problem_of(&at, &["roles"], said);
        }
    }
    RoleClaim { claim, map: map.into_iter().map(|(value, role)| (value, role.into())).collect() }
}

const fn algorithm(raw: raw::BearerAlgorithm) -> Algorithm {
    match raw {
        raw::BearerAlgorithm::RS256 => Algorithm::RS256,
        raw::BearerAlgorithm::RS384 => Algorithm::RS384,
        raw::BearerAlgorithm::RS512 => Algorithm::RS512,
        raw::BearerAlgorithm::PS256 => Algorithm::PS256,
        raw::BearerAlgorithm::PS384 => Algorithm::PS384,
        raw::BearerAlgorithm::PS512 => Algorithm::PS512,
        raw::BearerAlgorithm::ES256 => Algorithm::ES256,
        raw::BearerAlgorithm::ES384 => Algorithm::ES384,
        raw::BearerAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
