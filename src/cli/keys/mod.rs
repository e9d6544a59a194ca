//! `sealgate keys`: commands that work on keys. Each change is on record in the journal of commands before it is made.

mod census;
mod create;
pub(in crate::cli) mod custody;
mod export;
mod import;
mod init;
pub(in crate::cli) mod list;
mod proof;
mod recover;
mod revoke;
mod rewrap;
mod rotate;
mod shred;
mod verify;

use super::session::run;
use super::{ConfigFile, Exit, purge};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What is done to keys.
#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make the key store that the config names, and an empty keyset file if it names one that is not there.
    Init(ConfigFile),
    /// Make a data key and keep it in the key store, or in a keyset file.
    Create(create::Create),
    /// Tell the keys of store and keyset, and which KEKs wrapped them.
    List(list::List),
    /// Put a new key in the place of the active one, which opens on.
    Rotate(rotate::Rotate),
    /// Wrap every key under exactly the KEKs that the config names now. Can be interrupted and run again.
    Rewrap(rewrap::Rewrap),
    /// Unwrap every form of every key under its own KEK and see that it is the key; try the KEKs on a throw-away key.
    ///
    /// Changes nothing. Exit 1 if anything does not open that could be looked at.
    Verify(verify::Verify),
    /// Have a key used for nothing, or for opening again.
    Revoke(revoke::Revoke),
    /// Destroy all keys of a scope in the key store, and with them what they sealed. Cannot be undone.
    Shred(shred::Shred),
    /// Print every row of the key store, as a keyset: encrypted data keys only.
    Export(export::Export),
    /// Add the rows of a keyset to the key store, once each was seen to open.
    Import(import::Import),
    /// Open tokens or values of a format of standard input, or an attachment, by an offline recovery key, without KMS.
    ///
    /// To serve on instead: name the private key under keyring.old[].recovery.private_key_file and a new KEK as the first
    /// one, run `sealgate keys rewrap` if there is a key store or keyset, and start the gate.
    Recover(recover::Recover),
    /// Tell which data keys an audit journal has seen in use: since when, until when, how often.
    Census(census::Census),
    /// Have the gate on this machine drop every key that it holds in memory.
    Purge {
        /// Address of its admin listener.
        #[arg(long, default_value = "127.0.0.1:9464")]
        admin: std::net::SocketAddr,
    },
}

/// Which store is worked on.
#[derive(Args)]
struct Where {
    #[command(flatten)]
    config: ConfigFile,
    /// Work on this keyset file, not on the key store.
    #[arg(long, value_name = "FILE")]
    keyset: Option<PathBuf>,
}

pub(super) fn keys(command: KeysCommand) -> Exit {
    match command {
        KeysCommand::Init(file) => run(init::init(file)),
        KeysCommand::Create(arguments) => run(create::create(arguments)),
        KeysCommand::List(arguments) => run(list::list(arguments)),
        KeysCommand::Rotate(arguments) => run(rotate::rotate(arguments)),
        KeysCommand::Rewrap(arguments) => run(rewrap::rewrap(arguments)),
        KeysCommand::Verify(arguments) => run(verify::verify(arguments)),
        KeysCommand::Revoke(arguments) => run(revoke::revoke(arguments)),
        KeysCommand::Shred(arguments) => run(shred::shred(arguments)),
        KeysCommand::Export(arguments) => run(export::export(arguments)),
        KeysCommand::Import(arguments) => run(import::import(arguments)),
        KeysCommand::Recover(arguments) => run(recover::recover(arguments)),
        KeysCommand::Census(arguments) => census::census(&arguments),
        KeysCommand::Purge { admin } => purge::purge(admin),
    }
}
