//! Any text is a path to values in XML or it is not, any body a document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::fhir::FhirPath;
use sealgate::document::xml::{Rewriter, Rules, XmlPath};
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = [
        "/r/a",
        "//b/@v",
        "//c[@k='x']/d",
        "//{u}e",
        "//f/markup()",
        "/r/g[h/@k='y']//@w",
        "//p[@k='z'][q='1']/s",
        "//{u}m/@{u}n",
    ];
    let paths = paths.map(|path| XmlPath::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths.into_iter().enumerate().collect::<Vec<_>>()).expect("few steps"))
});

static BY_TYPE: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = [
        "Patient.birthDate",
        "Patient._birthDate.extension('t').valueDateTime",
        "Patient.name",
        "Patient.identifier.where(system='s').value",
        "Patient.extension('u').valueString",
        "Patient.text.div",
    ];
    // Two of them are for values that go into extensions.
    let moved = ["Patient.birthDate", "Patient._birthDate.extension('t').valueDateTime"];
    let of = |(rule, path)| {
        let read = FhirPath::parse(path).expect("a path");
        let is_moved = moved.contains(&path);
        let paths = if is_moved { XmlPath::of_fhir_primitive(&read, "s") } else { XmlPath::of_fhir(&read) };
        paths.expect("quotes of one kind").into_iter().map(move |path| (rule, path))
    };
    let paths: Vec<_> = paths.into_iter().enumerate().flat_map(of).collect();
    let types = ["Patient", "Bundle", "Basic"].map(str::to_owned);
    Arc::new(Rules::compile(&paths).expect("few steps").with_resources(types, false))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = XmlPath::parse(text)
    {
        assert_eq!(path.to_string(), text);
        assert!(Rules::compile(&[(0, path)]).is_ok() || text.len() > 4096);
    }
    for rules in [&RULES, &BY_TYPE] {
        judge(data, Composites::Marked, &|limits| {
            Box::new(Rewriter::new(Arc::clone(rules), limits, Some(TOKENS)))
        });
    }
});
