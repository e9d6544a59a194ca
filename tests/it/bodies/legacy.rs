//! Formats of older systems: tables, HL7 v2, X12.

use crate::fixture::{Bed, Call};

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
  - name: interchange
    path: /interchange/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {x12: 'NM1*IL-3', class: name}
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
