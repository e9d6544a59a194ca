//! Tokens that come from a client. Who could see a value must not get it by pasting its token somewhere else: a token is
//! taken only from one who sees tokens of its class, only if it authenticates for the place where it stands.

use crate::fixture::bed::forged;
use crate::fixture::pki::write_secret;
use crate::fixture::{Bed, Call, Setup};
use serde_json::Value;

const DOCUMENT: &str = "{ \"ssn\":\"999-12-3456\", \"name\":[{\"family\":\"Chalmers\",\"given\":[\"Peter\",\"\",null]}], \
                        \"note\":{\"a\":[1]}, \"identifier\":[{\"value\":12345}], \"weight\":1.10}";
const PLACES: [&str; 3] = ["/ssn", "/name/0/family", "/note"];
const NOT_ACCEPTED: (u16, &str) = (422, "token_not_accepted");

/// Every place of a body where a token can stand alone: of its class, of another, of none.
const ALONE: [&str; 12] = [
    "{\"ssn\":\"?\"}",
    "{\"identifier\":[{\"value\":\"?\"}]}",
    "{\"name\":[{\"family\":\"?\"}]}",
    "{\"name\":[{\"given\":[\"?\"]}]}",
    "{\"note\":\"?\"}",
    "{\"weight\":\"?\"}",
    "{\"a\":[[{\"b\":[1,\"?\"]}]]}",
    "[\"?\"]",
    "\"?\"",
    "{\"name\":\"?\"}",
    "{\"weight\":null,\"s\\u0073n\":\"?\"}",
    "\u{feff}{\"active\":true,\"other\" : \"?\"}",
];

/// Places where nobody may put one.
const NEVER: [&str; 15] = [
    "{\"?\":1}",
    "{\"a\":[{\"?\":null}]}",
    "{\"ssn\":{\"?\":1}}",
    "{\"ssn\":{\"a\":\"?\"}}",
    "{\"ssn\":[\"?\"]}",
    "{\"note\":{\"a\":[1,{\"b\":\"see ? there\"}]}}",
    "{\"note\":[[[\"?\"]]]}",
    "{\"ssn\":\" ?\"}",
    "{\"ssn\":\"x?\"}",
    "{\"note\":\"see ? there\"}",
    "{\"name\":[{\"family\":\"\\n?\"}]}",
    "{\"weight\":\"see ? there\"}",
    "{\"weight\":\" ?\"}",
    "[\"sgv?\"]",
    "{\"weight\":\"{\\\"ssn\\\":\\\"?\\\"}\"}",
];

/// The same token, as another writer of JSON may spell it.
fn spellings(token: &str) -> [String; 4] {
    let all = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    [token.to_owned(), token.replace("sgv1.", "sgv1\\u002e"), token.replace("sgv1.", "\\u0073\\u0067v1."), all]
}

/// Gives two principals another scope besides their own.
fn both_scopes(setup: Setup) -> Setup {
    let both = |setup: Setup, role| {
        setup.replace(&format!("roles: [{role}]}}"), &format!("roles: [{role}], scopes: [test, other]}}"))
    };
    both(both(setup, "clinician"), "dba")
}

fn fill(place: &str, token: &str) -> String {
    assert!(place.contains('?'));
    place.replace('?', token)
}

