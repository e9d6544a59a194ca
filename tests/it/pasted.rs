//! The oracle attack: somebody has a token, from a dump or a log, and pastes it into a record of their own, to read the
//! value there. Played with the tokens of every suite and placement, by every role, in every place of a request.
//!
//! Out of reach is a token that was encoded once more, such as in base64 within a text: it is an ordinary text, is stored
//! as one, and comes back as one, unopened. So is whatever passes a route that says `protect: none`.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call, Setup};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

const ROUTES: &str = "routes:
  - name: record
    path: /Record/{id}
    methods: [GET, PUT, POST, DELETE]
    upstream: app
    record: id
    query_allowed: [_count]
    open: anywhere
    rules:
      - {path: $.ssn, class: ssn}
      - {path: '$.name[*].family', class: name}
      - {path: $.bound, class: ssn, bind: {record: {parameter: id}}}
      - {path: $.mail, class: mail}
      - {path: $.acct, class: acct}
      - {path: $.card, class: card}
      - {path: $.pin, class: pin}
";
const CLASSES: &str = "classes:
  mail: {suite: deterministic}
  acct: {placement: stored}
  card: {suite: format, alphabet: digits}
  pin: {suite: format, alphabet: digits}
";
/// Somebody who sees some classes in the clear and of others the tokens, and who writes some that are not shown.
const ROLES: &str = "roles:
  mixed: {default_view: plain, views: {mail: sealed, acct: mask}, writes: [acct]}
  every: {default_view: redact, writes: [ssn, name, mail, acct, card, pin]}
  biller: {default_view: mask}
  keeper: {default_view: sealed}
";
const NOT_ACCEPTED: (u16, &str) = (422, "token_not_accepted");
/// Everybody of `gate.yaml` who may write here, and of the roles above.
const WRITERS: [&str; 6] = ["clinician", "desk", "mixed", "every", "biller", "keeper"];

fn with_oracle(setup: Setup) -> Setup {
    let names = ["mixed", "every", "biller", "keeper"];
    let principals: String =
        names.map(|name| format!("  - {{spiffe: spiffe://test.example/{name}, roles: [{name}]}}\n")).concat();
    let setup = setup.replace("\nroutes:\n", &format!("\n{ROUTES}")).replace("\nclasses:\n", &format!("\n{CLASSES}"));
    let setup = setup.replace("\nroles:\n", &format!("\n{ROLES}"));
    with_file_store(setup.replace("\nprincipals:\n", &format!("\nprincipals:\n{principals}")))
}

fn victim() -> Value {
    json!({
        "ssn": "999-12-3456", "name": [{"family": "Chalmers"}], "bound": "111-22-3333", "mail": "p@example.org",
        "acct": "88-4412", "card": "4111-1111-1111", "pin": "731924"
    })
}

const VALUES: [&str; 7] =
    ["999-12-3456", "Chalmers", "111-22-3333", "p@example.org", "88-4412", "4111-1111-1111", "731924"];

/// The tokens of a record of the victim's, by field.
async fn stolen(bed: &Bed) -> Vec<(&'static str, String)> {
    let wrote = bed.make("clinician", &Call::new("PUT /Record/victim").json(victim().to_string())).await;
    assert_eq!((wrote.status.as_u16(), wrote.json()), (200, victim()));
    let kept = bed.upstream.take_only().json();
    let at = |field: &str| if field == "name" { "/name/0/family".to_owned() } else { format!("/{field}") };
    let fields = ["ssn", "name", "bound", "mail", "acct"];
    fields.map(|field| (field, kept.pointer(&at(field)).unwrap().as_str().unwrap().to_owned())).into()
}

/// Places where a token can stand alone; in `?` goes a text with its quotes.
const PLACES: [&str; 11] = [
    "{\"ssn\":?}",
    "{\"name\":[{\"family\":?}]}",
    "{\"bound\":?}",
    "{\"mail\":?}",
    "{\"acct\":?}",
    "{\"card\":?}",
    "{\"weight\":?}",
    "{\"name\":?}",
    "{\"a\":[[{\"b\":[1,?]}]]}",
    "[?]",
    "?",
];

