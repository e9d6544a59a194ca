//! Which table, and where; judged before anything is called.

use aws_smithy_http_client::HttpClientError;
use std::sync::Arc;

/// Which table, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its name.
    pub table: TableName,
    /// Its region, such as `eu-west-1`.
    pub region: String,
    /// Where DynamoDB answers; the region's public endpoint if `None`.
    pub endpoint_url: Option<String>,
    /// Lets the endpoint be `http://`: whoever is on the way sees the keys' encrypted forms and can change which one is
    /// active. For development.
    pub plaintext: bool,
    /// PEM of the CAs that vouch for the endpoint, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// The name of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName(Arc<str>);

/// Why a text is no table name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted 3 to 255 characters of [A-Za-z0-9_.-]")]
pub struct NotATable;

impl Default for TableName {
    /// `sealgate-keys`.
    fn default() -> Self {
        Self("sealgate-keys".into())
    }
}

impl TableName {
    /// Reads a name as DynamoDB's `CreateTable` takes it.
    ///
    /// # Errors
    /// [`NotATable`] unless it is 3 to 255 characters of `[A-Za-z0-9_.-]`.
    pub fn parse(text: &str) -> Result<Self, NotATable> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let good = (3..=255).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(NotATable) }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), NoClient> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.region.is_empty() || !self.region.bytes().all(plain) {
            return Err(NoClient::Region);
        }
        let Some(url) = &self.endpoint_url else { return Ok(()) };
        let url = url.parse::<http::Uri>().ok().filter(|url| url.host().is_some());
        match url.as_ref().and_then(http::Uri::scheme_str) {
            Some("https") => Ok(()),
            Some("http") if self.plaintext => Ok(()),
            _ => Err(NoClient::Endpoint),
        }
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoClient {
    /// The TLS client cannot be made.
    #[error("DynamoDB: TLS client: {0}")]
    Tls(#[from] HttpClientError),
    /// The region would not stand in a host name.
    #[error("DynamoDB: region: wanted one such as eu-west-1")]
    Region,
    /// The endpoint is not one that the settings allow.
    #[error("DynamoDB: endpoint: wanted https://host[:port]")]
    Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_tables_are_taken() {
        let longest = "a".repeat(255);
        for (text, good) in [
            ("sealgate-keys", true),
            ("a.B_9", true),
            (longest.as_str(), true),
            ("ab", false),
            ("", false),
            ("sealgate keys", false),
            ("sealgate/keys", false),
            ("clés", false),
        ] {
            assert_eq!(TableName::parse(text).is_ok(), good, "{text}");
        }
        assert!(TableName::parse(&"a".repeat(256)).is_err());
        assert_eq!(TableName::parse(TableName::default().as_str()), Ok(TableName::default()));
    }

    #[test]
    fn an_endpoint_in_the_clear_is_refused_unless_it_is_allowed() {
        for (url, plaintext, good) in [
            (None, false, true),
            (Some("https://localhost:8000"), false, true),
            (Some("http://localhost:8000"), false, false),
            (Some("http://localhost:8000"), true, true),
            (Some("ftp://localhost"), true, false),
            (Some("localhost"), true, false),
            (Some(""), true, false),
        ] {
            let settings = Settings {
                table: TableName::default(),
                region: "eu-west-1".to_owned(),
                endpoint_url: url.map(str::to_owned),
                plaintext,
                ca_pem: None,
            };
            assert_eq!(settings.check().is_ok(), good, "{url:?}");
            for region in ["", "eu west", "evil.example/", "EU"] {
                let settings = Settings { region: region.to_owned(), ..settings.clone() };
                assert!(matches!(settings.check(), Err(NoClient::Region)), "{region}");
            }
        }
    }
}
