//! Bodies that no application should send and some do. Each goes up sealed and comes back as it was, or goes nowhere.

use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};

const PACKED: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    packs: [fhir-r4]
";

fn bed(limits: &str) -> Bed {
    Bed::with(|setup| {
        let limits = format!("  limits: {{{limits}}}\n");
        with_file_store(setup)
            .replace("\nroutes:\n", PACKED)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", &limits)
    })
}

/// A route with a place for a value that it seals.
#[derive(Clone, Copy)]
struct Place {
    path: &'static str,
    media_type: &'static str,
    before: &'static str,
    after: &'static str,
}

const PLAIN: Place = Place { path: "/Patient/1", media_type: "application/json", before: "{\"ssn\":", after: "}" };
const FHIR: Place = Place {
    path: "/fhir/Any/1",
    media_type: "application/fhir+json",
    before: "{\"resourceType\":\"Patient\",\"name\":[{\"family\":",
    after: "}]}",
};

const CANARY: &str = "Zwetschgenmus";

/// What becomes of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It goes up sealed and is read as it was written.
    Sealed,
    Refused(u16, &'static str),
}
use Fate::{Refused, Sealed};

const INVALID: Fate = Refused(400, "body_invalid");
const TYPE: Fate = Refused(415, "content_type_unsupported");
const LARGE: Fate = Refused(413, "body_too_large");

impl Place {
    fn with(&self, value: &str) -> Vec<u8> {
        format!("{}{value}{}", self.before, self.after).into_bytes()
    }

    fn good(&self) -> Vec<u8> {
        self.with(&format!("\"{CANARY}\""))
    }

    fn text(&self) -> String {
        String::from_utf8(self.good()).unwrap()
    }

    /// The good body with more members before the last brace.
    fn and(&self, members: &str) -> Vec<u8> {
        format!("{},{members}}}", self.text().strip_suffix('}').unwrap()).into_bytes()
    }
}

async fn check(bed: &Bed, place: Place, (what, media_type, body): (&str, Option<&str>, &[u8]), fate: Fate) {
    let what = format!("{what} at {}", place.path);
    let call = Call::new(&format!("PUT {}", place.path));
    let call = media_type.map_or(call.clone(), |media_type| call.header("content-type", media_type)).body(body);
    let (status, code) = match fate {
        Refused(status, code) => (status, code),
        Sealed => {
            let wrote = bed.make("clinician", &call).await;
            assert_eq!(wrote.status, 200, "{what}: {}", wrote.text());
            let kept = bed.upstream.take_only();
            let canary = [("value".to_owned(), CANARY.to_owned())];
            assert_eq!(find_leaks(&kept.body, &canary), Vec::<String>::new(), "{what}");
            assert!(kept.text().contains("\"sgv1."), "{what}: {}", kept.text());
            let read = bed.make("clinician", &Call::new(&format!("GET {}", place.path))).await;
            bed.upstream.take_only();
            assert!(read.body == body, "{what}: {}", read.text().get(..500).unwrap_or(&read.text()));
            return;
        }
    };
    let client = bed.gate.as_client("clinician");
    for client in [client.clone(), client.over_http2()] {
        // Of a long one the upstream may have got a beginning, which is no request.
        let problem = match body.len() {
            ..1_000_000 => bed.refuses_from(&client, &call, (status, code)).await,
            _ => call.from(&client).await.expect_problem(status, code),
        };
        bed.upstream.expect_nothing();
        assert!(!problem.to_string().contains(CANARY), "{what}: {problem}");
    }
}

#[tokio::test]
async fn a_body_of_a_type_that_it_is_not_goes_nowhere() {
    let bed = bed("");
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><name><family value=\"{CANARY}\"/></name></Patient>");
    for place in [PLAIN, FHIR] {
        for media_type in [
            "",
            "text/plain",
            "text/html",
            "text/json",
            "text/csv",
            "application/octet-stream",
            "application/pdf",
            "application/graphql",
            "application/fhir",
            "application/fhir+turtle",
            "application/fhir+json; charset=utf-16",
            "multipart/form-data; boundary=x",
            "*/*",
        ] {
            check(&bed, place, (media_type, Some(media_type), &place.good()), TYPE).await;
        }
        check(&bed, place, ("no type", None, &place.good()), TYPE).await;
        check(&bed, place, ("XML as JSON", Some(place.media_type), xml.as_bytes()), INVALID).await;
        // Where there are rules for XML or for forms, this is none.
        let (as_xml, as_form) = match place.path {
            "/Patient/1" => (TYPE, TYPE),
            _ => (INVALID, Refused(400, "query_parameter_not_allowed")),
        };
        check(&bed, place, ("JSON as XML", Some("application/fhir+xml"), &place.good()), as_xml).await;
        let form = Some("application/x-www-form-urlencoded");
        check(&bed, place, ("JSON as a form", form, &place.good()), as_form).await;
    }
}

