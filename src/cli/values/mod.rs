//! `sealgate open` and `sealgate seal`: values in the hands of who works on the machine itself. The policy is the gate's,
//! who asks is the user of the operating system, and what is to be shown is on record before it is.

mod caller;
pub(in crate::cli) mod lines;
pub(in crate::cli) mod new_file;
mod open;
mod seal;
pub(in crate::cli) mod stream;

use super::session::{Failure, run};
use super::{ConfigFile, Exit};
use crate::seal::{Class, Scope};
use clap::Args;
use std::path::PathBuf;

pub(super) use open::Open;
pub(super) use seal::Seal;

/// What both have.
#[derive(Args)]
struct Call {
    #[command(flatten)]
    config: ConfigFile,
    /// What it is for, 1 to 200 characters; it stands in the audit journal, so write no PHI into it.
    #[arg(long, value_parser = parse_reason)]
    reason: String,
    /// A value that the tokens are bound to, as NAME=VALUE; may be given several times.
    #[arg(long = "bind", value_name = "NAME=VALUE", value_parser = lines::parse_bind)]
    binds: Vec<(String, String)>,
    /// One attachment of the stream suite instead of values: from standard input into the file of --output.
    #[arg(long, requires = "output")]
    stream: bool,
    /// Where a stream goes: a new file, which is there only once all of it is. Its mode is 0600.
    #[arg(long, value_name = "FILE", requires = "stream")]
    output: Option<PathBuf>,
}

fn parse_reason(text: &str) -> Result<String, String> {
    let count = text.chars().count();
    if (1..=200).contains(&count) && !text.chars().any(char::is_control) && !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err("wanted 1 to 200 characters in one line".to_owned())
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|error| error.to_string())
}

pub(super) fn parse_class(text: &str) -> Result<Class, String> {
    Class::parse(text).map_err(|error| error.to_string())
}

pub(super) fn open(arguments: Open) -> Exit {
    run(open::open(arguments))
}

pub(super) fn seal(arguments: Seal) -> Exit {
    run(seal::seal(arguments))
}

/// Writes what was opened or sealed.
fn show(text: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(format!("standard output: {error}")))
}
