//! Any body is a table or it is not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::csv::{CsvPath, Rewriter, Rules};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<[Arc<Rules>; 2]> = LazyLock::new(|| {
    let path = |path| CsvPath::parse(path).expect("a path");
    let compile = |paths: &[_], delimiter| Arc::new(Rules::compile(paths, delimiter).expect("a delimiter"));
    [compile(&[(0, path("ssn"))], b','), compile(&[(0, path("a \"b")), (1, path("ssn"))], b'\t')]
});

fuzz_target!(|data: &[u8]| {
    for rules in RULES.iter() {
        judge(data, Composites::Marked, &|limits| {
            Box::new(Rewriter::new(Arc::clone(rules), limits, Some(TOKENS)))
        });
    }
});
