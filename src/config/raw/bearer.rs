//! Bearer tokens as written.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bearer tokens: JWTs of one issuer. They are asked for on routes whose scope comes from a claim, and of principals with
/// `user_roles`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// What the claim `iss` must say, to the letter.
    pub issuer: String,
    /// What the claim `aud` must say, or one of what it says.
    pub audience: String,
    /// By which algorithms tokens may be signed.
    #[schemars(length(min = 1))]
    pub algorithms: Vec<BearerAlgorithm>,
    /// JSON file of the issuer's public keys (a JWK set, RFC 7517). Either this or `jwks_url`.
    pub jwks_file: Option<String>,
    /// `https://host[:port]/path` of them: the `jwks_uri` of the issuer's `/.well-known/openid-configuration`.
    pub jwks_url: Option<String>,
    /// With `jwks_url`: PEM file of the CAs that vouch for it, instead of the system's.
    pub ca_file: Option<String>,
    /// With `jwks_url`: how often it is fetched. Default 300.
    #[schemars(range(min = 1, max = 86400))]
    pub refresh_s: Option<u64>,
    /// With `jwks_url`: how long after they were fetched keys are used while it cannot be had. Default 86400.
    #[schemars(range(min = 1, max = 604_800))]
    pub stale_max_s: Option<u64>,
    /// How far the issuer's clock may be from this one. Default 30.
    #[schemars(range(max = 300))]
    pub clock_skew_s: Option<u64>,
    /// Which roles a user has; for principals with `user_roles`.
    pub roles: Option<RoleClaim>,
}

/// Which claim says what a user is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleClaim {
    /// Its name, or a path such as `realm_access.roles`. What it holds is a text or a list of texts.
    pub claim: String,
    /// Roles by such texts. All others give none.
    pub map: BTreeMap<String, String>,
}

/// A signature algorithm of RFC 7518 and RFC 8037.
#[expect(missing_docs, reason = "the names are those of the standards")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BearerAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}
