//! `sealgate keys`: commands that work on keys. Each change is on record in the journal of commands before it is made.

mod create;
mod custody;
mod export;
mod import;
mod init;
mod list;
mod rotate;

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
    /// Print every row of the key store, as a keyset: encrypted data keys only.
    Export(ConfigFile),
    /// Add the rows of a keyset to the key store.
    Import(import::Import),
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
        KeysCommand::Export(file) => run(export::export(file)),
        KeysCommand::Import(arguments) => run(import::import(arguments)),
        KeysCommand::Purge { admin } => purge::purge(admin),
    }
}
