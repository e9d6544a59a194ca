//! Any text is a path to fields of HL7 v2 or it is not, any body messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::hl7v2::{Hl7Path, Rewriter, Rules};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = ["PID-5", "PID-3.1", "PID-11.1.2", "PID-11.2", "OBX-5", "MSH-10", "ZPI-1.2", "BHS-3.1.1"];
    let paths = paths.map(|path| Hl7Path::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths.into_iter().enumerate().collect::<Vec<_>>()))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = Hl7Path::parse(text)
    {
        assert_eq!(Hl7Path::parse(&path.to_string()), Ok(path));
    }
    judge(data, Composites::Marked, &|limits| Box::new(Rewriter::new(Arc::clone(&RULES), limits, Some(TOKENS))));
});