/// Texts that hold a token, none of which is one.
fn around(token: &str) -> Vec<String> {
    vec![
        format!("{token} "),
        format!(" {token}"),
        format!("see {token} there"),
        format!("x{token}"),
        format!("{token}{token}"),
        format!("{{\"ssn\":\"{token}\"}}"),
        format!("<a href=\"{token}\">"),
    ]
}

/// What a JSON text may look like that says `text`.
fn spellings(text: &str) -> [String; 3] {
    let plain = json!(text).to_string();
    let escaped = text.bytes().map(|byte| format!("\\u{byte:04X}")).collect::<String>();
    [plain.replacen("sgv", "s\\u0067v", 1), plain, format!("\"{escaped}\"")]
}

/// Nothing of the victim's comes back to the caller, now or when the record is read again.
fn expect_no_value(what: &str, reply: &str) {
    assert!(VALUES.iter().all(|value| !reply.contains(value)), "{what}: {reply}");
}

#[tokio::test]
async fn no_role_gets_a_value_for_a_token_in_a_body() {
    let bed = Bed::with(with_oracle);
    for (field, token) in stolen(&bed).await {
        for who in WRITERS {
            let client = bed.gate.as_client(who);
            for place in PLACES {
                let [spelled, ..] = spellings(&token);
                let call = Call::new("PUT /Record/own").json(place.replace('?', &spelled));
                let shown_as_token = who == "keeper" || (who == "mixed" && field == "mail");
                if !shown_as_token {
                    bed.refuses_from(&client, &call, NOT_ACCEPTED).await;
                    continue;
                }
                let class = if field == "bound" { "ssn" } else { field };
                let wanted = ["ssn", "name\":[", "bound", "mail", "acct", "card"].iter().find(|at| place.contains(*at));
                let fits = match wanted.copied() {
                    Some("name\":[") => class == "name",
                    Some("card") => false,
                    Some("bound") => class == "ssn",
                    Some(wanted) => class == wanted,
                    None => true,
                };
                // Bound to the victim's record, it authenticates nowhere in another; unbound, not where a bind is wanted.
                let bound = field == "bound" || (wanted == Some(&"bound") && class == "ssn");
                let reply = call.from(&client).await;
                expect_no_value(&call.to_string(), &reply.text());
                match (fits, bound) {
                    (true, false) => {
                        assert_eq!(reply.status, 200, "{who} {call}: {}", reply.text());
                        let passed = bed.upstream.take_only().text();
                        assert_eq!(passed, place.replace('?', &spelled), "as it is");
                    }
                    (true, true) => drop(reply.expect_problem(422, "token_unauthentic")),
                    (false, _) => drop(reply.expect_problem(422, "token_class_mismatch")),
                }
                bed.upstream.expect_nothing();
            }
        }
    }
}

#[tokio::test]
async fn a_token_in_a_longer_text_or_a_name_is_refused_from_everybody() {
    let bed = Bed::with(with_oracle);
    for (_, token) in stolen(&bed).await {
        let clients = WRITERS.map(|who| bed.gate.as_client(who));
        let mut bodies: Vec<String> = Vec::new();
        for text in around(&token) {
            for spelled in spellings(&text) {
                bodies
                    .extend(["{\"ssn\":?}", "{\"weight\":?}", "{\"a\":[?]}"].map(|place| place.replace('?', &spelled)));
            }
        }
        for name in spellings(&token) {
            bodies.extend(["{?:1}", "{\"ssn\":{?:null}}", "[{\"a\":{?:[]}}]"].map(|place| place.replace('?', &name)));
        }
        // Every body by somebody, everybody some of them.
        for (body, client) in bodies.iter().zip(clients.iter().cycle()) {
            let before = bed.gate.events().len();
            let reply = Call::new("PUT /Record/own").json(body).from(client).await;
            // What begins as a token is told what is wrong with it.
            let code = reply.json()["code"].as_str().unwrap().to_owned();
            let known = ["token_not_accepted", "token_not_canonical", "token_truncated"].contains(&code.as_str());
            assert!(known && reply.status == 422, "{body}: {}", reply.text());
            bed.upstream.expect_nothing();
            bed.refused_once(before, (422, &code), body);
        }
    }
}

