//! Formats of older systems: tables, HL7 v2, X12.

use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};
use std::collections::BTreeSet;

const ROUTES: &str = "
routes:
  - name: table
    path: /table/{id}
    methods: [GET, PUT]
    upstream: app
    rules: &table
      - {csv: SSN, class: ssn}
      - {csv: DRIVERS, class: ssn}
      - {csv: PASSPORT, class: ssn}
      - {csv: FIRST, class: name}
      - {csv: LAST, class: name}
      - {csv: MAIDEN, class: name}
      - {csv: ADDRESS, class: note}
      - {csv: BIRTHDATE, class: note}
      - {csv: ZIP, class: note}
  - name: semicolons
    path: /semicolons/{id}
    methods: [GET, PUT]
    upstream: app
    csv_delimiter: ';'
    rules: *table
  - name: message
    path: /message/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {hl7: PID-3, class: ssn}
      - {hl7: PID-5, class: name}
      - {hl7: PID-7, class: note}
  - name: interchange
    path: /interchange/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {x12: 'NM1*IL-3', class: name}
      - {x12: 'NM1*IL-4', class: name}
      - {x12: 'NM1*IL-9', class: ssn}
      - {x12: 'N3', class: note}
      - {x12: 'DMG-2', class: note}
";

fn legacy() -> Bed {
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
    assert!(wrote.text() == body, "{path}: the answer is another text");
    let kept = bed.upstream.take_only();
    assert_eq!(kept.headers["content-type"], media_type);
    let read = bed.make("clinician", &Call::new(&format!("GET {path}"))).await;
    assert!(read.text() == body, "{path}: {}", read.text());
    bed.upstream.take_only();
    kept.text()
}

