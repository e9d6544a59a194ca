//! What is written at a slot ends nothing, and reads as the text it was made of.

use super::*;

pub(super) const NASTY: [&str; 34] = [
    "plain",
    "",
    " ",
    "\"><script>alert(1)</script>",
    "'",
    "\"",
    "`",
    "</script>",
    "</script ",
    "script ",
    "/textarea",
    "</title></textarea></style>",
    "-->",
    "--!>",
    "<!--<script>",
    "]]>",
    "a\nb\r\nc\td\x0ce",
    "\n",
    "\r",
    "&amp;",
    "&lt",
    "amp;",
    "#60;",
    "lt;x",
    "\u{2028}\u{2029}",
    "\u{1f600}",
    "\u{80}\u{9f}\u{ad}\u{feff}\u{ffff}",
    "\x01\x1b$B\x7f",
    "javascript:alert(1)",
    "//evil.example",
    "\\",
    "\\u0027",
    "${a}",
    " onload=x ",
];

/// One template for each kind of place, and some where the bytes around matter.
pub(super) const TEMPLATES: [&str; 30] = [
    "<p>T</p>",
    "T",
    "&amp;T;",
    "&ampx T;x",
    "<b>#T</b>",
    "<title>T</title>",
    "<title>a &lt; T<</title>",
    "<textarea>T</textarea>",
    "<textarea>a T/textarea></textarea>",
    "<pre>T</pre>",
    "<p title=\"T\" id=x>",
    "<p title='T' id=x>",
    "<p title='&ltx;T;' id=x>",
    "<p title='a\"T=b'>",
    "<p title=T id=x>y",
    "<p title= T>y",
    "<p title=a,T/>",
    "<p title=a=T'>y",
    "<a href=\"/x/T\">y</a>",
    "<a href='/x?a=T&b=;T'>y</a>",
    "<a href=/x/T>y</a>",
    "<a href=/x/T id=x>y</a>",
    "<img srcset='/a/T 1x, /b/T 2x'>",
    "<script>var a = 'T';</script>y",
    "<script>var a = \"xT\\n\" + 'T';</script>y",
    "<script>'<!--';'<script>';'-->';'T'</script>y",
    "<script type=application/json>{\"a\":\"T\"}</script>y",
    "<svg><text x='T'>T</text></svg>",
    "<svg><![CDATA[ T ]]>T</svg>",
    "<!-- T --><p T='T' onclick='T'>T</p><style>T</style>",
];

/// The states at the bytes outside of the slots, and those inside, told from `replaced`: where slots start and end.
fn trace(document: &str, slots: &[(usize, usize)]) -> (Vec<(String, String)>, Vec<String>) {
    let mut reader = Reader::default();
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for (at, byte) in document.bytes().enumerate() {
        // A slot's first byte is read in the state before it, so what it is inside of shows after it.
        let is_inside = slots.iter().any(|(start, end)| (*start..*end).contains(&at));
        if !is_inside {
            outside.push(reader.show());
        }
        reader.read(&[byte]);
        if is_inside {
            inside.push(reader.show().0);
        }
    }
    outside.push(reader.show());
    (outside, inside)
}

/// Replaces, and asserts that nothing outside of the slots is read differently, and each slot as the text.
pub(super) fn assert_stays(document: &str, value: &str) {
    let kept = run(document.as_bytes(), &[], None);
    let (mut was, mut is, mut moved) = (Vec::new(), Vec::new(), 0_i64);
    let mut texts = Vec::new();
    for (word, start, escape) in &kept.seen {
        let start = usize::try_from(*start).unwrap();
        let mut written = Vec::new();
        if escape.text(value.as_bytes(), &mut written).is_err() {
            written = word.clone().into_bytes();
        } else {
            texts.push((*escape, String::from_utf8(written.clone()).unwrap()));
        }
        let moved_start = usize::try_from(i64::try_from(start).unwrap() + moved).unwrap();
        was.push((start, start + word.len()));
        is.push((moved_start, moved_start + written.len()));
        moved += i64::try_from(written.len()).unwrap() - i64::try_from(word.len()).unwrap();
    }
    let output = run(document.as_bytes(), &[3], Some(value)).output.unwrap();
    let (outside, _) = trace(document, &was);
    let (outside_then, inside_then) = trace(&output, &is);
    assert_eq!(outside_then, outside, "{document:?} with {value:?}: {output:?}");
    for state in inside_then {
        assert!(state == "Data" || state == "Raw(Text)" || state.starts_with("Value("), "{state} in {output:?}");
    }
    for (escape, written) in texts {
        assert_eq!(read(escape, &written), value, "{escape:?}: {written}");
    }
}

