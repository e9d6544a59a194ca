//! Whether stored keys open: each encrypted form is unwrapped under its own KEK and held against the row's commitment.

use super::custody::uses;
use crate::audit::event::KeyUse;
use crate::keyring::several::Role;
use crate::keyring::store::{KeyRow, KeyState};
use crate::keyring::{Keyring as _, KeyringError, KmsCall, Several};
use crate::seal::{CryptoProvider, EncryptedDataKey, EncryptionContext, KekTag};

/// What came of one form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// It is the key.
    Opens,
    /// Not checked: what unwraps it is not here, as with a recovery key whose private half lies in a safe.
    Offline,
    /// Not checked: the config does not name its KEK.
    Unknown,
    /// It should be there, and is not.
    Missing,
    /// It does not open, or is another key.
    Fails(KeyringError),
}

impl Form {
    /// As JSON has it.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Offline => "offline",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Fails(_) => "failed",
        }
    }

    /// Why it is not seen to open.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Opens => "opens".to_owned(),
            Self::Offline => "not checked: offline".to_owned(),
            Self::Unknown => "not checked: the config does not name its KEK".to_owned(),
            Self::Missing => "is missing; run `sealgate keys rewrap`".to_owned(),
            Self::Fails(error) => error.to_string(),
        }
    }
}

/// The KEKs by which keys are looked at.
pub(super) struct Prover<'a> {
    pub(super) keyring: &'a Several,
    pub(super) provider: &'static dyn CryptoProvider,
}

impl Prover<'_> {
    /// Every form of the row, those that should be there and are not among them; and the calls that it took.
    pub(super) async fn forms(&self, row: &KeyRow) -> (Vec<(KekTag, Form)>, Vec<KeyUse>) {
        let (mut forms, mut calls) = (Vec::new(), Vec::new());
        if row.state == KeyState::Shredded {
            return (forms, Vec::new());
        }
        for edk in &row.edks {
            forms.push((edk.kek, self.form(row, edk, &mut calls).await));
        }
        for (tag, _, role) in self.keyring.names() {
            if role != Role::Old && !row.edks.iter().any(|edk| edk.kek == tag) {
                forms.push((tag, Form::Missing));
            }
        }
        (forms, uses(row.id(), &calls))
    }

    /// That one form of the row is the key that it commits to, whichever opens first; and the calls that it took.
    pub(super) async fn opens(&self, row: &KeyRow) -> (Result<(), KeyringError>, Vec<KeyUse>) {
        let mut calls = Vec::new();
        let mut result = Err(KeyringError::UnknownKek);
        if row.state == KeyState::Shredded {
            result = Ok(());
        }
        for edk in self.keyring.in_order(&row.edks) {
            match self.form(row, edk, &mut calls).await {
                Form::Opens => {
                    result = Ok(());
                    break;
                }
                Form::Fails(error) => result = Err(error),
                Form::Offline | Form::Unknown | Form::Missing => {}
            }
        }
        (result, uses(row.id(), &calls))
    }

    async fn form(&self, row: &KeyRow, edk: &EncryptedDataKey, calls: &mut Vec<KmsCall>) -> Form {
        let known = self.keyring.names().into_iter().find(|(tag, ..)| *tag == edk.kek);
        let Some((_, name, _)) = known else { return Form::Unknown };
        let context = EncryptionContext { scope: row.scope, purpose: row.purpose };
        match self.keyring.decrypt_data_key(edk.clone(), context).await {
            Ok(decrypted) => {
                let request_id = decrypted.call.request_id.clone();
                calls.push(decrypted.call);
                let same = decrypted.key.commitment(self.provider).is_ok_and(|it| it.matches(&row.commitment));
                let why = || "it does not match the commitment".into();
                if same { Form::Opens } else { Form::Fails(KeyringError::Rejected { why: why(), request_id }) }
            }
            Err(KeyringError::UnknownKek) => Form::Offline,
            Err(error) => {
                calls.extend(error.request_id().map(|id| KmsCall { kek: name, request_id: Some(id) }));
                Form::Fails(error)
            }
        }
    }
}
