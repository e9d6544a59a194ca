//! Values that are found by equality, values that keep their format, lengths that do not show, short tokens.

use crate::fixture::gate::KEK;
use crate::fixture::keys::{keyset, with_file_store, with_keyring};
use crate::fixture::pki::write_secret;
use crate::fixture::{Bed, Call, Setup};
use serde_json::{Value, json};

const CLASSES: &str = "classes:
  email: {suite: deterministic, fold_case: true, normalize: true, mask: {keep_first: 1}}
  code: {suite: deterministic, pad_bytes: 16}
  count: {suite: deterministic, type: number}
  card: {suite: format, alphabet: digits, mask: {keep_last: 4}}
  plate: {suite: format, alphabet: uppercase}
  birth: {suite: format, alphabet: date, accept_small_domain: true}
  padded: {pad_bytes: 64}
  acct: {placement: stored}
";
const ROUTES: &str = "routes:
  - name: person
    path: /Person/{id}
    methods: [GET, PUT]
    upstream: app
    record: id
    rules:
      - {path: $.email, class: email}
      - {path: $.other, class: email}
      - {path: $.code, class: code}
      - {path: $.count, class: count}
      - {path: $.card, class: card}
      - {path: $.plate, class: plate}
      - {path: $.birth, class: birth}
      - {path: $.padded, class: padded}
      - {path: $.acct, class: acct}
      - {path: $.name, class: name}
";
const ROLES: &str = "roles:
  masker: {default_view: mask}
  mover: {default_view: sealed, writes: [card, email]}
