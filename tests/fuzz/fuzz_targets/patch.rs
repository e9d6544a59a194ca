//! Any body is a patch of a document or it is not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::Role;
use sealgate::document::fhir::FhirPath;
use sealgate::document::json::{JsonPath, Rules, Selected};
use sealgate::document::patch::{ElementsRewriter, Rewriter, merge};
use sealgate::document::path::FieldPath;
use sealgate_fuzz::{Composites, TOKENS, judge};
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = ["$.a", "$.b[*].c", "$.b[*].h..d", "$.e[1]", "$['f/g'].*", "$.i[?@.k=='x'].v", "$.j.k"];
    let paths = paths.map(|path| FieldPath::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths).expect("few steps"))
});

static BY_TYPE: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = [
        "Patient.birthDate",
        "Patient.name",
        "Patient.identifier.where(system='s').value",
        "Patient.contact.**.value",
        "Resource.text.div",
    ];
    let paths = paths.map(|path| FhirPath::parse(path).expect("a path"));
    let of = |(rule, path)| Selected { path: JsonPath::Fhir(path), rule, role: Role::Value, passes: false };
    let paths: Vec<_> = paths.iter().enumerate().map(of).collect();
    Arc::new(Rules::compile_all(&paths, &["Bundle".to_owned()]).expect("few steps"))
});

fuzz_target!(|data: &[u8]| {
    for (rules, resource) in [(&RULES, None), (&BY_TYPE, Some("Patient"))] {
        judge(data, Composites::Marked, &|limits| {
            Box::new(Rewriter::new(Arc::clone(rules), resource, limits, Some(TOKENS)))
        });
        judge(data, Composites::Marked, &|limits| {
            Box::new(merge(Arc::clone(rules), resource, limits, Some(TOKENS)))
        });
        judge(data, Composites::Marked, &|limits| {
            Box::new(ElementsRewriter::new(Arc::clone(rules), resource, limits, Some(TOKENS)))
        });
    }
});
