//! Any body is a form with files or it is not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::form::FormPath;
use sealgate::document::multipart::{Rewriter, Rules};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

/// As short as it may be where files are protected.
const BOUNDARY: &str = "b0123456789abcde";

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let path = |path| FormPath::parse(path).expect("a path");
    let fields = [(0, path("ssn")), (1, path("n[*]"))];
    let files = [(2, path("scan")), (3, path("ssn"))];
    Arc::new(Rules::compile(&fields, &files))
});

fuzz_target!(|data: &[u8]| {
    for refuses_other_files in [false, true] {
        judge(data, Composites::Marked, &|limits| {
            let (rules, watch) = (Arc::clone(&RULES), Some(TOKENS));
            Box::new(Rewriter::new(rules, BOUNDARY, refuses_other_files, limits, watch).expect("a boundary"))
        });
    }
    // Any text is a boundary or it is not.
    if let Ok(boundary) = std::str::from_utf8(data) {
        let _ = Rewriter::new(Arc::clone(&RULES), boundary, true, sealgate_fuzz::TIGHT, None);
    }
});