/// What a browser reads.
fn read(escape: Escape, written: &str) -> String {
    match escape {
        Escape::HtmlText | Escape::HtmlAttribute | Escape::HtmlUnquoted => references(written),
        Escape::HtmlFirstText => references(written.strip_prefix('\n').unwrap_or(written)),
        Escape::HtmlUrl => {
            let mut bytes = Vec::new();
            let mut rest = written;
            while let Some((before, after)) = rest.split_once('%') {
                bytes.extend(before.bytes());
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            bytes.extend(rest.bytes());
            assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            String::from_utf8(bytes).unwrap()
        }
        Escape::JsString => {
            assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" \\".contains(&byte)));
            serde_json::from_str(&format!("\"{written}\"")).unwrap()
        }
        _ => panic!("{escape:?} is not of HTML"),
    }
}

/// Undoes line ends (13.2.3.5) and character references (13.2.5.72), of which those without a semicolon must not occur.
fn references(written: &str) -> String {
    let written = written.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = String::new();
    let mut rest = written.as_str();
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let (name, after) = after.split_once(';').unwrap();
        text.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            _ => {
                let code = name.strip_prefix('#').unwrap().parse().unwrap();
                assert!(code != 0 && !(0x80..=0x9f).contains(&code), "{name} is read as another");
                char::from_u32(code).unwrap()
            }
        });
        rest = after;
    }
    text + rest
}

#[test]
fn nasty_values_stay_in_their_place() {
    for template in TEMPLATES {
        let (document, _) = filled(template);
        assert!(!check(document.as_bytes(), None).seen.is_empty(), "{template}");
        for value in NASTY {
            check(document.as_bytes(), Some(value));
            assert_stays(&document, value);
        }
    }
}

#[test]
fn values_are_written_so() {
    let all = "a Z9&<>\"'`=\t\n\r\x0c\x1b/\u{80}é\u{1f600}";
    for (escape, text, written) in [
        (Escape::Plain, all, all),
        (Escape::HtmlText, all, "a Z9&amp;&lt;&gt;&quot;&#39;`=\t\n&#13;&#12;&#27;/\u{80}é\u{1f600}"),
        (Escape::HtmlFirstText, "\n<", "\n\n&lt;"),
        (Escape::HtmlFirstText, "\r\n<", "&#13;\n&lt;"),
        (Escape::HtmlAttribute, all, "a Z9&amp;&lt;&gt;&quot;&#39;&#96;=&#9;&#10;&#13;&#12;&#27;/\u{80}é\u{1f600}"),
        (
            Escape::HtmlUnquoted,
            all,
            "a&#32;Z9&amp;&lt;&gt;&quot;&#39;&#96;&#61;&#9;&#10;&#13;&#12;&#27;&#47;\u{80}&#233;&#128512;",
        ),
        (Escape::HtmlUrl, "a Z9-._~&/:%\0é", "a%20Z9-._~%26%2F%3A%25%00%C3%A9"),
        (
            Escape::JsString,
            "a Z9\"'\\</\n\0\u{2028}é\u{1f600}",
            "a Z9\\u0022\\u0027\\u005c\\u003c\\u002f\\u000a\\u0000\\u2028\\u00e9\\ud83d\\ude00",
        ),
    ] {
        let mut out = b"before".to_vec();
        escape.text(text.as_bytes(), &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out).unwrap().strip_prefix("before"), Some(written), "{escape:?}");
        out.clear();
        escape.literal(b"12", &mut out).unwrap();
        assert!(out == b"12", "{escape:?}");
    }
    let mut out = Vec::new();
    Escape::JsString.text(b"a\xed\xa0\xbdb\xed\xb8\x80", &mut out).unwrap();
    assert_eq!(out, b"a\\ud83db\\ude00");
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_written() {
    use Escape::{HtmlAttribute, HtmlFirstText, HtmlText, HtmlUnquoted, HtmlUrl, JsString, Plain};
    for (escapes, text) in [
        (&[Plain, HtmlText, HtmlFirstText, HtmlAttribute, HtmlUnquoted][..], &b"a\0b"[..]),
        (&[Plain, HtmlText, HtmlFirstText, HtmlAttribute, HtmlUnquoted, HtmlUrl], b"a\xed\xa0\xbdb"),
        (&[Plain, HtmlText, HtmlFirstText, HtmlAttribute, HtmlUnquoted, HtmlUrl, JsString], b"a\xff"),
        (&[JsString], b"a\xed\xa0"),
        (&[HtmlFirstText], b"\na\0"),
        (&[HtmlUnquoted], b""),
        (&[HtmlUrl], b"."),
        (&[HtmlUrl], b".."),
    ] {
        for escape in escapes {
            let mut out = Vec::new();
            assert!(escape.text(text, &mut out).is_err(), "{escape:?} {}", text.escape_ascii());
            assert!(out.is_empty(), "{escape:?} {}", text.escape_ascii());
        }
    }
}
