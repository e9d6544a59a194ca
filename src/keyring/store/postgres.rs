//! Keys in a table of PostgreSQL, for a fleet. Which key is active is decided by a unique index, in one statement.
//!
//! `sealgate keys init` makes the table where it is not there, with exactly this, and nothing else does: on a wrong database,
//! or one that is empty after a failover, it would begin anew unnoticed.
//!
//! ```sql
//! CREATE TABLE IF NOT EXISTS "sealgate_keys" (
//!     id text COLLATE "C" PRIMARY KEY,
//!     scope text NOT NULL,
//!     purpose text NOT NULL,
//!     state text NOT NULL,
//!     content text NOT NULL
//! );
//! CREATE UNIQUE INDEX IF NOT EXISTS "sealgate_keys_active"
//!     ON "sealgate_keys" (scope, purpose) WHERE state = 'active';
//! ```
//!
//! Where it is there, nothing is made or changed, so that a role with SELECT, INSERT and UPDATE on the table is enough.
//! A table without one of the two indexes is refused.
//!
//! `content` is the JSON object of [`keyset`], the other columns repeat what is looked up by; a row in
//! which they differ is refused. Only a server that takes writes is spoken to, never a standby, which may lag: one that has
//! become such since is left at its first answer. A commit that `synchronous_commit = off` would leave in memory is waited for. A statement has 2 s, a call 5 s in all.
//!
//! A shredded key's encrypted forms are gone for every query at once. Dead tuples go with the next VACUUM, and write-ahead
//! log and backups are kept as the operator says: wiping those is not provided.

use super::rules::{self, Activation};
use super::{Imported, KeyRow, KeyState, KeyStore, StoreError, keyset};
use crate::net;
use crate::seal::Purpose;
use crate::seal::{CryptoProvider, KeyId, Scope};
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

mod fault;
mod link;
mod table;

pub use table::{NotATable, TableName};

use fault::{Failed, is_conflict, is_there};
use link::Link;

/// How often a write that lost against another one is judged again. Each time, another one has won.
const ROUNDS_MAX: usize = 16;

