//! Any text is a keyset or it is not; one that reads is written again to one that reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::keyring::store::keyset::{KeysetError, read, write};
use std::collections::BTreeSet;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(text) {
        Ok(rows) => {
            let written = write(&rows);
            assert!(read(&written) == Ok(rows.clone()), "the same again");
            let again = read(&written).map(|rows| write(&rows));
            assert!(again.as_deref() == Ok(written.as_str()), "one way to write it");
            let ids: BTreeSet<_> = rows.iter().map(|row| row.id()).collect();
            assert_eq!(ids.len(), rows.len(), "no key twice");
        }
        Err(error @ (KeysetError::NotJson { line, .. } | KeysetError::Shape { line, .. })) => {
            assert!(line <= text.lines().count() + 1, "{error}");
        }
        Err(error) => assert!(error.to_string().starts_with("keyset: ")),
    }
});
