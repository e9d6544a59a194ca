//! What a server's errors mean. Of a database error only the code is kept: its text may quote a row.

use super::{SqlState, StoreError};
use std::error::Error as _;
use std::io;
use std::sync::Arc;

/// Why a call failed, before the store's name is put to it.
pub(super) enum Failed {
    Sql(tokio_postgres::Error),
    Content(String),
    Store(StoreError),
    Contended,
    /// The server follows another one.
    Standby,
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failed {
    pub(super) fn named(self, store: &Arc<str>) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Content(why) => StoreError::broken(store, why),
            Self::Contended => StoreError::unavailable(store, "too many processes change the same key"),
            Self::Standby => StoreError::unavailable(store, "the server is a standby, which may lag"),
            Self::Sql(error) if is_other_table(&error) => StoreError::broken(store, why(&error)),
            Self::Sql(error) => StoreError::unavailable(store, why(&error)),
        }
    }
}

fn why(error: &tokio_postgres::Error) -> String {
    if let Some(code) = error.code() {
        let name = NAMES.iter().find_map(|(named, name)| (named == code).then_some(*name));
        return format!("SQLSTATE {}{}", code.code(), name.unwrap_or_default());
    }
    let cause = error.source();
    // What TLS and the socket say is about certificates and addresses.
    let told = cause.filter(|cause| cause.is::<io::Error>() || error.to_string().contains("TLS"));
    told.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// The codes that an operator meets while setting it up.
const NAMES: &[(SqlState, &str)] = &[
    (SqlState::INVALID_PASSWORD, " (wrong password)"),
    (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, " (the role may not connect)"),
    (SqlState::INVALID_CATALOG_NAME, " (no such database)"),
    (SqlState::INSUFFICIENT_PRIVILEGE, " (the role has not the right)"),
    (SqlState::UNDEFINED_TABLE, " (no such table)"),
    (SqlState::UNDEFINED_COLUMN, " (the table has other columns)"),
    (SqlState::TOO_MANY_CONNECTIONS, " (too many connections)"),
    (SqlState::CANNOT_CONNECT_NOW, " (the server is starting or stopping)"),
    (SqlState::ADMIN_SHUTDOWN, " (the server is stopping)"),
    (SqlState::QUERY_CANCELED, " (no answer in time)"),
    (SqlState::READ_ONLY_SQL_TRANSACTION, " (the server takes no writes)"),
];

/// A row of that id, or an active one of that scope and purpose, is there.
pub(super) fn is_there(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Another transaction was in the way; what it did is seen by the next one.
pub(super) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let codes = [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| codes.contains(&code))
}

/// The server closed the connection.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.code().is_some_and(|code| *code == SqlState::ADMIN_SHUTDOWN)
}

/// The server takes no writes any more, or not from this session.
pub(super) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

fn is_other_table(error: &tokio_postgres::Error) -> bool {
    let codes = [&SqlState::UNDEFINED_TABLE, &SqlState::UNDEFINED_COLUMN, &SqlState::DATATYPE_MISMATCH];
    error.code().is_some_and(|code| codes.contains(&code))
}