";
const PRINCIPALS: &str = "principals:
  - {spiffe: spiffe://test.example/masker, roles: [masker]}
  - {spiffe: spiffe://test.example/mover, roles: [mover]}
";

/// The gate with classes of every suite, and a key store.
fn suites(setup: Setup) -> Setup {
    with_file_store(without_store(setup))
}

fn without_store(setup: Setup) -> Setup {
    let parts = [("classes:\n", CLASSES), ("routes:\n", ROUTES), ("roles:\n", ROLES), ("principals:\n", PRINCIPALS)];
    parts.into_iter().fold(setup, |setup, (at, with)| setup.replace(&format!("\n{at}"), &format!("\n{with}")))
}

/// Has a clinician write the document, and gives what the upstream got.
async fn kept(bed: &Bed, path: &str, document: &Value) -> Value {
    let wrote = bed.make("clinician", &Call::new(&format!("PUT {path}")).json(document.to_string())).await;
    assert_eq!(wrote.status, 200, "{document}: {}", wrote.text());
    bed.upstream.take_only().json()
}

async fn read(bed: &Bed, who: &str, path: &str) -> Value {
    let reply = bed.make(who, &Call::new(&format!("GET {path}"))).await;
    assert_eq!(reply.status, 200, "{who} {path}: {}", reply.text());
    bed.upstream.take_only();
    reply.json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test]
async fn a_value_of_a_deterministic_class_is_the_same_token_in_every_record() {
    let bed = Bed::with(suites);
    let one = kept(&bed, "/Person/1", &json!({"email": "Peter.MU\u{308}LLER@example.org", "code": "a"})).await;
    let two =
        kept(&bed, "/Person/2", &json!({"email": "peter.m\u{fc}ller@EXAMPLE.org", "other": "x", "code": "A"})).await;
    let [token, other] = [&two["email"], &two["other"]].map(text);
    assert!(token.starts_with("sgv1."), "{two}");
    assert_eq!(one["email"], token, "case and the way an umlaut is written do not count");
    assert_ne!(token, other);
    assert_ne!(one["code"], two["code"], "but in this class they do");
    for number in [1, 2] {
        let shown = read(&bed, "clinician", &format!("/Person/{number}")).await;
        assert_eq!(shown["email"], "peter.m\u{fc}ller@example.org", "as it was sealed");
    }
    assert_eq!(read(&bed, "masker", "/Person/1").await["email"], "p****.******@*******.***");
    assert_eq!(read(&bed, "support", "/Person/1").await["email"], "[REDACTED]");
    // One value in two classes is two tokens; in a class of the random suite it is another one each time.
    let same = kept(&bed, "/Person/3", &json!({"email": "x", "other": "x", "code": "x", "name": "x"})).await;
    assert_eq!((&same["email"], text(&same["email"])), (&same["other"], other));
    assert_ne!(same["email"], same["code"]);
    let again = kept(&bed, "/Person/3", &json!({"name": "x"})).await;
    assert_ne!(again["name"], same["name"]);
    // Padded, values of one length class have tokens of one length.
    let lengths = ["1", "22", "4444", "88888888", "twelve bytes"].map(|value| json!({"code": value}));
    let mut seen = Vec::new();
    for document in &lengths {
        seen.push(text(&kept(&bed, "/Person/4", document).await["code"]).len());
    }
    assert!(seen.iter().all(|length| *length == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_value_of_another_type_than_its_class_is_refused() {
    let bed = Bed::with(suites);
    let wrong = (422, "value_type_mismatch");
    for body in [
        json!({"email": 12345}),
        json!({"email": true}),
        json!({"email": {"a": 1}}),
        json!({"email": ["x"]}),
        json!({"count": "12345"}),
        json!({"count": false}),
        json!({"count": []}),
    ] {
        let problem = Call::new("PUT /Person/1").json(body.to_string());
        bed.refuses("clinician", &problem, wrong).await;
    }
    // Half of a surrogate pair has neither case nor normal form.
    bed.refuses("clinician", &Call::new("PUT /Person/1").json("{\"email\":\"\\ud800\"}"), wrong).await;
    let tokens = kept(&bed, "/Person/1", &json!({"count": 12345, "email": "", "other": null})).await;
    assert_eq!((&tokens["email"], &tokens["other"]), (&json!(""), &json!(null)));
    assert_eq!(kept(&bed, "/Person/2", &json!({"count": 12345})).await["count"], tokens["count"]);
    // A number is what is spelled: it comes back as it came, so 1 and 1.0 are two.
    let spelled = ["{\"count\":1}", "{\"count\":1.0}", "{\"count\":1e0}"];
    let mut seen = Vec::new();
    for document in spelled {
        let wrote = bed.make("clinician", &Call::new("PUT /Person/3").json(document)).await;
        assert_eq!(wrote.text(), document);
        seen.push(bed.upstream.take_only().json()["count"].clone());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn two_gates_with_one_keyset_make_the_same_tokens() {
    let keyset = keyset(KEK, "test").await;
    let of_keyset = |setup: Setup| {
        std::fs::write(setup.folder().join("keyset"), &keyset).unwrap();
        let setup = with_keyring(without_store(setup), "keyset_file: keyset");
        setup.replace("  acct: {placement: stored}\n", "  acct: {}\n")
    };
    let (one, two) = (Bed::with(of_keyset), Bed::with(of_keyset));
    let document = json!({"email": "a@example.org", "count": 7, "card": "4111-1111-1111-1111", "birth": "1948-07-04"});
    let tokens = kept(&one, "/Person/1", &document).await;
    assert_eq!(kept(&two, "/Person/1", &document).await, tokens);
    two.upstream.keep("/Person/2", tokens.to_string());
    assert_eq!(read(&two, "clinician", "/Person/2").await, document);
    // A gate with another keyset, under the same KEK, knows none of it.
    let other = crate::fixture::keys::keyset(KEK, "test").await;
    let stranger = Bed::with(|setup| {
        let setup = of_keyset(setup);
        std::fs::write(setup.folder().join("keyset"), &other).unwrap();
        setup
    });
    assert_ne!(kept(&stranger, "/Person/1", &document).await["email"], tokens["email"]);
    stranger.upstream.keep("/Person/2", json!({"email": tokens["email"]}).to_string());
    let refused = stranger.make("clinician", &Call::new("GET /Person/2")).await;
    refused.expect_problem(502, "response_unopenable");
    // And one whose keyset has no key for its scope does not start.
    let empty = crate::fixture::keys::keyset(KEK, "elsewhere").await;
    let setup = of_keyset(Setup::before(stranger.upstream.addr()));
    write_secret(&setup.folder().join("keyset"), &empty);
    let mut keyless = setup.spawn();
    assert_eq!(keyless.wait().code(), Some(69), "{}", keyless.log());
    assert!(keyless.log().contains("sealgate keys create"), "{}", keyless.log());
}

/// The same text with every digit and letter the same: what is left is its shape.
fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { c }).collect()
}

#[tokio::test]
async fn a_value_of_a_format_keeps_length_and_separators() {
    let bed = Bed::with(suites);
    let mut sealed = Vec::new();
    for (field, value) in [
        ("card", "4111-1111 1111(1111)"),
        ("card", "999123"),
        ("card", "+1 (555) 010-0199"),
        ("plate", "MRN-00A7"),
        ("plate", "ZZZZ"),
        ("birth", "1948-07-04"),
        ("birth", "2000/02/29"),
        ("birth", "20991231"),
    ] {
        let document = json!({ field: value });
        let got = kept(&bed, "/Person/1", &document).await;
        let got = text(&got[field]);
        assert_eq!(shape(got), shape(value));
        sealed.push(got != value);
        assert_eq!(read(&bed, "clinician", "/Person/1").await, document);
        assert_eq!(read(&bed, "dba", "/Person/1").await[field], got, "sealed");
        assert_eq!(read(&bed, "support", "/Person/1").await[field], "[REDACTED]");
        assert_eq!(text(&kept(&bed, "/Person/2", &document).await[field]), got, "always the same");
    }
    // One of a few values may be sealed to itself.
    assert!(sealed.iter().filter(|changed| **changed).count() >= 6, "{sealed:?}");
    kept(&bed, "/Person/1", &json!({"card": "4111-1111-1111-1111"})).await;
    assert_eq!(read(&bed, "masker", "/Person/1").await["card"], "****-****-****-1111");
}

#[tokio::test]
async fn what_is_not_of_its_format_is_refused_both_ways() {
    let bed = Bed::with(suites);
    for (field, value, code) in [
        ("card", json!("12345"), "value_domain_too_small"),
        ("card", json!("12-34-5"), "value_domain_too_small"),
        ("plate", json!("A1B"), "value_domain_too_small"),
        ("card", json!("12345a"), "value_format_mismatch"),
        ("card", json!("1".repeat(257)), "value_format_mismatch"),
        ("card", json!("\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}"), "value_format_mismatch"),
        ("card", json!(4_111_111_111_u64), "value_format_mismatch"),
        ("card", json!(["123456"]), "value_format_mismatch"),
        ("plate", json!("abcdef"), "value_format_mismatch"),
        ("birth", json!("2023-02-30"), "value_format_mismatch"),
        ("birth", json!("1899-12-31"), "value_format_mismatch"),
        ("birth", json!("1948-07/04"), "value_format_mismatch"),
        ("birth", json!("04.07.1948"), "value_format_mismatch"),
        ("birth", json!("1948-07"), "value_format_mismatch"),
    ] {
        let call = Call::new("PUT /Person/1").json(json!({ field: value }).to_string());
        bed.refuses("clinician", &call, (422, code)).await;
        bed.upstream.keep("/Person/9", json!({ field: value }).to_string());
        for who in ["clinician", "masker", "dba"] {
            let reply = bed.make(who, &Call::new("GET /Person/9")).await;
            reply.expect_problem(502, "response_unopenable");
            bed.upstream.take_only();
        }
    }
    for nothing in [json!({"card": null}), json!({"card": ""})] {
        assert_eq!(kept(&bed, "/Person/1", &nothing).await, nothing);
        assert_eq!(read(&bed, "clinician", "/Person/1").await, nothing);
    }
}

/// Sealed once more, a value of a format would be lost, for nothing tells it from one in the clear.
#[tokio::test]
async fn who_is_shown_sealed_values_writes_none_of_a_format() {
    let bed = Bed::with(suites);
    let sealed = kept(&bed, "/Person/1", &json!({"card": "4111-1111", "email": "a@example.org"})).await;
    for who in ["dba", "mover"] {
        let shown = read(&bed, who, "/Person/1").await;
        assert_eq!(shown, sealed);
        let call = Call::new("PUT /Person/1").json(shown.to_string());
        bed.refuses(who, &call, (422, "field_not_writable")).await;
        let token = json!({"email": sealed["email"]});
        let wrote = bed.make(who, &Call::new("PUT /Person/2").json(token.to_string())).await;
        assert_eq!(wrote.status, 200, "{who}: {}", wrote.text());
        assert_eq!(bed.upstream.take_only().json(), token, "a token is known for one");
    }
    // A token of another class stands for no value of a format, nor does one that was made under another suite.
    for who in ["dba", "mover", "clinician"] {
        let call = Call::new("PUT /Person/1").json(json!({"card": sealed["email"]}).to_string());
        let code = if who == "clinician" { "token_not_accepted" } else { "token_class_mismatch" };
        bed.refuses(who, &call, (422, code)).await;
    }
    bed.upstream.keep("/Person/9", json!({"card": sealed["email"]}).to_string());
    bed.make("clinician", &Call::new("GET /Person/9")).await.expect_problem(502, "response_unopenable");
}

#[tokio::test]
async fn a_padded_class_shows_lengths_by_the_multiple_only() {
    let bed = Bed::with(suites);
    let mut lengths = Vec::new();
    for bytes in [0, 1, 30, 61, 62, 63, 125, 126, 127] {
        let document = json!({"padded": "x".repeat(bytes)});
        let got = kept(&bed, "/Person/1", &document).await;
        assert_eq!(read(&bed, "clinician", "/Person/1").await, document);
        lengths.push((bytes, text(&got["padded"]).len()));
    }
    // Nothing is nothing, padded or not. With the value go a byte that tells its kind and at least one of padding.
    let [(0, 0), first, second, third, fourth, fifth, sixth, seventh, eighth] = lengths[..] else {
        panic!("{lengths:?}")
    };
    assert!([first, second, third, fourth].iter().all(|length| length.1 == first.1), "{lengths:?}");
    assert!([fifth, sixth, seventh].iter().all(|length| length.1 == fifth.1 && length.1 > first.1), "{lengths:?}");
    assert!(eighth.1 > fifth.1, "{lengths:?}");
    // Literals too.
    let number = kept(&bed, "/Person/1", &json!({"padded": 1})).await;
    let list = kept(&bed, "/Person/1", &json!({"padded": [1, 2, {"a": "b"}]})).await;
    assert_eq!([text(&number["padded"]).len(), text(&list["padded"]).len()], [first.1; 2]);
}

/// Cut short by the application, a token never opens again and a value of a format opens as another one.
#[tokio::test]
async fn what_its_column_would_cut_short_is_not_sent() {
    let columns = "routes:
  - name: narrow
    path: /Narrow/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.card, class: card, column: {characters: 12, value_bytes: 12}}
      - {path: $.code, class: code, column: {characters: 105, value_bytes: 30}}
      - {path: $.acct, class: acct, column: {characters: 105, value_bytes: 11}}
";
    let bed = Bed::with(|setup| suites(setup).replace("\nroutes:\n", &format!("\n{columns}")));
    let fits = json!({"card": "4111-1111-11", "code": "x".repeat(30), "acct": "999-12-3456"});
    let narrow = kept(&bed, "/Narrow/1", &fits).await;
    assert!(text(&narrow["code"]).len() <= 105 && text(&narrow["acct"]).len() <= 105, "{narrow}");
    let too_long = (422, "value_too_long");
    for (field, value) in [
        ("card", json!("4111-1111-111")),
        ("code", json!("x".repeat(60))),
        ("acct", json!("x".repeat(30))),
        ("acct", json!({"number": "x".repeat(30)})),
    ] {
        let call = Call::new("PUT /Narrow/1").json(json!({ field: value }).to_string());
        bed.refuses("clinician", &call, too_long).await;
    }
    // Nor is the longer token of a column that is wide, from one who sees tokens.
    let wide = kept(&bed, "/Person/1", &json!({"code": "x".repeat(60), "acct": "x".repeat(30)})).await;
    for field in ["code", "acct"] {
        bed.refuses("dba", &Call::new("PUT /Narrow/1").json(json!({ field: wide[field] }).to_string()), too_long).await;
        let back = Call::new("PUT /Narrow/1").json(json!({ field: narrow[field] }).to_string());
        assert_eq!(bed.make("dba", &back).await.status, 200, "{field}");
        bed.upstream.take_only();
    }
}
