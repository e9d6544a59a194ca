//! Any body is lines of JSON or it is not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::json::Rules;
use sealgate::document::ndjson::Rewriter;
use sealgate::document::path::FieldPath;
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = ["$.a", "$.b[*].c", "$..d", "$.e[1]", "$['f g'].*", "$[0]"];
    let paths = paths.map(|path| FieldPath::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths).expect("few steps"))
});

fuzz_target!(|data: &[u8]| {
    judge(data, Composites::Marked, &|limits| Box::new(Rewriter::new(Arc::clone(&RULES), limits, Some(TOKENS))));
});