/// Every call with a token outside its body.
fn outside(token: &str) -> Vec<Call> {
    let escaped = token.replacen('s', "%73", 1);
    let dotted = token.replace('.', "%2e");
    let twice = token.replacen('s', "%2573", 1);
    let thrice = token.replacen("gv", "%252567%25252576", 1);
    let endless = format!("%{}73{}", "25".repeat(40), &token[1..]);
    let mut calls = Vec::new();
    for line in ["GET /Patient", "POST /Patient"] {
        for value in [token, &escaped, &dotted, &twice, &thrice, &endless, &format!("x{token}"), &format!("+{token}+")]
        {
            calls.push(Call::new(&format!("{line}?_count={value}")));
            calls.push(Call::new(&format!("{line}?_count=1&{value}")));
            calls.push(Call::new(&format!("{line}?{value}=1")));
        }
    }
    for method in ["GET", "PUT", "DELETE"] {
        for segment in [token, &format!("x{token}"), &format!("{token}!"), &format!("a%20{token}")] {
            calls.push(Call::new(&format!("{method} /Patient/{segment}")));
        }
        for (name, value) in [
            ("x-token", token),
            ("x-token", &escaped),
            ("x-token", &twice),
            ("cookie", &format!("a={thrice}")),
            ("link", &format!("</Patient?_count={endless}>")),
            ("authorization", &format!("Bearer {token}")),
            ("cookie", &format!("a=b; c=\"{token}\"")),
            ("if-match", &format!("\"{token}\"")),
            ("user-agent", token),
            ("x-forwarded-for", token),
            ("x-request-id", token),
            ("content-type", &format!("application/json; x={token}")),
        ] {
            calls.push(Call::new(&format!("{method} /Patient/1")).header(name, value));
        }
    }
    calls.into_iter().map(|call| call.header("content-type", "application/json").body("{}")).collect()
}

#[tokio::test]
async fn a_stolen_token_is_taken_nowhere_in_a_body() {
    let bed = Bed::start();
    let [ssn, family, note] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for place in ALONE.iter().chain(&NEVER) {
        for who in ["clinician", "billing", "desk"] {
            bed.refuses(who, &Call::new("POST /Patient").json(fill(place, &ssn)), NOT_ACCEPTED).await;
        }
        bed.refuses("support", &Call::new("GET /Patient/1").json(fill(place, &ssn)), NOT_ACCEPTED).await;
        let [_, spelled @ .., all] = spellings(&ssn);
        for token in spelled.iter().chain([&all, &family, &note]) {
            let call = Call::new("PUT /Patient/1").json(fill(place, token));
            bed.refuses_from(&bed.gate.as_client("clinician"), &call, NOT_ACCEPTED).await;
        }
    }
}

#[tokio::test]
async fn who_may_not_call_at_all_is_told_nothing_of_a_token() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for place in [ALONE[0], ALONE[5], NEVER[0]] {
        let call = Call::new("POST /Patient").json(fill(place, &ssn));
        bed.refuses("support", &call, (403, "read_only")).await;
        bed.refuses("outsider", &call, (403, "class_denied")).await;
        bed.refuses("stranger", &call, (403, "principal_unknown")).await;
    }
}

#[tokio::test]
async fn a_token_is_taken_from_nobody_outside_a_body() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for call in outside(&ssn) {
        bed.refuses("clinician", &call, NOT_ACCEPTED).await;
        bed.refuses_from(&bed.gate.as_client("dba"), &call, NOT_ACCEPTED).await;
    }
    bed.refuses("support", &Call::new(&format!("GET /Patient?_count={ssn}")), NOT_ACCEPTED).await;
}

/// Something that only looks like one is no way to find out what is one.
#[tokio::test]
async fn what_looks_like_a_token_is_refused_too() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for text in ["sgv1.", "sgv0.", "sgv9.x", "sgv1.AQEB", "the prefix is sgv1.", &ssn.replace("sgv1", "sgv2")] {
        for place in ["{\"ssn\":\"?\"}", "{\"weight\":\"?\"}", "{\"a\":[\"?\"]}", "{\"?\":1}", "{\"note\":[\"?\"]}"] {
            for who in ["clinician", "dba"] {
                let reply = bed.make(who, &Call::new("POST /Patient").json(fill(place, text))).await;
                assert_eq!(reply.status, 422, "{who} {place} {text}");
                assert!(reply.json()["code"].as_str().unwrap().starts_with("token_"), "{}", reply.text());
                bed.upstream.expect_nothing();
            }
        }
    }
    for text in ["sgv1", "SGV1.AQEB", "sgv.1", "sgvx.AQEB", "s.gv1."] {
        let call = Call::new("POST /Patient").json(format!("{{\"weight\":\"{text}\",\"{text}\":1}}"));
        assert_eq!(bed.make("clinician", &call).await.status, 201, "{text}");
        bed.upstream.take_only();
    }
}