/// Which table, and how to get there. It holds the password, so it has no `Debug`.
pub struct Settings {
    /// A name or an address; the server's certificate must be for it.
    pub host: String,
    /// 5432 as a rule.
    pub port: u16,
    /// The database in it.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Zeroizing<String>,
    /// The table.
    pub table: TableName,
    /// PEM of the CAs that vouch for the server, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Speaks without TLS: whoever is on the way sees the keys' encrypted forms and can change which one is active. For
    /// development, and for a server on this machine.
    pub plaintext: bool,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoClient {
    /// The host is none, or the path of a socket.
    #[error("PostgreSQL: host: wanted a name or an address")]
    Host,
    /// The CAs are not PEM.
    #[error("PostgreSQL: TLS client: CA file holds no certificate")]
    NoCa,
    /// A CA cannot be used.
    #[error("PostgreSQL: TLS client: {0}")]
    Tls(#[from] rustls::Error),
}

/// A table of keys. Nothing is connected until the first call, and again after a connection was lost.
pub struct Postgres {
    name: Arc<str>,
    settings: Settings,
    tls: Option<MakeRustlsConnect>,
    link: Mutex<Option<Arc<Link>>>,
}

/// A row as it stands in the table: what it says, and its text, by which a change of it is noticed.
struct Found {
    row: KeyRow,
    content: String,
}

impl Postgres {
    /// A client for the table.
    ///
    /// # Errors
    /// See [`NoClient`].
    pub fn new(provider: &dyn CryptoProvider, settings: Settings) -> Result<Self, NoClient> {
        if settings.host.is_empty() || settings.host.contains('/') {
            return Err(NoClient::Host);
        }
        let tls = if settings.plaintext {
            None
        } else {
            let cas = match &settings.ca_pem {
                Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap_or_default(),
                None => net::system_cas(),
            };
            if cas.is_empty() {
                return Err(NoClient::NoCa);
            }
            let mut config = Arc::unwrap_or_clone(net::client_config(provider, cas, None)?);
            // A server that knows ALPN refuses every other protocol.
            config.alpn_protocols = vec![b"postgresql".to_vec()];
            Some(MakeRustlsConnect::new(config))
        };
        let name = format!("postgres {}:{}/{}", settings.host, settings.port, settings.database).into();
        Ok(Self { name, settings, tls, link: Mutex::new(None) })
    }

    /// Makes the table if it is not there. What is there stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] if the server is away, does not let the role make it, or has another table by that name.
    pub async fn make_table(&self) -> Result<(), StoreError> {
        self.bounded(async {
            let link = self.connect().await?;
            let table = &self.settings.table;
            if !table.is_there(&link.client).await? {
                link.client.batch_execute(&table.ddl()).await?;
            }
            self.prepare(&link.client).await
        })
        .await
    }

    /// In one statement with whether the server is a standby: what it has may be old, and what it has not may be on the way.
    async fn rows(&self, rest: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Found>, Failed> {
        let link = self.link().await?;
        let sql = format!(
            "SELECT found.*, pg_is_in_recovery() FROM (VALUES (true)) AS asked LEFT JOIN \
             (SELECT id, scope, purpose, state, content FROM {} {rest}) AS found ON true ORDER BY found.id COLLATE \"C\"",
            self.settings.table.quoted()
        );
        let answer = link.client.query_typed(&sql, values).await;
        self.judged(&link, answer.map_err(Failed::Sql).and_then(|rows| Found::read_all(&rows))).await
    }

    /// How many rows the statement made or changed.
    async fn write(&self, sql: &str, values: &[&str]) -> Result<u64, Failed> {
        let link = self.link().await?;
        let values: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(|value| (value as _, Type::TEXT)).collect();
        let answer = link.client.execute_typed(sql, &values).await;
        self.judged(&link, answer.map_err(Failed::Sql)).await
    }

    async fn find(&self, id: KeyId) -> Result<Option<Found>, Failed> {
        let id = id.to_string();
        Ok(self.rows("WHERE id = $1", &[(&id, Type::TEXT)]).await?.pop())
    }

    async fn find_active(&self, scope: Scope, purpose: Purpose) -> Result<Option<Found>, Failed> {
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&scope.as_str(), Type::TEXT), (&purpose.as_str(), Type::TEXT)];
        Ok(self.rows("WHERE scope = $1 AND purpose = $2 AND state = 'active'", &values).await?.pop())
    }

    async fn insert(&self, row: &KeyRow) -> Result<u64, Failed> {
        let table = self.settings.table.quoted();
        let sql = format!("INSERT INTO {table} (id, scope, purpose, state, content) VALUES ($1, $2, $3, $4, $5)");
        let (id, content) = (row.id().to_string(), keyset::write_row(row));
        let values = [&id, row.scope.as_str(), row.purpose.as_str(), row.state.as_str(), &content];
        self.write(&sql, &values).await
    }

    /// Inserts `row` if the row that was read as `seen` could be changed to `demoted`, in one statement: both, or neither.
    async fn insert_instead(&self, row: &KeyRow, demoted: &KeyRow, seen: &str) -> Result<u64, Failed> {
        let table = self.settings.table.quoted();
        let sql = format!(
            "WITH demoted AS (UPDATE {table} SET state = $6, content = $7 WHERE id = $8 AND content = $9 RETURNING id) \
             INSERT INTO {table} (id, scope, purpose, state, content) SELECT $1, $2, $3, $4, $5 FROM demoted"
        );
        let (id, content) = (row.id().to_string(), keyset::write_row(row));
        let (old_id, old_content) = (demoted.id().to_string(), keyset::write_row(demoted));
        let state = demoted.state.as_str();
        let row = [&id, row.scope.as_str(), row.purpose.as_str(), row.state.as_str(), &content];
        self.write(&sql, &[row.as_slice(), &[state, &old_content, &old_id, seen]].concat()).await
    }

    async fn activate(&self, row: &KeyRow, instead_of: Option<KeyId>) -> Result<KeyRow, Failed> {
        for _ in 0..ROUNDS_MAX {
            let (active, seen) = self
                .find_active(row.scope, row.purpose)
                .await?
                .map_or_else(|| (None, String::new()), |found| (Some(found.row), found.content));
            let written = match rules::activation(&self.name, row, instead_of, active).map_err(Failed::Store)? {
                Activation::Stands(active) => return Ok(active),
                Activation::Adds(None) => self.insert(row).await,
                Activation::Adds(Some(demoted)) => self.insert_instead(row, &demoted, &seen).await,
            };
            match written {
                Ok(1) => return Ok(row.clone()),
                Ok(_) => {}
                Err(Failed::Sql(error)) if is_conflict(&error) => {}
                Err(Failed::Sql(error)) if is_there(&error) => {
                    let there = self.find(row.id()).await?;
                    if there.is_some_and(|there| there.row.state != KeyState::Active) {
                        return Err(Failed::Store(rules::there_already(&self.name, row.id())));
                    }
                }
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed::Contended)
    }

    async fn replace(&self, seen: &KeyRow, row: &KeyRow) -> Result<bool, Failed> {
        let sql = format!(
            "UPDATE {} SET state = $2, content = $3 WHERE id = $1 AND content = $4",
            self.settings.table.quoted()
        );
        for _ in 0..ROUNDS_MAX {
            let Some(found) = self.find(row.id()).await?.filter(|found| found.row == *seen) else { return Ok(false) };
            let (id, content) = (row.id().to_string(), keyset::write_row(row));
            match self.write(&sql, &[&id, row.state.as_str(), &content, &found.content]).await {
                Ok(changed) => return Ok(changed == 1),
                Err(Failed::Sql(error)) if is_conflict(&error) => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed::Contended)
    }

    async fn import(&self, row: &KeyRow) -> Result<Imported, Failed> {
        let mut added = (row.clone(), Imported::Added);
        for _ in 0..ROUNDS_MAX {
            if let Some(there) = self.find(row.id()).await? {
                return Ok(rules::imported_over(&there.row, row));
            }
            match self.insert(&added.0).await {
                Ok(_) => return Ok(added.1),
                Err(Failed::Sql(error)) if is_conflict(&error) => {}
                Err(Failed::Sql(error)) if is_there(&error) => {
                    // The same key, which the next round sees, or another active one.
                    if self.find_active(row.scope, row.purpose).await?.is_some() && row.state == KeyState::Active {
                        added = (rules::decrypt_only(row), Imported::AddedDecryptOnly);
                    }
                }
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed::Contended)
    }

    async fn of(&self, scope: Scope, purpose: Purpose) -> Result<Vec<KeyRow>, Failed> {
        let (scope, purpose) = (scope.as_str(), purpose.as_str());
        let rest = "WHERE scope = $1 AND purpose = $2";
        let found = self.rows(rest, &[(&scope, Type::TEXT), (&purpose, Type::TEXT)]).await?;
        Ok(found.into_iter().map(|found| found.row).collect())
    }

    async fn list(&self, after: Option<KeyId>, count: usize) -> Result<Vec<KeyRow>, Failed> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rest = r#"WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2"#;
        let found = self.rows(rest, &[(&after, Type::TEXT), (&count, Type::INT8)]).await?;
        Ok(found.into_iter().map(|found| found.row).collect())
    }
}

impl Found {
    /// What the statement of [`Postgres::rows`] gives: where there is no row, one of nulls.
    fn read_all(rows: &[Row]) -> Result<Vec<Self>, Failed> {
        for row in rows {
            if row.try_get::<_, bool>(5)? {
                return Err(Failed::Standby);
            }
        }
        let there = rows.iter().filter(|row| !matches!(row.try_get::<_, Option<String>>(0), Ok(None)));
        there.map(Self::read).collect()
    }

    fn read(row: &Row) -> Result<Self, Failed> {
        let text = |column: usize| row.try_get::<_, String>(column);
        let (id, scope, purpose, state, content) = (text(0)?, text(1)?, text(2)?, text(3)?, text(4)?);
        let read = keyset::read_row(&content).map_err(|why| Failed::Content(format!("a row of the table: {why}")))?;
        let repeated = (read.id().to_string(), read.scope.as_str(), read.purpose.as_str(), read.state.as_str());
        if repeated != (id, scope.as_str(), purpose.as_str(), state.as_str()) {
            return Err(Failed::Content(format!("row {}: its columns differ from its content", read.id())));
        }
        Ok(Self { row: read, content })
    }
}

impl KeyStore for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move {
            let found = self.again(|| self.find_active(scope, purpose)).await?;
            Ok(found.map(|found| found.row))
        }))
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move { Ok(self.again(|| self.find(id)).await?.map(|found| found.row)) }))
    }

    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        Box::pin(self.bounded(async move {
            rules::may_activate(&self.name, &row).map_err(Failed::Store)?;
            // Asked twice, it finds its own row active.
            self.again(|| Self::activate(self, &row, instead_of)).await
        }))
    }

    fn replace(&self, seen: KeyRow, row: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.bounded(async move {
            rules::may_replace(&self.name, &seen, &row).map_err(Failed::Store)?;
            Self::replace(self, &seen, &row).await
        }))
    }

    fn import(&self, row: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>> {
        Box::pin(self.bounded(async move {
            rules::may_import(&self.name, &row).map_err(Failed::Store)?;
            Self::import(self, &row).await
        }))
    }

    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move { self.again(|| Self::list(self, after, count)).await }))
    }

    fn of(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move { self.again(|| Self::of(self, scope, purpose)).await }))
    }
}
