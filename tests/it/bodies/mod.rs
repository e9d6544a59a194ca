//! Bodies of every format, through the gate and back.

mod codings;
mod coverage;
mod export;
mod fhir;
mod forms;
mod framing;
mod hidden;
mod legacy;
mod long;
mod ndjson;
mod oddities;
mod outcomes;
mod pages;
mod patches;
mod streams;
mod xml;

use std::path::{Path, PathBuf};

/// Every file of a folder of the test data whose name ends so.
fn samples(folder: &str, ends: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.to_str().unwrap().ends_with(ends)).collect();
    files.sort();
    assert!(!files.is_empty(), "no {ends}");
    files
}
