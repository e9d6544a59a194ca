//! One YAML file to one typed value, with every problem at once and each problem at its place.
//!
//! The way of a file: YAML events to a tree of nodes (`yaml`), `${VAR}` in scalars (`interpolate`), the tree to JSON
//! with the place of every key and value (`resolve`), the JSON against the schema of the type (`structure`), the
//! JSON to the type. Nothing here reads a file or the environment, and no problem holds what a variable held.

mod core;
mod expected;
mod interpolate;
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
pub use problem::{Places, Problem};

/// The longest text that is read, in bytes: 1 MiB. All scalars together, aliases and variables put in, stay below it too.
pub const TEXT_LIMIT: usize = 1 << 20;
/// How deep lists and mappings may nest.
pub const DEPTH_LIMIT: usize = 64;
/// How many nodes a file may have, aliases counted as what they stand for.
pub const NODE_LIMIT: usize = 10_000;

/// A value and where its parts stand in the text.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// The places of its keys and values, for the checks that come after the loading.
    pub places: Places,
}

/// Reads one YAML document into a `T`; `env` answers for `${VAR}`.
///
/// # Errors
///
/// All problems that could be found, sorted by place. A syntax error or a limit ends the reading, so it can hide others;
/// a problem that only the `Deserialize` of `T` sees is told when there is no other. A problem names variables and
/// quotes short values of the file, and never a value that came from a variable.
pub fn load<T: DeserializeOwned + JsonSchema>(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded<T>, Vec<Problem>> {
    let yaml::Document { root, mut problems } = yaml::parse(text);
    let Some(root) = root else {
        return Err(problem::sorted(problems));
    };
    let resolved = resolve::resolve(&root, env, &mut problems);
    structure::check(&root_schema::<T>(), &resolved, &mut problems);
    if !problems.is_empty() {
        return Err(problem::sorted(problems));
    }
    match T::deserialize(&resolved.value) {
        Ok(value) => Ok(Loaded { value, places: resolved.places }),
        Err(error) => Err(vec![tracked::problem::<T>(&resolved, &error)]),
    }
}

/// The JSON Schema (2020-12) of the files that [`load`] reads into a `T`, for editors, indented.
pub fn schema<T: JsonSchema>() -> String {
    format!("{:#}\n", root_schema::<T>())
}

fn root_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
