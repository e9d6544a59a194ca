//! Resources of FHIR.

use super::*;
use crate::document::fhir::FhirPath;

#[test]
fn fhir_paths_select_in_resources() {
    let rules = |paths: &[&str]| {
        let paths = paths.iter().enumerate();
        let paths = paths.flat_map(|(rule, path)| {
            XmlPath::of_fhir(&FhirPath::parse(path).unwrap()).unwrap().into_iter().map(move |path| (rule, path))
        });
        let rules = Rules::compile(&paths.collect::<Vec<_>>()).unwrap();
        Case { rules: Arc::new(rules), ..Case::new(&[]) }
    };
    let document = "<Bundle xmlns='http://hl7.org/fhir'><id value='1'/><entry><resource><Patient><id value='2'/>\
        <text><div xmlns='http://www.w3.org/1999/xhtml'><p>3</p></div></text><contained><Group><id value='4'/></Group>\
        </contained><extension url='u'><valueString value='5'/></extension><identifier><value value='6'/>\
        <system value='s'/></identifier><identifier><system value='t'/><value value='7'/></identifier>\
        <name id='8'><family value='9'/></name></Patient></resource></entry></Bundle>";
    for (path, expect) in [
        ("Patient.name.family", &["0:9"][..]),
        ("Patient.identifier.where(system='s').value", &["0:6"]),
        ("Patient.identifier.value", &["0:6", "0:7"]),
        ("Patient.extension('u').valueString", &["0:5"]),
        ("Patient.extension('v').valueString", &[]),
        ("Patient.text.div", &["0:<p>3</p>"]),
        ("Resource.id", &["0:1", "0:2", "0:4"]),
        ("Patient.name.id", &["0:8"]),
        ("Person.name.family", &[]),
    ] {
        assert_eq!(rules(&[path]).listed(document), expect, "{path}");
    }
    let bare = document.replacen(" xmlns='http://hl7.org/fhir'", "", 1);
    assert_eq!(
        rules(&["Patient.name.family"]).fault(bare.as_bytes()).split(" at ").next(),
        Some("selected element in no namespace")
    );
}

#[test]
fn resources_are_of_types_that_are_known() {
    let path = XmlPath::of_fhir(&FhirPath::parse("Patient.birthDate").unwrap()).unwrap().remove(0);
    let run = |document: &str, others: bool| {
        let rules = Rules::compile(&[(0, path.clone())]).unwrap();
        let types = ["Patient", "Bundle"].map(str::to_owned);
        let mut rewriter = Rewriter::new(
            Arc::new(rules.with_resources(types, others)),
            Limits::default(),
            Some(Watch::new(|_| false)),
        );
        let answer = &mut |_: &Slot<'_>| Some(b"#".to_vec());
        let output = crate::document::testing::rewrite(&mut rewriter, document.as_bytes(), &[], answer);
        output.map(|output| String::from_utf8(output).unwrap()).map_err(|fault| fault.to_string())
    };
    let patient = "<Patient xmlns=\"http://hl7.org/fhir\"><birthDate value=\"1974\"/></Patient>";
    let sealed = patient.replace("1974", "#");
    assert_eq!(run(patient, false), Ok(sealed.clone()));
    let bundle = |inner: &str| {
        format!(
            "<f:Bundle xmlns:f=\"http://hl7.org/fhir\"><f:entry><f:resource>{inner}</f:resource></f:entry></f:Bundle>"
        )
    };
    assert_eq!(run(&bundle(patient), false), Ok(bundle(&sealed)));
    for (document, offset) in [
        ("<Device xmlns=\"http://hl7.org/fhir\"/>".to_owned(), 0),
        ("<Patient/>".to_owned(), 0),
        ("<Patient xmlns=\"urn:x\"/>".to_owned(), 0),
        (bundle("<Device xmlns=\"http://hl7.org/fhir\"/>"), 61),
        (bundle("<Patient xmlns=\"urn:x\"/>"), 61),
    ] {
        let want = format!("resource of a type that no rule names at offset {offset}");
        assert_eq!(run(&document, false), Err(want), "{document}");
    }
    // What other readers take for the same.
    let patient = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\" xmlns:x=\"urn:x\">{inner}</Patient>");
    for (inner, what) in [
        ("<name xmlns=\"urn:x\"><family value=\"F\"/></name>", "element of another namespace in a resource"),
        ("<x:birthDate value=\"1974\"/>", "element of another namespace in a resource"),
        ("<name xmlns=\"\"/>", "element of another namespace in a resource"),
        ("<name><family>F</family></name>", "text in an element of FHIR"),
        ("<name><family><![CDATA[F]]></family></name>", "text in an element of FHIR"),
        ("<birthDate when=\"1974\"/>", "attribute that FHIR has not"),
        ("<birthDate x:value=\"1974\"/>", "attribute that FHIR has not"),
    ] {
        let fault = run(&patient(inner), false).unwrap_err();
        assert!(fault.starts_with(what), "{inner}: {fault}");
    }
    let narrative =
        "<text>\n <status value=\"x\"/> <div xmlns=\"http://www.w3.org/1999/xhtml\"><p title=\"t\">a</p></div></text>";
    assert_eq!(run(&patient(narrative), false), Ok(patient(narrative)));
    // Beside rules for other documents.
    assert!(run("<Patient xmlns=\"urn:x\"/>", true).is_ok());
    assert!(run("<Device xmlns=\"http://hl7.org/fhir\"/>", true).is_err());
    assert!(run("<Patient/>", true).is_err());
}