#[tokio::test]
async fn an_odd_text_is_sealed_or_goes_nowhere() {
    let bed = bed("");
    for place in [PLAIN, FHIR] {
        let member = place.before.rsplit(['{', ',']).next().unwrap();
        let (text, marked) = (place.text(), format!("\u{feff}{}", place.text()));
        let units = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let latin = text.replace(CANARY, &format!("{CANARY}?")).into_bytes();
        let latin = latin.iter().map(|byte| if *byte == b'?' { 0xfc } else { *byte }).collect::<Vec<u8>>();
        for (what, body, fate) in [
            ("as it should be", place.good(), Sealed),
            ("blanks around", format!("\r\n\t {text}\n\n").into_bytes(), Sealed),
            ("a name twice", place.with(&format!("\"{CANARY}\",{member}\"{CANARY}\"")), Sealed),
            ("a name twice, nothing first", place.with(&format!("null,{member}\"{CANARY}\"")), Sealed),
            ("a name twice, nothing last", place.with(&format!("\"{CANARY}\",{member}null")), Sealed),
            ("a byte order mark", marked.clone().into_bytes(), Sealed),
            ("two byte order marks", format!("\u{feff}{marked}").into_bytes(), INVALID),
            ("UTF-16, low byte first", units(&text, u16::to_le_bytes), INVALID),
            ("UTF-16, high byte first", units(&text, u16::to_be_bytes), INVALID),
            ("UTF-16 with a mark, low byte first", units(&marked, u16::to_le_bytes), INVALID),
            ("UTF-16 with a mark, high byte first", units(&marked, u16::to_be_bytes), INVALID),
            ("Latin-1", latin, INVALID),
            ("an escaped NUL", place.with(&format!("\"{CANARY}\\u0000\"")), Sealed),
            ("a NUL", place.with(&format!("\"{CANARY}\0\"")), INVALID),
            ("a NUL behind", format!("{text}\0").into_bytes(), INVALID),
            ("half a surrogate pair", place.with(&format!("\"{CANARY}\\ud83d\"")), Sealed),
            ("the other half", place.with(&format!("\"\\ude00{CANARY}\"")), Sealed),
            ("the halves the wrong way round", place.with(&format!("\"{CANARY}\\ude00\\ud83d\"")), Sealed),
            ("half a pair beside it", place.and("\"x\":\"\\ud83d\""), Sealed),
            ("half a pair in a name beside it", place.and("\"\\ud83d\":1"), Sealed),
            (
                "half a pair as bytes",
                [place.before.as_bytes(), b"\"\xed\xa0\xbd\"", place.after.as_bytes()].concat(),
                INVALID,
            ),
            ("a text without an end", text.replace("\"}", "}").into_bytes(), INVALID),
            ("two documents", [place.good(), place.good()].concat(), INVALID),
            ("a comment", format!("{text}/**/").into_bytes(), INVALID),
        ] {
            check(&bed, place, (what, Some(place.media_type), &body), fate).await;
        }
    }
}

