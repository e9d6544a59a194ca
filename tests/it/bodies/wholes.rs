//! Bodies that a rule takes whole.

use super::codings::encoded;
use crate::fixture::gate::Setup;
use crate::fixture::{Bed, Call};
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

const ROUTES: &str = "
routes:
  - name: files
    path: /file/{id}
    methods: [GET, HEAD, PUT, PATCH]
    upstream: app
    record: id
    rules:
      - {path: $.ssn, class: ssn}
      - {body: application/pdf, class: note, bind: {file: {parameter: id}}}
      - {body: 'image/*', class: note}
      - {body: text/plain, class: name}
  - name: anything
    path: /any/{id}
    methods: [GET, PUT]
    upstream: app
    unsealed: show
    rules: [{body: '*/*', class: note}]
  - name: form
    path: /upload/{id}
    methods: [PUT]
    upstream: app
    rules: [{file: photo, class: note}]
";

fn files(limits: &str) -> Bed {
    let uid = rustix::process::getuid().as_raw();
    let operator = format!("principals:\n  - {{uid: {uid}, roles: [clinician]}}\n");
    let change = |setup: Setup| {
        let setup = setup.replace("\nroutes:\n", ROUTES).replace("principals:\n", &operator);
        setup.replace(
            "  limits: {}\n",
            &format!("  limits: {{body_bytes_max: 33554432, response_bytes_max: 67108864{limits}}}\n"),
        )
    };
    Bed::with(change)
}

