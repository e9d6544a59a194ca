//! Where data keys come from and how long they are used, as the keyring takes it. Connects to nothing.

use super::checked::{Kek, Keyring, Store};
use super::files::Files;
use super::raw;
use super::source::{item, key};
use crate::keyring::recovery::Recovery;
use crate::keyring::store::keyset::Keyset;
use crate::keyring::store::postgres;
use crate::keyring::{CacheSettings, aws_kms, local};
use crate::proxy::Limits;
use crate::seal::Budget;
use crate::seal::CryptoProvider;
use crate::seal::envelope::EDKS_MAX;
use std::time::Duration;
use zeroize::Zeroizing;

/// Whose settings they are.
#[derive(Clone, Copy)]
pub(super) struct Under {
    pub(super) provider: &'static dyn CryptoProvider,
    pub(super) dev_mode: bool,
}

pub(super) fn keyring(files: &mut Files<'_>, under: Under, raw: raw::Keyring) -> Option<Keyring> {
    let raw::Keyring { local, aws_kms, also, old, keyset_file, store, cache: _ } = raw;
    let first = kek(files, under, "keyring", (local, aws_kms));
    if also.len() >= EDKS_MAX {
        files.problem("keyring.also", format!("wanted at most {} KEKs besides the first", EDKS_MAX - 1));
    }
    let also = keks(files, under, "keyring.also", also, false);
    let old = keks(files, under, "keyring.old", old, true);
    let keyset_path = keyset_file.as_ref().map(|name| files.path(name));
    let keyset = keyset_file.map(|name| keyset(files, &name));
    let store = store.map(|store| self::store(files, under, store));
    Some(Keyring {
        first: first?,
        also: also?,
        old: old?,
        keyset: keyset.map_or(Some(None), |keyset| keyset.map(Some))?,
        keyset_path,
        store: store.map_or(Some(None), |store| store.map(Some))?,
    })
}

/// The one of the two that is there.
fn kek(
    files: &mut Files<'_>,
    under: Under,
    path: &str,
    (local, aws_kms): (Option<raw::LocalKeyring>, Option<raw::AwsKms>),
) -> Option<Kek> {
    let found = match (&local, &aws_kms) {
        (Some(_), Some(_)) => Some("both"),
        (None, None) => Some("neither"),
        (Some(_), None) | (None, Some(_)) => None,
    };
    if let Some(found) = found {
        let causes = [key(path, "local"), key(path, "aws_kms")];
        let causes = causes.each_ref().map(String::as_str);
        files.problem_of(path, &causes, format!("wanted exactly one of local and aws_kms, found {found}"));
    }
    let local = local.and_then(|raw| self::local(files, under, &key(path, "local"), &raw)).map(Kek::Local);
    let aws_kms = aws_kms.and_then(|raw| self::aws_kms(files, under, &key(path, "aws_kms"), &raw)).map(Kek::AwsKms);
    local.or(aws_kms)
}

fn keks(files: &mut Files<'_>, under: Under, path: &str, raw: Vec<raw::Kek>, old: bool) -> Option<Vec<Kek>> {
    let mut keks = Vec::with_capacity(raw.len());
    let mut complete = true;
    for (index, raw::Kek { local, aws_kms, recovery }) in raw.into_iter().enumerate() {
        let at = item(path, index);
        let kek = match (local, aws_kms, recovery) {
            (local @ Some(_), None, None) => kek(files, under, &at, (local, None)),
            (None, aws_kms @ Some(_), None) => kek(files, under, &at, (None, aws_kms)),
            (None, None, Some(raw)) => {
                self::recovery(files, under, &key(&at, "recovery"), &raw, old).map(Kek::Recovery)
            }
            _ => {
                let causes = ["local", "aws_kms", "recovery"].map(|name| key(&at, name));
                let causes = causes.each_ref().map(String::as_str);
                files.problem_of(&at, &causes, "wanted exactly one of local, aws_kms and recovery");
                None
            }
        };
        complete &= kek.is_some();
        keks.extend(kek);
    }
    complete.then_some(keks)
}

