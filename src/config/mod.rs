//! One YAML file: as written ([`raw`]), and as the program runs on it ([`checked`]). The only place that reads the
//! environment, and the only one that reads key files.

mod bearer;
pub mod checked;
mod door;
mod files;
pub mod fixed;
mod keyring;
pub mod packs;
mod places;
mod policy;
pub mod raw;
mod routes;
mod rules;
pub mod source;
pub mod sources;
mod upstreams;
mod warnings;

#[cfg(test)]
mod tests;

pub use checked::Config;
pub use source::Problem;
pub use sources::Sources;

use files::KeysetFile;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads and checks a config file.
///
/// # Errors
/// Every problem there is, each with its line and column; one without a place if the file cannot be read.
pub fn load(file: &Path) -> Result<Config, Vec<Problem>> {
    read(file).1
}

/// Reads and checks a config file; tells also what was read, whether it is good or not.
pub fn read(file: &Path) -> (Sources, Result<Config, Vec<Problem>>) {
    let mut sources = Sources::default();
    let config = load_with(file, KeysetFile::Needed, &mut sources);
    (sources, config)
}

/// Reads and checks a config file for a command that makes keys: the keyset file that it names may not be there yet.
///
/// # Errors
/// As [`load`].
pub fn load_before_keys(file: &Path) -> Result<Config, Vec<Problem>> {
    load_with(file, KeysetFile::ToBeMade, &mut Sources::default())
}

fn load_with(file: &Path, keyset: KeysetFile, sources: &mut Sources) -> Result<Config, Vec<Problem>> {
    let text = sources::text(sources, file).map_err(|error| {
        vec![Problem { line: 0, column: 0, path: String::new(), message: format!("{}: {error}", file.display()) }]
    })?;
    // Relative file names are relative to the config file, wherever the program was started.
    let directory = file.parent().unwrap_or(Path::new("."));
    parse_with(&text, (directory, keyset, sources), &environment)
}

/// Checks a config text; files that it names are looked up from `directory`.
///
/// # Errors
/// Every problem there is: with the form of the file, and with what stands in it as far as that can be read.
pub fn parse(text: &str, directory: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    parse_with(text, (directory, KeysetFile::Needed, &mut Sources::default()), env)
}

fn parse_with(
    text: &str,
    (directory, keyset, sources): (&Path, KeysetFile, &mut Sources),
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    let source::Refused { mut problems, rest } = match source::load::<raw::Config>(text, env) {
        Ok(loaded) => return checked::check(loaded.value, &loaded.places, (directory, keyset, sources)),
        Err(refused) => refused,
    };
    if let Some(rest) = rest {
        problems
            .extend(checked::check(rest.value, &rest.places, (directory, keyset, sources)).err().unwrap_or_default());
    }
    Err(source::sorted(problems))
}

/// What is in a secret's file, such as a recovery key that is named on the command line.
///
/// # Errors
/// What is wrong with the file: it cannot be read, or more than its owner may read it.
pub fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    files::read_secret(path).map_err(|error| error.told(&path.display().to_string()))
}

/// The JSON Schema of the config file.
#[must_use]
pub fn schema() -> String {
    source::schema::<raw::Config>()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
