//! The table: its name, its making, and what is checked of it.

use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// A statement gets 2 s, so that one that waits for a lock ends before its caller gives up. A commit is on disk when it
/// is reported, whatever the server's default.
pub(super) const SESSION: &str = "SET statement_timeout = 2000; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Taken while the table is made: two gateways that start at once would otherwise meet an error of the catalog.
const MAKING_LOCK: i64 = 0x7365_616c_6761_7465;

/// The longest part of a name, in bytes: PostgreSQL's 63, less `_active`.
const PART_BYTES_MAX: usize = 56;

/// The name of a table, with its schema if it has one written before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    text: Arc<str>,
}

/// Why a text is no table name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted TABLE or SCHEMA.TABLE, each 1 to 56 of a-z, 0-9 and _, not beginning with a digit")]
pub struct NotATable;

impl Default for TableName {
    /// `sealgate_keys`, wherever the role's search path puts it.
    fn default() -> Self {
        Self { text: "sealgate_keys".into() }
    }
}

impl TableName {
    /// Reads `table` or `schema.table`: lower-case letters, digits and underscores, not beginning with a digit.
    ///
    /// # Errors
    /// [`NotATable`] for every other text.
    pub fn parse(text: &str) -> Result<Self, NotATable> {
        let plain = |part: &str| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            part.len() <= PART_BYTES_MAX
                && part.bytes().all(allowed)
                && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        };
        let parts = text.split('.').count();
        if parts > 2 || !text.split('.').all(plain) { Err(NotATable) } else { Ok(Self { text: text.into() }) }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As SQL takes it, whatever words it reserves.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.text.replace('.', "\".\""))
    }

    /// One implicit transaction: all of it or nothing.
    pub(super) fn ddl(&self) -> String {
        let table = self.quoted();
        let name = self.text.rsplit('.').next().unwrap_or_default();
        format!(
            "SELECT pg_advisory_xact_lock({MAKING_LOCK}); \
             CREATE TABLE IF NOT EXISTS {table} (id text COLLATE \"C\" PRIMARY KEY, scope text NOT NULL, \
             purpose text NOT NULL, state text NOT NULL, content text NOT NULL); \
             CREATE UNIQUE INDEX IF NOT EXISTS \"{name}_active\" ON {table} (scope, purpose) WHERE state = 'active'"
        )
    }

    pub(super) async fn is_there(&self, client: &Client) -> Result<bool, Error> {
        let rows = client.query_typed("SELECT to_regclass($1) IS NOT NULL", &[(&self.quoted(), Type::TEXT)]).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0))
    }

    /// Whether it outlives a crash of the server, which an unlogged table does not, and both unique indexes are there:
    /// without them two keys could be active at once.
    pub(super) async fn is_indexed(&self, client: &Client) -> Result<bool, Error> {
        let sql = "WITH unique_index AS (
                SELECT pg_get_indexdef(indexrelid, 1, true) AS first, pg_get_indexdef(indexrelid, 2, true) AS second,
                    indnkeyatts AS columns, pg_get_expr(indpred, indrelid) AS condition
                FROM pg_index
                WHERE indrelid = to_regclass($1) AND indisunique AND indisvalid AND indimmediate)
            SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1) AND relpersistence = 'p')
                AND EXISTS (SELECT FROM unique_index WHERE columns = 1 AND first = 'id' AND condition IS NULL)
                AND EXISTS (SELECT FROM unique_index WHERE columns = 2 AND first = 'scope' AND second = 'purpose'
                    AND (condition IS NULL OR condition = '(state = ''active''::text)'))";
        let rows = client.query_typed(sql, &[(&self.quoted(), Type::TEXT)]).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for (text, good) in [
            ("sealgate_keys", true),
            ("_k9", true),
            ("phi.keys", true),
            ("table", true),
            (&"a".repeat(56), true),
            (&"a".repeat(57), false),
            ("", false),
            (".", false),
            ("phi.", false),
            (".keys", false),
            ("a.b.c", false),
            ("9keys", false),
            ("Keys", false),
            ("keys\"; drop table x; --", false),
            ("clés", false),
            ("my keys", false),
        ] {
            assert_eq!(TableName::parse(text).is_ok(), good, "{text}");
        }
        assert_eq!(TableName::parse("phi.table").map(|name| name.quoted()), Ok("\"phi\".\"table\"".to_owned()));
        assert_eq!(TableName::parse(TableName::default().as_str()), Ok(TableName::default()));
    }

    /// The module's documentation shows what is sent.
    #[test]
    fn the_documented_sql_is_the_one_that_is_sent() {
        let source = include_str!("../postgres.rs");
        let documented: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//!"))
            .skip_while(|line| *line != " ```sql")
            .skip(1)
            .take_while(|line| *line != " ```")
            .flat_map(str::split_whitespace)
            .collect();
        let ddl = TableName::default().ddl();
        let sent: Vec<&str> = ddl.split_once("; ").unwrap().1.split_whitespace().collect();
        let plain = |words: &[&str]| words.join(" ").replace("( ", "(").replace(" )", ")").trim_matches(';').to_owned();
        assert_eq!(plain(&documented), plain(&sent));
    }
}