fn expect_no_leak(name: &str, values: BTreeSet<String>, kept: &str) {
    let values: Vec<_> = values.into_iter().map(|value| (name.to_owned(), value)).collect();
    let leaks = find_leaks(kept.as_bytes(), &values);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn columns_of_tables_are_known_by_name_and_delimiter() {
    let bed = legacy();
    let semicolons = "SSN;FIRST;LAST;n\r\n\"999-12-3456\";\"Pe;ter\";Chalmers;1.10\r\n;;;\r\n";
    let header = "SSN;DRIVERS;PASSPORT;FIRST;LAST;MAIDEN;ADDRESS;BIRTHDATE;ZIP;n";
    let rows = "\r\n\"999-12-3456\";;;\"Pe;te\"\"r\";Chalmers;;;;;1.10\r\n;;;;;;;;;";
    let kept = through(&bed, "/semicolons/1", "text/csv; charset=utf-8", &format!("{header}{rows}")).await;
    assert!(kept.starts_with(&format!("{header}\r\n\"sgv1.")) && kept.ends_with(";1.10\r\n;;;;;;;;;"), "{kept}");
    // Other columns than the rules say, or another delimiter: nobody knows what is in them.
    for table in [semicolons, "Ssn,FIRST\n1,2\n", "a,b\n1,2\n", "SSN\n1\n"] {
        let call = Call::new("PUT /table/1").of_type("text/csv", table);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
}

#[tokio::test]
async fn a_message_without_a_header_or_in_parts_goes_nowhere() {
    let bed = legacy();
    for message in ["PID|1||7\r", "MSH|^~\\&|A\rPID|1||7\rADD|x\r", "MSH|^~\\&|A\rpid|1||7\r"] {
        let call = Call::new("PUT /message/1").of_type("x-application/hl7-v2+er7", message);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
}

#[tokio::test]
async fn an_interchange_without_a_header_goes_nowhere() {
    let bed = legacy();
    let call = Call::new("PUT /interchange/1").of_type("application/edi-x12", "ST*837*1~NM1*IL*1*SMITH~SE*2*1~");
    bed.refuses("clinician", &call, (400, "body_invalid")).await;
}

#[tokio::test]
async fn a_body_of_another_type_than_the_rules_are_for_goes_nowhere() {
    let bed = legacy();
    for (path, media_type, body) in [
        ("/table/1", "application/json", "{\"SSN\":\"999-12-3456\"}"),
        ("/table/1", "text/plain", "SSN\n999-12-3456\n"),
        ("/table/1", "text/html", "999-12-3456"),
        ("/message/1", "text/csv", "PID-3\n999-12-3456\n"),
        ("/interchange/1", "application/octet-stream", "999-12-3456"),
        ("/table/1", "text/csv; charset=utf-16", "SSN\n999-12-3456\n"),
    ] {
        let call = Call::new(&format!("PUT {path}")).of_type(media_type, body);
        bed.refuses("clinician", &call, (415, "content_type_unsupported")).await;
    }
    bed.upstream.keep_as("text/html", "/table/1", "<p>999-12-3456</p>");
    bed.make("clinician", &Call::new("GET /table/1")).await.expect_problem(502, "response_not_understood");
}

/// Where they are read as delimiters, no token can be written; where they are none, there is nothing to read.
async fn refused_for_its_delimiters(bed: &Bed, call: &Call) {
    let refused = bed.make("clinician", call).await;
    let code = refused.json()["code"].as_str().unwrap_or_default().to_owned();
    let got = (refused.status.as_u16(), code.as_str());
    assert!(matches!(got, (400, "body_invalid") | (422, "value_not_writable")), "{call}: {}", refused.text());
    bed.upstream.expect_nothing();
}

#[tokio::test]
async fn a_message_says_its_own_delimiters_and_a_token_has_none_of_them() {
    let bed = legacy();
    let message = |delimiters: &str, name: &str| {
        let [f, c, r, e, s] = delimiters.chars().collect::<Vec<_>>()[..] else { panic!("{delimiters}") };
        let name = name.replace('|', &f.to_string()).replace('^', &c.to_string()).replace('~', &r.to_string());
        let name = name.replace('\\', &e.to_string()).replace('&', &s.to_string());
        format!("MSH{f}{c}{r}{e}{s}{f}A{f}B\rPID{f}1{f}{f}4711{c}x{f}{f}{name}{f}{f}19741225\rNTE{f}1\r")
    };
    let name = "Zwetschgenmus^Quirin~Pumpernickel&von^\\F\\Larifari\\T\\";
    let values: BTreeSet<String> =
        ["Zwetschgenmus", "Quirin", "Pumpernickel", "Larifari", "19741225"].map(str::to_owned).into();
    for delimiters in ["|^~\\&", "$%*!&", "#@~\\+", "^|~\\&", "|^~_&", "|^~\\-"] {
        let text = message(delimiters, name);
        let kept = through(&bed, "/message/1", "x-application/hl7-v2+er7", &text).await;
        expect_no_leak(delimiters, values.clone(), &kept);
        let field = delimiters.chars().next().unwrap();
        let count = |text: &str| text.split('\r').map(|segment| segment.matches(field).count()).collect::<Vec<_>>();
        assert_eq!(count(&kept), count(&text), "every field is in its place: {kept}");
        let support = bed.make("support", &Call::new("GET /message/1")).await.text();
        expect_no_leak(delimiters, values.clone(), &support);
        bed.upstream.take_all();
    }
    // A token could hold these, and would come apart.
    for delimiters in ["-^~\\&", ".^~\\&", "_^~\\&", "A^~\\&", "0^~\\&", "|a~\\&", "|^7\\&", "||~\\&", "|^^\\&"] {
        let text = message(delimiters, "Zwetschgenmus");
        let call = Call::new("PUT /message/1").of_type("x-application/hl7-v2+er7", text);
        refused_for_its_delimiters(&bed, &call).await;
    }
    let masked = message("|^~\\&", "[REDACTED]");
    let call = Call::new("PUT /message/1").of_type("x-application/hl7-v2+er7", masked);
    bed.refuses("desk", &call, (422, "field_hidden")).await;
}

#[tokio::test]
async fn an_interchange_says_its_own_delimiters_and_a_token_has_none_of_them() {
    let bed = legacy();
    let interchange = |element: char, component: char, end: char| {
        let text = "ISA*00*          *00*          *ZZ*123456789012345*ZZ*123456789012346*080503*1705*>*00501*000010216*0*T*:~\
                    GS*BE*1*2*20080503*1705*1*X*005010X220A1~ST*834*0001*005010X220A1~\
                    NM1*IL*1*ZWETSCHGENMUS*QUIRIN****34*941887315~N3*9 HAUPTGASSE~DMG*D8*19741225*M~\
                    SE*5*0001~GE*1*1~IEA*1*000010216~";
        text.replace('*', &element.to_string()).replace(':', &component.to_string()).replace('~', &end.to_string())
    };
    let values: BTreeSet<String> =
        ["ZWETSCHGENMUS", "QUIRIN", "941887315", "HAUPTGASSE", "19741225"].map(str::to_owned).into();
    for (element, component, end) in [('*', ':', '~'), ('|', ':', '!'), ('+', '\\', '\''), ('*', ':', '\n')] {
        let text = interchange(element, component, end);
        let kept = through(&bed, "/interchange/1", "application/edi-x12", &text).await;
        expect_no_leak("an interchange", values.clone(), &kept);
        assert_eq!(
            (kept.matches(element).count(), kept.matches(end).count()),
            (text.matches(element).count(), text.matches(end).count()),
            "{kept}"
        );
        let support = bed.make("support", &Call::new("GET /interchange/1")).await.text();
        expect_no_leak("an interchange", values.clone(), &support);
        bed.upstream.take_all();
    }
    for (element, component, end) in [
        ('-', ':', '~'),
        ('.', ':', '~'),
        ('_', ':', '~'),
        ('*', 'a', '~'),
        ('*', ':', '-'),
        ('*', '*', '~'),
        ('*', '~', '~'),
    ] {
        let call = Call::new("PUT /interchange/1").of_type("application/edi-x12", interchange(element, component, end));
        refused_for_its_delimiters(&bed, &call).await;
    }
}