#[tokio::test]
async fn numbers_that_are_none_and_depths_go_nowhere() {
    let bed = bed("");
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}\"{CANARY}\"{}", "{\"x\":".repeat(10_000), "}".repeat(10_000));
    for place in [PLAIN, FHIR] {
        for (what, body, fate) in [
            ("NaN", place.with("NaN"), INVALID),
            ("NaN beside it", place.and("\"x\":NaN"), INVALID),
            ("-Infinity", place.with("-Infinity"), INVALID),
            ("hex beside it", place.and("\"x\":0x7f"), INVALID),
            ("a number for a text", place.with("1e400"), Refused(422, "value_type_mismatch")),
            // Whoever reads it may round it; the gate does not.
            ("a number that no double holds beside it", place.and("\"x\":1e400"), Sealed),
            ("more digits than a double has beside it", place.and("\"x\":0.10000000000000000000000001"), Sealed),
            ("depth in the value", place.with(&deep(&format!("\"{CANARY}\""))), LARGE),
            ("depth beside it", place.and(&format!("\"x\":{}", deep(&format!("\"{CANARY}\"")))), LARGE),
            ("depth of objects beside it", place.and(&format!("\"x\":{deep_objects}")), LARGE),
            ("depth without an end", place.and(&format!("\"x\":{}", "[".repeat(10_000))), LARGE),
        ] {
            check(&bed, place, (what, Some(place.media_type), &body), fate).await;
        }
    }
    let bare = deep(&format!("\"{CANARY}\""));
    check(&bed, PLAIN, ("depth of lists alone", Some("application/json"), bare.as_bytes()), LARGE).await;
}

#[tokio::test]
async fn a_value_of_three_megabytes_is_sealed_where_it_may_be_so_long() {
    let three = CANARY.repeat((3 << 20) / CANARY.len());
    let sizes = "body_bytes_max: 8388608, response_bytes_max: 33554432";
    for (limits, fate) in [(sizes.to_owned(), LARGE), (format!("{sizes}, value_bytes_max: 4194304"), Sealed)] {
        let bed = bed(&limits);
        for place in [PLAIN, FHIR] {
            let body = place.with(&format!("\"{three}\""));
            check(&bed, place, ("a long value", Some(place.media_type), &body), fate).await;
            let beside = place.and(&format!("\"x\":\"{}\"", "y".repeat(3 << 20)));
            check(&bed, place, ("a long value beside it", Some(place.media_type), &beside), Sealed).await;
        }
    }
    let bed = bed("");
    for place in [PLAIN, FHIR] {
        let body = place.with(&format!("\"{three}\""));
        check(&bed, place, ("a long body", Some(place.media_type), &body), LARGE).await;
    }
}

#[tokio::test]
async fn a_resource_says_its_type_once_and_anywhere() {
    let bed = bed("");
    let name = format!("\"name\":[{{\"family\":\"{CANARY}\"}}]");
    for (what, body, fate) in [
        ("last", format!("{{{name},\"resourceType\":\"Patient\"}}"), Sealed),
        ("in the middle", format!("{{{name},\"resourceType\":\"Patient\",\"active\":true}}"), Sealed),
        ("escaped", format!("{{\"\\u0072esourceType\":\"Patien\\u0074\",{name}}}"), Sealed),
        (
            "last, of an entry",
            format!(
                "{{\"entry\":[{{\"resource\":{{{name},\"resourceType\":\"Patient\"}}}}],\"resourceType\":\"Bundle\"}}"
            ),
            Sealed,
        ),
        ("not at all", format!("{{{name}}}"), INVALID),
        (
            "not in an entry",
            format!("{{\"resourceType\":\"Bundle\",\"entry\":[{{\"resource\":{{{name}}}}}]}}"),
            INVALID,
        ),
        ("as a number", format!("{{\"resourceType\":1,{name}}}"), INVALID),
        ("as null", format!("{{\"resourceType\":null,{name}}}"), INVALID),
        ("as a list", format!("{{\"resourceType\":[\"Patient\"],{name}}}"), INVALID),
        ("empty", format!("{{\"resourceType\":\"\",{name}}}"), INVALID),
        ("in lower case", format!("{{\"resourcetype\":\"Patient\",{name}}}"), INVALID),
        ("of a type in lower case", format!("{{\"resourceType\":\"patient\",{name}}}"), INVALID),
        ("of no type of FHIR", format!("{{\"resourceType\":\"Ding\",{name}}}"), INVALID),
        ("twice", format!("{{\"resourceType\":\"Patient\",{name},\"resourceType\":\"Patient\"}}"), INVALID),
        ("of a text", format!("\"{CANARY}\""), INVALID),
        ("of a list", format!("[{}]", FHIR.text()), INVALID),
    ] {
        check(&bed, FHIR, (what, Some(FHIR.media_type), body.as_bytes()), fate).await;
    }
}
