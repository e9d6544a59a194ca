//! Forms of applications that know nothing of the gate.

use crate::fixture::{Bed, Call};

const ROUTES: &str = "
routes:
  - name: form
    path: /interface/{page*}
    methods: [GET, POST]
    upstream: app
    open: anywhere
    rules:
      - {form: form_fname, class: name}
      - {form: form_lname, class: name}
      - {form: form_DOB, class: note}
      - {form: form_ss, class: ssn}
      - {form: form_street, class: note}
      - {form: form_phone_home, class: note}
      - {form: 'patient[name]', class: name}
      - {form: 'phones[*]', class: note}
      - {file: 'file[*]', class: note}
      - {file: photo, class: note}
      - {file: logo, pass: true}
";

fn forms() -> Bed {
    let uid = rustix::process::getuid().as_raw();
    let operator = format!("principals:\n  - {{uid: {uid}, roles: [clinician]}}\n");
    Bed::with(|setup| {
        let limits = "  limits: {body_bytes_max: 4194304, response_bytes_max: 8388608}\n";
        setup.replace("\nroutes:\n", ROUTES).replace("principals:\n", &operator).replace("  limits: {}\n", limits)
    })
}

fn form(body: &str) -> Call {
    Call::new("POST /interface/new/save.php").of_type("application/x-www-form-urlencoded", body)
}

#[tokio::test]
async fn named_fields_are_sealed_and_every_other_byte_stays() {
    let bed = forms();
    let body = "form_fname=Pete%72+J&x=a+b%20c&&form_DOB=1948-07-04&form_ss=999-12-3456&csrf_token_form=ab%2fc&form_lname=&\
                patient%5Bname%5D=Chalmers&phones[]=555-0100&phones[home]=555-0101&flag";
    bed.upstream.always(200, &[("content-type", "text/html")], "<p>saved</p>");
    let saved = bed.make("clinician", &form(body)).await;
    assert_eq!((saved.status.as_u16(), saved.text().as_str()), (200, "<p>saved</p>"));
    let sent = bed.upstream.take_only().text();
    let shape: Vec<String> = sent
        .split('&')
        .map(|pair| match pair.split_once("=sgv1.") {
            Some((name, _)) => format!("{name}=#"),
            None => pair.to_owned(),
        })
        .collect();
    let want = "form_fname=#&x=a+b%20c&&form_DOB=#&form_ss=#&csrf_token_form=ab%2fc&form_lname=&patient%5Bname%5D=#&\
                phones[]=#&phones[home]=#&flag";
    assert_eq!(shape.join("&"), want);
    // The page that shows the record has the tokens in it.
    let token = sent.split('&').next().unwrap().strip_prefix("form_fname=").unwrap();
    let page = format!("<input name=form_fname value=\"{token}\"><h1>{token}</h1>");
    bed.upstream.always(200, &[("content-type", "text/html; charset=utf-8")], page);
    let shown = bed.make("clinician", &Call::new("GET /interface/patient.php")).await;
    assert_eq!(shown.text(), "<input name=form_fname value=\"Peter J\"><h1>Peter J</h1>");
}

#[tokio::test]
async fn what_a_server_could_take_for_a_named_field_goes_nowhere() {
    let bed = forms();
    for body in [
        "Form_ss=999-12-3456",
        "form.ss=999-12-3456",
        "%20form_ss=999-12-3456",
        "form_ss%00x=999-12-3456",
        "form%255Fss=999-12-3456",
        "form_ss[]=999-12-3456",
        "a=1;form_ss=999-12-3456",
        "form_ss=%zz",
        "form_ss=%ff",
        "_charset_=utf-16&form_ss=1",
    ] {
        bed.refuses("clinician", &form(body), (400, "body_invalid")).await;
    }
    bed.refuses("desk", &form("form_DOB=1948-07-04"), (422, "field_not_writable")).await;
    bed.refuses("clinician", &form("y=see+%73gv1.AREj"), (422, "token_not_accepted")).await;
}

