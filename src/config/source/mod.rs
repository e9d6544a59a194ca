//! One YAML file to one typed value, with every problem at once and each problem at its place.
//!
//! The way of a file: YAML events to a tree of nodes (`yaml`), `${VAR}` in scalars (`interpolate`), the tree to JSON
//! with the place of every key and value (`resolve`), the JSON against the schema of the type (`structure`), the
//! JSON to the type. Where there are problems, what they are about is taken out (`mend`), so that the rest can be checked
//! further. Nothing here reads a file or the environment, and no problem holds what a variable held.

mod core;
mod expected;
mod interpolate;
mod mend;
mod node;
mod path;
mod problem;
mod resolve;
mod structure;
mod tracked;
mod yaml;

#[cfg(test)]
mod tests;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use path::{item, key};
pub(super) use problem::sorted;
pub use problem::{Places, Problem};

/// The longest text that is read, in bytes: 1 MiB. All scalars together, aliases and variables put in, stay below it too.
pub const TEXT_LIMIT: usize = 1 << 20;
/// How deep lists and mappings may nest.
pub const DEPTH_LIMIT: usize = 64;
/// How many nodes a file may have, aliases counted as what they stand for.
pub const NODE_LIMIT: usize = 10_000;

/// How many values that only the `Deserialize` of a type refuses are looked for.
const REFUSALS_MAX: usize = 100;

/// A value and where its parts stand in the text.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// The places of its keys and values, for the checks that come after the loading.
    pub places: Places,
}

/// What is wrong with a text, and what can be read of it all the same.
#[derive(Debug, Clone)]
pub struct Refused<T> {
    /// The problems, at least one, sorted by place.
    pub problems: Vec<Problem>,
    /// The rest, for more checks and nothing else: what a problem is about is left out, or stands in as an empty value
    /// of its type, at the paths that its [`Places::is_mended`] knows.
    pub rest: Option<Box<Loaded<T>>>,
}

/// Reads one YAML document into a `T`; `env` answers for `${VAR}`.
///
/// # Errors
///
/// All problems that could be found, sorted by place. A syntax error or a limit ends the reading, so it can hide others.
/// A problem names variables and quotes short values of the file, and never a value that came from a variable.
pub fn load<T: DeserializeOwned + JsonSchema>(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded<T>, Refused<T>> {
    let yaml::Document { root, mut problems } = yaml::parse(text);
    let Some(root) = root else {
        return Err(Refused { problems: sorted(problems), rest: None });
    };
    let mut resolved = resolve::resolve(&root, env, &mut problems);
    let schema = root_schema::<T>();
    let wrong = structure::check(&schema, &resolved, &mut problems);
    let mut faults = mend::Faults::new(&wrong, &resolved, &problems);
    for _ in 0..REFUSALS_MAX {
        let (value, gaps) = mend::mend(&schema, &resolved, &faults);
        resolved.places.mend(gaps);
        let problem = match T::deserialize(&value) {
            Ok(value) if problems.is_empty() => return Ok(Loaded { value, places: resolved.places }),
            Ok(value) => {
                let rest = Box::new(Loaded { value, places: resolved.places });
                return Err(Refused { problems: sorted(problems), rest: Some(rest) });
            }
            Err(error) => tracked::problem::<T>(&value, &resolved, &error),
        };
        let is_new = !resolved.places.is_mended(&problem.path) && !faults.touch(&problem.path);
        let is_progress = faults.add(&problem.path);
        if is_new {
            problems.push(problem);
        }
        if !is_progress {
            break;
        }
    }
    Err(Refused { problems: sorted(problems), rest: None })
}

/// The JSON Schema (2020-12) of the files that [`load`] reads into a `T`, for editors, indented.
pub fn schema<T: JsonSchema>() -> String {
    format!("{:#}\n", root_schema::<T>())
}

fn root_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