fn local(files: &mut Files<'_>, under: Under, path: &str, raw: &raw::LocalKeyring) -> Option<local::Local> {
    let path = &key(path, "key_file");
    let bytes = files.secret(path, &raw.key_file)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    local::Local::read(under.provider, text).map_err(|error| files.problem(path, error.to_string())).ok()
}

fn recovery(files: &mut Files<'_>, under: Under, path: &str, raw: &raw::Recovery, old: bool) -> Option<Recovery> {
    let [public, private] = ["public_key_file", "private_key_file"].map(|name| key(path, name));
    match (&raw.public_key_file, &raw.private_key_file, old) {
        (Some(name), None, false) => {
            let pem = files.public(&public, name)?;
            Recovery::read_public(under.provider, &pem).map_err(|error| files.problem(&public, error.to_string())).ok()
        }
        (None, Some(name), true) => {
            let pem = files.secret(&private, name)?;
            Recovery::read_private(under.provider, &pem)
                .map_err(|error| files.problem(&private, error.to_string()))
                .ok()
        }
        _ => {
            let wanted = if old { "private_key_file" } else { "public_key_file" };
            files.problem_of(path, &[&public, &private], format!("wanted {wanted} here, and nothing else"));
            None
        }
    }
}

fn aws_kms(files: &mut Files<'_>, under: Under, path: &str, raw: &raw::AwsKms) -> Option<aws_kms::Settings> {
    let at = key(path, "key_arn");
    let arn = aws_kms::KeyArn::parse(&raw.key_arn).map_err(|error| files.problem(&at, error.to_string())).ok();
    endpoint(files, under, path, raw.endpoint_url.as_deref());
    let ca_pem = ca(files, path, raw.ca_file.as_deref());
    Some(aws_kms::Settings { key_arn: arn?, endpoint_url: raw.endpoint_url.clone(), ca_pem: ca_pem? })
}

fn endpoint(files: &mut Files<'_>, under: Under, path: &str, url: Option<&str>) {
    let Some(url) = url else { return };
    let at = key(path, "endpoint_url");
    let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
    match uri.as_ref().and_then(http::Uri::scheme_str) {
        Some("https") => {}
        Some("http") if under.dev_mode => {}
        Some("http") => files.problem_of(
            &at,
            &["dev_mode"],
            "an http:// endpoint shows data keys to the network; it needs `dev_mode: true`",
        ),
        _ => files.problem(&at, "wanted https://host[:port]"),
    }
}

/// PEM of the CAs of a file, if one is named. `None` only together with a problem.
#[expect(clippy::option_option, reason = "none named is not none found")]
fn ca(files: &mut Files<'_>, path: &str, name: Option<&str>) -> Option<Option<Vec<u8>>> {
    let Some(name) = name else { return Some(None) };
    let at = key(path, "ca_file");
    files.certificates(&at, name)?;
    files.public(&at, name).map(Some)
}

fn keyset(files: &mut Files<'_>, name: &str) -> Option<Keyset> {
    let path = "keyring.keyset_file";
    let bytes = files.keyset(path, name)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Keyset::read(name, text).map_err(|error| files.problem(path, error.to_string())).ok()
}

fn store(files: &mut Files<'_>, under: Under, raw: raw::Store) -> Option<Store> {
    let path = "keyring.store";
    match raw {
        raw::Store { file: Some(name), postgres: None, dynamodb: None } => Some(Store::File(files.path(&name))),
        raw::Store { file: None, postgres: Some(raw), dynamodb: None } => {
            postgres(files, under, &key(path, "postgres"), raw).map(Store::Postgres)
        }
        raw::Store { file: None, postgres: None, dynamodb: Some(raw) } => {
            dynamodb(files, under, &key(path, "dynamodb"), raw)
        }
        _ => {
            let causes = ["file", "postgres", "dynamodb"].map(|name| key(path, name));
            let causes = causes.each_ref().map(String::as_str);
            files.problem_of(path, &causes, "wanted exactly one of file, postgres and dynamodb");
            None
        }
    }
}

