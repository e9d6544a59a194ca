use super::*;
use crate::embed::testing::Counting;

fn field(path: &str, class: &str) -> Field {
    Field::random(FieldPath::parse(path).unwrap(), Class::parse(class).unwrap())
}

fn fields() -> Fields {
    let found = [field("$..ssn", "ssn"), field("$.note", "note"), field("$.name[*]", "name")];
    Fields::compile(found).unwrap()
}

fn clinic() -> Scope {
    Scope::parse("clinic").unwrap()
}

const ID: &[(&str, &[u8])] = &[("id", b"42")];

#[test]
fn every_value_comes_back_as_the_type_that_it_was_and_the_rest_stays() {
    let (keys, fields) = (Counting::keys(1), fields());
    for document in [
        r#"{ "ssn" : "999-12-3456",	"other":1.10e+5,"name":["", null,"A",true,12345678901234567890123] }"#,
        r#"{"note":{"a":[1, 2.50]},"a":[{"ssn":"x"},{"ssn":"\"\n"}]}"#,
        r#"{"note":[],"ssn":null}"#,
        "{}",
        "7",
    ] {
        let sealed = fields.seal(&keys, clinic(), ID, document.as_bytes()).unwrap();
        let text = String::from_utf8(sealed.clone()).unwrap();
        assert!(!text.contains("999") && !text.contains("2.50") && !text.contains("\"A\""), "{text}");
        assert_eq!(fields.open(&keys, clinic(), ID, &sealed).unwrap(), document.as_bytes());
    }
    let (made, unwrapped) = keys.keyring().calls();
    assert_eq!((made, unwrapped), (1, 0));
}

