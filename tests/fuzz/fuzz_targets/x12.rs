//! Any text is a path to elements of X12 or it is not, any body interchanges.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::x12::{Rewriter, Rules, X12Path};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    // None selects an element 1 that another path compares.
    let paths = ["N3", "NM1*IL-3", "NM1*QC", "DMG-2", "REF*SY-2", "SVC-1.2", "HI-2", "HI-2.1"];
    let paths = paths.map(|path| X12Path::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths.into_iter().enumerate().collect::<Vec<_>>()))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = X12Path::parse(text)
    {
        assert_eq!(X12Path::parse(&path.to_string()), Ok(path));
    }
    judge(data, Composites::Marked, &|limits| Box::new(Rewriter::new(Arc::clone(&RULES), limits, Some(TOKENS))));
});
