//! Who opens or seals: a user of the operating system, whom the policy knows as a principal or not at all.

use super::super::session::{self, Failure, Session};
use super::super::{Exit, keys};
use crate::app::keys::{StoreIs, keyring};
use crate::audit::event::Operation;
use crate::audit::{AuditEvent, Receipt};
use crate::config::Config;
use crate::config::checked;
use crate::keyring::{CacheSettings, Keys, Parts};
use crate::policy::{Action, Permit, Policy, Principal, Query};
use crate::proxy::Limits;
use crate::proxy::rescue::{Code, Refusal};
use crate::proxy::rule::ClassRule;
use crate::seal::{Class, CryptoProvider, Scope};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

/// See the module.
pub(super) struct Caller {
    session: Session,
    command: &'static str,
    reason: String,
    principal: Option<Principal>,
    policy: Policy,
    classes: Arc<[ClassRule]>,
    provider: &'static dyn CryptoProvider,
    cache: CacheSettings,
    /// Until it is asked for.
    keyring: Option<checked::Keyring>,
    pub(super) limits: Limits,
}

impl Caller {
    pub(super) async fn new(command: &'static str, config: &Path, reason: String) -> Result<Self, Failure> {
        let Config { provider, keyring, cache, audit, policy, classes, limits, .. } = session::config(config)?;
        let session = Session::open(&audit).await?;
        let principal = policy.principal(&session.identity()).cloned();
        let keyring = Some(keyring);
        Ok(Self { session, command, reason, principal, policy, classes, provider, cache, keyring, limits })
    }

    /// The scope that was named, or the only one there can be.
    pub(super) fn scope(&self, named: Option<Scope>) -> Result<Scope, Refusal> {
        let principal = self.principal.as_ref().ok_or_else(|| self.unknown())?;
        match (named, &*principal.scopes) {
            (Some(scope), _) => Ok(scope),
            (None, [scope]) => Ok(*scope),
            _ => Err(Refusal::from(Code::ScopeMissing).because("name one by --scope")),
        }
    }

    /// What the caller may do to values of these classes in a scope.
    pub(super) fn permit(&self, action: Action, scope: Scope, classes: &[Class]) -> Result<Permit, Refusal> {
        let principal = self.principal.as_ref().ok_or_else(|| self.unknown())?;
        // Behind a command there is no user but its own.
        let acting = principal.acting(&[]);
        let permit =
            acting.and_then(|acting| self.policy.authorize(Query { acting: Some(&acting), action, classes, scope }));
        permit.map_err(|denied| Refusal::from(denied).because(denied))
    }

    fn unknown(&self) -> Refusal {
        let uid = self.session.uid;
        Refusal::from(Code::PrincipalUnknown).because(format!("no principal of the config has `uid: {uid}`"))
    }

    /// What the config says of a class.
    pub(super) fn class(&self, class: Class) -> Result<ClassRule, Refusal> {
        let known = self.classes.iter().find(|rule| rule.class == class).copied();
        known.ok_or_else(|| Refusal::from(Code::ClassDenied).because(format!("class {class} is not in the config")))
    }

    /// The keys, for as long as the command runs; with those that are stored only if they are wanted: another process may
    /// have the store.
    pub(super) async fn keys(&mut self, stored: bool) -> Result<Keys, Failure> {
        let taken = self.keyring.take().ok_or_else(|| Failure::new("the keyring is in use"))?;
        let checked::Keyring { first, also, old, keyset, store, .. } = taken;
        let keyring = Arc::new(keyring(self.provider, first, (also, old)).await?);
        let store = match store {
            Some(settings) if stored => {
                Some(keys::custody::store(self.provider, Some(settings), StoreIs::There).await?)
            }
            _ => None,
        };
        let keyset = keyset.map(|keyset| Arc::new(keyset) as _);
        let (provider, settings, runtime) = (self.provider, self.cache, Handle::current());
        Ok(Keys::new(Parts { keyring, keyset, store, provider, settings, runtime }))
    }

    /// The record of this command, with nothing done yet.
    pub(super) fn operation(&self, scope: Option<Scope>) -> Operation {
        Operation {
            principal: self.principal.as_ref().map(|principal| principal.identity.to_string()),
            roles: self.principal.as_ref().map(|principal| principal.own_roles().to_vec()).unwrap_or_default(),
            scope: scope.map(|scope| scope.to_string()),
            ..self.session.operation(self.command, self.reason.clone())
        }
    }

    /// Waits until the event is durable: what it stands for may be shown then.
    pub(super) async fn record(&self, event: AuditEvent) -> Result<Receipt, Failure> {
        self.session.record(&event).await
    }

    /// Puts a refusal on record, and gives what is told of it.
    pub(super) async fn refuse(&self, operation: Operation, refusal: Refusal) -> Failure {
        let failure = told(&refusal);
        let Refusal { code, cause, kms_request_id, .. } = refusal;
        let operation = Operation { code: Some(code.as_str()), cause, kms_request_id, ..operation };
        match self.record(AuditEvent::OperationRefused(operation)).await {
            Ok(_) => failure,
            Err(unrecorded) => unrecorded,
        }
    }
}

/// A refusal in words; they name no value.
pub(super) fn told(refusal: &Refusal) -> Failure {
    let why = refusal.cause.as_deref().unwrap_or_else(|| refusal.code.title());
    let text = format!("{}: {why}", refusal.code.as_str());
    match refusal.code {
        Code::KeyUnavailable | Code::KeyDenied | Code::AuditUnavailable => Failure { exit: Exit::Unavailable, text },
        _ => Failure::new(text),
    }
}