/// Bytes of which every part is another.
fn bytes(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(length).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_body_is_sealed_whole_and_opened_for_who_may_see_it() {
    let bed = files("");
    for (at, media_type, body) in [
        ("/file/1", "application/pdf", b"%PDF-1.7 Peter Chalmers".to_vec()),
        ("/file/2", "IMAGE/png; x=y", bytes(300_000)),
        ("/any/1", "application/json", b"{\"name\":\"Peter Chalmers\"}".to_vec()),
        ("/any/2", "multipart/form-data; boundary=x", b"--x".to_vec()),
    ] {
        let wrote = bed.make("clinician", &Call::new(&format!("PUT {at}")).of_type(media_type, &body)).await;
        assert_eq!(wrote.status, 200, "{}", wrote.text());
        assert!(wrote.body == body, "{at}: the answer is another file");
        let sent = bed.upstream.take_only();
        assert_eq!(sent.headers["content-type"], media_type);
        assert!(sent.body.starts_with(b"sgv1\0") && !holds(&sent.body, &body[..body.len().min(16)]));
        let get = Call::new(&format!("GET {at}"));
        let read = bed.make("clinician", &get).await;
        assert!(read.status == 200 && read.body == body, "{at}: {}", read.text());
        assert_eq!(read.header("content-length"), Some(body.len().to_string().as_str()));
        let dba = bed.make("dba", &get).await;
        assert!(dba.status == 200 && dba.body == sent.body);
        for role in ["billing", "support"] {
            bed.make(role, &get).await.expect_problem(403, "class_denied");
        }
        bed.upstream.take_all();
    }
    let empty = bed.make("clinician", &Call::new("PUT /file/3").of_type("application/pdf", "")).await;
    assert_eq!((empty.status.as_u16(), bed.upstream.take_only().body.len()), (200, 0));
    let event = bed.gate.events_named("ExchangeAnswered").into_iter().find(|event| event["method"] == "GET").unwrap();
    assert_eq!(event["fields"], serde_json::json!([{"class": "note", "action": "plain", "count": 1}]), "{event}");
}

#[tokio::test]
async fn long_files_stream_both_ways_and_break_off_where_they_were_cut() {
    let bed = files(", buffer_bytes_max: 4096");
    let body = bytes(8 << 20);
    for client in [bed.gate.as_client("clinician"), bed.gate.as_client("clinician").over_http2()] {
        let wrote = Call::new("PUT /file/1").of_type("application/pdf", &body).from(&client).await;
        assert!(wrote.status == 200 && wrote.body == body);
        let read = Call::new("GET /file/1").from(&client).await;
        assert!(read.status == 200 && read.body == body);
    }
    let sealed = bed.upstream.take_all().remove(0);
    assert_eq!(sealed.headers["transfer-encoding"], "chunked");
    let mut forged = sealed.body.to_vec();
    forged[1 << 20] ^= 1;
    let cut = sealed.body[..sealed.body.len() - 9].to_vec();
    for (broken, wrong) in [forged, cut].into_iter().enumerate() {
        bed.upstream.keep_as("application/pdf", "/file/1", wrong);
        let client = bed.gate.as_client("clinician");
        let response = client.stream(Method::GET, "/file/1", &[], futures_util::stream::empty()).await;
        if let Ok(response) = response {
            assert!(response.into_body().collect().await.is_err(), "it must not be taken for whole");
        }
        let is_broken = |event: &&Value| event["code"] == "response_unopenable";
        bed.gate
            .wait_for_event(|_| bed.gate.events_named("BodyCompleted").iter().filter(is_broken).count() == broken + 1);
    }
}

#[tokio::test]
async fn whatever_is_said_of_a_body_it_is_sealed_or_goes_nowhere() {
    let bed = files("");
    let secret = b"{\"ssn\":\"Peter Chalmers\"}";
    let packed = encoded("gzip", secret).await;
    let put = |body: &[u8]| Call::new("PUT /any/1").body(body);
    for (call, is_coded) in [
        (put(secret), false),
        (put(secret).header("content-type", "application/json; charset=utf-16"), false),
        (put(secret).header("content-type", "application/x-www-form-urlencoded"), false),
        (put(secret).header("content-type", "application/json-patch+json"), false),
        (put(&packed).header("content-type", "text/plain").header("content-encoding", "gzip"), true),
    ] {
        let wrote = bed.make("clinician", &call).await;
        assert!(wrote.status == 200, "{call}: {}", wrote.text());
        let sent = bed.upstream.take_only();
        assert!(!holds(&sent.body, b"Chalmers") && sent.body.starts_with(b"sgv1\0") != is_coded, "{call}");
        if !is_coded {
            bed.upstream.keep_as("application/octet-stream", "/any/1", sent.body);
            let read = bed.make("clinician", &Call::new("GET /any/1").header("range", "bytes=0-3")).await;
            assert!(read.status == 200 && read.body == secret[..], "{call}: {}", read.text());
            let head = bed.make("clinician", &Call::new("HEAD /file/1")).await;
            assert!(head.body.is_empty() && head.header("content-length").is_none_or(|length| length == "0"), "{call}");
        }
        bed.upstream.take_all();
    }
    let part = Call::new("PUT /any/1").body(secret).header("content-type", "image/png").header("content-encoding", "x");
    bed.refuses("clinician", &part, (415, "content_encoding_unsupported")).await;
    let patch = Call::new("PATCH /file/1").of_type("text/plain", secret);
    bed.refuses("clinician", &patch, (415, "content_type_unsupported")).await;
}

#[tokio::test]
async fn an_uploaded_file_is_opened_where_it_is_fetched() {
    let bed = files("");
    let photo = bytes(100_000);
    let mut body =
        b"--a-boundary-of-a-form\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\r\n"
            .to_vec();
    body.extend_from_slice(&photo);
    body.extend_from_slice(b"\r\n--a-boundary-of-a-form--\r\n");
    bed.upstream.always(204, &[], "");
    let saved = bed
        .make(
            "clinician",
            &Call::new("PUT /upload/1").of_type("multipart/form-data; boundary=a-boundary-of-a-form", body),
        )
        .await;
    assert_eq!(saved.status, 204, "{}", saved.text());
    let sent = bed.upstream.take_only().body;
    let start = sent.windows(5).position(|window| window == b"sgv1\0").unwrap();
    let sealed = sent[start..sent.len() - b"\r\n--a-boundary-of-a-form--\r\n".len()].to_vec();
    bed.upstream.always(200, &[("content-type", "image/png")], sealed);
    let read = bed.make("clinician", &Call::new("GET /file/7")).await;
    assert!(read.status == 200 && read.body == photo, "{}", read.text());
}

#[tokio::test]
async fn a_file_that_is_not_what_the_rule_says_is_not_shown() {
    let bed = files("");
    let mut sealed = Vec::new();
    for (at, media_type) in [("/file/1", "application/pdf"), ("/file/2", "image/png"), ("/file/3", "text/plain")] {
        bed.make("clinician", &Call::new(&format!("PUT {at}")).of_type(media_type, "Peter Chalmers")).await;
        sealed.push(bed.upstream.take_only().body.to_vec());
    }
    let [pdf, image, text] = sealed.try_into().unwrap();
    let cut = |length: usize| pdf[..length].to_vec();
    let forged = |at: usize| {
        let mut forged = pdf.clone();
        forged[at] ^= 1;
        forged
    };
    for (at, media_type, body, code) in [
        ("/file/1", "application/pdf", b"%PDF-1.7".to_vec(), "response_unsealed"),
        ("/file/1", "application/pdf", b"sg".to_vec(), "response_unsealed"),
        // Of another record, unbound, of another class.
        ("/file/2", "application/pdf", pdf.clone(), "response_unopenable"),
        ("/file/1", "application/pdf", image.clone(), "response_unopenable"),
        ("/file/1", "application/pdf", text.clone(), "response_unopenable"),
        ("/file/1", "application/pdf", cut(pdf.len() - 1), "response_unopenable"),
        ("/file/1", "application/pdf", cut(40), "response_unopenable"),
        ("/file/1", "application/pdf", cut(5), "response_unopenable"),
        ("/file/1", "application/pdf", [&pdf[..], b"x"].concat(), "response_unopenable"),
        ("/file/1", "application/pdf", forged(pdf.len() - 1), "response_unopenable"),
        ("/file/1", "application/pdf", forged(6), "response_unopenable"),
        ("/file/1", "application/zip", pdf.clone(), "response_not_understood"),
        ("/file/1", "text/html", pdf.clone(), "response_not_understood"),
        ("/file/1", "application/json", pdf.clone(), "response_not_understood"),
    ] {
        bed.upstream.keep_as(media_type, at, body);
        let read = bed.make("clinician", &Call::new(&format!("GET {at}"))).await;
        assert!(!holds(&read.body, b"Chalmers"), "{}", read.text());
        read.expect_problem(502, code);
    }
    // Where that is said, what is not sealed yet is shown to who may see it.
    bed.upstream.keep_as("image/png", "/any/1", "clear");
    assert_eq!(bed.make("clinician", &Call::new("GET /any/1")).await.text(), "clear");
    for role in ["billing", "support", "dba"] {
        bed.make(role, &Call::new("GET /any/1")).await.expect_problem(403, "class_denied");
    }
    bed.upstream.take_all();
}

#[tokio::test]
async fn what_no_rule_takes_whole_goes_nowhere() {
    let bed = files("");
    for (call, media_type, body, refusal) in [
        ("PUT /file/1", "application/zip", "Chalmers", (415, "content_type_unsupported")),
        ("PUT /file/1", "application/pdf, image/png", "Chalmers", (415, "content_type_unsupported")),
        ("PUT /any/1", "nothing", "Chalmers", (415, "content_type_unsupported")),
        ("PATCH /file/1", "application/pdf", "Chalmers", (415, "content_type_unsupported")),
        ("PUT /file/1", "application/json", "Chalmers", (400, "body_invalid")),
        ("PUT /file/1", "application/pdf", "sgv1\0x", (422, "token_not_accepted")),
    ] {
        bed.refuses("clinician", &Call::new(call).of_type(media_type, body), refusal).await;
    }
    let call = Call::new("PUT /any/1").of_type("application/pdf", "Chalmers").header("content-type", "image/png");
    bed.refuses("clinician", &call, (415, "content_type_unsupported")).await;
    for role in ["billing", "desk"] {
        let call = Call::new("PUT /file/1").of_type("application/pdf", "Chalmers");
        bed.refuses(role, &call, (422, "field_not_writable")).await;
    }
}

#[test]
fn rules_for_whole_bodies_say_no_more_than_can_be_done() {
    for (rule, problem) in [
        ("{body: pdf, class: note}", "wanted a media type without parameters"),
        ("{body: 'image/p*', class: note}", "wanted a media type without parameters"),
        ("{body: application/json, class: note}", "bodies of type application/json have rules of their own"),
        ("{body: application/pdf, class: note, as: base64}", "has no meaning for a file"),
        ("{body: application/pdf, class: note, on_unopenable: mark}", "has no meaning for a file"),
        ("{body: application/pdf, pass: true}", "only with path, fhir, xml, form or file"),
        ("{body: application/pdf, class: note, bind: {id: {field: $.id}}}", "only a value that `path` selects"),
    ] {
        let rules = format!("    rules:\n      - {rule}\n      - {{path: $.ssn, class: ssn}}\n");
        let routes = format!(
            "\nroutes:\n  - name: files\n    path: /file/{{id}}\n    methods: [PUT]\n    upstream: app\n{rules}"
        );
        let said = Setup::before("127.0.0.1:1".parse().unwrap()).replace("\nroutes:\n", &routes).validate();
        assert!(said.0 != Some(0) && said.1.contains(problem), "{rule}: {}", said.1);
    }
}
