//! Random input that looks like HTML.

use proptest::collection::vec;
use proptest::prelude::*;

use super::written::{NASTY, TEMPLATES, assert_stays};
use super::*;

/// Pieces that change the state of the tokenizer, and what changes between them.
const PIECES: [&str; 82] = [
    "<",
    ">",
    "/",
    "</",
    "=",
    "\"",
    "'",
    "`",
    "&",
    "#",
    "&#",
    "&amp",
    ";",
    "-",
    "--",
    "-->",
    "--!>",
    "<!--",
    "<!",
    "<?",
    "<!-->",
    "<![CDATA[",
    "]]>",
    "]",
    "[",
    "\\",
    "\n",
    "\r",
    " ",
    "\0",
    "é",
    "\u{2028}",
    "a",
    "x",
    "0",
    ":",
    ",",
    "?",
    "%",
    "+",
    "{",
    "}",
    "${",
    "*",
    "/*",
    "*/",
    "//",
    "<p ",
    "<a href=",
    "<img srcset=",
    "<script",
    "<script>",
    "</script>",
    "<script type=module>",
    "<style>",
    "</style>",
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<pre>",
    "<svg>",
    "</svg>",
    "<math>",
    "<mi>",
    "<select>",
    "</select>",
    "<template>",
    "</template>",
    "<col>",
    "<foreignobject>",
    "</p>",
    "<div>",
    "<plaintext>",
    "<noscript>",
    "</noscript>",
    " title=",
    " href=",
    " onclick=",
    " style=",
    "javascript:",
    "https://",
];

fn document() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(PIECES.to_vec()),
        3 => prop::sample::select(vec![TOKEN, TOKEN, "sgv1.A--", "sgv1."]),
        1 => prop::sample::select(TEMPLATES.to_vec()),
        1 => prop::sample::select(vec!["sgv1", "sgv", "sgv1.", "/x/", "='", "'"]),
    ];
    vec(piece, 0..30).prop_map(|pieces| format!("  {}", filled(&pieces.concat()).0))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(NASTY.to_vec()).prop_map(String::from),
        vec(prop::sample::select(PIECES.to_vec()), 0..6).prop_map(|pieces| pieces.concat()),
        any::<String>(),
    ]
}

/// Enough for rare sequences to meet.
const CASES: u32 = 1000;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn cuts_make_no_difference(document in document(), value in value(), lengths in vec(1_usize..20, 1..8)) {
        let whole = run(document.as_bytes(), &[], Some(&value));
        prop_assert_eq!(run(document.as_bytes(), &lengths, Some(&value)), whole.clone());
        prop_assert_eq!(run(document.as_bytes(), &[1], Some(&value)), whole);
        prop_assert_eq!(run(document.as_bytes(), &lengths, None).output, Ok(document));
    }

    #[test]
    fn any_value_stays_in_its_place(document in document(), value in value()) {
        assert_stays(&document, &value);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        document in document(), bytes in vec(any::<u8>(), 0..12), at in any::<prop::sample::Index>(), length in 1_usize..9,
    ) {
        let mut document = document.into_bytes();
        let at = at.index(document.len());
        document.splice(at..at, bytes);
        let limits = Limits { value_bytes_max: 10, ..Limits::default() };
        let whole = run_limited(&document, &[], None, limits.clone());
        prop_assert_eq!(&run_limited(&document, &[length], None, limits), &whole);
        if let Ok(output) = &whole.output {
            prop_assert_eq!(output.as_bytes(), document);
        }
    }
}
