//! `sealgate audit`.

use super::{Exit, complain, say};
use crate::audit::chain::Head;
use crate::audit::verify;
use crate::seal::crypto::sha256;
use std::path::Path;

pub(super) fn verify(directory: &Path, expect: &[Head]) -> Exit {
    match verify::verify(directory, sha256, expect) {
        Ok(report) if report.records == 0 => {
            complain(&format!("audit journal {:?}: there are no records\n", directory));
            Exit::Failure
        }
        Ok(report) => say(&format!(
            "{} records in {} files, from {} to {}: the chain is whole\n",
            report.records, report.segments, report.first, report.head
        )),
        Err(finding) => {
            complain(&format!("{finding}\n"));
            Exit::Failure
        }
    }
}
