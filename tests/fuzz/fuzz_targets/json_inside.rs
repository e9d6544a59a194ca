//! Any text is a path by resource type or it is not; any body is rewritten by rules that look inside of objects: filters,
//! and the types of resources.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::Role;
use sealgate::document::fhir::FhirPath;
use sealgate::document::json::{JsonPath, Rewriter, Rules, Selected};
use sealgate::document::path::FieldPath;
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static FILTERED: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    // None selects what a filter compares.
    let paths = [
        "$.a[?@.k=='x'].v",
        "$..[?@.k=='y'].w",
        "$.a[?@.t.c[0].k=='x' && 'o'==@.u].v",
        "$.a[*].v[?@.k=='z'].z",
        "$.o[?@.k=='x']",
        "$..p",
    ];
    let paths = paths.map(|path| FieldPath::parse(path).expect("a path"));
    // What the second selects passes.
    let of = |(rule, path)| Selected { path: JsonPath::Field(path), rule, role: Role::Value, passes: rule == 1 };
    let paths: Vec<_> = paths.iter().enumerate().map(of).collect();
    Arc::new(Rules::compile_all(&paths, &[]).expect("few steps"))
});

static BY_TYPE: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = [
        "Patient.birthDate",
        "Patient.name.family",
        "Patient.identifier.where(system='s').value",
        "Patient.identifier.where(type.coding.code='MR' and use='old').value",
        "Patient.extension('u').valueString",
        "Basic.**.answer.valueString",
        "Resource.text.div",
    ];
    let paths = paths.map(|path| FhirPath::parse(path).expect("a path"));
    let deep = FieldPath::parse("$..secret").expect("a path");
    let of = |(rule, path)| Selected { path: JsonPath::Fhir(path), rule, role: Role::Value, passes: false };
    let mut paths: Vec<_> = paths.iter().enumerate().map(of).collect();
    paths.push(Selected { path: JsonPath::Field(&deep), rule: paths.len(), role: Role::Value, passes: false });
    let types = ["Bundle", "Parameters"].map(str::to_owned);
    Arc::new(Rules::compile_all(&paths, &types).expect("few steps"))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match FhirPath::parse(text) {
            Ok(path) => {
                assert_eq!(path.to_string(), text);
                let selected = Selected { path: JsonPath::Fhir(&path), rule: 0, role: Role::Value, passes: false };
                assert!(Rules::compile_all(&[selected], &[]).is_ok() || text.len() > 4096);
            }
            Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column())),
        }
    }
    for rules in [&FILTERED, &BY_TYPE] {
        judge(data, Composites::Kept, &|limits| Box::new(Rewriter::new(Arc::clone(rules), limits, Some(TOKENS))));
    }
});
