//! Classes, roles and principals as written.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A kind of PHI, and how its values are sealed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// What a masked value still shows; nothing if absent.
    pub mask: Option<Mask>,
    /// Default random.
    pub suite: Option<Suite>,
    /// Suite random: where the encrypted data key is. Default inline; stored makes short tokens and needs keyring.store.
    pub placement: Option<Placement>,
    /// Suites random and deterministic: hides lengths by padding to a multiple of so many bytes. Default 0, not padded.
    #[schemars(range(max = 65536))]
    pub pad_bytes: Option<usize>,
    /// Suite deterministic: the JSON type of its values; any other is refused. Default text.
    #[serde(rename = "type")]
    pub kind: Option<ValueType>,
    /// Suite deterministic: values are sealed in lower case, and come back so.
    pub fold_case: Option<bool>,
    /// Suite deterministic: values are sealed in Unicode's normal form C, and come back so.
    pub normalize: Option<bool>,
    /// Suite deterministic: how many different values there are, as far as is known. Below 10000 is warned of.
    #[schemars(range(min = 1))]
    pub distinct_values: Option<u64>,
    /// Suite format: what its values are made of.
    pub alphabet: Option<Alphabet>,
    /// Suite format: said aloud where there are fewer than a million values, as of dates.
    pub accept_small_domain: Option<bool>,
}

/// How values are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Another token each time.
    Random,
    /// The same token for the same value, which shows that they are equal.
    Deterministic,
    /// A text of the same format. Not authenticated, not recognisable.
    Format,
}

/// Where encrypted data keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the token.
    Inline,
    /// In the key store.
    Stored,
}

/// The JSON type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// A string.
    Text,
    /// A number, as it is spelled.
    Number,
}

/// What the values of a format are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// `0-9`, at least 6 of them.
    Digits,
    /// `0-9A-Z`, at least 4.
    Uppercase,
    /// `0-9A-Za-z`, at least 4.
    Alphanumeric,
    /// A day from 1900 to 2099, year first.
    Date,
    /// Month, day, year.
    DateMonthFirst,
    /// Day, month, year.
    DateDayFirst,
}

/// What a masked value still shows, unless that were half of it or more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Letters and digits at the start.
    #[serde(default)]
    pub keep_first: usize,
    /// Letters and digits at the end.
    #[serde(default)]
    pub keep_last: usize,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// As it was sealed.
    Plain,
    /// Partly hidden, as its class says.
    Mask,
    /// As the fixed text `[REDACTED]`.
    Redact,
    /// Taken out of a JSON document, with what is empty without it; elsewhere as `redact`.
    Remove,
    /// As the token.
    Sealed,
    /// Not at all: exchanges on routes with such a class are refused.
    Deny,
}

/// What a role may see and write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// View of every class that `views` does not name. If absent, the role says nothing of them, which denies them.
    pub default_view: Option<View>,
    /// View by class.
    #[serde(default)]
    pub views: BTreeMap<String, View>,
    /// Classes that may be written although their view is not plain.
    #[serde(default)]
    pub writes: Vec<String>,
    /// Whether the role may not write at all.
    #[serde(default)]
    pub read_only: bool,
}

/// Who has which roles. Exactly one of `spiffe`, `dns`, `subject`, `uid` and `anonymous`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The certificate's SPIFFE id.
    pub spiffe: Option<String>,
    /// The certificate's DNS name.
    pub dns: Option<String>,
    /// The subject of a certificate that has neither, as `openssl x509 -noout -subject -nameopt RFC2253` shows it: the
    /// most specific part first, such as CN=billing,O=Clinic,C=US.
    pub subject: Option<String>,
    /// The real user id of who runs `sealgate open` and `sealgate seal` on this machine.
    pub uid: Option<u32>,
    /// `true`: all clients without a certificate, where they may come without one.
    pub anonymous: Option<bool>,
    /// Names of roles; of those that speak of a class, the first decides. Either this or `user_roles`.
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    /// Names of the roles that users behind it may have. Each of its requests must bring a bearer token, whose user has those of
    /// them that `bearer.roles` gives; of those that speak of a class, the first decides.
    #[schemars(length(min = 1))]
    pub user_roles: Option<Vec<String>>,
    /// Scopes that it may act in. Default: the scope at the top, and no other.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
}