/// Nothing behind a limit is a place to hide a token.
#[tokio::test]
async fn a_long_text_hides_no_token() {
    let bed = Bed::with(|setup| setup.replace("limits: {}", "limits: {value_bytes_max: 2000}"));
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for place in ["{\"weight\":\"?\"}", "{\"?\":1}", "{\"a\":[{\"b\":\"?\"}]}"] {
        for before in [1000, 1990, 2000, 2010, 5000] {
            let call = Call::new("POST /Patient").json(fill(place, &format!("{}{ssn}", "x".repeat(before))));
            let reply = bed.make("clinician", &call).await;
            assert!(matches!(reply.status.as_u16(), 413 | 422), "{place} {before}: {} {}", reply.status, reply.text());
            bed.upstream.expect_nothing();
        }
    }
}

#[tokio::test]
async fn who_sees_tokens_puts_them_back_as_they_are() {
    let bed = Bed::start();
    bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let kept = bed.upstream.kept("/Patient/1");
    let dba = bed.gate.as_client("dba");
    for client in [dba.clone(), dba.over_http2()] {
        let seen = Call::new("GET /Patient/1").from(&client).await;
        assert_eq!(seen.text(), kept);
        bed.upstream.take_only();
        for line in ["PUT /Patient/1", "PUT /Patient/2", "POST /Patient"] {
            let before = bed.gate.events().len();
            let wrote = Call::new(line).json(&seen.body).from(&client).await;
            assert!(wrote.status.is_success(), "{line}: {}", wrote.text());
            assert_eq!(wrote.body, seen.body);
            assert_eq!(bed.upstream.take_only().body, seen.body, "{line}: stored as it was");
            let intended = &bed.gate.events()[before];
            assert_eq!(intended["event"], "ExchangeIntended");
            let fields = intended["fields"].as_array().unwrap();
            assert!(fields.iter().all(|field| field["action"] == "left") && fields.len() == 3, "{intended}");
            assert_eq!(intended["keys"].as_array().unwrap().len(), 1, "{intended}");
        }
        let read = bed.make("clinician", &Call::new("GET /Patient/2")).await;
        assert_eq!(read.text(), DOCUMENT, "and it still opens");
        bed.upstream.take_only();
    }
}

#[tokio::test]
async fn who_sees_tokens_puts_them_where_they_belong() {
    let bed = Bed::start();
    let [ssn, family, note] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for (place, token) in [
        ("{\"identifier\":[{\"value\":\"?\"}]}", &ssn),
        ("{\"a\":{\"ssn\":\"?\"}}", &ssn),
        ("{\"name\":[{\"given\":[\"?\",\"?\"]}]}", &family),
        ("{\"note\":\"?\"}", &note),
        ("{\"weight\":\"?\"}", &ssn),
        ("[\"?\"]", &note),
    ] {
        for spelled in spellings(token) {
            let body = fill(place, &spelled);
            let reply = bed.make("dba", &Call::new("POST /Patient").json(&body)).await;
            assert_eq!(reply.status, 201, "{body}: {}", reply.text());
            assert_eq!(bed.upstream.take_only().text(), body);
        }
    }
    for token in [&ssn, &family, &note] {
        for spelled in spellings(token) {
            for place in NEVER {
                bed.refuses("dba", &Call::new("POST /Patient").json(fill(place, &spelled)), NOT_ACCEPTED).await;
            }
        }
    }
    let mismatch = (422, "token_class_mismatch");
    for (place, token) in [
        ("{\"name\":[{\"family\":\"?\"}]}", &ssn),
        ("{\"note\":\"?\"}", &ssn),
        ("{\"ssn\":\"?\"}", &family),
        ("{\"identifier\":[{\"value\":\"?\"}]}", &note),
        ("{\"a\":[{\"ssn\":\"?\"}]}", &note),
    ] {
        for line in ["POST /Patient", "PUT /Patient/1", "DELETE /Patient/1", "GET /Patient/1"] {
            bed.refuses("dba", &Call::new(line).json(fill(place, token)), mismatch).await;
        }
    }
    // One bad among good ones is enough.
    let body = format!("{{\"ssn\":\"{ssn}\",\"note\":\"{note}\",\"name\":[{{\"family\":\"{ssn}\"}}]}}");
    bed.refuses("dba", &Call::new("PUT /Patient/1").json(body), mismatch).await;
}

