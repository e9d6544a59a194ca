//! XML: documents, messages, FHIR.

use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};

const ROUTES: &str = "
routes:
  - name: document
    path: /document/{id}
    methods: [GET, PUT]
    upstream: app
    rules: [{xml: '//patient/name', class: name}, {xml: '//patientRole/id/@extension', class: ssn}]
  - name: resource
    path: /resource/{id}
    methods: [GET, PUT]
    upstream: app
    resources_allowed: [
      AllergyIntolerance, Bundle, Composition, DiagnosticReport, Encounter, MedicationRequest,
      MedicationStatement, MessageHeader, Observation, OperationOutcome, Organization, Practitioner,
      ServiceRequest, Specimen]
    rules:
      - {fhir: Patient.name.family, class: name}
      - {fhir: Patient.name.given, class: name}
      - {fhir: \"Patient.identifier.where(system='urn:x').value\", pass: true}
      - {fhir: Patient.identifier.value, class: ssn}
      - {fhir: Patient.birthDate, class: note}
      - {fhir: Resource.text.div, class: note, as: xhtml}
";

fn xml() -> Bed {
    Bed::with(|setup| {
        setup
            .replace("\nroutes:\n", ROUTES)
            .replace("  limits: {}\n", "  limits: {body_bytes_max: 4194304, response_bytes_max: 33554432}\n")
    })
}

/// Has a clinician write a body, read it again, and gives what the upstream got. What is read is what was written.
async fn through(bed: &Bed, path: &str, media_type: &str, body: &str) -> String {
    let wrote = bed.make("clinician", &Call::new(&format!("PUT {path}")).of_type(media_type, body)).await;
    assert_eq!(wrote.status, 200, "{path}: {}", wrote.text());
    let kept = bed.upstream.take_only();
    let read = bed.make("clinician", &Call::new(&format!("GET {path}"))).await;
    assert!(read.text() == body, "{path}: {}", read.text());
    bed.upstream.take_only();
    kept.text()
}

#[tokio::test]
async fn resources_in_xml_are_sealed_by_the_rules_of_fhir() {
    let bed = xml();
    let patient = "<?xml version='1.0'?>\n<f:Patient xmlns:f='http://hl7.org/fhir'>\n <f:text><f:status value='generated'/>\
        <div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Peter &amp; Co</p></div></f:text>\n <!-- a comment -->\
        <f:identifier><f:value value='1'/><f:system value='urn:x'/></f:identifier>\
        <f:identifier><f:value id=\"i\" value='&#x31;2345'/></f:identifier>\
        <f:name><f:given value='Peter'/><f:given value=\"O&apos;B\"/></f:name><f:birthDate value='1974-12-25'></f:birthDate></f:Patient>\n";
    // A reference is written as the character that it stands for.
    let (sent, back) = (patient, patient.replace("&#x31;", "1").replace("O&apos;B", "O'B"));
    let wrote = bed.make("clinician", &Call::new("PUT /resource/1").of_type("application/fhir+xml", sent)).await;
    assert_eq!((wrote.status.as_u16(), wrote.text()), (200, back));
    let kept = bed.upstream.take_only().text();
    for part in [
        "<div xmlns=\"http://www.w3.org/1999/xhtml\">sgv1.",
        "<f:identifier><f:value value='1'/>",
        "<f:value id=\"i\" value='sgv1.",
        "<f:given value='sgv1.",
        "<f:given value=\"sgv1.",
        "<f:birthDate value='sgv1.",
        "<!-- a comment -->",
    ] {
        assert!(kept.contains(part), "{part}: {kept}");
    }
    let support = bed.make("support", &Call::new("GET /resource/1")).await.text();
    assert!(support.contains("<div xmlns=\"http://www.w3.org/1999/xhtml\">[REDACTED]</div>"), "{support}");
    bed.upstream.take_all();
}

#[tokio::test]
async fn a_value_in_one_form_of_fhir_opens_in_the_other() {
    let bed = xml();
    let json = r#"{"resourceType":"Patient","text":{"status":"x","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Peter</p></div>"},"name":[{"family":"O'Brien & \"Co\""}]}"#;
    let wrote = bed.make("clinician", &Call::new("PUT /resource/1").of_type("application/fhir+json", json)).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let kept = bed.upstream.take_only().json();
    let (div, family) = (kept["text"]["div"].as_str().unwrap(), kept["name"][0]["family"].as_str().unwrap());
    let xml = format!(
        "<Patient xmlns=\"http://hl7.org/fhir\"><text>{div}</text><name><family value=\"{family}\"/></name></Patient>"
    );
    bed.upstream.keep_as("application/fhir+xml", "/resource/1", xml);
    let read = bed.make("clinician", &Call::new("GET /resource/1")).await.text();
    assert!(read.contains("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Peter</p></div>"), "{read}");
    assert!(read.contains("<family value=\"O'Brien &amp; &quot;Co&quot;\"/>"), "{read}");
}

const PACKED: &str = "
routes:
  - name: packed
    path: /packed/{id}
    methods: [GET, PUT]
    upstream: app
    packs: [fhir-r4]
    rules: [{fhir: Patient.deceasedBoolean, class: note, as: extension}]
";

fn packed() -> Bed {
    Bed::with(|setup| {
        let setup = with_file_store(setup);
        setup
            .replace("\nroutes:\n", PACKED)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace(
                "  limits: {}\n",
                "  limits: {body_bytes_max: 4194304, response_bytes_max: 33554432, buffer_bytes_max: 65536}\n",
            )
    })
}

#[tokio::test]
async fn primitives_that_cannot_hold_a_token_go_into_extensions_in_xml_too() {
    let bed = packed();
    let patient = "<?xml version=\"1.0\"?>\n<f:Patient xmlns:f=\"http://hl7.org/fhir\">\n <f:name><f:family value=\"Chalmers\"/></f:name>\n \
        <f:birthDate id=\"b\" value=\"1974-12-25\">\n  <f:extension url=\"http://hl7.org/fhir/StructureDefinition/patient-birthTime\">\
        <f:valueDateTime value=\"1974-12-25T14:35:45-05:00\"/></f:extension>\n </f:birthDate>\n <f:deceasedBoolean value=\"false\"/>\n</f:Patient>\n";
    let kept = through(&bed, "/packed/1", "application/fhir+xml", patient).await;
    assert!(!kept.contains("1974") && !kept.contains("false") && !kept.contains("Chalmers"), "{kept}");
    let carried = "<f:extension url=\"urn:sealgate:sealed\"><f:valueString value=\"sgv1.";
    assert!(kept.contains(&format!("<f:birthDate id=\"b\">{carried}")), "{kept}");
    assert!(kept.contains(&format!("<f:valueDateTime>{carried}")), "{kept}");
    assert!(kept.contains(&format!("<f:deceasedBoolean>{carried}")), "{kept}");
    assert_eq!(kept.matches("<f:valueCode value=\"masked\"/></f:extension>").count(), 3, "{kept}");
    let support = bed.make("support", &Call::new("GET /packed/1")).await.text();
    let hidden = "<f:extension url=\"urn:sealgate:hidden\"><f:valueBoolean value=\"true\"/></f:extension>";
    assert!(support.contains(&format!("<f:birthDate id=\"b\">{hidden}")) && !support.contains("sgv1."), "{support}");
    let dba = bed.make("dba", &Call::new("GET /packed/1")).await.text();
    assert_eq!(dba, kept);
    bed.upstream.take_all();
    let xml = |body: &str| Call::new("PUT /packed/1").of_type("application/fhir+xml", body);
    // Written back what is hidden would be lost; a token stands there for who sees tokens alone.
    bed.refuses("clinician", &xml(&support), (422, "field_hidden")).await;
    bed.refuses("clinician", &xml(&kept), (422, "token_not_accepted")).await;
    let wrote = bed.make("dba", &xml(&kept)).await;
    assert_eq!((wrote.status.as_u16(), bed.upstream.take_only().text()), (200, kept.clone()), "{}", wrote.text());
    // What would hide a value, or lose one.
    for inside in [
        "<birthDate><x value=\"1974-12-25\"/></birthDate>".to_owned(),
        "<birthDate value=\"1974\"><valueDate value=\"1974-12-25\"/></birthDate>".to_owned(),
        kept[kept.find("<f:birthDate").unwrap()..kept.find("</f:Patient").unwrap()]
            .replace("id=\"b\"", "value=\"1\"")
            .replace("f:", ""),
    ] {
        let body = format!("<Patient xmlns=\"http://hl7.org/fhir\">{inside}</Patient>");
        bed.refuses("clinician", &xml(&body), (400, "body_invalid")).await;
    }
    let twice = kept.replace(
        "</f:birthDate>",
        &kept[kept.find("<f:extension url=\"urn").unwrap()..kept.find("</f:birthDate>").unwrap()],
    );
    bed.refuses("dba", &xml(&twice), (422, "token_not_accepted")).await;
}

#[tokio::test]
async fn sealed_primitives_in_one_form_of_fhir_open_in_the_other() {
    let bed = packed();
    let json = "{\"resourceType\":\"Patient\",\"birthDate\":\"1974\",\"deceasedBoolean\":true}";
    let xml =
        "<Patient xmlns=\"http://hl7.org/fhir\"><birthDate value=\"1974\"/><deceasedBoolean value=\"true\"/></Patient>";
    through(&bed, "/packed/1", "application/fhir+json", json).await;
    through(&bed, "/packed/2", "application/fhir+xml", xml).await;
    let tokens = |kept: &str| {
        let parts = kept.split("sgv1.").skip(1);
        parts.map(|part| format!("sgv1.{}", part.split('"').next().unwrap())).collect::<Vec<_>>()
    };
    let in_json = |tokens: &[String]| {
        let member = |name: &str, token: &str| {
            format!(r#""_{name}":{{"extension":[{{"url":"urn:sealgate:sealed","valueString":"{token}"}}]}}"#)
        };
        format!(
            "{{\"resourceType\":\"Patient\",{},{}}}",
            member("birthDate", &tokens[0]),
            member("deceasedBoolean", &tokens[1])
        )
    };
    let in_xml = |tokens: &[String]| {
        let element = |name: &str, token: &str| {
            format!(
                "<{name}><extension url=\"urn:sealgate:sealed\"><valueString value='{token}'/></extension></{name}>"
            )
        };
        format!(
            "<Patient xmlns=\"http://hl7.org/fhir\">{}{}</Patient>",
            element("birthDate", &tokens[0]),
            element("deceasedBoolean", &tokens[1])
        )
    };
    let (of_json, of_xml) = (tokens(&bed.upstream.kept("/packed/1")), tokens(&bed.upstream.kept("/packed/2")));
    for (media_type, stored, want) in
        [("application/fhir+json", in_json(&of_xml), json), ("application/fhir+xml", in_xml(&of_json), xml)]
    {
        bed.upstream.keep_as(media_type, "/packed/3", stored);
        assert_eq!(bed.make("clinician", &Call::new("GET /packed/3")).await.text(), want);
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_or_is_unknown_goes_nowhere() {
    let bed = xml();
    let patient = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>");
    for (path, body) in [
        (
            "/document/1",
            "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><patient><name>&e;</name></patient>".to_owned(),
        ),
        ("/document/1", "<patient><name>Pe<!-- x -->ter</name></patient>".to_owned()),
        ("/document/1", "<patient><name>Peter</patient></name>".to_owned()),
        ("/document/1", "<?xml version='1.0' encoding='ISO-8859-1'?><patient/>".to_owned()),
        ("/document/1", "{\"ssn\":1}".to_owned()),
        ("/resource/1", patient("<name><family value='a' value='b'/></name>")),
        ("/resource/1", "<Patient><name><family value='Chalmers'/></name></Patient>".to_owned()),
        ("/resource/1", "<Basic xmlns=\"http://hl7.org/fhir\"/>".to_owned()),
        ("/resource/1", patient("<contained><Basic/></contained>")),
        (
            "/resource/1",
            patient("<identifier><system value='a'/><system value='urn:x'/><value value='1'/></identifier>"),
        ),
        ("/resource/1", "<x xmlns='urn:y'/>".to_owned()),
    ] {
        let call = Call::new(&format!("PUT {path}")).of_type("application/xml", &body);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
}

const NAME: &str = "Zwetschgenmus & Söhne";

#[tokio::test]
async fn a_value_is_sealed_however_xml_writes_it() {
    let bed = xml();
    let fhir = "xmlns=\"http://hl7.org/fhir\"";
    let spelled =
        ["Zwetschgenmus &amp; S&#246;hne", "Zwetschgenmus &#x26; S&#xF6;hne", "&#90;wetschgenmus &#38; Söhne"];
    let mut bodies: Vec<(&str, String)> = Vec::new();
    for value in spelled {
        bodies.push(("/document/1", format!("<patient><name>{value}</name></patient>")));
        bodies
            .push(("/document/1", format!("<p:patient xmlns:p='urn:hl7-org:v3'><p:name>{value}</p:name></p:patient>")));
        bodies.push(("/document/1", format!("<patientRole><id root='1' extension='{value}'/></patientRole>")));
        bodies.push(("/document/1", format!("<patientRole><id\n extension = \"{value}\"\t></id></patientRole>")));
        bodies.push(("/resource/1", format!("<Patient {fhir}><name><family value=\"{value}\"/></name></Patient>")));
        bodies.push((
            "/resource/1",
            format!("<Patient {fhir}><name><family id='a' value='{value}' ></family></name></Patient>"),
        ));
        bodies.push((
            "/resource/1",
            format!(
                "<f:Patient xmlns:f='http://hl7.org/fhir'><f:name><f:family value='{value}'/></f:name></f:Patient>"
            ),
        ));
        bodies.push((
            "/resource/1",
            format!("<Bundle {fhir}><entry><resource><a:Patient xmlns:a='http://hl7.org/fhir'><a:name><a:family value='{value}'/></a:name></a:Patient></resource></entry></Bundle>"),
        ));
    }
    bodies.push(("/document/1", "<patient><name><![CDATA[Zwetschgenmus & Söhne]]></name></patient>".to_owned()));
    for (path, body) in bodies {
        let wrote = bed.make("clinician", &Call::new(&format!("PUT {path}")).of_type("application/xml", &body)).await;
        assert_eq!(wrote.status, 200, "{body}: {}", wrote.text());
        let kept = bed.upstream.take_only().text();
        let leaks = find_leaks(
            kept.as_bytes(),
            &[("name".to_owned(), NAME.to_owned()), ("name".to_owned(), "wetschgenmus".to_owned())],
        );
        assert!(leaks.is_empty() && kept.matches("sgv1.").count() == 1, "{body} became {kept}: {leaks:#?}");
        let read = bed.make("clinician", &Call::new(&format!("GET {path}"))).await.text();
        assert!(
            read.contains("Zwetschgenmus &amp; Söhne") || read.contains("<![CDATA[Zwetschgenmus & Söhne]]>"),
            "{body}: {read}"
        );
        let support = bed.make("support", &Call::new(&format!("GET {path}"))).await.text();
        assert!(support.contains("[REDACTED]") && !support.contains("wetschgenmus"), "{body}: {support}");
        bed.upstream.take_all();
    }
}

/// Each is read by some parsers as a name, and by others as nothing, as another one or as a file of theirs.
#[tokio::test]
async fn what_a_document_type_or_an_entity_could_make_of_xml_goes_nowhere() {
    let bed = xml();
    let fhir = "xmlns=\"http://hl7.org/fhir\"";
    let resource = |family: &str| format!("<Patient {fhir}><name><family value=\"{family}\"/></name></Patient>");
    let document = |name: &str| format!("<patient><name>{name}</name></patient>");
    let bomb = "<!DOCTYPE a [<!ENTITY a \"Zwetschgenmus\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]>";
    for start in [
        "<!DOCTYPE Patient>",
        "<!DOCTYPE Patient SYSTEM \"http://127.0.0.1:9/x.dtd\">",
        "<!DOCTYPE Patient PUBLIC \"-//x\" \"file:///etc/passwd\">",
        "<!DOCTYPE a [<!ENTITY c SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE a [<!ENTITY % c SYSTEM \"http://127.0.0.1:9/\"> %c;]>",
        "<!DOCTYPE a [<!ATTLIST family value CDATA \"Zwetschgenmus\">]>",
        "<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY c 'x'>]>\n",
        "<!doctype html>",
        bomb,
    ] {
        for (path, body) in [
            ("/document/1", document("&c;")),
            ("/document/1", document("Zwetschgenmus")),
            ("/resource/1", resource("&c;")),
            ("/resource/1", resource("Zwetschgenmus")),
        ] {
            let call = Call::new(&format!("PUT {path}")).of_type("application/xml", format!("{start}{body}"));
            bed.refuses("clinician", &call, (400, "body_invalid")).await;
        }
    }
    for odd in
        ["&name;", "&", "&#0;", "&#xD800;", "&#x110000;", "&#;", "&#xZZ;", "&amp", "&AMP;", "&nbsp;", "<", "\u{1}"]
    {
        for (path, body) in [("/document/1", document(odd)), ("/resource/1", resource(odd))] {
            let call = Call::new(&format!("PUT {path}")).of_type("application/xml", body);
            bed.refuses("clinician", &call, (400, "body_invalid")).await;
        }
    }
    for body in [
        format!("<Patient {fhir}><name><family><![CDATA[Zwetschgenmus]]></family></name></Patient>"),
        format!("<Patient {fhir}><![CDATA[Zwetschgenmus]]><name><family value='x'/></name></Patient>"),
        format!("<Patient {fhir}><name><family VALUE='Zwetschgenmus'/></name></Patient>"),
        format!(
            "<Patient {fhir} xmlns:x='http://hl7.org/fhir'><name><family x:value='Zwetschgenmus'/></name></Patient>"
        ),
        format!("<Patient {fhir}><?pi Zwetschgenmus?><name><x:family value='Zwetschgenmus'/></name></Patient>"),
        "<f:Patient><f:name><f:family value='Zwetschgenmus'/></f:name></f:Patient>".to_owned(),
        "<f:Patient xmlns:f='http://hl7.org/FHIR'><f:name><f:family value='Zwetschgenmus'/></f:name></f:Patient>"
            .to_owned(),
        format!("<Patient {fhir}><name><family value='Zwetschgenmus'/></name></Patient><Patient {fhir}/>"),
        format!("<Patient {fhir}><name><family value=Zwetschgenmus/></name></Patient>"),
        format!("<Patient {fhir}><name><family value='Zwetschgenmus'/></name>"),
    ] {
        let call = Call::new("PUT /resource/1").of_type("application/fhir+xml", body);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
}

#[tokio::test]
async fn whoever_asks_for_xml_is_given_it_and_json_otherwise() {
    let bed = Bed::with(|setup| {
        let routes =
            ROUTES.replace("    resources_allowed: [", "    query_allowed: [_format]\n    resources_allowed: [");
        setup.replace("\nroutes:\n", &routes)
    });
    let json = "{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"Zwetschgenmus\"}]}";
    bed.make("clinician", &Call::new("PUT /resource/1").of_type("application/fhir+json", json)).await;
    let kept = bed.upstream.take_only();
    let token = kept.json()["name"][0]["family"].as_str().unwrap().to_owned();
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><name><family value=\"{token}\"/></name></Patient>");
    bed.upstream.script(move |received| {
        let asks = received.target.ends_with("_format=xml")
            || received.headers.get("accept").is_some_and(|accept| accept == "application/fhir+xml");
        let (kind, body) =
            if asks { ("application/fhir+xml", xml.clone()) } else { ("application/fhir+json", kept.text()) };
        Some(http::Response::builder().header("content-type", kind).body(body.into()).unwrap())
    });
    for (call, kind) in [
        (Call::new("GET /resource/1?_format=xml"), "application/fhir+xml"),
        (Call::new("GET /resource/1").header("accept", "application/fhir+xml"), "application/fhir+xml"),
        (Call::new("GET /resource/1").header("accept", "application/fhir+json"), "application/fhir+json"),
        (Call::new("GET /resource/1"), "application/fhir+json"),
    ] {
        let read = bed.make("clinician", &call).await;
        assert_eq!(read.header("content-type"), Some(kind), "{call}");
        assert!(read.text().contains("Zwetschgenmus") && !read.text().contains("sgv1."), "{call}: {}", read.text());
        let support = bed.make("support", &call).await.text();
        assert!(support.contains("[REDACTED]") && !support.contains("Zwetschgenmus"), "{call}: {support}");
    }
}