#[tokio::test]
async fn a_token_outside_the_body_is_refused_from_everybody() {
    let bed = Bed::with(with_oracle);
    for (_, token) in stolen(&bed).await {
        let percent = token.replacen("sgv", "s%67v", 1);
        let calls = [
            Call::new(&format!("GET /Record/{token}")),
            Call::new(&format!("GET /Record/x{token}")),
            Call::new(&format!("GET /Record/own?_count={token}")),
            Call::new(&format!("GET /Record/own?_count={percent}")),
            Call::new(&format!("GET /Record/own?{token}")),
            Call::new("GET /Record/own").header("x-note", &token),
            Call::new("GET /Record/own").header("cookie", &format!("a={token}")),
            Call::new("DELETE /Record/own").header("if-match", &format!("\"{token}\"")),
        ];
        for who in WRITERS.iter().chain(&["support", "dba"]) {
            for call in &calls {
                // Who may only read is told that first.
                let want = if *who == "support" && call.to_string().starts_with("DELETE") {
                    (403, "read_only")
                } else {
                    NOT_ACCEPTED
                };
                bed.refuses_from(&bed.gate.as_client(who), call, want).await;
            }
        }
        // A path that is spelled with needless escapes is refused before anybody looks for tokens in it.
        let call = Call::new(&format!("GET /Record/{percent}"));
        let reply = bed.make("clinician", &call).await;
        assert!(matches!(reply.status.as_u16(), 400 | 422), "{}", reply.text());
        bed.upstream.expect_nothing();
    }
}

/// A value of a format is not known for one: written back it is sealed once more, and comes back as what was written.
#[tokio::test]
async fn a_sealed_value_of_a_format_is_only_a_text() {
    let bed = Bed::with(with_oracle);
    stolen(&bed).await;
    let kept: Value = serde_json::from_str(&bed.upstream.kept("/Record/victim")).unwrap();
    for (from, to) in
        [("card", "card"), ("card", "pin"), ("pin", "pin"), ("pin", "card"), ("card", "ssn"), ("card", "weight")]
    {
        for who in ["clinician", "mixed", "every", "biller", "desk"] {
            let body = json!({ to: kept[from] });
            let wrote = bed.make(who, &Call::new("PUT /Record/own").json(body.to_string())).await;
            expect_no_value(who, &wrote.text());
            if wrote.status != 200 {
                wrote.expect_problem(422, "field_not_writable");
                bed.upstream.expect_nothing();
                continue;
            }
            if to != "weight" {
                assert_ne!(bed.upstream.take_only().json()[to], kept[from], "sealed once more");
            }
            let read = bed.make("clinician", &Call::new("GET /Record/own")).await;
            assert_eq!(read.json(), body, "{who}: {from} in {to}");
            bed.upstream.take_all();
        }
        let call = Call::new("PUT /Record/own").json(json!({"pin": kept["pin"]}).to_string());
        bed.refuses_from(&bed.gate.as_client("keeper"), &call, (422, "field_not_writable")).await;
    }
}

#[tokio::test]
async fn a_token_that_was_encoded_once_more_comes_back_as_it_went() {
    let bed = Bed::with(with_oracle);
    for (_, token) in stolen(&bed).await {
        let bytes = token.as_bytes();
        for text in [
            BASE64.encode(bytes),
            BASE64URL_NOPAD.encode(bytes),
            HEXLOWER.encode(bytes),
            token.replace("sgv1.", "sgv1 ."),
        ] {
            let body = json!({"weight": text, "ssn": text});
            let wrote = bed.make("clinician", &Call::new("PUT /Record/own").json(body.to_string())).await;
            assert_eq!((wrote.status.as_u16(), wrote.json()), (200, body.clone()));
            assert_eq!(bed.make("clinician", &Call::new("GET /Record/own")).await.json(), body);
            bed.upstream.take_all();
        }
    }
}
