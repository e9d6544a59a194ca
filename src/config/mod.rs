//! One YAML file: as written ([`raw`]), and as the program runs on it ([`checked`]). The only place that reads the
//! environment, and the only one that reads key files.

pub mod checked;
mod files;
mod keyring;
mod policy;
pub mod raw;
mod routes;
mod rules;
pub mod source;
mod upstreams;

#[cfg(test)]
mod tests;

pub use checked::Config;
pub use source::Problem;

use std::path::Path;

/// Reads and checks a config file.
///
/// # Errors
/// Every problem there is, each with its line and column; one without a place if the file cannot be read.
pub fn load(file: &Path) -> Result<Config, Vec<Problem>> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        vec![Problem { line: 0, column: 0, path: String::new(), message: format!("{}: {error}", file.display()) }]
    })?;
    // Relative file names are relative to the config file, wherever the program was started.
    let directory = file.parent().unwrap_or(Path::new("."));
    parse(&text, directory, &environment)
}

/// Checks a config text; files that it names are looked up from `directory`.
///
/// # Errors
/// Every problem there is: with the form of the file, and with what stands in it as far as that can be read.
pub fn parse(text: &str, directory: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    let source::Refused { mut problems, rest } = match source::load::<raw::Config>(text, env) {
        Ok(loaded) => return checked::check(loaded.value, &loaded.places, directory),
        Err(refused) => refused,
    };
    if let Some(rest) = rest {
        problems.extend(checked::check(rest.value, &rest.places, directory).err().unwrap_or_default());
    }
    Err(source::sorted(problems))
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