#[tokio::test]
async fn a_forged_token_is_refused_with_what_is_wrong_with_it() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let set = |at: usize, to: u8| forged(&ssn, |bytes| bytes[at] = to);
    let flip = |at: usize| forged(&ssn, |bytes| bytes[at] ^= 1);
    let back = |at: usize| forged(&ssn, |bytes| *bytes.iter_mut().nth_back(at).unwrap() ^= 1);
    let cut = |length: usize| forged(&ssn, |bytes| bytes.truncate(length));
    // Version, suite and placement, the two lengths; 3 bytes of class, 4 of scope; 32 of commitment; the number of encrypted
    // data keys, and of the one that there is 8 bytes of tag, 2 of length, 60 of blob.
    let cases = [
        (set(0, 2), "token_version_unknown"),
        (set(0, 0), "token_version_unknown"),
        (ssn.replace("sgv1.", "sgv2."), "token_version_unknown"),
        (ssn.replace("sgv1.", "sgv0."), "token_version_unknown"),
        (set(1, 0x01), "token_suite_unknown"),
        (set(1, 0x41), "token_suite_unknown"),
        (set(1, 0xf1), "token_suite_unknown"),
        (set(1, 0x10), "token_suite_unknown"),
        (set(1, 0x13), "token_suite_unknown"),
        (set(1, 0x21), "token_suite_unknown"),
        (set(1, 0x31), "token_suite_unknown"),
        (set(2, 0xff), "token_malformed"),
        (set(3, b'.'), "token_malformed"),
        (set(6, b'\n'), "token_malformed"),
        (set(42, 0), "token_malformed"),
        (set(42, 5), "token_malformed"),
        (set(2, 0x32), "token_class_mismatch"),
        (set(3, b't'), "token_class_mismatch"),
        (set(6, b'b'), "token_scope_mismatch"),
        (set(2, 0x14), "token_class_mismatch"),
        (flip(10), "token_key_rejected"),
        (flip(41), "token_key_rejected"),
        (flip(43), "token_key_rejected"),
        (flip(53), "token_key_rejected"),
        (flip(112), "token_key_rejected"),
        (back(39), "token_unauthentic"),
        (back(28), "token_unauthentic"),
        (back(27), "token_unauthentic"),
        (back(16), "token_unauthentic"),
        (back(15), "token_unauthentic"),
        (back(0), "token_unauthentic"),
        (forged(&ssn, |bytes| bytes.truncate(bytes.len() - 1)), "token_unauthentic"),
        (forged(&ssn, |bytes| bytes.push(0)), "token_unauthentic"),
        ("sgv1.".to_owned(), "token_truncated"),
        (cut(1), "token_truncated"),
        (cut(3), "token_truncated"),
        (cut(30), "token_truncated"),
        (cut(42), "token_truncated"),
        (cut(52), "token_truncated"),
        (cut(100), "token_truncated"),
        (cut(130), "token_truncated"),
        (format!("{}AAAAA", cut(30)), "token_truncated"),
    ];
    for (token, code) in cases {
        bed.refuses("dba", &Call::new("PUT /Patient/1").json(format!("{{\"ssn\":\"{token}\"}}")), (422, code)).await;
    }
    // Where no rule says which class it must be, it must still be one.
    let unruled = |token: String| Call::new("PUT /Patient/1").json(format!("{{\"weight\":\"{token}\"}}"));
    bed.refuses("dba", &unruled(set(3, b't')), (422, "token_unauthentic")).await;
    bed.refuses("dba", &unruled(set(6, b'b')), (422, "token_scope_mismatch")).await;
    bed.refuses("dba", &unruled(back(0)), (422, "token_unauthentic")).await;
    bed.refuses("dba", &unruled(flip(60)), (422, "token_key_rejected")).await;
}