/// A form with files.
fn multipart(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

const FIELD: &str = "Content-Disposition: form-data; name=\"form_ss\"";
const PHOTO: &str = "Content-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\nContent-Type: image/png";

#[tokio::test]
async fn a_file_is_sealed_as_a_stream_that_opens_again() {
    let bed = forms();
    let content: Vec<u8> = (0..150_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let logo = "Content-Disposition: form-data; name=\"logo\"; filename=\"l.gif\"\r\nContent-Type: image/gif";
    let (media_type, body) = multipart(&[
        (FIELD, b"999-12-3456"),
        (PHOTO, &content),
        ("Content-Disposition: form-data; name=\"x\"", b"1"),
        (logo, b"GIF89a\xff\x00"),
        (&PHOTO.replace("\"photo\"", "\"file[]\""), b""),
    ]);
    bed.upstream.always(200, &[], "");
    let call = Call::new("POST /interface/upload.php").of_type(&media_type, body);
    let saved = bed.make("clinician", &call).await;
    assert_eq!(saved.status, 200, "{}", saved.text());
    let sent = bed.upstream.take_only();
    assert_eq!(sent.headers["content-type"], media_type.as_str());
    let boundary = media_type.split_once('=').unwrap().1;
    let delimiter = format!("\r\n--{boundary}");
    let mut framed = b"\r\n".to_vec();
    framed.extend_from_slice(&sent.body);
    let parts: Vec<&[u8]> = split(&framed, delimiter.as_bytes());
    assert_eq!(parts.len(), 7, "a preamble, five parts and the end");
    let content_of = |part: &'_ [u8]| -> Vec<u8> {
        let at = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        part[at + 4..].to_vec()
    };
    assert!(content_of(parts[1]).starts_with(b"sgv1."));
    assert_eq!((content_of(parts[3]), content_of(parts[4])), (b"1".to_vec(), b"GIF89a\xff\x00".to_vec()));
    for (part, want) in [(parts[2], content), (parts[5], Vec::new())] {
        let sealed = content_of(part);
        assert!(sealed.starts_with(b"sgv1\0"), "{}", sealed.escape_ascii());
        assert_eq!(bed.gate.open_stream(&sealed), want);
    }
}

pub(super) fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(found) = rest.windows(at.len()).position(|window| window == at) {
        parts.push(&rest[..found]);
        rest = &rest[found + at.len()..];
    }
    parts.push(rest);
    parts
}

