//! Keys in a DynamoDB table, for a fleet. Which key is active is decided by one conditional transaction.
//!
//! The table is made by the operator; the gate needs `dynamodb:GetItem`, `Query`, `PutItem` and `DeleteItem` on it:
//!
//! ```sh
//! aws dynamodb create-table --table-name sealgate-keys --billing-mode PAY_PER_REQUEST \
//!     --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S \
//!     --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE
//! ```
//!
//! | item | `pk` | `sk` | |
//! |---|---|---|---|
//! | a key | `key` | its id, 32 hex digits | `content`: the JSON object of [`keyset`] |
//! | the active key of a scope and purpose | `active` | `SCOPE/PURPOSE` | `key_id`: its id |
//!
//! A key and the item that names it as the active one change in one transaction. Every read is strongly consistent, so a
//! global table's replicas are not for this: one region is written and read. All keys are in one partition, whose 1000
//! writes and 3000 reads in a second are for the fleet as a whole; gateways cache.
//!
//! A shredded key's encrypted forms are gone for every read at once. Point-in-time recovery and backups keep what they
//! keep: wiping those is not provided.

use super::rules::{self, Activation};
use super::{Imported, KeyRow, KeyState, KeyStore, StoreError, keyset};
use crate::keyring::aws;
use crate::seal::Purpose;
use crate::seal::{CryptoProvider, KeyId, Scope};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

mod fault;
mod settings;

pub use settings::{NoClient, NotATable, Settings, TableName};

use fault::{Failed, Written};

const CALL: Duration = Duration::from_secs(5);
/// How often a write that lost against another one is judged again. Each time, another one has won.
const ROUNDS_MAX: u32 = 16;
/// Waited before a round after transactions met, times its number.
const PAUSE: Duration = Duration::from_millis(10);

const KEY: &str = "key";
const ACTIVE: &str = "active";

/// A table of keys, with the SDK's own retries (3 attempts). Its writes carry a token, so that one that is sent twice is
/// done once.
pub struct DynamoDb {
    name: Arc<str>,
    table: Arc<str>,
    client: aws_sdk_dynamodb::Client,
}

/// A row as it stands in the table: what it says, and its text, by which a change of it is noticed.
struct Found {
    row: KeyRow,
    content: String,
}

impl DynamoDb {
    /// A client for the table. Credentials are looked up as every AWS SDK does, at the first call and again when they
    /// expire; nothing is called yet.
    ///
    /// # Errors
    /// See [`NoClient`].
    pub async fn new(provider: &'static dyn CryptoProvider, settings: &Settings) -> Result<Self, NoClient> {
        settings.check()?;
        let region = Region::new(settings.region.clone());
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(aws::credentials(provider, &region).await?)
            .region(region)
            .http_client(aws::http_client(provider, settings.ca_pem.as_deref())?)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(aws::timeouts());
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        Ok(Self {
            name: format!("dynamodb {}/{}", settings.region, settings.table.as_str()).into(),
            table: settings.table.as_str().into(),
            client: aws_sdk_dynamodb::Client::from_conf(config.build()),
        })
    }

    /// Bounds a call in time. What the service has not answered by then, it may still do.
    async fn bounded<T>(&self, act: impl Future<Output = Result<T, Failed>>) -> Result<T, StoreError> {
        match tokio::time::timeout(CALL, act).await {
            Ok(result) => result.map_err(|failed| failed.named(&self.name)),
            Err(_) => Err(StoreError::unavailable(&self.name, "no answer in time")),
        }
    }

    /// One attribute of an item; none if there is no such item.
    async fn attribute(&self, pk: &str, sk: &str, name: &str) -> Result<Option<String>, Failed> {
        let request = self.client.get_item().table_name(&*self.table).consistent_read(true);
        let output = request.key("pk", text(pk)).key("sk", text(sk)).send().await.map_err(|e| Failed::of(&e))?;
        output.item.map(|item| taken(item, name)).transpose()
    }