#[tokio::test]
async fn only_one_spelling_of_a_token_is_taken() {
    let bed = Bed::start();
    // A value of each length, so that the last character has spare bits in two of three.
    for value in ["9", "99", "999"] {
        let document = DOCUMENT.replace("999-12-3456", value);
        let [ssn, ..] = bed.tokens("/Patient/1", &document, PLACES).await;
        let length = ssn.len() - "sgv1.".len();
        let mut bad = vec![
            format!("{ssn}="),
            format!("{ssn}=="),
            format!("{ssn} "),
            format!("{ssn}\\n"),
            format!("{ssn}\\u0000"),
            format!("{ssn}.x"),
            format!("{ssn}{ssn}"),
            ssn.replacen("sgv1.", "sgv1. ", 1),
            ssn.replacen("sgv1.A", "sgv1.+", 1),
            ssn.replacen("sgv1.A", "sgv1./", 1),
            ssn.replacen("sgv1.A", "sgv1.\\u0410", 1),
        ];
        if !length.is_multiple_of(4) {
            // The same bytes, with a spare bit set.
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let last = alphabet.iter().position(|c| Some(c) == ssn.as_bytes().last()).unwrap();
            bad.push(format!("{}{}", ssn.get(..ssn.len() - 1).unwrap(), char::from(alphabet[last + 1])));
        }
        for token in bad {
            let reply = bed.make("dba", &Call::new("PUT /Patient/1").json(format!("{{\"ssn\":\"{token}\"}}"))).await;
            let problem: Value = reply.json();
            let code = problem["code"].as_str().unwrap_or_default();
            assert_eq!(reply.status, 422, "{token}");
            // A length that no base64 has is told before its characters are looked at.
            assert!(matches!(code, "token_not_canonical" | "token_truncated"), "{token}: {code}");
            bed.upstream.expect_nothing();
        }
    }
}

#[tokio::test]
async fn a_token_of_another_scope_or_key_is_refused() {
    let other = "routes:\n  - {name: other, path: '/Other/{id}', methods: [GET, PUT], upstream: app, scope: other, \
                 rules: [{path: $..ssn, class: ssn}, {path: '$.name[*].family', class: name}, {path: $.note, class: note}]}";
    let bed = Bed::with(|setup| both_scopes(setup.replace("routes:", other)));
    let [foreign, ..] = bed.tokens("/Other/1", DOCUMENT, PLACES).await;
    let [own, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let scope = (422, "token_scope_mismatch");
    for place in ["{\"ssn\":\"?\"}", "{\"weight\":\"?\"}", "{\"a\":[{\"identifier\":\"?\"}]}"] {
        bed.refuses("dba", &Call::new("PUT /Patient/1").json(fill(place, &foreign)), scope).await;
        bed.refuses("dba", &Call::new("PUT /Other/1").json(fill(place, &own)), scope).await;
    }
    // With the other scope's name in its head it is still the other scope's.
    let renamed = forged(&foreign, |bytes| {
        bytes[2] = 0x23;
        drop(bytes.splice(6..11, *b"test"));
    });
    let call = Call::new("PUT /Patient/1").json(fill("{\"ssn\":\"?\"}", &renamed));
    bed.refuses("dba", &call, (422, "token_key_rejected")).await;
    let good = Call::new("PUT /Other/1").json(fill("{\"ssn\":\"?\"}", &foreign));
    assert_eq!(bed.make("dba", &good).await.status, 200);
    bed.upstream.take_only();

    let elsewhere = Bed::with(|setup| {
        write_secret(&setup.folder().join("kek"), "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=");
        setup
    });
    let call = Call::new("PUT /Patient/1").json(fill("{\"ssn\":\"?\"}", &own));
    elsewhere.refuses("dba", &call, (422, "token_key_rejected")).await;
}

#[tokio::test]
async fn who_sees_tokens_writes_nothing_else_into_their_places() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    for value in ["\"999-12-3456\"", "12345", "true", "{\"a\":1}", "[]", "\"***\"", "\"[REDACTED]\""] {
        for place in ["{\"ssn\":?}", "{\"note\":?}", "{\"name\":[{\"given\":[?]}]}"] {
            let call = Call::new("PUT /Patient/1").json(fill(place, value));
            bed.refuses("dba", &call, (422, "field_not_writable")).await;
        }
    }
    let mixed = format!("{{\"ssn\":\"{ssn}\",\"ssn\":\"999-12-3456\"}}");
    bed.refuses("dba", &Call::new("PUT /Patient/1").json(mixed), (422, "field_not_writable")).await;
}