/// Primitives whose sealed values stand in extensions: what is told of each slot, and the output as far as it was there then.
fn primitives(document: &str, sizes: &[usize]) -> (Result<String, Fault>, Vec<String>) {
    let paths = ["Patient.birthDate", "Patient._birthDate.extension('t').valueDateTime"];
    let paths = paths.map(|path| XmlPath::of_fhir_primitive(&FhirPath::parse(path).unwrap(), "sealed").unwrap());
    let paths: Vec<_> = paths
        .into_iter()
        .enumerate()
        .flat_map(|(rule, paths)| paths.into_iter().map(move |path| (rule, path)))
        .collect();
    let rules = Rules::compile(&paths).unwrap().with_resources(["Patient".to_owned()], false);
    let mut rewriter =
        Rewriter::new(Arc::new(rules), Limits { value_bytes_max: 400, ..Limits::default() }, Some(Watch::new(tokens)));
    let (mut seen, mut rest, mut settled) = (Vec::new(), document.as_bytes(), 0);
    let mut sizes = sizes.iter().cycle();
    let result = loop {
        settled += rewriter.take_output().len();
        match rewriter.step() {
            Err(fault) => break Err(fault),
            Ok(Step::Done) => break Ok(()),
            Ok(Step::NeedInput) if rest.is_empty() => rewriter.finish(),
            Ok(Step::NeedInput) => {
                let (piece, after) = rest.split_at((*sizes.next().unwrap_or(&usize::MAX)).min(rest.len()));
                rewriter.feed(piece);
                rest = after;
            }
            Ok(Step::Slot) => {
                settled += rewriter.take_output().len();
                let slot = rewriter.slot().unwrap();
                let text = String::from_utf8_lossy(slot.text().unwrap()).into_owned();
                let around: Vec<&str> = (0..3)
                    .filter_map(|up| slot.around(up))
                    .map(|at| {
                        let at = usize::try_from(at).unwrap();
                        assert!(settled <= at, "{text}: what it is about has left");
                        document[at + 1..].split([' ', '>', '/']).next().unwrap()
                    })
                    .collect();
                seen.push(format!("{:?} {:?} {text} {}", slot.rule(), slot.role(), around.join(" ")));
                rewriter.keep();
            }
        }
    };
    let output = rewriter.take_output();
    let end = &document[document.len() - output.len().min(document.len())..];
    (result.map(|()| end.to_owned()), seen)
}

#[test]
fn primitives_of_fhir_are_there_with_all_that_a_change_of_them_takes() {
    for (inside, expect) in [
        ("<birthDate value='1974'/>", &["Some(0) Primitive 1974 birthDate"][..]),
        ("<birthDate id='tok.' value='1974'>\n</birthDate>", &["None Value tok. ", "Some(0) Primitive 1974 birthDate"]),
        (
            "<birthDate><extension url='sealed'><valueString value='tok.1'/></extension><extension url='x'/></birthDate>",
            &["Some(0) Carried tok.1 extension birthDate birthDate"],
        ),
        ("<birthDate><extension url='other'><valueString value='1'/></extension></birthDate>", &[]),
        (
            "<birthDate value='1974'><extension url='t'><valueDateTime value='1974T'/></extension></birthDate>",
            &["Some(0) Primitive 1974 birthDate", "Some(1) Primitive 1974T valueDateTime"],
        ),
        (
            "<birthDate><extension url='t'><valueDateTime><extension url='sealed'><valueString value='tok.2'/></extension>\
             </valueDateTime></extension><extension url='sealed'><valueString value='tok.1'/></extension></birthDate>",
            &[
                "Some(1) Carried tok.2 extension valueDateTime valueDateTime",
                "Some(0) Carried tok.1 extension birthDate birthDate",
            ],
        ),
        ("<name value='1974'><x/></name>", &[]),
    ] {
        let document =
            format!("<p:Patient xmlns:p='http://hl7.org/fhir' xmlns='http://hl7.org/fhir'>{inside}<x/></p:Patient>");
        let whole = primitives(&document, &[]);
        assert!(whole.0.is_ok(), "{inside}: {:?}", whole.0);
        assert_eq!(whole.1, expect, "{inside}");
        for sizes in [&[1][..], &[2], &[7, 1]] {
            assert_eq!(primitives(&document, sizes).1, whole.1, "{inside}");
        }
    }
    let filled = "x".repeat(500);
    for (inside, expect) in [
        ("<birthDate><x value='1974'/></birthDate>", "element in a primitive of FHIR"),
        ("<birthDate value='1'><valueString value='1974'/></birthDate>", "element in a primitive of FHIR"),
        (
            "<birthDate value='1'><extension url='sealed'><valueString value='tok.1'/></extension></birthDate>",
            "sealed value beside another",
        ),
        (&format!("<birthDate><extension url='x' id='{filled}'/></birthDate>"), "longer than 400 bytes"),
        (&format!("<birthDate id='{filled}' value='1974'/>"), "longer than 400 bytes"),
    ] {
        let document = format!("<Patient xmlns='http://hl7.org/fhir'>{inside}</Patient>");
        for sizes in [&[][..], &[1], &[7, 1]] {
            let fault = primitives(&document, sizes).0.unwrap_err().to_string();
            assert!(fault.contains(expect), "{inside}: {fault}");
        }
    }
}
