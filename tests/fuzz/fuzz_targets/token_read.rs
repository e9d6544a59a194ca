//! Any text is a token or it is not. What reads says the same as its bytes, and it has one spelling.

#![no_main]

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use sealgate::seal::token::{find_token, holds_token, starts_as_token};
use sealgate::seal::{Envelope, Placement, ReadError, Suite, Token};

fuzz_target!(|data: &[u8]| {
    judge(data);
    // The same bytes as the body of a token, so that the decoder lets more of them through.
    judge(&[b"sgv1.", BASE64URL_NOPAD.encode(data).as_bytes()].concat());
});

fn judge(text: &[u8]) {
    let starts = starts_as_token(text);
    let first = (0..text.len()).find(|at| starts_as_token(&text[*at..]));
    assert_eq!(find_token(text), first, "found where one starts");
    assert_eq!(holds_token(text), first.is_some(), "found if and only if one starts somewhere");
    match Token::read(text) {
        Ok(envelope) => {
            assert!(starts, "what reads is recognised");
            let body = text.strip_prefix(b"sgv1.").expect("the one prefix that reads");
            let bytes = BASE64URL_NOPAD.decode(body).expect("canonical base64url");
            assert_eq!(BASE64URL_NOPAD.encode(&bytes).as_bytes(), body, "the one spelling");
            assert_eq!(bytes[..envelope.head().length()], head(&envelope), "the head says what its bytes say");
            assert_eq!(bytes.len(), envelope.head().length() + envelope.sealed_bytes());
        }
        Err(ReadError::UnknownVersion(_)) => assert!(starts),
        Err(_) => {}
    }
}

/// The head's bytes, written anew from what was read.
fn head(envelope: &Envelope) -> Vec<u8> {
    let head = envelope.head();
    let suite = match head.suite {
        Suite::Random => 1,
        Suite::Deterministic => 2,
        other => panic!("{other:?} has no text form"),
    };
    let placement = match head.placement {
        Placement::Inline => 1,
        Placement::Stored => 2,
        other => panic!("{other:?} is not of version 1"),
    };
    let (class, scope) = (head.class.as_str().as_bytes(), head.scope.as_str().as_bytes());
    let lengths = u8::try_from((class.len() - 1) << 4 | (scope.len() - 1)).expect("at most 16 each");
    assert_eq!(envelope.key().id(), head.key_id);
    [&[1, suite << 4 | placement, lengths], class, scope, envelope.key_bytes()].concat()
}