#[tokio::test]
async fn a_form_with_files_that_could_be_read_otherwise_goes_nowhere() {
    let bed = forms();
    let other = "Content-Disposition: form-data; name=\"other\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf";
    for parts in [
        &[(other, &b"%PDF"[..])][..],
        &[("Content-Disposition: form-data; name=\"form_ss\"; filename=\"a\"", b"999-12-3456")],
        &[("Content-Disposition: form-data; name=\"FORM_SS\"", b"999-12-3456")],
        &[("Content-Disposition: form-data; name=\"form_ss\"; name=\"x\"", b"999-12-3456")],
        &[("Content-Disposition: form-data; name=\"form_ss\"\r\nContent-Transfer-Encoding: base64", b"OTk5")],
        &[("Content-Disposition: form-data; name=\"form\\_ss\"", b"999-12-3456")],
        &[("content-type: text/plain", b"999-12-3456")],
    ] {
        let (media_type, body) = multipart(parts);
        let call = Call::new("POST /interface/upload.php").of_type(&media_type, body);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
    let (media_type, body) = multipart(&[(FIELD, b"1")]);
    let cut = Call::new("POST /interface/upload.php").of_type(&media_type, &body[..body.len() - 4]);
    bed.refuses("clinician", &cut, (400, "body_invalid")).await;
    let call = Call::new("POST /interface/upload.php").of_type("multipart/form-data", body);
    bed.refuses("clinician", &call, (415, "content_type_unsupported")).await;
}

#[tokio::test]
async fn a_form_with_files_comes_back_as_it_was_for_who_may_see_it() {
    let bed = forms();
    let content: Vec<u8> = (0..150_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let (media_type, body) = multipart(&[
        (FIELD, b"999-12-3456"),
        (PHOTO, &content),
        ("Content-Disposition: form-data; name=\"x\"", b"1"),
        (&PHOTO.replace("\"photo\"", "\"file[]\""), b""),
    ]);
    bed.upstream.always(200, &[], "");
    bed.make("clinician", &Call::new("POST /interface/upload.php").of_type(&media_type, body.clone())).await;
    let sealed = bed.upstream.take_only().body.to_vec();
    bed.upstream.always(200, &[("content-type", &media_type)], sealed.clone());
    let read = Call::new("GET /interface/upload.php");
    let shown = bed.make("clinician", &read).await;
    assert!(shown.status == 200 && shown.body == body, "{}", shown.text());
    assert_eq!(shown.headers["content-length"], body.len().to_string().as_str());
    let kept = bed.make("dba", &read).await;
    assert!(kept.status == 200 && kept.body == sealed, "{}", kept.text());
    for role in ["billing", "support"] {
        bed.make(role, &read).await.expect_problem(403, "class_denied");
    }
    // What is no file can be hidden.
    let (_, fields) = multipart(&[(FIELD, b"999-12-3456")]);
    bed.make("clinician", &Call::new("POST /interface/upload.php").of_type(&media_type, fields)).await;
    let sealed_fields = bed.upstream.take_all().pop().unwrap().body.to_vec();
    bed.upstream.always(200, &[("content-type", &media_type)], sealed_fields);
    let hidden = bed.make("billing", &read).await;
    let (_, want) = multipart(&[(FIELD, b"***-**-3456")]);
    assert_eq!((hidden.status.as_u16(), hidden.text()), (200, String::from_utf8(want).unwrap()));

    let at = |part: &[u8]| sealed.windows(part.len()).position(|window| window == part).unwrap();
    let start = at(b"sgv1\0");
    let mut forged = sealed.clone();
    forged[start + 100_000] ^= 1;
    let (_, clear) = multipart(&[(PHOTO, b"\x89PNG")]);
    let (_, other) = multipart(&[(&PHOTO.replace("\"photo\"", "\"scan\""), b"\x89PNG")]);
    let cut = |from: usize, length: usize| [&sealed[..from], &sealed[from + length..]].concat();
    for (body, code) in [
        (forged, "response_unopenable"),
        (cut(start + 1000, 1), "response_unopenable"),
        (cut(start + 20, 600_000), "response_unopenable"),
        (clear, "response_unsealed"),
        (other, "response_not_understood"),
        (sealed[..sealed.len() - 4].to_vec(), "response_not_understood"),
    ] {
        bed.upstream.always(200, &[("content-type", &media_type)], body);
        bed.make("clinician", &read).await.expect_problem(502, code);
    }
}

/// It would end a part where none ends.
#[tokio::test]
async fn a_value_that_holds_the_boundary_of_a_form_is_not_shown_in_it() {
    let bed = forms();
    let (media_type, _) = multipart(&[]);
    let boundary = media_type.split_once('=').unwrap().1;
    bed.upstream.always(200, &[], "");
    bed.make("clinician", &form(&format!("form_ss=--{boundary}&form_DOB={boundary}"))).await;
    let sent = bed.upstream.take_only().text();
    let (first, second) = sent.split_once('&').unwrap();
    let token = |pair: &str| pair.split_once('=').unwrap().1.as_bytes().to_vec();
    let (_, body) = multipart(&[(FIELD, &token(first))]);
    bed.upstream.always(200, &[("content-type", &media_type)], body);
    let read = Call::new("GET /interface/upload.php");
    bed.make("clinician", &read).await.expect_problem(502, "response_unopenable");
    let events = bed.gate.events();
    let refused = events.iter().rfind(|event| event["event"] == "ExchangeRefused").unwrap();
    assert_eq!(refused["code"], "response_unopenable", "{refused}");
    let answered = events.iter().filter(|event| event["event"] == "ExchangeAnswered").count();
    assert_eq!(answered, 1, "of what is not shown nothing is said to be");
    let (_, body) = multipart(&[(&FIELD.replace("form_ss", "form_DOB"), &token(second))]);
    bed.upstream.always(200, &[("content-type", &media_type)], body);
    let shown = bed.make("clinician", &read).await;
    assert!(shown.status == 200 && shown.text().contains(&format!("\r\n\r\n{boundary}\r\n")), "{}", shown.text());
}