    async fn find(&self, id: KeyId) -> Result<Option<Found>, Failed> {
        let Some(content) = self.attribute(KEY, &id.to_string(), "content").await? else { return Ok(None) };
        let row = rules::row_of(id, &content).map_err(Failed::Content)?;
        Ok(Some(Found { row, content }))
    }

    async fn active_id(&self, scope: Scope, purpose: Purpose) -> Result<Option<KeyId>, Failed> {
        let place = place(scope, purpose);
        let Some(text) = self.attribute(ACTIVE, &place, "key_id").await? else { return Ok(None) };
        let id = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let id = id.ok_or_else(|| Failed::Content(format!("item {place}: key_id is no key id")))?;
        Ok(Some(KeyId::from_bytes(id)))
    }

    async fn find_active(&self, scope: Scope, purpose: Purpose) -> Result<Option<Found>, Failed> {
        let mut named = self.active_id(scope, purpose).await?;
        for _ in 0..ROUNDS_MAX {
            let Some(id) = named else { return Ok(None) };
            let found = self.find(id).await?;
            if let Some(found) = found.as_ref().filter(|found| found.row.state == KeyState::Active) {
                rules::active_row(found.row.clone(), scope, purpose).map_err(Failed::Content)?;
            } else {
                // Another one may have become active between the two reads.
                named = self.active_id(scope, purpose).await?;
                if named != Some(id) {
                    continue;
                }
                return Err(Failed::Content(format!("row {id}: it is named as active, and is not")));
            }
            return Ok(found);
        }
        Err(Failed::Contended)
    }

    async fn write(&self, items: Vec<TransactWriteItem>, round: u32) -> Result<Written, Failed> {
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        let written = match request.send().await {
            Ok(_) => Written::Done,
            Err(error) => Written::of(&error)?,
        };
        if matches!(written, Written::Met) {
            tokio::time::sleep(PAUSE * round).await;
        }
        Ok(written)
    }

