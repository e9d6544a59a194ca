//! Any body is a form or it is not, any text the query of a URL.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::form::{FormPath, Rewriter, Rules};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = ["ssn", "name[*]", "a[b][0]", "x.y", "\u{e9}"];
    let paths = paths.map(|path| FormPath::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths.into_iter().enumerate().collect::<Vec<_>>()))
});

fuzz_target!(|data: &[u8]| {
    judge(data, Composites::Marked, &|limits| Box::new(Rewriter::new(Arc::clone(&RULES), limits, Some(TOKENS))));
    judge(data, Composites::Marked, &|limits| {
        Box::new(Rewriter::of_query(Arc::clone(&RULES), limits, Some(TOKENS)))
    });
});
