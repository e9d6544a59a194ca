//! What the service's errors mean. Only codes are kept: their texts may quote an item.

use super::super::StoreError;
use crate::keyring::aws;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use std::sync::Arc;

/// Why a call failed, before the store's name is put to it.
pub(super) enum Failed {
    /// There is no answer, or one with this code.
    Service(Arc<str>),
    Content(String),
    Store(StoreError),
    Contended,
    Unmade,
}

/// What became of a transaction that was answered.
pub(super) enum Written {
    Done,
    /// A condition did not hold.
    Lost,
    /// Another transaction had hold of an item.
    Met,
}

impl Failed {
    pub(super) fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Self {
        Self::Service(aws::unanswered(error).or(error.code()).unwrap_or("no code").into())
    }

    pub(super) fn named(self, store: &Arc<str>) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Content(why) => StoreError::broken(store, why),
            Self::Contended => StoreError::unavailable(store, "too many processes change the same key"),
            Self::Unmade => StoreError::unavailable(store, "request could not be made"),
            // What is asked never varies in shape: it is the table that has another key schema.
            Self::Service(code) if &*code == "ValidationException" => StoreError::broken(store, code),
            Self::Service(code) => StoreError::unavailable(store, code),
        }
    }
}

impl Written {
    pub(super) fn of<R>(error: &SdkError<TransactWriteItemsError, R>) -> Result<Self, Failed> {
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
            return Err(Failed::of(error));
        };
        let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
        if codes().any(|code| code == "ConditionalCheckFailed") {
            return Ok(Self::Lost);
        }
        if codes().any(|code| code == "TransactionConflict") {
            return Ok(Self::Met);
        }
        Err(Failed::Service(codes().find(|code| *code != "None").unwrap_or("TransactionCanceledException").into()))
    }
}
