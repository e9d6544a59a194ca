//! Where data keys come from, as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Exactly one of `local` and `aws_kms`, which makes data keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// A KEK in a file: for development. Whoever reads the file opens everything.
    pub local: Option<LocalKeyring>,
    /// A KEK in AWS KMS.
    pub aws_kms: Option<AwsKms>,
    /// KEKs under which every data key is wrapped too, so that any one of them opens it: of another region, or an offline
    /// recovery key. No new data key is made while one of them does not answer.
    #[serde(default)]
    pub also: Vec<Kek>,
    /// KEKs that open what they wrapped before another one took over.
    #[serde(default)]
    pub old: Vec<Kek>,
    /// File of encrypted data keys for deterministic and format classes, made once by `sealgate keys create`.
    pub keyset_file: Option<String>,
    /// Where data keys are that stand in no token.
    pub store: Option<Store>,
    /// How long and how much data keys are used.
    #[serde(default)]
    pub cache: Cache,
}

/// A KEK in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalKeyring {
    /// File with the base64 of 32 random bytes; not readable by group or others.
    pub key_file: String,
}

/// One more KEK. Exactly one of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kek {
    /// A KEK in a file.
    pub local: Option<LocalKeyring>,
    /// A KEK in AWS KMS.
    pub aws_kms: Option<AwsKms>,
    /// An RSA key whose private half is kept offline.
    pub recovery: Option<Recovery>,
}

/// An RSA key of 3072 to 8192 bits. `public_key_file` under `also`, `private_key_file` under `old`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// PEM file (`PUBLIC KEY`).
    pub public_key_file: Option<String>,
    /// PEM file (`PRIVATE KEY`), not readable by group or others: only when the key has been taken out of its safe.
    pub private_key_file: Option<String>,
}

/// Exactly one of them. Losing the store loses the data: back it up with the database that it serves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A file on this machine, used by one process at a time; `sealgate keys init` makes it.
    pub file: Option<String>,
    /// A table in PostgreSQL.
    pub postgres: Option<Postgres>,
    /// A table in DynamoDB.
    pub dynamodb: Option<DynamoDb>,
}

/// A table in PostgreSQL; made if it is not there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Name or address; the server's certificate must be for it.
    pub host: String,
    /// Default 5432.
    pub port: Option<u16>,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// File with its password; not readable by group or others.
    pub password_file: String,
    /// TABLE or SCHEMA.TABLE. Default sealgate_keys.
    pub table: Option<String>,
    /// PEM file of the CAs that vouch for the server, instead of the system's.
    pub ca_file: Option<String>,
    /// Speaks without TLS; needs dev_mode. Default false.
    #[serde(default)]
    pub plaintext: bool,
}

/// A table in DynamoDB, made beforehand. Credentials are found as every AWS SDK does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamoDb {
    /// Its region, such as `eu-west-1`.
    pub region: String,
    /// Its name. Default sealgate-keys.
    pub table: Option<String>,
    /// Endpoint, such as that of a VPC endpoint; the region's public one if absent. http:// needs dev_mode.
    pub endpoint_url: Option<String>,
    /// PEM file of the CAs that vouch for the endpoint, instead of the system's.
    pub ca_file: Option<String>,
}

/// A KEK in AWS KMS. Credentials are found as every AWS SDK does (environment, profile, IRSA, Pod Identity, instance).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsKms {
    /// ARN of a symmetric key; not an alias.
    pub key_arn: String,
    /// Endpoint, such as that of a VPC endpoint; the region's public one if absent. http:// needs dev_mode.
    pub endpoint_url: Option<String>,
    /// PEM file of the CAs that vouch for the endpoint, instead of the system's.
    pub ca_file: Option<String>,
}

/// How long and how much data keys are used.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How long one data key seals, counted from when it was made. Default 86400.
    #[schemars(range(min = 1, max = 86400))]
    pub seal_age_max_s: Option<u64>,
    /// How many values one data key seals. Default 16777216.
    #[schemars(range(min = 1, max = 4_294_967_296_u64))]
    pub seal_uses_max: Option<u64>,
    /// How many bytes one data key seals; at least server.limits.value_bytes_max. Default 1073741824.
    #[schemars(range(min = 1))]
    pub seal_bytes_max: Option<u64>,
    /// How long a data key seals, a tenth more or less, without KMS having unwrapped it once more. A key disabled in KMS
    /// seals nothing after it. Default 300.
    #[schemars(range(min = 1, max = 86400))]
    pub confirm_interval_s: Option<u64>,
    /// How long an unwrapped data key opens, from when it was unwrapped. A key disabled in KMS opens nothing after it.
    /// Default 300.
    #[schemars(range(min = 1, max = 86400))]
    pub open_age_max_s: Option<u64>,
    /// How many unwrapped data keys are kept. Default 10000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub open_entries_max: Option<u64>,
    /// How much longer keys are used while KMS or the key store gives no answer; every use is on record and counted. A
    /// key that KMS denies is never used longer. Default 0.
    #[schemars(range(max = 3600))]
    pub stale_if_error_s: Option<u64>,
}
