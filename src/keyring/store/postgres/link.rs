//! The connection: made when it is needed, bounded in time, given up when the server is not the one any more that takes
//! writes.

use super::super::StoreError;
use super::fault::{Failed, is_lost, is_read_only};
use super::{Postgres, table};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::AbortOnDropHandle;

const CONNECT: Duration = Duration::from_secs(1);
const CALL: Duration = Duration::from_secs(5);

pub(super) struct Link {
    pub(super) client: Client,
    _driver: AbortOnDropHandle<()>,
}

impl Postgres {
    /// Bounds a call in time. What the server has not answered by then, it may still do.
    pub(super) async fn bounded<T>(&self, act: impl Future<Output = Result<T, Failed>>) -> Result<T, StoreError> {
        if let Ok(result) = tokio::time::timeout(CALL, act).await {
            return result.map_err(|failed| failed.named(&self.name));
        }
        // If somebody else is connecting, there is none to give up.
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
        Err(StoreError::unavailable(&self.name, "no answer in time"))
    }

    /// Asks again on a new connection if the server had closed the old one, or is not the one any more that takes writes.
    /// For what may be asked twice.
    pub(super) async fn again<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        act: impl Fn() -> F,
    ) -> Result<T, Failed> {
        match act().await {
            Err(Failed::Standby) => act().await,
            Err(Failed::Sql(error)) if is_lost(&error) || is_read_only(&error) => act().await,
            result => result,
        }
    }

    /// What the server answered; the connection is given up if it is lost, be it that its driver has not noticed yet, and if it
    /// is to a server that takes no writes, so that the next call finds the one that does.
    pub(super) async fn judged<T>(&self, link: &Arc<Link>, answer: Result<T, Failed>) -> Result<T, Failed> {
        let is_of_no_use = match &answer {
            Err(Failed::Sql(error)) => is_lost(error) || is_read_only(error),
            Err(Failed::Standby) => true,
            _ => false,
        };
        if is_of_no_use {
            let mut slot = self.link.lock().await;
            if slot.as_ref().is_some_and(|there| Arc::ptr_eq(there, link)) {
                *slot = None;
            }
        }
        answer
    }

    pub(super) async fn link(&self) -> Result<Arc<Link>, Failed> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| !link.client.is_closed()) {
            return Ok(Arc::clone(link));
        }
        *slot = None;
        let link = Arc::new(self.connect().await?);
        self.prepare(&link.client).await?;
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    pub(super) async fn connect(&self) -> Result<Link, Failed> {
        let settings = &self.settings;
        let mut config = Config::new();
        config
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.database)
            .user(&settings.user)
            .password(settings.password.as_bytes())
            .application_name("sealgate")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(CALL)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let (client, driver) = match &self.tls {
            None => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
                (client, tokio::spawn(driven(connection)))
            }
            Some(tls) => {
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls.clone()).await?;
                (client, tokio::spawn(driven(connection)))
            }
        };
        Ok(Link { client, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Settles what a session must do, and that the table is as it must be.
    pub(super) async fn prepare(&self, client: &Client) -> Result<(), Failed> {
        client.batch_execute(table::SESSION).await?;
        let table = &self.settings.table;
        if !table.is_there(client).await? {
            let store = format!("{}, table {}", self.name, table.as_str()).into();
            return Err(Failed::Store(StoreError::Missing { store }));
        }
        if table.is_indexed(client).await? {
            return Ok(());
        }
        let why = "wanted a unique index on (id), and one on (scope, purpose) where state = 'active'";
        Err(Failed::Content(format!("table {}: {why}", table.as_str())))
    }
}

/// Drives a connection to its end; why it ended is told to whoever waits for an answer.
async fn driven<E>(connection: impl Future<Output = Result<(), E>>) {
    let _ended = connection.await;
}