#[test]
fn a_document_opens_in_its_own_record_and_scope_only() {
    let (keys, fields) = (Counting::keys(1), fields());
    let sealed = fields.seal(&keys, clinic(), ID, br#"{"ssn":"x"}"#).unwrap();
    let other = Scope::parse("other").unwrap();
    for (scope, bind) in [(other, ID), (clinic(), &[][..]), (clinic(), &[("id", b"43".as_slice())][..])] {
        let refused = fields.open(&keys, scope, bind, &sealed);
        assert!(matches!(refused, Err(FieldsError::Field { error: Error::Open(_), .. })), "{bind:?}");
    }
    // The token of one class in the place of another.
    let moved = String::from_utf8(sealed).unwrap().replace("\"ssn\":", "\"note\":");
    assert!(matches!(fields.open(&keys, clinic(), ID, moved.as_bytes()), Err(FieldsError::Field { .. })));
}

#[test]
fn nothing_is_sealed_twice_and_no_token_passes_unseen() {
    let (keys, fields) = (Counting::keys(1), fields());
    let sealed = fields.seal(&keys, clinic(), ID, br#"{"ssn":"x"}"#).unwrap();
    let text = String::from_utf8(sealed).unwrap();
    let strays = [
        text.clone(),
        text.replace("\"ssn\":", "\"other\":"),
        text.replace("\"ssn\":", "\"note\":").replace(":\"", ":[\"").replace("\"}", "\"]}"),
        r#"{"ssn":"see sgv1.AQEB"}"#.to_owned(),
        r#"{"sgv1.AQEB":1}"#.to_owned(),
    ];
    for stray in strays {
        assert!(
            matches!(fields.seal(&keys, clinic(), ID, stray.as_bytes()), Err(FieldsError::Token { .. })),
            "{stray}"
        );
    }
}

#[test]
fn what_is_not_sealed_is_not_taken_for_opened() {
    let (keys, fields) = (Counting::keys(1), fields());
    for (document, at) in [
        (r#"{"ssn":"999-12-3456"}"#, 7),
        (r#"{"ssn":7}"#, 7),
        (r#"{"a":1,"note":{"b":1}}"#, 14),
        (r#"{"ssn":"x sgv1.AQEB"}"#, 7),
    ] {
        let refused = fields.open(&keys, clinic(), ID, document.as_bytes());
        assert!(matches!(refused, Err(FieldsError::NoToken { at: got }) if got == at), "{document}");
    }
    let cut = fields.open(&keys, clinic(), ID, br#"{"ssn":"sgv1.AQEB"}"#);
    assert!(matches!(cut, Err(FieldsError::Field { error: Error::Read(_), .. })));
}

#[test]
fn a_container_hides_no_field_of_another_class() {
    let (keys, fields) = (Counting::keys(1), fields());
    let hidden = fields.seal(&keys, clinic(), ID, br#"{"note":{"deep":[{"ssn":"x"}]}}"#);
    assert!(matches!(hidden, Err(FieldsError::Overlap { at: 8 })));
}

#[test]
fn what_is_no_json_is_a_fault_that_holds_nothing_of_it() {
    let (keys, fields) = (Counting::keys(1), fields());
    for document in [r#"{"ssn":"999-12-3456""#, "", r#"{"ssn":999-12}"#, "{\"ssn\":\"\u{1}999\"}"] {
        let refused = fields.seal(&keys, clinic(), ID, document.as_bytes()).unwrap_err();
        assert!(matches!(refused, FieldsError::Fault(_)), "{document}");
        assert!(!format!("{refused} {refused:?}").contains("999"), "{refused:?}");
    }
}

#[test]
fn values_that_are_looked_up_are_equal_in_every_record() {
    use crate::seal::{EncryptionContext, Purpose};
    let keys = Counting::keys(1);
    let made_for = EncryptionContext { scope: clinic(), purpose: Purpose::Lookup };
    keys.set_stored([keys.new_stored(made_for).unwrap()]);
    let (path, class) = (FieldPath::parse("$.mrn").unwrap(), Class::parse("mrn").unwrap());
    let fields = Fields::compile([Field::deterministic(path, class).padded(32)]).unwrap();
    let seal = |bind: &[(&str, &[u8])], document: &[u8]| fields.seal(&keys, clinic(), bind, document).unwrap();
    let one = seal(ID, br#"{"mrn":"A1"}"#);
    assert_eq!(one, seal(&[("id", b"43")], br#"{"mrn":"A1"}"#));
    let other = seal(ID, br#"{"mrn":"A2 and more"}"#);
    assert!(one != other && one.len() == other.len());
    assert_eq!(fields.open(&keys, clinic(), &[], &other).unwrap(), br#"{"mrn":"A2 and more"}"#);
}

#[cfg(feature = "serde")]
mod trees {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tree_comes_back_as_it_was() {
        let (keys, fields) = (Counting::keys(1), fields());
        let whole = json!({"ssn": "999-12-3456", "note": {"a": [1, 2.5, null, true]}, "name": ["", null, 7], "b": 1});
        let mut document = whole.clone();
        fields.seal_value(&keys, clinic(), ID, &mut document).unwrap();
        assert!(document["ssn"].as_str().unwrap().starts_with("sgv1."));
        assert!(document["note"].is_string() && document["name"][2].is_string() && document["b"] == 1);
        fields.open_value(&keys, clinic(), ID, &mut document).unwrap();
        assert_eq!(document, whole);
    }

    #[test]
    fn a_tree_that_is_refused_stays_as_it_was() {
        let (keys, fields) = (Counting::keys(1), fields());
        let mut document = json!({"ssn": "x"});
        assert!(matches!(fields.open_value(&keys, clinic(), ID, &mut document), Err(FieldsError::NoToken { .. })));
        assert_eq!(document, json!({"ssn": "x"}));
        // What a tree cannot hold: a lone surrogate that was sealed as text.
        let sealed = fields.seal(&keys, clinic(), ID, br#"{"ssn":"\ud800"}"#).unwrap();
        let mut document: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        let kept = document.clone();
        assert!(matches!(fields.open_value(&keys, clinic(), ID, &mut document), Err(FieldsError::NoValue)));
        assert_eq!(document, kept);
    }
}