    /// Puts a row where none of its key is, or where it is as it was read.
    fn put(&self, row: &KeyRow, seen: Option<&str>) -> Result<TransactWriteItem, Failed> {
        let put = Put::builder()
            .table_name(&*self.table)
            .item("pk", text(KEY))
            .item("sk", text(&row.id().to_string()))
            .item("content", text(&keyset::write_row(row)));
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(seen) => put.condition_expression("content = :seen").expression_attribute_values(":seen", text(seen)),
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(|_| Failed::Unmade)?).build())
    }

    /// Names the row as the active one, where none is named or where that is.
    fn name_active(&self, row: &KeyRow, instead_of: Option<KeyId>) -> Result<TransactWriteItem, Failed> {
        let put = Put::builder()
            .table_name(&*self.table)
            .item("pk", text(ACTIVE))
            .item("sk", text(&place(row.scope, row.purpose)))
            .item("key_id", text(&row.id().to_string()));
        let put = match instead_of {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(old) => {
                put.condition_expression("key_id = :old").expression_attribute_values(":old", text(&old.to_string()))
            }
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(|_| Failed::Unmade)?).build())
    }

    /// Names none as the active one, where this one is.
    fn name_none(&self, row: &KeyRow) -> Result<TransactWriteItem, Failed> {
        let delete = Delete::builder()
            .table_name(&*self.table)
            .key("pk", text(ACTIVE))
            .key("sk", text(&place(row.scope, row.purpose)))
            .condition_expression("key_id = :id")
            .expression_attribute_values(":id", text(&row.id().to_string()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(|_| Failed::Unmade)?).build())
    }

    async fn activate(&self, row: &KeyRow, instead_of: Option<KeyId>) -> Result<KeyRow, Failed> {
        for round in 0..ROUNDS_MAX {
            let (active, seen) = self
                .find_active(row.scope, row.purpose)
                .await?
                .map_or_else(|| (None, String::new()), |found| (Some(found.row), found.content));
            let mut items = vec![self.put(row, None)?];
            match rules::activation(&self.name, row, instead_of, active).map_err(Failed::Store)? {
                Activation::Stands(active) => return Ok(active),
                Activation::Adds(None) => items.push(self.name_active(row, None)?),
                Activation::Adds(Some(demoted)) => {
                    items.push(self.put(&demoted, Some(&seen))?);
                    items.push(self.name_active(row, Some(demoted.id()))?);
                }
            }
            if let Written::Done = self.write(items, round).await? {
                return Ok(row.clone());
            }
            if self.find(row.id()).await?.is_some_and(|found| found.row.state != KeyState::Active) {
                return Err(Failed::Store(rules::there_already(&self.name, row.id())));
            }
        }
        Err(Failed::Contended)
    }

    async fn replace(&self, seen: &KeyRow, row: &KeyRow) -> Result<bool, Failed> {
        for round in 0..ROUNDS_MAX {
            let Some(found) = self.find(row.id()).await?.filter(|found| found.row == *seen) else { return Ok(false) };
            let mut items = vec![self.put(row, Some(&found.content))?];
            if seen.state == KeyState::Active && row.state != KeyState::Active {
                items.push(self.name_none(row)?);
            }
            if let Written::Done = self.write(items, round).await? {
                return Ok(true);
            }
        }
        Err(Failed::Contended)
    }

    async fn import(&self, row: &KeyRow) -> Result<Imported, Failed> {
        let mut added = (row.clone(), Imported::Added);
        for round in 0..ROUNDS_MAX {
            if let Some(there) = self.find(row.id()).await? {
                return Ok(rules::imported_over(&there.row, row));
            }
            let mut items = vec![self.put(&added.0, None)?];
            if added.0.state == KeyState::Active {
                items.push(self.name_active(row, None)?);
            }
            if let Written::Done = self.write(items, round).await? {
                return Ok(added.1);
            }
            if row.state == KeyState::Active && self.active_id(row.scope, row.purpose).await?.is_some() {
                added = (rules::decrypt_only(row), Imported::AddedDecryptOnly);
            }
        }
        Err(Failed::Contended)
    }

    async fn list(&self, after: Option<KeyId>, count: usize) -> Result<Vec<KeyRow>, Failed> {
        let mut rows = Vec::new();
        let mut after = after.map(|id| id.to_string()).unwrap_or_default();
        while rows.len() < count {
            let limit = i32::try_from(count - rows.len()).unwrap_or(i32::MAX);
            let request = self.client.query().table_name(&*self.table).consistent_read(true).limit(limit);
            // Every id is above a text of one zero, which is none.
            let after_text = if after.is_empty() { "0" } else { &after };
            let request = request
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":pk", text(KEY))
                .expression_attribute_values(":after", text(after_text));
            let output = request.send().await.map_err(|e| Failed::of(&e))?;
            for mut item in output.items.unwrap_or_default() {
                let id = item.remove("sk").and_then(|sk| sk.as_s().ok().cloned()).unwrap_or_default();
                let row = keyset::read_row(&taken(item, "content")?);
                let row = row.map_err(|why| Failed::Content(format!("an item of the table: {why}")))?;
                if row.id().to_string() != id {
                    return Err(Failed::Content(format!("row {}: it stands as another key", row.id())));
                }
                after = id;
                rows.push(row);
            }
            // Not the number of items: a page also ends at 1 MB.
            if output.last_evaluated_key.is_none() {
                break;
            }
        }
        Ok(rows)
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn place(scope: Scope, purpose: Purpose) -> String {
    format!("{scope}/{}", purpose.as_str())
}

fn taken(mut item: HashMap<String, AttributeValue>, name: &str) -> Result<String, Failed> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(Failed::Content(format!("an item of the table has no text as {name}"))),
    }
}

impl KeyStore for DynamoDb {
    fn name(&self) -> &str {
        &self.name
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move { Ok(self.find_active(scope, purpose).await?.map(|found| found.row)) }))
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.bounded(async move { Ok(self.find(id).await?.map(|found| found.row)) }))
    }

    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        Box::pin(self.bounded(async move {
            rules::may_activate(&self.name, &row).map_err(Failed::Store)?;
            Self::activate(self, &row, instead_of).await
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
        Box::pin(self.bounded(async move { Self::list(self, after, count).await }))
    }
}
