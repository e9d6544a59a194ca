//! Bearer tokens as the proxy checks them.

use super::files::Files;
use super::raw;
use crate::proxy::bearer::{Bearer, Settings};
use jsonwebtoken::Algorithm;

pub(super) fn bearer(files: &mut Files<'_>, raw: &raw::Bearer) -> Option<Bearer> {
    let raw::Bearer { issuer, audience, algorithms, jwks_file, clock_skew_s } = raw;
    for (name, text) in [("bearer.issuer", issuer), ("bearer.audience", audience)] {
        if text.is_empty() {
            files.problem(name, "wanted a text, found nothing");
        }
    }
    let settings = Settings {
        issuer: issuer.clone(),
        audience: audience.clone(),
        algorithms: algorithms.iter().copied().map(algorithm).collect(),
        clock_skew_s: clock_skew_s.unwrap_or(30),
    };
    let path = "bearer.jwks_file";
    let keys = files.public(path, jwks_file)?;
    Bearer::new(&settings, &keys)
        .map_err(|error| {
            let file = files.quoted(path, &files.path(jwks_file).display().to_string());
            files.problem(path, format!("file {file}: {error}"));
        })
        .ok()
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