fn postgres(files: &mut Files<'_>, under: Under, path: &str, raw: raw::Postgres) -> Option<postgres::Settings> {
    let raw::Postgres { host, port, database, user, password_file, table, ca_file, plaintext } = raw;
    let password = files.secret(&key(path, "password_file"), &password_file);
    let at = key(path, "table");
    let table = postgres::TableName::parse(table.as_deref().unwrap_or("sealgate_keys"));
    let table = table.map_err(|error| files.problem(&at, error.to_string())).ok();
    if plaintext && !under.dev_mode {
        let message = "whoever is on the way could change which key is active; it needs `dev_mode: true`";
        files.problem_of(&key(path, "plaintext"), &["dev_mode"], message);
    }
    let ca_pem = ca(files, path, ca_file.as_deref());
    let password = password?;
    let text = std::str::from_utf8(&password).unwrap_or_default().trim_end_matches(['\r', '\n']);
    Some(postgres::Settings {
        host,
        port: port.unwrap_or(5432),
        database,
        user,
        password: Zeroizing::new(text.to_owned()),
        table: table?,
        ca_pem: ca_pem?,
        plaintext,
    })
}

#[cfg(feature = "dynamodb")]
fn dynamodb(files: &mut Files<'_>, under: Under, path: &str, raw: raw::DynamoDb) -> Option<Store> {
    use crate::keyring::store::dynamodb::{Settings, TableName};
    let raw::DynamoDb { region, table, endpoint_url, ca_file } = raw;
    let at = key(path, "table");
    let table = table.map_or(Ok(TableName::default()), |text| TableName::parse(&text));
    let table = table.map_err(|error| files.problem(&at, error.to_string())).ok();
    endpoint(files, under, path, endpoint_url.as_deref());
    let ca_pem = ca(files, path, ca_file.as_deref());
    Some(Store::DynamoDb(Settings { table: table?, region, endpoint_url, plaintext: under.dev_mode, ca_pem: ca_pem? }))
}

#[cfg(not(feature = "dynamodb"))]
fn dynamodb(files: &mut Files<'_>, _: Under, path: &str, _: raw::DynamoDb) -> Option<Store> {
    files.problem(path, "this build has no DynamoDB: it needs the feature `dynamodb`");
    None
}

/// How data keys are kept.
pub(super) fn cache(files: &mut Files<'_>, raw: &raw::Cache, limits: &Limits) -> CacheSettings {
    let defaults = CacheSettings::default();
    let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
    let bytes_max = raw.seal_bytes_max.unwrap_or(defaults.budget.bytes_max);
    if u64::try_from(limits.document.value_bytes_max).map_or(true, |value| bytes_max < value) {
        let (sealed, value) = ("keyring.cache.seal_bytes_max", "server.limits.value_bytes_max");
        let (path, message) = match raw.seal_bytes_max {
            Some(_) => (sealed, format!("below {value}: the longest values could not be sealed")),
            None => (value, format!("above {sealed}: the longest values could not be sealed")),
        };
        files.problem_of(path, &[sealed, value], message);
    }
    CacheSettings {
        seal_age_max: seconds(raw.seal_age_max_s, defaults.seal_age_max),
        budget: Budget { seals_max: raw.seal_uses_max.unwrap_or(defaults.budget.seals_max), bytes_max },
        confirm_interval: seconds(raw.confirm_interval_s, defaults.confirm_interval),
        open_age_max: seconds(raw.open_age_max_s, defaults.open_age_max),
        open_entries_max: raw.open_entries_max.unwrap_or(defaults.open_entries_max),
        stale_if_error: seconds(raw.stale_if_error_s, defaults.stale_if_error),
    }
}
