//! `sealgate keys import`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, complain, say};
use super::custody::{Custody, note};
use super::proof::Prover;
use crate::audit::event::KeyChange;
use crate::keyring::store::keyset::{self, KEYSET_BYTES_MAX};
use crate::keyring::store::{Imported, KeyRow};
use crate::seal::Purpose;
use clap::Args;
use futures_util::{StreamExt, stream};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many keys are looked at at once.
const AT_ONCE: usize = 8;
/// How many keys one record tells of. Every one of a part failing ends the command: the rest would fail too.
const PART: usize = 64;

#[derive(Args)]
pub(in crate::cli) struct Import {
    #[command(flatten)]
    config: ConfigFile,
    /// The keyset, as `sealgate keys export` writes it; `-` for standard input.
    keyset: PathBuf,
    /// Do not unwrap one form of each key and see that it is the key before any is added. Unwrapping takes kms:Decrypt, and
    /// has the data keys in this process for a moment; without it a key that does not open is found when it is too late.
    #[arg(long)]
    unverified: bool,
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
    let Import { config, keyset, unverified } = arguments;
    let config = session::config(&config.config)?;
    let text = read(&keyset).map_err(|error| Failure::new(format!("{}: {error}", keyset.display())))?;
    let rows = keyset::read(&text).map_err(|error| Failure::new(format!("{}: {error}", keyset.display())))?;
    let custody = Custody::open(config, None).await?;
    let mut change = custody.change("import");
    note(&mut change, rows.iter().map(KeyRow::id));
    custody.intend(&change).await?;
    let mut change = custody.change("import");
    let mut counts = Counts::default();
    let verified = if unverified { Ok(()) } else { verify(&custody, &rows).await };
    let result = match verified {
        Ok(()) => put(&custody, rows, &mut change, &mut counts).await,
        Err(failure) => Err(failure),
    };
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

/// That each key opens; each part is on record. If one does not, none is added.
async fn verify(custody: &Custody, rows: &[KeyRow]) -> Result<(), Failure> {
    let prover = Prover { keyring: &custody.keyring, provider: custody.provider };
    let (mut tried, mut failed, mut exit) = (0, 0, Exit::Failure);
    for part in rows.chunks(PART) {
        let work = part.iter().map(|row| async { (row.id(), prover.opens(row).await) });
        let results: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let mut change = custody.change("verify");
        for (id, (result, uses)) in results {
            note(&mut change, [id]);
            change.keys.extend(uses);
            if let Err(error) = result {
                let failure = Failure::from(error);
                complain(&format!("key {id}: {}\n", failure.text));
                change.failed += 1;
                (change.cause, exit) = (Some(failure.text), failure.exit);
            }
        }
        tried += part.len();
        failed += change.failed;
        let none = change.failed == change.count;
        custody.conclude(change, Ok(())).await?;
        if none {
            break;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let text = format!(
        "{failed} of {tried} keys do not open, {} were not tried; none is imported; --unverified imports them all the same",
        rows.len() - tried
    );
    Err(Failure { exit, text })
}

/// The text of a keyset.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let most = u64::try_from(KEYSET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    input.take(most).read_to_string(&mut text)?;
    Ok(text)
}
