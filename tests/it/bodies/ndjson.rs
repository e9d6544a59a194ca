//! One document a line.

use crate::fixture::{Bed, Call};

const LINES: &str =
    "{\"ssn\":\"999-12-3456\",\"n\":1.10}\r\n\n{\"name\":[{\"family\":\"Chalmers\"}]}\n{\"ssn\":\"\",\"note\":7}";

#[tokio::test]
async fn every_line_is_sealed_and_opened_on_its_own() {
    for media_type in ["application/x-ndjson", "application/fhir+ndjson", "application/jsonl"] {
        let bed = Bed::start();
        let wrote = bed.make("clinician", &Call::new("PUT /Patient/1").of_type(media_type, LINES)).await;
        assert_eq!((wrote.status.as_u16(), wrote.text()), (200, LINES.to_owned()), "{media_type}");
        let kept = bed.upstream.take_only();
        assert_eq!(kept.headers["content-type"], media_type);
        let lines: Vec<String> = kept.text().split('\n').map(str::to_owned).collect();
        assert_eq!(lines.len(), 4, "{}", kept.text());
        assert!(lines[0].starts_with("{\"ssn\":\"sgv1.") && lines[0].ends_with("\",\"n\":1.10}\r"), "{}", lines[0]);
        assert_eq!(lines[1], "");
        assert!(lines[2].starts_with("{\"name\":[{\"family\":\"sgv1."), "{}", lines[2]);
        assert!(lines[3].starts_with("{\"ssn\":\"\",\"note\":\"sgv1."), "{}", lines[3]);
        let masked = bed.make("billing", &Call::new("GET /Patient/1")).await;
        assert_eq!(masked.text().lines().next(), Some("{\"ssn\":\"***-**-3456\",\"n\":1.10}"));
    }
}

#[tokio::test]
async fn one_bad_line_keeps_all_of_them_back() {
    let bed = Bed::start();
    for lines in
        ["{\"ssn\":\"999-12-3456\"}\n{\"ssn\":\n", "{\"ssn\":\"999-12-3456\"}{}\n", "{\"ssn\":\"999-12-3456\"}\nssn\n"]
    {
        let call = Call::new("PUT /Patient/1").of_type("application/x-ndjson", lines);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
    // Lines are no JSON document, and a JSON document over several lines is none of lines.
    bed.refuses("clinician", &Call::new("PUT /Patient/1").json(LINES), (400, "body_invalid")).await;
    let pretty = Call::new("PUT /Patient/1").of_type("application/x-ndjson", "{\n\"ssn\":\"999-12-3456\"}");
    bed.refuses("clinician", &pretty, (400, "body_invalid")).await;
    bed.upstream.keep_as("application/x-ndjson", "/Patient/1", "{\"active\":true}\n{\"active\"");
    bed.make("clinician", &Call::new("GET /Patient/1")).await.expect_problem(502, "response_not_understood");
}

#[tokio::test]
async fn a_line_is_bound_to_its_own_fields() {
    let bed = Bed::with(|setup| {
        setup.replace(
            "\nroutes:\n",
            "\nroutes:
  - name: export
    path: /Export/{id}
    methods: [GET, PUT]
    upstream: app
    rules: [{path: $.ssn, class: ssn, bind: {id: {field: $.id}}}]\n",
        )
    });
    let lines = "{\"ssn\":\"999-12-3456\",\"id\":\"a\"}\n{\"id\":\"b\",\"ssn\":\"999-12-3457\"}\n";
    let call = Call::new("PUT /Export/1").of_type("application/x-ndjson", lines);
    assert_eq!(bed.make("clinician", &call).await.text(), lines);
    let kept = bed.upstream.take_only().text();
    // The two records changed their ids: no value opens in the other one.
    let swapped = kept.replace("\"a\"", "\"?\"").replace("\"b\"", "\"a\"").replace("\"?\"", "\"b\"");
    bed.upstream.keep_as("application/x-ndjson", "/Export/1", swapped);
    bed.make("clinician", &Call::new("GET /Export/1")).await.expect_problem(502, "response_unopenable");
    let missing = Call::new("PUT /Export/1").of_type("application/x-ndjson", "{\"id\":\"a\"}\n{\"ssn\":\"1\"}\n");
    bed.upstream.take_only();
    bed.refuses("clinician", &missing, (422, "bind_missing")).await;
}
