//! `sealgate keys import`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, complain, say};
use super::custody::{Custody, note};
use crate::audit::event::KeyChange;
use crate::keyring::store::keyset::{self, KEYSET_BYTES_MAX};
use crate::keyring::store::{Imported, KeyRow};
use crate::seal::Purpose;
use clap::Args;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(in crate::cli) struct Import {
    #[command(flatten)]
    config: ConfigFile,
    /// The keyset, as `sealgate keys export` writes it; `-` for standard input.
    keyset: PathBuf,
}

/// What came of the rows.
#[derive(Default)]
struct Counts {
    added: usize,
    decrypt_only: usize,
    present: usize,
    different: usize,
    /// Lookup and format keys that another one stands in the way of.
    shadowed: usize,
}

pub(super) async fn import(arguments: Import) -> Result<Exit, Failure> {
    let Import { config, keyset } = arguments;
    let config = session::config(&config.config)?;
    let text = read(&keyset).map_err(|error| Failure::new(format!("{}: {error}", keyset.display())))?;
    let rows = keyset::read(&text).map_err(|error| Failure::new(format!("{}: {error}", keyset.display())))?;
    let custody = Custody::open(config, None).await?;
    let mut change = custody.change("import");
    note(&mut change, rows.iter().map(KeyRow::id));
    custody.intend(&change).await?;
    let mut change = custody.change("import");
    let mut counts = Counts::default();
    let result = put(&custody, rows, &mut change, &mut counts).await;
    custody.conclude(change, result).await?;
    let Counts { added, decrypt_only, present, different, .. } = counts;
    let exit = say(&format!(
        "key store {}: {added} added, {decrypt_only} added as decrypt-only, {present} there already, {different} there with \
         another content\n",
        custody.place.name()
    ));
    Ok(if different + counts.shadowed > 0 { Exit::Failure } else { exit })
}

async fn put(custody: &Custody, rows: Vec<KeyRow>, change: &mut KeyChange, counts: &mut Counts) -> Result<(), Failure> {
    for row in rows {
        let (id, scope, purpose) = (row.id(), row.scope, row.purpose);
        match custody.place.import(row).await? {
            Imported::Added => counts.added += 1,
            Imported::AddedDecryptOnly => {
                counts.decrypt_only += 1;
                if matches!(purpose, Purpose::Lookup | Purpose::Format) {
                    counts.shadowed += 1;
                    complain(&format!(
                        "{} key {id} of scope {scope} was active, and is decrypt-only now: another one was made before it \
                         came back; import into an empty store\n",
                        purpose.as_str()
                    ));
                }
            }
            Imported::Present => {
                counts.present += 1;
                continue;
            }
            Imported::Different => {
                counts.different += 1;
                complain(&format!("key {id} is there with another content, which stays\n"));
                continue;
            }
        }
        note(change, [id]);
    }
    Ok(())
}

/// The text of a keyset.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let most = u64::try_from(KEYSET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    input.take(most).read_to_string(&mut text)?;
    Ok(text)
}
