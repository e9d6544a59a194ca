//! Primitives that are sealed, and what FHIR has beside them.

use super::*;
use crate::document::Role;
use crate::document::fhir::FhirPath;
use crate::document::testing::rewrite;

/// The value, the start of the object beside it, and the sealed value in there.
#[test]
fn what_belongs_to_a_sealed_primitive_is_told_apart() {
    let date = FhirPath::parse("Patient.birthDate").unwrap();
    let time = FhirPath::parse("Patient._birthDate.extension('t').valueDateTime").unwrap();
    let mut selected = Vec::new();
    let all: Vec<_> = [&date, &time].into_iter().map(|path| (path, path.companions("s"))).collect();
    for (rule, (path, (beside, inside))) in all.iter().enumerate() {
        for (path, role) in [(*path, Role::Primitive), (beside, Role::Companion), (inside, Role::Carried)] {
            selected.push(Selected { path: JsonPath::Fhir(path), rule, role, passes: false });
        }
    }
    let rules = Arc::new(Rules::compile_all(&selected, &[]).unwrap());
    let document = r#"{"resourceType":"Patient","birthDate":"d","_birthDate":{"extension":[{"url":"t","valueDateTime":"e"},{"url":"s","valueString":"f"}]},"a":1}"#;
    for lengths in [&[][..], &[1], &[9]] {
        let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
        let mut seen = Vec::new();
        rewrite(&mut rewriter, document.as_bytes(), lengths, &mut |slot| {
            let raw = String::from_utf8(slot.raw().to_vec()).unwrap();
            seen.push((slot.rule(), slot.role(), raw, slot.around(0)));
            None
        })
        .unwrap();
        let want = [
            (Some(0), Role::Primitive, "\"d\"", Some(0)),
            (Some(0), Role::Companion, "{", Some(0)),
            (Some(1), Role::Primitive, "\"e\"", Some(69)),
            (Some(0), Role::Carried, "\"f\"", Some(101)),
        ];
        assert_eq!(seen, want.map(|(rule, role, raw, around)| (rule, role, raw.to_owned(), around)));
        // Who has no use for the end of the object may replace each at once.
        let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
        let replaced = rewrite(&mut rewriter, document.as_bytes(), lengths, &mut |slot| {
            (slot.role() != Role::Companion).then(|| b"0".to_vec())
        });
        let want = document.replace("\"d\"", "0").replace("\"e\"", "0").replace("\"f\"", "0");
        assert_eq!(String::from_utf8(replaced.unwrap()).unwrap(), want);
    }
}

#[test]
fn what_stands_beside_a_sealed_primitive_is_an_object() {
    let date = FhirPath::parse("Patient.birthDate").unwrap();
    let (beside, inside) = date.companions("s");
    let all = [(&date, Role::Primitive), (&beside, Role::Companion), (&inside, Role::Carried)];
    let all = all.map(|(path, role)| Selected { path: JsonPath::Fhir(path), rule: 0, role, passes: false });
    let rules = Arc::new(Rules::compile_all(&all, &[]).unwrap());
    for value in ["\"a\"", "7", "true", "[7]", "[\"\\u0061\"]", "[[null,7]]", "\"\\n\""] {
        let document = format!("{{\"resourceType\":\"Patient\",\"_birthDate\":{value}}}");
        for lengths in [&[][..], &[1], &[9]] {
            let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
            let fault = rewrite(&mut rewriter, document.as_bytes(), lengths, &mut |_| None).unwrap_err();
            assert!(fault.to_string().contains("beside a sealed primitive"), "{value}: {fault}");
        }
    }
    for value in ["null", "{}", "[null,{}]"] {
        let document = format!("{{\"resourceType\":\"Patient\",\"_birthDate\":{value}}}");
        let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
        assert_eq!(rewrite(&mut rewriter, document.as_bytes(), &[], &mut |_| None).unwrap(), document.as_bytes());
    }
}

/// The limit counts from where the wait began, though what was replaced since has gone out.
#[test]
fn an_object_that_waits_for_its_end_has_the_same_limit_however_it_is_cut() {
    let date = FhirPath::parse("Patient.birthDate").unwrap();
    let selected = Selected { path: JsonPath::Fhir(&date), rule: 0, role: Role::Primitive, passes: false };
    let rules = Arc::new(Rules::compile_all(&[selected], &[]).unwrap());
    let members = format!("\"birthDate\":\"d\",\"a\":[{}1],\"birthDate\":\"d\"}}", "1,".repeat(100));
    let document = format!("{{\"resourceType\":\"Patient\",{members}");
    for (object_bytes_max, is_short) in [(members.len() - 1, false), (members.len(), true)] {
        for lengths in [&[][..], &[64], &[1]] {
            let limits = Limits { object_bytes_max, ..Limits::default() };
            let mut rewriter = Rewriter::new(Arc::clone(&rules), limits, None);
            let result = rewrite(&mut rewriter, document.as_bytes(), lengths, &mut |_| Some(b"0".to_vec()));
            let fault = Fault::ValueTooLong { offset: 26, max: object_bytes_max };
            assert_eq!(result.err(), (!is_short).then_some(fault), "{object_bytes_max} in pieces of {lengths:?}");
        }
    }
}
