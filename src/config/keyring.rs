//! Where data keys come from and how long they are used, as the keyring takes it. Connects to nothing.

use super::checked::Keyring;
use super::files::Files;
use super::raw;
use crate::keyring::{CacheSettings, aws_kms, local};
use crate::proxy::Limits;
use crate::seal::CryptoProvider;
use crate::seal::sealer::Budget;
use std::time::Duration;

pub(super) fn keyring(
    files: &mut Files<'_>,
    provider: &'static dyn CryptoProvider,
    dev_mode: bool,
    local: Option<raw::LocalKeyring>,
    aws_kms: Option<raw::AwsKms>,
) -> Option<Keyring> {
    let found = match (&local, &aws_kms) {
        (Some(_), Some(_)) => Some("both"),
        (None, None) => Some("neither"),
        (Some(_), None) | (None, Some(_)) => None,
    };
    if let Some(found) = found {
        let causes = ["keyring.local", "keyring.aws_kms"];
        files.problem_of("keyring", &causes, format!("wanted exactly one of local and aws_kms, found {found}"));
    }
    let local = local.and_then(|raw| self::local(files, provider, &raw)).map(Keyring::Local);
    let aws_kms = aws_kms.and_then(|raw| self::aws_kms(files, dev_mode, &raw)).map(Keyring::AwsKms);
    local.or(aws_kms)
}

fn local(
    files: &mut Files<'_>,
    provider: &'static dyn CryptoProvider,
    raw: &raw::LocalKeyring,
) -> Option<local::Local> {
    let path = "keyring.local.key_file";
    let bytes = files.secret(path, &raw.key_file)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    local::Local::read(provider, text).map_err(|error| files.problem(path, error.to_string())).ok()
}

fn aws_kms(files: &mut Files<'_>, dev_mode: bool, raw: &raw::AwsKms) -> Option<aws_kms::Settings> {
    let arn = aws_kms::KeyArn::parse(&raw.key_arn);
    let arn = arn.map_err(|error| files.problem("keyring.aws_kms.key_arn", error.to_string())).ok();
    let endpoint = "keyring.aws_kms.endpoint_url";
    if let Some(url) = &raw.endpoint_url {
        let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
        match uri.as_ref().and_then(http::Uri::scheme_str) {
            Some("https") => {}
            Some("http") if dev_mode => {}
            Some("http") => files.problem_of(
                endpoint,
                &["dev_mode"],
                "an http:// endpoint shows data keys to the network; it needs `dev_mode: true`",
            ),
            _ => files.problem(endpoint, "wanted https://host[:port]"),
        }
    }
    let ca_pem = match &raw.ca_file {
        Some(name) => {
            files.certificates("keyring.aws_kms.ca_file", name)?;
            files.public("keyring.aws_kms.ca_file", name)
        }
        None => None,
    };
    Some(aws_kms::Settings { key_arn: arn?, endpoint_url: raw.endpoint_url.clone(), ca_pem })
}

/// How data keys are kept.
pub(super) fn cache(files: &mut Files<'_>, raw: &raw::Cache, limits: &Limits) -> CacheSettings {
    let defaults = CacheSettings::default();
    let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
    let bytes_max = raw.seal_bytes_max.unwrap_or(defaults.budget.bytes_max);
    if u64::try_from(limits.json.value_bytes_max).map_or(true, |value| bytes_max < value) {
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
