//! The table in PostgreSQL, on a real server: its making, its rights, its loss and its return, and TLS.

use super::{block_on, contract, in_state, row};
use crate::fixture::pki::Pki;
use crate::fixture::postgres::{DATABASE, PASSWORD, Postgres as Server, USER};
use crate::fixture::provision;
use sealgate::keyring::store::postgres::{NoClient, Postgres, Settings, TableName};
use sealgate::keyring::store::{KeyState, KeyStore, StoreError};
use sealgate::seal::crypto::default_provider;
use std::net::{Ipv4Addr, TcpListener};
use tokio_postgres::{Client, NoTls};
use zeroize::Zeroizing;

fn settings(port: u16) -> Settings {
    Settings {
        host: "127.0.0.1".to_owned(),
        port,
        database: DATABASE.to_owned(),
        user: USER.to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
        table: TableName::default(),
        ca_pem: None,
        plaintext: true,
    }
}

fn store(server: &Server) -> Postgres {
    connect(settings(server.port()))
}

/// The same with its table made.
async fn made(server: &Server) -> Postgres {
    let store = store(server);
    store.make_table().await.unwrap();
    store
}

fn connect(settings: Settings) -> Postgres {
    Postgres::new(default_provider(), settings).unwrap()
}

/// A session of its own that may do anything.
async fn admin(server: &Server) -> Client {
    let (host, port) = ("127.0.0.1", server.port());
    let mut config = tokio_postgres::Config::new();
    config.host(host).port(port).dbname(DATABASE).user(USER).password(PASSWORD);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn broken<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Broken { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_table_keeps_the_contract_at_every_isolation_level_and_all_rows_over_a_restart() {
    let mut server = Server::start().unwrap();
    block_on(async {
        for level in ["read committed", "repeatable read", "serializable"] {
            let admin = admin(&server).await;
            let set = format!("ALTER DATABASE {DATABASE} SET default_transaction_isolation = '{level}'");
            admin.batch_execute(&set).await.unwrap();
            admin.batch_execute("DROP TABLE IF EXISTS sealgate_keys").await.unwrap();
            let (one, two) = (made(&server).await, store(&server));
            assert_eq!(one.name(), format!("postgres 127.0.0.1:{}/{DATABASE}", server.port()));
            let rows = contract::hold(&one, &two).await;
            // The next call is the one that finds the server gone and back: it is asked again.
            server.restart().unwrap();
            assert_eq!(two.list(None, rows.len() + 1).await.as_ref(), Ok(&rows), "{level}");
            assert_eq!(store(&server).list(None, rows.len() + 1).await, Ok(rows), "{level}");
        }
    });
}

#[test]
fn npms_server_serves_as_well_as_an_installed_one() {
    let bin = provision::provide_postgres(&provision::root()).unwrap();
    // It is new enough to know ALPN, and to refuse whoever offers another protocol.
    let pki = Pki::new("store");
    let server = Server::start_as(&bin, Some(&pki.server())).unwrap();
    let key = row("clinic");
    block_on(async {
        let mut settings = settings(server.port());
        (settings.plaintext, settings.ca_pem) = (false, Some(pki.ca_pem().into_bytes()));
        let store = connect(settings);
        store.make_table().await.unwrap();
        assert_eq!(store.activate(key.clone(), None).await, Ok(key.clone()));
        assert_eq!(self::store(&server).active(key.scope, key.purpose).await, Ok(Some(key)));
        let version = admin(&server).await.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
        assert!(version.unwrap().get::<_, i32>(0) >= 180_000);
    });
}

#[test]
fn stores_that_are_made_at_once_are_one_table() {
    let server = Server::start().unwrap();
    block_on(async {
        let stores: Vec<Postgres> = (0..8).map(|_| store(&server)).collect();
        let making = futures_util::future::join_all(stores.iter().map(Postgres::make_table)).await;
        assert!(making.iter().all(Result::is_ok), "{making:?}");
        let rows: Vec<_> = (0..8).map(|_| row("clinic")).collect();
        let calls = stores.iter().zip(&rows).map(|(store, row)| store.activate(row.clone(), None));
        let active: Vec<_> = futures_util::future::join_all(calls).await.into_iter().map(Result::unwrap).collect();
        assert!(active.iter().all(|row| *row == active[0]));
        assert_eq!(stores[0].list(None, 10).await.map(|rows| rows.len()), Ok(1));
    });
}

#[test]
fn a_table_that_is_there_takes_a_role_that_may_make_nothing() {
    let server = Server::start().unwrap();
    block_on(async {
        let admin = admin(&server).await;
        admin.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'plain-password'; CREATE SCHEMA phi").await.unwrap();
        let plain = || {
            let mut settings = settings(server.port());
            settings.user = "plain".to_owned();
            settings.password = Zeroizing::new("plain-password".to_owned());
            settings.table = TableName::parse("phi.table").unwrap();
            connect(settings)
        };
        let key = row("clinic");
        let why = unavailable(plain().make_table().await);
        assert_eq!(why, "SQLSTATE 42501 (the role has not the right)");
        // By hand, as the documentation says.
        admin
            .batch_execute(
                "CREATE TABLE phi.table (id text COLLATE \"C\" PRIMARY KEY, scope text NOT NULL, purpose text NOT NULL,
                     state text NOT NULL, content text NOT NULL);
                 CREATE UNIQUE INDEX any_name ON phi.table (scope, purpose) WHERE state = 'active';
                 GRANT USAGE ON SCHEMA phi TO plain;
                 GRANT SELECT, INSERT, UPDATE ON phi.table TO plain",
            )
            .await
            .unwrap();
        assert_eq!(plain().make_table().await, Ok(()), "it is there");
        assert_eq!(plain().activate(key.clone(), None).await, Ok(key.clone()));
        let next = row("clinic");
        assert_eq!(plain().activate(next.clone(), Some(key.id())).await, Ok(next.clone()));
        let revoked = in_state(&next, KeyState::Revoked);
        assert_eq!(plain().replace(next, revoked).await, Ok(true));
    });
}

#[test]
fn a_table_that_would_take_two_active_keys_is_refused() {
    let server = Server::start().unwrap();
    block_on(async {
        let admin = admin(&server).await;
        let columns = "scope text, purpose text, state text, content text";
        for (table, index) in [
            (format!("id text PRIMARY KEY, {columns}"), ""),
            (format!("id text PRIMARY KEY, {columns}"), "CREATE INDEX ON sealgate_keys (scope, purpose)"),
            (
                format!("id text PRIMARY KEY, {columns}"),
                "CREATE INDEX ON sealgate_keys (scope, purpose) WHERE state = 'active'",
            ),
            (
                format!("id text PRIMARY KEY, {columns}"),
                "CREATE UNIQUE INDEX ON sealgate_keys (scope, purpose) WHERE state = 'Active'",
            ),
            (
                format!("id text PRIMARY KEY, {columns}"),
                "CREATE UNIQUE INDEX ON sealgate_keys (scope, purpose, id) WHERE state = 'active'",
            ),
            (
                format!("id text, {columns}"),
                "CREATE UNIQUE INDEX ON sealgate_keys (scope, purpose) WHERE state = 'active'",
            ),
        ] {
            let sql = format!("DROP TABLE IF EXISTS sealgate_keys; CREATE TABLE sealgate_keys ({table}); {index}");
            admin.batch_execute(&sql).await.unwrap();
            let store = store(&server);
            broken(store.make_table().await);
            let why = broken(store.active(row("clinic").scope, row("clinic").purpose).await);
            assert!(why.starts_with("table sealgate_keys: wanted a unique index"), "{index}: {why}");
            broken(store.activate(row("clinic"), None).await);
        }
        admin.batch_execute("DROP TABLE sealgate_keys; CREATE VIEW sealgate_keys AS SELECT 1 AS id").await.unwrap();
        broken(store(&server).activate(row("clinic"), None).await);
    });
}

#[test]
fn a_row_that_is_not_what_it_stands_for_is_broken() {
    let server = Server::start().unwrap();
    block_on(async {
        let (key, other, store, admin) = (row("clinic"), row("other"), made(&server).await, admin(&server).await);
        store.activate(key.clone(), None).await.unwrap();
        store.activate(other.clone(), None).await.unwrap();
        admin.batch_execute("CREATE TABLE kept AS SELECT * FROM sealgate_keys").await.unwrap();
        for (change, expect) in [
            ("content = ''", "not the JSON object of a key"),
            ("content = replace(content, 'clinic', 'klinik')", "its columns differ from its content"),
            ("purpose = 'lookup'", "its columns differ from its content"),
            ("state = 'revoked'", "its columns differ from its content"),
            ("content = (SELECT content FROM kept WHERE scope = 'other')", "its columns differ from its content"),
            (
                "content = replace(content, '\"state\":\"active\"', '\"state\":\"active\",\"x\":1')",
                "not the JSON object",
            ),
        ] {
            let id = key.id();
            admin.batch_execute(&format!("UPDATE sealgate_keys SET {change} WHERE id = '{id}'")).await.unwrap();
            let why = broken(store.row(id).await);
            assert!(why.contains(expect), "{change}: {why}");
            broken(store.list(None, 10).await);
            broken(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await);
            broken(store.import(key.clone()).await);
            assert_eq!(store.row(other.id()).await, Ok(Some(other.clone())), "the others are not touched by it");
            let back =
                "UPDATE sealgate_keys AS keys SET scope = kept.scope, purpose = kept.purpose, state = kept.state,
                content = kept.content FROM kept WHERE kept.id = keys.id";
            admin.batch_execute(back).await.unwrap();
            assert_eq!(store.row(id).await, Ok(Some(key.clone())));
        }
        // Another member order is the same row, and what was read of it can still be replaced.
        admin.batch_execute("UPDATE sealgate_keys SET content = content::jsonb::text").await.unwrap();
        let revoked = in_state(&key, KeyState::Revoked);
        assert_eq!(store.replace(key.clone(), revoked.clone()).await, Ok(true));
        assert_eq!(store.row(key.id()).await, Ok(Some(revoked)));
        // The index holds against anybody's hand.
        let second =
            "INSERT INTO sealgate_keys SELECT 'x', scope, purpose, state, content FROM kept WHERE scope = 'other'";
        admin.batch_execute(second).await.unwrap_err();
        admin.batch_execute("ALTER TABLE sealgate_keys RENAME content TO body").await.unwrap();
        assert_eq!(broken(store.row(key.id()).await), "SQLSTATE 42703 (the table has other columns)");
    });
}

#[test]
fn a_server_that_is_away_is_unavailable_until_it_is_back() {
    let mut server = Server::start().unwrap();
    block_on(async {
        let (store, key) = (made(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        server.stop();
        for _ in 0..2 {
            unavailable(store.row(key.id()).await);
            unavailable(store.active(key.scope, key.purpose).await);
            unavailable(store.activate(row("clinic"), Some(key.id())).await);
            unavailable(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await);
            unavailable(store.import(row("clinic")).await);
            unavailable(store.list(None, 1).await);
        }
        server.restart().unwrap();
        assert_eq!(store.active(key.scope, key.purpose).await, Ok(Some(key.clone())));
        // Killed from the other side while nothing is asked.
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'sealgate' AND pid <> pg_backend_pid()";
        admin(&server).await.batch_execute(others).await.unwrap();
        assert_eq!(store.row(key.id()).await, Ok(Some(key)));
    });
}

#[test]
fn a_server_that_does_not_answer_is_unavailable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let store = connect(settings(listener.local_addr().unwrap().port()));
    let why = block_on(async {
        let row = row("clinic");
        // It takes the connection, and that is all.
        let (active, found) = tokio::join!(store.active(row.scope, row.purpose), store.row(row.id()));
        unavailable(found);
        unavailable(active)
    });
    assert_eq!(why, "no answer in time");
}

#[test]
fn a_statement_that_waits_for_a_lock_ends() {
    let server = Server::start().unwrap();
    block_on(async {
        let (store, key) = (made(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        let admin = admin(&server).await;
        admin.batch_execute("BEGIN; LOCK TABLE sealgate_keys IN ACCESS EXCLUSIVE MODE").await.unwrap();
        assert_eq!(unavailable(store.row(key.id()).await), "SQLSTATE 57014 (no answer in time)");
        admin.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(store.row(key.id()).await, Ok(Some(key)));
    });
}

#[test]
fn a_server_that_takes_no_writes_is_not_spoken_to() {
    let server = Server::start().unwrap();
    block_on(async {
        let set = format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on");
        admin(&server).await.batch_execute(&set).await.unwrap();
        let why = unavailable(store(&server).row(row("clinic").id()).await);
        assert_eq!(why, "error connecting to server: database does not allow writes");
    });
}

#[test]
fn a_table_that_is_not_there_is_made_by_no_call() {
    let server = Server::start().unwrap();
    block_on(async {
        let (store, key) = (store(&server), row("clinic"));
        let name = format!("postgres 127.0.0.1:{}/{DATABASE}, table sealgate_keys", server.port());
        let missing = StoreError::Missing { store: name.into() };
        assert_eq!(store.row(key.id()).await, Err(missing.clone()));
        assert_eq!(store.active(key.scope, key.purpose).await, Err(missing.clone()));
        assert_eq!(store.activate(key.clone(), None).await, Err(missing.clone()));
        assert_eq!(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await, Err(missing.clone()));
        assert_eq!(store.import(key.clone()).await, Err(missing.clone()));
        assert_eq!(store.list(None, 1).await, Err(missing));
        let there = "SELECT to_regclass('sealgate_keys') IS NULL";
        assert!(admin(&server).await.query_one(there, &[]).await.unwrap().get::<_, bool>(0));
        store.make_table().await.unwrap();
        assert_eq!(store.activate(key.clone(), None).await, Ok(key.clone()));
        assert_eq!(store.make_table().await, Ok(()), "and is not made anew");
        assert_eq!(store.row(key.id()).await, Ok(Some(key)));
    });
}

/// How many sessions the stores have at the server, by its own count.
async fn sessions(admin: &Client) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sealgate' AND state = 'idle' ORDER BY pid";
    admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_session_that_takes_no_writes_any_more_is_left_for_one_that_does() {
    let server = Server::start().unwrap();
    block_on(async {
        let (store, admin, key) = (made(&server).await, admin(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        let before = sessions(&admin).await;
        // As a server does that has handed over: to those who are connected, and to nobody who comes now.
        let demote = "CREATE FUNCTION demoted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_backend_pid() = PID THEN RAISE SQLSTATE '25006'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER demotes BEFORE INSERT OR UPDATE ON sealgate_keys FOR EACH ROW EXECUTE FUNCTION demoted()";
        admin.batch_execute(&demote.replace("PID", &before.last().unwrap().to_string())).await.unwrap();
        let next = row("clinic");
        assert_eq!(store.activate(next.clone(), Some(key.id())).await, Ok(next.clone()), "asked again elsewhere");
        let after = sessions(&admin).await;
        assert!(!after.contains(before.last().unwrap()), "{before:?} {after:?}");
        // What may not be asked twice fails once, and finds its way then.
        let again = demote.replace("PID", &after.last().unwrap().to_string());
        let again = again.replace("CREATE TRIGGER", "--").replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        admin.batch_execute(&again).await.unwrap();
        let revoked = in_state(&next, KeyState::Revoked);
        let why = unavailable(store.replace(next.clone(), revoked.clone()).await);
        assert_eq!(why, "SQLSTATE 25006 (the server takes no writes)");
        assert_eq!(store.replace(next, revoked).await, Ok(true));
        // And where there is none that takes writes, it is unavailable.
        let set = format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on");
        admin.batch_execute(&set).await.unwrap();
        let third = demote.replace("PID", &sessions(&admin).await.last().unwrap().to_string());
        let third = third.replace("CREATE TRIGGER", "--").replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        admin.batch_execute(&third).await.unwrap();
        let why = unavailable(store.activate(row("clinic"), None).await);
        assert_eq!(why, "error connecting to server: database does not allow writes");
    });
}

/// A function of that name stands before PostgreSQL's own, for sessions that begin from now on.
#[test]
fn what_a_standby_has_not_is_unavailable_and_not_unknown() {
    let server = Server::start().unwrap();
    block_on(async {
        let (store, admin, key) = (made(&server).await, admin(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        let other = row("other");
        assert_eq!(store.row(other.id()).await, Ok(None));
        assert_eq!(store.active(other.scope, other.purpose).await, Ok(None));
        let shadow = format!(
            "CREATE SCHEMA follower;
             CREATE FUNCTION follower.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true';
             ALTER DATABASE {DATABASE} SET search_path = follower, pg_catalog, public"
        );
        admin.batch_execute(&shadow).await.unwrap();
        let follower = self::store(&server);
        let lags = "the server is a standby, which may lag";
        assert_eq!(unavailable(follower.row(other.id()).await), lags);
        assert_eq!(unavailable(follower.active(other.scope, other.purpose).await), lags);
        assert_eq!(unavailable(follower.list(None, 10).await), lags);
        assert_eq!(unavailable(follower.row(key.id()).await), lags, "and what it has may be old");
        assert_eq!(unavailable(follower.activate(row("other"), None).await), lags);
        admin.batch_execute(&format!("ALTER DATABASE {DATABASE} RESET search_path")).await.unwrap();
        assert_eq!(follower.row(key.id()).await, Ok(Some(key)), "the next connection is to the one that takes writes");
        assert_eq!(follower.row(other.id()).await, Ok(None));
    });
}

#[test]
fn a_commit_is_waited_for_even_where_the_server_would_not() {
    let server = Server::start().unwrap();
    block_on(async {
        let admin = admin(&server).await;
        let sql = format!("ALTER DATABASE {DATABASE} SET synchronous_commit = off");
        admin.batch_execute(&sql).await.unwrap();
        // The table tells what the session that wrote to it had set.
        let (store, key) = (made(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        admin
            .batch_execute(
                "CREATE TABLE told (setting text, timeout text);
                 CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     INSERT INTO told VALUES (current_setting('synchronous_commit'), current_setting('statement_timeout'));
                     RETURN NEW; END $$;
                 CREATE TRIGGER tells BEFORE UPDATE ON sealgate_keys FOR EACH ROW EXECUTE FUNCTION tell()",
            )
            .await
            .unwrap();
        assert_eq!(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await, Ok(true));
        let told = admin.query_one("SELECT setting, timeout FROM told", &[]).await.unwrap();
        assert_eq!((told.get(0), told.get(1)), ("on", "2s"));
    });
}

#[test]
fn errors_do_not_hold_the_password_or_a_row() {
    let server = Server::start().unwrap();
    block_on(async {
        let mut settings = settings(server.port());
        settings.password = Zeroizing::new("not-the-password".to_owned());
        let error = connect(settings).row(row("clinic").id()).await.unwrap_err();
        assert!(error.to_string().ends_with("SQLSTATE 28P01 (wrong password)"), "{error}");
        assert!(!format!("{error}{error:?}").contains("not-the-password"));
        // PostgreSQL's own text of this one quotes the whole row.
        let (store, key) = (made(&server).await, row("clinic"));
        store.activate(key.clone(), None).await.unwrap();
        let check = "ALTER TABLE sealgate_keys ADD CONSTRAINT none CHECK (scope <> 'other')";
        admin(&server).await.batch_execute(check).await.unwrap();
        let error = store.activate(row("other"), None).await.unwrap_err();
        assert!(error.to_string().ends_with("unavailable: SQLSTATE 23514"), "{error}");
    });
}

#[test]
fn tls_is_demanded_and_its_name_checked() {
    let pki = Pki::new("store");
    let server = Server::start_with_tls(&pki.server()).unwrap();
    let with = |host: &str, ca_pem: Option<String>| {
        let mut settings = settings(server.port());
        settings.host = host.to_owned();
        settings.plaintext = false;
        settings.ca_pem = ca_pem.map(String::into_bytes);
        connect(settings)
    };
    block_on(async {
        let key = row("clinic");
        let store = with("localhost", Some(pki.ca_pem()));
        store.make_table().await.unwrap();
        assert_eq!(store.activate(key.clone(), None).await, Ok(key.clone()));
        let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE ssl AND application_name = 'sealgate'";
        assert_eq!(admin(&server).await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
        assert_eq!(with("127.0.0.1", Some(pki.ca_pem())).row(key.id()).await, Ok(Some(key.clone())));
        let strange = Some(Pki::new("another").ca_pem());
        let why = unavailable(with("localhost", strange).row(key.id()).await);
        assert!(why.contains("invalid peer certificate"), "{why}");
        if !sealgate::net::system_cas().is_empty() {
            let why = unavailable(with("localhost", None).row(key.id()).await);
            assert!(why.contains("invalid peer certificate"), "{why}");
        }
    });
    let wrong_name = pki.issue(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("db.example".try_into().unwrap())];
    });
    let server = Server::start_with_tls(&wrong_name).unwrap();
    block_on(async {
        let mut settings = settings(server.port());
        (settings.plaintext, settings.ca_pem) = (false, Some(pki.ca_pem().into_bytes()));
        let why = unavailable(connect(settings).row(row("clinic").id()).await);
        assert!(why.contains("certificate not valid for name \"127.0.0.1\""), "{why}");
    });
    let server = Server::start().unwrap();
    block_on(async {
        let mut settings = settings(server.port());
        (settings.plaintext, settings.ca_pem) = (false, Some(pki.ca_pem().into_bytes()));
        let why = unavailable(connect(settings).row(row("clinic").id()).await);
        assert!(why.contains("server does not support TLS"), "{why}");
    });
    let mut settings = settings(1);
    (settings.plaintext, settings.ca_pem) = (false, Some(b"no certificate".to_vec()));
    assert!(matches!(Postgres::new(default_provider(), settings), Err(NoClient::NoCa)));
    // A path would be a socket of this machine, without TLS.
    for host in ["", "/run/postgresql"] {
        let settings = Settings { host: host.to_owned(), plaintext: false, ..self::settings(1) };
        assert!(matches!(Postgres::new(default_provider(), settings), Err(NoClient::Host)), "{host}");
    }
}
